"""What a store may name: only what paribus or torch has for that place, and nothing is built to find out."""

import copy
import json
import sys

import pytest
import torch
from torch import nn

import paribus as pb
from paribus.design.study_files import built_in_studies, read_study
from paribus.errors import ParibusError, StudyError
from paribus.lab.sampling.weights import _require_known


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x


class Numbers:
    vocab_size = 10

    def documents(self, side):
        return []


BASELINE = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)
STUDY = pb.Study(
    question="May it?",
    baseline=BASELINE,
    treatments={"own": BASELINE.replace("*norm", pb.spec(Norm))},
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.Bytes)),
    training=pb.Training(tokens=64, batch_tokens=32, seq_len=8, evaluations=1, optimizer=pb.spec(torch.optim.AdamW)),
    margin=1.0,
)


def registration_of(study=STUDY, name="may-it"):
    return {"name": name, "study": json.loads(json.dumps(study.to_json()))}


def forged(place, value):
    registration = copy.deepcopy(registration_of())
    arm = registration["study"]["arms"]["baseline"]
    if place == "data":
        registration["study"]["data"] = value
    elif place == "tokenizer":
        registration["study"]["data"]["arguments"]["tokenizer"] = value
    elif place == "model":
        arm["model"] = value
    elif place == "activation":
        arm["model"]["arguments"]["blocks"][0]["arguments"]["mlp"]["arguments"]["activation"] = value
    else:
        arm["training"][place] = value
    return registration


def of_class(name, **arguments):
    return {"class": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            "data",
            of_class("paribus.execution.processes:subprocess.Popen", args=["true"]),
            "subprocess.Popen as its data",
        ),
        ("data", of_class("paribus.data.hub:threading.Thread"), "hub:threading.Thread as its data"),
        ("data", of_class("paribus.data.held_out:Side"), "held_out:Side as its data"),
        ("data", of_class("paribus.nn.norm:RMSNorm"), "norm:RMSNorm as its data"),
        ("data", {"reference": "builtins:exec"}, "builtins:exec as its data"),
        ("tokenizer", of_class("torch.nn.modules.linear:Linear"), "linear:Linear as its data"),
        ("model", of_class("builtins:eval"), "builtins:eval as its model"),
        ("model", of_class("paribus.nn.attention:torch.nn.Linear"), "attention:torch.nn.Linear as its model"),
        ("model", of_class("torch.nn:Linear"), "torch.nn:Linear as its model"),
        ("model", of_class("torch.nn.modules.module:Module.__class__"), "Module.__class__ as its model"),
        ("model", of_class("paribus.data.text:Text"), "text:Text as its model"),
        ("model", [of_class("torch.utils.data:DataLoader")], "DataLoader as its model"),
        ("activation", {"reference": "torch.hub:load"}, "torch.hub:load as its model"),
        ("activation", {"reference": "torch.nn.functional:importlib.import_module"}, "import_module as its model"),
        ("activation", {"reference": "paribus.nn.init:reset_children.__globals__"}, "__globals__ as its model"),
        ("activation", {"reference": "paribus.nn.conformance.suite:_look"}, "suite:_look as its model"),
        ("activation", {"reference": ["builtins:exec"]}, "as its model|which paribus does not have"),
        ("optimizer", of_class("torch.optim.optimizer:functools.partial"), "functools.partial as its optimizer"),
        ("optimizer", of_class("paribus.nn.norm:RMSNorm"), "norm:RMSNorm as its optimizer"),
        ("schedule", of_class("paribus.training.checkpoint:save_checkpoint"), "save_checkpoint as its schedule"),
        ("schedule", of_class("torch.optim.adamw:AdamW"), "AdamW as its schedule"),
        ("clip", of_class("torch.optim.adamw:AdamW"), "AdamW as its clip, which can only be a plain value"),
    ],
)
def test_what_a_store_names_has_to_fit_its_place(place, value, said):
    with pytest.raises(StudyError, match=said):
        _require_known(forged(place, value), ["baseline"], [])


def test_a_module_that_is_no_home_of_parts_is_not_even_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "paribus.__main__", raising=False)
    with pytest.raises(StudyError, match=r"paribus\.__main__:main as its model"):
        _require_known(forged("model", of_class("paribus.__main__:main")), ["baseline"], [])
    assert "paribus.__main__" not in sys.modules


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(ParibusError, match=r"cannot find .*:NoSuchNorm"):
        _require_known(forged("model", of_class("paribus.nn.norm:NoSuchNorm")), ["baseline"], [])


def test_a_class_of_the_given_study_is_allowed_where_that_study_has_it_and_nowhere_else():
    name = f"{__name__}:Norm"
    registration = registration_of()
    _require_known(registration, ["own"], [STUDY])
    registration["study"]["data"] = of_class(name, dim=1)
    with pytest.raises(StudyError, match=f"uses {name}, which the study that was given does not name in that place"):
        _require_known(registration, ["own"], [STUDY])


def test_what_the_given_study_has_of_torch_is_allowed_there():
    activated = BASELINE.replace("*.mlp.activation", torch.special.erf)
    study = STUDY.replace(baseline=activated, treatments={"own": activated.replace("*norm", pb.spec(Norm))})
    with pytest.raises(StudyError, match="special_erf as its model"):
        _require_known(registration_of(study), ["baseline"], [])
    _require_known(registration_of(study), ["baseline"], [study])


@pytest.mark.parametrize("name", built_in_studies())
def test_every_built_in_study_may_be_sampled_without_a_file(name):
    for study in read_study(name).scales.values():
        assert _require_known(registration_of(study), list(study.arms), []) is None


@pytest.mark.parametrize("activation", [nn.functional.gelu, nn.functional.silu, pb.nn.relu_squared])
@pytest.mark.parametrize("norm", [nn.LayerNorm, pb.nn.DyT])
@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [(torch.optim.SGD, torch.optim.lr_scheduler.ConstantLR), (pb.training.MuonAdamW, pb.training.WarmupStableDecay)],
)
def test_parts_of_paribus_and_torch_need_no_file(activation, norm, optimizer, schedule):
    baseline = pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2).replace("*.mlp.activation", activation)
    experts = pb.nn.deepseek_v3(d_model=32, n_layers=2, n_heads=2)
    study = STUDY.replace(
        baseline=baseline,
        treatments={"norm": baseline.replace("*norm", pb.spec(norm)), "experts": experts},
        primary=("norm",),
        data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=300)),
        training=STUDY.training.replace(optimizer=pb.spec(optimizer, lr=0.1), schedule=pb.spec(schedule)),
    )
    assert _require_known(registration_of(study), ["baseline", "norm", "experts"], []) is None


def test_an_argument_that_happens_to_be_called_reference_names_no_class():
    registration = registration_of()
    registration["study"]["data"]["arguments"]["reference"] = "os:system"
    assert _require_known(registration, ["baseline"], []) is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("try_plain_norm", "try_plain_norm.py"),
        ("try_plain_norm-2", "try_plain_norm.py"),
        ("try_plain_norm-on-notes-confirm-3", "try_plain_norm.py"),
        ("may-it", "STUDY.py"),
        ("may-it-2", "STUDY.py"),
    ],
)
def test_the_file_to_name_is_the_one_the_study_is_named_after(name, file):
    with pytest.raises(StudyError, match=rf"uses {__name__}:Norm, .*\(--file {file}\)$"):
        _require_known(registration_of(name=name), ["own"], [])
