"""The whole flow: Study -> plan -> runs -> records; audits -> findings; comparisons -> verdicts -> report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from paribus.design.study import BASELINE, Study
from paribus.experiment.executor import Executor
from paribus.experiment.extra_runs import due_extra_runs, plan_extra_runs
from paribus.experiment.plan import plan
from paribus.experiment.registering import register
from paribus.experiment.scheduler import Scheduler
from paribus.experiment.stored_evidence import forget_failures, read_evidence
from paribus.lab.judging import audit_evidence, write_judged
from paribus.lab.request import read_request
from paribus.reports.result import Result
from paribus.store.events import Observe
from paribus.store.records import Finding
from paribus.store.store import DEFAULT_STORE


def run(
    study: str | Path | Study,
    store: str | Path = DEFAULT_STORE,
    *,
    scale: str | None = None,
    data: str | None = None,
    executor: str | Executor = "local",
    device: str | None = None,
    devices: int | None = None,
    max_seeds: int | None = None,
    confirm: bool = False,
    observe: Observe | None = None,
) -> Result:
    """Run what is missing of ``study``, pair by pair until every treatment has a verdict; judge; write the report.

    What is on disk is not done again; an interrupted run goes on from its checkpoint. ``executor`` is "local", worker
    processes on this machine, "inline", this process, the name of one that an installed package offers, or an
    ``Executor``; with "local" a Study with classes of ``__main__`` runs in this process, and says so.
    ``observe`` is called with every event; None shows them: in a notebook's cell, at a terminal, or line by line.
    Raises ParibusError for a study, corpus or store that cannot be used; what was finished before stays.
    """
    from paribus.audits import audit_design, find_odd_schedules
    from paribus.experiment.tuner import tune
    from paribus.lab.notebook import watch
    from paribus.lab.workspace import open_workspace

    request = read_request(study, scale, data, max_seeds, confirm)
    with (
        watch(observe) as observe,
        open_workspace(request, store, executor, device, devices, observe) as workspace,
    ):
        planned, tuning = plan(workspace.study, workspace.environment), None
        workspace.tell("auditing the design")
        findings = [*request.findings, *audit_design(workspace.study, workspace.corpus)]
        for finding in findings:
            if finding.check in ("corpus", "matching"):  # what was put in place of what the study file says
                workspace.tell(finding.message)
        if workspace.study.tuning and not _is_invalid(findings, workspace.study):
            workspace.tell("tuning")
            best, tuning = tune(planned, partial(workspace.run, plan=planned))
            planned = plan(best, workspace.environment)
            findings += [finding for finding in find_odd_schedules(best) if finding not in findings]
        extra_runs = plan_extra_runs(planned)
        source = {"title": workspace.corpus.title, "digest": workspace.corpus.digest}
        registration = register(
            workspace.store,
            request.name,
            planned,
            source,
            workspace.evaluation_digest,
            findings,
            extra_runs,
            tuning,
        )
        workspace.tell("training")
        evidence = forget_failures(workspace.store, read_evidence(workspace.store, registration.name))
        scheduler = Scheduler(workspace.store, planned, evidence, request.file, observe)
        workspace.executor.execute(scheduler.next_job, scheduler.observe, scheduler.wanted)
        evidence = scheduler.evidence
        judged = audit_evidence(evidence, workspace.store)
        if due := due_extra_runs(extra_runs, judged):
            workspace.tell("would the verdict turn? runs at other learning rates and widths")
            for record in workspace.run(due, planned).values():
                evidence = evidence.add(record)
            judged = audit_evidence(evidence, workspace.store)
        return write_judged(judged, workspace.store)


def _is_invalid(findings: Sequence[Finding], study: Study) -> bool:
    """Whether no primary treatment or contrast can get a verdict any more, so that nothing is worth training."""
    condemned = {finding.arm for finding in findings if finding.severity == "invalid"}
    judged = [{name} for name in study.primary] + [set(contrast.weights) for contrast in study.contrasts.values()]
    return bool(condemned & {None, BASELINE}) or all(condemned & arms for arms in judged)
