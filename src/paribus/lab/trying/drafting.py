"""Write the study file that asks about a class: complete, to be read, edited and run again."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paribus.nn
from paribus.design.specs import Spec
from paribus.design.study import Study
from paribus.design.study_files import built_in_studies, read_study
from paribus.design.wording import suggest
from paribus.errors import PartError, SpecError, StudyError
from paribus.lab.trying.examination import GIVEN, Examination
from paribus.nn.conformance.suite import CheckResult
from paribus.nn.contract import build_model
from paribus.nn.slots import SLOTS, parts_of

RECIPES = {
    "llama": {"d_model": 96, "n_layers": 3, "n_heads": 3},
    "gpt2": {"d_model": 96, "n_layers": 3, "n_heads": 3},
    "mixtral": {"d_model": 96, "n_layers": 3, "n_heads": 3, "n_experts": 8, "top_k": 2, "d_ff": 128},
    "deepseek_v3": {"d_model": 96, "n_layers": 3, "n_heads": 3, "n_experts": 8, "top_k": 2},
    "hrm": {"d_model": 96, "n_low": 1, "n_high": 1, "n_heads": 3},
    "looped": {"d_model": 96, "n_layers": 2, "n_loops": 2, "n_heads": 3},
}
"""Recipe of ``paribus.nn`` to its arguments at the quick scale."""

_SPOILING = ("keeps its shape", "is causal", "keeps rows apart", "registers its weights")
_TAKEN = ("pb", "baseline", "training", "study", "other")  # names of the study file itself
_LONGEST_NAME = 100
INITS = ("model", "own")
"""How a class of the user's starts: like the parts of the model around it, the default, or as it does by itself."""

_VOCABULARY, _WINDOW = 1024, 128  # of the study that is written
MARGINS = {"llama": 0.03, "gpt2": 0.032, "mixtral": 0.032, "deepseek_v3": 0.026, "hrm": 0.049, "looped": 0.032}
"""Recipe to what 5 % more tokens buys it, nats per token, as benchmarks/margins.py has measured it."""


_DATA = 'pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024))'
_TRAINING = """pb.Training(
    tokens=100 * 2048,
    batch_tokens=2048,
    seq_len=128,
    evaluations=3,
    optimizer=pb.spec(pb.training.MuonAdamW, lr=0.02, adamw_lr=0.01),
)"""


@dataclass(frozen=True)
class _Ground:
    """What a study file takes from elsewhere, as Python text: all but the treatment."""

    imports: tuple[str, ...]
    baseline: str
    training: str
    data: str
    margin: str
    model: Spec


def draft(
    examination: Examination, baseline: str | None = None, margin: float | None = None, init: str = INITS[0]
) -> Path:
    """Write ``try_<class>.py`` beside the class, a study of it against ``baseline``; return its path.

    ``init`` is "model" or "own". A part whose weights torch drew by default is judged, with "model", as
    ``initialized(spec)``: at the scale of the baseline's parts; as it starts by itself it is described beside that.
    With "own" it is judged as it starts by itself. What the class initializes on purpose stays in both.
    ``baseline`` is a recipe of ``paribus.nn`` or a study's name; without one it is ``llama``, for a router ``mixtral``,
    and for a data set or metric the study ``norm``. ``margin`` is the smallest difference worth acting on.
    Raises PartError for a class whose comparison could only be invalid, StudyError for a baseline that is not there or
    has no site for the class, a margin or an ``init`` that is none, a class whose name the file needs itself, and for a
    file that is there already and says something else.
    """
    _require_usable(examination)
    if init not in INITS:
        raise StudyError(f"there is no init {init!r}; {suggest(init, INITS)}")
    idea = examination.idea
    if margin is not None and not (math.isfinite(margin) and margin >= 0):
        raise StudyError(f"margin must be finite and not negative, got {margin}")
    if idea.name in _TAKEN or len(idea.name) > _LONGEST_NAME:
        raise StudyError(f"a study file cannot import {idea.name[:_LONGEST_NAME]!r} under that name; rename the class")
    if idea.kind in ("dataset", "metric"):
        text = _ask_elsewhere(examination, baseline or "norm", margin)
    else:
        ground = _find_ground(baseline or ("mixtral" if examination.slot == "router" else "llama"), margin)
        text = _ask(examination, ground, init)
    text = f'"""{_opening(examination, text, baseline, margin, init)}"""\n\n{text}'
    path = idea.folder / f"try_{_snake(idea.name)}.py"
    if path.stem == idea.module:
        raise StudyError(f"{path.name} is the name of the study file, and holds the class; give its file another name")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise StudyError(
            f"{path.name} is there already and says something else, perhaps an edit of yours: run it with `paribus run "
            f"{path.name}`, or rename or delete it, and try again"
        )
    path.write_text(text, encoding="utf-8")
    return path


def _opening(examination: Examination, text: str, baseline: str | None, margin: float | None, init: str) -> str:
    """The docstring of the file: its question, and the command that wrote it."""
    options = {
        "--slot": examination.slot if examination.why == GIVEN else None,
        "--baseline": baseline,
        "--margin": margin,
        "--init": init if init != INITS[0] else None,
    }
    words = [examination.idea.reference, *(f"--set={key}={value}" for key, value in examination.arguments.items())]
    words += [f"{name}={value}" for name, value in options.items() if value is not None]
    command = shlex.join(["paribus", "try", *words]).replace("\\", "/").replace('"', "'")
    (question,) = re.findall(r'question="(.*)"', text)
    return (
        f"{question}\n\nWritten by `{command}`.\n"
        "Edit it, and run it again with `paribus run`: only runs that the edit changes are made again.\n"
    )


def _require_usable(examination: Examination) -> None:
    spoiled = [c for c in examination.failed if examination.slot is None or _spoils(c)]
    if spoiled:
        place = f" as {examination.slot}" if examination.slot else ""
        lines = [f"  {check.name}: {check.detail}" for check in spoiled]
        raise PartError("\n".join([f"{examination.idea.name}{place} cannot be judged:", *lines]))


def _spoils(check: CheckResult) -> bool:
    """Whether nothing that a part with this fault does can be judged: it would be the fault's verdict."""
    return check.name in _SPOILING or (check.name == "trains every parameter" and not check.ran)


def _ask(examination: Examination, ground: _Ground, init: str) -> str:
    """The text of a study of a part, an optimizer or a schedule."""
    idea, slot = examination.idea, examination.slot
    own = _call(idea.name, examination.arguments)
    if slot == "model":
        changes, before, place = '"*"', "the baseline", "{}"
    elif slot is not None:
        changes, before = f'"{SLOTS[slot].sites}"', _replaced(ground.model, SLOTS[slot].sites, slot)
        place = f"baseline.replace({changes}, {{}})"
    else:
        changes, before = f'"training.{idea.kind}"', f"the {idea.kind} of the baseline"
        place = f"pb.Arm(baseline, training.replace({idea.kind}={{}}))"
    parts = {idea.name: own}
    if init == "model" and slot and _is_drawn_by_torch(ground.model, examination):
        parts = {idea.name: f"pb.initialized({own})", f"{idea.name}, its own init": own}
    arms = {name: place.format(part) for name, part in parts.items()}
    treatments = "".join(f'        "{name}": {arm},\n' for name, arm in arms.items())
    declared = "".join(f'        "{name}": ({changes},),\n' for name in arms)
    primary = f'    primary=("{idea.name}",),  # the other arm shows what the class\'s own initial weights do\n'
    imports = "\n".join(["import paribus as pb", *ground.imports, f"from {idea.module} import {idea.name}"])
    tuning = "    tuning=pb.Tuning(),  # each arm at its own best learning rate\n" if idea.kind == "optimizer" else ""
    return f"""{imports}

baseline = {ground.baseline}
training = {ground.training}
study = pb.Study(
    question="Is {idea.name} as good as {before}?",
    baseline=baseline,
    treatments={{
{treatments}    }},
    changes={{  # what may differ; anything else that does is a finding
{declared}    }},
    data={ground.data},
    training=training,
{primary if len(arms) > 1 else ""}{tuning}    margin={ground.margin}
)
"""


def _is_drawn_by_torch(model: Spec, examination: Examination) -> bool:
    """Whether weights of the class are what torch draws by default where it stands."""
    part = Spec(examination.idea.thing, tuple(sorted(examination.arguments.items())))
    slot = examination.slot or ""
    tried = part if slot == "model" else model.replace(SLOTS[slot].sites, part)
    built = build_model(tried, 0, vocab_size=_VOCABULARY, seq_len=_WINDOW)
    return any(getattr(at, "paribus_torch_defaults", ()) for at in parts_of(built, slot).values())


def _ask_elsewhere(examination: Examination, name: str, margin: float | None) -> str:
    """The text of a study that asks another's question on the user's data, or by the user's metric."""
    idea = examination.idea
    other = _read_baseline_study(name)
    if idea.kind == "metric" and margin is None:
        raise StudyError(
            f"{idea.name} is a metric of your own: say with --margin which difference, in {idea.thing.unit}, is worth "
            "acting on"
        )
    if idea.kind == "metric":
        field, by = f"metric={idea.name}", f"by {idea.name}"
    else:
        field, by = f"data={_call(idea.name, examination.arguments)}", f"on {idea.name}"
    kept = f"    # margin: {other.margin:g} {other.metric.unit}, that of `{name}` on its own data\n"
    said = kept if margin is None else f"    margin={margin},\n"
    question = other.question.removesuffix("?").replace('"', "'")
    return f'''import paribus as pb
from {_module_of(name)} import study as other
from {idea.module} import {idea.name}

study = other.replace(
    question="{question}, {by}?",
    {field},
{said})
'''


def _find_ground(name: str, margin: float | None) -> _Ground:
    if name in RECIPES:
        call = f"pb.nn.{name}({', '.join(f'{key}={value}' for key, value in RECIPES[name].items())})"
        model = getattr(paribus.nn, name)(**RECIPES[name])
        known = f"{MARGINS[name]},  # nats per token: what 5 % more tokens buys the baseline (docs/quick_scale.md)"
        said = known if margin is None else f"{margin},"
        return _Ground((), call, _TRAINING, _DATA, said, model)
    other = _read_baseline_study(name)
    said = "other.margin," if margin is None else f"{margin},"
    return _Ground(
        (f"from {_module_of(name)} import study as other",),
        "other.baseline",
        "other.training",
        "other.data",
        said,
        other.baseline,
    )


def _read_baseline_study(name: str) -> Study:
    known = built_in_studies()
    if name in known:
        return read_study(name).choose()
    offered = f"the built-in studies are {', '.join(known)}"
    if name in RECIPES:
        raise StudyError(f"{name!r} is a model and no study, and asks nothing that this could change; {offered}")
    hint = suggest(name, [*RECIPES, *known], otherwise=f"the recipes are {', '.join(RECIPES)}; {offered}")
    if name.endswith(".py"):
        hint = "a study file of yours is none here: write the file with --write, and edit its baseline"
    raise StudyError(f"there is no baseline {name!r}; {hint}")


def _module_of(study: str) -> str:
    return f"paribus.studies.{study}"


def _replaced(model: Spec, pattern: str, slot: str) -> str:
    """What stands at the sites now, by class."""
    try:
        changes = model.diff(model.replace(pattern, Spec(_Marker)))
    except SpecError:
        able = "mixtral" if slot == "router" else "llama"
        raise StudyError(f"the baseline has no {slot}; choose another, such as --baseline {able}") from None
    names = [change.before.cls.__name__ for change in changes if isinstance(change.before, Spec)]
    return " and ".join(dict.fromkeys(names))


class _Marker:
    pass


def _call(name: str, arguments: Any) -> str:
    return f"pb.spec({', '.join([name, *(f'{key}={value!r}' for key, value in arguments.items())])})"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
