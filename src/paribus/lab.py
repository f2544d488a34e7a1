"""The whole flow: Study -> plan -> runs -> records; audits -> findings; comparisons -> verdicts -> report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.calibration import read_null
from paribus.campaign import Campaign, Observe, summarize
from paribus.errors import HubUnreachable, SpecError, StoreError
from paribus.judgement import decide, describe_difference, describe_method, suspend
from paribus.judgement.comparison import Comparison
from paribus.judgement.summaries import summarize_arm
from paribus.records import DEFAULT_STORE, FORMAT, Finding, Store, read_findings, read_json, write_json
from paribus.registration import Records, compare_records, read_records, read_registration, register, seeded
from paribus.request import read_request
from paribus.result import Result
from paribus.runs import plan
from paribus.study import BASELINE, Study
from paribus.trials import WIDTHS, is_asked_for, plan_trials, read_trials
from paribus.tuning import arms_without_rates

if TYPE_CHECKING:
    from paribus.bench import Bench

TIMES = "timing.json"


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
    timing: bool = False,
    observe: Observe | None = None,
) -> Result:
    """Run what is missing of ``study``, pair by pair until every treatment has a verdict; judge; write the report.

    What is on disk is not done again; an interrupted run goes on from its checkpoint. ``executor`` is "local", worker
    processes on this machine, or "inline", this process; a Study with classes of ``__main__`` runs in this process, and
    says so. ``timing`` adds a comparison of the arms' times in interleaved blocks, on this machine alone.
    ``observe`` is called with every event; None shows them: in a notebook's cell, at a terminal, or line by line.
    Raises ParibusError for a study, corpus or store that cannot be used; what was finished before stays.
    """
    from paribus.audits import audit_design, find_odd_schedules
    from paribus.bench import set_up
    from paribus.notebook import watch
    from paribus.reports import FORMS, write_report
    from paribus.search import tune

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
        unprobed = _unprobed(judged["study"])
        beside = [
            t for kind in ("rates", "widths") for t in trials[kind] if is_asked_for(kind, t.about, verdicts, unprobed)
        ]
        if beside and judged["complete"]:
            bench.tell("would the verdict turn? runs at other learning rates and widths")
            bench.run(beside, made)
            judged = judge(store, registration["name"])
        folder = bench.store.study_folder(registration["name"])
        paths = {form: write_report(judged, folder, form) for form in FORMS}
        if timing:
            _time_arms(bench, made.study, folder)
            judged = judge(store, registration["name"])
            paths = {form: write_report(judged, folder, form) for form in FORMS}
    return Result(judged["name"], read_json(paths["json"]), paths["html"])


def judge(store: str | Path, name: str) -> dict[str, Any]:
    """Judge a registered study from what lies in the store and write ``verdicts.json``; imports no user code.

    Raises StoreError when there is no such study or a file is damaged, JudgementError when its registration
    was changed.
    """
    from paribus.audits import audit_records, audit_times, audit_trials

    place = Store.open(store)
    registration = read_registration(place, name)
    finished = read_records(place, registration)
    comparisons = compare_records(registration, finished)
    records = _keep_judged(finished, comparisons)
    findings = read_findings(place.study_folder(name) / "findings.json")
    findings += audit_records(registration["study"], records, place.read_steps)
    trials, null = _read_asked_trials(place, registration, comparisons, findings), read_null(place, registration)
    findings += audit_trials(registration, comparisons, records, trials, null, findings)
    beside = {"trials": trials, "null": null, "tuning": registration.get("tuning"), "timing": None}
    if (times := place.study_folder(name) / TIMES).exists():
        measured = read_json(times)["measured"]
        doubts = [finding.to_json() for finding in audit_times(registration["study"], measured)]
        beside["timing"] = {"measured": {**measured, "findings": doubts}}
    judged = {**_describe(registration, records, comparisons, findings), **beside}
    write_json(place.study_folder(name) / "verdicts.json", judged)
    return judged


def report(store: str | Path, form: str = "md", name: str | None = None) -> Path:
    """Judge and render a study again, "md", "html" or "json"; returns the path of what was written.

    Raises StoreError where the store holds no study ``name``, or several and none is named.
    """
    from paribus.reports import write_report

    names = study_names(store)
    if not names:
        raise StoreError(f"{store} holds no registered study yet")
    if name is None and len(names) != 1:
        raise StoreError(f"{store} holds {len(names)} studies ({', '.join(names)}); name one")
    name = name or names[0]
    return write_report(judge(store, name), Store.open(store).study_folder(name), form)


def study_names(store: str | Path) -> list[str]:
    """The studies registered in a store, by name."""
    return Store.open(store).study_names()


def status(store: str | Path) -> dict[str, Any]:
    """What is done, diverged, failed and started per study, and how far its verdicts are. Imports no user code.

    ``finished_runs`` counts those beside the pairs too; ``nulls`` names the calibrations.
    """
    place = Store.open(store)
    studies = {}
    for name in place.study_names():
        registration = read_registration(place, name)
        records = read_records(place, registration)
        started = {
            arm: [
                seed
                for seed, digest in seeded(registration, arm)
                if seed not in records[arm] and (place.run_folder(digest) / "run.json").exists()
            ]
            for arm in records
        }
        runs = {
            arm: {
                **{s: [seed for seed, r in of_arm.items() if r.status == s] for s in ("done", "diverged", "failed")},
                "unfinished": started[arm],
            }
            for arm, of_arm in records.items()
        }
        findings = read_findings(place.study_folder(name) / "findings.json")
        rows = summarize(compare_records(registration, records), findings)
        studies[name] = {"question": registration["study"]["question"], "runs": runs, "treatments": rows}
    finished = len(list(place.folder.glob("runs/*/result.json")))
    nulls = sorted(path.stem for path in place.folder.glob("nulls/*.json"))
    return {"format": FORMAT, "store": str(store), "finished_runs": finished, "nulls": nulls, "studies": studies}


def check(study: str | Path | Study, *, scale: str | None = None, data: str | None = None) -> Checked:
    """Audit a study before it trains, on this machine. Trains nothing and writes nothing but the prepared corpus.

    A study whose data cannot be fetched from the hub here is audited without them, which is a finding, if its tokenizer
    says its ``vocab_size``.
    """
    from paribus.audits import audit_arms, audit_design, measure_arms
    from paribus.bench import prepare_corpus
    from paribus.matching import solve_widths

    asked = read_request(study, scale, data)
    unread: tuple[Finding, ...] = ()
    try:
        corpus, _ = prepare_corpus(asked.study)
        vocab_size, manifest = corpus.vocab_size, corpus.manifest
    except HubUnreachable as error:
        if not (vocab_size := _declared_vocabulary(asked.study)):
            raise
        corpus, manifest, unread = None, {}, (_unread(error, vocab_size),)
    solved = solve_widths(asked.study, vocab_size)
    facts = measure_arms(solved, vocab_size)
    found = audit_design(solved, corpus, facts) if corpus else audit_arms(solved, vocab_size, facts)
    return Checked(asked.name, solved, manifest, facts, (*asked.findings, *unread, *found))


@dataclass(frozen=True)
class Checked:
    """What ``check`` found: sizes and costs of the arms, and findings."""

    name: str
    study: Study
    data: Mapping[str, Any]
    arms: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def is_invalid(self) -> bool:
        return any(finding.severity == "invalid" for finding in self.findings)

    @property
    def plan(self) -> dict[str, float]:
        """What the study costs at most: pairs, runs, training tokens and floating-point operations.

        Runs beside the pairs are counted apart: of the tuning (before its grid grows), at other rates, at other widths.
        """
        per_seed = {name: arm.training.trained_tokens for name, arm in self.study.arms.items()}
        flops = sum(tokens * self.arms[name].flops["training_flops_per_token"] for name, tokens in per_seed.items())
        pairs = self.study.max_seeds
        tokens = pairs * sum(per_seed.values())
        tuning = self.study.tuning
        return {
            "pairs": pairs,
            "runs": pairs * len(per_seed),
            "tokens": tokens,
            "training_flops": pairs * flops,
            "tuning_runs": len(tuning.points) * tuning.seeds * len(per_seed) if tuning else 0,
            "rate_probe_runs": 0
            if tuning or arms_without_rates(self.study.arms)
            else len(self.study.rate_probe) * (1 + len(self.study.primary)),
            "width_runs": len(WIDTHS) * self.study.min_seeds if self.study.width_response else 0,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "question": self.study.question,
            "plan": self.plan,
            "margin": self.study.margin,
            "metric": self.study.metric.to_json(),
            "arms": {name: facts.to_json() for name, facts in self.arms.items()},
            "findings": [finding.to_json() for finding in self.findings],
            "data": dict(self.data),
        }


def _unread(error: Exception, vocab_size: int) -> Finding:
    return Finding(
        check="corpus",
        severity="doubt",
        message=f"the corpus was not read, and nothing is known of its split; sizes hold for {vocab_size:,} tokens. "
        f"{error}",
        evidence={"vocab_size": vocab_size},
        remedy="check again where the hub can be reached, or name another corpus with --data",
    )


def _declared_vocabulary(study: Study) -> int | None:
    try:
        return study.data["tokenizer.vocab_size"]
    except SpecError:
        return None


def _is_invalid(findings: Sequence[Finding], study: Study) -> bool:
    """Whether no primary treatment or contrast can get a verdict any more, so that nothing is worth training."""
    condemned = {finding.arm for finding in findings if finding.severity == "invalid"}
    asked = [{name} for name in study.primary] + [set(contrast.weights) for contrast in study.contrasts.values()]
    return bool(condemned & {None, BASELINE}) or all(condemned & arms for arms in asked)


def _unprobed(study: Mapping[str, Any]) -> list[str]:
    """What gets a verdict, and no pair at other learning rates."""
    return [*study["null"], *study.get("contrasts", ())]


def _read_asked_trials(
    place: Store, registration: Mapping[str, Any], comparisons: Mapping[str, Comparison], findings: Sequence[Finding]
) -> dict[str, list[dict[str, Any]]]:
    """The trials that were made for this study: others of the store may have made the same runs."""
    verdicts = {name: decide(c, findings) for name, c in comparisons.items() if c.primary}
    kinds = {name: verdict.kind if verdict else None for name, verdict in verdicts.items()}
    if None in kinds.values():
        return {}
    unprobed = _unprobed(registration["study"])
    found = read_trials(place, registration)
    asked = {kind: [row for row in rows if is_asked_for(kind, row, kinds, unprobed)] for kind, rows in found.items()}
    return {kind: rows for kind, rows in asked.items() if rows}


def _time_arms(bench: Bench, study: Study, folder: Path) -> None:
    """Time the arms once, and again only where the machine was busy: times chosen among several have no error rate."""
    from paribus.execution.timing import measure_times

    tries = []
    if (file := folder / TIMES).exists():
        known = read_json(file)["measured"]
        if not known["busy"]:
            bench.tell(f"the arms were timed already; {file} holds their times")
            return
        tries = [
            *known.get("busy_before", ()),
            {"rejected_rounds": known["rejected_rounds"], "rounds": known["rounds"]},
        ]
    bench.tell("timing the arms in turn, on this machine alone")
    measured = measure_times(study, bench.corpus, device=bench.environment.device, observe=bench.observe)["measured"]
    write_json(file, {"measured": {**measured, "busy_before": tries}})


def _keep_judged(records: Records, comparisons: Mapping[str, Comparison]) -> Records:
    """The runs that the comparisons read, and the failures that keep an open one from going on.

    Runs ahead of a verdict finish or not as time has it; nothing that is said may depend on them.
    """
    kept: Records = {arm: {} for arm in records}
    for comparison in comparisons.values():
        end = comparison.rule.first_seed + comparison.n_pairs
        pair = [records[arm].get(end) for arm in comparison.arms]
        stuck = any(record is not None and record.status == "failed" for record in pair)
        if stuck and (not comparison.primary or decide(comparison) is None):
            end += 1
        for arm in comparison.arms:
            kept[arm] |= {seed: record for seed, record in records[arm].items() if seed < end}
    return {arm: dict(sorted(of_arm.items())) for arm, of_arm in kept.items()}


def _sharing(study: Mapping[str, Any]) -> str:
    """What shares the error rate."""
    kinds = {"primary treatments": study["primary"], "contrasts": study.get("contrasts")}
    return " and ".join(kind for kind, names in kinds.items() if names)


def _describe(
    registration: Mapping[str, Any], records: Records, comparisons: Mapping[str, Comparison], findings: list[Finding]
) -> dict[str, Any]:
    """Everything a report says, as plain values; what a clock measured stands in ``measured`` alone."""
    study = registration["study"]
    treatments, contrasts, complete = {}, {}, True
    for name, comparison in comparisons.items():
        verdict = decide(comparison, findings) if comparison.primary else None
        if comparison.primary and verdict is None:
            complete, verdict = False, suspend(comparison, findings, "not finished")
        said = {
            "comparison": comparison.to_json(),
            "verdict": verdict.to_json() if verdict else None,
            "description": describe_difference(comparison),
        }
        if comparison.contrast:
            contrasts[name] = said
        else:
            treatments[name] = {"primary": comparison.primary, "null": name in study["null"], **said}
    seeds = {
        arm: max((comparison.seeds for comparison in comparisons.values() if arm in comparison.arms), key=len)
        for arm in records
    }
    arms = {name: summarize_arm([records[name][seed] for seed in seeds[name]]) for name in records}
    return {
        "format": FORMAT,
        "name": registration["name"],
        "question": study["question"],
        "attempt": registration["attempt"],
        "complete": complete,
        "method": describe_method(next(iter(comparisons.values())).rule, _sharing(study)),
        "study": study,
        "registration_digest": registration["digest"],
        "data": registration["data"],
        "evaluation_digest": registration["evaluation_digest"],
        "device": registration["device"],
        "packages": next((r.pairing["packages"] for a in records.values() for r in a.values() if r.pairing), {}),
        "treatments": treatments,
        **({"contrasts": contrasts} if contrasts else {}),
        "failed_runs": [
            {"arm": arm, "seed": seed, "error": record.error}
            for arm, of_arm in records.items()
            for seed, record in of_arm.items()
            if record.status == "failed"
        ],
        "findings": [finding.to_json() for finding in findings],
        "arms": {name: {key: value for key, value in arm.items() if key != "measured"} for name, arm in arms.items()},
        "measured": {name: arm["measured"] for name, arm in arms.items()},
    }
