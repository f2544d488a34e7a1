"""The samples of arms as text: greedy and sampled in two columns, then the numbers, then the checks."""

from __future__ import annotations

import io
import re
import textwrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from paribus.lab.sampling.samples import TOLERANCES, DecodingCheck, Passage, Samples

WIDTH = 79


def samples_text(samples: Samples) -> str:
    """All of ``samples`` within 79 columns; what cannot be seen is written as an escape."""
    slid = f", the last {samples.n_slid} after the window had slid past the beginning" if samples.n_slid else ""
    made = (
        f"{samples.name}, runs of seed {samples.run_seed}; {samples.n_tokens} tokens each, drawn with seed "
        f"{samples.seed}; the models read {samples.window} tokens{slid}"
    )
    ids = [] if samples.is_text else ["The data have no decode(ids): these are token ids."]
    where = "the beginning of a held-out document" if samples.is_held_out else "as given"
    parts = [_wrap(samples.question, made, *ids), _table([f"prompt, {where}"], [[samples.prompt.text]])]
    if samples.is_held_out:
        parts.append(_table(["the document goes on"], [[samples.continuation.text]]))
    heads = ["greedy", f"sampled at temperature {samples.temperature:g}"]
    for name, arm in samples.arms.items():
        parts.append(_wrap(name) + "\n" + _table(heads, [[arm.greedy.text, arm.sampled.text]]))
    rows = [
        [name, _share(arm.greedy), _share(arm.sampled), f"{arm.held_out_log_probability:.3f}"]
        for name, arm in samples.arms.items()
    ]
    parts.append(_table(["", "greedy", "sampled", "log-prob"], rows))
    parts.append(
        _wrap(
            "greedy, sampled: share of 4-grams of tokens that stand earlier in the same text "
            f"({_share(samples.continuation)} in the held-out document); log-prob: mean log-probability of how the "
            f"held-out document goes on, nats per token, over {len(samples.continuation.tokens)} tokens."
        )
    )
    parts.append(_wrap(*(f"{name}: {_check_text(arm.decoding)}" for name, arm in samples.arms.items())))
    return "\n\n".join(parts)


def escape(text: str) -> str:
    r"""``text`` with a backslash doubled and what cannot be seen as ``\t`` or ``\u202e``.

    A line break stays after its ``\n``; a space that ends a line is ``\x20``.
    """
    seen = "".join(c if c == "\n" or (c.isprintable() and c != "\\") else ascii(c)[1:-1] for c in text)
    return re.sub(r" (?=\n|$)", r"\\x20", seen).replace("\n", "\\n\n")


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Columns within 79 cells, whose text is folded and never cut off."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), expand=len(heads) == 2)
    for head in heads:
        table.add_column(head, overflow="fold", ratio=1 if len(heads) == 2 else None)
    for row in rows:
        table.add_row(*(Text(escape(cell)) for cell in row))
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _share(passage: Passage) -> str:
    return "-" if passage.repeated is None else f"{passage.repeated:.0%}"


def _check_text(check: DecodingCheck) -> str:
    share = f"{TOLERANCES[check.precision]:.0e} of the largest logit"
    allowed = f"(at most {check.allowed:.0e} allowed, {share}, as it was computed in {check.precision})"
    if check.trouble:
        return f"FAILED: whether it decodes as it was trained cannot be checked: {check.trouble}"
    ways = [f"{check.n_prefixes} growing prefixes move the logits by {_distance(check.by_prefixes)}"]
    if check.steppers:
        mixers = "one mixer" if check.steppers == 1 else f"{check.steppers} mixers"
        ways.append(f"step() of {mixers} by {_distance(check.by_steps)}")
    verdict = "decodes as it was trained" if check.passed else "FAILED: it does NOT decode as it was trained"
    return f"{verdict}: against one pass over {check.n_tokens} tokens, {', '.join(ways)} {allowed}"


def _distance(distance: float | None) -> str:
    return "a value that is not finite" if distance is None else f"{distance:.1e}"


def _wrap(*paragraphs: str) -> str:
    return "\n".join(line for text in paragraphs for line in textwrap.wrap(escape(text), WIDTH, break_on_hyphens=False))
