"""A newcomer's walk through docs/tutorial.md, word for word, and the ten mistakes they are most likely to make.

The ten: a file misspelled; a class misspelled; layers in a plain list; an argument that the slot does not give;
``super()`` forgotten; ``return`` forgotten; a width written into the class; a tuple returned; tokens that see the
future; a mean over the batch.
"""

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from paribus.cli.commands import commands
from paribus.errors import ParibusError

REPOSITORY = Path(__file__).parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"

VENV = "python3 -m venv lab\n"
# The walk's own environment finds the packages of the one that tests it, and nothing is fetched.
SHARE_PACKAGES = f"""
rm -rf lab/lib/python*/site-packages/setuptools*
echo {sysconfig.get_path("purelib")} > $(echo lab/lib/python*/site-packages)/tested.pth
"""
# The study is trained for a twentieth of its tokens, so its verdict may be another one than the page's.
TRY = "paribus try plain_norm.py:PlainNorm\n"
TRY_SHORT = rf"""
{TRY.strip()} --write > /dev/null
sed -i.whole 's/tokens=100 \* 2048/tokens=5 * 2048/' try_plain_norm.py
! cmp --quiet try_plain_norm.py try_plain_norm.py.whole
paribus run try_plain_norm.py
"""
VERDICT = "PlainNorm is worse than the baseline"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass
class Block:
    kind: str
    text: str
    above: str


def read_blocks():
    found = re.findall(r"([^\n]*)\n\n?```(\w+)\n(.*?)```", TUTORIAL.read_text(), flags=re.S)
    return [Block(kind, text, above) for above, kind, text in found]


def without_numbers(text):
    return re.sub(r"[-+±]?\d[\d.,e+-]*", "N", " ".join(text.split()))


@pytest.mark.timeout(1200)
def test_the_walk_from_pip_install_to_the_verdict_goes_as_written(tmp_path):
    (tmp_path / "paribus").symlink_to(REPOSITORY)
    blocks, script, expected = read_blocks(), "set -e\n", []
    for number, block in enumerate(blocks):
        if block.kind == "python":
            (name,) = re.findall(r"`(\w+\.py)`", block.above)
            (tmp_path / name).write_text(block.text)
        elif block.kind == "sh":
            text = block.text.replace(VENV, VENV + SHARE_PACKAGES).replace(TRY, TRY_SHORT)
            script += f"echo '<<{number}>>'\n{text}"
        elif block.kind == "text":
            expected.append((number - 1, block.text.partition(VERDICT)[0]))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    walked = subprocess.run(
        ["bash"],
        input=script,
        cwd=tmp_path,
        env={**os.environ, **OFFLINE, "PATH": path},
        text=True,
        capture_output=True,
    )
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert re.search(r"PlainNorm is (better|worse|equivalent|undecided)", walked.stdout)
    said = dict(zip(*[iter(re.split(r"<<(\d+)>>\n", walked.stdout)[1:])] * 2, strict=True))
    for number, text in expected:
        for paragraph in text.split("\n...\n"):
            assert without_numbers(paragraph) in without_numbers(said[str(number)]), said[str(number)]


PART = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.gain
"""
PEEK = "        return self.gain * x.flip(1)"
BATCH = "        return self.gain * x / x.std(0, keepdim=True)"

MISTAKES = {
    "a file misspelled": ("mnie.py:Mine", PART, r"no file mnie\.py; did you mean mine\.py\?"),
    "a class misspelled": ("mine.py:Mnie", PART, "has no 'Mnie'; did you mean 'Mine'"),
    "layers in a plain list": (
        "mine.py:Mine",
        PART.replace("self.gain = nn", "self.layers = [nn.Linear(dim, dim)]\n        self.gain = nn"),
        r"registers its weights: layers holds weights that torch does not see; use nn\.ModuleList",
    ),
    "an argument that the slot does not give": (
        "mine.py:Mine",
        PART.replace("dim)", "dim, hidden)", 1),
        r"Mine needs 'hidden', which nothing around it gives; say --set hidden=",
    ),
    "super() forgotten": (
        "mine.py:Mine",
        PART.replace("        super().__init__()\n", ""),
        r"cannot assign parameters before Module\.__init__\(\) call",
    ),
    "return forgotten": ("mine.py:Mine", PART.replace("return ", "y = "), "forward returns a NoneType, expected one"),
    "a width written into the class": (
        "mine.py:Mine",
        PART.replace("torch.ones(dim)", "torch.ones(64)"),
        r"The size of tensor a \(96\) must match the size of tensor b \(64\).*given \(3, 13, 96\)",
    ),
    "a tuple returned": (
        "mine.py:Mine",
        PART.replace("self.gain\n", "self.gain, None\n"),
        "forward returns a tuple, expected one tensor",
    ),
    "tokens that see the future": (
        "mine.py:Mine",
        re.sub(r" +return .*", PEEK, PART),
        r"cannot be judged:\n  is causal: later tokens move earlier outputs by \d",
    ),
    "a mean over the batch": (
        "mine.py:Mine",
        re.sub(r" +return .*", BATCH, PART),
        "keeps rows apart: other rows of the batch move an output by",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_likely_mistakes_of_a_newcomer_are_named(mistake, tmp_path, monkeypatch):
    reference, text, said = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(text)
    refused = CliRunner().invoke(commands, ["try", reference], standalone_mode=False).exception
    assert isinstance(refused, ParibusError)
    assert re.search(said, str(refused)), refused
    assert not list(tmp_path.glob("try_*.py"))


def test_there_are_ten_mistakes_and_the_docstring_lists_them():
    assert len(MISTAKES) == 10
    listed = " ".join(__doc__.split()).replace("``", "")
    for mistake in MISTAKES:
        assert mistake in listed, mistake
