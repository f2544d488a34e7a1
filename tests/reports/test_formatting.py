import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.design.recipe import Training
from paribus.design.spec_names import SpecName
from paribus.judgement.registration import RegisteredArm
from paribus.judgement.summaries import Summary
from paribus.reports.edits import describe_value, list_edits
from paribus.reports.formatting import (
    choose_decimals,
    choose_scale,
    write_digits,
    write_number,
    write_range,
    write_row,
    write_signed,
)


def summary(mean, sd=None, values=(1.0, 1.0, 1.0)):
    return Summary(tuple(values), mean, sd)


@pytest.mark.parametrize(
    ("spread", "decimals"),
    [(0.0118, 3), (0.99, 2), (0.0999, 2), (1.0, 1), (12.0, 0), (167.8, -1), (0.0, None), (None, None)],
)
def test_decimals_show_two_digits_of_the_spread(spread, decimals):
    assert choose_decimals(spread) == decimals


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (4.330946, 0.017638, "4.331 ± 0.018"),
        (13871.1, 167.8, "13,870 ± 170"),
        (300.0, 0.0, "300"),
        (0.10563532, 0.0, "0.1056"),
        (395.7748422, 9.5e-7, "395.7748 ± <0.0001"),
        (0.0, 0.0, "0"),
        (5.0, None, "5"),
    ],
)
def test_a_mean_is_written_to_two_digits_of_its_sd(mean, sd, text):
    assert write_row([summary(mean, sd)]) == [text]


def test_means_without_spread_get_as_many_digits_as_tell_the_arms_apart():
    assert write_row([summary(124_439_808, 0.0), summary(124_400_000, 0.0)], 1e6) == ["124.44", "124.4"]
    assert write_row([summary(431_424, 0.0), summary(430_752, 0.0)], 1e6) == ["0.4314", "0.4308"]


def test_runs_without_a_value_are_counted_and_no_value_is_a_dash():
    assert write_row([summary(2.0, 0.5, [1.5, None, 2.5]), summary(None, None, [None]), Summary()]) == [
        "2.00 ± 0.50 (2 of 3 runs)",
        "—",
        "—",
    ]


def test_signs_are_written_and_a_rounded_zero_has_none():
    assert write_signed(0.0136, 3) == "+0.014"
    assert write_signed(-0.0136, 3) == "-0.014"
    assert write_signed(-0.0001, 3) == write_signed(0.0001, 3) == "0.000"
    assert write_range([-0.0289, 0.0296], 3) == "-0.029 to +0.030"
    assert write_range(None) == write_number(math.nan) == write_signed(None) == write_digits(math.inf) == "—"


def test_a_tiny_number_is_a_power_of_ten_and_zero_is_zero():
    assert write_digits(4.44e-17) == "4.4e-17"
    assert (write_digits(0.0), write_digits(0.00679), write_digits(0.0625)) == ("0", "0.0068", "0.062")


def test_human_units_follow_the_largest_number():
    assert choose_scale("parameters", 431_424) == (1e6, "M")
    assert choose_scale("parameters", 1_344) == (1e3, "k")
    assert choose_scale("flops", 1_007_616) == (1e6, "MFLOP")
    assert choose_scale("flops", 2_000) == (1e3, "kFLOP")
    assert choose_scale("bytes", 415_000_000) == (2.0**20, "MiB")
    assert choose_scale("seconds", 24.3) == (1.0, "s")
    assert choose_scale("seconds", 36_000) == (3600.0, "h")
    assert choose_scale("count", None) == (1.0, "")


@given(st.floats(-1e15, 1e15), st.floats(0, 1e15))
def test_no_finite_number_breaks_a_row(mean, sd):
    (cell,) = write_row([summary(mean, sd)])
    assert cell and "nan" not in cell and "e+" not in cell


def model(norm, **arguments):
    return SpecName("m:Model", (*arguments.items(), ("norm", SpecName(f"m:{norm}"))))


def arm(model, **recipe):
    fields = {"tokens": 10, "batch_tokens": 2, "seq_len": 2, "evaluations": 1, "optimizer": SpecName("m:AdamW")}
    return RegisteredArm(model, Training(**fields, **recipe))


def test_arms_of_one_spec_have_no_edits_and_equal_edits_are_run_together():
    before, after = (arm(model("A", blocks=(model(name),) * 12)) for name in ("A", "B"))
    assert list_edits(before, before) == ()
    (edit,) = list_edits(before, after)
    assert (edit.places, edit.n_sites, edit.before, edit.after) == (("blocks.0-11.norm",), 12, "A", "B")


def test_an_argument_that_was_not_given_is_called_default_and_a_recipe_stands_under_training():
    before, after = arm(model("A")), arm(model("A", eps=1e-6), clip=None)
    found = [(edit.places, edit.before, edit.after) for edit in list_edits(before, after)]
    assert found == [(("eps",), "default", "1e-06"), (("training.clip",), "1.0", "none")]


def test_equal_specs_in_a_row_are_written_once_with_their_number():
    a, b = (SpecName(f"m:{name}", (("d_ff", 8),)) for name in "AB")
    assert describe_value((a, a, a, b, a)) == "(3 x A(d_ff=8), B(d_ff=8), A(d_ff=8))"
    assert describe_value((0.9, 0.9)) == "(0.9, 0.9)"
