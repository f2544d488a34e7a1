import importlib
import sys

import pytest

from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.errors import SpecError
from paribus.experiment.plan import Environment, plan
from toy_study import RECIPE, Optimizer, Part, make_study

HERE = Environment("data", "cpu", "2.13.0")


def digest(study=None, environment=HERE, arm="baseline", seed=0):
    return plan(study or make_study(), environment).run(arm, seed).digest


def test_runs_come_pair_by_pair_with_the_baseline_first():
    runs = list(plan(make_study(max_seeds=3, first_seed=5), HERE))
    assert [(run.arm, run.seed) for run in runs] == [(a, s) for s in (5, 6, 7) for a in ("baseline", "wide")]


def test_everything_that_can_change_a_number_changes_the_digest():
    digests = {
        digest(),
        digest(seed=1),
        digest(arm="wide"),
        digest(environment=Environment("other", "cpu", "2.13.0")),
        digest(environment=Environment("data", "cuda", "2.13.0")),
        digest(environment=Environment("data", "cpu", "2.14.0")),
        digest(make_study(training=RECIPE.replace(clip=None))),
        digest(make_study(training=RECIPE.replace(optimizer=spec(Optimizer, lr=0.2)))),
        digest(make_study(training=RECIPE.replace(schedule=spec(Part)))),
    }
    assert len(digests) == 9


def test_what_cannot_change_a_number_leaves_the_digest():
    same = make_study(question="Other?", margin=0.5, treatments={"new name": spec(Part, width=2)}, max_seeds=4)
    assert digest() == digest(same)
    assert digest(arm="wide") == digest(same, arm="new name")
    assert digest() == digest(make_study(treatments={"same": Arm(spec(Part, width=1), RECIPE)}), arm="same")


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    names = ("users_part", "users_helper")
    (tmp_path / "users_helper.py").write_text("SCALE = 1\n")
    (tmp_path / "users_part.py").write_text(
        "from users_helper import SCALE\nclass Mine:\n    def __init__(self, dim=SCALE):\n        pass\nstudy = 1\n"
    )

    def load():
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return make_study(treatments={"mine": spec(importlib.import_module("users_part").Mine, dim=1)})

    yield tmp_path, load
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("file", "edit", "changes"),
    [
        ("users_part.py", lambda text: text.replace("pass", "self.x = 1"), True),
        ("users_helper.py", lambda text: text + "OTHER = 2\n", True),
        ("users_part.py", lambda text: "# a comment\n" + text, False),
        ("users_part.py", lambda text: text.replace("study = 1", "study = 2"), False),
    ],
)
def test_a_run_knows_the_source_of_the_users_class_and_of_what_it_imports(users_module, file, edit, changes):
    folder, load = users_module
    before, baseline = digest(load(), arm="mine"), digest(load())
    path = folder / file
    path.write_text(edit(path.read_text()))
    assert (digest(load(), arm="mine") != before) == changes
    assert digest(load()) == baseline


def test_a_relative_import_is_part_of_the_source(tmp_path, monkeypatch):
    package = tmp_path / "users_package"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sub" / "__init__.py").write_text("")
    (package / "ops.py").write_text("K = 1\n")
    (package / "sub" / "parts.py").write_text(
        "from ..ops import K\nclass Mine:\n    def __init__(self, dim=K):\n        pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    study = make_study(treatments={"mine": spec(importlib.import_module("users_package.sub.parts").Mine)})
    before = digest(study, arm="mine")
    (package / "ops.py").write_text("K = 1\nOTHER = 2\n")
    assert digest(study, arm="mine") != before


def test_a_class_without_a_readable_source_has_no_identity(monkeypatch):
    made = type("Made", (), {"__init__": lambda self, dim=1: None, "__module__": "nowhere", "__qualname__": "Made"})
    with pytest.raises(SpecError, match="the source of nowhere:Made cannot be read"):
        plan(make_study(treatments={"made": spec(made)}), HERE)
