"""The runs of arms that paribus trains."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.design.metrics import Metric
from paribus.design.recipe import Training
from paribus.design.specs import Spec, resolve
from paribus.design.study import Arm
from paribus.design.study_files import import_file
from paribus.errors import DataError, StudyError
from paribus.experiment.job import Job
from paribus.store.identity import identify_metric, source_identity
from paribus.store.records import Record
from paribus.store.store import WEIGHTS
from paribus.training.cost import PeakMemory

if TYPE_CHECKING:
    from paribus.data import Corpus, HeldOut


def train_arm(job: Job, folder: Path, report: Callable[[dict[str, Any]], None], stop: Callable[[], bool]) -> Record:
    """Train a model of paribus's or the user's classes in our loop, or go on with it from its checkpoint."""
    import torch

    from paribus.nn.contract import build_model, roles
    from paribus.nn.init import nudge
    from paribus.nn.matrices import find_blocks
    from paribus.nn.slots import parts_of
    from paribus.training.checkpoint import save_weights
    from paribus.training.cost import count_parameters
    from paribus.training.loop import train
    from paribus.training.optim import NO_BLOCKS, takes_blocks
    from paribus.training.run_metrics import summarize
    from paribus.training.trained_sites import measure_sites

    began = time.perf_counter()
    if job.study_file:
        import_file(Path(job.study_file))
    model_spec, training = Spec.from_json(job.arm["model"]), Training.from_json(job.arm["training"])
    metric = Metric(**{**job.metric, "measure": resolve(job.metric["measure"])}) if job.metric else None
    with deterministic(job.device):
        corpus, held_out = prepare_data(Spec.from_json(job.data), training)
        _require_planned(job, corpus.digest, Arm(model_spec, training), metric)

        def build(device: str) -> torch.nn.Module:
            sizes = {"vocab_size": corpus.vocab_size, "seq_len": training.seq_len}
            return build_model(model_spec, job.seed, **sizes, device=device)

        model = build("cpu")
        if job.nudged:
            nudge(model, job.seed)
        role_of = roles(model)
        sizes = corpus.vocab_size, training.seq_len
        blocks = find_blocks(model, *sizes) if takes_blocks(training.optimizer) else NO_BLOCKS
        weights = {name: _digest(p) for name, p in model.state_dict().items()}
        # Counted on a model of its own: a forward pass may move buffers, such as running statistics.
        cost = {**count_parameters(model, role_of), **_count_flops(build, training.seq_len)}
        peak = PeakMemory(job.device)
        startup_seconds = time.perf_counter() - began
        trained = train(
            model,
            training,
            seed=job.seed,
            roles=role_of,
            blocks=blocks,
            batch=lambda step: corpus.batch(job.seed, step, training.batch_tokens, training.seq_len),
            held_out=held_out,
            folder=folder,
            device=job.device,
            report=report,
            stop=stop,
            measures={metric.key: metric.measure} if metric and callable(metric.measure) else {},
        )
        peak_memory = peak.read()
        if job.keeps_weights:  # before anything else reads the model: a forward pass may move its buffers
            save_weights(folder / WEIGHTS, model)
        inputs, targets = corpus.batch(job.seed, training.steps, training.batch_tokens, training.seq_len)
        rows = (training.micro_batch_tokens or training.batch_tokens) // training.seq_len
        sites = measure_sites(
            model,
            list(parts_of(model)),
            (inputs[:rows], targets[:rows]),
            seed=job.seed,
            unmoved=[name for name, p in model.named_parameters() if _digest(p) == weights.get(name)],
            device=job.device,
            precision=training.precision,
        )
    metrics, measured = summarize(
        trained.steps, trained.evaluations, training, corpus.manifest["sides"]["train"]["tokens"]
    )
    return Record(
        digest=job.digest,
        seed=job.seed,
        status="done",
        metrics={**metrics, **cost},
        evaluations=tuple(trained.evaluations),
        documents={"loss": list(trained.scores.document_loss), "tokens": list(trained.scores.document_tokens)},
        pairing={
            "initial_weights": weights,
            "batches": trained.batch_digest,
            "evaluation": held_out.digest,
            "packages": {name: version(name) for name in ("torch", "numpy", "tokenizers")},
            "device": job.device,
            "code": job.identity["paribus_source"][:16],
        },
        sites=sites,
        measured={
            **measured,
            "startup_seconds": startup_seconds,
            "peak_memory_bytes": peak_memory,
            "device_name": torch.cuda.get_device_name() if job.device == "cuda" else platform.processor(),
        },
    )


def _count_flops(build: Callable[[str], Any], seq_len: int) -> dict[str, float]:
    """Traced on the meta device, where all arms are counted alike; a model that looks at numbers runs on the CPU."""
    from paribus.training.cost import count_flops

    try:
        return count_flops(build("meta"), seq_len, "meta")
    except Exception:  # a user's model may look at numbers in any way
        return count_flops(build("cpu"), seq_len)


def _require_planned(job: Job, data_digest: str, arm: Arm, metric: Metric | None) -> None:
    """Refuse to train what the plan did not mean: a file may have been saved since."""
    expected = job.identity
    if data_digest != expected["data_digest"]:
        raise DataError(f"the corpus has digest {data_digest}, the plan expected {expected['data_digest']}")
    own = identify_metric(metric) if metric else {}
    for name, value in {**source_identity(arm), **own}.items():
        if value != expected[name]:
            raise StudyError(f"{name} has changed since the study was planned; call `paribus run` again")


@lru_cache(maxsize=4)  # by the class itself: one that was defined again is another
def prepare_data(source: Spec, training: Training) -> tuple[Corpus, HeldOut]:
    """The corpus of a data spec, prepared, and the windows that ``training`` scores."""
    from paribus.data.preparation import prepare

    corpus = prepare(source.cls(**dict(source.arguments)))
    return corpus, corpus.evaluation(training.seq_len, training.evaluation_tokens, training.evaluation_side)


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """One thread on a CPU, deterministic kernels on a GPU: the number of threads changes the last bits."""
    import torch

    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def _digest(tensor: Any) -> str:
    return hashlib.sha256(tensor.detach().cpu().numpy().tobytes()).hexdigest()[:16]
