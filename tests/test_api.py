"""docs/api.md has a section for every public name, and its examples run as one session."""

import re
import sysconfig
from pathlib import Path

import pytest

import paribus

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))


def example_of(section):
    return "\n".join(re.findall(r"```python\n(.*?)```", section, flags=re.S))


@pytest.mark.parametrize("name", paribus.__all__)
def test_every_public_name_has_a_section_whose_example_uses_it(name):
    assert name in SECTIONS, f"docs/api.md has no section `{name}`"
    text, example = SECTIONS[name].split("```python", 1)
    assert re.search(r"[.!]\s*$", text)
    assert re.search(rf"\bpb\.{name}\b", example)


def test_every_section_is_about_a_public_name_and_there_are_under_thirty():
    assert SECTIONS.keys() == set(paribus.__all__)
    assert len(re.findall(r"^## ", PAGE, flags=re.M)) == len(SECTIONS)
    assert len(paribus.__all__) < 30


def test_the_examples_run_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:30]:
        (corpus / f"{source.stem}.txt").write_text(source.read_text(errors="ignore")[:4000])
    monkeypatch.chdir(tmp_path)
    session = {"__name__": "session"}
    for name, section in SECTIONS.items():
        exec(compile(example_of(section), f"docs/api.md, {name}", "exec"), session)
    assert session["result"].page.is_file()
    assert "RMSNorm as good" in capsys.readouterr().out
