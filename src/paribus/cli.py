"""The command line: verbs over ``paribus.lab``. Standard output is data, standard error is progress.

Exit codes: 0 done, 1 a study or a run failed, 2 usage, 3 a verdict is invalid, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from paribus.errors import ParibusError
from paribus.records import DEFAULT_STORE

INVALID = 3
INTERRUPTED = 130

STORE_OPTION = click.option("--store", default=DEFAULT_STORE, show_default=True, help="Folder of runs and reports.")
SCALE_OPTION = click.option("--scale", help="One of the study's scales; the first it offers is the default.")
DATA_OPTION = click.option("--data", help="Another corpus: stdlib, a file, a folder, or hub:owner/name.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def main() -> None:
    """Entry point: errors become one sentence and an exit code."""
    try:
        code = commands.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
    except ParibusError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(error.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paribus")
def commands() -> None:
    """All else equal: is a part of a language model better, worse or equivalent, or can this budget not tell?"""


@commands.command()
@JSON_OPTION
def studies(as_json: bool) -> None:
    """List the built-in studies."""
    from paribus import lab

    rows = lab.list_studies()
    if as_json:
        _print_json(rows)
    for row in () if as_json else rows:
        click.echo(f"{row['name']:<12} {row['question']}  [{', '.join(row['scales'])}]")


@commands.command()
@click.argument("study")
@SCALE_OPTION
@DATA_OPTION
@JSON_OPTION
def check(study: str, scale: str | None, data: str | None, as_json: bool) -> int:
    """Audit a study before it trains: sizes, sites changed, leaks, cost of the plan."""
    from paribus import lab
    from paribus.display import check_text

    with contextlib.redirect_stdout(sys.stderr):  # what a user's part prints is no data
        checked = lab.check(study, scale=scale, data=data)
    _print_json(checked.to_json()) if as_json else click.echo(check_text(checked))
    return INVALID if checked.is_invalid else 0


@commands.command()
@click.argument("study")
@STORE_OPTION
@SCALE_OPTION
@DATA_OPTION
@click.option(
    "--executor",
    type=click.Choice(["local", "inline"]),
    default="local",
    show_default=True,
    help="Worker processes on this machine, or this process.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda", "mps"]), help="Default: cuda where there is one, else cpu.")
@click.option("--devices", type=click.IntRange(min=1), help="Workers: GPUs or CPU cores to use. Default: all.")
@click.option("--max-seeds", type=int, help="At most so many pairs; another registration.")
@click.option(
    "--confirm", is_flag=True, help="The same study on fresh seeds and held-back documents; another registration."
)
@click.option("--timing", is_flag=True, help="Then compare the arms' times in interleaved blocks on this machine.")
@click.option("--null", is_flag=True, help="Only the baseline against itself: its noise, and what the budget can tell.")
@click.option("--comparisons", type=int, help="With --null: so many small A/A comparisons, to count false verdicts.")
@JSON_OPTION
def run(study: str, as_json: bool, null: bool, comparisons: int | None, **options: Any) -> int:
    """Run what is missing, judge, write the report. Kill it and call it again."""
    if null:
        return _run_null(study, as_json, comparisons, **options)
    if comparisons is not None:
        raise click.UsageError("--comparisons counts A/A comparisons: it goes with --null")
    from paribus import lab
    from paribus.display import progress, result_text

    with contextlib.redirect_stdout(sys.stderr), progress() as observe:
        result = lab.run(study, observe=observe, **options)
    _print_json(result.report) if as_json else click.echo(result_text(result))
    return result.exit_code


@commands.command()
@click.argument("store", default=DEFAULT_STORE)
@JSON_OPTION
def status(store: str, as_json: bool) -> None:
    """Say what is done, failed and unfinished, and how far the verdicts are."""
    from paribus import lab
    from paribus.display import status_text

    state = lab.status(store)
    _print_json(state) if as_json else click.echo(status_text(state))


@commands.command()
@click.argument("store", default=DEFAULT_STORE)
@click.option("--study", help="One study of the store; all of them by default.")
@click.option("--format", "form", type=click.Choice(["md", "html", "json"]), default="md", show_default=True)
def report(store: str, study: str | None, form: str) -> None:
    """Judge and render again from what lies in the store; prints the report, or the path of an HTML page."""
    from paribus import lab

    for name in [study] if study else lab.study_names(store):
        path = lab.report(store, form, name)
        click.echo(path if form == "html" else Path(path).read_text(), nl=form == "html")


@commands.command()
@click.option("--slot", help="Only the parts of this slot.")
@JSON_OPTION
def parts(slot: str | None, as_json: bool) -> None:
    """List what can be put where: name, slot, formula, source, parity with a public implementation."""
    from paribus import lab

    rows = lab.list_parts(slot)
    if as_json:
        _print_json(rows)
    for row in () if as_json else rows:
        click.echo(f"{row['slot']} {row['name']}")
        parity = f"Tested against {row['parity']}" if row["parity"] else "No public counterpart tested."
        for text in (row["formula"], row["source"], parity):
            click.echo(textwrap.fill(text, 78, initial_indent="    ", subsequent_indent="    "))


def _run_null(study: str, as_json: bool, comparisons: int | None, confirm: bool, timing: bool, **options: Any) -> int:
    if confirm or timing:
        raise click.UsageError("--null runs the baseline alone: --confirm and --timing do not go with it")
    from paribus.calibration import calibrate
    from paribus.display import null_text, progress

    with contextlib.redirect_stdout(sys.stderr), progress() as observe:
        calibrated = calibrate(study, comparisons=comparisons, observe=observe, **options)
    _print_json(calibrated.data) if as_json else click.echo(null_text(calibrated))
    return 0


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1))
