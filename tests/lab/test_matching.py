"""Treatments whose width is solved for. Expected counts are worked out by hand in the tests."""

import pytest
import torch

import paribus as pb
from paribus.audits import audit_arms, measure_arms
from paribus.errors import SpecError, StudyError
from paribus.lab.matching import solve_widths

V, T, D, L = 257, 16, 24, 2
ADAMW = pb.spec(torch.optim.AdamW, lr=0.001)
BASELINE = pb.nn.llama(D, L, 2, mlp=pb.spec(pb.nn.MLP, d_ff=90))
GATED = BASELINE.replace("*.mlp", pb.spec(pb.nn.GatedMLP, d_ff=7))


def make_study(**treatments):
    return pb.Study(
        question="Are they equal?",
        baseline=BASELINE,
        treatments=treatments,
        data=pb.spec(pb.data.Text),
        training=pb.Training(tokens=64, batch_tokens=32, seq_len=T, evaluations=1, optimizer=ADAMW),
        margin=0.1,
    )


def solved_width(arm, path="blocks.0.mlp.d_ff"):
    return solve_widths(make_study(arm=arm), V).arms["arm"].model[path]


def test_three_matrices_have_the_parameters_of_two_at_two_thirds_of_the_width():
    assert solved_width(pb.Arm(GATED, match="parameters", width="*.mlp.d_ff")) == 60


@pytest.mark.parametrize("start", [1, 59, 60, 61, 5_000])
def test_the_search_ends_at_the_same_width_wherever_it_begins(start):
    model = GATED.replace("*.mlp.d_ff", start)
    assert solved_width(pb.Arm(model, match="parameters", width="*.mlp.d_ff")) == 60


def test_a_default_width_is_solved_for_too():
    model = BASELINE.replace("*.mlp", pb.spec(pb.nn.GatedMLP))
    assert solved_width(pb.Arm(model, match="parameters", width="*.mlp.d_ff")) == 60


def test_a_width_can_be_asked_to_be_a_multiple():
    assert solved_width(pb.Arm(GATED, match="parameters", width="*.mlp.d_ff", multiple_of=16)) == 64


def test_flops_are_matched_where_parameters_are_not():
    # A layer costs 8 D^2 + 4 T D of attention and 4 D F of MLP per token forward, and training three times that.
    model = pb.nn.llama(D, 1, 2, mlp=pb.spec(pb.nn.MLP, d_ff=90))
    attention = 8 * D**2 + 4 * T * D
    assert solved_width(pb.Arm(model, match="flops", width="*.mlp.d_ff")) == 2 * 90 + attention // (4 * D)


def test_active_parameters_do_not_count_experts_that_a_token_does_not_visit():
    moe = pb.spec(pb.nn.MoE, n_experts=4, router=pb.spec(pb.nn.TopK, top_k=2), experts=pb.spec(pb.nn.Experts, d_ff=3))
    model = BASELINE.replace("*.mlp", moe)
    widths = {}
    for match in ("parameters", "active_parameters"):
        arm = pb.Arm(model, match=match, width="*.experts.d_ff")
        widths[match] = solved_width(arm, "blocks.0.mlp.experts.d_ff")
    # 2 D 90 = n 2 D F + 4 D of the router, with n = 4 experts in all and 2 visited.
    assert widths == {"parameters": round((90 - 2) / 4), "active_parameters": round((90 - 2) / 2)}


def test_what_no_width_can_mend_is_refused_with_the_nearest():
    wide = pb.nn.llama(2 * D, L, 2, d_ff=8)
    with pytest.raises(StudyError, match=r"arm 'arm'.*no \*\.mlp\.d_ff makes it equal in parameters: 1 comes nearest"):
        solved_width(pb.Arm(wide, match="parameters", width="*.mlp.d_ff"))


def test_a_width_that_is_no_number_or_does_not_exist_is_refused():
    with pytest.raises(SpecError, match="is to be a whole number"):
        solved_width(pb.Arm(GATED, match="parameters", width="*.mlp.activation"))
    with pytest.raises(SpecError, match="matches no site"):
        solved_width(pb.Arm(GATED, match="parameters", width="*.mlp.width"))


def test_a_width_that_the_cost_does_not_depend_on_is_refused_and_not_changed():
    moe = BASELINE.replace("*.mlp", pb.spec(pb.nn.MoE, n_experts=4))
    with pytest.raises(StudyError, match=r"router\.top_k does not change the parameters; let another width float"):
        solved_width(pb.Arm(moe, match="parameters", width="*.router.top_k"))


def test_a_width_that_fits_stays():
    assert solved_width(pb.Arm(BASELINE, match="parameters", width="*.mlp.d_ff")) == 90


def test_a_width_that_cannot_be_built_says_which_was_tried():
    with pytest.raises(SpecError, match=r"no multiple of n_heads 2.*while trying d_model = \d+; multiple_of="):
        solved_width(pb.Arm(BASELINE.replace("*.mlp.d_ff", 60), match="parameters", width="d_model"), "d_model")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"match": "parameter", "width": "x"}, "did you mean 'parameters'"),
        ({"match": "parameters"}, "by which width"),
        ({"width": "*.d_ff"}, "by which width"),
        ({"match": "flops", "width": "x", "multiple_of": 0}, "multiple_of must be a whole number"),
        ({"match": "flops", "width": 3}, "width is a path pattern"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_when_made(fields, said):
    with pytest.raises(StudyError, match=said):
        pb.Arm(GATED, **fields)


def test_the_width_and_what_is_left_are_a_finding_and_other_costs_are_no_doubt():
    doubled = BASELINE.replace("*.mlp", pb.spec(Twice, d_ff=90))
    study = solve_widths(
        make_study(
            gated=pb.Arm(GATED, match="parameters", width="*.mlp.d_ff"),
            matched=pb.Arm(doubled, match="parameters", width="*.mlp.d_ff"),
            unmatched=doubled,
        ),
        V,
    )
    found = audit_arms(study, V, measure_arms(study, V))
    of = {(f.check, f.arm): f for f in found}
    assert "*.mlp.d_ff = 60, solved for equal parameters" in of["matching", "gated"].message
    assert "(+0.000%)" in of["matching", "gated"].message
    assert ("matching", "unmatched") not in of
    costs = {arm: of["parameters and FLOPs", arm].severity for arm in ("matched", "unmatched")}
    assert costs == {"matched": "note", "unmatched": "doubt"}


def test_a_match_that_is_rough_because_its_steps_are_is_still_a_doubt():
    rough = pb.Arm(GATED, match="parameters", width="*.mlp.d_ff", multiple_of=40)  # 40 or 80, where 60 would fit
    study = solve_widths(make_study(rough=rough), V)
    (found,) = [f for f in audit_arms(study, V, measure_arms(study, V)) if f.check == "parameters and FLOPs"]
    assert found.severity == "doubt"


def test_a_study_without_requests_stays_as_it_is():
    study = make_study(gated=GATED)
    assert solve_widths(study, V) is study


class Twice(pb.nn.MLP):
    def forward(self, x):
        return super().forward(super().forward(x))
