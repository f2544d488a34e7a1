"""Three other ways of computing, against the one that paribus takes by default.

    python benchmarks/alternatives.py [--device cpu] [--seconds 5]

Replicates of an arm stacked into one program against one pass after the other, `Training(compile=True)` against
blocks as written, and `grouped_mm` against the loop over experts. Each part runs in a process of its own with a
worker's settings; what is compared takes turns, numbers are medians. Takes under five minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from record import describe_machine, print_table, save
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

import paribus as pb
from paribus.design.study_files import read_study
from paribus.execution.devices import local_slots
from paribus.execution.trained import deterministic
from paribus.nn import build_model, roles
from paribus.training.objective import cross_entropy, model_loss
from paribus.training.step import start_training

# d_model, tokens of a window, windows of a step, vocabulary; the last is the quick scale of `norm`.
SIZES = ((16, 32, 4, 64), (32, 64, 4, 256), (32, 128, 16, 1024), (64, 128, 16, 1024), (96, 128, 16, 1024))
REPLICATES = (4, 8)
# d_model, hidden width of an expert, assignments in a pass: two for each of its tokens; of the study `rmsnorm`.
EXPERTS = {"quick": (96, 192, 4096), "paper": (256, 1024, 8192)}
BASELINES = {"norm": "transformer", "rmsnorm": "mixture of experts"}
TOLERANCE = 1e-5  # largest difference of two ways of computing the same, relative to the largest number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=5, help="of taking turns per row, three turns at least")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        with deterministic(options.device):
            rows = PARTS[options.part](options.device, options.seconds)
        options.answer.write_text(json.dumps(rows))
        return
    stacked, experts = (measure(part, options) for part in ("stacked", "experts"))
    compiled = [row for name in BASELINES for row in measure_compiled(name, options)]
    found = {"stacked": stacked, "compiled": compiled, "experts": experts}
    show(found)
    save("alternatives", {**describe_machine(), "device": options.device, **found})


def show(found: Mapping[str, list[dict[str, Any]]]) -> None:
    for name, rows in found.items():
        cells = [[f"{v:.4g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
        print_table(name, list(rows[0]), cells)


def measure_compiled(study: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same twice: what compiling takes is hidden by a cache that knows the program, so the first one is empty."""
    with tempfile.TemporaryDirectory() as cache:
        settings = {"TORCHINDUCTOR_CACHE_DIR": cache}
        return [
            {"cache": state, **row}
            for state in ("cold", "warm")
            for row in measure(f"compiled {study}", options, settings)
        ]


def measure(part: str, options: argparse.Namespace, settings: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The rows of ``part``, from a process with a worker's settings and ``settings``."""
    print(f"measuring: {part}", file=sys.stderr)
    (worker,) = local_slots(options.device, 1)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--part", part, "--answer", str(answer)]
        command += ["--device", options.device, "--seconds", str(options.seconds)]
        subprocess.run(command, env={**os.environ, **worker, **(settings or {})}, check=True)
        return json.loads(answer.read_text())


def stack(device: str, patience: float, size: tuple[int, int, int, int], count: int) -> dict[str, Any]:
    """Forward and backward of ``count`` seeds, one after the other and as one program."""
    # On a CPU vmap has no rule for the flash kernel, and says so; which attention is faster is measured below.
    warnings.filterwarnings("ignore", message="There is a performance drop")
    d_model, seq_len, windows, vocab = size
    spec = pb.nn.llama(d_model=d_model, n_layers=3, n_heads=max(1, d_model // 32))
    models = [build_model(spec, seed, vocab_size=vocab, seq_len=seq_len).to(device) for seed in range(count)]
    inputs, targets = torch.randint(vocab, (2, count, windows, seq_len), device=device)
    parameters, buffers = stack_module_state(models)
    parameters = {name: p.detach() for name, p in parameters.items()}

    def separate() -> None:
        for model, x, y in zip(models, inputs, targets, strict=True):
            model.zero_grad()
            model_loss(model, x, y).backward()

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(models[0], (parameters, buffers), (x,)), y)

    def together(math: bool) -> dict[str, Tensor]:
        with sdpa_kernel(SDPBackend.MATH) if math else nullcontext():
            return vmap(grad_and_value(loss))(parameters, buffers, inputs, targets)[0]

    separate()
    difference = 0.0
    for gradients in (together(math=False), together(math=True)):
        for model, *own in zip(models, *gradients.values(), strict=True):
            expected = [dict(model.named_parameters())[name].grad for name in gradients]
            difference = max(difference, largest_difference(own, expected))
    check(difference)
    apart, chosen, math = take_turns(device, patience, separate, lambda: together(False), lambda: together(True))
    return {
        **dict(zip(("d_model", "seq_len", "windows", "vocab"), size, strict=True)),
        "replicates": count,
        "separate_seconds": apart,
        "stacked_seconds": min(chosen, math),
        "attention": "math" if math < chosen else "the device's choice",
        "difference": difference,
    }


def take_compiled_steps(device: str, patience: float, name: str) -> dict[str, Any]:
    """Whole steps of a baseline. The next five have experts of other sizes, which must not compile anything anew."""
    study = read_study(name).choose()
    vocab, seq_len = SIZES[-1][3], study.training.seq_len
    windows = study.training.batch_tokens // seq_len
    inputs, targets = torch.randint(vocab, (2, windows, seq_len))

    def make_step(compiled: bool) -> Callable[[], None]:
        model = build_model(study.baseline, 0, vocab_size=vocab, seq_len=seq_len).to(device)
        stepper = start_training(model, study.training.replace(compile=compiled, clip=None), roles(model), device)

        def step() -> None:
            stepper.compute_gradients(inputs, targets)
            stepper.apply_gradients()

        return step

    plain, compiled, second = make_step(False), make_step(True), make_step(True)
    first = seconds(compiled, device)
    next_five = sum(seconds(compiled, device) for _ in range(5))
    second_first = seconds(second, device)
    before, after = take_turns(device, patience, plain, compiled)
    return {
        "study": name,
        "baseline": BASELINES[name],
        "first_step_seconds": first,
        "next_five_steps_seconds": next_five,
        "second_model_seconds": second_first,
        "plain_seconds": before,
        "compiled_seconds": after,
    }


def group(device: str, patience: float, scale: str, kind: type[torch.nn.Module]) -> dict[str, Any]:
    """Forward and backward of the experts alone, on rows that are sorted by expert; experts get unequal shares."""
    d_model, d_ff, assignments = EXPERTS[scale]
    part = kind(d_model, 8, d_ff, activation=pb.nn.silu).to(device)
    x = torch.randn(assignments, d_model, device=device, requires_grad=True)
    order = torch.arange(assignments, device=device)
    counts = torch.multinomial(torch.arange(4.0, 12.0), assignments, replacement=True).bincount(minlength=8).to(device)
    gradient = torch.randn(assignments, d_model, device=device)  # grouped_mm refuses the expanded one of a sum

    def loop() -> list[Tensor]:
        return backward(part(x, counts.tolist(), order))

    def grouped() -> list[Tensor]:
        offsets = counts.cumsum(0).to(torch.int32)
        hidden = F.grouped_mm(x, part.up.weight.mT, offs=offsets)
        if kind is pb.nn.GatedExperts:
            hidden = part.activation(F.grouped_mm(x, part.gate.weight.mT, offs=offsets)) * hidden
        else:
            hidden = part.activation(hidden)
        return backward(F.grouped_mm(hidden, part.down.weight.mT, offs=offsets))

    def backward(y: Tensor) -> list[Tensor]:
        return [y.detach(), *torch.autograd.grad(y, [x, *part.parameters()], gradient)]

    difference = largest_difference(grouped(), loop())
    check(difference)
    looped, at_once = take_turns(device, patience, loop, grouped)
    return {
        "scale": scale,
        "experts": kind.__name__,
        "d_model": d_model,
        "d_ff": d_ff,
        "assignments": assignments,
        "loop_seconds": looped,
        "grouped_seconds": at_once,
        "difference": difference,
    }


def take_turns(device: str, patience: float, *ways: Callable[[], Any]) -> list[float]:
    """Median seconds of each of ``ways``, after one call that does not count."""
    for way in ways:
        way()
    taken: list[list[float]] = []
    while len(taken) < 3 or (len(taken) < 200 and sum(map(sum, taken)) < patience):
        taken.append([seconds(way, device) for way in ways])
    return [statistics.median(times) for times in zip(*taken, strict=True)]


def seconds(way: Callable[[], Any], device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    way()
    wait()
    return time.perf_counter() - start


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Of every tensor the largest difference, relative to its largest number; the largest of these."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected, strict=True))


def check(difference: float) -> None:
    assert difference < TOLERANCE, f"two ways of computing the same differ by {difference:.1e}"


PARTS: dict[str, Callable[[str, float], list[dict[str, Any]]]] = {
    "stacked": lambda *how: [stack(*how, size, count) for size in SIZES for count in REPLICATES],
    "experts": lambda *how: [
        group(*how, scale, kind) for scale in EXPERTS for kind in (pb.nn.Experts, pb.nn.GatedExperts)
    ],
    **{f"compiled {name}": lambda *how, name=name: [take_compiled_steps(*how, name)] for name in BASELINES},
}

if __name__ == "__main__":
    main()
