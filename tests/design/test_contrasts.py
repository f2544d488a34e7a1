"""Contrasts at the door of a study, and the arms and weights of factorial studies."""

import itertools
import json
import math
from fractions import Fraction

import numpy
import pytest

import paribus as pb
from paribus.design.contrasts import Contrast
from paribus.design.specs import spec
from paribus.design.study import Arm
from paribus.errors import StudyError
from toy_study import RECIPE, Optimizer, Part, make_study

AGAINST = {"baseline": -1.0, "wide": 1.0}
WIDTHS = {"wide": spec(Part, width=2), "wider": spec(Part, width=3)}


class Model:
    """Four numbers and two parts to change."""

    def __init__(self, a=1, b=1, c=1, d=1, e=1, f=1, g=1, norm=spec(Part), mixer=spec(Part)):
        pass


class OtherPart:
    def __init__(self, width=1, norm=spec(Part)):
        pass


def edits(names):
    return {name.upper(): {name: 2} for name in names}


def make_factorial(factors, **changes):
    fields = {"question": "?", "baseline": spec(Model), "data": spec(Part), "training": RECIPE, "margin": 0.1}
    return pb.factorial(factors=factors, **{**fields, **changes})


def signs(study):
    """Contrast to the arms with positive weight."""
    return {name: {arm for arm, w in c.weights.items() if w > 0} for name, c in study.contrasts.items()}


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ({"c": {"wdie": 1, "baseline": -1}}, "contrast 'c' names no arm 'wdie'; did you mean 'wide'?"),
        ({"c": {"wide": 1, "baseline": -0.5}}, "weights sum to 0.5"),
        ({"c": {"wide": 0, "baseline": 0}}, "all weights are zero"),
        ({"c": {}}, "all weights are zero"),
        ({"c": {"wide": math.inf, "baseline": -1}}, "must be a finite number, got inf"),
        ({"c": {"wide": True, "baseline": -1}}, "must be a finite number, got True"),
        ({"c": {"wide": 10**400, "baseline": -1}}, "must be a finite number, got 1000"),
        ({"c": {"wide": "1", "baseline": -1}}, "must be a finite number, got '1'"),
        ({"c": {"wide": 1e308, "baseline": -1e308, "wider": 1e308}}, "weights sum to 1e+308"),
        ({"c": {"wide": 0.3333333333, "wider": 0.6666666666, "baseline": -1}}, "weights sum to -1e-10"),
        ({"c": {"wide": 0.001, "baseline": -0.001}}, "the positive weights sum to 0.001; they sum to 1"),
        ({"c": {"wide": 0.001, "baseline": -0.001}}, "write {'wide': 1.0, 'baseline': -1.0}"),
        ({"c": {"wide": 1, "wider": 1, "baseline": -2}}, "write {'wide': 0.5, 'wider': 0.5, 'baseline': -1.0}"),
        ({"c": Contrast(AGAINST, "A")}, "factors is a tuple of names"),
        ({"c": Contrast(AGAINST, (1,))}, "factors is a tuple of names"),
        ({" c ": AGAINST}, "with blanks around it; write 'c'"),
        ({"c": ["wide"]}, "must be a dict from an arm to its weight"),
        ({"wide": AGAINST}, "a contrast cannot be called 'wide': an arm is"),
        ({" ": AGAINST}, "cannot be called ' '"),
        ({"a\nb": AGAINST}, r"cannot be called 'a\nb'"),
        ([AGAINST], "contrasts must be a dict"),
    ],
)
def test_a_contrast_that_makes_no_sense_is_refused(contrasts, said):
    with pytest.raises(StudyError) as caught:
        make_study(treatments=WIDTHS, contrasts=contrasts)
    assert said in str(caught.value)


@pytest.mark.parametrize("third", [1 / 3, numpy.float64(1 / 3), Fraction(1, 3)])
def test_weights_are_any_real_numbers_and_thirds_sum_to_one(third):
    study = make_study(treatments={**WIDTHS, "widest": spec(Part, width=4)}, contrasts={"c": {
        "baseline": -1, "wide": third, "wider": third, "widest": third,
    }})  # fmt: skip
    assert dict(study.contrasts["c"].weights) == {"baseline": -1.0, "wide": 1 / 3, "wider": 1 / 3, "widest": 1 / 3}
    assert {type(weight) for weight in study.contrasts["c"].weights.values()} == {float}


def test_a_float_of_numpy_is_a_weight_too():
    study = make_study(contrasts={"c": {"baseline": -1, "wide": numpy.float32(1)}})
    assert dict(study.contrasts["c"].weights) == AGAINST


def test_without_contrasts_a_study_is_written_as_ever():
    written = make_study().to_json()
    assert "contrasts" not in written
    assert written["primary"] == ["wide"]
    assert written["extra_rates"] == [0.5, 2.0]


def test_contrasts_take_the_error_rate_and_share_it_with_named_treatments():
    from paribus.judgement import Rule

    alone = make_study(contrasts={"c": AGAINST})
    assert (alone.primary, alone.extra_rates, Rule.of_study(alone).n_primary) == ((), (), 1)
    both = make_study(contrasts={"c": AGAINST, "d": AGAINST}, primary=("wide",))
    assert Rule.of_study(both).error == pytest.approx(0.05 / 3)
    assert both.extra_rates == (0.5, 2.0)


def test_extra_rates_that_nothing_would_use_are_refused():
    with pytest.raises(StudyError, match="is for primary treatments, and there is none"):
        make_study(contrasts={"c": AGAINST}, extra_rates=(0.5, 2.0))


def test_a_contrast_survives_json_and_drops_its_zeros():
    study = make_study(
        treatments=WIDTHS,
        contrasts={"c": Contrast({**AGAINST, "wider": 0}, ("a", "b"))},
    )
    written = json.loads(json.dumps(study.to_json()))["contrasts"]["c"]
    assert Contrast.from_json(written) == study.contrasts["c"]
    assert written["weights"] == AGAINST


def test_a_contrast_of_an_older_store_is_read_by_the_effect_it_stands_for():
    fraction = {"weights": AGAINST, "effects": [["A", "B"], ["C", "D"]]}
    assert Contrast.from_json(fraction) == Contrast(AGAINST, ("A", "B"))
    assert Contrast.from_json({"weights": AGAINST, "effects": []}) == Contrast(AGAINST)


def test_two_factors_have_the_weights_of_the_textbook():
    study = make_factorial(edits("ab"))
    assert list(study.arms) == ["baseline", "A", "B", "A + B"]
    order = ("baseline", "A", "B", "A + B")
    weights = {name: [contrast.weights[arm] for arm in order] for name, contrast in study.contrasts.items()}
    assert weights == {
        "effect of A": [-0.5, 0.5, -0.5, 0.5],
        "effect of B": [-0.5, -0.5, 0.5, 0.5],
        "A:B": [0.5, -0.5, -0.5, 0.5],  # ((A + B) - B - (A - baseline)) / 2
    }
    assert study.contrasts["A:B"].noise == pytest.approx(math.sqrt(1 / 2))


def test_three_factors_have_the_weights_of_the_textbook():
    study = make_factorial(edits("abc"), interactions=3)
    assert list(study.arms) == ["baseline", "A", "B", "A + B", "C", "A + C", "B + C", "A + B + C"]
    assert {abs(w) for c in study.contrasts.values() for w in c.weights.values()} == {0.25}
    assert signs(study) == {  # Box, Hunter and Hunter 2005, table 5.3: the columns of signs
        "effect of A": {"A", "A + B", "A + C", "A + B + C"},
        "effect of B": {"B", "A + B", "B + C", "A + B + C"},
        "effect of C": {"C", "A + C", "B + C", "A + B + C"},
        "A:B": {"baseline", "C", "A + B", "A + B + C"},
        "A:C": {"baseline", "B", "A + C", "A + B + C"},
        "B:C": {"baseline", "A", "B + C", "A + B + C"},
        "A:B:C": {"A", "B", "C", "A + B + C"},
    }
    assert len(make_factorial(edits("abc"), interactions=1).contrasts) == 3


@pytest.mark.parametrize("k", [2, 3, 4])
def test_each_contrast_shows_its_own_effect_once_and_no_other(k):
    """Every true effect in turn is set to 1."""
    names = "ABCD"[:k]
    study = make_factorial(edits(names.lower()), interactions=k)
    on = {arm: set() if arm == "baseline" else set(arm.split(" + ")) for arm in study.arms}
    for effect in (effect for size in range(1, k + 1) for effect in itertools.combinations(names, size)):
        responses = {arm: math.prod(1 if f in of_arm else -1 for f in effect) / 2 for arm, of_arm in on.items()}
        for contrast in study.contrasts.values():
            seen = math.fsum(weight * responses[arm] for arm, weight in contrast.weights.items())
            assert seen == pytest.approx(float(contrast.factors == effect))


@pytest.mark.parametrize(
    ("names", "changes", "said"),
    [
        ("ab", {"interactions": 3}, "1 to 2; got 3"),
        ("ab", {"interactions": 0}, "1 to 2; got 0"),
        ("a", {}, "at least two factors, got 1"),
        ("ab", {"treatments": {}}, "factorial makes treatments from the factors"),
    ],
)
def test_designs_that_tell_nothing_apart_are_refused(names, changes, said):
    with pytest.raises(StudyError) as caught:
        make_factorial(edits(names), **changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"A": {"a": 2}, "B": {"a": 3}}, "factors 'A' and 'B' both change 'a'"),
        ({"A": {"mixer": spec(OtherPart)}, "B": {"mixer.width": 3}}, "both change 'mixer'"),
        (
            {"A": {"training.optimizer.lr": 1.0}, "B": {"training.learning_rate": 3}},
            "both change 'training.optimizer.lr'",
        ),
        ({"A": {"mixer": spec(OtherPart)}, "B": {"*norm": spec(OtherPart)}}, "another model in another order"),
        ({"A": {"a": 1}, "B": {"b": 2}}, "factor 'A' changes nothing"),
        ({"A": {"aa": 1}, "B": {"b": 2}}, "factor 'A': pattern 'aa' matches no site"),
        ({"A": {"training.optimizer.lrr": 1}, "B": {"b": 2}}, "factor 'A': no hyper-parameter 'optimizer.lrr'"),
        ({"A": {"training.seq_len": 0}, "B": {"b": 2}}, "factor 'A': seq_len must be"),
        ({"A": {"training.seq_len": 20}, "B": {"b": 2}}, "scored on different tokens"),
        ({"A": {}, "B": {"b": 2}}, "factors is a dict from a name to what it changes"),
        ({"\t": {"a": 2}, "B": {"b": 2}}, "a factor cannot be called"),
        ({"baseline": {"a": 2}, "B": {"b": 2}}, "a factor cannot be called 'baseline'"),
        ({"A": {"a": 2}, "B": {"b": 2}, "A + B": {"c": 2}}, "cannot be called 'A + B': ' + ' stands between factors"),
        ({"A": {"a": 2}, "B": {"b": 2}, "A:B": {"c": 2}}, "cannot be called 'A:B': ':' stands between factors"),
        ({" A": {"a": 2}, "B": {"b": 2}}, "a factor cannot be called ' A', with blanks around it; write 'A'"),
        ({"A" * 60: {"a": 2}, "B" * 60: {"b": 2}}, "an arm's name of 123 characters, 100 at most"),
    ],
)
def test_factors_that_cannot_be_told_apart_are_refused(factors, said):
    with pytest.raises(StudyError) as caught:
        make_factorial(factors)
    assert said in str(caught.value)


def test_arms_declare_the_changes_of_their_factors_in_model_and_recipe():
    study = make_factorial(
        {"A": {"a": 2, "norm": spec(OtherPart)}, "slow": {"training.learning_rate": 0.5, "training.clip": 2.0}}
    )
    assert study.changes == {
        "A": ("a", "norm"),
        "slow": ("training.optimizer.lr", "training.clip"),
        "A + slow": ("a", "norm", "training.optimizer.lr", "training.clip"),
    }
    model = spec(Model, a=2, norm=spec(OtherPart))
    recipe = RECIPE.replace(optimizer=spec(Optimizer, lr=0.05), clip=2.0)
    assert study.treatments == {"A": Arm(model), "slow": Arm(spec(Model), recipe), "A + slow": Arm(model, recipe)}


def test_the_other_fields_of_a_study_pass_through():
    study = make_factorial(edits("ab"), max_seeds=5, primary=("A",))
    assert (study.max_seeds, study.primary) == (5, ("A",))
    assert study.replace(margin=0.2).contrasts == study.contrasts
