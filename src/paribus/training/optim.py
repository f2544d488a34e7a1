"""Optimizers, and how a spec of one meets the parameters of a model.

An optimizer is any class whose constructor takes parameter groups first, as in ``torch.optim``. A class whose
constructor has an argument ``roles`` gets named parameters and their roles instead and splits them itself; with an
argument ``blocks`` it is also told which of them hold several matrices side by side.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paribus.design.specs import Spec
from paribus.errors import TrainingError

ROLES_WITH_DECAY = ("embedding", "head", "matrix")
_STACKED = 2**24  # numbers that Muon stacks: a stack of all experts and its intermediates would be the peak of memory


class Blocks(Protocol):
    """Matrices side by side in one: the rows of each where ``dim`` is 0, the columns where it is 1."""

    @property
    def dim(self) -> int: ...

    @property
    def indices(self) -> Sequence[Sequence[int]]: ...


NO_BLOCKS: Mapping[str, Blocks] = MappingProxyType({})


def build_optimizer(
    optimizer: Spec, model: nn.Module, roles: Mapping[str, str], blocks: Mapping[str, Blocks] = NO_BLOCKS
) -> Any:
    """Build ``optimizer`` over the parameters of ``model``.

    Weight decay, where the class has it, applies to embeddings, heads and matrices, not to norms and vectors.
    The fused implementation is used where the class has one.
    Raises TrainingError when the class refuses the parameters.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    signature, arguments = inspect.signature(optimizer.cls).parameters, dict(optimizer.arguments)
    try:
        if "roles" in signature:
            told = {"blocks": blocks} if "blocks" in signature else {}
            return optimizer.cls(named, roles=roles, **told, **arguments)
        if "fused" in signature:
            arguments.setdefault("fused", True)
        groups: Any = [p for _, p in named]
        if "weight_decay" in signature:
            groups = [
                {"params": [p for name, p in named if roles[name] in ROLES_WITH_DECAY]},
                {"params": [p for name, p in named if roles[name] not in ROLES_WITH_DECAY], "weight_decay": 0.0},
            ]
            groups = [group for group in groups if group["params"]]
        return optimizer.cls(groups, **arguments)
    except (TypeError, ValueError) as error:
        hint = "; MuonAdamW gives the other parameters to AdamW" if optimizer.cls is torch.optim.Muon else ""
        raise TrainingError(f"{optimizer} cannot train this model: {error}{hint}") from None


def takes_blocks(optimizer: Spec) -> bool:
    """Whether an optimizer treats matrices that are stored side by side each for itself."""
    return {"roles", "blocks"} <= inspect.signature(optimizer.cls).parameters.keys()


def spectral_scale(rows: int, columns: int) -> float:
    """sqrt(max(1, rows / columns)): the scale of the original Muon (Jordan 2024)."""
    return max(1.0, rows / columns) ** 0.5


def adamw_rms_scale(rows: int, columns: int) -> float:
    """0.2 sqrt(max(rows, columns)): an update of AdamW's size (Liu et al. 2025, arXiv:2502.16982, eq. 4)."""
    return 0.2 * max(rows, columns) ** 0.5


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for matrices.

    m <- momentum m + (1 - momentum) g;  u = (1 - momentum) g + momentum m
    W <- (1 - lr weight_decay) W - lr scale(rows, columns) NS(u)

    Source: Jordan 2024, "Muon: an optimizer for hidden layers"; the rule of ``torch.optim.Muon``.
    Differs: matrices of equal shape are orthogonalised in one batch; leading dimensions are a stack of matrices, and a
        matrix of a stack goes on along its momentum in a step without a gradient, such as an expert without a token;
        matrices that are stored side by side are orthogonalised and scaled each for itself; the iteration runs in fp32
        on a CPU, where bf16 is slow without units for it (benchmarks/muon.py).
    Parity: torch.optim.Muon with adjust_lr_fn=original and with match_rms_adamw.

    Args:
        blocks: parameters of two dimensions to the matrices that they hold.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        update_scale: Callable[[int, int], float] = spectral_scale,
        blocks: Mapping[nn.Parameter, Blocks] = MappingProxyType({}),
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__(params, defaults)
        self.update_scale = update_scale
        self.blocks: dict[Tensor, tuple[int, list[Tensor]]] = {
            p: (side.dim, [torch.tensor(indices, device=p.device) for indices in side.indices])
            for p, side in blocks.items()
        }
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim < 2:
                raise ValueError(f"Muon takes parameters of two or more dimensions, got shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: a step is taken once per batch
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape[-2:], p.device].append(p)
            for members in by_shape.values():
                for some in _split(members):
                    self._step_together(group, some)

    def _step_together(self, group: dict[str, Any], members: list[Tensor]) -> None:
        buffers = []
        for p in members:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffers.append(self.state[p]["momentum_buffer"])
        gradients = [p.grad for p in members if p.grad is not None]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
        pieces = [piece for p, u in zip(members, updates, strict=True) for piece in self._cut(p, u)]
        directions = self._direct([update for _, _, update in pieces], group["ns_steps"])
        moves = [(p, where, d) for (p, where, _), d in zip(pieces, directions, strict=True)]
        whole = [(p, d.view_as(p)) for p, where, d in moves if where is None]
        if whole:
            torch._foreach_add_(*map(list, zip(*whole, strict=True)), alpha=-group["lr"])
        for p, where, direction in moves:
            if where is not None:
                p.index_add_(*where, direction[0], alpha=-group["lr"])

    def _cut(self, p: Tensor, update: Tensor) -> list[tuple[Tensor, tuple[int, Tensor] | None, Tensor]]:
        """The parameter, where in it, and the update of each matrix that it holds."""
        if p not in self.blocks:
            return [(p, None, update)]
        dim, indices = self.blocks[p]
        return [(p, (dim, of_one), update.index_select(dim, of_one)) for of_one in indices]

    def _direct(self, updates: Sequence[Tensor], ns_steps: int) -> list[Tensor]:
        """The scaled directions of some updates, (matrices of it, rows, columns) each; those of one shape together."""
        directions: dict[int, Tensor] = {}
        for shape in dict.fromkeys(u.shape[-2:] for u in updates):
            places = [place for place, u in enumerate(updates) if u.shape[-2:] == shape]
            stacked = torch.cat([updates[place].reshape(-1, *shape) for place in places])
            scaled = orthogonalize(stacked, ns_steps) * self.update_scale(*shape)
            counts = [updates[place].numel() // shape.numel() for place in places]
            directions |= zip(places, scaled.split(counts), strict=True)
        return [directions[place] for place in range(len(updates))]


def _split(matrices: list[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours that together have up to ``_STACKED`` numbers; a larger one stays alone."""
    some: list[Tensor] = []
    for matrix in matrices:
        if some and sum(m.numel() for m in some) + matrix.numel() > _STACKED:
            yield some
            some = []
        some.append(matrix)
    yield some


def orthogonalize(matrices: Tensor, steps: int) -> Tensor:
    """Push the singular values of each (N, rows, columns) matrix towards 1 by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices if matrices.device.type == "cpu" else matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class MuonAdamW:
    """Muon for every parameter whose role is "matrix", AdamW for the rest.

    A filter (D, 1, K) or a gain (1, 1, D) is no matrix to make orthogonal: where one of the last two axes is 1, AdamW
    trains it, with its decay.

    Source: Jordan 2024, "Muon: an optimizer for hidden layers"; AdamW: Loshchilov, Hutter 2017, arXiv:1711.05101.
    Parity: torch.optim.Muon, by the class Muon that it uses, and torch.optim.AdamW.

    Args:
        named_parameters: ``(name, parameter)`` pairs.
        roles: name to "embedding", "head", "norm", "matrix" or "vector".
        blocks: names of parameters that hold several matrices side by side.
        lr, momentum, weight_decay, ns_steps, update_scale: of Muon.
        adamw_lr, adamw_betas, adamw_weight_decay: of AdamW; its decay spares norms and vectors.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        roles: Mapping[str, str],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        ns_steps: int = 5,
        update_scale: Callable[[int, int], float] = spectral_scale,
        adamw_lr: float = 0.003,
        adamw_betas: tuple[float, float] = (0.9, 0.95),
        adamw_weight_decay: float = 0.0,
        blocks: Mapping[str, Blocks] = NO_BLOCKS,
    ):
        named = list(named_parameters)
        of_matrices = {p: blocks[name] for name, p in named if name in blocks and roles[name] == "matrix"}
        matrices = [p for name, p in named if roles[name] == "matrix" and min(p.shape[-2:]) > 1]
        decayed = [p for name, p in named if roles[name] in ROLES_WITH_DECAY and all(p is not m for m in matrices)]
        others = [p for name, p in named if roles[name] not in ROLES_WITH_DECAY]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        self.optimizers = [
            *([Muon(matrices, lr, momentum, weight_decay, ns_steps, update_scale, of_matrices)] if matrices else []),
            *(
                [torch.optim.AdamW(groups, adamw_lr, adamw_betas, weight_decay=adamw_weight_decay, fused=True)]
                if groups
                else []
            ),
        ]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimizer, part in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(part)
