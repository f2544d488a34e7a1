"""Do the parts of a trained model still work: sizes of outputs and gradients, experts, weights that moved? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from paribus.audits.after.trained_study import ReadSteps, TrainedStudy, select_done
from paribus.audits.checks import Check
from paribus.design.study import BASELINE
from paribus.design.trees import changed_sites, lies_under
from paribus.design.wording import write_count
from paribus.judgement.evidence import Records
from paribus.judgement.registration import RegisteredStudy
from paribus.store.records import Finding, Record

OUT_OF_LINE, FAR_OUT = 10.0, 100.0  # larger or smaller than the baseline's
DEAD_SHARE = 0.25  # of a site's experts
ONE_FOR_ALL, FEW_EXPERTS = 0.90, 1.5  # share of one expert; effective number of experts
TOKENS_PER_EXPERT = 8  # scored: an expert that an even router leaves out by chance about once in 3,000

FIRST_STEPS = 5  # a term may be 0 in the very first ones by itself, such as a penalty on weights that start at 0

_MEASURED = {"output_rms": "outputs", "gradient_rms": "gradients"}

Loads = dict[str, dict[int, list[float]]]
"""Site to seed to the share of the assignments that each expert took at the last evaluation."""

SITE_NORMS = Check[TrainedStudy](
    name="site norms",
    when="after",
    severities=("note", "doubt"),
    sees="Sites whose outputs or gradients, after the last step, are more than 10 times larger or smaller than the "
    "baseline's at the same path in every pair (note); more than 100 times, at a site that does not change, in two "
    "pairs or more of equal recipes (doubt).",
    misses="Sites that one arm alone has. What happens earlier in training.",
    cost="one more micro-batch a run, without a step",
    needs="records",
    find=lambda trained: find_odd_sites(trained.study, trained.records),
)

UNMOVED_PARAMETERS = Check[TrainedStudy](
    name="unmoved parameters",
    when="after",
    severities=("note", "doubt"),
    sees="Trainable tensors whose bits are the initial ones at the end of every run: doubt where the baseline's at "
    "that site moved.",
    misses="A tensor of which a part moves, such as one expert of a stack.",
    cost="a digest of the weights",
    needs="records",
    find=lambda trained: find_unmoved_parameters(trained.study, trained.records),
)

ROUTING = Check[TrainedStudy](
    name="routing",
    when="after",
    severities=("note", "doubt"),
    sees="A router that sends more than 90 % of the assignments to one expert, or whose load is worth less than 1.5 "
    "experts (doubt in half of the runs or more). Experts without a token at the last evaluation: a doubt where it is "
    "more than a quarter of a site's in every run, and 8 tokens or more were scored for each expert.",
    misses="Parts of yours without a `load` in `diagnostics()`. Experts that are chosen and weigh nothing.",
    cost="none",
    needs="records",
    find=lambda trained: find_idle_experts(trained.study, trained.records),
)

LATE_AUXILIARY_LOSS = Check[TrainedStudy](
    name="late auxiliary loss",
    when="after",
    severities=("doubt",),
    sees="A treatment whose auxiliary losses are absent or 0 in the first five steps or more of every run and not "
    "later, where the baseline's are not so.",
    misses="A loss that sets in within five steps, or beside another one. Terms inside a model's own `loss`.",
    cost="reads steps.jsonl",
    needs="steps",
    find=lambda trained: find_late_auxiliary_losses(trained.study, trained.records, trained.read_steps),
)


def find_odd_sites(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Sites whose outputs or gradients are far larger or smaller than the baseline's there, in every pair."""
    for arm in study.treatments:
        pairs = _pairs(records, arm)
        gaps = {}  # site and quantity to the values of the pair that differs least
        for site, key in _measured_everywhere(pairs):
            values = [(one.sites[site][key], other.sites[site][key]) for one, other in pairs.values()]
            least = min(values, key=lambda pair: _ratio(*pair))
            if _ratio(*least) > OUT_OF_LINE:
                gaps[site, key] = least
        if gaps:
            yield _odd_sites(study, arm, gaps, len(pairs))


def find_unmoved_parameters(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Trainable tensors that ended with the bits they began with, in every run of an arm."""
    still = {arm: _still(select_done(records.get(arm, {}))) for arm in study.arms}
    for arm, sites in still.items():
        inner = [site for site in sites if not any(other != site and lies_under(other, site) for other in sites)]
        if not inner:
            continue
        site = max(inner, key=lambda path: sites[path])
        moved = arm != BASELINE and site in _sites_of(records.get(BASELINE, {})) and site not in still[BASELINE]
        yield Finding(
            check="unmoved parameters",
            severity="doubt" if moved else "note",
            message=f"{sites[site]:.0%} of the parameters of {arm!r} at {site or 'the model'} never moved from their "
            f"initial values in {write_count(len(select_done(records[arm])), 'run')}"
            + (", the baseline's there did" if moved else ""),
            arm=arm,
            site=site or "model",
            evidence={
                "share_unmoved": {path or "model": sites[path] for path in inner},
                "runs": len(select_done(records[arm])),
            },
            remedy="find what undoes or loses their updates; if they are constants, set requires_grad to False",
        )


def find_idle_experts(study: RegisteredStudy, records: Records) -> Iterator[Finding]:
    """Routers that send nearly everything to one expert, and experts to which nothing is sent."""
    for arm in study.arms:
        runs = select_done(records.get(arm, {}))
        loads = _loads(runs)
        collapsed = {site: _collapsed(of_seed) for site, of_seed in loads.items()}
        collapsed = {site: seeds for site, seeds in collapsed.items() if seeds}
        if collapsed:
            yield _collapse(arm, collapsed, loads)
        scored = min((int(sum(r.documents.get("tokens", ()))) for r in runs.values()), default=0)
        idle = {
            site: {seed: sum(share == 0 for share in load) for seed, load in of_seed.items()}
            for site, of_seed in loads.items()
            if site not in collapsed
        }
        if any(any(counts.values()) for counts in idle.values()):
            yield _idle(arm, idle, loads, scored)


def find_late_auxiliary_losses(study: RegisteredStudy, records: Records, read_steps: ReadSteps) -> Iterator[Finding]:
    """Treatments whose auxiliary loss is absent or 0 at first in every run and not later, unlike the baseline's."""
    late = {}
    for arm in study.arms:
        runs = select_done(records.get(arm, {}))
        found = {seed: _first_auxiliary(read_steps(record.digest)) for seed, record in runs.items()}
        began = {seed: step for seed, step in found.items() if step is not None and step > FIRST_STEPS}
        if runs and began.keys() == runs.keys():
            late[arm] = began
    for arm in study.treatments:
        if arm in late and BASELINE not in late:
            steps = late[arm].values()
            yield Finding(
                check="late auxiliary loss",
                severity="doubt",
                message=f"{arm!r} has no auxiliary loss in its first {min(steps) - 1} steps, and one from then on, in "
                f"{write_count(len(steps), 'run')}: no check before training can have seen it",
                arm=arm,
                site="model",
                evidence={"first_step": {str(seed): step for seed, step in late[arm].items()}},
                remedy="train the loss in an arm of its own, or give it to both arms",
            )


def _odd_sites(
    study: RegisteredStudy, arm: str, gaps: Mapping[tuple[str, str], tuple[float, float]], n_pairs: int
) -> Finding:
    before, after = study.arms[BASELINE], study.arms[arm]
    changed, same_recipe = changed_sites(before.model, after.model), before.training == after.training
    is_changed = {site: any(lies_under(site, above) for above in changed) for site, _ in gaps}
    untouched = [place for place in gaps if same_recipe and not is_changed[place[0]]]
    far = [place for place in untouched if n_pairs > 1 and _ratio(*gaps[place]) > FAR_OUT]
    site, key = max(far or gaps, key=lambda place: _ratio(*gaps[place]))
    there, here = gaps[site, key]
    times = f"{here / there:.2g} times" if there else "no multiple of"
    return Finding(
        check="site norms",
        severity="doubt" if far else "note",
        message=f"after training the {_MEASURED[key]} of {arm!r} at {site or 'the model'} have {times} the baseline's "
        f"size, {here:.2g} against {there:.2g}; off by more than {OUT_OF_LINE:.0f} in each of "
        f"{write_count(n_pairs, 'pair')}: {write_count(len(is_changed), 'site')}",
        arm=arm,
        site=site or "model",
        evidence={
            "sites": [
                {"site": at or "model", "what": what, "treatment": mine, "baseline": theirs, "changed": is_changed[at]}
                for (at, what), (theirs, mine) in gaps.items()
            ],
            "pairs": n_pairs,
        },
        remedy="look at the scale of what the changed part hands on; a learning rate that suits one arm may not suit "
        "the other",
    )


def _collapse(arm: str, collapsed: Mapping[str, list[int]], loads: Loads) -> Finding:
    site = max(collapsed, key=lambda path: len(collapsed[path]) / len(loads[path]))
    seeds, runs = collapsed[site], len(loads[site])
    load = loads[site][seeds[0]]
    return Finding(
        check="routing",
        severity="doubt" if 2 * len(seeds) >= runs else "note",
        message=f"the router of {arm!r} at {site or 'the model'} has collapsed in {len(seeds)} of "
        f"{write_count(runs, 'run')}: one expert of {len(load)} takes {max(load):.0%} of the assignments "
        f"(seed {seeds[0]})",
        arm=arm,
        site=site or "model",
        evidence={
            "collapsed": collapsed,
            "largest_share": {str(seed): max(loads[site][seed]) for seed in seeds},
            "effective_experts": {str(seed): _effective(loads[site][seed]) for seed in seeds},
            "runs": runs,
        },
        remedy="add a balance loss or a router bias; one expert for all is no mixture",
    )


def _idle(arm: str, idle: Mapping[str, Mapping[int, int]], loads: Loads, scored: int) -> Finding:
    def share(site: str) -> float:
        return min(count / len(loads[site][seed]) for seed, count in idle[site].items())

    site = max(idle, key=lambda path: (share(path), max(idle[path].values())))
    n_experts = len(next(iter(loads[site].values())))
    counts = fmean(idle[site].values())
    is_enough = scored >= TOKENS_PER_EXPERT * n_experts
    return Finding(
        check="routing",
        severity="doubt" if is_enough and share(site) > DEAD_SHARE else "note",
        message=f"{counts:.3g} of {n_experts} experts of {arm!r} at {site or 'the model'} got none of "
        f"{write_count(scored, 'scored token')}, on average over {write_count(len(idle[site]), 'run')}",
        arm=arm,
        site=site or "model",
        evidence={
            "idle_experts": {path: {str(seed): n for seed, n in of_seed.items()} for path, of_seed in idle.items()},
            "experts": {path: len(next(iter(of_seed.values()))) for path, of_seed in loads.items()},
            "scored_tokens": scored,
        },
        remedy="add a balance loss or a router bias, or ask for fewer experts: those that never fire are not trained",
    )


def _loads(runs: Mapping[int, Record]) -> Loads:
    """Only lists of two and more shares that sum to 1: a part of the user's may call something else its load."""
    found: Loads = {}
    for seed, record in runs.items():
        diagnostics = record.evaluations[-1].get("diagnostics", {}) if record.evaluations else {}
        for path, load in diagnostics.items():
            site, _, name = path.rpartition(".")
            is_list = name == "load" and isinstance(load, list) and len(load) > 1 and None not in load
            if is_list and abs(sum(load) - 1) < 0.01:
                found.setdefault(site, {})[seed] = load
    return found


def _collapsed(of_seed: Mapping[int, list[float]]) -> list[int]:
    return [seed for seed, load in of_seed.items() if max(load) > ONE_FOR_ALL or _effective(load) < FEW_EXPERTS]


def _effective(load: list[float]) -> float:
    """exp of the entropy of the load: how many experts would share as unevenly if they shared evenly."""
    return math.exp(-sum(share * math.log(share) for share in load if share > 0))


def _first_auxiliary(lines: list[dict[str, Any]]) -> int | None:
    """The first step with an auxiliary loss other than 0; None where there is none."""
    return next((line["step"] for line in lines if line.get("auxiliary_loss")), None)


def _still(runs: Mapping[int, Record]) -> dict[str, float]:
    """Site to the least share of its parameters that never moved, where there are some in every run."""
    found = {}
    for site in _sites_of(runs):
        shares = [record.sites.get(site, {}).get("unmoved") or 0.0 for record in runs.values()]
        if min(shares) > 0:
            found[site] = min(shares)
    return found


def _sites_of(runs: Mapping[int, Record]) -> list[str]:
    return list(dict.fromkeys(site for record in runs.values() for site in record.sites))


def _measured_everywhere(pairs: Mapping[int, tuple[Record, Record]]) -> Iterator[tuple[str, str]]:
    """Sites and quantities that every record of the pairs has as a number."""
    members = [record.sites for pair in pairs.values() for record in pair]
    for site in members[0] if members else ():
        for key in _MEASURED:
            if all(sites.get(site, {}).get(key) is not None for sites in members):
                yield site, key


def _ratio(one: float, other: float) -> float:
    """How many times the larger is the smaller; infinite where only one of them is 0."""
    low, high = sorted((one, other))
    if high == 0:
        return 1.0
    return high / low if low else math.inf


def _pairs(records: Records, arm: str) -> dict[int, tuple[Record, Record]]:
    baseline, treatment = select_done(records.get(BASELINE, {})), select_done(records.get(arm, {}))
    return {seed: (baseline[seed], record) for seed, record in treatment.items() if seed in baseline}
