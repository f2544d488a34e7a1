"""Factorial studies from the first run to the report: which arms run, what lies in the store, what is found."""

import json
import sysconfig
from pathlib import Path

import pytest
from test_scheduler import Bench

import paribus as pb
from paribus.audits.after.sensitivity import find_noise_floor
from paribus.design.specs import spec
from paribus.design.study import BASELINE
from paribus.experiment.extra_runs import due_extra_runs, plan_extra_runs
from paribus.experiment.stored_evidence import read_evidence
from paribus.judgement import Rule, calibrate_null
from paribus.judgement.registration import RegisteredStudy
from paribus.lab.judging import judge
from paribus.lab.request import read_request
from paribus.lab.store_status import status
from paribus.store.records import Finding
from toy_study import RECIPE, Part, make_study

ARMS = ("baseline", "A", "B", "A + B")


class Model:
    def __init__(self, a=1, b=1):
        pass


def make_factorial(**changes):
    fields = {"question": "Do they add up?", "baseline": spec(Model), "data": spec(Part), "training": RECIPE}
    factors = {"A": {"a": 2}, "B": {"b": 2}}
    return pb.factorial(factors=factors, **{**fields, "margin": 0.1, **changes})


def finish(bench, seed, *effects):
    for arm, effect in zip(ARMS, effects, strict=True):
        bench.finish(arm, seed, 3.0 + 0.1 * seed + effect + 0.001 * ((seed + len(arm)) % 3))


def kinds(bench):
    return {row["treatment"]: row["verdict"] for row in bench.events[-1]["rows"]}


def test_all_arms_run_seed_by_seed_until_every_contrast_is_decided(tmp_path):
    bench = Bench(tmp_path / "s", make_factorial())
    assert {bench.take() for _ in range(8)} == {(arm, seed) for seed in (0, 1) for arm in ARMS}
    for seed in range(3):
        finish(bench, seed, 0.0, 1.0, 0.0, 1.0)
    assert kinds(bench) == {
        "effect of A": "worse", "effect of B": "equivalent", "A:B": "equivalent", "A": None, "B": None, "A + B": None,
    }  # fmt: skip
    assert bench.take() is None
    assert not any(bench.scheduler.wanted(bench.plan.run(arm, 3).digest) for arm in ARMS)


def test_one_open_contrast_keeps_its_arms_running_and_no_others(tmp_path):
    treatments = {"wide": spec(Part, width=2), "wider": spec(Part, width=3)}
    contrasts = {"one": {"wide": 1, "baseline": -1}, "other": {"wider": 1, "baseline": -1}}
    bench = Bench(tmp_path / "s", make_study(treatments=treatments, contrasts=contrasts, max_seeds=5))
    for seed in range(3):
        bench.finish("baseline", seed, 3.0)
        bench.finish("wide", seed, 4.0 + 0.001 * seed)
        bench.finish("wider", seed, 3.0 + (-1) ** seed)
    assert (kinds(bench)["one"], kinds(bench)["other"]) == ("worse", None)
    assert {bench.take()[0] for _ in range(4)} == {"baseline", "wider"}


def test_a_failed_arm_makes_every_contrast_of_it_invalid(tmp_path):
    bench = Bench(tmp_path / "s", make_factorial())
    finish(bench, 0, 0, 0, 0, 0)
    bench.finish("A + B", 1, status="failed")
    report = judge(tmp_path / "s", "toy").report
    assert {row.verdict.kind for row in report.contrasts.values()} == {"invalid"}
    assert [(run.arm, run.seed, run.error) for run in report.failed_runs] == [("A + B", 1, None)]


def test_a_finding_before_training_about_one_arm_leaves_nothing_to_run(tmp_path):
    bench = Bench(tmp_path / "s", make_factorial(), [Finding("causality", "invalid", "it sees the future", arm="B")])
    assert bench.take() is None
    assert set(kinds(bench).values()) == {"invalid", None}


def test_what_lies_in_the_store_is_enough_to_judge_and_to_tell_how_far_it_is(tmp_path):
    bench = Bench(tmp_path / "s", make_factorial())
    for seed in range(3):
        finish(bench, seed, 0.0, 1.0, 0.0, 1.5)
    evidence = read_evidence(bench.store, "toy")
    assert evidence.registration.rule.n_primary == 3
    found = evidence.comparisons
    assert list(found)[:3] == ["effect of A", "effect of B", "A:B"]
    assert found["A:B"].mean == pytest.approx(0.25, abs=0.01)  # half of 1.5 - 1.0
    report = judge(tmp_path / "s", "toy").report
    assert report.is_complete
    assert report.arms["A + B"].seeds == (0, 1, 2)
    assert "over all three contrasts together" in report.method
    rows = {row["treatment"]: row for row in status(tmp_path / "s").studies["toy"].treatments}
    assert (rows["effect of A"]["verdict"], rows["A"]["verdict"]) == ("worse", None)


def test_a_study_with_contrasts_is_another_registration_than_the_same_arms_in_pairs(tmp_path):
    bench = Bench(tmp_path / "s", make_factorial())
    finish(bench, 0, 0, 0, 0, 0)
    plain = make_factorial().replace(contrasts={}, primary=("A", "B", "A + B"), extra_rates=())
    again = Bench(tmp_path / "s", plain)
    assert again.registration.name == "toy-2"
    assert again.registration.judged_before == ("toy",)
    assert again.registration.runs == bench.registration.runs


def test_a_primary_treatment_beside_contrasts_is_judged_and_run_at_other_rates_alone(tmp_path):
    study = make_factorial(primary=("A",))
    assert Rule.of_study(study).n_primary == 4
    bench = Bench(tmp_path / "s", study)
    for seed in range(3):
        finish(bench, seed, 0.0, 1.0, 0.0, 1.0)
    assert kinds(bench)["A"] == "worse"
    assert {trial.about["arm"] for trial in plan_extra_runs(bench.plan)["rates"]} == {BASELINE, "A"}
    assert not plan_extra_runs(Bench(tmp_path / "t", make_factorial()).plan)["rates"]


def test_a_confirmation_keeps_the_contrasts():
    confirmed = read_request(make_factorial(), None, None, None, confirm=True)
    assert confirmed.study.contrasts == make_factorial().contrasts
    assert confirmed.study.first_seed == 10_000


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A 2 x 2 study over real text: a norm written another way, and a tenth of the learning rate."""
    import torch

    place = tmp_path_factory.mktemp("factorial")
    text = place / "text"
    text.mkdir()
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]:
        (text / f"{source.stem}.txt").write_text(source.read_text(errors="ignore")[:6000])
    return place, pb.factorial(
        question="Do RMSNorm and a tenth of the rate add up?",
        baseline=pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2),
        factors={"RMSNorm": {"*norm": pb.spec(pb.nn.RMSNorm)}, "slow": {"training.learning_rate": 0.1}},
        data=pb.spec(pb.data.Text, source=str(text), tokenizer=pb.spec(pb.data.Bytes)),
        training=pb.Training(
            tokens=120 * 128, batch_tokens=128, seq_len=32, evaluations=2, evaluation_tokens=1024,
            optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
        ),
        margin=0.05,
        max_seeds=3,
    )  # fmt: skip


def test_a_planted_main_effect_is_found_and_the_report_names_it(toy, monkeypatch):
    place, study = toy
    monkeypatch.setenv("PARIBUS_HOME", str(place / "home"))
    result = pb.run(study, place / "store", executor="inline", observe=lambda event: None)
    assert result.verdicts["effect of slow"].kind == "worse"
    assert set(result.verdicts) == {"effect of RMSNorm", "effect of slow", "RMSNorm:slow"}
    assert not [f for f in result.report.findings if f.severity != "note"]
    folder = result.page.parent
    page, markdown = result.page.read_text(), (folder / "report.md").read_text()
    for text in (page, markdown):
        assert "The main effect of slow is for the worse:" in text
        assert "half the difference between the effect of one with and without the other" in text
    assert (folder / "figures" / "effects.png").exists()
    comparison = result.comparisons["effect of slow"]
    means = {arm: result.report.arms[arm].mean("val_loss") for arm in study.arms}
    by_hand = (means["slow"] + means["RMSNorm + slow"] - means["RMSNorm"] - means["baseline"]) / 2
    assert comparison.mean == pytest.approx(by_hand)
    assert json.loads((folder / "report.json").read_text())["study"]["contrasts"]["RMSNorm:slow"]["weights"]


def test_the_baseline_against_itself_says_how_a_contrast_compares_to_a_pair(toy, monkeypatch):
    from paribus.cli.texts import calibration_text

    place, study = toy
    monkeypatch.setenv("PARIBUS_HOME", str(place / "home"))
    calibrated = pb.calibrate(study, place / "null", executor="inline", observe=lambda event: None)
    assert calibrated.contrasts["effect of slow"] == pytest.approx(0.5**0.5)
    assert "the contrast 'effect of slow' has 0.71 times its sd" in " ".join(calibration_text(calibrated).split())


@pytest.mark.parametrize(("primary", "kinds"), [((), {"width"}), (("A",), {"width", "arm"})])
def test_a_contrast_that_fell_asks_for_other_widths_and_for_no_other_rate(primary, kinds, tmp_path):
    bench = Bench(tmp_path / "s", make_factorial(primary=primary, width_response="a", baseline=spec(Model, a=4)))
    for seed in range(3):
        finish(bench, seed, 0.0, 1.0, 0.0, 1.0)
    due = due_extra_runs(plan_extra_runs(bench.plan), bench.scheduler.judged)
    assert {kind for extra in due for kind in extra.about} - {"factor"} == kinds


@pytest.mark.parametrize(("margin", "severities"), [(1.42, []), (1.40, ["doubt"])])  # 2 sqrt(1/2) = 1.414
def test_the_noise_floor_of_a_contrast_is_its_own(margin, severities):
    study = RegisteredStudy.from_json(make_factorial(margin=margin).to_json())
    perturbed = [1.0, -1.0, 1.0, -1.0, 0.0]  # sd 1 around a baseline without noise
    null = calibrate_null([0.0] * 5, perturbed, Rule(margin=margin))
    found = list(find_noise_floor(study, null))
    assert [finding.severity for finding in found] == severities
    assert all("gives a contrast (0.71 nats/token" in finding.message for finding in found)
