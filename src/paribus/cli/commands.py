"""The command line: verbs over ``paribus.lab``. Standard output is data, standard error is progress.

Exit codes: 0 done, 1 a study or a run failed, 2 usage, 3 a verdict is invalid, 130 interrupted.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from paribus.errors import ParibusError, StoreError
from paribus.store.store import DEFAULT_STORE

INVALID = 3
INTERRUPTED = 130

STORE_OPTION = click.option("--store", default=DEFAULT_STORE, show_default=True, help="Folder of runs and reports.")
SCALE_OPTION = click.option("--scale", help="One of the study's scales; the first it offers is the default.")
DATA_OPTION = click.option("--data", help="Another corpus: stdlib, a file, a folder, or hub:owner/name.")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
SLOT_OPTION = click.option("--slot", help="Where the class stands; found by what it does where none is named.")


def _read_settings(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """``hidden=64`` to {"hidden": 64}: Python's numbers, strings and tuples; any other text is a string."""
    settings: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if not value or not name.isidentifier():
            raise click.BadParameter(f"expected name=value, got {text!r}", context, option)
        if name in settings:
            raise click.BadParameter(f"{name} is set twice", context, option)
        if value.title() in ("True", "False", "None") and value != value.title():
            raise click.BadParameter(f"{text}: did you mean {name}={value.title()}?", context, option)
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


SET_OPTION = click.option(
    "--set",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_read_settings,
    help="An argument of the class's constructor; may be given again.",
)
EXECUTOR_OPTION = click.option(
    "--executor",
    type=click.Choice(["local", "inline"]),
    default="local",
    show_default=True,
    help="Worker processes on this machine, or this process.",
)
DEVICE_OPTION = click.option(
    "--device", type=click.Choice(["cpu", "cuda", "mps"]), help="Default: cuda where there is one, else cpu."
)
DEVICES_OPTION = click.option(
    "--devices",
    type=click.IntRange(min=1),
    help="Workers: GPUs or CPU cores to use; more workers than GPUs share them. Default: one for each.",
)


def main() -> None:
    """Entry point: errors become one sentence and an exit code."""
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # for torch, which reads it on import: idle threads sleep soon
    gc.set_threshold(10_000)  # imports make objects by the hundred thousand, and hardly any garbage
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
    finally:
        gc.freeze()  # or the interpreter looks through all of them before it ends


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="paribus")
def commands() -> None:
    """All else equal: is a part of a language model better, worse or equivalent, or can this budget not tell?"""


@commands.command()
@JSON_OPTION
def studies(as_json: bool) -> None:
    """List the built-in studies, and those that installed packages offer."""
    from paribus.lab.listing import list_studies

    with contextlib.redirect_stdout(sys.stderr):  # what a plug-in prints is no data
        rows = list_studies()
    if as_json:
        _print_json(rows)
    for row in () if as_json else _without_faults(rows):
        package = "" if row["package"] == "paribus" else f"  ({row['package']})"
        click.echo(f"{row['name']:<12} {row['question']}  [{', '.join(row['scales'])}]{package}")


@commands.command()
@click.argument("study")
@SCALE_OPTION
@DATA_OPTION
@SLOT_OPTION
@SET_OPTION
@JSON_OPTION
def check(
    study: str, scale: str | None, data: str | None, slot: str | None, arguments: dict[str, Any], as_json: bool
) -> int:
    """Audit a study before it trains: sizes, sites changed, leaks, cost of the plan. FILE.py:Class: one class alone."""
    if ":" in study:
        if scale or data:
            raise click.UsageError("--scale and --data are a study's; a class is examined alone")
        return _check_class(study, slot, arguments, as_json)
    if slot or arguments:
        raise click.UsageError("--slot and --set are for one class: paribus check FILE.py:Class")
    from paribus.cli.texts import check_text
    from paribus.lab import checking

    with contextlib.redirect_stdout(sys.stderr):  # what a user's part prints is no data
        checked = checking.check(study, scale=scale, data=data)
    _print_json(checked.to_json()) if as_json else _print_text(check_text(checked))
    return INVALID if checked.is_invalid else 0


@commands.command()
@click.argument("study")
@STORE_OPTION
@SCALE_OPTION
@DATA_OPTION
@EXECUTOR_OPTION
@DEVICE_OPTION
@DEVICES_OPTION
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
    return _run(study, as_json, **options)


@commands.command("try")
@click.argument("reference", metavar="FILE.py:CLASS")
@SLOT_OPTION
@SET_OPTION
@click.option("--baseline", help="A recipe of paribus.nn, or a built-in study whose baseline and recipe are taken.")
@click.option("--margin", type=float, help="The smallest difference worth acting on, in the metric's unit.")
@click.option("--write", is_flag=True, help="Write the study file and stop there.")
@STORE_OPTION
@EXECUTOR_OPTION
@DEVICE_OPTION
@DEVICES_OPTION
@JSON_OPTION
@click.pass_context
def try_class(
    context: click.Context,
    reference: str,
    slot: str | None,
    arguments: dict[str, Any],
    baseline: str | None,
    margin: float | None,
    write: bool,
    **options: Any,
) -> int:
    """Ask about one class of yours: examine it, write a study file beside it, run that study."""
    from paribus.cli.texts import examination_text
    from paribus.lab.trying import draft, examine

    running = ("store", "executor", "device", "devices")
    given = [name for name in running if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if write and given:
        raise click.UsageError(f"--write runs nothing: --{given[0]} does not go with it")
    with contextlib.redirect_stdout(sys.stderr):  # what a user's part prints is no data
        examination = examine(reference, slot, arguments)
        path = draft(examination, baseline, margin)
    shown = os.path.relpath(path)
    click.echo(examination_text(examination, passed=False), err=True)
    if not write:
        click.echo(f"study file: {shown}", err=True)
        return _run(shown, **options)
    if options["as_json"]:
        _print_json({"study_file": shown, "examination": examination.to_json()})
    else:
        click.echo(f"study file: {shown}")
    return 0


@commands.command()
@click.argument("store", default=DEFAULT_STORE)
@JSON_OPTION
def status(store: str, as_json: bool) -> None:
    """Say what is done, failed and unfinished, and how far the verdicts are."""
    from paribus.cli.texts import status_text
    from paribus.lab import judging

    state = judging.status(store)
    _print_json(state) if as_json else _print_text(status_text(state))


@commands.command()
@click.argument("store", default=DEFAULT_STORE)
@click.option("--study", help="One study of the store; all of them by default.")
@click.option("--format", "form", type=click.Choice(["md", "html", "json"]), default="md", show_default=True)
def report(store: str, study: str | None, form: str) -> None:
    """Judge and render again from what lies in the store; prints the report, or the path of an HTML page."""
    from paribus.lab import judging

    names = judging.study_names(store)
    if form == "json" and not study and len(names) > 1:
        raise StoreError(f"{store} holds {len(names)} studies; name one for JSON: --study {', --study '.join(names)}")
    # report says what is wrong with a store that holds no study.
    wanted: list[str | None] = [study] if study else [*names] or [None]
    for name in wanted:
        path = judging.report(store, form, name)
        click.echo(path if form == "html" else Path(path).read_text(), nl=form == "html")


@commands.command()
@click.argument("store", default=DEFAULT_STORE)
@click.option("--study", "name", help="One study of the store, where it holds several.")
@click.option("--arm", "arms", multiple=True, help="An arm by name; may be given again. Default: all.")
@click.option("--file", "study", help="The study file that has the classes of your own.")
@click.option("--prompt", help="How a document begins. Default: as a held-out one does.")
@click.option("--tokens", "n_tokens", type=int, default=100, show_default=True, help="Tokens to write.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="Of the sampled text; 0 is greedy.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampled text.")
@JSON_OPTION
def sample(as_json: bool, **options: Any) -> int:
    """Let trained arms write, greedy and sampled side by side, and check that each decodes as it was trained."""
    from paribus.cli.samples_text import samples_text
    from paribus.lab.sampling.drawing import sample as draw

    with contextlib.redirect_stdout(sys.stderr):  # what a user's part prints is no data
        samples = draw(observe=lambda event: click.echo(event["text"], err=True), **options)
    _print_json(samples.to_json()) if as_json else click.echo(samples_text(samples))
    return samples.exit_code


@commands.command()
@click.option("--slot", help="Only the parts of this slot.")
@JSON_OPTION
def parts(slot: str | None, as_json: bool) -> None:
    """List what can be put where: name, slot, formula, source, parity with a public implementation."""
    from paribus.lab.listing import list_parts

    with contextlib.redirect_stdout(sys.stderr):
        rows = list_parts(slot)
    if as_json:
        _print_json(rows)
    for row in () if as_json else _without_faults(rows):
        own = row["package"] == "paribus"
        click.echo(f"{row['slot']} {row['name']}" if own else f"{row['slot']} {row['name']}  ({row['package']})")
        parity = f"Tested against {row['parity']}" if row["parity"] else "No public counterpart tested."
        origin = parity if own else f"from {row['module']} import {row['name']}"
        for text in filter(None, (row["formula"], row["source"], origin)):
            click.echo(textwrap.fill(text, 78, initial_indent="    ", subsequent_indent="    "))


def _run(study: str, as_json: bool, **options: Any) -> int:
    from paribus.cli.texts import result_text
    from paribus.lab import running
    from paribus.lab.progress import progress

    with contextlib.redirect_stdout(sys.stderr), progress() as observe:
        result = running.run(study, observe=observe, **options)
    if as_json:
        _print_json(result.report)
        return result.exit_code
    _print_text(result_text(result))
    if any(verdict.kind == "better" for verdict in result.verdicts.values()) and not options.get("confirm"):
        click.echo(f"better once: `paribus run {study} --confirm` asks again, on fresh seeds and held-back documents")
    return result.exit_code


def _check_class(reference: str, slot: str | None, arguments: dict[str, Any], as_json: bool) -> int:
    from paribus.cli.texts import examination_text
    from paribus.lab.trying import examine

    with contextlib.redirect_stdout(sys.stderr):  # what a user's part prints is no data
        examination = examine(reference, slot, arguments)
    _print_json(examination.to_json()) if as_json else click.echo(examination_text(examination))
    return 1 if examination.failed else 0


def _run_null(study: str, as_json: bool, comparisons: int | None, confirm: bool, timing: bool, **options: Any) -> int:
    if confirm or timing:
        raise click.UsageError("--null runs the baseline alone: --confirm and --timing do not go with it")
    from paribus.cli.texts import null_text
    from paribus.lab.calibrating import calibrate
    from paribus.lab.progress import progress

    with contextlib.redirect_stdout(sys.stderr), progress() as observe:
        calibrated = calibrate(study, comparisons=comparisons, observe=observe, **options)
    _print_json(calibrated.data) if as_json else _print_text(null_text(calibrated))
    return 0


def _without_faults(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that can be used; what is wrong with a plug-in goes to standard error, a line each."""
    for row in rows:
        if row["error"]:
            click.echo(row["error"], err=True)
    return [row for row in rows if not row["error"]]


def _print_text(text: str) -> None:
    """Sentences are wrapped where a person reads them; a pipe gets them whole, one a line."""
    from paribus.cli.texts import wrap_sentences

    click.echo(wrap_sentences(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1))
