"""Every check there is.

A new one is an object in a file of ``before`` or ``after``, a line in ``BEFORE`` (before/design_audit.py) or ``AFTER``
(after/outcome_audit.py), and a planted study in tests/audits/planted that it must catch.
"""

from typing import Any

from paribus.audits.after.outcome_audit import AFTER
from paribus.audits.before.design_audit import BEFORE
from paribus.audits.checks import Check

CORPUS = Check[Any](
    name="corpus",
    when="before",
    severities=("note", "doubt"),
    sees="A corpus that `check` could not read, so that nothing is known of its split (doubt). Another corpus than the "
    "study file's, named with `--data`, and the tokenizer that was trained for it (note).",
    misses="What the other corpus holds.",
    cost="none",
    needs="corpus",
)

REPEATED_LOOK = Check[Any](
    name="repeated look",
    when="before",
    severities=("doubt",),
    sees="Pairs of runs that an earlier registration in this store has judged already: the error rate holds for the "
    "first look at them.",
    misses="Looks at the same runs in another store.",
    cost="none",
    needs="records",
)

CHECKS: tuple[Check[Any], ...] = (*BEFORE, CORPUS, REPEATED_LOOK, *AFTER)
"""In the order in which their findings come; those of the two named here are made as a study is read and registered."""
