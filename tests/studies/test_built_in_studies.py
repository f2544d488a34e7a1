"""The built-in studies at both scales. Counts and FLOPs are those of the published studies, to the digit."""

import json
from pathlib import Path

import pytest

from paribus.audits import audit_arms, measure_arms
from paribus.audits.instruments.costs import measure_flops, measure_parameters
from paribus.data import BPE, Pretrained
from paribus.design.differences import compare_specs
from paribus.design.study_files import built_in_studies, read_study
from paribus.errors import HubUnreachable
from paribus.lab import checking
from paribus.lab import running as lab
from paribus.lab.matching import solve_widths
from paribus.lab.request import read_request
from paribus.lab.trying.drafting import MARGINS

V = 49152
STUDIES = ("attention", "backbone", "mlp", "moe", "norm", "rmsnorm")
PUBLISHED = {
    "rmsnorm": {
        "baseline": 25_960_192,
        "eps 1e-6 at the final norm": 25_960_192,
        "eps 1e-6 at every norm": 25_960_192,
    },
    "mlp": {"baseline": 25_960_192, "SwiGLU": 25_966_336},
    "moe": {"baseline": 25_960_192, "DeepSeek-V3": 25_966_336, "gated experts": 25_966_336},
    "attention": {
        "baseline": 132_151_808,
        "lora": 128_810_624,
        "enhanced": 129_798_272,
        "MLA split": 128_908_928,
        "lora + bias": 128_815_232,
        "lora + wide values": 129_793_664,
    },
}

# Latent attention is smaller than what it replaces, and SwiGLU at equal d_ff larger: that is the point of these arms.
UNEQUAL = {
    "mlp": ("SwiGLU at equal d_ff",),
    "attention": ("enhanced", "MLA split", "lora", "lora + bias", "lora + wide values", "lora + linear RoPE"),
}


def paper(name):
    return solve_widths(read_study(name).choose("paper"), V)


@pytest.mark.parametrize("name", PUBLISHED)
def test_paper_arms_have_the_published_number_of_parameters(name):
    study = paper(name)
    counts = {
        arm: measure_parameters(study.arms[arm].model, V, study.training.seq_len)["parameters"]
        for arm in PUBLISHED[name]
    }
    assert counts == PUBLISHED[name]


def test_a_gated_expert_one_narrower_is_further_from_the_baseline():
    narrow = paper("moe").arms["gated experts"].model.replace("*.experts.d_ff", 682)
    assert measure_parameters(narrow, V, 256)["parameters"] == 25_947_904


def test_swiglu_at_equal_d_ff_is_larger_by_its_gates():
    wide = paper("mlp").arms["SwiGLU at equal d_ff"].model
    assert measure_parameters(wide, V, 256)["parameters"] == 25_960_192 + 3 * 8 * 256 * 1024


@pytest.mark.parametrize(("arm", "norms", "of_blocks"), [("baseline", 1_792, 1_536), ("RMSNorm", 896, 768)])
def test_norm_parameters_at_the_documents_size(arm, norms, of_blocks):
    study = read_study("norm").choose("document")
    counts = measure_parameters(study.arms[arm].model, V, study.training.seq_len)
    assert (counts["norm_parameters"], counts["block_norm_parameters"]) == (norms, of_blocks)


@pytest.mark.parametrize(("arm", "gigaflop"), [("baseline", 1959.3), ("lora", 1849.8), ("enhanced", 1907.8)])
def test_a_forward_pass_of_the_attention_arms_costs_what_honest_counting_says(arm, gigaflop):
    study = paper("attention")
    flops = measure_flops(study.arms[arm].model, V, 512)["forward_flops_per_token"]
    assert flops * 32 * 512 / 1e9 == pytest.approx(gigaflop, abs=0.05)


@pytest.mark.parametrize("name", STUDIES)
def test_paper_recipes_count_their_schedule_in_optimizer_steps(name):
    training = read_study(name).choose("paper").training
    micro_steps = training.tokens // training.micro_batch_tokens
    assert (micro_steps, training.steps) == (1000, 250)
    schedule = training.schedule.cls(**dict(training.schedule.arguments))
    rates = [schedule(step, training.steps) for step in range(training.steps)]
    assert max(rates) == 1 and rates.index(1) == 12  # 5 % of 250, rounded up, is the 13th
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_every_study_has_both_scales_and_one_or_two_primary_treatments():
    assert tuple(built_in_studies()) == STUDIES
    for name in STUDIES:
        found = read_study(name)
        assert next(iter(found.scales)) == "quick" and "paper" in found.scales
        assert all(len(study.primary) in (1, 2) for study in found.scales.values())


@pytest.mark.parametrize("name", STUDIES)
def test_quick_designs_are_sound_and_matched(name):
    study = solve_widths(read_study(name).choose(), 1024)
    facts = measure_arms(study, 1024)
    findings = audit_arms(study, 1024, facts)
    doubts = {(f.arm, f.check) for f in findings if f.severity != "note"}
    assert doubts == {(arm, "parameters and FLOPs") for arm in UNEQUAL.get(name, ())}
    for arm in study.treatments:
        if study.treatments[arm].match == "parameters":
            assert facts[arm].cost("parameters") == pytest.approx(facts["baseline"].cost("parameters"), rel=0.005)


def test_studies_of_one_model_share_their_baseline_runs():
    studies = [read_study(name).choose() for name in ("attention", "moe", "rmsnorm")]
    assert len({study.baseline.digest for study in studies}) == 1
    assert all(study.training == studies[0].training and study.data == studies[0].data for study in studies)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_the_published_eps_stands_at_one_norm_of_all(scale):
    study = read_study("rmsnorm").choose(scale)
    difference = compare_specs(study, "eps 1e-6 at the final norm")
    assert (difference.sites, difference.n_alike) == (("final_norm",), 7)
    assert len(compare_specs(study, "eps 1e-6 at every norm").sites) == 7


def test_the_published_arm_of_attention_changes_three_things_and_the_others_one():
    study = paper("attention")

    def edits(arm):
        lora, other = (study.arms[name].model["blocks.0.mixer"] for name in ("lora", arm))
        return {change.path for change in lora.diff(other)}

    assert edits("enhanced") == {"value_dim", "bias", "position.scaling"}
    assert edits("lora + bias") == {"bias"}
    assert edits("lora + wide values") == {"value_dim"}
    assert edits("lora + linear RoPE") == {"position.scaling"}
    assert edits("MLA split") == {"nope_dim", "rope_dim"}


def test_check_needs_no_corpus_where_the_hub_cannot_be_reached(monkeypatch, tmp_path):
    def refuse(what):
        raise HubUnreachable(f"{what}: no answer")

    monkeypatch.setattr("paribus.data.hub.knock", refuse)
    checked = checking.check("rmsnorm", scale="paper")
    (unread,) = [f for f in checked.findings if f.check == "corpus"]
    assert unread.severity == "doubt" and "sizes hold for 49,152 tokens" in unread.message
    assert checked.to_json()["arms"]["baseline"]["parameters"] == 25_960_192
    with pytest.raises(HubUnreachable):
        lab.run("rmsnorm", scale="paper", store=tmp_path)


def test_a_named_corpus_gets_a_tokenizer_of_the_same_size_and_the_report_says_so():
    request = read_request("moe", "paper", "texts.jsonl")
    assert request.study.data["source"] == "texts.jsonl"
    assert request.study.data["tokenizer"].cls is BPE and request.study.data["tokenizer.vocab_size"] == V
    (note,) = request.findings
    assert note.severity == "note" and "HuggingFaceTB/SmolLM-135M" in note.message
    assert request.study.data["max_document_chars"] is None and request.study.data["max_train_tokens"] == 100_000


def test_another_data_set_of_the_hub_keeps_the_hubs_tokenizer():
    request = read_request("moe", "paper", "hub:owner/other")
    assert request.study.data["tokenizer"].cls is Pretrained and request.findings == ()
    assert read_request("moe", None, "texts.jsonl").findings == ()  # the quick scale trains its own anyway


def test_margins_are_what_was_measured():
    measured = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "margins.json").read_text())["rows"]
    margins = {name: MARGINS[name] if name in MARGINS else read_study(name).choose().margin for name in measured}
    assert margins == {name: round(row["five_percent"], 3) for name, row in measured.items()}
