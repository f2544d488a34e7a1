"""A/A: what a study's own noise is, before money is spent on its arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paribus.design.study import BASELINE, Study
from paribus.errors import StudyError
from paribus.experiment.extra_runs import ExtraRun, plan_extra_runs
from paribus.experiment.plan import Plan, identify_run, plan
from paribus.judgement import Rule
from paribus.judgement.power import calibrate_null, count_false_verdicts
from paribus.lab.request import read_request
from paribus.lab.workspace import Bench, set_up
from paribus.store.events import Observe
from paribus.store.files import FORMAT, write_json
from paribus.store.records import Record
from paribus.store.store import DEFAULT_STORE

NULL_SEEDS = 20_000
"""The seeds of many small nulls lie this far from the study's own."""

SHORTENED = 10
"""A small null trains this many times fewer tokens than the study."""

FEWEST_STEPS = 10


@dataclass(frozen=True)
class Calibration:
    """What ``calibrate`` hands back: the numbers as data, and where they were written."""

    name: str
    data: Mapping[str, Any]
    file: Path


def calibrate(
    study: str | Path | Study,
    store: str | Path = DEFAULT_STORE,
    *,
    comparisons: int | None = None,
    scale: str | None = None,
    data: str | None = None,
    executor: str = "local",
    device: str | None = None,
    devices: int | None = None,
    max_seeds: int | None = None,
    observe: Observe | None = None,
) -> Calibration:
    """Run the baseline against itself: its sd over seeds, what rounding alone moves, and what this budget can settle.

    The baseline runs on the first seeds of the study, which the study then need not do again, and once more from
    initial weights that are moved by one unit in the last place. What is on disk is not done again.

    Args:
        comparisons: so many small A/A comparisons besides, each of ``max_seeds`` pairs at a tenth of the tokens, judged
            by the study's own rule: how often does it call the baseline better or worse than itself? Once with the
            nudged copies on equal seeds, and, half as many, with the baseline itself on other seeds.
        observe: called with every event; None: what happens is shown, see ``run``.

    A study that tunes is calibrated with the recipe of its file.
    Raises ParibusError for a study, corpus or store that cannot be used, and StudyError where a run fails.
    """
    if comparisons is not None and (type(comparisons) is not int or comparisons < 2):
        raise StudyError(f"comparisons must be a whole number of at least 2, got {comparisons!r}")
    from paribus.lab.notebook import watch

    asked = read_request(study, scale, data, max_seeds)
    with watch(observe) as told, set_up(asked, store, executor, device, devices, told) as bench:
        made = plan(bench.study, bench.environment)
        bench.tell("the baseline against itself: initial weights moved by one unit in the last place")
        found: dict[str, Any] = {"format": FORMAT, "name": asked.name, "metric": bench.study.metric.to_json()}
        found["null"] = _calibrate_floor(bench, made)
        found["tunes"] = bench.study.tuning is not None
        if bench.study.contrasts:
            found["contrasts"] = {name: contrast.noise for name, contrast in bench.study.contrasts.items()}
        file = bench.store.folder / "nulls" / f"{asked.name}.json"
        of = {"run": made.run(BASELINE, bench.study.first_seed).digest, "rule": Rule.of_study(bench.study).to_json()}
        if comparisons:
            bench.tell(f"{comparisons} small A/A comparisons")
            found["small_nulls"] = {**_run_small_nulls(bench, comparisons), "of": of}
        write_json(file, found)
    return Calibration(asked.name, found, file)


def _run_small_nulls(bench: Bench, comparisons: int) -> dict[str, Any]:
    """A/A comparisons of a shortened baseline, with its nudged copy and with itself; every pair on seeds of its own."""
    study = _shortened(bench.study)
    made = plan(study, bench.environment)
    n_max, arm = study.max_seeds, study.arms[BASELINE]
    first = study.first_seed + NULL_SEEDS
    pairs = [
        [
            ExtraRun(identify_run(made, "baseline, short", arm, seed), arm),
            ExtraRun(identify_run(made, "baseline, short, nudged", arm, seed, nudged=True), arm),
        ]
        for seed in range(first, first + comparisons * n_max)
    ]
    records = bench.run([trial for pair in pairs for trial in pair], made)
    values = np.array([[_value(study, records[trial.run.digest]) for trial in pair] for pair in pairs])
    plain, nudged = values.T.reshape(2, comparisons, n_max)
    even = comparisons // 2 * 2
    rule = Rule.of_study(study)
    return {
        "tokens": study.training.tokens,
        "pairs_each": n_max,
        "first_seed": first,
        "nudged_copies": count_false_verdicts(nudged - plain, rule).to_json(),
        "other_seeds": count_false_verdicts(plain[1:even:2] - plain[:even:2], rule).to_json(),
    }


def _shortened(study: Study) -> Study:
    training = study.training
    tokens = max(training.tokens // SHORTENED, FEWEST_STEPS * training.batch_tokens)
    tokens = min(tokens, training.tokens)
    steps = tokens // training.batch_tokens
    averaged = training.averaged if round(training.averaged * steps) > 1 else 0.0
    evaluations = min(training.evaluations, steps)
    return study.replace(training=training.replace(tokens=tokens, evaluations=evaluations, averaged=averaged))


def _calibrate_floor(bench: Bench, made: Plan) -> dict[str, Any]:
    study = made.study
    nudged = plan_extra_runs(made)["null"]
    plain = [ExtraRun(made.run(BASELINE, trial.run.seed), trial.arm) for trial in nudged]
    pairs = [trial for pair in zip(plain, nudged, strict=True) for trial in pair]
    records = bench.run(pairs, made)
    own, moved = ([_value(study, records[trial.run.digest]) for trial in side] for side in (plain, nudged))
    return calibrate_null(own, moved, Rule.of_study(study), study.metric.unit).to_json()


def _value(study: Study, record: Record) -> float:
    if record.status != "done":
        why = (record.error or record.status).strip().splitlines()[0]
        raise StudyError(f"the baseline cannot be compared with itself: seed {record.seed} {record.status}: {why}")
    return record.metrics[study.metric.key]
