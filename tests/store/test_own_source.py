"""What of paribus's own source is in the identity of a run: tried on copies of the package that are edited."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paribus
from paribus.design.study_files import built_in_studies, read_study
from paribus.experiment.plan import Environment, plan
from paribus.store.identity import _EVERY_RUN, source_identity

PACKAGE = Path(paribus.__file__).parent
RUNS = """
import json
from paribus.design.study_files import read_study
from paribus.experiment.plan import Environment, plan
runs = plan(read_study("norm").choose(), Environment("data", "cpu", "2.13.0"))
print(json.dumps({run.arm: run.digest for run in runs if run.seed == 0}))
"""


@pytest.fixture
def copy(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(PACKAGE, tmp_path / "paribus", ignore=ignored)


def digests_in(package, monkeypatch):
    """Of two norms, and of what every run uses, as the reader in ``package`` finds them there."""
    found = importlib.util.spec_from_file_location("paribus_copy", package / "store" / "own_source.py")
    reader = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "paribus_copy", reader)
    found.loader.exec_module(reader)
    norms = {name: reader.digest_own([f"paribus.nn:{name}"]) for name in ("RMSNorm", "LayerNorm")}
    return {**norms, "every run": reader.digest_own(_EVERY_RUN)}


def edit(copy, file, before, after):
    text = (copy / file).read_text()
    assert text.count(before) >= 1
    (copy / file).write_text(text.replace(before, after, 1))


NEW_NORM = "\n\nclass NewNorm(nn.Module):\n    def forward(self, x):\n        return math.pi * x\n"


@pytest.mark.parametrize(
    ("file", "before", "after", "changed"),
    [
        ("nn/norm.py", "class RMSNorm(nn.Module):\n    \"\"\"", "class RMSNorm(nn.Module):\n    \"\"\"Well. ", []),
        ("nn/norm.py", "import math\n", "import math  # for roots\n", []),
        ("training/loop.py", "    progress.load()", "\n    # On its way.\n    progress.load()", []),
        ("nn/norm.py", "\n\nclass RMSNorm", f"{NEW_NORM}\n\nclass RMSNorm", []),
        ("errors.py", "class ParibusError(Exception):\n", "class ParibusError(Exception):\n    late = 1\n", []),
        ("store/files.py", "indent=1", "indent=2", []),
        ("data/split.py", "sorted(", "list(", []),  # the tokens that come out have a digest of their own
        ("nn/norm.py", "class RMSNorm(nn.Module):\n", "class RMSNorm(nn.Module):\n    eps = 2\n", ["RMSNorm"]),
        ("nn/norm.py", "F.rms_norm(x, x.shape[-1:], gain, eps)\n", "2 * F.rms_norm(x, x.shape[-1:], gain, eps)\n", ["RMSNorm"]),  # noqa: E501
        ("training/loop.py", "step * training.batch_tokens", "step + training.batch_tokens", ["every run"]),
        ("training/step.py", "model_loss(", "abs(", ["every run"]),
        ("design/streams.py", ">> 1", ">> 2", ["every run"]),
        ("nn/contract.py", "seed: int, *, vocab_size", "seed: int = 0, *, vocab_size", ["every run"]),
        ("data/corpus.py", "derive(seed", "derive(1 + seed", ["every run"]),
        ("execution/trained.py", "torch.set_num_threads(1)", "torch.set_num_threads(2)", ["every run"]),
    ],
)  # fmt: skip
def test_code_that_a_run_uses_changes_its_digest_and_nothing_else_does(copy, monkeypatch, file, before, after, changed):
    edit(copy, file, before, after)
    here, there = digests_in(PACKAGE, monkeypatch), digests_in(copy, monkeypatch)
    assert [name for name in here if here[name] != there[name]] == changed


def test_a_moved_file_another_norm_and_docstrings_repeat_no_run(copy):
    """Nor does a new file, or that a class has moved into one of its own."""
    (copy / "nn" / "norm.py").rename(copy / "nn" / "norms.py")
    (copy / "nn" / "own_norm.py").write_text("import math\nfrom torch import nn\n" + NEW_NORM)
    for path in copy.rglob("*.py*"):
        text = path.read_text()
        path.write_text(
            text.replace("nn.norm import", "nn.norms import").replace("from .norm import", "from .norms import")
        )
    edit(copy, "nn/norms.py", "class LayerNorm(nn.Module):\n    \"\"\"", "class LayerNorm(nn.Module):\n    \"\"\"Well. ")  # fmt: skip  # noqa: E501
    study = read_study("norm").choose()
    runs = plan(study, Environment("data", "cpu", "2.13.0"))
    environment = {**os.environ, "PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([sys.executable, "-c", RUNS], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(ended.stdout) == {run.arm: run.digest for run in runs if run.seed == 0}


def test_a_name_that_means_another_definition_is_seen(copy, monkeypatch):
    """Though all definitions are there as before: only what the names stand for has been exchanged."""
    edit(copy, "training/step.py", "from paribus.training.evaluation import autocast", "autocast = print")
    assert digests_in(copy, monkeypatch)["every run"] != digests_in(PACKAGE, monkeypatch)["every run"]


def test_every_class_of_the_built_in_studies_has_a_public_name():
    for name in built_in_studies():
        for arm in read_study(name).choose().arms.values():
            own = [name for name in source_identity(arm)["paribus_parts"] if name.startswith("paribus")]
            assert own
            assert {name.partition(":")[0] for name in own} <= {"paribus.nn", "paribus.training"}
