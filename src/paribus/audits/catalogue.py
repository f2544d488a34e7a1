"""Every check by name: what it sees, what it cannot see, and how bad its findings are. No torch."""

from paribus.audits.checks_after import AFTER
from paribus.audits.checks_before import BEFORE
from paribus.audits.context import Check

CHECKS: tuple[Check, ...] = (*BEFORE, *AFTER)
"""Every audit there is, in the order in which their findings come."""
