"""Small studies, and the audit of them with its own promises checked."""

import torch

from paribus.audits import CHECKS, audit_design, audit_records
from paribus.data import Text
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import Arm, Study
from paribus.judgement.registration import RegisteredStudy
from paribus.nn import LayerNorm, llama

TRAINING = Training(
    tokens=9_600, batch_tokens=96, seq_len=24, evaluations=4, optimizer=spec(torch.optim.AdamW, lr=0.01)
)
BASELINE = llama(d_model=32, n_layers=2, n_heads=2, norm=spec(LayerNorm))

_SEVERITIES = {check.name: check.severities for check in CHECKS}
_WHEN = {check.name: check.when for check in CHECKS}


def make_study(baseline=BASELINE, /, *, training=TRAINING, **rest):
    """A study of one or more treatments: ``treatments`` or ``arm``, the only one."""
    if "arm" in rest:
        rest["treatments"] = {"arm": rest.pop("arm")}
    rest.setdefault("margin", 0.03)
    return Study(question="Is it better?", baseline=baseline, data=spec(Text), training=training, **rest)


def register(study):
    return RegisteredStudy.from_json(study.to_json())


def slow(model):
    """The arm of ``model`` trained at a tenth of the learning rate."""
    return Arm(model, TRAINING.replace(optimizer=spec(torch.optim.AdamW, lr=0.001)))


def audit_specs(study, corpus):
    return promised("before", audit_design(study, corpus))


def audit_runs(study, records, steps):
    return promised("after", audit_records(register(study), records, steps))


def promised(when, findings):
    """``findings``, each with what every finding owes its reader."""
    for finding in findings:
        assert finding.severity in _SEVERITIES[finding.check], finding
        assert _WHEN[finding.check] == when, finding
        assert any(character.isdigit() for character in finding.message), finding
        assert finding.evidence, finding
        assert finding.remedy or finding.severity == "note", finding
    return findings


def of(check, findings):
    """The findings of one check."""
    return [finding for finding in findings if finding.check == check]


def the(check, findings):
    """The only finding of one check."""
    (finding,) = of(check, findings)
    return finding


def worst(findings):
    """The findings above a note, as text."""
    return [f"{f.severity} {f.check}: {f.message}" for f in findings if f.severity != "note"]
