import json
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from paribus.cli import texts as display
from paribus.cli.commands import commands
from paribus.lab import running as lab

NORM = """
import torch
from torch import nn

class HalfNorm(nn.Module):
    def __init__(self, dim, share=0.5):
        super().__init__()
        self.share = share
        self.gain = nn.Parameter(torch.ones(dim))
        print("built")
    def forward(self, x):
        n = int(self.share * x.shape[-1])
        scale = torch.rsqrt(x[..., :n].square().mean(-1, keepdim=True) + 1e-6)
        return torch.cat([x[..., :n] * scale, x[..., n:]], -1) * self.gain

class Peeking(nn.Module):
    def forward(self, x):
        return x.flip(1)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tried.py").write_text(NORM)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(commands, arguments, standalone_mode=False)


def test_examine_ends_with_1_where_a_check_fails():
    passed, failed = call("examine", "tried.py:HalfNorm"), call("examine", "tried.py:Peeking")
    assert (passed.return_value, failed.return_value) == (0, 1)
    assert "HalfNorm as norm: 10 of 10 checks passed" in passed.stdout
    assert "FAIL  is causal" in failed.stdout


def test_examine_as_json_is_pure_data():
    found = json.loads(call("examine", "tried.py:HalfNorm", "--json", "--set", "share=0.25").stdout)
    assert (found["slot"], found["passed"], found["arguments"]) == ("norm", True, {"share": 0.25})


def test_try_writes_the_study_file_and_stops_there_when_asked(here):
    said = call("try", "tried.py:HalfNorm", "--write", "--set", "share=0.25")
    assert said.stdout == "study file: try_half_norm.py\n"
    assert "pb.spec(HalfNorm, share=0.25)" in (here / "try_half_norm.py").read_text()
    assert not (here / "paribus-store").exists()


def test_what_was_written_is_said_as_json_too():
    said = json.loads(call("try", "tried.py:HalfNorm", "--write", "--json").stdout)
    assert (said["study_file"], said["examination"]["slot"]) == ("try_half_norm.py", "norm")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["try", "tried.py:HalfNorm", "--set", "share"], "expected name=value, got 'share'"),
        (["try", "tried.py:HalfNorm", "--set", "share="], "expected name=value, got 'share='"),
        (["try", "tried.py:HalfNorm", "--set", "share=1", "--set", "share=2"], "share is set twice"),
        (["try", "tried.py:HalfNorm", "--set", "share=false"], "share=false: did you mean share=False?"),
        (["try", "tried.py:HalfNorm", "--write", "--store", "x"], "--write runs nothing: --store does not go with it"),
    ],
)
def test_options_that_do_not_go_together_are_said(arguments, said):
    refused = call(*arguments).exception
    assert isinstance(refused, click.UsageError)
    assert said in refused.message


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["check", "tried.py:HalfNorm"], "`paribus examine tried.py:HalfNorm`"),
        (["check", "tried.py:HalfNorm", "--slot", "norm"], "`paribus examine FILE.py:CLASS`"),
        (["check", "norm", "--set", "share=1"], "`paribus examine FILE.py:CLASS`"),
        (["run", "norm", "--null"], "`paribus calibrate STUDY`"),
        (["run", "norm", "--timing"], "`paribus time STUDY`"),
        (["run", "norm", "--null", "--comparisons", "50"], "`paribus calibrate STUDY`"),
        (["run", "norm", "--comparisons", "50"], "benchmarks/false_verdicts.py"),
    ],
)
def test_the_spellings_of_earlier_releases_answer_with_todays(arguments, answer, here):
    refused = call(*arguments).exception
    assert isinstance(refused, click.UsageError)
    assert answer in refused.message
    assert not (here / "paribus-store").exists()


def test_a_better_that_was_seen_once_is_offered_a_confirmation(monkeypatch):
    monkeypatch.setattr(display, "result_text", lambda result: "said")
    for kind, arguments, offered in (("better", [], True), ("equivalent", [], False), ("better", ["--confirm"], False)):
        result = SimpleNamespace(verdicts={"half": SimpleNamespace(kind=kind)}, exit_code=0)
        monkeypatch.setattr(lab, "run", lambda study, result=result, **options: result)
        assert ("`paribus run half.py --confirm`" in call("run", "half.py", *arguments).stdout) == offered
