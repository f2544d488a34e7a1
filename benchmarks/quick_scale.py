"""How quiet is a paired difference at candidate quick scales? Prints a table and writes JSON.

    python benchmarks/quick_scale.py [--seeds 10] [--store FOLDER] [--margin] [NAME ...]

Every candidate trains the baseline and RMSNorm in place of LayerNorm, on the same seeds. Reported: the baseline's
loss and its sd over seeds, the mean and sd of the paired difference, the correlation between the arms, and seconds per
run. With ``--margin`` also the baseline on 50 % more tokens, and from it what 5 % more tokens buys: the fall of the
loss times ln(1.05) / ln(1.5).
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
from paribus.execution.devices import local_slots
from paribus.execution.processes import LocalWorkers
from paribus.execution.trained import prepare_data
from paribus.experiment.job import make_job
from paribus.experiment.plan import Environment, plan
from paribus.store.store import Store

RESULTS = Path(__file__).parent / "results" / "quick_scale.json"
PAGE = Path(__file__).parents[1] / "docs" / "quick_scale.md"
BEGIN, END = "<!-- table: benchmarks/quick_scale.py writes it -->\n", "<!-- end of table -->"
MORE = 1.5
REPORTED = math.log(1.05) / math.log(MORE)


def make_study(
    steps: int,
    batch: int,
    *,
    d: int = 96,
    layers: int = 3,
    heads: int = 3,
    seq: int = 128,
    vocab: int = 1024,
    optimizer: pb.Spec | None = None,
    schedule: pb.Spec | None = None,
) -> pb.Study:
    baseline = pb.nn.llama(d_model=d, n_layers=layers, n_heads=heads, norm=pb.spec(pb.nn.LayerNorm))
    training = pb.Training(
        tokens=steps * batch,
        batch_tokens=batch,
        seq_len=seq,
        evaluations=1,
        optimizer=optimizer or pb.spec(pb.training.MuonAdamW),
        schedule=schedule,
    )
    more = training.replace(tokens=round(steps * MORE) * batch)
    return pb.Study(
        question="How quiet is this scale?",
        baseline=baseline,
        treatments={
            "RMSNorm": baseline.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
            "more tokens": pb.Arm(baseline, more),
        },
        data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=vocab)),
        training=training,
        margin=0.0,
        max_seeds=20,
    )


def muon(lr: float, adamw_lr: float) -> pb.Spec:
    return pb.spec(pb.training.MuonAdamW, lr=lr, adamw_lr=adamw_lr)


def adamw(lr: float) -> pb.Spec:
    return pb.spec(torch.optim.AdamW, lr=lr, betas=(0.9, 0.95), weight_decay=0.1)


CANDIDATES = {
    "Muon .02, AdamW .01, 100 x 2048": make_study(100, 2048, optimizer=muon(0.02, 0.01)),
    "Muon .02, AdamW .01, 150 x 2048": make_study(150, 2048, optimizer=muon(0.02, 0.01)),
    "Muon .02, AdamW .01, 75 x 4096": make_study(75, 4096, optimizer=muon(0.02, 0.01)),
    "Muon .02, AdamW .03, 100 x 2048": make_study(100, 2048, optimizer=muon(0.02, 0.03)),
    "Muon .02, AdamW .003, 150 x 2048": make_study(150, 2048, optimizer=muon(0.02, 0.003)),
    "Muon .02, AdamW .003, 300 x 1024": make_study(300, 1024, optimizer=muon(0.02, 0.003)),
    "AdamW .003, 300 x 1024": make_study(300, 1024, optimizer=adamw(0.003)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="candidates; all by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--margin", action="store_true", help="also what 5 %% more tokens buys")
    parser.add_argument("--store", default="paribus-store/quick-scale")
    options = parser.parse_args()
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    with LocalWorkers(local_slots("cpu", options.seeds)) as workers:
        for name in options.names or CANDIDATES:
            study, store = CANDIDATES[name], Store.create(options.store)
            if not options.margin:
                study = study.replace(treatments={"RMSNorm": study.treatments["RMSNorm"]}, primary=None)
            known[name] = measure(study, options.seeds, store, workers)
            print(format_row(name, known[name]), flush=True)
            RESULTS.write_text(json.dumps({**describe_machine(), "rows": known}, indent=1) + "\n")
    write_table()


def describe_machine() -> dict[str, object]:
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": str(date.today()),
    }


def measure(study: pb.Study, n_seeds: int, store: Store, workers: LocalWorkers) -> dict[str, float]:
    """Train every arm on every seed and describe the differences."""
    corpus, _ = prepare_data(study.data, study.training)
    made = plan(study, Environment.here(corpus.digest, "cpu"))
    arms = {arm: [made.run(arm, seed) for seed in list(made.seeds)[:n_seeds]] for arm in study.arms}
    missing = [run for runs in zip(*arms.values(), strict=True) for run in runs if not store.is_done(run.digest)]
    jobs = iter([make_job(store, made, run, study.arms[run.arm], None) for run in missing])
    workers.execute(lambda: next(jobs, None), lambda event: None, lambda digest: True)
    records = {arm: [store.read_record(run.digest) for run in runs] for arm, runs in arms.items()}
    loss = {arm: np.array([record.metrics["val_loss"] for record in of_arm]) for arm, of_arm in records.items()}
    base, difference = loss["baseline"], loss["RMSNorm"] - loss["baseline"]
    margin = {}
    if "more tokens" in loss:
        gain = (base - loss["more tokens"]) * REPORTED
        margin = {"five_percent": float(gain.mean()), "five_percent_se": float(gain.std(ddof=1) / math.sqrt(n_seeds))}
    seconds = [sum(r.measured[k] for k in ("training_seconds", "evaluation_seconds")) for r in records["baseline"]]
    return {
        "seeds": n_seeds,
        "parameters": records["baseline"][0].metrics["parameters"],
        "val_loss": float(base.mean()),
        "seed_sd": float(base.std(ddof=1)),
        "paired_mean": float(difference.mean()),
        "paired_sd": float(difference.std(ddof=1)),
        "correlation": float(np.corrcoef(base, loss["RMSNorm"])[0, 1]),
        **margin,
        "seconds": float(np.median(seconds)),
        "held_out_tokens": int(sum(records["baseline"][0].documents["tokens"])),
        "held_out_documents": len(records["baseline"][0].documents["tokens"]),
    }


def format_row(name: str, row: dict[str, float]) -> str:
    return (
        f"{name:<34} loss {row['val_loss']:.3f}  seed sd {row['seed_sd']:.4f}  paired {row['paired_mean']:+.4f} "
        f"sd {row['paired_sd']:.4f}  r {row['correlation']:+.2f}  {row['seconds']:.1f} s"
        + (
            f"  5 % more tokens: {row['five_percent']:.4f} (se {row['five_percent_se']:.4f})"
            if "five_percent" in row
            else ""
        )
    )


def write_table() -> None:
    """Put the stored rows into the documentation page."""
    stored = json.loads(RESULTS.read_text())
    lines = [
        "| optimizer, steps x tokens | final loss | sd over seeds | paired difference | its sd | correlation |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in stored["rows"].items():
        numbers = [f"{row['val_loss']:.3f}", f"{row['seed_sd']:.4f}", f"{row['paired_mean']:+.4f}"]
        lines.append(" | ".join([f"| {name}", *numbers, f"{row['paired_sd']:.4f}", f"{row['correlation']:+.2f} |"]))
    seeds = ", ".join(sorted({str(row["seeds"]) for row in stored["rows"].values()}))
    lines.append(f"\n{stored['date']}, {stored['machine']}, torch {stored['torch']}, seeds per row: {seeds}.\n")
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
