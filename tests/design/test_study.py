import copy
import inspect
import math
import re

import pytest

from paribus.design.metrics import Metric
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import Arm, Study
from paribus.design.trees import Change
from paribus.design.tuning import Tuning
from paribus.errors import StudyError
from toy_study import RECIPE, Optimizer, Part, make_study


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"margin": -0.1}, "margin must be finite and not negative, got -0.1 nats/token"),
        ({"margin": math.nan}, "margin must be finite"),
        ({"margin": "0.1"}, "margin must be a number, got the str '0.1'"),
        ({"alpha": "0.05"}, "alpha must be a number, got the str '0.05'"),
        ({"max_seeds": "3"}, "max_seeds must be a whole number of at least 1, got '3'"),
        ({"first_seed": -1}, "first_seed must be a whole number of at least 0, got -1"),
        ({"question": 3}, "question is a sentence such as 'Is it better?', got 3"),
        ({"question": " "}, "question is a sentence"),
        ({"training": spec(Part, inner=(spec(Part),) * 40)}, "got Part(inner=(" + "Part(), " * 8 + "P..."),
        ({"treatments": {3: spec(Part)}}, "a treatment's name is a str, got 3; write '3'"),
        ({"treatments": {"a\tb": spec(Part)}}, r"cannot be called 'a\tb'"),
        ({"max_seeds": 21}, "max_seeds <= 20"),
        ({"min_seeds": 1}, "2 <= min_seeds"),
        ({"min_seeds": 5, "max_seeds": 4}, "got 5 and 4"),
        ({"treatments": {}}, "at least one treatment"),
        ({"treatments": {"baseline": spec(Part)}}, "cannot be called 'baseline'"),
        ({"treatments": {"wide": Part}}, "treatment 'wide' must be a Spec or an Arm"),
        ({"primary": ("wdie",)}, "primary names no treatment 'wdie'; did you mean 'wide'?"),
        ({"changes": {"narrow": ("*",)}}, "changes names no treatment 'narrow'"),
        ({"primary": ()}, "primary is empty"),
        ({"alpha": 0.0}, "0 < alpha"),
        ({"boundary": "group-sequential"}, "Study has no field 'boundary'"),
        ({"baseline": Part}, "baseline must be a Spec"),
        ({"metric": Metric("val_los", "nats")}, "did you mean 'val_loss'?"),
        ({"metric": Metric("parameters", "")}, "no study is judged on 'parameters'"),
        ({"metric": Metric("val_accuracy", "share")}, "'val_accuracy' says lower is better; higher is"),
        ({"metric": "val_loss"}, "metric must be a Metric such as paribus.VAL_LOSS"),
        ({"changes": {"wide": "*norm"}}, "write ('*norm',)"),
        ({"primary": "wide"}, "write ('wide',)"),
        ({"treatments": [spec(Part)]}, "treatments must be a dict"),
        ({"data": "stdlib"}, "data must be a spec"),
        ({"training": spec(Part)}, "training must be a Training"),
        (
            {"treatments": {"wide": Arm(spec(Part), RECIPE.replace(evaluation_tokens=7))}},
            "treatment 'wide' has evaluation_tokens 7, the baseline 32768",
        ),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(changes, said):
    with pytest.raises(StudyError) as caught:
        make_study(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": 0}, "tokens must be a whole number of at least 1, got 0"),
        ({"batch_tokens": 105}, "batch_tokens 105 must be a multiple"),
        ({"micro_batch_tokens": 30}, "micro_batch_tokens 30"),
        ({"tokens": 50}, "less than one step"),
        ({"evaluations": 11}, "more than the 10 steps"),
        ({"precision": "fp16"}, "got 'fp16'"),
        ({"clip": 0}, "clip must be positive"),
        ({"curve_tokens": 0}, "curve_tokens must be a whole number of at least 1"),
        ({"averaged": 1.5}, "averaged is a share of the 10 steps"),
        ({"averaged": 0.1}, "that holds two of them at least, or 0, got 0.1"),
        ({"averaged": "half"}, "averaged must be a number"),
        ({"compile": "yes"}, "compile is True or False, got 'yes'"),
        ({"optimizer": Optimizer}, "optimizer must be a spec"),
        ({"schedule": Optimizer}, "schedule must be a spec"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes, said):
    with pytest.raises(StudyError) as caught:
        RECIPE.replace(**changes)
    assert said in str(caught.value)


def test_all_treatments_are_primary_unless_the_study_says_otherwise():
    study = make_study(treatments={"a": spec(Part, width=2), "b": spec(Part, width=3)})
    assert study.primary == ("a", "b")
    assert study.replace(primary=("b",)).primary == ("b",)


def test_arms_carry_the_shared_recipe_unless_they_have_their_own():
    slow = RECIPE.replace(optimizer=spec(Optimizer, lr=0.01))
    study = make_study(treatments={"slow": Arm(spec(Part), slow), "wide": spec(Part, width=2)})
    assert list(study.arms) == ["baseline", "slow", "wide"]
    assert study.arms["wide"].training is RECIPE
    assert study.diff("slow") == (Change("training.optimizer.lr", 0.1, 0.01),)
    assert study.diff("wide") == (Change("width", 1, 2),)


def test_a_recipe_survives_json():
    recipe = RECIPE.replace(schedule=spec(Part, width=3), target_loss=2.5)
    assert Training.from_json(recipe.to_json()) == recipe


def test_a_metric_has_a_direction():
    with pytest.raises(StudyError, match="'lower' or 'higher'"):
        Metric("loss", "nats", better="less")


def test_a_run_trains_on_whole_steps():
    recipe = RECIPE.replace(tokens=1050)
    assert (recipe.steps, recipe.trained_tokens) == (10, 1000)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: make_study(turning=None), "Study has no field 'turning'; did you mean 'tuning'?"),
        (lambda: make_study(rate_probe=(), extra_rates=()), "Study has no field 'rate_probe'"),
        (lambda: make_study().replace(marign=1), "Study has no field 'marign'; did you mean 'margin'?"),
        (lambda: Tuning(ovre=1), "Tuning has no field 'ovre'; did you mean 'over'?"),
        (lambda: RECIPE.replace(zzz=1), "Training has no field 'zzz'; there is 'tokens', 'batch_tokens'"),
        (lambda: Arm(spec(Part), recipe=RECIPE), "Arm has no field 'recipe'; there is 'model', 'training'"),
        (
            lambda: Metric("val_loss", "nats/token", beter="lower"),
            "Metric has no field 'beter'; did you mean 'better'?",
        ),
        (lambda: Study(question="Is it?", baseline=spec(Part)), "Study needs treatments, data, training, margin"),
        (lambda: Metric("val_loss"), "Metric needs unit"),
    ],
)
def test_a_field_too_many_or_too_few_is_refused_by_its_name(make, said):
    with pytest.raises(StudyError, match=re.escape(said)):
        make()


def test_a_field_of_an_older_study_file_is_taken_under_its_new_name():
    with pytest.warns(FutureWarning, match="rate_probe is called extra_rates now"):
        assert make_study(rate_probe=(0.25,)).extra_rates == (0.25,)


def test_studies_can_be_copied_with_their_fields():
    study = make_study()
    assert copy.copy(study) == study


def test_the_fields_of_a_study_are_its_signature():
    parameters = inspect.signature(Study).parameters
    assert parameters["max_seeds"].default == 10
    assert parameters["margin"].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_primary_treatment_is_named_once():
    with pytest.raises(StudyError, match="primary names 'wide' twice"):
        make_study(primary=("wide", "wide"))


def test_what_nobody_wrote_is_filled_in_anew_in_a_changed_study():
    others = {"tall": spec(Part, width=3), "taller": spec(Part, width=4)}
    assert make_study().replace(margin=0.2).replace(treatments=others).primary == ("tall", "taller")
    with pytest.raises(StudyError, match="primary names no treatment 'wide'"):
        make_study(primary=("wide",)).replace(treatments=others)
    contrasted = make_study().replace(contrasts={"c": {"wide": 1, "baseline": -1}})
    assert (contrasted.primary, contrasted.extra_rates) == ((), ())
    assert make_study(extra_rates=(0.1,)).replace(margin=0.2).extra_rates == (0.1,)
