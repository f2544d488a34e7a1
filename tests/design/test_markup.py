"""What a notebook shows: escaped, readable on a light and on a dark page, and whole."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from paribus.design.markup import COLOURS
from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.judgement import Rule, compare, decide
from paribus.judgement.pairs import Pair
from paribus.lab.notebook import progress_html
from paribus.store.records import Finding
from toy_study import RECIPE, Part, make_study

PAIRS = [Pair(seed, 4.0, 4.0 + difference) for seed, difference in enumerate((-0.5, -0.51, -0.49))]


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place, and keeps the text."""

    def __init__(self):
        super().__init__()
        self.open, self.said = [], []

    def handle_starttag(self, tag, attributes):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def read(html):
    """The text of well-formed HTML."""
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return " ".join(parser.said)


def brightness(colour):
    """Relative luminance, by WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((brightness(one), brightness(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", COLOURS)
def test_the_word_of_a_verdict_can_be_read_on_a_light_and_on_a_dark_page(kind):
    assert contrast(COLOURS[kind], "#ffffff") >= 4.5  # WCAG 2.2, 1.4.3: text
    assert contrast(COLOURS[kind], "#111111") >= 3  # 1.4.11: what has to be seen of a component


def test_nothing_else_has_a_colour_of_its_own():
    comparison = compare("new", PAIRS, Rule(margin=0.1), VAL_LOSS)
    shown = make_study()._repr_html_() + comparison._repr_html_() + decide(comparison)._repr_html_()
    coloured = re.findall(r"(?:^|[;\"])(?:background|color):([^;\"]+)", shown)
    assert coloured == [COLOURS["better"], "#ffffff"]


def test_a_study_shows_what_each_arm_changes_and_how_it_is_trained():
    study = make_study(
        baseline=spec(Part, inner=spec(Part)),
        treatments={
            "wide <1>": spec(Part, width=2, inner=spec(Part, width=2)),
            "slow": Arm(spec(Part, inner=spec(Part)), RECIPE.replace(clip=0.5)),
        },
        primary=("slow",),
    )
    html = study._repr_html_()
    said = read(html)
    assert "wide &lt;1&gt;" in html
    assert "2 sites (inner.width, width): 1 → 2" in said
    assert "training.clip: 1.0 → 0.5" in said
    assert said.index("gets a verdict") > said.index("slow") > said.index("is described")
    assert "1,000 tokens in 10 steps, windows of 10, Optimizer(), fp32" in said
    assert "±0.1 nats/token of val_loss, lower is better" in said


def test_a_comparison_shows_every_pair_with_two_digits_of_their_sd():
    said = read(compare("new & old", PAIRS, Rule(margin=0.1), VAL_LOSS)._repr_html_())
    # The sd of the differences is 0.01: three decimals.
    assert "0 4.000 3.500 -0.500 1 4.000 3.490 -0.510 2 4.000 3.510 -0.490 mean -0.500" in said
    assert "new & old: val_loss, nats/token; lower is better" in said
    assert "margin ±0.1" in said


def test_a_pair_that_diverged_has_a_word_and_no_number():
    pairs = [*PAIRS[:1], Pair(1, 4.0, None, treatment_status="diverged")]
    said = read(compare("new", pairs, Rule(margin=0.1), VAL_ACCURACY)._repr_html_())
    assert "1 4.0000 diverged" in said and "higher is better" in said


def test_a_verdict_is_its_sentence_with_what_weakens_it():
    comparison = compare("new", PAIRS, Rule(margin=0.1), VAL_LOSS)
    verdict = decide(comparison, [Finding("budget", "doubt", "seen < once")])
    assert str(verdict) == verdict.sentence
    said = read(verdict._repr_html_())
    assert "better" in said and verdict.sentence in said and "doubt  seen < once" in said


def test_a_study_under_way_shows_runs_and_treatments_with_escaped_names():
    html = progress_html(["Is it?", "training"], [["a<b / seed 0", "1/9", "", "", ""]], [("a<b", 2, "", "...")])
    assert "a<b / seed 0 1/9" in read(html)
    assert "a<b" not in html


def test_a_study_is_shown_without_torch():
    code = "import sys; sys.path.insert(0, 'tests'); from toy_study import make_study; make_study()._repr_html_(); "
    code += "print({'torch', 'numpy', 'IPython'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
