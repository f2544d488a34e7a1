"""Arms that compute the same function of their weights and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from paribus.audits.before.built_study import BuiltStudy
from paribus.audits.checks import Check
from paribus.audits.instruments.models import by_order, by_path, draw_tokens, forward_exactly, randomize
from paribus.design.study import BASELINE, Study
from paribus.store.records import Finding

SAME = 1e-9  # of the size of the logits
NEARLY = 1e-4

SAME_FUNCTION = Check[BuiltStudy](
    name="same function",
    when="before",
    severities=("note", "doubt"),
    sees="Two arms of different specs whose logits agree at equal weights, to 1e-9 (the same) or 1e-4 (nearly the "
    "same) of their size. A null arm that is not the baseline's function (doubt).",
    misses="The same function with its weights stored in another shape, order or scale, such as ordinary attention "
    "from separate projections in a class of your own. What differs in evaluation alone.",
    cost="two passes over two short sequences in float64",
    needs="models",
    find=lambda built: find_same_functions(built.study, built.outputs),
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


def find_same_functions(study: Study, outputs: Mapping[str, tuple[Tensor, ...]]) -> Iterator[Finding]:
    """Arms of different specs and equal outputs, each once; and null arms that are not the baseline's function."""
    names = list(outputs)
    for index, name in enumerate(names):
        if name in study.null:
            if BASELINE in outputs and (apart := _apart(outputs[BASELINE], outputs[name])) > SAME:
                yield _not_null(name, apart)
            continue
        for other in names[:index]:
            # Arms of one spec differ in their recipe alone, or not at all, which the check of sites has said.
            apart = (
                torch.inf
                if study.arms[name].model == study.arms[other].model
                else _apart(outputs[other], outputs[name])
            )
            if apart <= NEARLY:
                yield _same(other, name, apart)
                break


def same_as_baseline(study: Study, outputs: Mapping[str, tuple[Tensor, ...]]) -> list[str]:
    """Treatments whose function is the baseline's, to ``SAME``."""
    if BASELINE not in outputs:
        return []
    return [name for name in outputs if name != BASELINE and _apart(outputs[BASELINE], outputs[name]) <= SAME]


def _apart(left: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> float:
    """Largest difference of the logits over their root mean square, by the matching of weights that fits better."""
    pairs = list(zip(left, right, strict=True))
    return min(_relative(x, y) if x.shape == y.shape else torch.inf for x, y in pairs)


def _relative(x: Tensor, y: Tensor) -> float:
    scale = x.square().mean().sqrt().item()
    largest = (x - y).abs().nan_to_num(nan=torch.inf).max().item()
    return largest / scale if scale > 0 else (0.0 if largest == 0 else torch.inf)


def _same(one: str, other: str, apart: float) -> Finding:
    exactly = apart <= SAME
    is_what = "the same function before training" if exactly else "nearly the same function before training"
    return Finding(
        check="same function",
        severity="note",
        message=f"{other!r} and {one!r} are {is_what}: at equal random weights their logits differ by {apart:.1e} "
        "of their size",
        arm=other,
        evidence={"other": one, "relative_difference": apart, "same_below": SAME, "nearly_below": NEARLY},
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
