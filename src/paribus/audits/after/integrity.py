"""Do the numbers of a record follow from what lies beside them? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from paribus.audits.after.trained_study import ReadSteps, TrainedStudy, select_done
from paribus.audits.after.training_course import CURVE_OF_METRIC
from paribus.audits.checks import Check
from paribus.design.wording import write_count
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Finding, Record, loss_curve
from paribus.training.run_metrics import TREND_WINDOW

ROUNDING = 1e-9  # relative: sums taken in another order

Lines = Sequence[Mapping[str, Any]]

EVIDENCE = Check[TrainedStudy](
    name="evidence",
    when="after",
    severities=("invalid",),
    sees="A metric that is not what the documents, the evaluations and steps.jsonl give, to 1e-9. Two seeds with equal "
    "batches and equal losses of every document. A record of another seed.",
    misses="Files that were all changed so that they agree. Metrics of an optimizer's or a part's own.",
    cost="reads steps.jsonl",
    needs="steps",
    find=lambda trained: find_unfounded_numbers(trained.study, trained.records, trained.read_steps),
)


def find_unfounded_numbers(study: RegisteredStudy, records: Records, read_steps: ReadSteps) -> Iterator[Finding]:
    """Runs whose metrics are not those of their documents, evaluations and steps, and runs that are another's copy."""
    for arm, plan in study.arms.items():
        done = select_done(records.get(arm, {}))
        wrong = {}
        for seed, record in done.items():
            expected = _expected(record, read_steps(record.digest), plan.training.batch_tokens)
            if found := [row for row in expected if _disagree(row[1], row[3])]:
                wrong[seed] = found
        if wrong:
            yield _unfounded(arm, wrong, done)
        yield from _copies(arm, done)


def _expected(record: Record, steps: Lines, batch_tokens: int) -> Iterator[tuple[str, float | None, str, float | None]]:
    """Rows of a metric, what the record says of it, where it comes from, and what is found there.

    What a record does not have is not held against it.
    """
    recorded = record.metrics
    sources = {
        **{("the documents", key): value for key, value in _of_documents(record).items()},
        **{("the last evaluation", key): value for key, value in _of_evaluations(record.evaluations, recorded).items()},
        **{("steps.jsonl", key): value for key, value in _of_steps(steps, batch_tokens).items()},
    }
    for (source, key), value in sources.items():
        if key in recorded:
            yield key, recorded[key], source, value
    if recorded.get("tokens") is not None and record.evaluations:
        yield "tokens", recorded["tokens"], "the last evaluation", record.evaluations[-1].get("tokens")


def _of_documents(record: Record) -> dict[str, float | None]:
    tokens = sum(record.documents.get("tokens", ()))
    return {"val_loss": math.fsum(record.documents["loss"]) / tokens} if tokens else {}


def _of_evaluations(evaluations: Lines, recorded: Mapping[str, Any]) -> dict[str, float | None]:
    if not evaluations:
        return {}
    last, curve = evaluations[-1], loss_curve(evaluations)
    first, end = curve[0], curve[-1]
    metrics = {
        "initial_val_loss": first["loss"],
        "val_loss": last["loss"],
        "val_bits_per_byte": last.get("bits_per_byte"),
        "val_accuracy": last.get("accuracy"),
        "val_perplexity": math.exp(min(last["loss"], 700.0)),
        **last.get("metrics", {}),  # of the user's own
    }
    if epochs := recorded.get("epochs"):
        metrics["loss_reduction_per_epoch"] = (first["loss"] - end["loss"]) / epochs
    if end["tokens"] > first["tokens"]:
        area = [(b["tokens"] - a["tokens"]) * (a["loss"] + b["loss"]) / 2 for a, b in pairwise(curve)]
        metrics["val_loss_area"] = math.fsum(area) / end["tokens"]
    return metrics


def _of_steps(steps: Lines, batch_tokens: int) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {"steps": len(steps), "tokens": len(steps) * batch_tokens}
    if steps and all(key in steps[0] for key in ("loss", "gradient_norm", "clipped")):
        metrics |= {
            "train_loss": fmean(line["loss"] for line in steps[-TREND_WINDOW:]),
            "gradient_norm_mean": fmean(line["gradient_norm"] for line in steps),
            "gradient_norm_max": max(line["gradient_norm"] for line in steps),
            "clipping_frequency": fmean(line["clipped"] for line in steps),
        }
    return metrics


def _disagree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return not math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _unfounded(
    arm: str, wrong: Mapping[int, Sequence[tuple[str, float | None, str, float | None]]], done: Mapping[int, Record]
) -> Finding:
    seed, rows = next(iter(wrong.items()))
    key, recorded, source, found = rows[0]
    best = _best(done[seed], key, recorded)
    return Finding(
        check="evidence",
        severity="invalid",
        message=f"{len(wrong)} of {write_count(len(done), 'record')} of {arm!r} say what their evidence does not: "
        f"{key} of seed {seed} is {_number(recorded)} in the record, and {_number(found)} by {source}{best}",
        arm=arm,
        evidence={
            "records": {
                str(seed): [{"metric": k, "record": s, "source": w, "evidence": f} for k, s, w, f in rows]
                for seed, rows in wrong.items()
            },
            "runs": len(done),
        },
        remedy="delete the folders of these runs and run again; a number nobody can trace back is no result",
    )


def _best(record: Record, key: str, recorded: float | None) -> str:
    """What to add where the number is that of an earlier evaluation: the best one was taken, and not the last."""
    field = CURVE_OF_METRIC.get(key)
    for evaluation in record.evaluations[:-1]:
        if field and recorded is not None and not _disagree(evaluation.get(field), recorded):
            return f"; it is that of the evaluation at {evaluation['tokens']:,} tokens"
    return ""


def _copies(arm: str, done: Mapping[int, Record]) -> Iterator[Finding]:
    seen: dict[tuple[Any, ...], list[int]] = {}
    for seed, record in done.items():
        batches, scores = record.pairing.get("batches"), record.documents.get("loss")
        if batches and scores:
            seen.setdefault((batches, tuple(scores)), []).append(seed)
    copies = [seeds for seeds in seen.values() if len(seeds) > 1]
    misplaced = [seed for seed, record in done.items() if record.seed != seed]
    if copies or misplaced:
        seeds = copies[0] if copies else misplaced
        listed = ", ".join(map(str, seeds))
        yield Finding(
            check="evidence",
            severity="invalid",
            message=f"seeds {listed} of {arm!r} are one run: equal batches and equal losses of every document"
            if copies
            else f"the records of seeds {listed} of {arm!r} were made with other seeds",
            arm=arm,
            evidence={"copies": copies, "misplaced": {str(seed): done[seed].seed for seed in misplaced}},
            remedy="delete the folders of these runs and run again; one run counted twice is one run",
        )


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
