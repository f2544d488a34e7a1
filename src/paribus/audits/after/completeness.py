"""Are all runs there, and did each go to the end of its schedule? No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paribus.audits.after.trained_study import ReadSteps, TrainedStudy, select_done
from paribus.audits.checks import Check
from paribus.design.spec_names import SpecName
from paribus.design.specs import public_name, reference
from paribus.design.study import BASELINE
from paribus.design.wording import write_count
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Finding, Record
from paribus.training.schedule import LEFT_OVER, Constant, Cosine, Linear, WarmupStableDecay

ASTRAY = 0.05  # of the peak, between the last learning rate and what the schedule says

_SCHEDULES = {reference(cls): cls for cls in (Constant, Cosine, Linear, WarmupStableDecay)}

SEEDS = Check[TrainedStudy](
    name="seeds",
    when="after",
    severities=("note", "invalid"),
    sees="A failed run, a run without its partner, or a seed left out (invalid). A diverged run, or no run yet (note).",
    misses="Runs that were deleted: they count as not done, and the verdict waits for them.",
    cost="none",
    needs="records",
    find=lambda trained: find_gaps(trained.study, trained.records),
)

SCHEDULE = Check[TrainedStudy](
    name="schedule",
    when="after",
    severities=("note", "doubt"),
    sees="A run with another number of steps than planned, or whose last learning rate is more than 0.05 of the peak "
    "away from where the schedule ends (doubt). For a class of your own: a last rate above 0.15 of the peak (note).",
    misses="The end of a schedule of your own class: its code is not run here, as it is before training. Groups of "
    "parameters after the first.",
    cost="reads steps.jsonl",
    needs="steps",
    find=lambda trained: find_unfinished_schedules(trained.study, trained.records, trained.read_steps),
)


def find_gaps(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Failed and diverged runs, runs without their partner, and seeds that are left out."""
    for arm in study.arms:
        runs = records.get(arm, {})
        yield from _failures(arm, runs)
        yield from _divergences(arm, runs)
        if arm != BASELINE:
            yield from _missing_seeds(arm, runs, records.get(BASELINE, {}), study.first_seed)


def find_unfinished_schedules(study: RegisteredStudy, records: Records, read_steps: ReadSteps) -> Iterator[Finding]:
    """Runs with fewer steps than planned, or whose last learning rate is not where the schedule ends."""
    for arm, plan in study.arms.items():
        planned = plan.training.steps
        short, rates = {}, {}
        for seed, record in select_done(records.get(arm, {})).items():
            lines = read_steps(record.digest)
            if len(lines) != planned:
                short[seed] = len(lines)
            elif peak := max(line["learning_rate"] for line in lines):
                rates[seed] = lines[-1]["learning_rate"] / peak
        if short:
            yield _too_few_steps(arm, short, planned)
        if rates:
            yield from _last_rate(arm, rates, _build(plan.schedule), planned)


def _failures(arm: str, runs: Mapping[int, Record]) -> Iterator[Finding]:
    failed = {seed: _first_line(record.error) for seed, record in sorted(runs.items()) if record.status == "failed"}
    if failed:
        seed, why = next(iter(failed.items()))
        yield Finding(
            check="seeds",
            severity="invalid",
            message=f"{len(failed)} of {write_count(len(runs), 'run')} of {arm!r} failed; seed {seed}: {why}",
            arm=arm,
            evidence={"failed": {str(seed): why for seed, why in failed.items()}, "runs": len(runs)},
            remedy="mend the cause and run again; a failed run is done anew, the others are kept",
        )


def _divergences(arm: str, runs: Mapping[int, Record]) -> Iterator[Finding]:
    diverged = [seed for seed, record in sorted(runs.items()) if record.status == "diverged"]
    if diverged:
        yield Finding(
            check="seeds",
            severity="note",
            message=f"{len(diverged)} of {write_count(len(runs), 'run')} of {arm!r} diverged ({_listed(diverged)})",
            arm=arm,
            evidence={"diverged": diverged, "runs": len(runs)},
            remedy="a diverged run is a result; at a lower learning rate it would be another study",
        )


def _missing_seeds(
    arm: str, runs: Mapping[int, Record], baseline: Mapping[int, Record], first_seed: int
) -> Iterator[Finding]:
    if not runs:
        yield Finding(
            check="seeds",
            severity="note",
            message=f"{arm!r} has 0 runs yet",
            arm=arm,
            evidence={"runs": 0},
            remedy="run the study",
        )
        return
    ended = [seed for seed, record in sorted(runs.items()) if record.status != "failed"]  # for those see _failures
    missing = [seed for seed in range(first_seed, max(ended, default=first_seed)) if seed not in runs]
    alone = [seed for seed in ended if seed not in baseline]
    strange = [seed for seed in ended if seed < first_seed]
    if missing or alone or strange:
        parts = [
            f"{len(missing)} left out before the last ({_listed(missing)})" if missing else "",
            f"{len(alone)} without a baseline run ({_listed(alone)})" if alone else "",
            f"{len(strange)} before the first seed {first_seed} ({_listed(strange)})" if strange else "",
        ]
        yield Finding(
            check="seeds",
            severity="invalid",
            message=f"the pairs of {arm!r} are not the first ones: {', '.join(filter(None, parts))}",
            arm=arm,
            evidence={"missing": missing, "without_baseline": alone, "before_first": strange},
            remedy="run the missing seeds; a verdict on chosen seeds has no error rate",
        )


def _too_few_steps(arm: str, short: dict[int, int], planned: int) -> Finding:
    seed, steps = next(iter(short.items()))
    return Finding(
        check="schedule",
        severity="doubt",
        message=f"{write_count(len(short), 'run')} of {arm!r} did not take the {write_count(planned, 'step')} planned; "
        f"seed {seed} took {steps}",
        arm=arm,
        evidence={"planned": planned, "steps": {str(seed): count for seed, count in short.items()}},
        remedy="delete the folders of these runs and run again",
    )


def _last_rate(arm: str, rates: dict[int, float], schedule: Any, planned: int) -> Iterator[Finding]:
    """``rates``: seed to last over largest learning rate of runs that took all their steps."""
    worst_seed = max(rates, key=lambda seed: rates[seed])
    last = rates[worst_seed]
    evidence = {"last_over_peak": {str(seed): rate for seed, rate in rates.items()}}
    if schedule is not None:
        factors = [schedule(step, planned) for step in range(planned)]
        planned_end = factors[-1] / max(factors)
        astray = {seed: rate for seed, rate in rates.items() if abs(rate - planned_end) > ASTRAY}
        if astray:
            seed, rate = next(iter(astray.items()))
            yield Finding(
                check="schedule",
                severity="doubt",
                message=f"seed {seed} of {arm!r} ends at {rate:.2f} of its peak learning rate, "
                f"its schedule ends at {planned_end:.2f}",
                arm=arm,
                evidence={**evidence, "schedule_says": planned_end},
                remedy="count the schedule in optimizer steps, and run again",
            )
        return  # where it ends is for "planned schedule" to find
    if last > LEFT_OVER:
        yield Finding(
            check="schedule",
            severity="note",
            message=f"{arm!r} ends at {last:.2f} of its peak learning rate (seed {worst_seed})",
            arm=arm,
            evidence=evidence,
            remedy="decay to zero, or to a tenth: much of the loss falls in the decay",
        )


def _build(schedule: SpecName | None) -> Any:
    """The schedule by its name; None for a class of the user's, which is not imported."""
    if schedule is None:
        return Cosine()
    cls = _SCHEDULES.get(public_name(schedule.name))
    return cls(**dict(schedule.arguments)) if cls else None


def _first_line(error: str | None) -> str:
    return (error or "no reason given").strip().splitlines()[0]


def _listed(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
