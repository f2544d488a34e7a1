import ast
from itertools import groupby
from pathlib import Path

from small_studies import BASELINE, make_study

import paribus.audits
from paribus.audits import CHECKS, Check, audit_arms, audit_design, measure_arms
from paribus.audits.before import design_audit
from paribus.design.specs import spec
from paribus.nn import RMSNorm
from paribus.store.records import SEVERITIES, Finding

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


def test_a_new_check_is_one_object_in_the_tuple_and_runs_where_it_is_shown_what_it_needs(monkeypatch, corpus):
    def make_check(needs, describe):
        def find(context):
            yield Finding(check=f"new {needs}", severity="note", message=describe(context))

        return Check(f"new {needs}", "before", ("note",), "", "", "none", needs, find)

    new = (
        make_check("specs", lambda built: built.study.question),
        make_check("model", lambda arm: type(arm.probe.model).__name__),
        make_check("models", lambda built: ", ".join(built.observed)),
        make_check("corpus", lambda built: f"{built.corpus.vocab_size} ids"),
    )
    monkeypatch.setattr(design_audit, "BEFORE", new)
    study = make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)))
    found = [finding.message for finding in audit_design(study, corpus)]
    assert found == [study.question, "Transformer", "Transformer", "baseline, arm", f"{corpus.vocab_size} ids"]
    without_corpus = audit_arms(study, corpus.vocab_size, measure_arms(study, corpus.vocab_size))
    assert [finding.message for finding in without_corpus] == found[:-1]


def test_checks_that_need_a_model_stand_together_so_that_each_arm_is_built_once():
    groups = [needs for needs, _ in groupby(check.needs for check in design_audit.BEFORE)]
    assert groups.count("model") == 1


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
