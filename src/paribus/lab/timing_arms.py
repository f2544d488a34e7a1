"""`paribus time`: whole training steps of a study's arms, in turn on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paribus.design.plain import read_plain, to_plain
from paribus.design.study import Study
from paribus.errors import StoreError
from paribus.experiment.plan import plan
from paribus.experiment.stored_evidence import read_registration
from paribus.experiment.tuner import with_recipes
from paribus.judgement.speed import BusyTry, MeasuredTimes
from paribus.lab.reporting import report
from paribus.lab.request import read_request
from paribus.lab.workspace import Workspace, open_workspace
from paribus.reports.result import Result
from paribus.store.events import Observe
from paribus.store.store import DEFAULT_STORE, Store


def time(
    study: str | Path | Study,
    store: str | Path = DEFAULT_STORE,
    *,
    scale: str | None = None,
    data: str | None = None,
    device: str | None = None,
    max_seeds: int | None = None,
    confirm: bool = False,
    observe: Observe | None = None,
) -> Result:
    """Compare the times of a study's arms: interleaved blocks of training steps, in this process; report them.

    The study must be registered in ``store``, as ``run`` does before its first run; none of its runs need be finished,
    and no verdict changes. Arms are timed once, and again only where the machine was busy: times chosen among several
    have no error rate. ``observe`` is called with every event; None shows them, as ``run`` does.
    Raises StoreError where the study as it is now was never registered, and ParibusError for a study, corpus, device or
    store that cannot be used.
    """
    from paribus.lab.notebook import watch

    Store.open(store)
    request = read_request(study, scale, data, max_seeds, confirm)
    with watch(observe) as observe, open_workspace(request, store, "inline", device, None, observe) as workspace:
        registered, name = _find_registered(workspace)
        _time_once(workspace, registered, name)
    return report(store, name)


def _find_registered(workspace: Workspace) -> tuple[Study, str]:
    """The study with the recipes that its registration has, and the name of the latter."""
    for name in workspace.store.study_names():
        registration = read_registration(workspace.store, name)
        study = workspace.study
        if registration.runs.keys() != study.arms.keys():
            continue
        if tuned := registration.tuning:
            study = with_recipes(study, {name: arm.best for name, arm in tuned.arms.items()})
        runs = plan(study, workspace.environment).runs
        digests = {arm: tuple(run.digest for run in of_arm) for arm, of_arm in runs.items()}
        found = (registration.study.to_json(), registration.runs, registration.evaluation_digest)
        if found == (study.to_json(), digests, workspace.evaluation_digest):
            return study, name
    raise StoreError(
        f"{workspace.store} has no registration of {workspace.request.name!r} as it is now; `paribus run` "
        "registers a study and runs it: call it first, with the same options"
    )


def _time_once(workspace: Workspace, study: Study, name: str) -> None:
    from paribus.execution.timing import measure_times

    known = workspace.store.read_timing(name)
    if known and not (earlier := read_plain(MeasuredTimes, known)).busy:
        workspace.tell(f"the arms were timed already; {workspace.store} holds their times")
        return
    tries = (*earlier.busy_before, BusyTry(earlier.rejected_rounds, earlier.rounds)) if known else ()
    workspace.tell("timing the arms in turn, on this machine alone")
    measured = measure_times(study, workspace.corpus, device=workspace.environment.device, observe=workspace.observe)
    workspace.store.write_timing(name, to_plain(replace(measured, busy_before=tries)))
