"""Models made ready for an experiment: built for an arm, with random weights, in float64, under fixed noise."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paribus.audits.instruments.process_settings import plain_settings
from paribus.audits.instruments.sites import first_line
from paribus.design.specs import Spec
from paribus.design.streams import derive
from paribus.design.study import Study
from paribus.errors import ParibusError, PartError, SpecError, StudyError, TrainingError
from paribus.nn.contract import build_model, roles
from paribus.nn.noise import seeded
from paribus.nn.operations import WatchOperations
from paribus.nn.precision import float64_arithmetic

LONGEST, SHORTEST = 128, 32  # tokens in a probe, where the study trains on as many
_LARGE = 5_000_000  # parameters of a model
_FEW_TOKENS = 512  # in the vocabulary with which it is tried
_PROBE_OPERATIONS = 1e8  # parameters times tokens that one probe may take

Naming = Callable[[nn.Module], dict[str, tuple[Any, ...]]]
"""Model to the name of the random stream of each of its parameters."""


@contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Put the arm's name in front of what goes wrong inside; a user's own exception becomes a PartError.

    What the arm's parts set for the whole process is put back afterwards, before the next arm is looked at.
    """
    try:
        with plain_settings():
            yield
    except (SpecError, StudyError, PartError, TrainingError) as error:
        joint = ", " if str(error).startswith("site ") else ": "  # a site goes on with the place
        error.args = (f"arm {arm!r}{joint}{error}",)
        raise
    except ParibusError:
        raise
    except Exception as error:
        detail = " ".join([first_line(error), *getattr(error, "__notes__", ())])
        raise PartError(f"arm {arm!r}: {detail}") from error


@dataclass(frozen=True)
class Probe:
    """An arm's model made ready to be tried.

    Args:
        model: as built, with the study's first seed.
        spec: what it was built from: the arm's, or its first blocks alone.
        vocab_size, length: of the tokens that it is tried with.
        moved: settings of the whole process that its construction changed.
    """

    model: nn.Module
    spec: Spec
    vocab_size: int
    length: int
    moved: Mapping[str, str] = field(default_factory=dict)

    def build(self, seed: int) -> nn.Module:
        """The same model anew."""
        return build_model(self.spec, seed, vocab_size=self.vocab_size, seq_len=self.length)


def build_probes(study: Study, vocab_size: int, n_parameters: Mapping[str, float]) -> Iterator[tuple[str, Probe]]:
    """The probe of every arm, by name; ``n_parameters`` are those of the arms.

    They are tried with few tokens in the vocabulary, as the head would take half of the time. Where an arm is large,
    all are tried without the blocks that repeat earlier ones: what a block leaks, its copy leaks too.
    """
    specs = {name: arm.model for name, arm in study.arms.items()}
    if max(n_parameters.values()) > _LARGE:
        specs = drop_repeated_blocks(specs)
    for name, spec in specs.items():
        seq_len = study.arms[name].training.seq_len
        vocabulary = vocab_size if _fixes("vocab_size", spec) else min(vocab_size, _FEW_TOKENS)
        with blaming(name):
            length = seq_len
            if not _fixes("seq_len", spec):
                affordable = int(_PROBE_OPERATIONS // max(1, n_parameters[name]))
                length = min(seq_len, max(SHORTEST, min(LONGEST, affordable)))
            with plain_settings() as moved:
                model = build_model(spec, study.first_seed, vocab_size=vocabulary, seq_len=length)
        yield name, Probe(model, spec, vocabulary, length, dict(moved))


def drop_repeated_blocks(specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """Every model with only so many blocks of each stack that no arm loses a block unlike those before it.

    A stack is a tuple of specs among a model's arguments. One whose parts are told their ``layer`` stays whole.
    """
    needed: dict[str, int] = {}
    stacks = {
        arm: {
            name: value
            for name, value in model.arguments
            if isinstance(value, tuple) and value and all(isinstance(item, Spec) for item in value)
        }
        for arm, model in specs.items()
    }
    for of_model in stacks.values():
        for name, blocks in of_model.items():
            parts = [part for block in blocks for part in (block, *block.sites().values())]
            layered = any("layer" in inspect.signature(part.cls).parameters for part in parts)
            last_new = len(blocks) if layered else 1 + max(blocks.index(block) for block in blocks)
            needed[name] = max(needed.get(name, 0), last_new)
    return {
        arm: replace(model, arguments=tuple((n, v[: needed[n]] if n in stacks[arm] else v) for n, v in model.arguments))
        for arm, model in specs.items()
    }


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


def fixed_noise(seed: int) -> AbstractContextManager[None]:
    """Draw from the audits' stream ``seed`` inside; the generator outside does not move."""
    return seeded(derive(seed, "audit", "noise"))


def constant_noise() -> AbstractContextManager[Any]:
    """Inside, whatever is drawn at random is the same everywhere: all are kept, all are 0.5."""
    return WatchOperations(_make_constant)


def _make_constant(func: Any, args: Any, kwargs: Any, out: Any) -> None:
    if torch.Tag.nondeterministic_seeded in func.tags and isinstance(out, Tensor) and out.is_floating_point():
        if func.overloadpacket in _DRAWS_MASKS:
            out.fill_(1.0)
        elif func.overloadpacket in _DRAWS_NUMBERS:
            out.fill_(0.5)


_aten = torch.ops.aten
_DRAWS_MASKS = {_aten.bernoulli, _aten.bernoulli_}
_DRAWS_NUMBERS = {
    *(_aten.rand, _aten.rand_like, _aten.uniform, _aten.uniform_, _aten.exponential, _aten.exponential_),
    *(_aten.randn, _aten.randn_like, _aten.normal, _aten.normal_),
}


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
            p.copy_(torch.randn(p.shape, generator=generator) * scale)  # float64 takes five times as long


def _fixes(name: str, spec: Spec) -> bool:
    return any(dict(site.arguments).get(name) is not None for site in (spec, *spec.sites().values()))
