import html as html_entities
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from judged_studies import CASES, LEAK, MARGIN, SIZES, STEEP, edited, judge_losses

from paribus.errors import StoreError, StudyError
from paribus.judgement import Report
from paribus.reports import render_report
from paribus.reports.html_page import write_html
from paribus.reports.markdown import write_markdown
from paribus.reports.metric_names import WORDS
from paribus.reports.page import MARKS, compose_page
from paribus.store.records import Finding

SCHEMA = Path(__file__).parents[2] / "docs" / "report_schema.md"


@pytest.fixture(scope="module")
def judged():
    return {name: make() for name, make in CASES.items()}


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    """Drawing takes most of the time and is tested in test_figures.py: here a figure is a stub."""
    monkeypatch.setattr("paribus.reports.html_page.inline_svg", lambda picture: f"<svg>{picture.name}</svg>")
    monkeypatch.setattr("paribus.reports.figures.draw_picture", lambda picture, kind: picture.name.encode())


class Words(HTMLParser):
    """The text of a page and its tables, as a reader sees them."""

    def __init__(self, page):
        super().__init__()
        self.text, self.rows, self.tags, self.quiet, self.in_cell = "", [], set(), 0, False
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.quiet += tag in ("style", "svg")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.quiet -= tag in ("style", "svg")
        self.in_cell = self.in_cell and tag not in ("td", "th")
        if tag not in ("strong", "span", "code", "a"):
            self.text += " "

    def handle_data(self, data):
        if self.quiet:
            return
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data


def read_html(judged):
    return Words(write_html(compose_page(judged)))


def read_markdown(judged):
    """The text of the Markdown without its marks, and the cells of its tables."""
    text = write_markdown(compose_page(judged))
    rows = [line[2:-2] for line in text.splitlines() if line.startswith("| ") and "![" not in line]
    cells = [[plain(cell).strip() for cell in re.split(r"(?<!\\) \| ", row)] for row in rows if "---" not in row]
    return plain(text), [row for row in cells if any(row)]


def plain(markdown):
    text = re.sub(r"(?<!\\)[*`]", "", markdown)
    text = re.sub(r"\\([\\`*\[\]|~$_])", r"\1", text)
    return " ".join(html_entities.unescape(text).split())


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_study_says_its_question_and_its_verdicts_in_markdown_and_in_html(case, judged):
    page, (text, _) = read_html(judged[case]), read_markdown(judged[case])
    for said in (page.text, text):
        assert judged[case].question in said
        for row in judged[case].treatments.values():
            sentence = row.verdict.sentence if row.verdict else row.description
            assert " ".join(sentence.split()) in said.replace("\u00a0", " ")
            if row.verdict:
                kind = row.verdict.kind
                assert f"{MARKS[kind]} {kind}" in said or f"[{MARKS[kind]}] {kind}" in said


@pytest.mark.parametrize("case", CASES)
def test_markdown_and_html_carry_the_same_tables_and_sentences(case, judged):
    page, (text, rows) = read_html(judged[case]), read_markdown(judged[case])
    content = compose_page(judged[case])
    seen = [[cell.replace("\u00a0", " ").strip() for cell in row] for row in page.rows]
    tables = [
        content.failures,
        *content.metrics,
        *(t.numbers for t in content.treatments),
        *(t.pairs for t in content.treatments),
    ]
    wanted = [
        [" ".join(c.split()) for c in row]
        for table in [*tables, content.trained, content.provenance]
        for row in table.rows
    ]
    assert len(wanted) >= 10
    for row in wanted:
        assert row in rows, f"not in Markdown: {row}"
        assert row in seen, f"not in HTML: {row}"
    lines = [*content.limits, *content.method, *content.standing, content.summary]
    lines += [line for t in content.treatments for line in (t.wider, *t.notes)]
    reasons = (*content.doubts, *content.described_doubts, *content.notes)
    lines += [line for r in reasons for line in (r.message, r.remedy)]
    for line in lines:
        assert line in text
        assert line in page.text.replace("\u00a0", " ")


def test_every_kind_of_verdict_is_among_the_cases(judged):
    kinds = {row.verdict.kind for case in judged.values() for row in case.treatments.values() if row.verdict}
    assert kinds == set(MARKS)


def test_the_html_asks_for_nothing_outside_itself_and_needs_no_script(judged):
    for case in ("several", "invalid", "no pairs"):
        source = write_html(compose_page(judged[case]))
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", source)
        assert not {"script", "link", "iframe", "img", "object"} & Words(source).tags


def test_names_and_questions_cannot_bring_html_or_markdown_of_their_own():
    name = "<script>alert(1)</script> | *b* `c` $x$ _d_ [e](f)"
    data = judge_losses(-0.08, names=(name,), question="<img src=x> & *why* | not?")
    page, (text, rows) = read_html(data), read_markdown(data)
    assert not {"script", "img"} & page.tags
    assert name in page.text and name in text
    assert "<img src=x> & *why* | not?" in page.text and "<img src=x> & *why* | not?" in text
    source = write_markdown(compose_page(data))
    assert "<script>" not in source and "<img" not in source
    assert any(name in cell for row in rows for cell in row)


@pytest.mark.parametrize("case", ["several", "worse", "unstable"])
def test_every_metric_key_is_shown_in_words_or_under_its_key(case, judged):
    data = judged[case]
    shown = {row[0].split(",")[0] for table in compose_page(data).metrics for row in table.rows}
    keys = {key for arm in data.arms.values() for key in (*arm.metrics, *arm.measured)}
    assert len(keys) > 15
    for key in keys:
        assert WORDS[key].words.split(",")[0] in shown if key in WORDS else key in shown


def test_a_metric_that_is_not_known_is_shown_under_its_key_with_its_unit_when_the_study_judges_it(judged):
    def edit(data):
        for arm in data["arms"].values():
            arm["metrics"]["router_entropy"] = {"values": [1.25, 1.75, None], "mean": 1.5, "sd": 0.35}

    report = edited(judged["equivalent"], edit)
    other = next(table for table in compose_page(report).metrics if table.caption == "Other metrics")
    assert other.rows == (("router_entropy", "1.50 ± 0.35 (2 of 3 runs)", "1.50 ± 0.35 (2 of 3 runs)"),)


def test_the_doubts_come_before_the_numbers_worst_first_with_remedies(judged):
    data = judge_losses(-0.08, findings=[SIZES, STEEP, LEAK])
    content = compose_page(data)
    assert [reason.severity for reason in content.doubts] == ["invalid", "doubt"]
    assert [reason.severity for reason in content.notes] == ["note"]
    text = write_markdown(content)
    places = [text.index(word) for word in ("[!] invalid", LEAK.remedy, STEEP.remedy, "| seed pairs")]
    assert places == sorted(places)
    assert text.index("| seed pairs") < text.index("fewer (0.16")


def test_a_doubt_about_a_described_arm_weakens_no_verdict_and_stands_beside_the_arm(judged):
    aside = Finding("sizes", "doubt", "'aside' has 40 % more parameters", "aside", remedy="Match the sizes.")
    data = judge_losses(-0.08, names=("ScaleNorm", "aside"), primary=("ScaleNorm",), findings=[aside, STEEP])
    content = compose_page(data)
    assert [reason.message for reason in content.doubts] == [f"{STEEP.message}."]
    assert [reason.message for reason in content.described_doubts] == [f"{aside.message}."]
    for text in (write_markdown(content), Words(write_html(content)).text):
        assert "1 reason to doubt this comparison" in text
        assert text.index("Described without a verdict") < text.index("40 % more parameters")


def test_the_page_says_attempt_and_not_finished_and_nothing_of_the_kind_otherwise(judged):
    assert any(line.startswith("Attempt 3: 2 earlier") for line in compose_page(judged["worse"]).standing)
    assert any(line.startswith("Not finished") for line in compose_page(judged["unfinished"]).standing)
    assert compose_page(judged["better"]).standing == ()


def test_the_limits_name_the_learning_rate_or_that_recipes_differ(judged):
    scale, shared, evaluation = compose_page(judged["better"]).limits
    assert scale == (
        "This holds at 430,752 to 431,424 parameters and 307,200 training tokens (7.04 % of an epoch) of "
        "Python source code."
    )
    assert "shared learning rate 0.02" in shared and "32,768 held-out tokens of Python source code" in evaluation
    assert "the recipes differ" in compose_page(judged["several"]).limits[1]
    assert len(compose_page(judged["no pairs"]).limits) == 2


def test_the_limits_name_every_learning_rate_and_count_passes(judged):
    def edit(data):
        for arm in data["study"]["arms"].values():
            arm["training"]["optimizer"]["arguments"] = {"adamw_lr": 0.01, "lr": 0.02, "betas": [0.9, 0.95]}
        for arm in data["arms"].values():
            arm["metrics"]["epochs"]["mean"] = 2.5

    content = compose_page(edited(judged["better"], edit))
    assert "(2.5 passes over the corpus) of Python source code." in content.limits[0]
    assert "shared learning rates lr 0.02 and adamw_lr 0.01. No arm" in content.limits[1]
    assert dict(content.trained.rows)["optimizer"] == "AdamW(adamw_lr=0.01, betas=(0.9, 0.95), lr=0.02)"
    assert not any("extrapolated" in row[0] for table in content.metrics for row in table.rows)


def test_what_was_trained_is_listed_from_the_model_to_the_packages(judged):
    rows = dict(compose_page(judged["better"]).trained.rows)
    assert rows["model"] == "Model(d_model=96)" and rows["norm"] == "LayerNorm"
    assert rows["blocks"] == "3, all equal: Block" and rows["blocks.0.norm"] == "LayerNorm"
    assert (rows["parameters"], rows["steps"], rows["training tokens"]) == ("431,424", "300", "307,200")
    assert rows["optimizer"] == "AdamW(lr=0.02)" and rows["schedule"] == "cosine to zero after 5 % warm-up"
    assert (rows["share of an epoch"], rows["precision"]) == ("7.04 % of an epoch", "fp32")
    assert rows["data source"] == "Text(source=stdlib)" and "tokenizer" not in rows
    assert rows["scored"] == "at most 32,768 tokens of the validation side" and rows["device"] == "cpu"
    assert dict(compose_page(judged["no pairs"]).trained.rows)["parameters"] == "—"


def test_the_model_is_listed_by_what_was_given_for_it_whatever_its_class(judged):
    def edit(data):
        model = data["study"]["arms"]["baseline"]["model"]
        model["arguments"]["head"] = {"class": "x:Head", "arguments": {}}
        model["arguments"]["blocks"][1] = {"class": "x:Other", "arguments": {}}
        data["study"]["data"]["arguments"]["tokenizer"] = {"class": "x:BPE", "arguments": {"vocab_size": 64}}

    rows = dict(compose_page(edited(judged["better"], edit)).trained.rows)
    assert rows["head"] == "Head" and rows["blocks"] == "3, not all equal; 0 is Block"
    assert (rows["data source"], rows["tokenizer"]) == ("Text(source=stdlib)", "BPE(vocab_size=64)")


def test_rows_say_how_their_numbers_came_about(judged):
    def edit(data):
        data["study"]["arms"]["baseline"]["training"]["target_loss"] = 4.6

    report = edited(judged["better"], edit)
    tables = compose_page(report).metrics
    labels = " | ".join(row[0] for table in tables for row in table.rows)
    assert "loss reduction per epoch, nats/token (extrapolated from 0.0704 of an epoch)" in labels
    assert "training, MFLOP/token (causal attention counted as full)" in labels
    assert "tokens to the target loss (4.6 nats/token on the loss curve, interpolated)" in labels
    assert any(table.caption.endswith("(runs side by side, one thread each on a CPU)") for table in tables)
    assert not any("side by side" in table.caption for table in compose_page(replace(report, device="cuda")).metrics)


def test_a_final_loss_that_is_scored_apart_from_the_curve_is_told(judged):
    def score_apart(data):
        data["study"]["arms"]["baseline"]["training"] |= {"averaged": 0.1, "curve_tokens": 4096, "compile": True}
        for arm in data["arms"].values():
            arm["curve"]["is_apart"] = True

    def judge_curve(data):
        data["study"]["metric"]["key"] = "val_loss_area"

    report = edited(judged["better"], score_apart)
    plain, apart = compose_page(judged["better"]), compose_page(report)
    for page, told in ((plain, False), (apart, True)):
        assert all(("the final loss is scored apart" in picture.caption) == told for picture in page.curves)
        labels = [row[0] for table in page.metrics for row in table.rows]
        assert any("before training, nats/token (of the loss curve)" in label for label in labels) == told
    steps = report.study.arms["baseline"].training.steps
    assert "compiled" not in dict(plain.trained.rows)
    assert dict(apart.trained.rows)["compiled"] == "in training, not in scoring"
    assert dict(apart.trained.rows)["scored weights"] == f"mean over the last {round(steps / 10)} steps"
    assert "at most 4,096 held-out tokens" in compose_page(edited(report, judge_curve)).limits[-1]
    assert "at most 32,768 held-out tokens" in apart.limits[-1]


def test_a_note_has_no_remedy_and_the_study_is_not_named_as_a_command(judged):
    note = replace(SIZES, remedy="Widen it.")
    content = compose_page(replace(judged["better"], findings=(note,)))
    assert [reason.remedy for reason in content.notes] == [""]
    command, what = content.reproduce[0]
    assert command == "paribus run STUDY"
    assert what.endswith("registered here as scale; max pairs 10, seeds from 0")


def test_the_equivalence_interval_stands_in_the_numbers_of_an_equivalent_verdict_alone(judged):
    def labels(case):
        return [row[0] for row in compose_page(judged[case]).primary[0].numbers.rows]

    assert "equivalence interval (5 % each side)" in labels("equivalent")
    assert "equivalence interval (5 % each side)" not in labels("better")
    for case in ("equivalent", "better"):
        assert "interval (95 %, all looks and all arms)" in labels(case)


def test_an_undecided_verdict_says_what_would_settle_it(judged):
    numbers = dict(compose_page(judged["undecided"]).primary[0].numbers.rows)
    assert numbers["pairs that would settle it"] == "up to 13 on fresh seeds (chance of a verdict 83 %)"
    numbers = dict(compose_page(judged["margin 0"]).primary[0].numbers.rows)
    assert numbers["pairs that would settle it"].startswith("about 1,440")
    assert numbers["margin, the smallest difference worth acting on"].startswith("0 (")


def test_stopping_early_is_said_to_bias_the_mean_outward(judged):
    assert any("biased outward" in note for note in compose_page(judged["better"]).primary[0].notes)
    assert not any("biased outward" in note for note in compose_page(judged["equivalent"]).primary[0].notes)


def test_diverged_runs_are_named_and_their_numbers_are_dashes(judged):
    treatment = compose_page(judged["unstable"]).primary[0]
    assert treatment.pairs.rows[1][2:] == ("diverged", "—")
    assert treatment.picture.rows[1] == ("seed 1", None, "treatment diverged")
    header = compose_page(judged["unstable"]).metrics[0].header
    assert header[2] == "ScaleNorm (2 runs, 1 diverged)"


def test_failed_runs_are_announced_and_listed_with_the_last_line_of_their_error(judged):
    content = compose_page(judged["failed"])
    assert any(line.startswith("1 run failed") for line in content.standing)
    assert content.failures.rows == (("ScaleNorm", "2", "ValueError: bad shape"),)
    assert compose_page(judged["better"]).failures.rows == ()


def test_no_page_shows_a_nan_a_none_or_an_infinity(judged):
    for case, data in judged.items():
        text = read_html(data).text + read_markdown(data)[0]
        assert not re.search(r"\b(nan|None|inf|null arms)\b", text), case


def test_nan_in_the_data_is_rendered_as_a_dash_and_written_as_null(judged):
    def edit(data):
        nan = float("nan")
        data["arms"]["ScaleNorm"]["metrics"]["val_perplexity"] = {"values": [nan] * 3, "mean": nan, "sd": None}

    report = edited(judged["equivalent"], edit)
    row = next(r for t in compose_page(report).metrics for r in t.rows if r[0].startswith("validation perplexity"))
    assert row[2] == "—"
    written = json.loads(render_report(report, "json")["report.json"])
    assert written["arms"]["ScaleNorm"]["metrics"]["val_perplexity"]["mean"] is None


def test_pages_do_not_depend_on_the_order_of_keys_in_the_data(judged):
    data = judged["several"]
    sorted_data = Report.from_json(json.loads(json.dumps(data.to_json(), sort_keys=True)))
    assert list(sorted_data.treatments) != list(data.treatments)
    assert write_markdown(compose_page(data)) == write_markdown(compose_page(sorted_data))
    assert write_html(compose_page(data)) == write_html(compose_page(sorted_data))


def test_primary_treatments_come_in_the_order_of_the_study_and_descriptive_ones_last(judged):
    content = compose_page(judged["several"])
    assert [t.name for t in content.primary] == list(judged["several"].study.primary)
    assert [(t.name, t.kind) for t in content.described] == [("d", None)]


def test_what_differs_is_listed_by_site_and_by_recipe(judged):
    content = compose_page(judged["several"])
    assert content.primary[1].edits.rows == (("blocks.0-2.norm, norm", "4", "LayerNorm", "ScaleNorm"),)
    assert "allowed to differ: *norm" in content.primary[1].edits.caption
    assert ("training.optimizer.lr", "1", "0.02", "0.002") in content.described[0].edits.rows


def test_report_json_is_the_judged_data_and_equal_data_gives_equal_bytes(judged):
    several = judged["several"]
    first = render_report(several, "json")
    shuffled = dict(reversed(json.loads(first["report.json"]).items()))
    assert first == render_report(Report.from_json(shuffled), "json")
    assert json.loads(first["report.json"]) == json.loads(json.dumps(several.to_json()))


@pytest.mark.parametrize("case", CASES)
def test_a_report_comes_back_from_its_json(case, judged):
    written = render_report(judged[case], "json")
    assert render_report(Report.from_json(json.loads(written["report.json"])), "json") == written


def test_the_schema_document_names_every_field_of_the_report(judged):
    schema = SCHEMA.read_text()
    data = judged["several"].to_json()
    row = next(iter(data["treatments"].values()))
    named = {*data, *data["study"], *row, *row["comparison"], *row["comparison"]["rule"], *row["verdict"], *WORDS}
    named |= {*data["arms"]["baseline"], *data["arms"]["baseline"]["curve"], *LEAK.to_json(), "curve_seconds"}
    assert {name for name in named if f"`{name}`" not in schema} == set()


def test_an_unknown_form_and_data_of_another_format_are_refused(judged):
    with pytest.raises(StudyError, match="no report form 'htm'; did you mean 'html'"):
        render_report(judged["better"], "htm")
    with pytest.raises(StoreError, match="format 1, got format 7"):
        Report.from_json({**judged["better"].to_json(), "format": 7})


def test_markdown_names_only_figures_that_are_written_beside_it(judged):
    files = render_report(judged["several"], "md")
    named = re.findall(r"\]\((figures/[^)]+)\)", files["report.md"].decode())
    assert len(named) == len(set(named)) == 4 + 4 + 2
    assert all(name in files and name.replace(".png", ".svg") in files for name in named)


def test_every_picture_has_a_title_and_says_in_words_what_is_to_be_seen(judged):
    pictures = compose_page(judged["equivalent"]).pictures
    assert all(picture.title and picture.caption and len(picture.alt) > 40 for picture in pictures)
    assert f"margin ±{MARGIN:g} nats/token" in pictures[0].alt and "in 3 seed pairs" in pictures[0].alt


def test_better_lies_left_where_lower_is_better_and_right_where_higher_is(judged):
    lower, higher = (compose_page(judged[case]).primary[0].picture for case in ("better", "accuracy"))
    assert (lower.lower, lower.higher) == ("better", "worse") and "lower is better" in lower.axis
    assert (higher.lower, higher.higher) == ("worse", "better") and "higher is better" in higher.axis


def test_a_report_is_made_without_torch(tmp_path, judged):
    (tmp_path / "verdicts.json").write_text(json.dumps(judged["no pairs"].to_json()))
    code = (
        "import json, sys; from pathlib import Path; from paribus.judgement import Report; "
        "from paribus.reports import render_report; "
        f"data = json.loads(Path({str(tmp_path / 'verdicts.json')!r}).read_text()); judged = Report.from_json(data); "
        "pages = [render_report(judged, form) for form in ('json', 'md', 'html')]; "
        "print('torch' in sys.modules, 'pyplot' in ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
