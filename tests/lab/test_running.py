"""The whole flow at toy size, through the command line, as a user would."""

import contextlib
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from paribus.cli.commands import main
from paribus.design.metrics import METRICS
from paribus.store.store import Store

STUDY = """
import torch
from torch import nn

import paribus as pb


class SameNorm(nn.Module):
    '''LayerNorm, written again.'''

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * self.weight + self.bias


class LookAhead(nn.Module):
    '''A norm that sees the future: statistics over time.'''

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        print("noise on standard output")
        return x / (x.square().mean((-2, -1), keepdim=True) + 1e-5).sqrt()


class Breaks(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += self.training and x.dtype == torch.float32
        if self.calls > 25:
            raise RuntimeError("one call too many")
        return x


class Explodes(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training and x.dtype == torch.float32:
            self.calls += 1
        return x * self.scale * (float("inf") if self.calls > 30 else 1.0)


baseline = pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2)
training = pb.Training(
    tokens=STEPS * 128, batch_tokens=128, seq_len=32, evaluations=2, evaluation_tokens=1024,
    curve_tokens=256, optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
)


def ask(question, margin=0.05, **treatments):
    return pb.Study(
        question=question,
        baseline=baseline,
        treatments={
            name: value if isinstance(value, pb.Arm) else baseline.replace("*norm", pb.spec(value))
            for name, value in treatments.items()
        },
        data=pb.spec(pb.data.Text, source=TEXT, tokenizer=pb.spec(pb.data.Bytes)),
        training=training,
        margin=margin,
        max_seeds=6,
    )


scales = {
    "null": ask("Is a rewritten norm the same?", again=SameNorm),
    "leak": ask("Is a leaking norm better?", leak=LookAhead),
    "slow": ask("Does a tenth of the rate do?", margin=0.01, slow=pb.Arm(
        baseline, training.replace(optimizer=pb.spec(torch.optim.AdamW, lr=0.001)))),
    "breaks": ask("Does it break?", breaks=Breaks),
    "explodes": ask("Does it diverge?", explodes=Explodes),
    "rms": ask("Is RMSNorm as good?", margin=0.002, rms=pb.nn.RMSNorm),
}
study = scales["null"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a corpus of real text, a study file of short runs and one of longer runs."""
    place = tmp_path_factory.mktemp("lab")
    text = place / "text"
    text.mkdir()
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]
    for source in sources:
        (text / f"{source.stem}.txt").write_text(source.read_text(errors="ignore")[:6000])
    for name, steps in (("toy", 40), ("longer", 120)):
        (place / f"{name}.py").write_text(STUDY.replace("STEPS", str(steps)).replace("TEXT", repr(str(text))))
    return place


def command(*arguments):
    return [sys.executable, "-m", "paribus", *map(str, arguments)]


def in_process_of_its_own(folder, *arguments):
    environment = {**os.environ, "PARIBUS_HOME": str(folder / "home")}
    return subprocess.run(command(*arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=250)


def start(folder, *arguments):
    """The command, begun in a process group of its own that takes Ctrl-C as one at a terminal does."""
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env={**os.environ, "PARIBUS_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores Ctrl-C
    )


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def paribus(folder, *arguments):
    """The command line, called in this process: it has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        patch.setenv("PARIBUS_HOME", str(folder / "home"))
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["paribus", *map(str, arguments)])
        main()
    return Done(ended.value.code, out.getvalue(), err.getvalue())


def run(folder, scale, *options, study="toy.py", call=paribus):
    store = folder / f"store-{scale}"
    done = call(folder, "run", study, "--scale", scale, "--store", store, "--json", "--executor", "inline", *options)
    assert done.returncode in (0, 1, 3), done.stderr
    return done, json.loads(done.stdout)


@pytest.fixture(scope="module")
def null(folder):
    """A rewritten norm, run: how the command ended, and its report."""
    return run(folder, "null")


@pytest.fixture(scope="module")
def leak(folder):
    """A norm that sees the future, run by the command alone: what a part prints must not reach its output."""
    return run(folder, "leak", call=in_process_of_its_own)


def verdict(report, treatment):
    return report["treatments"][treatment]["verdict"]


def unmeasured(value):
    """A report without its ``measured`` blocks."""
    if isinstance(value, dict):
        return {key: unmeasured(item) for key, item in value.items() if key != "measured"}
    return [unmeasured(item) for item in value] if isinstance(value, list) else value


def test_a_rewritten_norm_is_equivalent_and_noted_as_the_same_function(null):
    done, report = null
    assert done.returncode == 0
    assert verdict(report, "again")["kind"] == "equivalent"
    noted = [f for f in report["findings"] if f["arm"] == "again" and f["check"] == "same function"]
    assert [f["severity"] for f in noted] == ["note"]
    assert not [f for f in report["findings"] if f["severity"] != "note"]


def test_every_number_a_study_can_be_judged_on_is_in_every_result(null):
    _, report = null
    for arm in report["arms"].values():
        for key in METRICS:
            assert all(math.isfinite(value) for value in arm["metrics"][key]["values"]), key
    clocks = {
        "training_seconds",
        "evaluation_seconds",
        "tokens_per_second",
        "tokens_per_second_iqr",
        "training_flops_per_second",
        "peak_memory_bytes",
    }
    assert clocks <= report["measured"]["baseline"].keys()


def test_the_final_loss_is_that_of_all_held_out_tokens_and_no_point_of_the_curve(folder, null):
    _, report = null
    store = Store.open(folder / "store-null")
    records = [store.read_record(path.parent.name) for path in Path(store.address).glob("runs/*/result.json")]
    assert records
    for record in records:
        *_, end, final = record.evaluations
        assert (end["step"], end["tokens"]) == (final["step"], final["tokens"]) == (40, 40 * 128)
        assert end["loss"] != final["loss"]
        assert record.metrics["val_loss"] == final["loss"]
        assert sum(record.documents["loss"]) / sum(record.documents["tokens"]) == pytest.approx(final["loss"])
    for name, arm in report["arms"].items():
        assert arm["curve"]["tokens"] == [0, 20 * 128, 40 * 128]
        assert {len(losses) for losses in arm["curve"]["loss"]} == {3}
        assert len(report["measured"][name]["curve_seconds"]) == 3
        assert not {losses[-1] for losses in arm["curve"]["loss"]} & set(arm["metrics"]["val_loss"]["values"])


def test_a_leaking_norm_is_invalid_before_anything_trains_and_the_site_is_named(folder, leak):
    done, report = leak
    assert done.returncode == 3
    assert verdict(report, "leak")["kind"] == "invalid"
    assert any("norm" in (f["site"] or "") for f in report["findings"] if f["severity"] == "invalid")
    assert not list((folder / "store-leak" / "runs").glob("*/result.json"))


def test_a_tenth_of_the_learning_rate_is_worse(folder):
    done, report = run(folder, "slow", study="longer.py")
    assert done.returncode == 0
    assert verdict(report, "slow")["kind"] == "worse"
    assert report["treatments"]["slow"]["comparison"]["mean"] > 0.01


def test_a_part_that_raises_fails_its_run_and_says_where(folder):
    done, report = run(folder, "breaks")
    assert done.returncode == 1
    said = " ".join(f["message"] for f in report["findings"])
    assert "one call too many" in said
    assert verdict(report, "breaks")["kind"] == "invalid"


def test_a_run_that_diverges_is_a_result_and_makes_the_verdict_undecided(folder):
    done, report = run(folder, "explodes")
    assert done.returncode == 0
    assert verdict(report, "explodes")["kind"] == "undecided"
    assert "unstable" in verdict(report, "explodes")["reasons"]


def test_killed_again_and_again_a_study_ends_with_the_numbers_of_an_undisturbed_one(folder):
    rng, store = random.Random(0), folder / "killed"
    arguments = ["run", "longer.py", "--scale", "rms", "--max-seeds", "4", "--json", "--store"]
    undisturbed = paribus(folder, *arguments, folder / "whole", "--executor", "inline")
    assert undisturbed.returncode == 0, undisturbed.stderr

    def trained_steps():
        return sum(len(file.read_text().splitlines()) for file in store.glob("runs/*/steps.jsonl"))

    for after in ("a while", "steps", "steps"):
        process = start(folder, *arguments, store)
        trained = trained_steps()
        while after == "steps" and process.poll() is None and trained_steps() <= trained + 20:
            time.sleep(0.02)
        time.sleep(rng.uniform(3, 5) if after == "a while" else rng.uniform(0, 1))
        process.kill()
        process.communicate()
    assert trained_steps()
    finished = in_process_of_its_own(folder, *arguments, store)
    assert finished.returncode == 0, finished.stderr
    assert unmeasured(json.loads(finished.stdout)) == unmeasured(json.loads(undisturbed.stdout))


def test_an_interrupted_study_ends_cleanly_and_goes_on(folder):
    store = folder / "store-interrupted"
    arguments = ("run", "longer.py", "--scale", "rms", "--max-seeds", "3", "--store", store)
    process = start(folder, *arguments)
    while process.poll() is None and not list(store.glob("runs/*/steps.jsonl")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends Ctrl-C to the workers too
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "interrupted; run the same command again to go on" in errors
    assert "Traceback" not in errors
    state = json.loads(paribus(folder, "status", store, "--json").stdout)
    assert state["studies"]["longer-rms"]["treatments"][0]["verdict"] is None
    assert paribus(folder, *arguments, "--executor", "inline").returncode == 0


def test_runs_that_are_done_are_not_done_again(folder, null):
    _, first = null
    results = {path: path.stat().st_mtime_ns for path in (folder / "store-null").glob("runs/*/result.json")}
    _, second = run(folder, "null")
    assert second == first
    assert results
    assert results == {path: path.stat().st_mtime_ns for path in (folder / "store-null").glob("runs/*/result.json")}


def test_an_edited_study_is_a_second_attempt(folder, null):
    _, report = run(folder, "null", "--max-seeds", "5")
    assert report["attempt"] == 2
    assert report["name"] == "toy-2"


def test_a_confirmation_has_fresh_seeds_and_documents_that_were_held_back(folder, null):
    _, first = null
    _, confirmed = run(folder, "null", "--confirm")
    assert confirmed["name"] == "toy-confirm"
    assert confirmed["evaluation_digest"] != first["evaluation_digest"]
    assert not set(confirmed["arms"]["baseline"]["seeds"]) & set(first["arms"]["baseline"]["seeds"])
    assert verdict(confirmed, "again")["kind"] == "equivalent"


def test_a_registration_that_was_edited_by_hand_is_refused(folder, leak):
    path = folder / "store-leak" / "studies" / "toy-leak" / "registration.json"
    before = path.read_text()
    path.write_text(before.replace('"margin": 0.05', '"margin": 0.5'))
    refused = paribus(folder, "report", folder / "store-leak")
    path.write_text(before)
    assert refused.returncode == 1
    assert "was changed after it was written" in refused.stderr


def test_check_shows_sizes_sites_and_the_cost_of_the_plan(folder):
    checked = json.loads(paribus(folder, "check", "toy.py", "--scale", "rms", "--json").stdout)
    baseline, rms = checked["arms"]["baseline"], checked["arms"]["rms"]
    assert (rms["sites_changed"], rms["sites_alike"]) == (3, 3)
    assert (baseline["norm_parameters"], rms["norm_parameters"]) == (3 * 2 * 16, 3 * 16)
    assert checked["plan"]["runs"] == 12
    assert checked["plan"]["tokens"] == 12 * 40 * 128
    flops = 6 * 40 * 128 * (baseline["training_flops_per_token"] + rms["training_flops_per_token"])
    assert checked["plan"]["training_flops"] == flops
    text = paribus(folder, "check", "toy.py", "--scale", "rms").stdout
    assert "3 of 3" in text
    assert "final_norm: LayerNorm -> RMSNorm" in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "nrom"), 2, "did you mean 'norm'?"),
        (("run", "toy.py", "--scale", "huge"), 2, "it offers null, leak"),
        (("run", "toy.py", "--max-seeds", "99"), 2, "max_seeds <= 20"),
        (("run", "toy.py", "--data", "nowhere.txt"), 1, "nowhere.txt"),
        (("run", "toy.py", "--store", "text"), 1, "is no paribus store"),
        (("status", "nothing-here"), 1, "no paribus store at nothing-here"),
        (("report", "nothing-here"), 1, "no paribus store at nothing-here"),
        (("parts", "--slot", "nrom"), 2, "no slot 'nrom'"),
        (("run",), 2, "Missing argument"),
    ],
)
def test_bad_input_gets_one_clear_sentence(folder, arguments, code, said):
    refused = paribus(folder, *arguments)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_baseline_against_itself_is_run_before_anything_else_and_kept(folder):
    first = paribus(folder, "calibrate", "toy.py", "--executor", "inline", "--store", "null-store", "--json")
    assert first.returncode == 0, first.stderr
    null = json.loads(first.stdout)["null"]
    assert 0 < null["floor_sd"] < null["seed_sd"]
    assert null["sds"]["worst"] == pytest.approx(math.sqrt(2) * null["seed_sd"])
    runs = sorted(path.parent.name for path in (folder / "null-store" / "runs").glob("*/result.json"))
    assert len(runs) == 2 * null["n_seeds"] == 10
    again = paribus(folder, "calibrate", "toy.py", "--executor", "inline", "--store", "null-store")
    assert "finished" not in again.stderr
    assert f"margin {null['margin']:.3g}" in again.stdout
    assert not list((folder / "null-store" / "studies").glob("*")), "nothing is registered yet"


def test_times_are_added_to_the_report_once_and_change_no_verdict(folder):
    early = paribus(folder, "time", "toy.py", "--store", "timed-store")
    assert (early.returncode, "no paribus store at timed-store" in early.stderr) == (1, True)
    plain = paribus(folder, "run", "toy.py", "--store", "timed-store", "--json", "--executor", "inline")
    other = paribus(folder, "time", "toy.py", "--store", "timed-store", "--max-seeds", "5")
    assert (other.returncode, "has no registration of 'toy' as it is now" in other.stderr) == (1, True)
    timed = paribus(folder, "time", "toy.py", "--store", "timed-store", "--json")
    assert timed.returncode == 0, timed.stderr
    before, after = json.loads(plain.stdout), json.loads(timed.stdout)
    assert before["timing"] is None
    assert set(after["timing"]["measured"]["treatments"]) == {"again"}
    assert {**after, "timing": None} == before
    assert "## Times" in (folder / "timed-store" / "studies" / "toy" / "report.md").read_text()
    if not after["timing"]["measured"]["busy"]:
        again = paribus(folder, "time", "toy.py", "--store", "timed-store", "--json")
        assert "the arms were timed already" in again.stderr
        assert json.loads(again.stdout)["timing"] == after["timing"]
