"""What 5 % more tokens buys the baseline of every built-in study at its quick scale: the studies' margins.

    python benchmarks/margins.py [--seeds 6] [--store FOLDER] [STUDY ...]

Trains each baseline as it is and on 50 % more tokens, on the same seeds; the fall of the loss is multiplied by
ln(1.05) / ln(1.5). Studies with one baseline and recipe share their runs. Writes results/margins.json and the table in
docs/quick_scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from datetime import date
from pathlib import Path

import numpy as np
import torch

import paribus as pb
from paribus.design.study_files import built_in_studies, read_study
from paribus.execution.devices import local_slots
from paribus.execution.processes import LocalWorkers
from paribus.execution.trained import prepare_data
from paribus.experiment.job import make_job
from paribus.experiment.plan import Environment, plan
from paribus.lab.trying.drafting import MARGINS, RECIPES
from paribus.store.store import Store

RESULTS = Path(__file__).parent / "results" / "margins.json"
PAGE = Path(__file__).parents[1] / "docs" / "quick_scale.md"
BEGIN, END = "<!-- table: benchmarks/margins.py writes it -->\n", "<!-- end of margins -->"
MORE = 1.5
REPORTED = math.log(1.05) / math.log(MORE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="studies, or recipes of `paribus try`; all studies by default")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--store", default="paribus-store/margins")
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    with LocalWorkers(local_slots("cpu", options.seeds)) as workers:
        for name in options.names or built_in_studies():
            known[name] = measure(read_baseline(name), options.seeds, Store.create(options.store), workers)
            print(name, known[name], flush=True)
            machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__}
            RESULTS.write_text(json.dumps({"date": str(date.today()), **machine, "rows": known}, indent=1) + "\n")
    write_table()


def read_baseline(name: str) -> pb.Study:
    """The study ``name``, or one of the recipe that `paribus try` takes as baseline, on the corpus of ``norm``."""
    if name in RECIPES:
        return read_study("norm").choose().replace(baseline=getattr(pb.nn, name)(**RECIPES[name]))
    return read_study(name).choose()


def measure(study: pb.Study, n_seeds: int, store: Store, workers: LocalWorkers) -> dict[str, float]:
    """Train the baseline on its tokens and on half as many again, for every seed."""
    recipe = study.training
    more = recipe.replace(tokens=round(recipe.steps * MORE) * recipe.batch_tokens)
    study = study.replace(
        treatments={"more tokens": pb.Arm(study.baseline, more)}, changes={}, primary=None, max_seeds=20
    )
    corpus, _ = prepare_data(study.data, recipe)
    made = plan(study, Environment.here(corpus.digest, "cpu"))
    pairs = [[made.run(arm, seed) for arm in study.arms] for seed in list(made.seeds)[:n_seeds]]
    missing = [run for pair in pairs for run in pair if not store.is_done(run.digest)]
    jobs = iter([make_job(store, made, run, study.arms[run.arm], None) for run in missing])
    workers.execute(lambda: next(jobs, None), lambda event: None, lambda digest: True)
    loss = np.array([[store.read_record(run.digest).metrics["val_loss"] for run in pair] for pair in pairs])
    gain = (loss[:, 0] - loss[:, 1]) * REPORTED
    return {
        "seeds": n_seeds,
        "val_loss": float(loss[:, 0].mean()),
        "seed_sd": float(loss[:, 0].std(ddof=1)),
        "five_percent": float(gain.mean()),
        "five_percent_se": float(gain.std(ddof=1) / math.sqrt(n_seeds)),
    }


def write_table() -> None:
    """Put the stored rows into the documentation page."""
    stored = json.loads(RESULTS.read_text())
    lines = [
        "| study or recipe | final loss | sd over seeds | 5 % more tokens buy | standard error | margin |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in sorted(stored["rows"].items()):
        numbers = [f"{row[key]:.4f}" for key in ("val_loss", "seed_sd", "five_percent", "five_percent_se")]
        margin = MARGINS[name] if name in RECIPES else read_study(name).choose().margin
        lines.append(" | ".join([f"| `{name}`", *numbers, f"{margin} |"]))
    seeds = ", ".join(sorted({str(row["seeds"]) for row in stored["rows"].values()}))
    lines.append(f"\n{stored['date']}, {stored['machine']}, torch {stored['torch']}, seeds per row: {seeds}.\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
