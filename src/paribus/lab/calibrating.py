"""`paribus calibrate`: what a study's own noise is, before money is spent on its arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paribus.design.metrics import Metric
from paribus.design.study import BASELINE, Study
from paribus.errors import StudyError
from paribus.experiment.executor import Executor
from paribus.experiment.extra_runs import ExtraRun, plan_extra_runs
from paribus.experiment.plan import plan
from paribus.judgement import NullCalibration, Rule
from paribus.judgement.power import calibrate_null
from paribus.lab.request import read_request
from paribus.lab.workspace import Workspace, open_workspace
from paribus.store.events import Observe
from paribus.store.files import FORMAT
from paribus.store.records import Record
from paribus.store.store import DEFAULT_STORE


@dataclass(frozen=True)
class Calibration:
    """What ``calibrate`` returns: the noise of a study's baseline, and what the study's budget can settle in it.

    Args:
        null: standard deviations, chances of each verdict, smallest margins, and what to make of them.
        tunes: whether the study tunes; the noise is then that of the recipe in its file.
        contrasts: contrast to its sd in units of a pair's, where arms share no noise.
        file: where the numbers were written.
    """

    name: str
    metric: Metric
    null: NullCalibration
    tunes: bool
    contrasts: Mapping[str, float]
    file: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """What ``file`` holds."""
        return {
            "format": FORMAT,
            "name": self.name,
            "metric": self.metric.to_json(),
            "null": self.null.to_json(),
            "tunes": self.tunes,
            **({"contrasts": dict(self.contrasts)} if self.contrasts else {}),
        }


def calibrate(
    study: str | Path | Study,
    store: str | Path = DEFAULT_STORE,
    *,
    scale: str | None = None,
    data: str | None = None,
    executor: str | Executor = "local",
    device: str | None = None,
    devices: int | None = None,
    max_seeds: int | None = None,
    observe: Observe | None = None,
) -> Calibration:
    """Run the baseline against itself: its sd over seeds, what rounding alone moves, and what this budget can settle.

    The baseline runs on the first seeds of the study, which the study then need not do again, and once more from
    initial weights that are moved by one unit in the last place. What is on disk is not done again. A study that tunes
    is calibrated with the recipe of its file. ``observe`` is called with every event; None shows them, as ``run`` does.
    Raises ParibusError for a study, corpus or store that cannot be used, and StudyError where a run fails.
    """
    from paribus.lab.notebook import watch

    request = read_request(study, scale, data, max_seeds)
    with watch(observe) as observe, open_workspace(request, store, executor, device, devices, observe) as workspace:
        workspace.tell("the baseline against itself: initial weights moved by one unit in the last place")
        calibration = Calibration(
            name=request.name,
            metric=workspace.study.metric,
            null=_run_null(workspace),
            tunes=workspace.study.tuning is not None,
            contrasts={name: contrast.noise for name, contrast in workspace.study.contrasts.items()},
        )
        file = workspace.store.write_null(request.name, calibration.to_json())
    return replace(calibration, file=Path(file))


def _run_null(workspace: Workspace) -> NullCalibration:
    study, planned = workspace.study, plan(workspace.study, workspace.environment)
    perturbed = plan_extra_runs(planned)["null"]
    plain = [ExtraRun(planned.run(BASELINE, trial.run.seed), trial.arm) for trial in perturbed]
    pairs = [trial for pair in zip(plain, perturbed, strict=True) for trial in pair]
    records = workspace.run(pairs, planned)
    of_plain, of_perturbed = ([_value(study, records[t.run.digest]) for t in side] for side in (plain, perturbed))
    return calibrate_null(of_plain, of_perturbed, Rule.of_study(study), study.metric.unit)


def _value(study: Study, record: Record) -> float:
    if record.status != "done":
        why = (record.error or record.status).strip().splitlines()[0]
        raise StudyError(f"the baseline cannot be compared with itself: seed {record.seed} {record.status}: {why}")
    return record.metrics[study.metric.key]
