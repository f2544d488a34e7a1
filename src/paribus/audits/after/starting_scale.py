"""Does a verdict rest on the scale at which an arm started? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paribus.audits.after.trained_study import ExtraRuns
from paribus.audits.checks import Check
from paribus.judgement import Verdict
from paribus.store.records import Finding

FAR = 3.0  # times: from where on a starting scale may be what a verdict is about

STARTING_SCALE = Check[ExtraRuns](
    name="starting scale",
    when="after",
    severities=("doubt",),
    sees="A verdict better or worse on an arm that the check of the initial scale has seen to start at more than three "
    "times another scale than the baseline, or at zero where the baseline does not.",
    misses="Whether the difference is due to it. Contrasts.",
    cost="none",
    needs="verdicts",
    find=lambda extra: find_verdicts_on_scale(extra.by_numbers.verdicts, extra.found),
)


def find_verdicts_on_scale(verdicts: Mapping[str, Verdict | None], found: Sequence[Finding]) -> Iterator[Finding]:
    """Verdicts better or worse on arms whose parts started far louder, quieter, wider or narrower than the baseline's.

    ``found`` are the findings of the design.
    """
    for name, verdict in verdicts.items():
        starts = {
            path: ratio
            for finding in found
            if (finding.check, finding.severity, finding.arm) == ("initial scale", "note", name)
            for path, ratio in finding.evidence.get("ratios", {}).items()
            if _distance(ratio) > FAR
        }
        if verdict and verdict.kind in ("better", "worse") and starts:
            path, ratio = max(starts.items(), key=lambda item: _distance(item[1]))
            times = f"at {ratio:.3g} times" if _distance(ratio) < math.inf else "at zero against"
            yield Finding(
                check="starting scale",
                severity="doubt",
                message=f"{name!r} came out {verdict.kind}, and {path} started {times} the baseline's scale: "
                "this may be a verdict on initial weights",
                arm=name,
                site=path,
                evidence={"ratios": starts, "verdict": verdict.kind, "doubt_above": FAR},
                remedy="an arm whose part starts at the baseline's scale tells the two apart; initialized(spec(...)) "
                "draws what torch drew by default as the model's own parts",
            )


def _distance(ratio: Any) -> float:
    """How many times one scale is the other; a store holds an infinite ratio as null."""
    return math.inf if not ratio or ratio == math.inf else max(ratio, 1 / ratio)
