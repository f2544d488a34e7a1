"""The whole flow: Study -> plan -> runs -> records; audits -> findings; comparisons -> verdicts -> report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from paribus.design.study import BASELINE, Study
from paribus.experiment.plan import is_asked_for, plan, plan_trials
from paribus.experiment.registering import register
from paribus.experiment.scheduler import Campaign
from paribus.lab.judging import judge, without_extra_rates
from paribus.lab.request import read_request
from paribus.reports.result import Result
from paribus.store.events import Observe
from paribus.store.files import read_json
from paribus.store.records import Finding
from paribus.store.store import DEFAULT_STORE


def run(
    study: str | Path | Study,
    store: str | Path = DEFAULT_STORE,
    *,
    scale: str | None = None,
    data: str | None = None,
    executor: str = "local",
    device: str | None = None,
    devices: int | None = None,
    max_seeds: int | None = None,
    confirm: bool = False,
    observe: Observe | None = None,
) -> Result:
    """Run what is missing of ``study``, pair by pair until every treatment has a verdict; judge; write the report.

    What is on disk is not done again; an interrupted run goes on from its checkpoint. ``executor`` is "local", worker
    processes on this machine, or "inline", this process; a Study with classes of ``__main__`` runs in this process, and
    says so.
    ``observe`` is called with every event; None shows them: in a notebook's cell, at a terminal, or line by line.
    Raises ParibusError for a study, corpus or store that cannot be used; what was finished before stays.
    """
    from paribus.audits import audit_design, find_odd_schedules
    from paribus.experiment.tuner import tune
    from paribus.lab.notebook import watch
    from paribus.lab.workspace import set_up
    from paribus.reports import FORMS, write_report

    asked = read_request(study, scale, data, max_seeds, confirm)
    with watch(observe) as told, set_up(asked, store, executor, device, devices, told) as bench:
        made, tuned = plan(bench.study, bench.environment), None
        bench.tell("auditing the design")
        findings = [*asked.findings, *audit_design(bench.study, bench.corpus)]
        for finding in findings:
            if finding.check in ("corpus", "matching"):  # what was put in place of what the study file says
                bench.tell(finding.message)
        if bench.study.tuning and not _is_invalid(findings, bench.study):
            bench.tell("tuning")
            best, tuned = tune(made, partial(bench.run, plan=made))
            made = plan(best, bench.environment)
            findings += [found for found in find_odd_schedules(best) if found not in findings]
        trials = plan_trials(made)
        source = {"title": bench.corpus.title, "digest": bench.corpus.digest}
        registration = register(
            bench.store, asked.name, made, source, bench.evaluation_digest, findings, trials=trials, tuning=tuned
        )
        bench.tell("training")
        campaign = Campaign(bench.store, made, registration, asked.file, findings, told)
        bench.execute(campaign.next_job, campaign.observe, campaign.wanted)
        judged = judge(store, registration["name"])
        rows = {**judged["treatments"], **judged.get("contrasts", {})}
        verdicts = {name: row["verdict"]["kind"] for name, row in rows.items() if row["verdict"]}
        unprobed = without_extra_rates(judged["study"])
        beside = [
            t for kind in ("rates", "widths") for t in trials[kind] if is_asked_for(kind, t.about, verdicts, unprobed)
        ]
        if beside and judged["complete"]:
            bench.tell("would the verdict turn? runs at other learning rates and widths")
            bench.run(beside, made)
            judged = judge(store, registration["name"])
        folder = bench.store.study_folder(registration["name"])
        paths = {form: write_report(judged, folder, form) for form in FORMS}
    return Result(judged["name"], read_json(paths["json"]), paths["html"])


def _is_invalid(findings: Sequence[Finding], study: Study) -> bool:
    """Whether no primary treatment or contrast can get a verdict any more, so that nothing is worth training."""
    condemned = {finding.arm for finding in findings if finding.severity == "invalid"}
    asked = [{name} for name in study.primary] + [set(contrast.weights) for contrast in study.contrasts.values()]
    return bool(condemned & {None, BASELINE}) or all(condemned & arms for arms in asked)
