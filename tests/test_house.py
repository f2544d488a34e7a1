"""The rules of the house: floors, light imports, sizes, names, public surface."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import paribus
from paribus.cli import commands

ROOT = Path(paribus.__file__).parent
REPOSITORY = ROOT.parent.parent
FILES = sorted(ROOT.rglob("*.py"))

# Rooms by floor; rooms of floor 2 and of floor 3 are blind to each other.
FLOORS = {
    "errors": 0, "specs": 0, "streams": 0,
    "metrics": 1, "contrasts": 1, "study": 1, "factorials": 1, "tuning": 1, "offers": 1, "fields": 1, "study_files": 1,
    "runs": 1, "typed": 1, "records": 1, "markup": 1,
    "nn": 2, "data": 2, "training": 2, "judgement": 2,
    "execution": 3, "audits": 3, "reports": 3,
    "bench": 4, "registration": 4, "campaign": 4, "trials": 4, "search": 4, "calibration": 4, "samples": 4,
    "trained": 4, "sampling": 4, "side_by_side": 4, "matching": 4, "request": 4, "ideas": 4, "listing": 4, "lab": 4,
    "display": 4, "notebook": 4, "result": 4, "cli": 4, "studies": 4,
    "__main__": 4,
}  # fmt: skip
SIBLINGS = {2, 3}


def room_of(file):
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(file):
    """The rooms of paribus that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "paribus" else [f"paribus.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "paribus" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("file", [f for f in FILES if room_of(f) not in ("__init__", "studies")], ids=str)
def test_a_module_imports_only_from_lower_floors_or_its_own_room(file):
    room = room_of(file)
    floor = FLOORS[room]
    for other in imported_rooms(file):
        if other == room:
            continue
        if floor in SIBLINGS:
            assert FLOORS[other] < floor, f"{file} imports {other}"
        else:
            assert FLOORS[other] <= floor, f"{file} imports {other}"


def loaded_after(code):
    """The modules a clean process holds after ``code``."""
    script = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(script, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import paribus.cli, paribus.display, paribus.lab", {"torch", "matplotlib"}),
        ("import paribus, paribus.study, paribus.runs, paribus.records, paribus.study_files", {"torch", "numpy"}),
        ("import paribus.judgement, paribus.reports", {"torch", "matplotlib"}),
        ("from paribus.audits import audit_records", {"torch"}),
        ("from paribus.cli import commands; commands(['--help'], standalone_mode=False)", {"torch", "scipy", "numpy"}),
    ],
)
def test_light_doors_import_nothing_heavy(code, absent):
    assert not loaded_after(code) & absent


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_file_grows_beyond_450_lines(file):
    assert len(file.read_text().splitlines()) <= 450


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_file_has_a_name_that_says_nothing(file):
    assert file.stem not in {"utils", "common", "core", "base", "helpers", "manager", "registry"}


def test_every_public_name_resolves_and_the_list_is_sorted():
    assert paribus.__all__ == sorted(paribus.__all__)
    for name in paribus.__all__:
        assert getattr(paribus, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(paribus, "noth" + "ing")


@pytest.mark.parametrize("room", ["nn", "data", "training", "judgement", "audits", "reports"])
def test_every_public_name_of_a_room_resolves(room):
    module = import_module(f"paribus.{room}")
    assert list(module.__all__) == sorted(module.__all__, key=lambda n: n) or room == "judgement"
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_no_public_function_bears_the_name_of_a_module():
    modules = {file.stem for file in FILES} | {file.parent.name for file in FILES}
    public = set(paribus.__all__) - {"data", "nn", "training"}
    assert not public & (modules - {"__init__"})


def test_matplotlib_is_imported_in_one_file():
    users = [file for file in FILES if "matplotlib" in set(third_party(file))]
    assert [file.name for file in users] == ["figures.py"]


def third_party(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_verbs_and_their_flags_are_these():
    run_flags = "--comparisons --confirm --data --device --devices --executor --json --max-seeds --null --scale --store"
    try_flags = "baseline device devices executor json margin set slot store write"
    flags = {
        name: sorted(option for p in command.params for option in p.opts if option.startswith("--"))
        for name, command in commands.commands.items()
    }
    assert flags == {
        "studies": ["--json"],
        "check": ["--data", "--json", "--scale", "--set", "--slot"],
        "run": [*run_flags.split(), "--timing"],
        "try": [f"--{flag}" for flag in try_flags.split()],
        "status": ["--json"],
        "report": ["--format", "--study"],
        "parts": ["--json", "--slot"],
        "sample": ["--arm", "--file", "--json", "--prompt", "--seed", "--study", "--temperature", "--tokens"],
    }


def test_the_repository_has_no_absolute_path_and_no_unfinished_mark():
    marks = ("TO" + "DO", "FIX" + "ME", "/ho" + "me/", "/wo" + "rk/", "/ro" + "ot/")
    for file in [*FILES, *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "Makefile"]:
        text = file.read_text()
        assert not [mark for mark in marks if mark in text], file
