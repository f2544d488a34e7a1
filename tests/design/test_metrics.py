"""Metrics of the user's own: what they are, how they are measured, and that they travel."""

import email
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paribus.audits.before.own_metric import find_shifting_tokens, require_measure
from paribus.data.held_out import HeldOut
from paribus.design.metrics import METRICS, RECORDED, VAL_LOSS, Metric
from paribus.errors import StudyError
from paribus.experiment.stored_evidence import read_evidence
from paribus.lab import running as lab
from paribus.store.store import Store
from paribus.training.evaluation import evaluate
from toy_study import make_study

LOG2, LOG4 = math.log(2), math.log(4)


class Table(nn.Module):
    """Logits that depend on the input token alone: for 0 all four are equal, for 1 the target 1 has odds of 3 to 3."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, math.log(3), 0.0, 0.0]]))

    def forward(self, tokens):
        return self.logits[tokens]


HELD_OUT = HeldOut(
    inputs=np.array([[0, 1, 0], [1, 0, 0]]),
    targets=np.array([[1, 1, 3], [0, 3, -1]]),
    documents=np.array([[0, 0, 0], [1, 1, 1]]),
    window_bytes=np.array([6, 4]),
)


def losses(logits, targets):
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")


def rare_loss(logits, targets):
    """Loss on the tokens 1 and 0."""
    return torch.where(targets <= 1, losses(logits, targets), torch.nan)


def score(measure, batch_windows=1):
    return evaluate(Table(), HELD_OUT, batch_windows, "cpu", "fp32", {"own": measure})


def wide(logits, targets):
    return logits


def mean(logits, targets):
    return losses(logits, targets).mean()


def number(logits, targets):
    return 1.0


def nothing(logits, targets):
    return torch.full(targets.shape, torch.nan)


def endless(logits, targets):
    return -logits.softmax(-1)[..., 0].floor().log()


def raises(logits, targets):
    return logits.gather(-1, targets[..., None]).squeeze(-1)


def deaf(logits, targets):
    return targets.float()


class Drawn:
    """A counter: every call gives another value."""

    calls = 0


def drawn(logits, targets):
    Drawn.calls += 1
    return losses(logits, targets) + Drawn.calls


def sure_loss(logits, targets):
    return torch.where(logits.softmax(-1).amax(-1) > 0.5, losses(logits, targets), torch.nan)


def writes(logits, targets):
    values = losses(logits, targets)
    logits.fill_(7.0)
    targets.fill_(2)
    return values


@pytest.mark.parametrize("batch_windows", [1, 2])
def test_a_metric_of_ones_own_is_the_mean_over_the_scored_tokens_that_count(batch_windows):
    # Tokens that count: 1 after 0 (log 4), 1 after 1 (probability 3/6), 0 after 1 (probability 1/6).
    expected = (LOG4 + LOG2 + math.log(6)) / 3
    assert score(rare_loss, batch_windows).own == {"own": pytest.approx(expected, rel=1e-6)}


def test_it_changes_no_other_score_even_when_it_writes_into_what_it_is_given():
    before = HELD_OUT.targets.copy()
    plain, written = evaluate(Table(), HELD_OUT, 1, "cpu", "fp32"), score(writes)
    assert plain.own == {}
    assert (written.loss, written.accuracy, written.document_loss) == (plain.loss, plain.accuracy, plain.document_loss)
    assert (HELD_OUT.targets == before).all()
    assert written.own["own"] == pytest.approx(plain.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (wide, r"metric 'own': wide gives the shape \(1, 3, 4\); expected one value per token, \(1, 3\)"),
        (mean, r"metric 'own': mean gives the shape \(\); expected one value per token"),
        (number, "metric 'own': number gives a float; expected one value per token"),
        (endless, "metric 'own' is inf: some token's value is infinite"),
        (
            raises,
            "metric 'own': raises raises RuntimeError: index -1 .*; a position that is not scored has the target -1",
        ),
    ],
)
def test_a_measure_that_gives_no_metric_is_an_error_that_names_it(measure, said):
    with pytest.raises(StudyError, match=said):
        score(measure)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (wide, "expected one value per token"),
        (raises, "has the target -1"),
        (deaf, "metric 'own' does not depend on the logits"),
        (drawn, "metric 'own' gives other values the second time"),
    ],
)
def test_a_measure_is_tried_before_anything_is_trained(measure, said):
    with pytest.raises(StudyError, match=said):
        require_measure(Metric("own", "nats", measure=measure), vocab_size=11)


def test_a_measure_that_counts_none_of_the_scored_tokens_is_refused_and_one_that_chooses_them_is_doubted():
    targets = np.arange(24).reshape(2, 12) % 7
    with pytest.raises(StudyError, match="counts none of the 24 held-out tokens"):
        list(find_shifting_tokens(Metric("own", "nats", measure=nothing), targets, 7))
    assert list(find_shifting_tokens(Metric("own", "nats", measure=rare_loss), targets, 7)) == []
    (found,) = find_shifting_tokens(Metric("own", "nats", measure=sure_loss), targets, 7)
    assert (found.check, found.severity) == ("counted tokens", "doubt")
    assert found.evidence["right"] == 24 > found.evidence["random"]


def test_a_study_needs_a_function_with_a_name_and_a_key_of_its_own():
    with pytest.raises(StudyError, match=r"measure '.*<lambda>' has no name at the top level"):
        Metric("own", "nats", measure=lambda logits, targets: targets)
    with pytest.raises(StudyError, match="measure is a function of logits and targets"):
        Metric("own", "nats", measure=Table)
    for key in ("val_loss", "parameters"):
        with pytest.raises(StudyError, match=f"every run has a number called '{key}' already"):
            make_study(metric=Metric(key, "nats", measure=rare_loss))
    for key in ("seed", "arm", "status", "diverged_step", "measured.startup_seconds"):
        with pytest.raises(StudyError, match=f"has a column '{key}' already"):
            make_study(metric=Metric(key, "nats", measure=rare_loss))
    for key in (" x", "x\n", "a\nb"):
        with pytest.raises(StudyError, match="the key of a metric is one line without blanks around it"):
            make_study(metric=Metric(key, "nats", measure=rare_loss))
    with pytest.raises(StudyError, match="has a key and a unit"):
        make_study(metric=Metric("own", "", measure=rare_loss))
    with pytest.raises(StudyError, match=r"no study is judged on 'rare_loss'.*measure=function"):
        make_study(metric=Metric("rare_loss", "nats/token"))


def test_without_a_measure_nothing_is_told_of_one():
    assert VAL_LOSS.to_json() == {"key": "val_loss", "unit": "nats/token", "better": "lower"}
    told = Metric("own", "nats", measure=rare_loss).to_json()
    assert told["measure"] == f"{__name__}:rare_loss"
    assert Metric(**json.loads(json.dumps(told))).to_json() == told


STUDY = """
import torch
from measures import rare_loss

import paribus as pb

baseline = pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2)
study = pb.Study(
    question="Is RMSNorm as good on capitals?",
    baseline=baseline,
    treatments={"rms": baseline.replace("*norm", pb.spec(pb.nn.RMSNorm))},
    data=pb.spec(pb.data.Text, source=SOURCE, tokenizer=pb.spec(pb.data.Bytes)),
    training=pb.Training(
        tokens=1280, batch_tokens=128, seq_len=32, evaluations=2, evaluation_tokens=1024,
        optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
    ),
    metric=pb.Metric("rare_loss", "nats/capital", measure=rare_loss),
    margin=5.0,
    min_seeds=2,
    max_seeds=2,
    extra_rates=(),
)
"""
MEASURES = """
import torch
import torch.nn.functional as F


def rare_loss(logits, targets):
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1, reduction="none")
    return torch.where((targets >= ord("A")) & (targets <= ord("Z")), FACTOR * losses, torch.nan)
"""


def test_a_study_is_judged_on_it_through_workers_and_an_edited_measure_runs_again(home, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file, measures, store = tmp_path / "capitals.py", tmp_path / "measures.py", tmp_path / "store"
    file.write_text(STUDY.replace("SOURCE", repr(str(Path(email.__file__).parent))))
    measures.write_text(MEASURES.replace("FACTOR", "1.0"))
    result = lab.run(file, store, devices=1)
    comparison, verdict = result.comparisons["rms"], result.verdicts["rms"]
    assert comparison.to_json()["metric"] == {"key": "rare_loss", "unit": "nats/capital", "better": "lower"}
    assert comparison.se_doc is None and comparison.wider_interval is None
    assert verdict.wider_sentence == ""
    assert "rare loss" in verdict.sentence
    assert "nats/capital" in verdict.sentence
    assert "rare_loss, nats/capital" in (store / "studies" / "capitals" / "report.md").read_text()
    records = read_evidence(Store(store), "capitals").records["baseline"]
    for record, pair in zip(records.values(), comparison.pairs, strict=True):
        assert record.metrics["rare_loss"] == pair.baseline == record.evaluations[-1]["metrics"]["rare_loss"]
        assert set(record.metrics) - {"rare_loss"} <= METRICS.keys() | set(RECORDED)

    measures.write_text(MEASURES.replace("FACTOR", "2.0"))
    again = lab.run(file, store, executor="inline")
    doubled = [pair.baseline for pair in again.comparisons["rms"].pairs]
    assert doubled == pytest.approx([2 * pair.baseline for pair in comparison.pairs])
    assert len(list(store.glob("runs/*/result.json"))) == 8
    (repeated,) = [found for found in again.report.findings if found.check == "repeated look"]
    assert repeated.evidence == {"judged_before": ["capitals"]}, "the same models, by another number"

    sentence = again.verdicts["rms"].sentence
    file.unlink()
    measures.unlink()
    script = "import sys; import paribus as pb; print(pb.status(sys.argv[1]).studies.keys()); "
    script += "print(pb.report(sys.argv[1], 'capitals-2').verdicts['rms'].sentence); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-P", "-c", script, store], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[1] == sentence
    assert told.stdout.splitlines()[-1] == "False"


def test_the_run_of_a_study_without_one_has_no_word_of_metrics_in_its_identity(tmp_path):
    from paribus.experiment.plan import Environment, identify_run, plan

    environment = Environment("data", "cpu", "2")
    plain = plan(make_study(), environment)
    own = plan(make_study(metric=Metric("own", "nats", measure=rare_loss)), environment)
    assert "metric" not in plain.run("wide", 0).identity
    assert own.run("wide", 0).identity["metric"]["function"] == f"{__name__}:rare_loss"
    assert own.run("wide", 0).digest != plain.run("wide", 0).digest
    assert own.run("wide", 0).training_digest == plain.run("wide", 0).digest
    trials = [identify_run(p, "wide", p.study.arms["wide"], 5).identity for p in (plain, own)]
    assert ["metric" in identity for identity in trials] == [False, True]
