"""The matrices that a model multiplies by, wherever they are stored: q, k and v in one tensor are three.

An optimizer such as Muon treats a matrix as a whole. Whether a class keeps three projections in three tensors or stacks
them in one must not decide what it does, so the rows of a stored matrix are told apart by what the forward pass does
with its output: rows belong together where their outputs are contracted, reduced or added together, and apart where
the output is split before that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paribus.errors import SpecError
from paribus.nn.operations import WatchOperations


@dataclass(frozen=True)
class Blocks:
    """A stored matrix that holds several side by side.

    Args:
        dim: 0 where they are stacked by rows, 1 where by columns.
        indices: the rows, or columns, of each.
    """

    dim: int
    indices: tuple[tuple[int, ...], ...]


@torch.no_grad()
def find_blocks(model: nn.Module, vocab_size: int, seq_len: int) -> dict[str, Blocks]:
    """The parameters of ``model`` that hold several matrices side by side.

    Found in one pass over a sequence in eval mode. Looked at are parameters of two dimensions. One that is used both as
    it is and transposed, such as a tied embedding, is one matrix, and so is one whose use the pass does not show.
    A class may say otherwise in a method ``matrices()``, which maps its own parameter paths to the number of rows of
    each matrix that is stacked there: ``{"qkv.weight": (D, D, D)}``, or ``(3 D,)`` for one.

    Raises SpecError where ``matrices()`` names rows that a parameter does not have.
    """
    watch = _Watch(model)
    tokens = torch.arange(seq_len, device=next(model.parameters()).device)[None] % vocab_size
    with _as_written(model), WatchOperations(watch.see):
        model(tokens)
    found = watch.blocks()
    for path, module in reversed(list(model.named_modules())):  # the outer class knows more
        declared = module.matrices() if callable(getattr(module, "matrices", None)) else {}
        for own, rows in declared.items():
            name = f"{path}.{own}" if path else own
            p = dict(model.named_parameters()).get(name)
            if p is None or p.ndim != 2 or sum(rows) != len(p):
                shape = "is no parameter" if p is None else f"has the shape {tuple(p.shape)}"
                raise SpecError(
                    f"matrices() gives {name!r} the rows {tuple(rows)}; it {shape} [site {path or 'model'}]"
                )
            places = torch.arange(len(p)).split(list(rows))
            found.pop(name, None)
            if len(rows) > 1:
                found[name] = Blocks(0, tuple(tuple(of_one.tolist()) for of_one in places))
    return found


@contextmanager
def _as_written(model: nn.Module) -> Iterator[None]:
    """Eval mode, without kernels that do several things in one; modes and buffers are restored."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    is_fast, is_enabled = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
        torch._C._set_mkldnn_enabled(is_enabled)
        for module, mode in modes:
            module.training = mode
        for buffer, values in buffers:
            buffer.copy_(values)


@dataclass(frozen=True)
class _Use:
    """A parameter as one product reads it, and where its units (rows or columns) begin among all units."""

    first: int
    dim: int
    n_units: int


_Traced = tuple[Tensor, bool]
"""The units of a tensor's numbers, -1 for none, and whether they are linear in them."""


@dataclass
class _Trace:
    """The units of one storage's numbers. It is kept alive with them: a free address would come to mean another."""

    units: Tensor
    is_linear: bool
    storage: Any


class _Watch:
    """Follows the outputs of a model's matrices to where they meet."""

    def __init__(self, model: nn.Module):
        self.parameters = {
            p.untyped_storage().data_ptr(): (name, p) for name, p in model.named_parameters() if p.ndim == 2
        }
        self.uses: dict[str, _Use] = {}
        self.unclear: set[str] = set()
        self.parents: list[int] = []  # of a union-find over units
        self.traces: dict[int, _Trace] = {}

    def blocks(self) -> dict[str, Blocks]:
        found = {}
        for name, use in self.uses.items():
            groups: dict[int, list[int]] = {}
            for unit in range(use.n_units):
                groups.setdefault(self._root(use.first + unit), []).append(unit)
            lone = [unit for group in groups.values() if len(group) == 1 for unit in group]
            blocks = [group for group in (*groups.values(), lone) if len(group) > 1]
            if len(blocks) > 1 and name not in self.unclear:
                found[name] = Blocks(use.dim, tuple(map(tuple, blocks)))
        return found

    def see(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        operands = [item for item in _flatten((args, kwargs)) if isinstance(item, Tensor)]
        outputs = [item for item in _flatten(out) if isinstance(item, Tensor)]
        if not outputs:
            return
        is_view = not func._schema.is_mutable and any(_address(o) == _address(i) for o in outputs for i in operands)
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if is_view:
            return  # the numbers are where they were
        if name in _PRODUCTS:
            left, right = args[1:3] if name in ("addmm", "baddbmm") else args[:2]
            self._multiply(left, right, outputs[0])
        elif name in _COPIES:
            self._point(args[1:2] if name == "copy" else args[:1], outputs[0], is_linear=True)
        elif name in _MOVES:
            self._move(func, args, kwargs, outputs[0])
        elif name == "glu":
            self._gate(*args[:2], out=outputs[0])
        elif name in _SUMS:
            self._add(self._traced(args[:2]), outputs[0])
        elif name == "addcmul":
            self._add([*self._traced(args[:1]), *self._met(self._traced(args[1:3]))], outputs[0])
        elif name in _POINTWISE:
            self._point(operands, outputs[0], name in _LINEAR)
        elif name == "convolution":
            self._convolve(args[0], args[1], args[8], outputs[0])
        else:
            for operand in operands:
                self._consume(operand)

    def _multiply(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        """A product of an input and a matrix: its outputs are units of the matrix, and its input is contracted."""
        for matrix, other, is_right in ((right, left, True), (left, right, False)):
            if self._parameter(matrix) and not self._parameter(other):
                self._consume(other)
                if (units := self._units_of(matrix, is_right)) is not None:
                    units = units if is_right or out.ndim == 1 else units[:, None]
                    self._trace(out, units.expand(out.shape), is_linear=True)
                return
        self._consume(left)
        self._consume(right)

    def _units_of(self, matrix: Tensor, is_right: bool) -> Tensor | None:
        """The unit of each column of a right factor, or row of a left one; None where its output is not followed."""
        known = self._parameter(matrix)
        assert known  # it was asked for
        name, p = known
        flat = torch.arange(p.numel()).as_strided(p.shape, p.stride())
        read = _as(flat, matrix) if is_right else _as(flat, matrix).mT  # (..., K, N): places in the parameter
        rows, columns = read // p.shape[1], read % p.shape[1]
        if read.ndim > 2 and len(read) > 1:
            self._note_stack(name, p, (rows, columns))
            return None
        rows, columns = rows.reshape(rows.shape[-2:]), columns.reshape(columns.shape[-2:])
        if (rows == rows[:1]).all():
            dim, ids = 0, rows[0]
        elif (columns == columns[:1]).all():
            dim, ids = 1, columns[0]
        else:
            self.unclear.add(name)
            return None
        use = self._use(name, p, dim)
        return None if use is None else use.first + ids

    def _note_stack(self, name: str, p: Tensor, places: tuple[Tensor, Tensor]) -> None:
        """Matrices that are multiplied by inputs of their own, as experts are: each is what it reads."""
        for dim, of_each in enumerate(places):
            sets = [one.unique() for one in of_each]
            if sum(map(len, sets)) == p.shape[dim] == len(torch.cat(sets).unique()):
                if use := self._use(name, p, dim):
                    for one in sets:
                        self._unite(use.first + one)
                return
        self.unclear.add(name)

    def _use(self, name: str, p: Tensor, dim: int) -> _Use | None:
        """What is known of a parameter's units; None where it is read both by rows and by columns."""
        if name not in self.uses:
            self.uses[name] = _Use(len(self.parents), dim, p.shape[dim])
            self.parents += range(len(self.parents), len(self.parents) + p.shape[dim])
        if self.uses[name].dim == dim:
            return self.uses[name]
        self.unclear.add(name)
        return None

    def _parameter(self, tensor: Any) -> tuple[str, Tensor] | None:
        return self.parameters.get(_address(tensor)) if isinstance(tensor, Tensor) else None

    def _move(self, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
        """Numbers in another order, or beside others: their units move as they do."""
        given = [x for x in _flatten(args) if isinstance(x, Tensor) and x.is_floating_point()]
        if traced := self._traced(given):
            units = func(*_replace(args, self._units_or_none), **kwargs)
            self._trace(out, units, all(is_linear for _, is_linear in traced))

    def _units_or_none(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        units = self._units(x)
        return torch.full(x.shape, -1) if units is None else units

    def _gate(self, x: Tensor, dim: int = -1, *, out: Tensor) -> None:
        """a sigmoid(b) of the halves of a tensor: two matrices that meet in a product."""
        if (units := self._units(x)) is not None:
            value, gate = units.chunk(2, dim)
            self._unite(gate)
            self._trace(out, value, is_linear=False)

    def _add(self, terms: Sequence[_Traced], out: Tensor) -> None:
        """A sum of outputs that are linear in their units joins unit to unit: a rotation mixes the halves of q."""
        if all(is_linear for _, is_linear in terms):
            if len(terms) == 2:
                self._unite_pairs(*(units.expand(out.shape) for units, _ in terms))
            terms = terms[:1]
        for units, is_linear in self._met(terms):
            self._trace(out, units.expand(out.shape), is_linear)

    def _point(self, operands: Sequence[Any], out: Tensor, is_linear: bool) -> None:
        """Number by number: units stay apart."""
        for units, was_linear in self._met(self._traced(operands)):
            self._trace(out, units.expand(out.shape), is_linear and was_linear)

    def _met(self, factors: Sequence[_Traced]) -> Sequence[_Traced]:
        """Where several meet in one operation the first goes on, no longer linear, and the others end there."""
        for units, _ in factors[1:]:
            self._unite(units)
        return factors if len(factors) < 2 else [(factors[0][0], False)]

    def _convolve(self, x: Tensor, weight: Tensor, groups: int, out: Tensor) -> None:
        """A depthwise convolution keeps the channels apart; any other contracts them."""
        if (units := self._units(x)) is not None and groups == x.shape[1] == out.shape[1] == weight.shape[0]:
            self._trace(out, units[..., :1].expand(out.shape), self._is_linear(x))
        else:
            self._consume(x)

    def _consume(self, tensor: Tensor) -> None:
        """All units of a tensor meet."""
        if (units := self._units(tensor)) is not None:
            self._unite(units)

    def _unite(self, units: Tensor) -> None:
        first, *others = [unit for unit in units.unique().tolist() if unit >= 0] or [-1]
        for other in others:
            self.parents[self._root(other)] = self._root(first)

    def _unite_pairs(self, left: Tensor, right: Tensor) -> None:
        n = len(self.parents)
        for pair in (left * n + right)[(left >= 0) & (right >= 0)].unique().tolist():
            one, other = divmod(pair, n)
            self.parents[self._root(other)] = self._root(one)

    def _root(self, unit: int) -> int:
        while self.parents[unit] != unit:
            self.parents[unit] = self.parents[self.parents[unit]]
            unit = self.parents[unit]
        return unit

    def _trace(self, tensor: Tensor, units: Tensor, is_linear: bool) -> None:
        storage = tensor.untyped_storage()
        trace = self.traces.get(storage.data_ptr())
        n = storage.nbytes() // tensor.element_size()
        if trace is None or len(trace.units) != n:
            trace = self.traces[storage.data_ptr()] = _Trace(torch.full((n,), -1), is_linear, storage)
        trace.is_linear = is_linear
        if 0 not in tensor.stride() or math.prod(tensor.shape) <= 1:
            _as(trace.units, tensor).copy_(units)

    def _traced(self, tensors: Sequence[Any]) -> list[_Traced]:
        """The units of those that have some, and whether they are linear in them."""
        found = [(self._units(x), self._is_linear(x)) for x in tensors if isinstance(x, Tensor)]
        return [(units, is_linear) for units, is_linear in found if units is not None]

    def _units(self, tensor: Tensor) -> Tensor | None:
        trace = self.traces.get(_address(tensor))
        if trace is None or len(trace.units) != tensor.untyped_storage().nbytes() // tensor.element_size():
            return None
        units = _as(trace.units, tensor)
        return units if (units >= 0).any() else None

    def _is_linear(self, tensor: Tensor) -> bool:
        trace = self.traces.get(_address(tensor))
        return trace is None or trace.is_linear


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _as(flat: Tensor, tensor: Tensor) -> Tensor:
    """``flat``, a number for each of a storage, as ``tensor`` looks at it."""
    return flat.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _flatten(item)
    else:
        yield value


def _replace(value: Any, of_tensor: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_replace(item, of_tensor) for item in value)
    return of_tensor(value)


_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv"}
_COPIES = {"clone", "_to_copy", "copy", "lift_fresh_copy"}
_MOVES = {"cat", "flip", "gather", "index", "index_select", "repeat", "repeat_interleave", "roll", "stack"}
_SUMS = {"add", "sub", "rsub"}
_LINEAR = {"neg", "mul", "div", "masked_fill", "where", "constant_pad_nd", "native_dropout", "zeros_like"}
_POINTWISE = _LINEAR | {
    *("abs", "clamp", "clamp_min", "cos", "elu", "erf", "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
    *("leaky_relu", "log", "log_sigmoid_forward", "maximum", "minimum", "mish", "pow", "reciprocal", "relu", "rsqrt"),
    *("sigmoid", "silu", "sin", "softplus", "sqrt", "square", "tanh", "threshold"),
}
