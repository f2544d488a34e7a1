"""What a built model shows of itself at its real initial weights: noise, types, kernels, scales, groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paribus.audits.instruments.models import Probe, draw_tokens, fixed_noise
from paribus.audits.instruments.process_settings import plain_settings
from paribus.audits.instruments.sites import is_foreign
from paribus.design.recipe import Training
from paribus.design.specs import Spec
from paribus.nn.contract import build_model, roles
from paribus.nn.operations import WatchOperations
from paribus.nn.slots import parts_of
from paribus.training.isolation import preserving
from paribus.training.objective import cross_entropy, model_loss
from paribus.training.optim import build_optimizer
from paribus.training.step import accumulate_gradients, gather_auxiliary, run_after_step, update_weights

_ROWS = 3
_FEW = 64  # numbers below which a standard deviation says little
APART = 1e-4  # relative; from where on a model's own loss is not the cross-entropy of its logits

_aten = torch.ops.aten

KERNELS = {
    _aten._scaled_dot_product_flash_attention_for_cpu: "scaled dot product attention",
    _aten._scaled_dot_product_flash_attention: "scaled dot product attention",
    _aten._scaled_dot_product_efficient_attention: "scaled dot product attention",
    _aten._scaled_dot_product_cudnn_attention: "scaled dot product attention",
    _aten.native_layer_norm: "layer norm",
    _aten._fused_rms_norm: "RMS norm",
    _aten.native_group_norm: "group norm",
    _aten.native_batch_norm: "batch norm",
    _aten.convolution: "convolution",
    _aten.lstm: "LSTM",
    _aten.gru: "GRU",
}
"""Operations that do in one kernel what a part may also write out, by packet."""

_CHOOSING = {_aten.topk, _aten.argmax, _aten.sort, _aten.max, _aten.argsort}
_GUARDS = {_aten.nan_to_num, _aten.nan_to_num_}
_DROPS_IN_ATTENTION = {packet for packet, said in KERNELS.items() if said == "scaled dot product attention"}


@dataclass(frozen=True)
class Observed:
    """One arm, as built.

    Args:
        spec, vocab_size, length: what it was built from and tried with, as in its probe.
        slots: what slot each of its parts fills, by path.
        deviations: standard deviation of each tensor's initial weights, by path and shape, 0 of constant ones; those
            that are small are left out.
        torch_defaults: paths of the tensors of each part that are what torch drew by default, by path of the part.
        loudness: root mean square of what each part returns, by path.
        gains: matrices by their shape whose initial numbers are all the same one, other than 0.
        settings: of the optimizer's group that each tensor is in, by path and shape.
        types: of each tensor that is not float32, by path.
        computed: types other than float32 in which activations are computed, by path of the module.
        noisy, still_noisy: paths of the modules that draw noise in training, and in evaluation.
        choosing: those of them that also choose, such as a router.
        guarded: paths of the modules that put a number in place of what is not finite.
        kernels: what is done in one kernel.
        built, passed: settings of the process that the construction moved, and a forward pass.
        reseeded: whether a forward pass sets the seed of torch's generator.
        after_step, in_evaluation: how far what the model does after a step, and when it is evaluated, moves each
            tensor of its weights, over the tensor's norm; those it moves alone.
    """

    spec: Spec
    vocab_size: int
    length: int
    slots: Mapping[str, str]
    deviations: Mapping[tuple[str, tuple[int, ...]], float]
    torch_defaults: Mapping[str, tuple[str, ...]]
    loudness: Mapping[str, float]
    gains: tuple[str, ...]
    settings: Mapping[tuple[str, tuple[int, ...]], Mapping[str, Any]]
    types: Mapping[str, str]
    computed: Mapping[str, str]
    noisy: tuple[str, ...]
    still_noisy: tuple[str, ...]
    choosing: tuple[str, ...]
    guarded: tuple[str, ...]
    kernels: tuple[str, ...]
    built: Mapping[str, str]
    passed: Mapping[str, str]
    reseeded: bool
    after_step: Mapping[str, float] = field(default_factory=dict)
    in_evaluation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """What an arm is trained on, at random weights.

    Args:
        own: its own ``loss``; None where it has none.
        cross_entropy: of its logits, in nats per token; None where it has no loss of its own.
        auxiliary: size of every auxiliary term, by path and name.
        idle: those of them that carry no gradient.
    """

    own: float | None
    cross_entropy: float | None
    auxiliary: Mapping[str, float]
    idle: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """How far the model's own loss is from the cross-entropy, relatively; 0 where it has none."""
        if self.own is None or self.cross_entropy is None:
            return 0.0
        return abs(self.own - self.cross_entropy) / abs(self.cross_entropy)


def observe(probe: Probe, training: Training) -> Observed:
    """Look at the model of ``probe``, which has its real initial weights, in one to three short forward passes."""
    model = probe.model
    tokens = draw_tokens(probe.vocab_size, _ROWS, probe.length, seed=0)
    with plain_settings() as passed:
        seen = _pass(model.train(), tokens, noise=0)
        noisy, still_noisy, reseeded = {}, {}, False
        if seen.noisy or seen.states[0] != seen.states[1]:
            again = _pass(model, tokens, noise=1)
            reseeded = seen.states[1] == again.states[1]
            if reseeded or not torch.equal(seen.logits, again.logits):
                noisy = seen.noisy
            still_noisy = _pass(model.eval(), tokens, noise=0).noisy
            model.train()
    after_step, in_evaluation = _moved_weights(probe, training)
    return Observed(
        spec=probe.spec,
        vocab_size=probe.vocab_size,
        length=probe.length,
        slots={path: str(part.paribus_slot) for path, part in parts_of(model).items()},
        deviations=_deviations(model),
        torch_defaults={
            path: names
            for path, part in parts_of(model).items()
            if (names := getattr(part, "paribus_torch_defaults", ()))
        },
        loudness=seen.loudness,
        gains=_gains(model),
        settings=_settings(model, training),
        types={name: str(p.dtype) for name, p in model.named_parameters() if p.dtype is not torch.float32},
        computed=seen.computed,
        noisy=tuple(noisy),
        still_noisy=tuple(still_noisy),
        choosing=tuple(path for path in noisy if path in seen.choosing),
        guarded=tuple(seen.guarded),
        kernels=tuple(sorted(seen.kernels)),
        built=probe.moved,
        passed=dict(passed),
        reseeded=reseeded,
        after_step=after_step,
        in_evaluation=in_evaluation,
    )


def find_noise(spec: Spec, vocab_size: int, length: int) -> tuple[str, ...]:
    """Paths of the modules that draw noise in training in a model of ``spec``, whether it matters or not."""
    model = build_model(spec, 0, vocab_size=vocab_size, seq_len=length)
    return tuple(_pass(model.train(), draw_tokens(vocab_size, _ROWS, length, seed=0), noise=0).noisy)


def measure_objective(model: nn.Module, vocab_size: int, length: int) -> Objective | None:
    """What ``model``, at the weights it has, is trained on; None where that is the cross-entropy and nothing else.

    Every second target is the token that the model holds likeliest. Targets drawn at random alone would move what is
    smoothed by their sampling noise only: their expected logit is the mean one.
    """
    owns, has_terms = hasattr(model, "loss"), any(hasattr(module, "aux") for module in model.modules())
    if not owns and not has_terms:
        return None
    tokens = draw_tokens(vocab_size, _ROWS, length + 1, seed=0)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    model.train()
    entropy = None
    with preserving(model):
        if owns:
            with torch.no_grad(), fixed_noise(0):
                logits = model(inputs)
            targets[:, ::2] = logits.argmax(-1)[:, ::2]
            entropy = cross_entropy(logits, targets).item()
        with fixed_noise(0):
            own = model_loss(model, inputs, targets).item()
            terms = {name.lstrip("."): term for name, term in gather_auxiliary(model).items()}
    idle = tuple(name for name, term in terms.items() if not term.requires_grad)
    return Objective(own if owns else None, entropy, {name: term.item() for name, term in terms.items()}, idle)


@dataclass
class _Seen:
    """What one forward pass shows; ``states`` are those of torch's generator before and after it."""

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    states: tuple[bytes, bytes] = (b"", b"")
    noisy: dict[str, None] = field(default_factory=dict)
    choosing: set[str] = field(default_factory=set)
    guarded: dict[str, None] = field(default_factory=dict)
    kernels: set[str] = field(default_factory=set)
    computed: dict[str, str] = field(default_factory=dict)
    loudness: dict[str, float] = field(default_factory=dict)


def _pass(model: nn.Module, tokens: Tensor, noise: int) -> _Seen:
    seen, open_calls = _Seen(), [""]
    with torch.no_grad(), preserving(model), fixed_noise(noise):
        before = _generator_state()
        with _hooked(model, seen, open_calls), _note_operations(seen, open_calls, tokens):
            seen.logits = model(tokens)
        seen.states = before, _generator_state()
    return seen


def _generator_state() -> bytes:
    return torch.get_rng_state().numpy().tobytes()


@contextmanager
def _hooked(model: nn.Module, seen: _Seen, open_calls: list[str]) -> Iterator[None]:
    """Keep the path of the innermost running module at the end of ``open_calls``, and measure what parts return."""
    parts = parts_of(model)

    def enter(path: str) -> Any:
        return lambda module, args: open_calls.append(path)

    def leave(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            open_calls.pop()
            if path in parts and isinstance(output, Tensor) and output.is_floating_point():
                seen.loudness.setdefault(path, output.float().square().mean().sqrt().item())

        return hook

    handles = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(enter(path)), module.register_forward_hook(leave(path))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_operations(seen: _Seen, open_calls: list[str], tokens: Tensor) -> WatchOperations:
    """Write down which modules draw noise, choose, compute in another type, or use a fused kernel."""

    def note(func: Any, args: Any, kwargs: Any, out: Any) -> None:
        path, packet = open_calls[-1], func.overloadpacket
        if packet in KERNELS:
            seen.kernels.add(KERNELS[packet])
        if packet in _GUARDS:
            seen.guarded[path] = None
        if packet in _CHOOSING:
            seen.choosing.add(path)
        if torch.Tag.nondeterministic_seeded in func.tags and not _drops_nothing(func, args, kwargs):
            seen.noisy[path] = None
        if isinstance(out, Tensor) and _is_activation(out, *tokens.shape) and out.dtype is not torch.float32:
            seen.computed.setdefault(path, str(out.dtype).removeprefix("torch."))

    return WatchOperations(note)


def _is_activation(x: Tensor, b: int, t: int) -> bool:
    """A table of angles, (T, K), may be as exact as it likes."""
    if not x.is_floating_point():
        return False
    return x.numel() >= b * t and (x.shape[0] in (b, b * t) or (x.ndim > 2 and b in x.shape[:2]))


def _drops_nothing(func: Any, args: Any, kwargs: Any) -> bool:
    """Fused attention counts as random whatever its dropout is."""
    if func.overloadpacket not in _DROPS_IN_ATTENTION:
        return False
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return not given.get("dropout_p")


def _moved_weights(probe: Probe, training: Training) -> tuple[dict[str, float], dict[str, float]]:
    """How far ``after_step`` and the change to evaluation and back move the weights; {} where the user has neither.

    The second of two real steps makes an average differ that the first one began.
    """
    after_step: dict[str, float] = {}
    if not any(_is_written(module, name) for module in probe.model.modules() for name in _BESIDE_THE_OPTIMIZER):
        return after_step, {}
    model = probe.build(0).train()
    optimizer = build_optimizer(training.optimizer, model, roles(model))
    for step in range(2):
        tokens = draw_tokens(probe.vocab_size, _ROWS, probe.length + 1, seed=step)
        with fixed_noise(step):
            accumulate_gradients(model, tokens[:, :-1], tokens[:, 1:], _ROWS)
            update_weights(optimizer)
            before = _copy_weights(model)
            run_after_step(model)
        after_step.update(_moves(before, model))
    before = _copy_weights(model)
    there = _moves(before, model.eval())
    return after_step, {**_moves(before, model.train()), **there}


_BESIDE_THE_OPTIMIZER = ("after_step", "train", "eval")


def _is_written(module: nn.Module, method: str) -> bool:
    owner = next((cls for cls in type(module).__mro__ if method in vars(cls)), None)
    return owner is not None and is_foreign(owner)


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def _moves(before: Mapping[str, Tensor], model: nn.Module) -> dict[str, float]:
    now = {name: p.detach() for name, p in model.named_parameters()}
    return {
        name: ((now[name] - was).norm() / was.norm().clamp(min=1e-30)).item()
        for name, was in before.items()
        if name in now and not torch.equal(now[name], was)
    }


def _deviations(model: nn.Module) -> dict[tuple[str, tuple[int, ...]], float]:
    found = {}
    for name, p in model.named_parameters():
        if p.numel() >= _FEW and p.is_floating_point():
            found[name, tuple(p.shape)] = p.detach().float().std().item()
    return found


def _gains(model: nn.Module) -> tuple[str, ...]:
    role_of = roles(model)
    firsts = {name: p.detach().flatten()[:1] for name, p in model.named_parameters() if role_of[name] == "matrix"}
    return tuple(name for name, first in firsts.items() if first.any() and (model.get_parameter(name) == first).all())


def _settings(model: nn.Module, training: Training) -> dict[tuple[str, tuple[int, ...]], dict[str, Any]]:
    optimizer = build_optimizer(training.optimizer, model, roles(model))
    of_parameter = {}
    for group in optimizer.param_groups:
        settings = {name: value for name, value in group.items() if _is_setting(value)}
        of_parameter.update({id(p): settings for p in group["params"]})
    # Parameters that are frozen have no group.
    return {
        (name, tuple(p.shape)): of_parameter[id(p)] for name, p in model.named_parameters() if id(p) in of_parameter
    }


def _is_setting(value: Any) -> bool:
    """A number, a text, nothing, or a tuple of these: a list of parameters or of their names is none."""
    if isinstance(value, tuple):
        return all(map(_is_setting, value))
    return isinstance(value, bool | int | float | str | None)
