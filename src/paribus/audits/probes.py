"""Models made ready for an experiment: built for an arm, with random weights, in float64, under fixed noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paribus.audits.sites import first_line
from paribus.errors import ParibusError, PartError, SpecError, TrainingError
from paribus.nn.contract import build_model, roles
from paribus.nn.precision import float64_arithmetic
from paribus.specs import Spec
from paribus.streams import derive
from paribus.study import Study

LONGEST, SHORTEST = 128, 32  # tokens in a probe, where the study trains on as many
_PROBE_OPERATIONS = 1e8  # parameters times tokens that one probe may take

Naming = Callable[[nn.Module], dict[str, tuple[Any, ...]]]
"""Model to the name of the random stream of each of its parameters."""


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Put the arm's name in front of what goes wrong inside; a user's own exception becomes a PartError."""
    try:
        yield
    except (SpecError, PartError, TrainingError) as error:
        joint = ", " if str(error).startswith("site ") else ": "  # a site goes on with the place
        raise type(error)(f"arm {arm!r}{joint}{error}") from error
    except ParibusError:
        raise
    except Exception as error:
        detail = " ".join([first_line(error), *getattr(error, "__notes__", ())])
        raise PartError(f"arm {arm!r}: {detail}") from error


def build_probe(study: Study, arm: str, vocab_size: int) -> tuple[nn.Module, int]:
    """The arm's model at its real sizes, and how many tokens a probe of it should have."""
    spec = study.arms[arm].model
    seq_len = study.arms[arm].training.seq_len
    model = build_model(spec, study.first_seed, vocab_size=vocab_size, seq_len=seq_len)
    affordable = int(_PROBE_OPERATIONS // max(1, sum(p.numel() for p in model.parameters())))
    length = min(seq_len, max(SHORTEST, min(LONGEST, affordable)))
    if length < seq_len and not _fixes_length(spec):
        model = build_model(spec, study.first_seed, vocab_size=vocab_size, seq_len=length)
    return model, seq_len if _fixes_length(spec) else length


def require_logits(model: nn.Module, vocab_size: int, length: int) -> None:
    """Raise PartError unless the model maps (B, T) tokens to (B, T, V) numbers.

    Inside ``naming_site`` the error names the part that is to blame.
    """
    logits = forward(model.train(), draw_tokens(vocab_size, 2, length, seed=0))
    expected = (2, length, vocab_size)
    if not isinstance(logits, Tensor):
        raise PartError(f"forward returns a {type(logits).__name__}, expected one tensor {expected}")
    if tuple(logits.shape) != expected or not logits.is_floating_point():
        raise PartError(
            f"forward returns {tuple(logits.shape)} of {logits.dtype} for {expected[:2]} tokens, "
            f"expected {expected} of a floating type"
        )


def draw_tokens(vocab_size: int, rows: int, length: int, seed: int) -> Tensor:
    """Random tokens, (B, T)."""
    generator = torch.Generator().manual_seed(derive(seed, "audit", "tokens"))
    return torch.randint(vocab_size, (rows, length), generator=generator)


def forward(model: nn.Module, tokens: Tensor, noise: int = 0) -> Any:
    """What the model says, its noise drawn from one fixed stream; its buffers stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad(), fixed_noise(noise):
        return functional_call(model, buffers, (tokens,))


def forward_exactly(model: nn.Module, tokens: Tensor, noise: int = 0) -> Tensor:
    """``forward`` of a model in float64, with its own casts to float32 left out."""
    with float64_arithmetic():
        return forward(model, tokens, noise)


@contextmanager
def fixed_noise(seed: int) -> Iterator[None]:
    """Draw from the stream ``seed`` inside; the generator outside does not move."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "audit", "noise"))
        yield


def by_path(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Two models get equal weights where path and shape are equal."""
    return {name: (name, tuple(p.shape)) for name, p in model.named_parameters()}


def by_order(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Two models get equal weights in their k-th tensor of each shape, whatever it is called."""
    seen: dict[tuple[int, ...], int] = {}
    names = {}
    for name, p in model.named_parameters():
        shape = tuple(p.shape)
        seen[shape] = seen.get(shape, 0) + 1
        names[name] = (seen[shape], shape)
    return names


@torch.no_grad()
def randomize(model: nn.Module, seed: int, naming: Naming = by_path) -> None:
    """Give every parameter a random value, so that no initial zero hides what a trained model would do.

    Matrices come from N(0, 1 / columns), embeddings from N(0, 1), vectors from U(0.5, 1.5): positive, since gains,
    temperatures and rates often must be.
    """
    role_of, stream_of = roles(model), naming(model)
    for name, p in model.named_parameters():
        generator = torch.Generator().manual_seed(derive(seed, "audit", "weights", str(stream_of[name])))
        if p.ndim < 2:
            p.copy_(torch.rand(p.shape, generator=generator, dtype=torch.float64) + 0.5)
        else:
            scale = 1.0 if role_of[name] == "embedding" else 1 / math.sqrt(p.shape[-1])
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale)


def _fixes_length(spec: Spec) -> bool:
    return any(dict(site.arguments).get("seq_len") is not None for site in (spec, *spec.sites().values()))
