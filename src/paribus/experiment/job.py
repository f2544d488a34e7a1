"""What a worker is sent to do one run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paribus.design.study import Arm
from paribus.experiment.plan import Plan, Run
from paribus.store.store import Store


@dataclass(frozen=True)
class Job:
    """What a worker is sent: everything about a run, as plain values.

    Args:
        digest: identity of the run.
        kind: of the arm, which says what does the run: see ``execution.performing``.
        arm, data: their JSON; of a trained arm the model's spec and the recipe.
        identity: what ``digest`` is over; written to ``run.json``.
        study_file: file that defines the user's own classes, imported before the specs are read.
        nudged: move every initial weight by one unit in the last place, up or down.
        keeps_weights: leave the trained weights in the run's folder; no part of the identity.
        metric: JSON of the user's own metric, which every evaluation measures; None without.
    """

    digest: str
    seed: int
    kind: str
    arm: dict[str, Any]
    data: dict[str, Any]
    identity: dict[str, Any]
    store: str
    device: str
    study_file: str | None = None
    nudged: bool = False
    keeps_weights: bool = False
    metric: dict[str, Any] | None = None

    def to_text(self) -> str:
        """One line of JSON: all that a worker is sent."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> Job:
        """The job that ``to_text`` wrote."""
        return Job(**json.loads(text))


def make_job(store: Store, plan: Plan, run: Run, arm: Arm, study_file: Path | None) -> Job:
    """What a worker is sent to do ``run``, a run of ``arm``.

    Of the study's own runs those of the first seed keep their weights; a run beside the pairs keeps none.
    """
    own = [plan.run(name, plan.study.first_seed).digest for name in plan.study.arms]
    return Job(
        digest=run.digest,
        seed=run.seed,
        kind=arm.kind,
        arm=arm.to_json(),
        data=plan.study.data.to_json(),
        identity=dict(run.identity),
        store=str(store.folder.resolve()),
        device=plan.environment.device,
        study_file=str(study_file.resolve()) if study_file else None,
        nudged=run.identity.get("nudged", False),
        keeps_weights=run.digest in own,
        metric=plan.study.metric.to_json() if plan.study.metric.measure else None,
    )
