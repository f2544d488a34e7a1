import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from paribus.cli.commands import commands
from paribus.lab.listing import list_parts, list_studies


def call(*arguments):
    return CliRunner().invoke(commands, arguments, standalone_mode=False)


def test_the_version_alone_is_one_line():
    assert call("--version").stdout == f"paribus {version('paribus')}\n"


def test_the_verbose_version_says_what_is_installed_and_where_it_works(tmp_path, monkeypatch):
    monkeypatch.setenv("PARIBUS_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines = dict(line.split(maxsplit=1) for line in call("--version", "--verbose").stdout.splitlines())
    assert list(lines) == ["paribus", "torch", "Python", "devices", "threads", "cache", "store"]
    assert lines["torch"] == torch.__version__
    assert lines["Python"] == sys.version.split()[0]
    assert lines["devices"].startswith("cpu")
    assert lines["threads"] == str(torch.get_num_threads())
    assert Path(lines["cache"]) == tmp_path / "cache"
    assert Path(lines["store"]) == tmp_path / "paribus-store"


@pytest.mark.parametrize("arguments", [["--verbose"], ["--verbose", "studies"]])
def test_verbose_without_version_is_refused_and_not_ignored(arguments):
    refused = call(*arguments)
    assert isinstance(refused.exception, click.UsageError)
    assert "--verbose goes with --version" in refused.exception.message
    assert not refused.stdout


@pytest.mark.parametrize("arguments", [[], ["--verbose", "--version"], ["studies"], ["parts"]])
@pytest.mark.parametrize("where", ["top", "help"])
def test_lists_and_help_fit_80_columns(arguments, where):
    shown = call(*arguments, "--help") if where == "help" else call(*arguments)
    assert max(map(len, shown.output.splitlines()), default=0) <= 80


def test_the_help_shows_every_verb_in_its_order_and_no_sentence_is_cut():
    lines = call("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(commands.commands)
    assert not [line for line in lines if line.endswith("...")]


def test_lists_as_text_and_as_json_name_the_same_things():
    assert [row.name for row in list_studies() if f"\n{row.name}" not in "\n" + call("studies").stdout] == []
    parts = call("parts").stdout
    assert [row.name for row in list_parts() if f"{row.slot} {row.name}\n" not in parts] == []
