"""The samples of arms as text: greedy and sampled in two columns, then the numbers, then the checks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

from paribus.lab.sampling.samples import TOLERANCES, ArmSamples, DecodingCheck, Passage, Samples

WIDTH = 79
SPACE = "\N{MIDDLE DOT}"  # stands for a space that would end a line
_GAP = " | "
_NAME_WIDTH = 36
_ESCAPES = {"\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def samples_text(samples: Samples) -> str:
    """All of ``samples`` within 79 columns; nothing is cut off, and what cannot be seen is written as an escape."""
    lines = [
        *_wrap(samples.question),
        *_wrap(
            f"{samples.name}, runs of seed {samples.run_seed}; {samples.n_tokens} tokens each, drawn with seed "
            f"{samples.seed}; the models read {samples.window} tokens" + _slid(samples)
        ),
    ]
    if not samples.is_text:
        lines += _wrap("The data have no decode(ids): these are token ids.")
    where = "the beginning of a held-out document" if samples.is_held_out else "as given"
    lines += ["", f"prompt, {where}", *_indented(samples.prompt.text)]
    if samples.is_held_out:
        lines += ["", "the document goes on", *_indented(samples.continuation.text)]
    heads = "greedy", f"sampled at temperature {samples.temperature:g}"
    for name, arm in samples.arms.items():
        lines += ["", *_wrap(name), *_columns((heads[0], arm.greedy.text), (heads[1], arm.sampled.text))]
    if any(SPACE in line for line in lines):
        lines += ["", f"A space at the end of a line is shown as {SPACE}."]
    return "\n".join([*lines, "", *_numbers(samples), "", *_checks(samples)])


def escape(text: str) -> str:
    r"""``text`` with a backslash doubled and everything that cannot be seen as ``\n``, ``\t``, ``\x1b`` or ``\u202e``.

    A line break stays one, behind its escape; of several on end the last does.
    """
    return "".join(_units(text))


def _units(text: str) -> Iterator[str]:
    """What must not be torn apart: a character, or the escape of one; a line break where a line ends."""
    for part in re.findall(r"\n+|[^\n]+", text):
        yield from [*["\\n"] * len(part), "\n"] if part[0] == "\n" else map(_visible, part)


def _visible(character: str) -> str:
    if character in _ESCAPES or character.isprintable():
        return _ESCAPES.get(character, character)
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _slid(samples: Samples) -> str:
    if not samples.n_slid:
        return ""
    return f", and the last {samples.n_slid} were written when the window had slid past the beginning of the document"


def _columns(left: tuple[str, str], right: tuple[str, str]) -> list[str]:
    width = (WIDTH - 2 - len(_GAP)) // 2
    sides = [[head, "-" * width, *_chopped(text, width)] for head, text in (left, right)]
    rows = zip_longest(*sides, fillvalue="")
    return [f"  {one}{' ' * (width - cell_len(one))}{_GAP}{other}".rstrip() for one, other in rows]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in _chopped(text, WIDTH - 2)]


def _chopped(text: str, width: int) -> list[str]:
    """The lines of ``text``, each as many lines as it needs; spaces at the end of one are made visible."""
    lines = [""]
    for unit in _units(text):
        if unit == "\n":
            lines.append("")
        elif cell_len(lines[-1]) + cell_len(unit) > width:
            lines.append(unit)
        else:
            lines[-1] += unit
    shown = [f"{line.rstrip(' ')}{SPACE * (len(line) - len(line.rstrip(' ')))}" for line in lines]
    return shown if shown[-1] else shown[:-1]


def _numbers(samples: Samples) -> list[str]:
    rows = [("", "greedy", "sampled", "log-prob"), *(_row(name, arm) for name, arm in samples.arms.items())]
    lines = []
    for name, *cells in rows:
        first, *rest = chop_cells(name, _NAME_WIDTH) or [""]
        lines.append(f"{first}{' ' * (_NAME_WIDTH - cell_len(first))}{''.join(cell.rjust(12) for cell in cells)}")
        lines += rest
    document = _share(samples.continuation)
    return [
        *lines,
        *_wrap(
            "greedy, sampled: share of 4-grams of tokens that stand earlier in the same text"
            + (f" ({document} in the held-out document)" if document else "")
            + f"; log-prob: mean log-probability of how the held-out document goes on, nats per token, over "
            f"{len(samples.continuation.tokens)} tokens."
        ),
    ]


def _row(name: str, arm: ArmSamples) -> tuple[str, ...]:
    repeats = [_share(passage) or "-" for passage in (arm.greedy, arm.sampled)]
    return name, *repeats, f"{arm.held_out_log_probability:.3f}"


def _share(passage: Passage) -> str:
    return "" if passage.repeated is None else f"{passage.repeated:.0%}"


def _checks(samples: Samples) -> list[str]:
    return [line for name, arm in samples.arms.items() for line in _wrap(f"{name}: {_check_text(arm.decoding)}")]


def _check_text(check: DecodingCheck) -> str:
    share = f"{TOLERANCES[check.precision]:.0e} of the largest logit"
    allowed = f"(at most {check.allowed:.0e} allowed, {share}, as it was computed in {check.precision})"
    if check.trouble:
        return f"FAILED: whether it decodes as it was trained cannot be checked: {escape(check.trouble)}"
    ways = [f"{check.n_prefixes} growing prefixes move the logits by {_far(check.by_prefixes)}"]
    if check.steppers:
        mixers = "one mixer" if check.steppers == 1 else f"{check.steppers} mixers"
        ways.append(f"step() of {mixers} by {_far(check.by_steps)}")
    verdict = "decodes as it was trained" if check.passed else "FAILED: it does NOT decode as it was trained"
    return f"{verdict}: against one pass over {check.n_tokens} tokens, {', '.join(ways)} {allowed}"


def _far(distance: float | None) -> str:
    return "what is no number" if distance is None else f"{distance:.1e}"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)
