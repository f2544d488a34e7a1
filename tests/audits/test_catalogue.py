import ast
from pathlib import Path

import paribus.audits
from paribus.audits import CHECKS
from paribus.store.records import SEVERITIES

SOURCE = Path(paribus.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "audits.md"


def test_every_check_in_the_source_is_in_the_catalogue_and_the_other_way_round():
    named = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "check" and isinstance(node.value, ast.Constant):
                named.add(node.value.value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_Probe":
                named.add(node.args[0].value)
    assert named == {check.name for check in CHECKS}


def test_names_are_unique_and_severities_real():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.when in ("before", "after")
        assert check.severities and set(check.severities) <= set(SEVERITIES)


def test_the_page_has_one_row_for_every_check_and_says_what_the_catalogue_says():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    told = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
    told = [row for row in told if len(row) == 5 and row[0] not in ("check", "---")]
    expected = [(c.name, c.sees, c.misses, ", ".join(c.severities), c.cost) for c in CHECKS]
    assert told == expected


def test_the_room_offers_what_it_lists():
    for name in paribus.audits.__all__:
        assert getattr(paribus.audits, name) is not None
    assert dir(paribus.audits) == paribus.audits.__all__
