"""What a store may name: only what the study has in that place, and nothing is imported to find out."""

import copy
import json
import sys

import pytest
import torch
from torch import nn

import paribus as pb
from paribus.design.study_files import built_in_studies, read_study
from paribus.errors import StudyError
from paribus.lab.sampling.weights import _built_in, _require_known


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
    ("place", "value"),
    [
        ("data", of_class("paribus.execution.processes:subprocess.Popen", args=["true"])),
        ("data", {"reference": "builtins:exec"}),
        ("data", of_class("paribus.nn.norm:RMSNorm")),
        ("tokenizer", of_class("antigravity:Tokenizer")),
        ("model", of_class("torch.nn.modules.module:Module.__class__")),
        ("model", [of_class("torch.utils.data:DataLoader")]),
        ("activation", {"reference": "torch.hub:load"}),
        ("activation", {"reference": "paribus.nn.init:reset_children.__globals__"}),
        ("activation", {"reference": ["builtins:exec"]}),
        ("optimizer", of_class("torch.optim.optimizer:functools.partial")),
        ("schedule", of_class("torch.optim.adamw:AdamW")),
        ("clip", of_class("torch.optim.adamw:AdamW")),
    ],
)
def test_what_a_store_names_has_to_be_what_the_study_names_in_that_place(place, value):
    with pytest.raises(StudyError, match="which the study that was given does not name in that place"):
        _require_known(forged(place, value), ["baseline"], [STUDY])
    with pytest.raises(StudyError, match="which no built-in study of its name has"):
        _require_known(forged(place, value), ["baseline"], [])
    assert "antigravity" not in sys.modules


def test_a_class_of_the_given_study_is_allowed_where_that_study_has_it_and_nowhere_else():
    name = f"{__name__}:Norm"
    registration = registration_of()
    _require_known(registration, ["own"], [STUDY])
    registration["study"]["data"] = of_class(name, dim=1)
    with pytest.raises(StudyError, match=f"uses {name}, which the study that was given does not name in that place"):
        _require_known(registration, ["own"], [STUDY])


@pytest.mark.parametrize("name", built_in_studies())
def test_every_built_in_study_may_be_sampled_without_a_file(name):
    for title in (name, f"{name}-paper-2", f"{name}-on-notes-confirm"):
        study = read_study(name).choose()
        assert _require_known(registration_of(study), list(study.arms), _built_in(title)) is None
    assert _built_in("nowhere-2") == []


def test_a_corpus_that_was_named_in_place_of_the_studys_may_have_a_tokenizer_of_its_own():
    study = read_study("norm").choose()
    data = study.data.replace("source", "notes.txt").replace("tokenizer", pb.spec(pb.data.BPE, vocab_size=300))
    assert _require_known(registration_of(study.replace(data=data)), ["baseline"], _built_in("norm-on-notes")) is None


def test_an_argument_that_happens_to_be_called_reference_names_no_class():
    registration = registration_of()
    registration["study"]["data"]["arguments"]["reference"] = "os:system"
    assert _require_known(registration, ["baseline"], [STUDY]) is None
