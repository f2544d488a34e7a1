"""Where two specs differ, argument by argument."""

from __future__ import annotations

from dataclasses import dataclass

from paribus.design.study import Study
from paribus.design.trees import Change, site_of


@dataclass(frozen=True)
class Difference:
    """What differs between the baseline and one treatment.

    Args:
        arm: the treatment.
        model: changes of the model spec, by path.
        recipe: changes of the recipe; their paths start with ``training.``.
        sites: paths of the baseline's sites that changed; an argument counts as its site, "" is the model itself.
        n_alike: sites of the baseline whose class is that of a changed one, the changed ones included.
    """

    arm: str
    model: tuple[Change, ...]
    recipe: tuple[Change, ...]
    sites: tuple[str, ...]
    n_alike: int

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.model + self.recipe

    def __str__(self) -> str:
        return f"sites changed: {len(self.sites)} of {self.n_alike}" if self.sites else "sites changed: none"


def compare_specs(study: Study, arm: str) -> Difference:
    """The difference between the baseline and the treatment ``arm``."""
    model = study.baseline.diff(study.arms[arm].model)
    recipe = study.training.diff(study.arms[arm].training)
    before = {"": study.baseline, **study.baseline.sites()}
    sites = tuple(dict.fromkeys(site_of(change.path, study.baseline) for change in model))
    classes = {before[path].cls for path in sites}
    n_alike = sum(site.cls in classes for site in before.values())
    return Difference(arm, model, recipe, sites, n_alike)
