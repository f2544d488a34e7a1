import pytest

from paribus.design.study_files import built_in_studies, import_file, read_study
from paribus.design.tracebacks import user_line
from paribus.errors import StudyError

GOOD = """
import paribus as pb
from torch import nn

class Identity(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x

baseline = pb.nn.llama(d_model=8, n_layers=1, n_heads=1)
study = pb.Study(
    question="Needed?",
    baseline=baseline,
    treatments={"no norm": baseline.replace("final_norm", pb.spec(Identity))},
    data=pb.spec(pb.data.Text, source="stdlib"),
    training=pb.Training(tokens=64, batch_tokens=32, seq_len=8, evaluations=1,
                         optimizer=pb.spec(pb.training.MuonAdamW)),
    margin=0.1,
)
"""


def test_every_built_in_study_is_a_study_file():
    for name in built_in_studies():
        found = read_study(name)
        assert found.name == name
        assert found.scales
    assert "norm" in built_in_studies()


def test_a_users_file_gives_its_study(tmp_path):
    path = tmp_path / "my_idea.py"
    path.write_text(GOOD)
    found = read_study(path)
    assert (found.name, list(found.scales)) == ("my_idea", ["quick"])
    assert found.choose().question == "Needed?"


def test_scales_are_chosen_by_name(tmp_path):
    path = tmp_path / "scaled.py"
    path.write_text(GOOD + "\nscales = {'small': study, 'large': study.replace(margin=0.5)}\n")
    found = read_study(path)
    assert found.choose().margin == 0.1
    assert found.choose("large").margin == 0.5
    with pytest.raises(StudyError, match="scaled has no scale 'paper'; it offers small, large"):
        found.choose("paper")


@pytest.mark.parametrize(
    ("reference", "said"),
    [("nrom", "did you mean 'norm'?"), ("zzz", "built in are"), ("missing.py", "no study file missing.py")],
)
def test_an_unknown_study_is_refused_with_the_nearest_one(reference, said):
    with pytest.raises(StudyError, match=said.replace("?", r"\?")):
        read_study(reference)


def test_a_file_that_fails_shows_its_own_traceback_and_no_other(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(StudyError) as caught:
        read_study(path)
    message = str(caught.value)
    assert "broken.py" in message
    assert "y = x / 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "importlib" not in message


def test_a_syntax_error_shows_its_line(tmp_path):
    path = tmp_path / "syntax.py"
    path.write_text("study = (\n")
    with pytest.raises(StudyError, match="SyntaxError"):
        read_study(path)


def test_a_file_without_a_study_is_refused(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("studdy = 1\n")
    with pytest.raises(StudyError, match=r"defines no `study = paribus\.Study"):
        read_study(path)


def test_a_study_under_another_name_is_named(tmp_path):
    path = tmp_path / "swapped.py"
    path.write_text(GOOD.replace("study = pb.Study(", "stduy = pb.Study("))
    with pytest.raises(StudyError, match=r"it has 'stduy': call that `study`$"):
        read_study(path)


def test_a_file_of_parts_alone_is_told_what_to_do_with_them(tmp_path):
    path = tmp_path / "plain_norm.py"
    path.write_text("from torch import nn\n\nclass Options:\n    pass\n\nclass PlainNorm(nn.LayerNorm):\n    pass\n")
    with pytest.raises(StudyError) as raised:
        read_study(path)
    said = str(raised.value)
    assert "defines no `study = paribus.Study(...)`; it defines the classes Options, PlainNorm." in said
    assert f"`paribus examine {path}:PlainNorm`" in said
    assert "NoneType" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Options:\n    pass\n", "; it defines the class Options$"),
        ("from collections import OrderedDict\n", "; it defines no study and no class$"),
        ("study = 3\n", "; its `study` is the int 3$"),
    ],
)
def test_a_file_without_a_study_says_what_it_has_instead(tmp_path, text, said):
    path = tmp_path / "without.py"
    path.write_text(text)
    with pytest.raises(StudyError, match=said):
        read_study(path)


def test_the_line_of_an_error_is_the_innermost_of_the_users_own(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("import json\n\ndef read():\n    return json.loads('{')\n")
    with pytest.raises(ValueError) as raised:
        import_file(path).read()
    assert user_line(raised.value) == " (wrong.py:4 in read)"
    with pytest.raises(StudyError) as raised:
        read_study("nrom")
    assert user_line(raised.value).startswith(" (test_study_files.py:")


def test_a_file_that_was_edited_is_read_again_with_what_it_imports(tmp_path):
    path, helper = tmp_path / "edited.py", tmp_path / "edited_helper.py"
    helper.write_text("MARGIN = 0.1\n")
    path.write_text("from edited_helper import MARGIN\n" + GOOD.replace("margin=0.1", "margin=MARGIN"))
    first = read_study(path)
    assert read_study(path).choose() is first.choose()
    helper.write_text("MARGIN = 0.25\n")
    assert read_study(path).choose().margin == 0.25
