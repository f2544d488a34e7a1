import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from paribus.audits.before.own_metric import find_shifting_tokens, require_measure
from paribus.cli.commands import commands
from paribus.design.study_files import read_study
from paribus.errors import StudyError

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_the_study_in_the_readme_is_a_study_that_changes_every_norm(tmp_path):
    code = BLOCKS[0]
    path = tmp_path / "half.py"
    path.write_text(code)
    study = read_study(path).choose()
    assert len(study.diff("half")) == 7
    assert study.training.trained_tokens == study.training.tokens


def test_the_metric_in_the_readme_is_one(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "pb.Metric(" in block]
    (tmp_path / "readme_metric.py").write_text("import torch\n\nimport paribus as pb\n\n\n" + code)
    monkeypatch.syspath_prepend(tmp_path)
    metric = import_module("readme_metric").metric
    require_measure(metric, vocab_size=4_096)
    targets = np.arange(2_000, dtype=np.int64).reshape(2, 1_000)
    assert list(find_shifting_tokens(metric, targets, 4_096)) == []
    with pytest.raises(StudyError, match="counts none of the 1,000 held-out tokens"):
        list(find_shifting_tokens(metric, targets[:1], 4_096))


def test_every_verb_and_every_page_the_readme_names_exists():
    assert set(re.findall(r"^\| `paribus (\w+)", README, flags=re.M)) == set(commands.commands)
    for page in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / page).is_file(), page
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", README, flags=re.M):
        assert f"\n{target}:" in makefile, target
