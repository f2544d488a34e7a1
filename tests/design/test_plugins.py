"""Small distributions, installed into a folder on the search path, offer studies and parts."""

import json
import os
import subprocess
import sys
import sysconfig

import pytest

NORMS = '''
from torch import nn


class Halved(nn.Module):
    """y = x / 2, to see the effect of scale.

    Source: a test.
    """

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x / 2


class Silent(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x


NUMBER = 3
'''

STUDY = """
import torch

import paribus as pb

from .norms import Halved

print("a plug-in talks")
baseline = pb.nn.llama(d_model=16, n_layers=1, n_heads=2)
study = pb.Study(
    question="Does the scale of a norm matter?",
    baseline=baseline,
    treatments={"halved": baseline.replace("final_norm", pb.spec(Halved))},
    data=pb.spec(pb.data.Text, source=TEXT, tokenizer=pb.spec(pb.data.Bytes)),
    training=pb.Training(tokens=512, batch_tokens=64, seq_len=16, evaluations=1, evaluation_tokens=256,
                         optimizer=pb.spec(torch.optim.AdamW, lr=0.01)),
    margin=0.5,
    max_seeds=3,
    changes={"halved": ("final_norm",)},
    extra_rates=(),
)
"""


def install(site, package, modules, entry_points, version="1.2"):
    """What an installer leaves behind: the modules, and a .dist-info beside them."""
    name = package.replace("-", "_")
    (site / name).mkdir()
    for file, text in {"__init__.py": "", **modules}.items():
        (site / name / file).write_text(text)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{name}/{file},,\n" for file in ("__init__.py", *modules)))
    lines = []
    for group, points in entry_points.items():
        lines += [f"[paribus.{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in, with a ``site-packages`` that holds a good package and a flawed one."""
    place = tmp_path_factory.mktemp("plug-ins")
    site, text = place / "site-packages", place / "text"
    site.mkdir()
    text.mkdir()
    for i, module in enumerate(("argparse", "ast", "cmd", "csv", "enum", "glob", "json", "queue", "shelve", "uuid")):
        source = os.path.join(sysconfig.get_paths()["stdlib"], f"{module}.py")
        source = source if os.path.exists(source) else os.path.join(source[:-3], "__init__.py")
        with open(source) as file:
            (text / f"{i}.txt").write_text(file.read()[:8000])
    install(
        site,
        "good-norms",
        {"norms.py": NORMS, "scale_study.py": STUDY.replace("TEXT", repr(str(text)))},
        {
            "studies": {"scale": "good_norms.scale_study"},
            "parts": {"norm.Halved": "good_norms.norms:Halved", "norm.Silent": "good_norms.norms:Silent"},
        },
    )
    install(
        site,
        "flawed-offers",
        {"norms.py": NORMS, "raising.py": "x = 1 / 0\n", "leaving.py": "raise SystemExit\n", "empty.py": ""},
        {
            "studies": {
                "norm": "flawed_offers.empty",
                "raising": "flawed_offers.raising",
                "leaving": "flawed_offers.leaving",
                "empty": "flawed_offers.empty",
                "absent": "flawed_offers.absent",
                "attribute": "flawed_offers.empty:study",
            },
            "parts": {
                "nrom.Halved": "flawed_offers.norms:Halved",
                "norm.Other": "flawed_offers.norms:Halved",
                "norm.Absent": "flawed_offers.norms:Absent",
                "norm.NUMBER": "flawed_offers.norms:NUMBER",
                "mlp.Raising": "flawed_offers.raising:Raising",
            },
        },
    )
    return place


def paribus(place, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(place / "site-packages"), "PARIBUS_HOME": str(place / "home")}
    command = [sys.executable, "-m", "paribus", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=200)


def test_offered_studies_are_listed_with_their_package_and_flawed_ones_get_a_line_each(place):
    done = paribus(place, "studies")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = [line.split()[0] for line in lines if line[0] != " "]
    assert names == ["attention", "backbone", "mlp", "moe", "norm", "rmsnorm", "scale"]
    assert lines[-1].split(None, 1)[1] == "Does the scale of a norm matter? [quick]  (good-norms)"
    wrong = [line for line in done.stderr.splitlines() if line.startswith("flawed-offers offers")]
    assert len(wrong) == 6
    for said in (
        "'norm' as flawed_offers.empty: it is left out, a built-in study has that name",
        "'raising' as flawed_offers.raising: it cannot be imported: ZeroDivisionError: division by zero",
        "'leaving' as flawed_offers.leaving: it cannot be imported: SystemExit",
        "'absent' as flawed_offers.absent: it cannot be imported: ModuleNotFoundError",
        "'attribute' as flawed_offers.empty:study: a study is a module; its entry point names flawed_offers.empty",
        "defines no `study = paribus.Study(...)`; it defines no study and no class",
    ):
        assert said in done.stderr
    assert "a plug-in talks" in done.stderr


def test_the_list_as_json_has_every_row_with_its_error(place):
    rows = {row["name"]: row for row in json.loads(paribus(place, "studies", "--json").stdout) if row["name"] != "norm"}
    assert rows["scale"] == {
        "name": "scale",
        "question": "Does the scale of a norm matter?",
        "scales": ["quick"],
        "package": "good-norms",
        "error": None,
    }
    assert "ZeroDivisionError" in rows["raising"]["error"]
    assert rows["mlp"]["package"] == "paribus"


def test_offered_parts_are_listed_with_formula_source_and_package(place):
    done = paribus(place, "parts", "--slot", "norm")
    assert done.returncode == 0, done.stderr
    assert "norm Halved  (good-norms)\n    y = x / 2, to see the effect of scale.\n    a test.\n" in done.stdout
    assert "norm Silent  (good-norms)\n    from good_norms.norms import Silent\n" in done.stdout
    assert "norm RMSNorm\n" in done.stdout
    for said in (
        "'nrom.Halved' as flawed_offers.norms:Halved: no slot 'nrom'; did you mean 'norm'?",
        "'norm.Other' as flawed_offers.norms:Halved: the name is to be 'norm.Halved'",
        "'norm.Absent' as flawed_offers.norms:Absent: flawed_offers.norms has no nn.Module called 'Absent'",
        "flawed_offers.norms has no nn.Module called 'NUMBER'",
        "'mlp.Raising' as flawed_offers.raising:Raising: it cannot be imported: ZeroDivisionError: division by zero",
    ):
        assert f"flawed-offers offers {said}" in done.stderr or said in done.stderr
    assert "flawed" not in done.stdout


def test_an_offered_study_is_checked_and_run_by_its_name(place):
    checked = paribus(place, "check", "scale", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["question"] == "Does the scale of a norm matter?"
    done = paribus(place, "run", "scale", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["name"], report["failed_runs"]) == ("scale", [])
    runs = [json.loads(path.read_text()) for path in (place / "paribus-store" / "runs").glob("*/run.json")]
    # The package says no __version__; another version of it is another run nevertheless.
    assert {"good_norms": "1.2"} in [run["installed"] for run in runs]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scael", "no study 'scael'; did you mean 'scale'?"),
        ("raising", "ZeroDivisionError: division by zero"),
        ("attribute", "a study is a module; its entry point names flawed_offers.empty"),
        ("empty", "flawed-offers offers 'empty' as flawed_offers.empty:"),
    ],
)
def test_a_study_that_cannot_be_used_is_refused_with_the_reason(place, name, said):
    done = paribus(place, "check", name)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_name_that_two_packages_offer_stands_for_neither(tmp_path):
    site = tmp_path / "site-packages"
    site.mkdir()
    for package in ("first-one", "second-one"):
        install(site, package, {"mine.py": ""}, {"studies": {"mine": f"{package.replace('-', '_')}.mine"}})
    done = paribus(tmp_path, "check", "mine")
    assert done.returncode == 2
    assert "first-one offers 'mine' as first_one.mine: it is left out, second-one offers another study" in done.stderr
