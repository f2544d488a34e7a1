"""The rules of the house: floors, light imports, sizes, names, public surface."""

import ast
import inspect
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import paribus
from paribus.cli.commands import commands

ROOT = Path(paribus.__file__).parent
REPOSITORY = ROOT.parent.parent
FILES = sorted(ROOT.rglob("*.py"))

# The floors of the house, from the ground up; readers and live are to come. Rooms of one floor are blind to each other.
FLOORS = [
    {"errors"},
    {"design"},
    {"store", "readers", "nn", "data"},
    {"training", "judgement"},
    {"audits", "experiment", "reports"},
    {"execution"},
    {"lab", "live"},
    {"cli"},
    {"studies", "__main__", "__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES
}


def room_of(module):
    return module.split(".")[1] if "." in module else "__init__"


def imports_of(file):
    """The modules of paribus that a file imports, wherever in the file: for types alone, and inside functions, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in members]
        else:
            continue
        found |= {name for name in names if name in MODULES}
    return found


IMPORTS = {module: imports_of(file) for module, file in MODULES.items()}


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) != "studies"])
def test_a_module_imports_only_from_lower_floors_or_its_own_room(module):
    room = room_of(module)
    for other in IMPORTS[module]:
        assert room_of(other) == room or FLOOR[room_of(other)] < FLOOR[room], f"{module} imports {other}"


def test_a_study_imports_what_a_user_imports():
    assert {other for m in MODULES if room_of(m) == "studies" for other in IMPORTS[m]} == {"paribus"}


def test_no_modules_import_each_other_in_a_circle():
    sorter = TopologicalSorter(IMPORTS)
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_root_holds_nothing_but_folders_errors_and_two_dunders():
    files = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__init__.pyi", "__main__.py", "errors.py", "py.typed"}


def test_a_stem_occurs_once():
    stems = Counter(file.stem for file in FILES if file.parent != ROOT / "studies" and file.stem != "__init__")
    assert not {stem for stem, times in stems.items() if times > 1}


def loaded_after(code):
    """The modules a clean process holds after ``code``."""
    script = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(script, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import paribus.cli.commands, paribus.cli.texts, paribus.lab.running", {"torch", "matplotlib"}),
        ("import paribus, paribus.design.study_files, paribus.store.store, paribus.store.identity", {"torch", "numpy"}),
        ("import paribus.judgement, paribus.reports", {"torch", "matplotlib"}),
        ("from paribus.audits import audit_records", {"torch"}),
        (
            "from paribus.cli.commands import commands; commands(['--help'], standalone_mode=False)",
            {"torch", "scipy", "numpy"},
        ),
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
    with pytest.raises(AttributeError, match="attribute nothing"):
        getattr(paribus, "noth" + "ing")


@pytest.mark.parametrize("room", ["nn", "data", "training", "judgement", "audits", "reports"])
def test_every_public_name_of_a_room_resolves(room):
    module = import_module(f"paribus.{room}")
    assert list(module.__all__) == sorted(module.__all__, key=lambda n: n) or room == "judgement"
    for name in module.__all__:
        assert getattr(module, name) is not None


VERBS = [value for name in paribus.__all__ if inspect.isfunction(value := getattr(paribus, name))]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_public_function_is_typed_and_names_what_it_raises(verb):
    signature = inspect.signature(verb)
    types = [parameter.annotation for parameter in signature.parameters.values()] + [signature.return_annotation]
    assert inspect.Signature.empty not in types
    assert "Raises" in verb.__doc__ or verb is paribus.list_studies  # which has nothing to refuse


def test_a_verb_of_the_command_line_is_a_function_of_the_same_name():
    names = set(commands.commands) - {"studies", "parts", "try"}  # list_studies, list_parts; draft and run
    assert names <= {verb.__name__ for verb in VERBS}


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
    flags = {
        name: sorted(p.opts[0].removeprefix("--") for p in command.params if p.opts[0][0] == "-" and not p.hidden)
        for name, command in commands.commands.items()
    }
    assert list(flags.items()) == [
        ("studies", ["json"]),
        ("parts", ["json", "slot"]),
        ("examine", ["json", "set", "slot"]),
        ("check", ["data", "json", "scale"]),
        ("run", ["confirm", "data", "device", "devices", "executor", "json", "max-seeds", "scale", "store"]),
        (
            "try",
            ["baseline", "device", "devices", "executor", "init", "json", "margin", "set", "slot", "store", "write"],
        ),
        ("calibrate", ["data", "device", "devices", "executor", "json", "max-seeds", "scale", "store"]),
        ("time", ["confirm", "data", "device", "json", "max-seeds", "scale", "store"]),
        ("status", ["json"]),
        ("report", ["format", "study"]),
        ("sample", ["arm", "file", "json", "prompt", "seed", "study", "temperature", "tokens"]),
    ]


def test_the_repository_has_no_absolute_path_and_no_unfinished_mark():
    marks = ("TO" + "DO", "FIX" + "ME", "/ho" + "me/", "/wo" + "rk/", "/ro" + "ot/")
    for file in [*FILES, *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "Makefile"]:
        text = file.read_text()
        assert not [mark for mark in marks if mark in text], file
