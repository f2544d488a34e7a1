"""What makes a paired difference quieter: its standard deviation over seeds under one change at a time.

    python benchmarks/variance.py [--store FOLDER] [--seeds 10]

(a) Larger fixed evaluation set: random quarters and halves of the held-out documents, scored in the same runs.
(b) Decay to zero, against decay to a tenth and no decay at all.
(c) More tokens per step at equal tokens: half the batch, the batch of the quick scale, and twice it. Rates stay.
(d) Common random numbers down to the dropout masks: dropout 0.1 with the same masks in both arms, against masks of
    another seed for the treatment; initial weights and batches are shared in both.
(e) The weights averaged over the last tenth and the last quarter of the steps, scored in place of the last step's.
(f) Estimators other than the paired mean, with all replicates of the baseline pooled: unpaired, and adjusted by slope,
    mean(T) - mean over all(B) - slope (mean(B) - mean over all(B)), where the slope comes from other seeds, or from the
    baseline and its nudged copy, which is all that is known before a treatment is trained. Slope 1 is the paired mean.
    Runs of the baseline count as free: they are cached. A ratio of 0.5 would save half the treatment's runs.

(b) to (e) train LayerNorm and RMSNorm, the arms of the study ``norm`` at its quick scale, on the first
``--seeds`` seeds: 15 runs a seed beyond those of ``time_to_verdict.py``, whose 20 seeds (a) and (f) read from the same
store; what it lacks is trained. The standard error of a standard deviation s over n pairs is s / sqrt(2 (n - 1)).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import record
from time_to_verdict import NULL, SEEDS, make_study, train

import paribus as pb
from paribus.design.study import BASELINE
from paribus.execution.devices import local_slots
from paribus.execution.processes import LocalWorkers
from paribus.judgement import estimate_document_error
from paribus.store.records import Record
from paribus.store.store import Store

TREATMENT = "RMSNorm"
SHARES = (0.25, 0.5, 1.0)
DRAWS = 200  # subsets of documents, and splits of the seeds
PAIRS = 5  # at which estimators are compared
OTHER_SEEDS = 1000  # added to a seed for masks that nothing else uses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="paribus-store/time-to-verdict", help="keeps the runs")
    parser.add_argument("--seeds", type=int, default=10, help="pairs of each trained change; 0 leaves out (b) to (e)")
    options = parser.parse_args()
    if options.seeds and not 3 <= options.seeds <= SEEDS:
        parser.error(f"--seeds must be 0 or from 3 to {SEEDS}")
    store, seeds = Store.create(options.store), range(options.seeds)
    with LocalWorkers(local_slots("cpu", SEEDS)) as workers:
        records = train(make_study(), range(SEEDS), store, workers)
        trained = train_changes(seeds, store, workers) if options.seeds else []
    losses = {name: np.array([r.metrics["val_loss"] for r in of_arm]) for name, of_arm in records.items()}
    content = {
        **record.describe_machine("numpy"),
        "documents": {name: vary_documents(records, name) for name in ("RMSNorm", "no position", "ReLU MLP")},
        "trained": trained,
        "estimators": {name: compare_estimators(losses, name) for name in losses if name not in (BASELINE, NULL)},
    }
    record.save("variance", content)
    print_tables(content)


def vary_documents(records: Mapping[str, Sequence[Record]], treatment: str) -> list[dict[str, float]]:
    """Seed sd of the paired difference, and its document standard error, on shares of the evaluation documents."""
    baseline, other = (np.array([r.documents["loss"] for r in records[name]]) for name in (BASELINE, treatment))
    tokens = np.array(records[BASELINE][0].documents["tokens"], dtype=float)
    rng, rows = np.random.default_rng(0), []
    for share in SHARES:
        count = round(share * len(tokens))
        sds, errors = [], []
        for _ in range(DRAWS if share < 1 else 1):
            chosen = rng.permutation(len(tokens))[:count]
            weights = tokens[chosen] / tokens[chosen].sum()
            by_document = (other - baseline)[:, chosen] / tokens[chosen]
            sds.append((by_document @ weights).std(ddof=1))
            errors.append(estimate_document_error(by_document, weights))
        rows.append(
            {
                "share": share,
                "documents": count,
                "pairs": len(baseline),
                "sd": _root_mean_square(sds),
                "document_error": _root_mean_square(errors),
            }
        )
    return rows


def train_changes(seeds: Sequence[int], store: Store, workers: LocalWorkers) -> list[dict[str, Any]]:
    """A row per change: the paired difference of RMSNorm and LayerNorm under it."""
    study = make_study()
    study = study.replace(treatments={TREATMENT: study.treatments[TREATMENT]}, primary=None)
    recipe, batch = study.training, study.training.batch_tokens
    floor = pb.spec(pb.training.Cosine, floor=0.1)
    changes = {
        "quick scale": recipe,
        "decay to a tenth": recipe.replace(schedule=floor),
        "no decay": recipe.replace(schedule=pb.spec(pb.training.Constant)),
        "half the batch": recipe.replace(batch_tokens=batch // 2),
        "twice the batch": recipe.replace(batch_tokens=2 * batch),
        "weights averaged over a tenth": recipe.replace(averaged=0.1),
        "weights averaged over a quarter": recipe.replace(averaged=0.25),
    }
    rows = [
        _describe(name, train(_with(study, training=changed), seeds, store, workers, null=False))
        for name, changed in changes.items()
    ]
    dropping = _with(study, dropout=0.1)
    shared = train(dropping, seeds, store, workers, null=False)
    apart = {**shared, TREATMENT: train_with_other_masks(dropping, shared[TREATMENT], store)}
    return [*rows, _describe("dropout 0.1, same masks", shared), _describe("dropout 0.1, other masks", apart)]


def train_with_other_masks(study: pb.Study, shared: Sequence[Record], store: Store) -> list[Record]:
    """The treatment as in ``shared``, weights and batches included, with the dropout masks of another seed."""
    arm = study.arms[TREATMENT]
    specs = json.dumps([arm.model.to_json(), arm.training.to_json(), study.data.to_json()])
    digests = [hashlib.sha256(f"{r.digest} other masks".encode()).hexdigest()[:32] for r in shared]
    missing = {r.seed: digest for r, digest in zip(shared, digests, strict=True) if not store.is_done(digest)}
    slots = local_slots("cpu", len(missing))
    if missing:
        os.environ.update(slots[0])  # the processes start with it: one thread each
        with ProcessPoolExecutor(len(slots), mp_context=get_context("spawn")) as pool:
            losses = {seed: pool.submit(train_once, specs, seed, seed + OTHER_SEEDS) for seed in missing}
            for seed, digest in missing.items():
                store.write_record(Record(digest, seed, "done", metrics={"val_loss": losses[seed].result()}))
    return [store.read_record(digest) for digest in digests]


def train_once(specs: str, seed: int, noise_seed: int) -> float:
    """The final loss of a run whose dropout masks are drawn under ``noise_seed``; equal seeds are a run of paribus."""
    from paribus.execution.trained import deterministic, prepare_data
    from paribus.nn.contract import build_model, roles
    from paribus.training.loop import train as train_model

    model_json, training_json, data_json = json.loads(specs)
    training = pb.Training.from_json(training_json)
    with deterministic("cpu"), tempfile.TemporaryDirectory() as folder:
        corpus, held_out = prepare_data(pb.Spec.from_json(data_json), training)
        sizes = {"vocab_size": corpus.vocab_size, "seq_len": training.seq_len}
        model = build_model(pb.Spec.from_json(model_json), seed, **sizes)
        trained = train_model(
            model,
            training,
            seed=noise_seed,
            roles=roles(model),
            batch=lambda step: corpus.batch(seed, step, training.batch_tokens, training.seq_len),
            held_out=held_out,
            folder=Path(folder),
        )
    return trained.scores.loss


def compare_estimators(losses: Mapping[str, np.ndarray], treatment: str) -> dict[str, float]:
    """Variance of each estimator with PAIRS treatment runs and all baseline runs, over that of the paired mean."""
    baseline, other = losses[BASELINE], losses[treatment]
    ratios = {
        "unpaired": _variance_ratio(baseline, other, lambda b, t: 0.0),
        "slope_of_other_seeds": _variance_ratio(baseline, other, _slope),
    }
    null_slope = _slope(baseline, losses[NULL])
    ratios["slope_of_null"] = _variance_ratio(baseline, other, lambda b, t: null_slope)
    errors = {}
    for name, fit in {"unpaired": lambda b, t: 0.0, "slope_of_other_seeds": _slope}.items():
        n = len(baseline)
        left = [_variance_ratio(np.delete(baseline, i), np.delete(other, i), fit) for i in range(n)]
        errors[f"{name}_error"] = float(np.sqrt((n - 1) / n * np.sum((np.array(left) - np.mean(left)) ** 2)))
    return {
        "correlation": float(np.corrcoef(baseline, other)[0, 1]),
        "slope": _slope(baseline, other),
        "null_slope": null_slope,
        "sd": float((other - baseline).std(ddof=1)),
        **ratios,
        **errors,
    }


def _variance_ratio(baseline: np.ndarray, other: np.ndarray, fit: Any) -> float:
    """Variance of mean_n(T - s B) - (1 - s) mean_N(B), n = PAIRS of the N seeds, over the one at s = 1.

    The slope s comes from the seeds that are not among the n, and residuals of those n are taken around the others'
    means: what a slope that was fixed beforehand really leaves.
    """
    rng, n_all = np.random.default_rng(1), len(baseline)
    adjusted, paired = [], []
    for _ in range(DRAWS):
        order = rng.permutation(n_all)
        own, rest = order[:PAIRS], order[PAIRS:]
        slope = fit(baseline[rest], other[rest])
        b, t = baseline[own] - baseline[rest].mean(), other[own] - other[rest].mean()
        shrink = 1 + 1 / len(rest)
        residual = (t - slope * b) ** 2 / shrink
        rest_b = (1 - slope) * b
        # Var(X)/n + Var((1-s) B)/N - 2 Cov(X, (1-s) B)/N with X = T - s B
        cross = (t - slope * b) * rest_b / shrink
        adjusted.append((residual / PAIRS + (rest_b**2 / shrink - 2 * cross) / n_all).mean())
        paired.append(((t - b) ** 2 / shrink / PAIRS).mean())
    return float(np.mean(adjusted) / np.mean(paired))


def _slope(baseline: np.ndarray, other: np.ndarray) -> float:
    b = baseline - baseline.mean()
    return float(b @ other / (b @ b))


def _with(study: pb.Study, training: pb.Training | None = None, dropout: float | None = None) -> pb.Study:
    """``study`` with another recipe or dropout in every arm."""
    models = {BASELINE: study.baseline, TREATMENT: study.treatments[TREATMENT].model}
    if dropout is not None:
        models = {name: model.replace("dropout", dropout) for name, model in models.items()}
    return study.replace(
        baseline=models[BASELINE], treatments={TREATMENT: models[TREATMENT]}, training=training or study.training
    )


def _describe(name: str, records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    baseline, other = (np.array([r.metrics["val_loss"] for r in records[arm]]) for arm in (BASELINE, TREATMENT))
    d = other - baseline
    return {
        "change": name,
        "pairs": len(d),
        "loss": float(baseline.mean()),
        "seed_sd": float(baseline.std(ddof=1)),
        "mean": float(d.mean()),
        "sd": float(d.std(ddof=1)),
        "correlation": float(np.corrcoef(baseline, other)[0, 1]),
        "differences": d.tolist(),
    }


def _root_mean_square(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def print_tables(content: Mapping[str, Any]) -> None:
    rows = [
        (f"{name}, {row['share']:g}", row["documents"], with_error(row), f"{row['document_error']:.5f}")
        for name, of_effect in content["documents"].items()
        for row in of_effect
    ]
    columns = ("effect, share of documents", "documents", "sd over seeds", "document standard error")
    record.print_table("(a) Size of the evaluation set", columns, rows)

    if content["trained"]:
        print_changes(content["trained"])

    rows = [
        (
            name,
            f"{row['correlation']:+.2f}",
            f"{row['slope']:+.2f}",
            f"{row['unpaired']:.2f} ± {row['unpaired_error']:.2f}",
            f"{row['slope_of_other_seeds']:.2f} ± {row['slope_of_other_seeds_error']:.2f}",
            f"{row['slope_of_null']:.2f}",
        )
        for name, row in content["estimators"].items()
    ]
    columns = ("effect", "correlation", "slope", "unpaired, pooled", "slope of other seeds", "slope of the null")
    title = f"(f) Variance over that of the paired mean, {PAIRS} pairs and {SEEDS} baseline runs"
    record.print_table(title, columns, rows)


def print_changes(rows: Sequence[Mapping[str, Any]]) -> None:
    plain = rows[0]
    cells = [
        (
            row["change"],
            f"{row['loss']:.3f}",
            f"{row['seed_sd']:.4f}",
            f"{row['mean']:+.4f}",
            with_error(row),
            f"{row['sd'] / plain['sd']:.2f}",
            f"{row['correlation']:+.2f}",
        )
        for row in rows
    ]
    columns = ("change", "loss", "sd of loss", "difference", "its sd", "over quick scale", "correlation")
    record.print_table(f"(b) to (e) RMSNorm against LayerNorm, {plain['pairs']} pairs", columns, cells)


def with_error(row: Mapping[str, Any]) -> str:
    return f"{row['sd']:.5f} ± {row['sd'] / math.sqrt(2 * (row['pairs'] - 1)):.5f}"


if __name__ == "__main__":
    main()
