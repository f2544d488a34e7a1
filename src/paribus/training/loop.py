"""The training loop, read top to bottom."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from paribus.data.held_out import HeldOut
from paribus.design.recipe import Training
from paribus.design.streams import derive
from paribus.errors import Diverged, StoreError, StudyError
from paribus.store.files import read_jsonl, writing
from paribus.training.checkpoint import load_checkpoint, save_checkpoint
from paribus.training.evaluation import Measure, Scores, evaluate
from paribus.training.optim import NO_BLOCKS, Blocks
from paribus.training.schedule import build_schedule
from paribus.training.step import Batch, start_training


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is written."""


@dataclass(frozen=True)
class Trained:
    """What the loop hands back.

    Args:
        steps: one entry per optimizer step, as in ``steps.jsonl``.
        evaluations: the loss curve, the untrained model first; last the end on all held-out tokens, see ``loss_curve``.
        scores: the last evaluation, with its sums per document.
        batch_digest: chained SHA-256 over every batch, in order.
    """

    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    scores: Scores
    batch_digest: str


def train(
    model: nn.Module,
    training: Training,
    *,
    seed: int,
    roles: Mapping[str, str],
    blocks: Mapping[str, Blocks] = NO_BLOCKS,
    batch: Batch,
    held_out: HeldOut,
    folder: Path,
    device: str = "cpu",
    checkpoint_seconds: float = 5.0,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    measures: Mapping[str, Measure] = MappingProxyType({}),
) -> Trained:
    """Train ``model`` by the recipe ``training`` and score it, going on from the checkpoint in ``folder`` if any.

    A resumed run ends with the same bits as an undisturbed one, where all that a model remembers is in its
    ``state_dict``: a plain attribute or a non-persistent buffer that training changes is lost. ``report`` gets
    every line of ``steps.jsonl`` as it is written; ``stop`` is asked before every step. ``measures`` are metrics of the
    user's own, by key, taken at every evaluation.

    Raises Diverged at the first loss or gradient norm that is not finite, Interrupted when ``stop`` says so,
    StoreError when ``folder`` cannot be written, StudyError for a measure that gives no metric.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stepper = start_training(model, training, roles, device, blocks)
    rate_of = build_schedule(training)
    curve = held_out.part(training.curve_tokens)
    averaged = AveragedModel(model) if training.averaged else None
    evaluation_steps = {round(i * training.steps / training.evaluations) for i in range(1, training.evaluations + 1)}
    progress = _Progress(folder, model, stepper.optimizer, averaged)

    def score(step: int, tokens: HeldOut, training_seconds: float) -> Scores:
        began = time.perf_counter()
        torch.manual_seed(derive(seed, "evaluation", step))  # for a part that draws even when it is scored
        scores = evaluate(model, tokens, stepper.windows, device, training.precision, measures)
        if not math.isfinite(scores.loss):
            raise Diverged(f"held-out loss is {scores.loss} after step {step}", step)
        progress.evaluations.append(
            {
                "step": step,
                "tokens": step * training.batch_tokens,
                "loss": scores.loss,
                "bits_per_byte": scores.bits_per_byte,
                "accuracy": scores.accuracy,
                **({"metrics": scores.own} if scores.own else {}),
                **({"diagnostics": scores.diagnostics} if scores.diagnostics else {}),
                "measured": {"training_seconds": training_seconds, "seconds": time.perf_counter() - began},
            }
        )
        return scores

    progress.load()
    steps = _keep_lines(folder / "steps.jsonl", progress.step)
    training_seconds = sum(line["measured"]["seconds"] for line in steps)
    if not progress.evaluations:
        untrained = score(0, curve, 0.0)
        if measures.keys() - untrained.own.keys():  # rather now than after the training
            _require_counted(measures, evaluate(model, held_out, stepper.windows, device, training.precision, measures))
    saved = time.monotonic()

    with (folder / "steps.jsonl").open("ab", buffering=0) as log:
        for step in range(progress.step, training.steps):
            if stop():
                progress.save(log)
                raise Interrupted
            began = time.perf_counter()

            rate = rate_of(step)
            # The noise of a step is its own stream: a resumed run repeats it, and arms that draw alike draw the same.
            stepper.begin(derive(seed, "noise", step), rate)
            inputs, targets = batch(step)
            progress.add_batch(inputs, targets)
            gradients = stepper.compute_gradients(torch.from_numpy(inputs), torch.from_numpy(targets))
            loss, norm = gradients.loss, gradients.norm
            if not gradients.is_finite:
                raise Diverged(f"loss {loss} and gradient norm {norm} at step {step + 1}", step + 1)
            stepper.apply_gradients()
            if averaged and step >= training.steps - training.averaged_steps:
                averaged.update_parameters(model)
            progress.step = step + 1

            seconds = time.perf_counter() - began
            training_seconds += seconds
            line = {
                "step": step + 1,
                "loss": loss,
                "learning_rate": stepper.peak_rates[0] * rate,
                "gradient_norm": norm,
                "clipped": training.clip is not None and norm > training.clip,
                **({} if gradients.auxiliary is None else {"auxiliary_loss": gradients.auxiliary}),
                "measured": {"seconds": seconds, "tokens_per_second": training.batch_tokens / seconds},
            }
            steps.append(line)
            with writing(folder / "steps.jsonl"):
                log.write(json.dumps(line).encode() + b"\n")
            report(line)

            if step + 1 in evaluation_steps and step + 1 < training.steps:
                score(step + 1, curve, training_seconds)
            if time.monotonic() - saved > checkpoint_seconds and step + 1 < training.steps:
                progress.save(log)
                saved = time.monotonic()

    if averaged or len(curve.inputs) < len(held_out.inputs):
        score(training.steps, curve, training_seconds)
    if averaged:
        with torch.no_grad():
            torch._foreach_copy_(list(model.parameters()), list(averaged.module.parameters()))
    scores = score(training.steps, held_out, training_seconds)
    _require_counted(measures, scores)
    return Trained(steps, progress.evaluations, scores, progress.batch_digest)


def _require_counted(measures: Mapping[str, Measure], scores: Scores) -> None:
    if uncounted := sorted(measures.keys() - scores.own.keys()):
        raise StudyError(f"metric {uncounted[0]!r} counts none of the held-out tokens: all its values are NaN")


@dataclass
class _Progress:
    """What an interrupted training goes on from: how far it came, and all that its steps have moved."""

    folder: Path
    model: nn.Module
    optimizer: Any
    averaged: nn.Module | None
    step: int = 0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    batch_digest: str = ""

    def add_batch(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        chain = self.batch_digest.encode() + inputs.tobytes() + targets.tobytes()
        self.batch_digest = hashlib.sha256(chain).hexdigest()

    def save(self, log: BinaryIO) -> None:
        os.fsync(log.fileno())
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "evaluations": self.evaluations,
            "batch_digest": self.batch_digest,
        }
        save_checkpoint(self.folder / "checkpoint.pt", state)

    def load(self) -> None:
        state = load_checkpoint(self.folder / "checkpoint.pt")
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.step, self.evaluations, self.batch_digest = state["step"], state["evaluations"], state["batch_digest"]


def _keep_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """Cut ``path`` to the ``count`` lines a checkpoint vouches for; what lies behind them is run again."""
    if count == 0:
        path.unlink(missing_ok=True)
        return []
    if path.exists():
        with path.open("rb+") as file:
            for _ in range(count):
                file.readline()
            file.truncate()
    lines = read_jsonl(path)
    if len(lines) != count:
        raise StoreError(
            f"{path} has {len(lines)} of the {count} lines of its checkpoint; delete its folder and run again"
        )
    return lines
