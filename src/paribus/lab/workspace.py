"""A study made ready to train: the store locked, the corpus prepared, the widths solved, the workers started."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.design.study import Study
from paribus.errors import StudyError
from paribus.experiment.extra_runs import ExtraRun, run_extra_runs
from paribus.experiment.job import Execute
from paribus.experiment.plan import Environment, Plan
from paribus.lab.request import Request
from paribus.store.events import Observe
from paribus.store.records import Record
from paribus.store.store import Store

EXECUTORS = ("local", "inline")


@dataclass(frozen=True)
class Bench:
    """Where a study is trained.

    Args:
        study: the study that was asked for, with its widths solved.
        corpus: a prepared ``paribus.data.Corpus``.
        evaluation_digest: digest of the tokens that are scored.
        execute: does the jobs it is given, in workers or in this process.
    """

    asked: Request
    study: Study
    store: Store
    corpus: Any
    evaluation_digest: str
    environment: Environment
    execute: Execute
    observe: Observe

    def tell(self, text: str) -> None:
        """Say what is being done."""
        self.observe({"event": "message", "text": text})

    def run(self, extra_runs: Sequence[ExtraRun], plan: Plan) -> Mapping[str, Record]:
        """Run what is missing of ``extra_runs``; their records by digest."""
        return run_extra_runs(
            extra_runs,
            store=self.store,
            plan=plan,
            study_file=self.asked.file,
            execute=self.execute,
            observe=self.observe,
        )


@contextmanager
def set_up(
    asked: Request,
    store: str | Path,
    executor: str,
    device: str | None,
    devices: int | None,
    observe: Observe,
) -> Iterator[Bench]:
    """Hold ``store`` and the workers while the study is trained.

    Raises StudyError for an executor or device that is not there, DataError for a corpus that cannot be used, and
    StoreError for a store that another process holds.
    """
    from paribus.execution.devices import choose_device, local_slots
    from paribus.execution.inline import execute_inline
    from paribus.execution.processes import LocalWorkers
    from paribus.lab.matching import solve_widths

    if executor not in EXECUTORS:
        raise StudyError(f"executor is one of {', '.join(EXECUTORS)}, got {executor!r}")
    device = choose_device(device)
    place = Store.create(store)
    n_runs = len(asked.study.arms) * asked.study.max_seeds
    if executor == "local" and not asked.travels:
        observe({"event": "message", "text": "classes of __main__ cannot be sent to workers: running in this process"})
    slots = local_slots(device, n_runs, devices) if executor == "local" and asked.travels else []
    with place.lock(), LocalWorkers(slots) as workers:
        observe({"event": "message", "text": asked.study.question})
        observe({"event": "message", "text": "preparing the corpus"})
        corpus, evaluation_digest = prepare_corpus(asked.study)
        yield Bench(
            asked=asked,
            study=solve_widths(asked.study, corpus.vocab_size),
            store=place,
            corpus=corpus,
            evaluation_digest=evaluation_digest,
            environment=Environment.here(corpus.digest, device),
            execute=workers.execute if slots else execute_inline,
            observe=observe,
        )


def prepare_corpus(study: Study) -> tuple[Any, str]:
    """The corpus of ``study``, and the digest of its scored tokens."""
    from paribus.execution.single_run import load_data

    corpus, _, evaluation_digest = load_data(json.dumps(study.data.to_json()), study.training)
    return corpus, evaluation_digest
