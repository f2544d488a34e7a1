import re
from pathlib import Path

from paribus.cli import commands
from paribus.study_files import read_study

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_study_in_the_readme_is_a_study_that_changes_every_norm(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    path = tmp_path / "half.py"
    path.write_text(code)
    study = read_study(path).choose()
    assert len(study.diff("half")) == 7
    assert study.training.trained_tokens == study.training.tokens


def test_every_verb_and_every_page_the_readme_names_exists():
    assert set(re.findall(r"^\| `paribus (\w+)", README, flags=re.M)) == set(commands.commands)
    for page in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / page).is_file(), page
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", README, flags=re.M):
        assert f"\n{target}:" in makefile, target
