"""Arms that train to the baseline's bits: a part that never got there, or a change that changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from paribus.audits.observation import Observed
from paribus.audits.probes import draw_tokens, fixed_noise
from paribus.nn.contract import build_model, roles
from paribus.records import Finding
from paribus.study import BASELINE, Study
from paribus.training.loop import gather_auxiliary, model_loss
from paribus.training.optim import build_optimizer

STEPS = 3
_ROWS = 2


def find_substitutes(study: Study, same: Iterable[str], seen: Mapping[str, Observed]) -> Iterator[Finding]:
    """Of the arms ``same`` that compute the baseline's function: those whose first steps have the baseline's bits.

    Trained from the real initial weights with the real optimizer, on windows as long as the study's.
    Arms with a recipe of their own, declared null, or of the baseline's very spec, are left out.
    """
    for name in same:
        arm = study.arms[name]
        if name in study.null or arm.training != study.training or arm.model == study.baseline:
            continue
        pairs = zip(_train(study, seen[BASELINE]), _train(study, seen[name]), strict=True)
        if all(torch.equal(left, right) for left, right in pairs):
            yield Finding(
                check="silent substitute",
                severity="invalid",
                message=f"{name!r} trains to the baseline's bits: its logits are equal before and after each of "
                f"{STEPS} steps, though its spec differs",
                arm=name,
                evidence={"steps": STEPS, "largest_difference": 0.0},
                remedy="look for a fallback to the baseline's part, or an argument that nothing reads; if it is meant "
                f"to be the same, declare it: Study(null=({name!r},))",
            )


def _train(study: Study, arm: Observed) -> Iterator[Tensor]:
    """Logits of ``arm`` before and after each of its first steps by the study's recipe, in training mode."""
    training = study.training
    model = build_model(arm.spec, study.first_seed, vocab_size=arm.vocab_size, seq_len=training.seq_len).train()
    optimizer = build_optimizer(training.optimizer, model, roles(model))
    shown = draw_tokens(arm.vocab_size, _ROWS, training.seq_len, seed=STEPS)
    yield _say(model, shown)
    for step in range(STEPS):
        tokens = draw_tokens(arm.vocab_size, _ROWS, training.seq_len + 1, seed=step)
        with fixed_noise(step):
            loss = model_loss(model, tokens[:, :-1], tokens[:, 1:])
            (loss + sum(gather_auxiliary(model).values())).backward()
        if training.clip is not None:
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], training.clip)
        optimizer.step()
        optimizer.zero_grad()
        for module in model.modules():
            if hasattr(module, "after_step"):
                module.after_step()
        yield _say(model, shown)


def _say(model: nn.Module, tokens: Tensor) -> Tensor:
    with torch.no_grad(), fixed_noise(0):
        return model(tokens)
