"""Times that can be compared: the arms take turns in one process, and a reference tells when the machine is busy.

Runs side by side share cores, caches and a power budget, and the first one pays the start-up of every library. Here
all arms are built and warmed up first. A round then times whole training steps of each arm twice, once in some order
and once in the reverse, so that a machine that slows down evenly slows every arm alike. Before each of these blocks a
fixed computation is timed: a round in which it took unusually long is measured again, whatever the arms took.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from paribus.design.recipe import Training
from paribus.design.study import BASELINE, Study
from paribus.errors import StudyError
from paribus.judgement import TIME_MARGIN, Rule
from paribus.judgement.speed import ArmTimes, MeasuredTimes, Reference, judge_times

if TYPE_CHECKING:
    from torch import nn

BLOCK_SECONDS = 0.3  # of the slowest arm, both halves of a round together
REFERENCE_SECONDS = 0.02
TOLERANCE = 0.20  # of the median reference: how much slower or faster it may be
LEAST_SHARE = 0.90  # of a processor, for one thread that was never put aside
BUSY_SHARE = 1 / 3  # of the rounds rejected: no speed claim
_WARM_UP_STEPS = 3  # after the first; their fastest sets the length of a block
_FIRST_REFERENCES = 5
_BATCHES = 16  # drawn beforehand, then used over again

Step = Callable[[], None]


@dataclass(frozen=True)
class Instruments:
    """What is read during a measurement.

    Args:
        reference: does a fixed amount of work.
        clock: seconds of wall time.
        cpu_clock: seconds of processor time of this process; None where steps do not run on the CPU.
        load: mean number of running processes over 1, 5 and 15 minutes; raises where the system does not tell.
        wait: returns when all work that a step started is done.
    """

    reference: Step
    clock: Callable[[], float] = time.perf_counter
    cpu_clock: Callable[[], float] | None = time.process_time
    load: Callable[[], Sequence[float]] = lambda: os.getloadavg()
    wait: Step = lambda: None


def measure_times(
    study: Study,
    corpus: Any,
    *,
    arms: Sequence[str] | None = None,
    device: str = "cpu",
    block_seconds: float = BLOCK_SECONDS,
    most_rounds: int = 10,
    observe: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> MeasuredTimes:
    """Time whole training steps of the baseline and of ``arms`` (None: every treatment), and judge their ratios.

    All arms are built with the first seed and held in memory together; the batches are the first of that seed.

    Args:
        corpus: has ``vocab_size`` and ``batch(seed, step, batch_tokens, seq_len)``.
        observe: told ``{"event": "timing", "rounds", "rejected", "treatments"}`` after every round.

    Raises StudyError for an arm that the study does not have.
    """
    from paribus.execution.trained import deterministic
    from paribus.nn.contract import build_model

    names = tuple(study.treatments) if arms is None else tuple(arms)
    if unknown := [name for name in names if name not in study.treatments]:
        raise StudyError(f"no treatment {unknown[0]!r} to time; there is {', '.join(map(repr, study.treatments))}")
    rule = Rule(margin=TIME_MARGIN, n_max=most_rounds, n_primary=len(names))
    with deterministic(device):
        instruments = _instruments(device)
        steps = {}
        for name in (BASELINE, *names):
            training = study.arms[name].training
            sizes = {"vocab_size": corpus.vocab_size, "seq_len": training.seq_len}
            model = build_model(study.arms[name].model, study.first_seed, **sizes)
            steps[name] = make_step(model, training, study.first_seed, corpus, device)
        timed = time_steps(steps, rule, instruments, block_seconds, observe)
    return replace(timed, device=device, device_name=_name_device(device), threads=1 if device == "cpu" else None)


def time_steps(
    steps: Mapping[str, Step],
    rule: Rule,
    instruments: Instruments,
    block_seconds: float = BLOCK_SECONDS,
    observe: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> MeasuredTimes:
    """Interleave the ``steps`` of all arms, the baseline's first, until each treatment is decided by ``rule``.

    A decided treatment is no longer timed. Where more than a third of the rounds were rejected, the baseline alone goes
    on: quiet rounds show that the machine calmed down. Else it counts as busy, and nothing is claimed.
    """
    loads = [_read_load(instruments)]
    references = [_time_reference(instruments) for _ in range(_FIRST_REFERENCES)]
    first, usual = _warm_up(steps, instruments)
    half = max(1, math.ceil(block_seconds / 2 / max(usual.values())))
    blocks: dict[str, list[float]] = {name: [] for name in steps}
    shares: dict[str, list[float]] = {name: [] for name in steps}
    rejected = {"reference": 0, "descheduled": 0}
    verdicts = judge_times(blocks, rule)
    while (live := [name for name, verdict in verdicts.items() if not verdict.decided]) or _is_busy(blocks, rejected):
        rounds, n_rejected = len(blocks[BASELINE]), sum(rejected.values())
        if n_rejected > BUSY_SHARE * (rule.n_max + n_rejected):
            break  # more than a third, even if every round to come were quiet
        taken = _time_round(_rotate((BASELINE, *live), rounds + n_rejected), steps, half, instruments)
        references += taken.references
        for name, share in taken.shares.items():
            shares[name].append(share)
        if why := _reject(taken, references):
            rejected[why] += 1
        else:
            for name, seconds in taken.seconds.items():
                blocks[name].append(seconds)
            verdicts = judge_times(blocks, rule)
        told = {name: verdict.kind for name, verdict in verdicts.items()}
        observe({"event": "timing", "rounds": len(blocks[BASELINE]), "rejected": dict(rejected), "treatments": told})
    loads.append(_read_load(instruments))
    busy = _is_busy(blocks, rejected)
    return MeasuredTimes(
        margin=math.expm1(rule.margin),
        rule=rule,
        rounds=len(blocks[BASELINE]),
        rejected_rounds=rejected,
        busy=busy,
        steps_per_block=2 * half,
        arms={
            name: ArmTimes(
                first_step_seconds=first[name],
                step_seconds=median(blocks[name]) / (2 * half) if blocks[name] else usual[name],
                block_seconds=tuple(blocks[name]),
                cpu_share=min(shares[name], default=None),
            )
            for name in steps
        },
        reference=Reference(median(references), max(references) / median(references), len(references)),
        load_average=tuple(loads),
        treatments={n: replace(verdict, kind="undecided") if busy else verdict for n, verdict in verdicts.items()},
    )


def make_step(model: nn.Module, training: Training, seed: int, corpus: Any, device: str = "cpu") -> Step:
    """A function that trains ``model`` by one step, as ``training.loop.train`` does, without its records.

    Batches and learning rates are those of the run with this seed; after 16 steps the batches come again, after the
    last step of the schedule its last rate stays.
    """
    import torch

    from paribus.design.streams import derive
    from paribus.nn.contract import roles
    from paribus.nn.matrices import find_blocks
    from paribus.training.optim import NO_BLOCKS, takes_blocks
    from paribus.training.schedule import build_schedule
    from paribus.training.step import start_training

    sizes = corpus.vocab_size, training.seq_len
    blocks = find_blocks(model, *sizes) if takes_blocks(training.optimizer) else NO_BLOCKS
    stepper = start_training(model, training, roles(model), device, blocks)
    rate_of = build_schedule(training)
    drawn = (training.batch_tokens, training.seq_len)
    batches = [corpus.batch(seed, step, *drawn) for step in range(min(_BATCHES, training.steps))]
    taken = 0

    def step() -> None:
        nonlocal taken
        stepper.begin(derive(seed, "noise", taken), rate_of(taken))
        stepper.compute_gradients(*map(torch.from_numpy, batches[taken % len(batches)]))
        stepper.apply_gradients()
        taken += 1

    return step


@dataclass(frozen=True)
class _Round:
    """Seconds and processor share of each arm over both of its blocks, and every reference before a block."""

    seconds: dict[str, float]
    shares: dict[str, float]
    references: list[float]


def _time_round(order: Sequence[str], steps: Mapping[str, Step], half: int, instruments: Instruments) -> _Round:
    seconds, processor = dict.fromkeys(order, 0.0), dict.fromkeys(order, 0.0)
    references = []
    for name in (*order, *reversed(order)):
        references.append(_time_reference(instruments))
        worked = instruments.cpu_clock() if instruments.cpu_clock else 0.0
        seconds[name] += _time_block(steps[name], half, instruments)
        processor[name] += instruments.cpu_clock() - worked if instruments.cpu_clock else 0.0
    shares = {name: processor[name] / seconds[name] for name in order} if instruments.cpu_clock else {}
    return _Round(seconds, shares, references)


def _time_block(step: Step, times: int, instruments: Instruments) -> float:
    began = instruments.clock()
    for _ in range(times):
        step()
    instruments.wait()
    return instruments.clock() - began


def _time_reference(instruments: Instruments) -> float:
    return _time_block(instruments.reference, 1, instruments)


def _warm_up(steps: Mapping[str, Step], instruments: Instruments) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each arm's first step, and of the fastest of the next."""
    first = {name: _time_block(step, 1, instruments) for name, step in steps.items()}
    later = {
        name: min(_time_block(step, 1, instruments) for _ in range(_WARM_UP_STEPS)) for name, step in steps.items()
    }
    return first, later


def _reject(taken: _Round, references: Sequence[float]) -> str | None:
    """Why a round is measured again; never for what an arm's steps took."""
    usual = median(references)
    if any(abs(seconds / usual - 1) > TOLERANCE for seconds in taken.references):
        return "reference"
    if any(share < LEAST_SHARE for share in taken.shares.values()):
        return "descheduled"
    return None


def _is_busy(blocks: Mapping[str, Sequence[float]], rejected: Mapping[str, int]) -> bool:
    n_rejected = sum(rejected.values())
    return n_rejected > BUSY_SHARE * (len(blocks[BASELINE]) + n_rejected)


def _rotate(names: Sequence[str], by: int) -> tuple[str, ...]:
    by %= len(names)
    return (*names[by:], *names[:by])


def _read_load(instruments: Instruments) -> tuple[float, ...] | None:
    with contextlib.suppress(OSError, AttributeError):
        return tuple(round(value, 2) for value in instruments.load())
    return None


def _instruments(device: str) -> Instruments:
    """The real ones; the reference is a chain of matrix products of fixed size, as many as take 20 ms here."""
    import torch

    waits = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
    wait = waits.get(device, lambda: None)
    square = torch.full((384, 384), 1 / 384, device=device)

    def multiply(times: int) -> None:
        product = square
        for _ in range(times):
            product = product @ square

    def seconds(times: int) -> float:
        began = time.perf_counter()
        multiply(times)
        wait()
        return time.perf_counter() - began

    seconds(10)
    times = max(1, round(20 * REFERENCE_SECONDS / min(seconds(20) for _ in range(3))))
    return Instruments(
        reference=lambda: multiply(times), cpu_clock=time.process_time if device == "cpu" else None, wait=wait
    )


def _name_device(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()
