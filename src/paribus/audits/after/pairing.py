"""Do the two runs of a pair share what a pair must share? No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paribus.audits.after.trained_study import TrainedStudy
from paribus.audits.checks import Check
from paribus.design.recipe import Training
from paribus.design.study import BASELINE
from paribus.design.trees import changed_sites, lies_under
from paribus.design.wording import list_some, write_count
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Finding

_RECIPE_OF_BATCHES = ("tokens", "batch_tokens", "seq_len")


def _look_at_pairs(trained: TrainedStudy) -> Iterator[Finding]:
    return find_unpaired(trained.study, trained.records)


INITIAL_WEIGHTS = Check[TrainedStudy](
    name="initial weights",
    when="after",
    severities=("doubt",),
    sees="Tensors of equal path, outside the changed sites, that start differently in the two runs of a pair.",
    misses="Tensors under a changed site. Where an argument of the model itself differs, such as d_model, no tensor is "
    "expected to be equal.",
    cost="none",
    needs="records",
    find=_look_at_pairs,
)

BATCHES = Check[TrainedStudy](
    name="batches",
    when="after",
    severities=("note", "invalid"),
    sees="Two runs of a pair that were trained on other batches, or the same in another order (invalid). A note where "
    "the recipes make that unavoidable.",
    misses="Which batch was the first to differ.",
    cost="none",
    needs="records",
    find=_look_at_pairs,
)

HELD_OUT_TOKENS = Check[TrainedStudy](
    name="held-out tokens",
    when="after",
    severities=("invalid",),
    sees="Two runs of a pair that were scored on other tokens.",
    misses="Tokens that were scored twice.",
    cost="none",
    needs="records",
    find=_look_at_pairs,
)

ENVIRONMENT = Check[TrainedStudy](
    name="environment",
    when="after",
    severities=("doubt",),
    sees="Two runs of a pair with other versions of packages, on another kind of device, or by other code of paribus.",
    misses="Two machines of one kind. Drivers. Constants that a study file reads from environment variables or other "
    "files.",
    cost="none",
    needs="records",
    find=_look_at_pairs,
)


def find_unpaired(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Pairs whose two runs differ in initial weights, batches, scored tokens, packages, device or code."""
    baseline = records.get(BASELINE, {})
    before = study.arms[BASELINE]
    for arm, after in study.treatments.items():
        pairs = {
            seed: (baseline[seed].pairing, record.pairing)
            for seed, record in sorted(records.get(arm, {}).items())
            if record.status == "done" and seed in baseline and baseline[seed].status == "done"
        }
        if pairs:
            yield from _weights(arm, pairs, changed_sites(before.model, after.model))
            yield from _batches(arm, pairs, before.training, after.training)
            yield from _held_out(arm, pairs)
            yield from _environment(arm, pairs)


Pairs = dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Seed to the ``pairing`` blocks of the baseline's and the treatment's record."""


def _weights(arm: str, pairs: Pairs, changed: set[str]) -> Iterator[Finding]:
    shared, differing = 0, {}
    for seed, (one, other) in pairs.items():
        left, right = one.get("initial_weights", {}), other.get("initial_weights", {})
        names = [n for n in left if n in right and not any(lies_under(n, site) for site in changed)]
        shared = max(shared, len(names))
        if unequal := [name for name in names if left[name] != right[name]]:
            differing[seed] = unequal
    if differing:
        seed, names = max(differing.items(), key=lambda item: len(item[1]))
        yield Finding(
            check="initial weights",
            severity="doubt",
            message=f"{len(names)} of {write_count(shared, 'tensor')} that {arm!r} shares with the baseline start "
            f"differently (seed {seed}): {list_some(names)}",
            arm=arm,
            site=names[0].rpartition(".")[0] or "model",
            evidence={"shared": shared, "differing": len(names), "seeds": list(differing), "tensors": names},
            remedy="draw weights in reset_parameters(), from torch's default generator, by path and shape alone",
        )


def _batches(arm: str, pairs: Pairs, one: Training, other: Training) -> Iterator[Finding]:
    seeds = _unequal(pairs, "batches")
    if not seeds:
        return
    if reasons := [name for name in _RECIPE_OF_BATCHES if getattr(one, name) != getattr(other, name)]:
        yield Finding(
            check="batches",
            severity="note",
            message=f"{arm!r} and the baseline cannot see the same {write_count(len(pairs), 'sequence')} of batches: "
            f"their recipes differ in {', '.join(reasons)}",
            arm=arm,
            evidence={"seeds": seeds, "recipe": reasons},
            remedy="pairs are looser than they could be; expect a wider interval",
        )
        return
    yield Finding(
        check="batches",
        severity="invalid",
        message=f"in {len(seeds)} of {write_count(len(pairs), 'pair')} {arm!r} was trained on other batches than the "
        "baseline",
        arm=arm,
        evidence={"seeds": seeds, "pairs": len(pairs)},
        remedy="delete the folders of these runs and run again",
    )


def _held_out(arm: str, pairs: Pairs) -> Iterator[Finding]:
    if seeds := _unequal(pairs, "evaluation"):
        yield Finding(
            check="held-out tokens",
            severity="invalid",
            message=f"in {len(seeds)} of {write_count(len(pairs), 'pair')} {arm!r} was scored on other tokens than the "
            "baseline",
            arm=arm,
            evidence={"seeds": seeds, "pairs": len(pairs)},
            remedy="score all arms on the same windows: same corpus, same seq_len",
        )


def _environment(arm: str, pairs: Pairs) -> Iterator[Finding]:
    for key in ("packages", "device", "code"):
        if seeds := _unequal(pairs, key):
            one, other = pairs[seeds[0]]
            yield Finding(
                check="environment",
                severity="doubt",
                message=f"in {len(seeds)} of {write_count(len(pairs), 'pair')} {arm!r} ran with other {key} than the "
                f"baseline: {other.get(key)} against {one.get(key)}",
                arm=arm,
                evidence={"seeds": seeds, "pairs": len(pairs), "baseline": one.get(key), "treatment": other.get(key)},
                remedy="run both members of a pair in one environment",
            )


def _unequal(pairs: Pairs, key: str) -> list[int]:
    return [seed for seed, (one, other) in pairs.items() if one.get(key) != other.get(key)]
