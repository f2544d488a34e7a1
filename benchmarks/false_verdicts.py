"""How often a study's own rule calls its baseline better or worse than itself. Prints a table and writes JSON.

    python benchmarks/false_verdicts.py [--comparisons 50] [--store FOLDER] [STUDY]

Each comparison has ``max_seeds`` pairs of the baseline, trained on a tenth of the study's tokens (ten steps at least),
on seeds from 20,000 on: once against its copy whose initial weights are moved by one unit in the last place, and, half
as many, against itself on other seeds. Judged at margin 0 and at the study's margin. Allowed is the smallest k with
P(X > k) <= .001 for X binomial(comparisons, error): 8 of 50, 13 of 100, 21 of 200 at an error rate of 5 %.
Writes results/false_verdicts.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import record
from scipy import stats

import paribus as pb
from paribus.design.study import BASELINE
from paribus.experiment.extra_runs import ExtraRun
from paribus.experiment.plan import identify_run, plan
from paribus.judgement import Ending, Rule, replay
from paribus.lab.progress import progress
from paribus.lab.request import read_request
from paribus.lab.workspace import open_workspace

FIRST_SEED = 20_000  # added to the study's own first seed
SHORTENED = 10
FEWEST_STEPS = 10
FALSE_ALARM = 0.001
KINDS = {"nudged_copies": "its nudged copy", "other_seeds": "itself on other seeds"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="norm", help="a built-in study or a study file")
    parser.add_argument("--comparisons", type=int, default=50)
    parser.add_argument("--store", default="paribus-store/false-verdicts", help="keeps the runs")
    options = parser.parse_args()
    if options.comparisons < 2:
        parser.error("--comparisons must be at least 2")
    study, differences = train_pairs(options.study, options.comparisons, options.store)
    counts = {kind: count_false_verdicts(rows, Rule.of_study(study)) for kind, rows in differences.items()}
    content = {"study": options.study, "tokens": study.training.tokens, "pairs_each": study.max_seeds, **counts}
    record.save("false_verdicts", {**record.describe_machine("numpy", "scipy"), **content})
    columns = ("against", "comparisons", "too few pairs", "false at margin 0", "false at the margin", "allowed")
    keys = ("comparisons", "open", "false_at_zero", "false_at_margin", "allowed")
    title = f"The baseline of {options.study}, {study.max_seeds} pairs of {study.training.tokens:,} tokens each"
    record.print_table(title, columns, [(KINDS[kind], *(row[key] for key in keys)) for kind, row in counts.items()])


def train_pairs(name: str, comparisons: int, store: str) -> tuple[pb.Study, dict[str, np.ndarray]]:
    """The shortened study, and paired differences, a row per comparison."""
    with (
        progress() as observe,
        open_workspace(read_request(name, None, None), store, "local", None, None, observe) as workspace,
    ):
        study = shorten(workspace.study)
        planned, arm, n_max = plan(study, workspace.environment), study.arms[BASELINE], study.max_seeds
        first = study.first_seed + FIRST_SEED
        pairs = [
            [
                ExtraRun(identify_run(planned, "baseline, short", arm, seed), arm),
                ExtraRun(identify_run(planned, "baseline, short, perturbed", arm, seed, nudged=True), arm),
            ]
            for seed in range(first, first + comparisons * n_max)
        ]
        records = workspace.run([trial for pair in pairs for trial in pair], planned)
    losses = [[records[trial.run.digest].metrics[study.metric.key] for trial in pair] for pair in pairs]
    plain, nudged = np.array(losses).T.reshape(2, comparisons, n_max)
    even = comparisons // 2 * 2
    return study, {"nudged_copies": nudged - plain, "other_seeds": plain[1:even:2] - plain[:even:2]}


def shorten(study: pb.Study) -> pb.Study:
    """The study on a tenth of its tokens; weights are averaged where more than one step is left to average over."""
    training = study.training
    tokens = max(training.tokens // SHORTENED, FEWEST_STEPS * training.batch_tokens)
    tokens = min(tokens, training.tokens)
    steps = tokens // training.batch_tokens
    averaged = training.averaged if round(training.averaged * steps) > 1 else 0.0
    evaluations = min(training.evaluations, steps)
    return study.replace(training=training.replace(tokens=tokens, evaluations=evaluations, averaged=averaged))


def count_false_verdicts(differences: Sequence[Sequence[float]], rule: Rule) -> dict[str, Any]:
    """How often ``rule`` says better or worse of comparisons without a difference, each a row of paired differences.

    Rows with too few pairs for the looks at either margin are ``open``; they count among the ``comparisons`` too.
    """
    ends = {
        margin: [replay(np.array([row], dtype=float), replace(rule, margin=margin))[0][0] for row in differences]
        for margin in (0.0, rule.margin)
    }
    false = {margin: sum(code in (Ending.BETTER, Ending.WORSE) for code in codes) for margin, codes in ends.items()}
    allowed = int(stats.binom.isf(FALSE_ALARM, len(differences), rule.error))
    return {
        "comparisons": len(differences),
        "open": sum(Ending.OPEN in codes for codes in zip(*ends.values(), strict=True)),
        "false_at_zero": false[0.0],
        "false_at_margin": false[rule.margin],
        "allowed": allowed,
        "holds": max(false.values()) <= allowed,
    }


if __name__ == "__main__":
    main()
