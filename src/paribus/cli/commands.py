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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from paribus.errors import ParibusError, StoreError
from paribus.store.store import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from paribus.lab.listing import ListedPart, ListedStudy
    from paribus.reports.result import Result

INVALID = 3
INTERRUPTED = 130


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


def _combine(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which the help lists them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _removed(*flags: str, answer: str, takes_value: bool = False) -> Callable[[Any], Any]:
    """An option of an earlier release, which answers with what replaces it."""

    def refuse(context: click.Context, option: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            raise click.UsageError(f"{option.opts[0]} was removed: {answer}", context)

    kind: dict[str, Any] = {} if takes_value else {"is_flag": True}
    return _combine(*(click.option(flag, hidden=True, expose_value=False, callback=refuse, **kind) for flag in flags))


STORE_ARGUMENT = click.argument("store", default=DEFAULT_STORE)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
STORE_OPTION = click.option(
    "--store", default=DEFAULT_STORE, show_default=True, help="The folder that keeps runs and reports."
)
DEVICE_OPTION = click.option(
    "--device", type=click.Choice(["cpu", "cuda", "mps"]), help="Default: cuda if the machine has it, else cpu."
)
STUDY_OPTIONS = _combine(
    click.option("--scale", help="One of the study's scales; default: the first."),
    click.option("--data", help="Another corpus: stdlib, a file, a folder, or hub:owner/name."),
)
SEEDS_OPTION = click.option("--max-seeds", type=int, help="The largest number of pairs. Registered as another study.")
CONFIRM_OPTION = click.option(
    "--confirm",
    is_flag=True,
    help="The same study on fresh seeds and held-back documents. Registered as another study.",
)
PLACE_OPTIONS = _combine(
    STORE_OPTION,
    click.option(
        "--executor",
        metavar="NAME",
        default="local",
        show_default=True,
        help="Where runs are trained: local (worker processes on this machine), inline (this process), or one that an "
        "installed package offers.",
    ),
    DEVICE_OPTION,
    click.option(
        "--devices",
        type=click.IntRange(min=1),
        help="Number of workers; more workers than GPUs share them. Default: one per GPU or CPU core.",
    ),
)
CLASS_OPTIONS = _combine(
    click.option("--slot", help="The kind of part the class is. Default: found from what the class does."),
    click.option(
        "--set",
        "arguments",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_read_settings,
        help="An argument of the class's constructor; may be repeated.",
    ),
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


class _InOrder(click.Group):
    """Lists its commands in the order in which they are written here."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--version", "asks_version", is_flag=True, help="Print the version and exit.")
@click.option("--verbose", is_flag=True, help="With --version: torch, Python, devices, threads, folders.")
@click.pass_context
def commands(context: click.Context, asks_version: bool, verbose: bool) -> None:
    """All else equal: is a part of a language model better, worse or equivalent, or can this budget not tell?"""
    if asks_version and verbose:
        from paribus.lab.installation import read_installation

        click.echo(str(read_installation()))
        context.exit()
    if asks_version:
        click.echo(f"paribus {version('paribus')}")
        context.exit()
    if verbose:
        raise click.UsageError("--verbose goes with --version")
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.")


@commands.command()
@JSON_OPTION
def studies(as_json: bool) -> None:
    """List the built-in studies, and those of installed packages."""
    from paribus.cli.texts import studies_text
    from paribus.lab.listing import list_studies

    with _stdout_kept_for_data():
        rows = list_studies()
    _print_list(rows, studies_text, as_json)


@commands.command()
@click.option("--slot", help="Only the parts of this slot.")
@JSON_OPTION
def parts(slot: str | None, as_json: bool) -> None:
    """List the parts of models by slot, with formulas and sources."""
    from paribus.cli.texts import parts_text
    from paribus.lab.listing import list_parts

    with _stdout_kept_for_data():
        rows = list_parts(slot)
    _print_list(rows, parts_text, as_json)


@commands.command()
@click.argument("reference", metavar="FILE.py:CLASS")
@CLASS_OPTIONS
@JSON_OPTION
def examine(reference: str, slot: str | None, arguments: dict[str, Any], as_json: bool) -> int:
    """Test one class alone: does it do what its slot asks for?"""
    from paribus.cli.texts import examination_text
    from paribus.lab.trying import examine

    with _stdout_kept_for_data():
        examination = examine(reference, slot, arguments)
    _print_json(examination.to_json()) if as_json else click.echo(examination_text(examination))
    return 1 if examination.failed else 0


@commands.command()
@click.argument("study")
@STUDY_OPTIONS
@JSON_OPTION
@_removed("--slot", "--set", takes_value=True, answer="`paribus examine FILE.py:CLASS` tests one class")
def check(study: str, scale: str | None, data: str | None, as_json: bool) -> int:
    """Audit a study: sizes, sites changed, leaks, cost of the plan. Trains nothing."""
    if ":" in study:
        raise click.UsageError(f"a class is tested by `paribus examine {study}`; check takes a study")
    from paribus.cli.texts import check_text
    from paribus.lab import checking

    with _stdout_kept_for_data():
        checked = checking.check(study, scale=scale, data=data)
    _print_json(checked.to_json()) if as_json else _print_text(check_text(checked))
    return INVALID if checked.is_invalid else 0


@commands.command()
@click.argument("study")
@STUDY_OPTIONS
@SEEDS_OPTION
@CONFIRM_OPTION
@PLACE_OPTIONS
@JSON_OPTION
@_removed("--null", answer="`paribus calibrate STUDY` runs the baseline against itself")
@_removed("--timing", answer="`paribus time STUDY` compares the arms' times")
@_removed(
    "--comparisons",
    takes_value=True,
    answer="false verdicts are counted by benchmarks/false_verdicts.py in paribus's repository",
)
def run(study: str, as_json: bool, **options: Any) -> int:
    """Run what is missing, judge, and write the report. If it is killed, call it again."""
    return _run(study, as_json, **options)


@commands.command("try")
@click.argument("reference", metavar="FILE.py:CLASS")
@CLASS_OPTIONS
@click.option("--baseline", help="A recipe of paribus.nn, or a built-in study to take baseline and training from.")
@click.option("--margin", type=float, help="The smallest difference worth acting on, in the metric's unit.")
@click.option(
    "--init",
    type=click.Choice(["model", "own"]),
    default="model",
    show_default=True,
    help="Initial weights that torch drew by default: drawn as the model's own parts, or left.",
)
@click.option("--write", is_flag=True, help="Only write the study file.")
@PLACE_OPTIONS
@JSON_OPTION
@click.pass_context
def try_class(
    context: click.Context,
    reference: str,
    slot: str | None,
    arguments: dict[str, Any],
    baseline: str | None,
    margin: float | None,
    init: str,
    write: bool,
    **options: Any,
) -> int:
    """Compare one class of yours with a baseline. Examines it, writes a study file next to it, runs that study."""
    from paribus.cli.texts import examination_text
    from paribus.lab.trying import draft, examine

    running = ("store", "executor", "device", "devices")
    given = [name for name in running if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if write and given:
        raise click.UsageError(f"--write runs nothing: --{given[0]} does not go with it")
    with _stdout_kept_for_data():
        examination = examine(reference, slot, arguments)
        path = draft(examination, baseline, margin, init)
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
@click.argument("study")
@STUDY_OPTIONS
@SEEDS_OPTION
@PLACE_OPTIONS
@JSON_OPTION
def calibrate(study: str, as_json: bool, **options: Any) -> None:
    """Measure the noise of the baseline against itself. Says what the budget can settle in it."""
    from paribus.cli.texts import calibration_text
    from paribus.lab import calibrating
    from paribus.lab.progress import progress

    with _stdout_kept_for_data(), progress() as observe:
        calibration = calibrating.calibrate(study, observe=observe, **options)
    _print_json(calibration.to_json()) if as_json else _print_text(calibration_text(calibration))


@commands.command()
@click.argument("study")
@STUDY_OPTIONS
@SEEDS_OPTION
@CONFIRM_OPTION
@STORE_OPTION
@DEVICE_OPTION
@JSON_OPTION
def time(study: str, as_json: bool, **options: Any) -> None:
    """Compare the times of a study's arms, in turn on this machine. Adds them to its report."""
    from paribus.cli.texts import times_text
    from paribus.lab import timing_arms
    from paribus.lab.progress import progress

    with _stdout_kept_for_data(), progress() as observe:
        result = timing_arms.time(study, observe=observe, **options)
    _print_json(result.report.to_json()) if as_json else _print_text(times_text(result))


@commands.command()
@STORE_ARGUMENT
@JSON_OPTION
def status(store: str, as_json: bool) -> None:
    """Show what is done, failed and unfinished, and verdicts so far."""
    from paribus.cli.texts import status_text
    from paribus.lab import store_status

    state = store_status.status(store)
    _print_json(state.to_json()) if as_json else _print_text(status_text(state))


@commands.command()
@STORE_ARGUMENT
@click.option("--study", help="One study of the store; default: all.")
@click.option("--format", "form", type=click.Choice(["md", "html", "json"]), default="md", show_default=True)
def report(store: str, study: str | None, form: str) -> None:
    """Judge again from the store, and rewrite the reports. Prints them, or the path of an HTML page."""
    from paribus.lab import reporting

    names = Store.open(store).study_names()
    if form == "json" and not study and len(names) > 1:
        raise StoreError(f"{store} holds {len(names)} studies; name one for JSON: --study {', --study '.join(names)}")
    # A store without a study is refused by report itself.
    wanted: list[str | None] = [study] if study else [*names] or [None]
    for name in wanted:
        page = reporting.report(store, name).page
        click.echo(page if form == "html" else page.with_suffix(f".{form}").read_text(), nl=form == "html")


@commands.command()
@STORE_ARGUMENT
@click.option("--study", "name", help="One study of the store, if it holds several.")
@click.option("--arm", "arms", multiple=True, help="The name of an arm; may be repeated. Default: all.")
@click.option("--file", "study", help="The study file; not needed for a built-in study.")
@click.option("--prompt", help="The start of a document. Default: that of a held-out one.")
@click.option("--tokens", "n_tokens", type=int, default=100, show_default=True, help="Tokens to generate.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="Of the sampled text; 0 is greedy.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampled text.")
@JSON_OPTION
def sample(as_json: bool, **options: Any) -> int:
    """Generate text with trained arms. Checks that each decodes as it was trained."""
    from paribus.cli.samples_text import samples_text
    from paribus.lab.sampling.drawing import sample as draw

    with _stdout_kept_for_data():
        samples = draw(observe=lambda event: click.echo(event["text"], err=True), **options)
    _print_json(samples.to_json()) if as_json else click.echo(samples_text(samples))
    return samples.exit_code


def _run(study: str, as_json: bool, **options: Any) -> int:
    from paribus.cli.texts import result_text
    from paribus.lab import running
    from paribus.lab.progress import progress

    with _stdout_kept_for_data(), progress() as observe:
        result: Result = running.run(study, observe=observe, **options)
    if as_json:
        _print_json(result.report.to_json())
        return result.exit_code
    _print_text(result_text(result))
    if any(verdict.kind == "better" for verdict in result.verdicts.values()) and not options.get("confirm"):
        click.echo(f"better once: `paribus run {study} --confirm` repeats it on fresh seeds and held-back documents")
    return result.exit_code


def _stdout_kept_for_data() -> AbstractContextManager[Any]:
    """What a user's part or a plug-in prints goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr)


def _print_list(rows: Sequence[ListedStudy | ListedPart], text: Callable[[Any], str], as_json: bool) -> None:
    """The rows; as text those that can be used, and what is wrong with the others to standard error, a line each."""
    if as_json:
        _print_json([row.to_json() for row in rows])
        return
    for row in rows:
        if row.error:
            click.echo(row.error, err=True)
    if usable := [row for row in rows if not row.error]:
        click.echo(text(usable))


def _print_text(text: str) -> None:
    """Sentences are wrapped where a person reads them; a pipe gets them whole, one a line."""
    from paribus.cli.texts import wrap_sentences

    click.echo(wrap_sentences(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1))
