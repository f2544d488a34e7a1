"""A study made ready to train: the store locked, the corpus prepared, the widths solved, the executor started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paribus.design.study import Study
from paribus.errors import StudyError
from paribus.experiment.executor import Executor, Resources
from paribus.experiment.extra_runs import ExtraRun, run_extra_runs
from paribus.experiment.plan import Environment, Plan
from paribus.lab.request import Request
from paribus.store.events import Observe
from paribus.store.records import Record
from paribus.store.store import Store

if TYPE_CHECKING:
    from paribus.data import Corpus


@dataclass(frozen=True)
class Workspace:
    """Where a study is trained.

    Args:
        study: the study of the request, with its widths solved.
        evaluation_digest: digest of the tokens that are scored.
    """

    request: Request
    study: Study
    store: Store
    corpus: Corpus
    evaluation_digest: str
    environment: Environment
    executor: Executor
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
            study_file=self.request.file,
            executor=self.executor,
            observe=self.observe,
        )


@contextmanager
def open_workspace(
    request: Request,
    store: str | Path,
    executor: str | Executor,
    device: str | None,
    workers: int | None,
    observe: Observe,
) -> Iterator[Workspace]:
    """Hold ``store`` and the executor while the study is trained.

    Raises StudyError for an executor or device that is not there, DataError for a corpus that cannot be used, and
    StoreError for a store that another process holds.
    """
    from paribus.execution.devices import choose_device
    from paribus.execution.executors import find_executor, started
    from paribus.execution.trained import prepare_data
    from paribus.lab.matching import solve_widths

    device = choose_device(device)
    if executor == "local" and not request.travels:
        observe({"event": "message", "text": "classes of __main__ cannot be sent to workers: running in this process"})
        executor = "inline"
    resources = Resources(device, len(request.study.arms) * request.study.max_seeds, workers)
    found = find_executor(executor, resources)
    if not (request.travels or found.sees_main):
        raise StudyError(
            f"executor {executor!r} finds no classes of __main__, such as a notebook's; put them into a .py file"
        )
    place = Store.create(store)
    with place.lock(), started(found) as running:
        observe({"event": "message", "text": request.study.question})
        observe({"event": "message", "text": "preparing the corpus"})
        corpus, held_out = prepare_data(request.study.data, request.study.training)
        yield Workspace(
            request=request,
            study=solve_widths(request.study, corpus.vocab_size),
            store=place,
            corpus=corpus,
            evaluation_digest=held_out.digest,
            environment=Environment.here(corpus.digest, device),
            executor=running,
            observe=observe,
        )
