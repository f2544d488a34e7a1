"""Arms that compute the same function of their weights and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.before.initialization import compare_deviations, write_ratio
from paribus.audits.checks import Check
from paribus.audits.instruments.models import by_order, by_path, draw_tokens, forward_exactly, randomize
from paribus.audits.instruments.observation import Observed
from paribus.design.study import BASELINE, Study
from paribus.store.records import Finding

SAME = 1e-9  # of the size of the logits
NEARLY = 1e-4

SAME_FUNCTION = Check[BuiltStudy](
    name="same function",
    when="before",
    severities=("note", "doubt"),
    sees="Two arms of different specs whose logits agree at equal weights, to 1e-9 (the same) or 1e-4 (nearly the "
    "same) of their size; doubt where it is the baseline's function and starts at another scale, since the verdict is "
    "then one on initial weights. A null arm that is not the baseline's function (doubt).",
    misses="The same function with its weights stored in another shape, order or scale, such as ordinary attention "
    "from separate projections in a class of your own. What differs in evaluation alone.",
    cost="two passes over two short sequences in float64",
    needs="models",
    find=lambda built: find_same_functions(built.study, built.outputs, built.observed),
)


def take_outputs(model: nn.Module, vocab_size: int, length: int) -> tuple[Tensor, ...]:
    """Logits of ``model`` (in float64) in training mode, on tokens that all arms share.

    With random weights matched by path, and with random weights matched by order: a norm that is written anew may name
    its gain otherwise. The weights of ``model`` are lost.
    """
    model.train()
    tokens = draw_tokens(vocab_size, 2, length, seed=0)
    outputs = []
    for naming in (by_path, by_order):
        randomize(model, 0, naming)
        outputs.append(forward_exactly(model, tokens))
    return tuple(outputs)


def find_same_functions(
    study: Study, outputs: Mapping[str, tuple[Tensor, ...]], seen: Mapping[str, Observed]
) -> Iterator[Finding]:
    """Arms of different specs and equal outputs, each once; and null arms that are not the baseline's function."""
    names = list(outputs)
    for index, name in enumerate(names):
        if name in study.null and BASELINE in outputs and (apart := _apart(outputs[BASELINE], outputs[name])) > SAME:
            yield _not_null(name, apart)
            continue
        for other in names[:index]:
            # Arms of one spec differ in their recipe alone, or not at all, which the check of sites has said.
            if study.arms[name].model == study.arms[other].model:
                continue
            apart = _apart(outputs[other], outputs[name])
            if apart <= NEARLY:
                starts = _other_starts(outputs, seen, name) if other == BASELINE else {}
                if starts or name not in study.null:
                    yield _same(other, name, apart, starts)
                break


def _other_starts(
    outputs: Mapping[str, tuple[Tensor, ...]], seen: Mapping[str, Observed], name: str
) -> dict[str, float]:
    """Tensors that start at another scale than the baseline's, paired as the weights were that gave equal outputs."""
    by_path = _relative(outputs[BASELINE][0], outputs[name][0]) if _fit(outputs[BASELINE][0], outputs[name][0]) else 1.0
    return compare_deviations(seen[name], seen[BASELINE], in_order=by_path > NEARLY)


def same_as_baseline(study: Study, outputs: Mapping[str, tuple[Tensor, ...]]) -> list[str]:
    """Treatments whose function is the baseline's, to ``SAME``."""
    if BASELINE not in outputs:
        return []
    return [name for name in outputs if name != BASELINE and _apart(outputs[BASELINE], outputs[name]) <= SAME]


def _apart(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> float:
    """Largest difference of the logits over their root mean square, by the matching of weights that fits better."""
    return min(_relative(x, y) if _fit(x, y) else torch.inf for x, y in zip(left, right, strict=True))


def _fit(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape


def _relative(x: Tensor, y: Tensor) -> float:
    scale = x.square().mean().sqrt().item()
    largest = (x - y).abs().nan_to_num(nan=torch.inf).max().item()
    return largest / scale if scale > 0 else (0.0 if largest == 0 else torch.inf)


def _same(one: str, other: str, apart: float, starts: Mapping[str, float]) -> Finding:
    exactly = apart <= SAME
    is_what = "the same function before training" if exactly else "nearly the same function before training"
    evidence = {"other": one, "relative_difference": apart, "same_below": SAME, "nearly_below": NEARLY}
    said = (
        f"{other!r} and {one!r} are {is_what}: at equal random weights their logits differ by {apart:.1e} of their size"
    )
    if starts:
        name, ratio = next(iter(starts.items()))
        return Finding(
            check="same function",
            severity="doubt",
            message=f"{said}. They start at other scales, {name} {write_ratio(ratio)}: this compares initial weights",
            arm=other,
            site=name.rpartition(".")[0] or "model",
            evidence={**evidence, "ratios": dict(starts)},
            remedy="let it start at the baseline's scale, which is a factor of its own; initialized(spec(...)) does so "
            "with weights that torch drew by default",
        )
    return Finding(
        check="same function",
        severity="note",
        message=said,
        arm=other,
        evidence=evidence,
        remedy="expect no difference but what initial weights, recipe, auxiliary losses or updates after a step make; "
        "was this the change that was meant?",
    )


def _not_null(arm: str, apart: float) -> Finding:
    return Finding(
        check="same function",
        severity="doubt",
        message=f"{arm!r} is declared null, but at equal random weights its logits differ from the baseline's by "
        f"{apart:.1e} of their size",
        arm=arm,
        evidence={"other": BASELINE, "relative_difference": apart, "same_below": SAME},
        remedy="take it out of null, or make it compute the baseline's function",
    )
