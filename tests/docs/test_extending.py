"""Every example of docs/extending.md is a study that the audits have nothing against."""

import re
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import paribus as pb
from paribus.design.study_files import read_study
from paribus.nn.conformance.subjects import CHECKED_SLOTS

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
OPENING, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
HEADINGS = re.findall(r"^## (.*)$", PAGE, flags=re.M)


def title_of(example):
    """The heading above an example."""
    return re.findall(r"^## ([\w.-]+)", PAGE[: PAGE.index(example)], flags=re.M)[-1]


IDS = [f"{title_of(example)}-{number}" for number, example in enumerate(EXAMPLES)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:40]:
        (folder / f"{source.stem}.txt").write_text(source.read_text(errors="ignore")[:8000])
    return folder


def write(folder, example):
    """A study file of the opening and an example, with one layer, for speed."""
    path = folder / "example.py"
    path.write_text(f"{OPENING}\n\n{example}".replace("n_layers=3", "n_layers=1"))
    return path


def skip_without(example):
    if "from fla" in example and find_spec("triton") is None:
        pytest.skip("fla imports triton, which PyTorch's CPU builds leave out")


@pytest.mark.parametrize("example", EXAMPLES, ids=IDS)
def test_an_example_is_a_study_with_nothing_above_a_note(example, corpus, tmp_path):
    skip_without(example)
    own_data = "class Copy" in example
    checked = pb.check(write(tmp_path, example), data=None if own_data else str(corpus))
    assert [f"{f.severity}: {f.message}" for f in checked.findings if f.severity != "note"] == []
    assert checked.arms.keys() == {"baseline", "own"}
    assert checked.study.diff("own") or checked.study.metric != pb.VAL_LOSS


def test_a_part_of_another_package_trains_to_a_verdict(corpus, tmp_path):
    (example,) = (e for e in EXAMPLES if "class GatedHeads" in e)
    study = read_study(write(tmp_path, example)).choose()
    size = {"tokens": 2_560, "batch_tokens": 512, "seq_len": 32, "evaluations": 1, "evaluation_tokens": 512}
    study = study.replace(
        training=study.training.replace(**size),
        data=study.data.replace("source", str(corpus)),
        min_seeds=2,
        max_seeds=2,
        extra_rates=(),
    )
    result = pb.run(study, tmp_path / "store", executor="inline", observe=lambda event: None)
    assert result.report.failed_runs == ()
    assert [arm.seeds for arm in result.report.arms.values()] == [(0, 1), (0, 1)]
    assert result.verdicts["own"].sentence


def test_there_is_an_example_for_every_slot_and_for_what_else_a_study_is_made_of():
    titles = {title_of(example).lower() for example in EXAMPLES}
    assert titles >= {*CHECKED_SLOTS, "optimizer", "schedule", "data", "metric"}
    assert titles >= {"torch.nn", "transformers", "x-transformers", "fla"}
    assert HEADINGS[-1] == "Plug-ins"
