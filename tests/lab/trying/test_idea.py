import pytest

from paribus.errors import StudyError
from paribus.lab.trying import read_idea

FILE = """
import torch
import paribus as pb
from torch import nn

class HalfNorm(nn.Module):
    pass

class Lion(torch.optim.Optimizer):
    pass

class Steps:
    def __call__(self, step, steps):
        return 1.0

class Stories:
    vocab_size = 5
    def documents(self, side):
        return []

class Other:
    pass

class Stepwise:
    def __call__(self, step):
        return 1.0

def norm(x):
    return x

def rare(logits, targets):
    return logits

layer = nn.Linear(2, 2)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_idea_file.py").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"), [("HalfNorm", "part"), ("Lion", "optimizer"), ("Steps", "schedule"), ("Stories", "dataset")]
)
def test_the_kind_of_a_class_is_what_it_is_derived_from_or_what_it_has(here, name, kind):
    idea = read_idea(f"my_idea_file.py:{name}")
    assert (idea.kind, idea.name, idea.module, idea.folder) == (kind, name, "my_idea_file", here)


def test_a_class_of_a_package_is_studied_in_the_current_folder(here):
    idea = read_idea("torch.nn:RMSNorm")
    assert (idea.kind, idea.module, idea.folder) == ("part", "torch.nn", here)


def test_a_file_that_was_edited_is_read_again(here):
    first = read_idea("my_idea_file.py:HalfNorm").thing
    (here / "my_idea_file.py").write_text(FILE.replace("class HalfNorm(nn.Module):\n    pass", "HalfNorm = nn.RMSNorm"))
    assert read_idea("my_idea_file.py:HalfNorm").thing is not first


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_idea_fil.py:HalfNorm", "no file my_idea_fil.py; did you mean my_idea_file.py"),
        ("my_idea_file.py:HalfNrom", "has no 'HalfNrom'; did you mean 'HalfNorm'"),
        ("my_idea_file.py:Zebra", "it defines HalfNorm, Lion, Steps, Stories, Other, Stepwise"),
        ("my_idea_file.py", "names no class; write file.py:Class.*it defines HalfNorm, Lion"),
        ("my_idea_file:HalfNorm.py", "there is no module|has no"),
        ("my_ideas:HalfNorm", "there is no module 'my_ideas'"),
        ("my_idea_file.py:rare", r"'rare' is a function, expected a class; a metric is written rare_metric = "),
        ("my_idea_file.py:layer", "is an instance; name its class, Linear"),
        ("my_idea_file.py:Other", "no class that a study can use: a part is a torch.nn.Module"),
        ("my_idea_file.py:norm", "a function, expected a class; a part is a torch.nn.Module with a forward"),
        ("my_idea_file.py:Stepwise", r"its __call__ takes \(step\), and a schedule's takes \(step, steps\)"),
        ("my_idea_file.py::HalfNrom", "did you mean 'HalfNorm'"),
        ("my_idea_file.py:nn", "is a module, expected a class"),
    ],
)
def test_what_is_not_there_or_of_no_use_is_named_with_the_nearest_right_thing(here, reference, said):
    with pytest.raises(StudyError, match=said):
        read_idea(reference)


def test_a_module_named_like_a_file_is_told_from_it(here):
    (here / "plain_file.py").write_text("")
    with pytest.raises(StudyError, match="has no 'HalfNorm'"):
        read_idea("plain_file:HalfNorm")


def test_a_file_that_hides_behind_a_module_is_to_be_renamed(here):
    (here / "json.py").write_text(FILE)
    with pytest.raises(StudyError, match="the name 'json' means"):
        read_idea("json.py:HalfNorm")


@pytest.mark.parametrize(("stem", "better"), [("my-idea", "my_idea"), ("1norm", "my_1norm"), ("class", "my_class")])
def test_a_file_whose_name_is_no_name_is_to_be_renamed(here, stem, better):
    (here / f"{stem}.py").write_text(FILE)
    with pytest.raises(StudyError, match=rf"call it {better}\.py"):
        read_idea(f"{stem}.py:HalfNorm")


def test_a_file_that_exits_when_imported_is_told_so(here):
    (here / "script_file.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(StudyError, match="exits when it is imported; put what it does as a script below"):
        read_idea("script_file.py:HalfNorm")


def test_a_file_of_a_package_is_to_be_named_through_it(here):
    folder = here / "kit"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "kit_norms.py").write_text("from . import other\n")
    with pytest.raises(StudyError, match=r"from the folder above, name it kit\.kit_norms:CLASS"):
        read_idea("kit/kit_norms.py:HalfNorm")


def test_a_file_that_fails_shows_its_own_line(here):
    (here / "broken_file.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(StudyError, match=r"line 2(.|\n)*ZeroDivisionError"):
        read_idea("broken_file.py:HalfNorm")
