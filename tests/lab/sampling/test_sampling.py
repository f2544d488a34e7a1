"""Text out of trained arms, from a store that a toy study left behind."""

import email
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import paribus as pb
from paribus.design.digests import digest_json
from paribus.design.study_files import read_study
from paribus.errors import PartError, StoreError, StudyError
from paribus.experiment.stored_evidence import read_registration
from paribus.lab import running as lab
from paribus.lab.sampling.drawing import END, _decoder
from paribus.nn.contract import build_model
from paribus.store.store import Store

STUDY = """
from pathlib import Path

import torch
from torch import nn

import paribus as pb


class Norm(nn.Module):
    '''RMSNorm, written again.'''

    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain


class ByLength(Norm):
    '''Causal at every length, and another function at each.'''

    def forward(self, x):
        return super().forward(x) * (1 + 0.02 * x.shape[1])


baseline = pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2)
study = pb.Study(
    question="Do they write?",
    baseline=baseline,
    treatments={
        "again": baseline.replace("*norm", pb.spec(Norm)),
        "by length": baseline.replace("*norm", pb.spec(ByLength)),
        "hyper": baseline.replace("blocks.*.mixer", pb.spec(pb.nn.HyperMixer, n_heads=2)),
    },
    primary=("again",),
    data=pb.spec(pb.data.Text, source=TEXT, tokenizer=pb.spec(pb.data.Bytes)),
    training=pb.Training(
        tokens=40 * 128, batch_tokens=128, seq_len=32, evaluations=1, evaluation_tokens=512,
        optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
    ),
    margin=1.0, min_seeds=2, max_seeds=2, extra_rates=(),
)
"""


@pytest.fixture(scope="module")
def place(home, tmp_path_factory):
    """A folder with the study file and the store of its runs."""
    folder = tmp_path_factory.mktemp("sampling")
    (folder / "writers.py").write_text(STUDY.replace("TEXT", repr(str(Path(email.__file__).parent))))
    lab.run(folder / "writers.py", folder / "store", executor="inline")
    return folder


def sample(place, **options):
    return pb.sample(place / "store", study=place / "writers.py", **options)


def command(place, *arguments):
    script = [sys.executable, "-m", "paribus", "sample", *arguments]
    return subprocess.run(script, cwd=place, env=os.environ, capture_output=True, text=True, timeout=120)


def run_folder(place, arm, seed=0):
    store = Store.open(place / "store")
    return place / "store" / "runs" / read_registration(store, "writers").runs[arm][seed]


@pytest.fixture(scope="module")
def samples(place):
    return sample(place, n_tokens=60, seed=5)


def test_the_runs_of_the_first_seed_keep_their_weights_and_no_others_do(place):
    for arm in ("baseline", "again", "by length", "hyper"):
        kept = torch.load(run_folder(place, arm, 0) / "weights.pt", weights_only=True)
        assert all(isinstance(tensor, torch.Tensor) for tensor in kept.values())
        assert not (run_folder(place, arm, 1) / "weights.pt").exists()
        assert (run_folder(place, arm, 1) / "result.json").exists()


def test_the_weights_take_four_bytes_a_parameter(place):
    kept = torch.load(run_folder(place, "baseline") / "weights.pt", weights_only=True)
    record = Store.open(place / "store").read_record(run_folder(place, "baseline").name)
    assert sum(tensor.nbytes for tensor in kept.values()) == 4 * record.metrics["parameters"]


def test_what_a_run_keeps_is_no_part_of_its_identity(place):
    assert "weights" not in (run_folder(place, "baseline") / "run.json").read_text()


def test_every_arm_goes_on_from_the_same_beginning_of_a_held_out_document(samples):
    assert list(samples.arms) == ["baseline", "again", "by length", "hyper"]
    assert samples.is_held_out
    validation = [p.read_text(errors="replace") for p in sorted(Path(email.__file__).parent.rglob("*.py"))]
    passage = samples.prompt.text + samples.continuation.text
    assert any(document.startswith(passage) for document in validation)
    for arm in samples.arms.values():
        assert len(arm.greedy.tokens) == len(arm.sampled.tokens) == 60


def test_greedy_text_is_what_the_trained_model_finds_most_likely(place, samples):
    study = read_study(place / "writers.py").choose()
    model = build_model(study.baseline, 7, vocab_size=257, seq_len=32).eval()
    model.load_state_dict(torch.load(run_folder(place, "baseline") / "weights.pt", weights_only=True))
    tokens = [256, *samples.prompt.tokens]
    with torch.no_grad():
        for _ in range(60):
            tokens.append(model(torch.tensor([tokens[-32:]]))[0, -1].argmax().item())
    assert tuple(tokens[-60:]) == samples.arms["baseline"].greedy.tokens


def test_the_log_probability_is_that_of_the_document_under_the_trained_model(place, samples):
    study = read_study(place / "writers.py").choose()
    model = build_model(study.arms["hyper"].model, 7, vocab_size=257, seq_len=32).eval()
    model.load_state_dict(torch.load(run_folder(place, "hyper") / "weights.pt", weights_only=True))
    prompt, goes_on = [256, *samples.prompt.tokens], list(samples.continuation.tokens)
    tokens = torch.tensor([prompt + goes_on])
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(
            model(tokens[:, :-1])[0, len(prompt) - 1 :], torch.tensor(goes_on)
        ).item()
    assert samples.arms["hyper"].held_out_log_probability == pytest.approx(-loss, abs=1e-5)
    assert len(prompt) + len(goes_on) == 33, "as much as a model reads, and one token to predict"


def test_a_part_that_is_another_function_at_every_length_fails_the_check_alone(samples):
    passed = {name: arm.decoding.passed for name, arm in samples.arms.items()}
    assert passed == {"baseline": True, "again": True, "by length": False, "hyper": True}
    assert samples.arms["by length"].decoding.by_prefixes > 0.01
    assert samples.exit_code == 1


def test_a_mixer_that_steps_is_stepped(samples):
    assert samples.arms["hyper"].decoding.steppers == 1
    assert samples.arms["hyper"].decoding.by_steps < 1e-9
    assert samples.arms["baseline"].decoding.by_steps is None


def test_the_same_seed_writes_the_same_and_another_seed_something_else(place, samples):
    again, other = (sample(place, arms=["baseline"], n_tokens=60, seed=seed) for seed in (5, 6))
    assert again.arms["baseline"] == samples.arms["baseline"]
    assert other.arms["baseline"].sampled != samples.arms["baseline"].sampled
    assert other.arms["baseline"].greedy == samples.arms["baseline"].greedy


def test_at_temperature_zero_the_sampled_text_is_the_greedy_one(place):
    arm = sample(place, arms=["hyper"], n_tokens=20, temperature=0).arms["hyper"]
    assert arm.sampled == arm.greedy


def test_what_repeats_is_counted_over_four_grams(samples):
    ids = samples.arms["baseline"].greedy.tokens
    seen, repeated = set(), 0
    for i in range(57):
        repeated += ids[i : i + 4] in seen
        seen.add(ids[i : i + 4])
    assert samples.arms["baseline"].greedy.repeated == pytest.approx(repeated / 57)


def test_the_separator_is_spelled_out_in_text(place):
    class Letters:
        separator, is_own, title = 256, True, "Letters"
        decode_ids = staticmethod(len)

        def decode(self, ids):
            return bytes(ids).decode()

    assert _decoder(Letters())([97, 256, 256, 98]) == f"a{END}{END}b"


def test_a_prompt_begins_a_document_and_the_window_slides_past_it(place):
    written = sample(place, arms=["baseline"], prompt="import ", n_tokens=40)
    assert written.prompt.text == "import "
    assert not written.is_held_out
    # Token i (from 0) is written after 1 + 7 + i others: from i = 25 on these are more than 32.
    assert written.n_slid == 40 - 25
    longest = sample(place, arms=["baseline"], prompt="i" * 31, n_tokens=1)
    assert longest.n_slid == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "x" * 32}, "prompt has 32 tokens.*models read 32"),
        ({"prompt": ""}, "prompt is empty"),
        ({"temperature": -0.1}, "temperature must be finite and not negative"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"n_tokens": 0}, "at least 1, got 0"),
        ({"arms": ["agian"]}, "has no arm 'agian'; did you mean 'again'"),
        ({"arms": "again"}, r"write \['again'\]"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(place, options, said):
    with pytest.raises(StudyError, match=said):
        sample(place, **options)


def test_a_study_that_is_not_there_is_refused_by_name(place):
    with pytest.raises(StoreError, match="holds no study 'writer'; did you mean 'writers'"):
        pb.sample(place / "store", "writer")


def test_a_class_of_a_file_is_not_imported_from_the_store(place):
    with pytest.raises(StudyError, match=r"uses .*study_writers:Norm.*, which no built-in study .*--file STUDY.py"):
        pb.sample(place / "store")


def forge(copied, change):
    """Change the registration of a store so that it is consistent in itself."""
    file = copied / "store" / "studies" / "writers" / "registration.json"
    registration = change(json.loads(file.read_text()))
    registration["digest"] = digest_json({key: value for key, value in registration.items() if key != "digest"})
    file.write_text(json.dumps(registration))


def test_no_command_is_run_because_a_store_names_it(copied):
    data = {
        "class": "paribus.execution.processes:subprocess.Popen",
        "arguments": {"args": ["touch", str(copied / "ran")]},
    }
    forge(copied, lambda registration: {**registration, "study": {**registration["study"], "data": data}})
    with pytest.raises(StudyError, match=r"uses .*:subprocess\.Popen, which the study that was given does not name"):
        sample(copied, arms=["baseline"])
    assert not (copied / "ran").exists()


def test_no_module_is_imported_because_a_store_names_it(copied):
    forge(copied, lambda data: json.loads(json.dumps(data).replace("study_writers:Norm", "antigravity:Norm")))
    with pytest.raises(StudyError, match="uses antigravity:Norm, which the study that was given does not name"):
        pb.sample(copied / "store", arms=["again"], study=copied / "writers.py")
    assert "antigravity" not in sys.modules


def test_another_study_file_does_not_help(place, tmp_path):
    (tmp_path / "other.py").write_text((place / "writers.py").read_text())
    with pytest.raises(StudyError, match="uses study_writers:Norm, which the study that was given does not name"):
        pb.sample(place / "store", arms=["again"], study=tmp_path / "other.py")


def test_a_class_that_was_edited_since_is_refused(place, tmp_path):
    folder = tmp_path / place.name  # a source is named by its folder and file
    folder.mkdir()
    edited = (place / "writers.py").read_text().replace("1e-5", "1e-6")
    (folder / "writers.py").write_text(edited)
    with pytest.raises(StudyError, match=r"'again' cannot be used here: study_writers differs from what"):
        pb.sample(place / "store", arms=["again"], study=folder / "writers.py")


def test_a_comment_more_changes_nothing(place, tmp_path):
    folder = tmp_path / place.name
    folder.mkdir()
    (folder / "writers.py").write_text("# one comment more\n" + (place / "writers.py").read_text())
    assert pb.sample(place / "store", arms=["again"], study=folder / "writers.py", n_tokens=2).exit_code == 0


@pytest.fixture
def copied(place, tmp_path):
    """A store of one's own to spoil."""
    shutil.copytree(place / "store", tmp_path / "store")
    shutil.copy(place / "writers.py", tmp_path / "writers.py")
    return tmp_path


def test_an_arm_without_weights_is_named_with_what_to_do_and_the_others_are_offered(copied):
    (run_folder(copied, "hyper") / "weights.pt").unlink()
    with pytest.raises(StoreError) as caught:
        sample(copied)
    said = str(caught.value)
    assert "the run of 'hyper' kept none" in said
    assert f"delete {run_folder(copied, 'hyper')} and call `paribus run` on this study again" in said
    assert "There are weights of 'again', 'baseline', 'by length': --arm NAME" in said
    assert sample(copied, arms=["baseline"], n_tokens=2).exit_code == 0


def test_what_the_message_says_brings_the_weights_back(copied, place):
    gone = run_folder(copied, "baseline")
    before = torch.load(gone / "weights.pt", weights_only=True)
    shutil.rmtree(gone)
    lab.run(place / "writers.py", copied / "store", executor="inline")
    after = torch.load(gone / "weights.pt", weights_only=True)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_run_that_did_not_end_well_has_no_weights_to_offer(copied, status):
    file = run_folder(copied, "hyper") / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": status}))
    with pytest.raises(StoreError, match=f"the run of 'hyper' {status}"):
        sample(copied, arms=["hyper"])


def test_a_run_that_is_not_finished_is_told_apart(copied):
    (run_folder(copied, "hyper") / "result.json").unlink()
    with pytest.raises(StoreError, match="'hyper' has no finished run of the first seed"):
        sample(copied, arms=["hyper"])


def test_weights_of_another_model_or_a_damaged_file_are_refused(copied):
    file = run_folder(copied, "baseline") / "weights.pt"
    shutil.copy(run_folder(copied, "hyper") / "weights.pt", file)
    with pytest.raises(StoreError, match="holds the weights of another model"):
        sample(copied, arms=["baseline"])
    file.write_bytes(b"no zip")
    with pytest.raises(StoreError, match="is damaged"):
        sample(copied, arms=["baseline"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("paribus_source", "0" * 64, "not the source of the paribus .* that trained it"),
        ("data_digest", "0" * 64, "trained on a corpus of digest 0000000000000000"),
        ("model", "0" * 64, "its classes have other defaults"),
    ],
)
def test_weights_that_other_code_or_data_made_are_refused(copied, key, value, said):
    file = run_folder(copied, "baseline") / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(StudyError, match=said):
        sample(copied, arms=["baseline"])


def test_a_model_that_raises_is_blamed_by_the_name_of_its_arm(place, monkeypatch):
    monkeypatch.setattr(pb.nn.HyperMixer, "forward", lambda self, x: 1 / 0)
    with pytest.raises(PartError, match="the model of 'hyper' cannot write: ZeroDivisionError"):
        sample(place, arms=["hyper"])


def test_a_model_that_cannot_be_checked_has_not_passed(place, monkeypatch):
    forward = pb.nn.HyperMixer.forward

    def needs_four(self, x):
        if x.shape[1] < 4:
            raise TypeError("no such kernel")
        return forward(self, x)

    monkeypatch.setattr(pb.nn.HyperMixer, "forward", needs_four)
    written = sample(place, arms=["hyper"], n_tokens=4)
    assert len(written.arms["hyper"].greedy.tokens) == 4
    assert written.arms["hyper"].decoding.trouble == "TypeError: no such kernel"
    assert written.exit_code == 1


def test_on_the_command_line_text_fits_80_columns_and_a_failed_check_is_exit_1(place):
    done = command(place, "store", "--file", "writers.py", "--arm", "baseline", "--arm", "by length", "--tokens", "50")
    assert done.returncode == 1, done.stderr
    assert max(map(len, done.stdout.splitlines())) < 80
    assert "by length: FAILED: it does NOT decode as it was trained" in done.stdout
    assert "baseline: decodes as it was trained" in done.stdout
    assert "Traceback" not in done.stderr


def test_on_the_command_line_json_is_alone_on_standard_output(place):
    done = command(
        place, "store", "--file", "writers.py", "--arm", "hyper", "--tokens", "5", "--prompt", "def", "--json"
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["arms"]["hyper"]["decoding"]["passed"]
    assert len(data["arms"]["hyper"]["sampled"]["tokens"]) == 5
    assert bytes(data["prompt"]["tokens"]) == b"def"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 1, "no paribus store at nowhere"),
        (("store", "--study", "writer"), 1, "no study 'writer'"),
        (("store", "--arm", "again"), 2, "--file STUDY.py"),
        (("store", "--arm", "hyper", "--temperature", "-1"), 2, "temperature must be finite and not negative"),
    ],
)
def test_bad_input_gets_one_clear_sentence(place, arguments, code, said):
    refused = command(place, *arguments)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
