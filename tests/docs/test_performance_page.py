"""The tables of docs/performance.md and of the README's performance section, from benchmarks/results."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RESULTS, PAGE, README = (
    REPOSITORY / "benchmarks" / "results",
    REPOSITORY / "docs/performance.md",
    REPOSITORY / "README.md",
)
sys.path.append(str(REPOSITORY / "docs" / "pages"))
performance_page = import_module("performance_page")

MACHINE = {"date": "2026-11-22", "machine": "A processor", "cores": 2, "versions": {"python": "3.11", "torch": "2.13"}}
STEP = {
    "part": "quick", "name": "paribus", "framework": "paribus", "optimizer": "AdamW", "precision": "fp32",
    "dropout": False, "size": "quick", "status": "ok", "tokens_per_second": 2000.0, "gemm_share": 0.75,
    "rates": [1900.0, 2000.0, 2150.0], "slowest": 1900.0, "fastest": 2150.0,
    "optimizer_share": 0.02, "peak_bytes": 5e8, "parameters": 1234567,
}  # fmt: skip
ONE_ROUND = {"rates": [1500.0], "slowest": 1500.0, "fastest": 1500.0, "tokens_per_second": 1500.0}
OTHER = {**STEP, **ONE_ROUND, "name": "litgpt", "framework": "litgpt", "peak_bytes": 9e8}
SLOW = {**OTHER, "name": "a slow one", "framework": "slow", "tokens_per_second": 10.0}
BROKEN = {**OTHER, "name": "broken", "framework": "broken", "status": "failed: ended with code 1"}
PROFILE = {
    "step": {"tokens": 2048, "steps": 20, "seconds": 0.1, "parts": {"batch": 0.02, "optimizer": 0.08},
             "operators": {"aten::mm": 0.75, "all others": 0.25}},
    "run": {"study": "norm", "seconds": 80.0, "workers": 2, "runs": 10, "given_up": 1, "preparing_seconds": 6.25,
            "parts": {"design audit": 20.0, "everything else": 60.0}},
}  # fmt: skip
RULE = {"pairs": 4.2, "right": 0.98, "wrong": 0.01, "worst_wrong": 0.04, "seconds_per_right": 80.0, "rival": False}
RIVAL = {**RULE, "seconds_per_right": 160.0, "rival": True}
WELCH = "Welch n = 5, own seeds; n.s. is "
BEST = {"no difference": {"rival": f"{WELCH}no difference", "ratio": 0.5}, "undecided": {"rival": None, "ratio": None}}
RULES = {
    "paribus": RULE,
    f"{WELCH}no difference": RIVAL,
    f"{WELCH}undecided": {**RIVAL, "right": 0.123, "seconds_per_right": None},
    "paired n = 3, margin": {**RULE, "right": 0.456},
}
VERDICTS = {
    "sums": {key: {"rules": RULES, "best": BEST} for key in ("sign", "worth")},
    "effects": {"RMSNorm": {"settled": True}, "rate / 10": {"settled": False}},
    "planted": {"RMSNorm": {"margins": [0.0, 3.0], "sums": {"sign": {"rules": RULES, "best": BEST}}}},
    "seeds": 20,
    "orders": 2000,
}
ALTERNATIVES = {
    "device": "cpu",
    "stacked": [{"d_model": 16, "seq_len": 32, "windows": 40, "vocab": 1024, "replicates": 8, "separate_seconds": 0.03,
                 "stacked_seconds": 0.02, "attention": "math", "difference": 5e-7}],
    "compiled": [{"cache": "cold", "study": "norm", "baseline": "transformer", "first_step_seconds": 24.0,
                  "next_five_steps_seconds": 1.5, "second_model_seconds": 0.25, "plain_seconds": 0.25,
                  "compiled_seconds": 0.24},
                 {"cache": "warm", "study": "norm", "baseline": "transformer", "first_step_seconds": 4.0,
                  "next_five_steps_seconds": 1.5, "second_model_seconds": 0.25, "plain_seconds": 0.24,
                  "compiled_seconds": 0.25}],
    "experts": [{"scale": "quick", "experts": "Experts", "d_model": 96, "d_ff": 192, "assignments": 4096,
                 "loop_seconds": 0.02, "grouped_seconds": 0.04, "difference": 0.0}],
}  # fmt: skip
TRAINED = {
    "change": "quick scale",
    "pairs": 9,
    "loss": 4.5,
    "seed_sd": 0.02,
    "mean": 0.01,
    "sd": 0.004,
    "correlation": 0.5,
}
VARIANCE = {
    "trained": [TRAINED, {**TRAINED, "change": "no decay", "sd": 0.006, "correlation": -0.25}],
    "documents": {"RMSNorm": [{"share": 0.25, "documents": 14, "pairs": 19, "sd": 0.006, "document_error": 0.001}]},
}
MADE = {
    "train_step": {**MACHINE, "rows": [STEP, SLOW, OTHER, BROKEN],
                   "sizes": {"quick": {"windows": 16, "seq_len": 128, "vocab": 1024}}},
    "side_by_side": {**MACHINE, "rows": [{"what": "40 runs", "measured": "1.02", "target": "<= 1.05"}]},
    "time_to_verdict": {**MACHINE, **VERDICTS},
    "profile_run": {**MACHINE, **PROFILE},
    "variance": {**MACHINE, **VARIANCE},
    "alternatives": {**MACHINE, **ALTERNATIVES},
}  # fmt: skip


@pytest.fixture
def compose(tmp_path):
    """Results by name -> the pages' texts, the page and the README."""

    def compose_from(results):
        for name, result in results.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(result))
        files = performance_page.compose_performance(tmp_path, PAGE, README)
        return files["docs/performance.md"].decode(), files["README.md"].decode()

    return compose_from


def rows_of(text):
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]


def section(readme):
    return readme.partition("<!-- generated: performance -->\n")[2].partition("<!-- end of performance -->")[0]


def test_the_pages_on_disk_are_what_the_results_say_now():
    files = performance_page.compose_performance(RESULTS, PAGE, README)
    assert PAGE.read_bytes() == files["docs/performance.md"], "run `make pages`"
    assert README.read_bytes() == files["README.md"], "run `make pages`"


def test_equal_results_give_equal_bytes_and_nothing_outside_the_marks_changes(compose):
    page, readme = compose(MADE)
    assert compose(MADE) == (page, readme)
    for old, new in ((PAGE.read_text(), page), (README.read_text(), readme)):
        without = [re.sub(r"(<!-- generated: \w+ -->\n).*?(<!-- end of)", r"\1\2", t, flags=re.S) for t in (old, new)]
        assert without[0] == without[1]


def test_a_benchmark_that_was_not_run_leaves_its_place_empty(compose):
    page, readme = compose({})
    assert "<!-- generated: run -->\n<!-- end of run -->" in page
    assert section(readme) == ""
    page, readme = compose({"side_by_side": MADE["side_by_side"]})
    assert re.findall("### .*", section(readme)) == ["### Runs side by side"]
    assert ["40 runs", "1.02", "<= 1.05"] in rows_of(section(readme)) and ["40 runs", "1.02", "<= 1.05"] in rows_of(
        page
    )


def test_every_section_of_the_readme_says_where_it_was_measured(compose):
    _, readme = compose(MADE)
    assert section(readme).count("2026-11-22; A processor, 2 cores; python 3.11, torch 2.13.\n") == 3


def test_the_readme_shows_paribus_beside_its_fastest_peer(compose):
    page, readme = compose(MADE)
    assert ["quick, fp32", "2,000 (1,900 to 2,150)", "75 %", "500", "litgpt", "1,500", "900"] in rows_of(
        section(readme)
    )
    assert ["litgpt", "fp32", "1,500", "75 %", "2.0 %", "900", "1,234,567"] in rows_of(page)
    assert "broken, fp32: failed: ended with code 1\n" in page
    assert "**quick**: 16 x 128 tokens a step, vocabulary 1,024\n" in page


def test_rules_are_shown_under_the_reading_that_is_named(compose):
    page, readme = compose(MADE)
    assert ["Welch n = 5, own seeds", "4.2", "98.0 %", "1.0 %", "4.0 %", "160"] in rows_of(section(readme))
    assert "12.3 %" not in page and "45.6 %" in page and "45.6 %" not in readme
    assert "1 effects (RMSNorm)" not in page and "1 effect (RMSNorm)" in page
    about, scored = "0 to 3 margins planted in the noise of RMSNorm", "a right sign counts"
    assert [about, scored, '"no difference"', "Welch n = 5, own seeds", "0.50"] in rows_of(readme)
    assert [about, scored, '"undecided"', "none", ""] in rows_of(page)


def test_the_parts_of_a_whole_run_and_of_a_step_are_shown_with_their_shares(compose):
    page, _ = compose(MADE)
    assert ["design audit", "20.0", "25.0 %"] in rows_of(page)
    assert ["in all", "80.0", "100.0 %"] in rows_of(page)
    assert ["optimizer", "80.0", "80.0 %"] in rows_of(page)
    assert ["`aten::mm`", "75.0 %"] in rows_of(page)
    assert "10 runs on 2 workers, 1 given up" in page


def test_what_was_measured_and_not_built_is_shown_with_how_many_times_as_fast_it_is(compose):
    page, readme = compose(MADE)
    assert ["width 16, vocabulary 1,024", "1,280", "8", "30.0", "20.0", "1.50", "5e-07"] in rows_of(page)
    cold, warm = (row for row in rows_of(page) if row[0] == "`norm`, transformer")
    assert cold[1:] == ["cold", "24.0", "1.5", "0.2", "250.0", "240.0", "1.04", "2,400"]
    assert (warm[1], warm[-1]) == ("warm", "never")
    assert ["quick, Experts", "4,096", "20.0", "40.0", "0.50", "0"] in rows_of(page)
    assert "On cpu. 2026-11-22; A processor, 2 cores" in page and "grouped_mm" not in section(readme)


def test_spreads_are_shown_with_their_error_and_against_the_recipe_as_it_is(compose):
    page, _ = compose(MADE)
    assert ["no decay", "4.500", "0.0200", "0.0060 ± 0.0015", "1.50", "-0.25"] in rows_of(
        page
    )  # .006 / sqrt(2 (9 - 1))
    assert ["RMSNorm", "25 %", "14", "0.0060 ± 0.0010"] in rows_of(page)
    without, _ = compose({"variance": {**MACHINE, **VARIANCE, "trained": []}})
    assert "LayerNorm, 9 pairs" in page and "LayerNorm, 9 pairs" not in without


def test_tables_hold_together(compose):
    for text in compose(MADE):
        for shown in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in shown.splitlines()}) == 1, shown


def test_a_page_without_its_marks_is_refused(compose, tmp_path):
    (tmp_path / "page.md").write_text("no marks\n")
    with pytest.raises(ValueError, match="needs the marks <!-- generated: train_step --> and"):
        performance_page.compose_performance(tmp_path, tmp_path / "page.md", README)


def test_every_link_of_the_page_leads_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
