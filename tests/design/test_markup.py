"""What a notebook shows: escaped and whole."""

import subprocess
import sys

from paribus.design.markup import escape, write_table
from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.judgement import Rule, compare, decide
from paribus.judgement.pairs import Pair
from paribus.lab.notebook import write_progress
from paribus.store.records import Finding
from toy_study import RECIPE, Part, make_study

PAIRS = [Pair(seed, 4.0, 4.0 + difference) for seed, difference in enumerate((-0.5, -0.51, -0.49))]


def test_a_study_shows_what_each_arm_changes_and_how_it_is_trained():
    study = make_study(
        baseline=spec(Part, inner=spec(Part)),
        treatments={
            "wide <1>": spec(Part, width=2, inner=spec(Part, width=2)),
            "slow": Arm(spec(Part, inner=spec(Part)), RECIPE.replace(clip=0.5)),
        },
        primary=("slow",),
    )
    said = study._repr_markdown_()
    assert "wide &lt;1&gt;" in said
    assert "| 2 sites (inner.width, width): 1 → 2 |" in said
    assert "| training.clip: 1.0 → 0.5 |" in said
    assert said.index("gets a verdict") > said.index("slow") > said.index("is described")
    assert "1,000 tokens in 10 steps, windows of 10, Optimizer(), fp32" in said
    assert "±0.1 nats/token of val_loss, lower is better" in said


def test_a_comparison_shows_every_pair_with_two_digits_of_their_sd():
    said = compare("new & old", PAIRS, Rule(margin=0.1), VAL_LOSS)._repr_markdown_()
    # The sd of the differences is 0.01: three decimals.
    assert (
        "| 0 | 4.000 | 3.500 | -0.500 |\n| 1 | 4.000 | 3.490 | -0.510 |\n| 2 | 4.000 | 3.510 | -0.490 |\n| mean |"
        in said
    )
    assert "new &amp; old: val_loss, nats/token; lower is better" in said
    assert "| margin |   |   | ±0.1 |" in said


def test_a_pair_that_diverged_has_a_word_and_no_number():
    pairs = [*PAIRS[:1], Pair(1, 4.0, None, treatment_status="diverged")]
    said = compare("new", pairs, Rule(margin=0.1), VAL_ACCURACY)._repr_markdown_()
    assert "| 1 | 4.0000 | diverged |" in said and "higher is better" in said


def test_a_verdict_is_its_sentence_with_what_weakens_it():
    comparison = compare("new", PAIRS, Rule(margin=0.1), VAL_LOSS)
    verdict = decide(comparison, [Finding("budget", "doubt", "seen < once")])
    assert str(verdict) == verdict.sentence
    said = verdict._repr_markdown_()
    assert said.startswith(f"**better** {escape(verdict.sentence)}") and said.endswith("**doubt** seen &lt; once")


def test_a_study_under_way_shows_runs_and_treatments_with_escaped_names():
    shown = write_progress(["Is it?", "training"], [["a<b / seed 0", "1/9", "", "", ""]], [("a<b", 2, "", "...")])
    assert shown.startswith("**Is it?**\n\ntraining\n\n") and "| a&lt;b / seed 0 | 1/9 |" in shown
    assert "a<b" not in shown


def test_a_cell_of_a_table_is_text_and_keeps_its_lines():
    shown = write_table(("a", "b"), [["x|y\n*z*", ""]], numbers=True)
    assert shown == "| a | b |\n| --- | ---: |\n| x\\|y<br>\\*z\\* |   |"


def test_a_study_is_shown_without_torch():
    code = "import sys; sys.path.insert(0, 'tests'); from toy_study import make_study; make_study()._repr_markdown_(); "
    code += "print({'torch', 'numpy', 'IPython'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
