"""What a notebook's cell defines beside a part, and what of it is in the identity of a run."""

import linecache
import sys
from types import ModuleType

import pytest

from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.experiment.plan import Environment, plan
from toy_study import make_study

PART = """
class Mine:
    def __init__(self, dim=1):
        self.dim = dim

    def forward(self, x):
        return x * {}
"""


@pytest.fixture
def cell(monkeypatch):
    """Runs source as a notebook does, in a module without a file."""
    module, names = ModuleType("cells"), []
    monkeypatch.setitem(sys.modules, "cells", module)

    def run(source):
        names.append(f"<cell {len(names)} of test_typed>")
        linecache.cache[names[-1]] = (len(source), None, source.splitlines(True), names[-1])
        exec(compile(source, names[-1], "exec"), vars(module))

    yield run
    for name in names:
        del linecache.cache[name]


def digest():
    study = make_study(treatments={"mine": spec(sys.modules["cells"].Mine)})
    return plan(study, Environment("data", "cpu", "2.13.0")).run("mine", 0).digest


DEFINED = "def make(factor):\n    return lambda x: factor * x\n"


@pytest.mark.parametrize(
    ("before", "first", "second"),
    [
        ("", "3.0", "5.0"),
        ("import torch", "torch.tensor(3.0)", "torch.tensor(5.0)"),
        ("import torch", "torch.tensor(3.0)", "torch.tensor(3.0, dtype=torch.bfloat16)"),
        ("import torch", "torch.zeros(2, 3)", "torch.zeros(3, 2)"),
        ("import torch", "torch.float32", "torch.float64"),
        ("import numpy", "numpy.array(3.0)", "numpy.array(5.0)"),
        ("import numpy", "numpy.float32(3.0)", "numpy.float32(5.0)"),
        ("import numpy", "[numpy.arange(5000)]", "[numpy.arange(5000) * (numpy.arange(5000) != 2500)]"),
        ("", "{3, 4}", "{3, 5}"),
        ("", "(3, [{'w': 4}])", "(3, [{'w': 5}])"),
        (DEFINED, "make(3)", "make(5)"),
        (DEFINED, "{'f': make(3)}", "{'f': make(5)}"),
        ("from typing import Optional", "Optional[int]", "Optional[float]"),
        ("import math", "math.sin", "math.cos"),
        ("import math", "{'f': math.sin}", "{'f': math.cos}"),
    ],
)
def test_a_global_of_another_value_makes_another_run_and_the_same_value_the_same(cell, before, first, second):
    cell(before)
    cell(PART.format("K"))
    digests = []
    for value in (first, second, first):
        cell(f"K = {value}")
        digests.append(digest())
    assert digests[0] == digests[2]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("before", "edit"),
    [
        ("class H:\n    w = 3\n    def f(self):\n        return self.w\nK = H", "H.w = 5"),
        ("FACTOR = 3\ndef f(x):\n    return FACTOR * x\nK = {'f': [f]}", "FACTOR = 5"),
        ("FACTOR = 3\ndef f(x):\n    return FACTOR * x\ndef g(x, f=f):\n    return f(x)\nK = g", "FACTOR = 5"),
    ],
)
def test_what_a_global_leads_to_is_followed(cell, before, edit):
    cell(before)
    cell(PART.format("K"))
    found = digest()
    cell(edit)
    assert digest() != found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Own()", "cells:Mine uses the global 'K', a cells.Own, which has no digest"),
        ("[1, Own()]", "cells:Mine uses the global 'K', a cells.Own, which has no digest"),
        ("torch.nn.Linear(1, 1)", r"'K', a torch.nn.modules.linear.Linear, .* put it in a .py file, or make it an arg"),
        ("numpy.array([Own()])", "'K', a numpy.ndarray, which has no digest"),
        ("functools.partial(int, base=3)", "'K', a functools.partial, which has no digest"),
        ("make(Own())", "cells:make.<locals>.<lambda> holds a value from where it was defined, a cells.Own"),
        ("Own", "the source of cells:Own cannot be read"),
    ],
)
def test_a_global_that_cannot_be_told_from_another_is_refused_by_name(cell, value, said):
    cell("import functools, numpy, torch\nclass Own:\n    pass\n" + DEFINED)
    cell(f"K = {value}\n" + PART.format("K"))
    with pytest.raises(SpecError, match=said):
        digest()


def test_a_local_variable_that_has_the_name_of_a_global_is_none(cell):
    cell("class Own:\n    pass\nx = dim = Own()\n")
    cell(PART.format("2"))
    assert digest() == digest()


def test_a_function_that_holds_itself_has_an_end(cell):
    cell("def make():\n    def f(n):\n        return n and f(n - 1)\n    return f\nK = make()\n" + PART.format("K(3)"))
    assert digest() == digest()


def test_a_docstring_and_a_comment_make_no_other_run(cell):
    cell(PART.format("3"))
    before = digest()
    cell(PART.format("3  # three").replace("class Mine:", 'class Mine:\n    """Mine."""\n'))
    assert digest() == before
