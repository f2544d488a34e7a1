"""The tables of docs/performance.md and the performance section of README.md, from ``benchmarks/results``; prose stays.

A benchmark that was not run yet leaves its place empty. Equal results give equal bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]

READING = "no difference"  # of a test that is not significant
SCORINGS = {"sign": "a right sign counts", "worth": "a sign counts beyond the margin"}
HEADINGS = {
    "train_step": "### Seconds per run",
    "side_by_side": "### Runs side by side",
    "time_to_verdict": "### Pairs needed",
}


def compose_performance(results: Path, page: Path, readme: Path) -> dict[str, bytes]:
    """Both pages by their path in the repository. Raises ValueError where one has not its marks."""
    found = {name: read_result(results, name) for name in (*HEADINGS, "profile_run", "variance", "alternatives")}
    show = {
        "train_step": show_steps,
        "side_by_side": show_side_by_side,
        "time_to_verdict": show_verdicts,
        "step": show_profiled_step,
        "run": show_profiled_run,
        "variance": show_variance,
        "alternatives": show_alternatives,
    }
    text = page.read_text()
    for name, compose in show.items():
        result = found.get(name, found["profile_run"])
        text = fill(text, name, compose(result) if result else "", page)
    shorter = {**show, "train_step": show_fastest, "time_to_verdict": show_rivals}
    sections = [
        f"{heading}\n\n{shorter[name](result)}" for name, heading in HEADINGS.items() if (result := found[name])
    ]
    return {
        "docs/performance.md": text.encode(),
        "README.md": fill(readme.read_text(), "performance", "\n".join(sections), readme).encode(),
    }


def read_result(results: Path, name: str) -> Result | None:
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def fill(text: str, name: str, content: str, page: Path) -> str:
    """``text`` with ``content`` between the two marks called ``name``."""
    begin, end = f"<!-- generated: {name} -->\n", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} needs the marks {begin.strip()} and {end} once each")
    return re.sub(f"({re.escape(begin)}).*?({re.escape(end)})", lambda m: m[1] + content + m[2], text, flags=re.S)


def show_steps(result: Result) -> str:
    """A table for every part of the benchmark, with every framework."""
    columns = ("", "precision", "tokens/s", "of GEMM peak", "optimizer's share", "peak MB", "parameters")
    shown = []
    for part, rows in by_part(result).items():
        size = result["sizes"][rows[0]["size"]]
        steps = f"{size['windows']} x {size['seq_len']} tokens a step, vocabulary {size['vocab']:,}"
        measured = [
            (
                row["name"],
                row["precision"],
                speed(row),
                f"{100 * row['gemm_share']:.0f} %" if "gemm_share" in row else "",
                percent(row["optimizer_share"]),
                megabytes(row),
                f"{row['parameters']:,}",
            )
            for row in rows
            if row["status"] == "ok"
        ]
        missing = [f"{row['name']}, {row['precision']}: {row['status']}\n\n" for row in rows if row["status"] != "ok"]
        shown.append(f"**{part}**: {steps}\n\n" + (table(columns, measured) if measured else "") + "".join(missing))
    return "".join(shown) + origin(result)


def show_fastest(result: Result) -> str:
    """Of every part and precision, paribus and the fastest peer with the same optimizer."""
    columns = ("", "paribus, tokens/s", "of GEMM peak", "peak MB", "fastest peer", "its tokens/s", "its peak MB")
    shown = []
    for part, rows in by_part(result).items():
        for precision in dict.fromkeys(row["precision"] for row in rows):
            there = [row for row in rows if row["status"] == "ok" and row["precision"] == precision]
            own = [row for row in there if row["framework"] == "paribus"]
            if not own:
                continue
            paribus = next((row for row in own if row["optimizer"] == "AdamW" and not row["dropout"]), own[0])
            peers = [row for row in there if row["framework"] != "paribus"]
            peer = max(peers, key=lambda row: row["tokens_per_second"], default=None)
            shown.append(
                (
                    f"{part}, {precision}",
                    speed(paribus),
                    f"{100 * paribus['gemm_share']:.0f} %" if "gemm_share" in paribus else "",
                    megabytes(paribus),
                    *((peer["name"], speed(peer), megabytes(peer)) if peer else ("", "", "")),
                )
            )
    return table(columns, shown) + origin(result)


def by_part(result: Result) -> dict[str, list[Result]]:
    parts: dict[str, list[Result]] = {}
    for row in result["rows"]:
        parts.setdefault(row["part"], []).append(row)
    return parts


def show_side_by_side(result: Result) -> str:
    rows = [(row["what"], row["measured"], row["target"]) for row in result["rows"]]
    return table(("what", "measured", "aim"), rows) + origin(result)


def show_verdicts(result: Result) -> str:
    """Every rule on the effects together, by both scorings, and paribus against the best rival everywhere."""
    by_sign, by_worth = (rules(result, scoring, result["sums"][scoring]["rules"]) for scoring in ("sign", "worth"))
    return f"{by_sign}{by_worth}{against_best(result)}{origin(result)}"


def show_rivals(result: Result) -> str:
    """Paribus and the rivals on seeds of each arm's own, for which their test was made; a sign counts."""
    names = ["paribus", *(name for name in result["sums"]["sign"]["rules"] if "own seeds" in name)]
    return rules(result, "sign", names) + against_best(result) + origin(result)


def rules(result: Result, scoring: str, names: Iterable[str]) -> str:
    """What the rules called ``names`` say of the effects together, a test that is not significant read one way."""
    rows = [
        (
            strip_reading(name),
            f"{row['pairs']:.1f}",
            percent(row["right"]),
            percent(row["wrong"]),
            percent(row["worst_wrong"]),
            f"{row['seconds_per_right']:.0f}" if row["seconds_per_right"] else "never",
        )
        for name, row in result["sums"][scoring]["rules"].items()
        if name in names and (not row["rival"] or name.endswith(f"n.s. is {READING}"))
    ]
    effects = [name for name, effect in result["effects"].items() if effect["settled"]]
    number = f"{len(effects)} effect{'s' if len(effects) > 1 else ''}"
    said = (
        f"{number} ({', '.join(effects)}), {result['orders']:,} orders of {result['seeds']} seeds; a test\n"
        f'that is not significant is read as "{READING}"; {SCORINGS[scoring]}.\n\n'
    )
    return said + table(("rule", "pairs", "right", "wrong", "wrong, worst effect", "s per right verdict"), rows)


def against_best(result: Result) -> str:
    """Seconds of paribus over those of the best rival that errs no more often, under every reading."""
    places = {("the effects", scoring): result["sums"][scoring]["best"] for scoring in SCORINGS}
    for name, planted in result["planted"].items():
        about = f"0 to {planted['margins'][-1]:.0f} margins planted in the noise of {name}"
        places |= {(about, scoring): sums["best"] for scoring, sums in planted["sums"].items()}
    rows = [
        (where, SCORINGS[scoring], f'"{reading}"', strip_reading(best["rival"] or "none"), ratio(best))
        for (where, scoring), readings in places.items()
        for reading, best in readings.items()
    ]
    columns = (
        "on",
        "scored",
        "not significant is",
        "best rival that errs no more",
        "seconds, paribus over rival (aim: .5)",
    )
    return table(columns, rows)


def ratio(best: Result) -> str:
    return f"{best['ratio']:.2f}" if best["rival"] else ""


def strip_reading(name: str) -> str:
    return name.partition("; n.s. is ")[0]


def show_profiled_step(result: Result) -> str:
    step = result["step"]
    parts = [(name, f"{1000 * s:.1f}", percent(s / step["seconds"])) for name, s in step["parts"].items()]
    operators = [(code(name), percent(share)) for name, share in step["operators"].items()]
    said = f"One step of {step['tokens']:,} tokens: {1000 * step['seconds']:.1f} ms (median of {step['steps']}).\n\n"
    return (
        said
        + table(("part", "ms", "share"), parts)
        + table(("operator", "share of all operators"), operators)
        + origin(result)
    )


def show_profiled_run(result: Result) -> str:
    run = result["run"]
    rows = [(name, f"{s:.1f}", percent(s / run["seconds"])) for name, s in run["parts"].items()]
    given_up = f", {run['given_up']} given up" if run["given_up"] else ""
    said = (
        f"{run['seconds']:.1f} s; {run['runs']} runs on {run['workers']} workers{given_up}. Preparing corpus and\n"
        f"tokenizer for the first time takes {run['preparing_seconds']:.1f} s more, once per machine.\n\n"
    )
    whole = ("in all", f"{run['seconds']:.1f}", percent(1))
    return said + table(("where", "seconds", "share"), [*rows, whole]) + origin(result)


def show_variance(result: Result) -> str:
    """The spread of the paired difference under every change that was trained, and on shares of the documents."""
    shown = ""
    if trained := result["trained"]:
        rows = [
            (
                row["change"],
                f"{row['loss']:.3f}",
                f"{row['seed_sd']:.4f}",
                with_standard_error(row),
                f"{row['sd'] / trained[0]['sd']:.2f}",
                f"{row['correlation']:+.2f}",
            )
            for row in trained
        ]
        columns = ("recipe", "loss", "its sd over seeds", "sd of the difference", "over the first row", "correlation")
        shown = f"RMSNorm against LayerNorm, {trained[0]['pairs']} pairs.\n\n" + table(columns, rows)
    rows = [
        (name, f"{100 * row['share']:.0f} %", f"{row['documents']}", with_standard_error(row))
        for name, of_effect in result["documents"].items()
        for row in of_effect
    ]
    columns = ("treatment", "share of the evaluation documents", "documents", "sd of the difference")
    return f"{shown}{table(columns, rows)}{origin(result)}"


def with_standard_error(row: Result) -> str:
    """A standard deviation over pairs, and its own error for normal differences."""
    return f"{row['sd']:.4f} ± {row['sd'] / math.sqrt(2 * (row['pairs'] - 1)):.4f}"


def show_alternatives(result: Result) -> str:
    """A table for each of the three other ways of computing."""
    stacked = [
        (
            f"width {row['d_model']}, vocabulary {row['vocab']:,}",
            f"{row['windows'] * row['seq_len']:,}",
            str(row["replicates"]),
            milliseconds(row["separate_seconds"]),
            milliseconds(row["stacked_seconds"]),
            times(row["separate_seconds"], row["stacked_seconds"]),
            small(row["difference"]),
        )
        for row in result["stacked"]
    ]
    compiled = [
        (
            f"`{row['study']}`, {row['baseline']}",
            row["cache"],
            f"{row['first_step_seconds']:.1f}",
            f"{row['next_five_steps_seconds']:.1f}",
            f"{row['second_model_seconds']:.1f}",
            milliseconds(row["plain_seconds"]),
            milliseconds(row["compiled_seconds"]),
            times(row["plain_seconds"], row["compiled_seconds"]),
            steps_until_paid(row),
        )
        for row in result["compiled"]
    ]
    experts = [
        (
            f"{row['scale']}, {row['experts']}",
            f"{row['assignments']:,}",
            milliseconds(row["loop_seconds"]),
            milliseconds(row["grouped_seconds"]),
            times(row["loop_seconds"], row["grouped_seconds"]),
            small(row["difference"]),
        )
        for row in result["experts"]
    ]
    size = ("model", "tokens a step", "replicates")
    states = ("kernel cache", "first step, s", "next five, s", "second model's first step, s")
    return (
        "**Replicates as one program**, forward and backward\n\n"
        + table((*size, "separate, ms", "stacked, ms", "times as fast", "relative difference"), stacked)
        + "**Blocks compiled**, whole steps\n\n"
        + table(("baseline", *states, "step, ms", "compiled, ms", "times as fast", "pays after steps"), compiled)
        + "**Experts by grouped_mm**, forward and backward of the experts alone\n\n"
        + table(("experts", "assignments", "loop, ms", "grouped, ms", "times as fast", "relative difference"), experts)
        + f"On {result['device']}. {origin(result)}"
    )


def steps_until_paid(row: Result) -> str:
    """Steps that make up for the first one, which compiles."""
    saved = row["plain_seconds"] - row["compiled_seconds"]
    return f"{row['first_step_seconds'] / saved:,.0f}" if saved > 0 else "never"


def times(before: float, after: float) -> str:
    return f"{before / after:.2f}"


def small(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its first column flush left, and an empty line behind it."""
    rule = ["---", *("---:" for _ in columns[1:])]
    lines = [" | ".join(cells) for cells in (columns, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{'|'.join(rule)}|", *(f"| {line} |" for line in lines[1:])]) + "\n\n"


def origin(result: Result) -> str:
    """Where, when and with what it was measured."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return f"{result['date']}; {result['machine']}, {result['cores']} cores; {versions}.\n"


def speed(row: Result) -> str:
    """Tokens per second, and where there were several rounds those of the slowest and the fastest."""
    median, slowest, fastest = (f"{row.get(key, 0):,.0f}" for key in ("tokens_per_second", "slowest", "fastest"))
    return f"{median} ({slowest} to {fastest})" if len(row.get("rates", ())) > 1 else median


def megabytes(row: Result) -> str:
    return f"{row['peak_bytes'] / 1e6:,.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def code(name: str) -> str:
    return name if " " in name else f"`{name}`"
