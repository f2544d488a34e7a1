"""Sizes and costs of the arms, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.before.declared_changes import is_declared
from paribus.audits.checks import Check
from paribus.audits.instruments.costs import ArmFacts
from paribus.design.study import BASELINE, MATCHES, Study
from paribus.design.wording import write_count
from paribus.store.records import Finding

WORTH_SAYING, TOO_MUCH = 0.01, 0.05  # relative to the baseline
AT_EQUAL_SIZE = 0.15  # of the FLOPs: what two parts of equally many parameters may differ by

_COMPARED = {
    "parameters": "parameters",
    "active parameters": "active_parameters",
    "training FLOPs per token": "training_flops_per_token",
}


def _look_at_budget(built: BuiltStudy) -> Iterator[Finding]:
    active_parameters = {name: arm.cost("active_parameters") for name, arm in built.facts.items()}
    return find_budget(built.study, built.corpus.manifest["sides"]["train"]["tokens"], active_parameters)


MATCHING = Check[BuiltStudy](
    name="matching",
    when="before",
    severities=("note",),
    sees="A treatment that asked for a `match`: the width that was solved for, and what difference is left. One that "
    "no width brings within 0.5 %, or half a unit of the width, is an error.",
    misses="Whether the width that floats is the right one to ask of.",
    cost="about five constructions without memory; for FLOPs also five traced passes",
    needs="specs",
    find=lambda built: find_matches(built.study, built.facts),
)

PARAMETERS_AND_FLOPS = Check[BuiltStudy](
    name="parameters and FLOPs",
    when="before",
    severities=("note", "doubt"),
    sees="More than 1 % (note) or 5 % (doubt) more or fewer parameters, active parameters or training FLOPs per token "
    "than the baseline. Never more than a note for a treatment that was matched in another of them.",
    misses="Time and memory. FLOPs of elementwise work and of custom kernels, which the counter does not know.",
    cost="one forward and backward pass over one window",
    needs="specs",
    find=lambda built: find_mismatches(built.study, built.facts),
)

STATE_SIZE = Check[BuiltStudy](
    name="state size",
    when="before",
    severities=("note",),
    sees="More than 1 % more or fewer numbers kept of a sequence of the study's length while decoding: what "
    "`state_size(seq_len)` of each mixer says, else what its `step` returns, for every time it runs in a pass.",
    misses="A mixer with neither. What other parts keep. Memory of training.",
    cost="one more construction without memory; up to 128 steps of each mixer without `state_size`",
    needs="specs",
    find=lambda built: find_other_states(built.study, built.facts),
)

TOKENS_AND_STEPS = Check[BuiltStudy](
    name="tokens and steps",
    when="before",
    severities=("note", "doubt"),
    sees="More than 1 % (note) or 5 % (doubt, unless declared in `changes`) more or fewer training tokens or optimizer "
    "steps than the baseline.",
    misses="Tokens that are read and not trained on. Work inside a step.",
    cost="none",
    needs="specs",
    find=lambda built: find_other_amounts(built.study),
)

BUDGET = Check[BuiltStudy](
    name="budget",
    when="before",
    severities=("note", "doubt"),
    sees="Training tokens per active parameter, and passes over the training side: more than 20 are a doubt.",
    misses="How much of the text repeats within one pass.",
    cost="none",
    needs="corpus",
    find=_look_at_budget,
)


def find_matches(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments whose width was solved for: the width, and what difference is left."""
    for name, arm in study.treatments.items():
        if arm.match is None or arm.width is None:
            continue
        key = MATCHES[arm.match]
        what = key.replace("_", " ")
        here, there = facts[name].cost(key), facts[BASELINE].cost(key)
        widths = sorted({change.before for change in arm.model.diff(arm.model.replace(arm.width, 0))})
        yield Finding(
            check="matching",
            severity="note",
            message=f"{name!r} has {arm.width} = {', '.join(map(str, widths))}, solved for equal {what}: "
            f"{_pair(here, there)} of the baseline ({here / there - 1:+.3%})",
            arm=name,
            evidence={"match": arm.match, "width": arm.width, "solved": widths, "treatment": here, "baseline": there},
            remedy="none; the next width below and above are further away",
        )


def find_mismatches(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments that are larger or dearer than the baseline, or smaller or cheaper.

    A note where the study matched the treatment in something else: it said at which cost it asks.
    """
    for name, arm in facts.items():
        if name == BASELINE:
            continue
        quantities = {said: (arm.cost(key), facts[BASELINE].cost(key)) for said, key in _COMPARED.items()}
        if quantities["active parameters"] == quantities["parameters"]:
            del quantities["active parameters"]
        gaps = {what: (here - there) / there for what, (here, there) in quantities.items() if there}
        matched = study.treatments[name].match
        judged = {what: gap for what, gap in gaps.items() if not matched or _COMPARED[what] == MATCHES[matched]}
        if abs(gaps["parameters"]) <= WORTH_SAYING:  # equal sizes were asked for; one cannot always have both
            judged = {w: g for w, g in judged.items() if "FLOPs" not in w or abs(g) > AT_EQUAL_SIZE}
        told = {what: gap for what, gap in gaps.items() if abs(gap) > WORTH_SAYING}
        if told:
            said = " and ".join(f"{gap:+.1%} {what} ({_pair(*quantities[what])})" for what, gap in told.items())
            yield Finding(
                check="parameters and FLOPs",
                severity="doubt" if any(abs(gap) > TOO_MUCH for gap in judged.values()) else "note",
                message=f"{name!r} has {said}",
                arm=name,
                evidence={
                    **{f"{what}, relative": gap for what, gap in gaps.items()},
                    **{f"{what}, treatment": here for what, (here, _) in quantities.items()},
                    **{f"{what}, baseline": there for what, (_, there) in quantities.items()},
                },
                remedy="match the sizes, such as d_ff; or ask the question at equal cost, and say which cost",
            )


def find_other_states(study: Study, facts: Mapping[str, ArmFacts]) -> Iterator[Finding]:
    """Treatments that remember more of a sequence, or less, than the baseline does."""
    there = facts[BASELINE].state_size
    for name in study.treatments:
        here = facts[name].state_size
        if here is None or there is None or abs(here - there) <= WORTH_SAYING * there:
            continue
        gap = f" ({here / there - 1:+.1%})" if there else ""
        yield Finding(
            check="state size",
            severity="note",
            message=f"{name!r} keeps {_pair(here, there)} numbers of a sequence of "
            f"{write_count(study.training.seq_len, 'token')} while decoding{gap}",
            arm=name,
            evidence={"treatment": here, "baseline": there, "seq_len": study.training.seq_len},
            remedy="say at which memory the question is asked",
        )


def find_other_amounts(study: Study) -> Iterator[Finding]:
    """Treatments that are trained on more tokens or in more steps than the baseline, or fewer.

    More than a note where a change of the recipe that makes the difference is not declared in ``changes``.
    """
    for name, arm in study.arms.items():
        here, there = arm.training, study.training
        amounts = {"training tokens": (here.trained_tokens, there.trained_tokens), "steps": (here.steps, there.steps)}
        gaps = {what: (mine - base) / base for what, (mine, base) in amounts.items()}
        told = {what: gap for what, gap in gaps.items() if abs(gap) > WORTH_SAYING}
        if not told:
            continue
        causes = [c.path for c in there.diff(here) if c.path in ("training.tokens", "training.batch_tokens")]
        declared = all(is_declared(path, study.changes.get(name, ())) for path in causes)
        large = any(abs(gap) > TOO_MUCH for gap in told.values())
        said = " and ".join(f"{gap:+.1%} {what} ({_pair(*amounts[what])})" for what, gap in told.items())
        yield Finding(
            check="tokens and steps",
            severity="doubt" if large and not declared else "note",
            message=f"{name!r} has {said}",
            arm=name,
            site=causes[0],
            evidence={
                **{f"{what}, relative": gap for what, gap in gaps.items()},
                **{f"{what}, treatment": mine for what, (mine, _) in amounts.items()},
                **{f"{what}, baseline": base for what, (_, base) in amounts.items()},
            },
            remedy=f"train all arms alike, or declare it: changes={{{name!r}: ({', '.join(map(repr, causes))},)}}",
        )


def _pair(here: float, there: float) -> str:
    return f"{here:,.0f} against {there:,.0f}"


MANY_PASSES = 20  # a repeated token's worth falls by e in some 15 passes: Muennighoff et al. 2023, arXiv:2305.16264


def find_budget(study: Study, corpus_tokens: int, active_parameters: Mapping[str, float]) -> Iterator[Finding]:
    """Training tokens per active parameter and passes over the ``corpus_tokens`` of the training side.

    ``active_parameters`` are those of each arm. The arm that sees most tokens stands for the study.
    """
    tokens = {name: arm.training.trained_tokens for name, arm in study.arms.items()}
    most = max(tokens, key=lambda name: tokens[name])  # the baseline, where all see as many
    passes = tokens[most] / corpus_tokens
    per_parameter = tokens[most] / active_parameters[most]
    yield Finding(
        check="budget",
        severity="doubt" if passes > MANY_PASSES else "note",
        message=f"{tokens[most]:,} training tokens are {per_parameter:.2g} per active parameter of {most!r} and "
        f"{passes:.2g} passes over the training side",
        evidence={
            "tokens": tokens,
            "active_parameters": dict(active_parameters),
            "tokens_per_active_parameter": {name: tokens[name] / active_parameters[name] for name in tokens},
            "passes": {name: count / corpus_tokens for name, count in tokens.items()},
            "corpus_tokens": corpus_tokens,
        },
        remedy=f"take a larger corpus or fewer tokens: after {MANY_PASSES} passes arms differ in what they memorise"
        if passes > MANY_PASSES
        else "",
    )
