"""The generated pages: docs/replication.md from results/, docs/parts.md from docstrings."""

import ast
import json
import re
import statistics
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from paribus.audits.catalogue import CHECKS
from paribus.cli.commands import commands
from paribus.design.plain import to_plain
from paribus.design.study_files import built_in_studies, read_study
from paribus.errors import StoreError
from paribus.nn import discover_parts
from paribus.nn.discovery import Labels, read_labels
from paribus.reports.page import compose_page
from paribus.reports.pictures import Differences
from paribus.training.optim import Muon

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
sys.path += [str(DOCS / "pages"), str(REPOSITORY / "tests" / "reports"), str(REPOSITORY / "benchmarks")]
originals = import_module("originals")
parts_page = import_module("parts_page")
replication_page = import_module("replication_page")
judged_studies = import_module("judged_studies")
studies = import_module("studies")

STUDIES = ["attention", "rmsnorm", "mlp", "moe", "norm", "backbone"]
OTHER_SCALES = [("hypermixer", "a HyperMixer"), ("hrm", "an HRM")]  # of norm
STALE = "run `make pages`"


@pytest.fixture
def compose(monkeypatch, tmp_path):
    """Judged studies by the name of their results folder -> the page's text; a figure is a stub, drawing is slow."""
    monkeypatch.setattr(replication_page, "draw_picture", lambda picture, kind: picture.name.encode())

    def compose_from(**reports):
        for name, report in reports.items():
            folder = tmp_path / name.replace("_", "-")
            folder.mkdir(exist_ok=True)
            (folder / "report.json").write_text(json.dumps(to_plain(report)))
        return replication_page.compose_replication(tmp_path)[replication_page.PAGE].decode()

    return compose_from


def rows_of(text, first):
    """The cells of every table row that starts with a cell."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [cells for row in rows if (cells := [cell.strip() for cell in row])[0] == first]


def test_the_replication_page_on_disk_is_what_its_results_say_now(monkeypatch):
    monkeypatch.setattr(replication_page, "draw_picture", lambda picture, kind: b"")
    files = replication_page.compose_replication(REPOSITORY / "results")
    assert (REPOSITORY / replication_page.PAGE).read_text() == files[replication_page.PAGE].decode(), STALE
    figures = {path.relative_to(REPOSITORY).as_posix() for path in (DOCS / "figures").rglob("*.svg")}
    assert figures == files.keys() - {replication_page.PAGE}, STALE


def test_the_figures_on_disk_show_the_numbers_of_their_results():
    for name, judged in replication_page.read_results(REPOSITORY / "results").items():
        page = compose_page(judged)
        for treatment in page.primary:
            picture = treatment.picture
            assert isinstance(picture, Differences)
            drawn = (DOCS / "figures" / name / f"{picture.name}.svg").read_text()
            for text in [picture.mean[2], picture.margin_text, *(row[2] for row in picture.rows)]:
                assert f">{text}<" in drawn, (STALE, name, text)
        assert (DOCS / "figures" / name / "loss-tokens.svg").read_text().count("baseline") == 1


def test_the_page_of_parts_on_disk_is_what_the_docstrings_say_now():
    assert (REPOSITORY / parts_page.PAGE).read_text() == parts_page.compose_parts()[parts_page.PAGE].decode(), STALE


@pytest.mark.parametrize("page", ["replication.md", "parts.md"])
def test_every_link_of_a_page_leads_somewhere(page):
    text = (DOCS / page).read_text()
    anchors = {
        re.sub(r"[^a-z0-9 _-]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        if link.startswith("https://arxiv.org/abs/"):
            assert re.fullmatch(r"\d{4}\.\d{5}", link.rpartition("/")[2])
        elif link.startswith("#"):
            assert link[1:] in anchors, link
        else:
            assert (DOCS / link).exists(), link


def test_a_page_without_results_says_of_every_study_that_it_was_not_run(compose):
    text = compose()
    for study in STUDIES:
        (overview,) = [row for row in map(rows_of_line, text.splitlines()) if row[1:2] == [f"`{study}`"]]
        assert overview[3:] == ["not run yet", "not run yet"]
        assert f"Not run yet. To run it: `paribus run {study}`." in text
        assert f"The paper scale of `{study}` has not been run." in text
        assert f"paribus run {study} --scale paper\n" in text
        assert f"paribus run {study} --scale paper --data PATH" in text
    assert "![" not in text


@pytest.mark.parametrize(("scale", "backbone"), OTHER_SCALES)
def test_the_norms_in_other_backbones_have_a_place_of_their_own_and_no_paper_scale(compose, scale, backbone):
    place, words = f"norm-{scale}", f"norm --scale {scale}"
    text = compose()
    (overview,) = [row for row in map(rows_of_line, text.splitlines()) if row[1:2] == [f"`{words}`"]]
    assert overview[2:] == [f"the same switch serves {backbone}", "not run yet", "no paper scale"]
    assert f"#### `{words}`\n\nNot run yet. To run it: `paribus run {words}`.\n" in text
    assert f"{place} --scale paper" not in text
    text = compose(**{place: judged_studies.judge_losses(-0.08)})
    (overview,) = [row for row in map(rows_of_line, text.splitlines()) if row[1:2] == [f"`{words}`"]]
    assert overview[3:] == ["ScaleNorm: **better** (3 pairs)", "no paper scale"]
    assert f"figures/{place}/loss-tokens.svg" in text
    assert f"To run it: `paribus run {words}`." not in text
    with pytest.raises(StoreError, match=f"results/{place}-paper is of no study on the page"):
        compose(**{f"{place}-paper": judged_studies.judge_losses(-0.08)})


def test_a_mixture_of_experts_shows_how_even_its_load_is(compose):
    report = judged_studies.judge_losses(-0.08)
    assert "largest share of an expert" not in compose(moe=report)
    data = report.to_json()
    for arm, loads in {"baseline": [1.25, 1.5, 1.75], "ScaleNorm": [2.0, 2.0, 2.0]}.items():
        sd = statistics.stdev(loads)
        data["arms"][arm]["metrics"]["largest_load"] = {"mean": statistics.mean(loads), "sd": sd, "values": loads}
    text = compose(moe=data)
    (header,) = [row for row in rows_of(text, "arm") if "validation loss, nats/token" in row]
    column = header.index("largest share of an expert, times the number of experts, mean over sites")
    cells = {
        row[0]: row[column] for arm in ("baseline", "ScaleNorm") for row in rows_of(text, arm) if len(row) > column
    }
    assert cells == {"baseline": "1.50 ± 0.25", "ScaleNorm": "2"}
    assert "is 1 where the load is even." in text


def rows_of_line(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_a_study_with_results_shows_its_verdict_and_its_numbers(compose):
    text = compose(mlp=judged_studies.judge_losses(-0.08))
    # Differences -.086, -.077, -.082: sd .004509, half width t(2 df, .012033 two-sided) sd / sqrt(3) = .02352.
    assert ["ScaleNorm", "better", "-0.0817", "-0.1052 to -0.0581", "0.0045", "3"] in rows_of(text, "ScaleNorm")
    assert "interval: 95 %, all looks and all arms." in text
    assert "margin ±0.02;" in text
    assert "**[+] better.** ScaleNorm is better than the baseline" in text
    assert "ScaleNorm: **better** (3 pairs)" in text
    costs = [row[2:5] for row in rows_of(text, "baseline")]
    assert ["431,424", "1,344", "3.097"] in costs
    assert "figures/mlp/differences-1-scalenorm.svg" in text
    assert "figures/mlp/loss-tokens.svg" in text
    assert "Not run yet. To run it: `paribus run mlp`." not in text
    assert text.count("Not run yet. To run it") == len(STUDIES) + len(OTHER_SCALES) - 1


@pytest.mark.parametrize("case", judged_studies.CASES)
def test_every_kind_of_ending_is_rendered_in_tables_that_hold_together(compose, case):
    judged = judged_studies.CASES[case]()
    text = compose(moe=judged, norm_paper=judged)
    assert "nan" not in text and "None" not in text
    for row in judged.treatments.values():
        if row.verdict:
            assert text.count(f"] {row.verdict.kind}.** ") >= 2
    for finding in judged.findings:
        is_said = finding.message.replace("_", "") in text.replace("_", "")
        assert is_said == (finding.severity != "note")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert len(tables) >= 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_a_study_shows_where_its_arms_differ_and_the_wider_claim(compose):
    judged = judged_studies.CASES["better"]()
    text = compose(mlp=judged)
    (edit,) = [row for row in rows_of(text, "ScaleNorm") if len(row) == 5]
    assert edit == ["ScaleNorm", "blocks.0-2.norm, norm", "4", "LayerNorm", "ScaleNorm"]
    assert judged.treatments["ScaleNorm"].verdict.wider_sentence in text


def test_descriptive_arms_have_an_interval_and_no_verdict(compose):
    text = compose(attention=judged_studies.CASES["several"]())
    _, described = text.split("Described by intervals, without verdicts:")
    (row,) = [row for row in rows_of(described, "d") if len(row) == 6 and "to" in row[3]]
    assert row[1] == "none"
    assert re.fullmatch(r"[+-]0\.\d+ to [+-]0\.\d+", row[3])
    assert "**[=] equivalent.** d" not in text


def test_results_of_paper_scale_stand_beside_the_published_figures(compose):
    judged = judged_studies.judge_losses(0.0, names=("enhanced",)).to_json()
    judged["device"] = "cuda"
    judged["measured"]["enhanced"]["device_name"] = "A GPU"
    judged["measured"]["baseline"]["device_name"] = ""  # a platform that does not say
    text = compose(attention_paper=judged)
    assert "The paper scale of `attention` has not been run." not in text
    assert "The paper scale of `moe` has not been run." in text
    theirs = ["original, one seed each, RTX 4090", "enhanced", "3.380159", ".383948", "29.375", "247.7 s", "18.922 GB"]
    assert theirs in rows_of(text, theirs[0])
    (ours,) = rows_of(text, "paribus, 3 seeds, A GPU")
    assert ours[1] == "enhanced"
    assert re.fullmatch(r"4\.33\d* ± 0\.0\d+", ours[2])
    assert re.fullmatch(r"2\d\.\d+ ± 0\.\d+ s", ours[5])
    assert ours[6].startswith("395.77") and ours[6].endswith(" MiB")  # 415,000,000 bytes
    (baseline,) = rows_of(text, "paribus, 3 seeds, cuda")
    assert baseline[1] == "baseline"


def test_results_that_no_document_asks_for_are_refused(compose):
    with pytest.raises(
        StoreError, match="results/normm is of no study on the page; there is attention, attention-paper"
    ):
        compose(normm=judged_studies.judge_losses(0.0))


def test_results_of_another_format_are_refused(compose):
    with pytest.raises(StoreError, match="results/norm: this paribus reads reports of format 1, got format 2"):
        compose(norm={**judged_studies.judge_losses(0.0).to_json(), "format": 2})


def test_every_built_in_study_has_a_place_on_the_page():
    on_page = {replicated.study for original in originals.ORIGINALS for replicated in original.replicated}
    assert on_page == set(STUDIES)
    assert built_in_studies().keys() <= on_page
    for replicated in (r for original in originals.ORIGINALS for r in original.replicated):
        scales = read_study(replicated.study).scales
        assert {replicated.scale or "quick"} <= scales.keys()
        assert replicated.scale or "paper" in scales


def test_the_benchmark_runs_every_study_of_the_page_by_its_name():
    on_page = {r.name: r.words.split() for original in originals.ORIGINALS for r in original.replicated}
    assert {*built_in_studies(), *studies.OTHER_SCALES} == on_page.keys()
    assert {name: studies.words(name) for name in on_page} == on_page


def test_the_arithmetic_that_the_page_tells_of_the_documents_is_right():
    prose = " ".join(" ".join(o.compared.split()) for o in originals.ORIGINALS)
    losses = {o.replicated[0].study: [float(p.val_loss) for p in o.published] for o in originals.ORIGINALS}
    plain, _, enhanced = losses["attention"]
    assert round((plain - enhanced) / statistics.pstdev(losses["attention"]), 3) == 2.121
    before, after = losses["rmsnorm"]
    assert (round(before - after, 4), round(100 * (before - after) / before, 2)) == (0.0494, 2.40)
    assert round(statistics.stdev([before, losses["mlp"][0], losses["moe"][0]]), 4) == 0.0468
    layers, d, h, q, c, r = 6, 512, 8, 64, 128, 64
    wider = layers * (c * h * 32 + h * 32 * d)
    biases = layers * (q + c + r + d)
    for number in (f"{wider:,}", f"{wider + biases:,}", "2.121", "0.0494", "0.0468", "2.40 %"):
        assert number in prose, number
    assert "1,536 against 768" in prose and 2 * 3 * 2 * 128 == 1536
    assert "1,792 against 896" in prose and 2 * (3 * 2 + 1) * 128 == 1792


def test_every_flaw_is_answered_by_a_check_that_exists_or_by_words():
    assert len(originals.FLAWS) == 17
    for flaw in originals.FLAWS:
        assert bool(flaw.checks) != bool(flaw.otherwise), flaw
        assert set(flaw.checks) <= {check.name for check in CHECKS}, flaw
    told = {int(n) for o in originals.ORIGINALS for n in re.findall(r"\((\d+)\)", o.compared)}
    assert {2, 3, 4, 6, 7, 8, 11, 17} <= told <= set(range(1, 18))


def documented():
    """Every class and function on the page of parts, by name, with its labels."""
    found = {part.name: Labels(part.formula, part.source, part.parity) for part in discover_parts()}
    for section in parts_page.list_sections():
        found |= {thing.__name__: read_labels(thing) for thing in parts_page.list_members(section)}
    return found


def test_the_page_of_parts_lists_what_can_be_named():
    named = documented()
    assert {"RMSNorm", "Attention", "llama", "silu", "LinearScaling", "MuonAdamW", "Cosine", "BPE"} <= named.keys()
    assert not {"gated_width", "alibi_slopes", "Encoder", "ByteEncoder", "orthogonalize"} & named.keys()
    text = (REPOSITORY / parts_page.PAGE).read_text()
    for name, labels in named.items():
        assert labels.formula, name
        assert rows_of(text, f"`{name}`"), name
    assert rows_of(text, "`ScaleNorm`")[0][1:3] == ["norm", r"`y = g * x / max(\|\|x\|\|, eps), g a scalar`"]


def foreign_names(file):
    """Names that a test file imports from another package, or reads off one, and uses."""
    tree = ast.parse(file.read_text())
    imported, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("paribus"):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not ast.unparse(node).startswith(("pn.", "pb.", "paribus."))
    }
    return (imported & used) | attributes


def test_every_claim_of_parity_names_a_class_that_a_test_uses():
    files = [path for folder in ("nn", "training") for path in (REPOSITORY / "tests" / folder).glob("test_*.py")]
    used = set().union(*map(foreign_names, files))
    claims = {name: labels.parity for name, labels in documented().items() if labels.parity}
    claims["Muon"] = read_labels(Muon).parity  # a step of MuonAdamW, not on the page
    assert {"LatentAttention", "MuonAdamW"} <= claims.keys()
    for name, claim in claims.items():
        classes = {word for word in re.findall(r"\w+", claim) if re.search(r"[A-Z].*[a-z].*[A-Z]", word)}
        classes |= set(re.findall(r"torch\.optim\.(\w+)", claim))
        assert classes, f"{name}: {claim!r} names no class"
        assert classes <= used, f"{name}: no test in tests/nn or tests/training uses {classes - used}"


def test_labels_are_read_up_to_the_next_label():
    class Documented:
        """y = x: a
        formula

        More words.
        Source: Someone 2020, arXiv:2001.00001,
        section 2.
        Differs: in
        a way.
        Parity: transformers SomeClass.

        Args:
            a: what.
        """

    def short(x):
        """max(x, 0). Source: Someone 2021."""

    assert read_labels(Documented) == Labels(
        "y = x: a formula", "Someone 2020, arXiv:2001.00001, section 2.", "transformers SomeClass."
    )
    assert read_labels(short) == Labels("max(x, 0).", "Someone 2021.", "")


def test_the_verb_parts_says_what_a_part_was_tested_against():
    said = CliRunner().invoke(commands, ["parts", "--slot", "mixer"], standalone_mode=False).output
    assert "Tested against transformers DeepseekV3Attention." in said
    rows = json.loads(CliRunner().invoke(commands, ["parts", "--json"], standalone_mode=False).output)
    assert {row["name"]: row["parity"] for row in rows}["NoNorm"] == ""
