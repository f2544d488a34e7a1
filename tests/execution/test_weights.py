"""Which runs keep their trained weights, and that a kill at any moment does no harm."""

import email
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import paribus as pb
from paribus.design.study import BASELINE
from paribus.execution.performing import perform
from paribus.execution.trained import prepare_data
from paribus.experiment.extra_runs import ExtraRun, plan_extra_runs
from paribus.experiment.job import make_job
from paribus.experiment.plan import Environment, plan
from paribus.store.store import Store
from toy_study import make_study


def jobs_of(study, tmp_path, trials):
    made = plan(study, Environment("data", "cpu", "2.13.0"))
    store = Store.create(tmp_path / "store")
    return [make_job(store, made, trial.run, trial.arm, None) for trial in trials(made)]


def test_the_studys_own_runs_of_its_first_seed_keep_their_weights(tmp_path):
    study = make_study(first_seed=3, max_seeds=4)
    jobs = jobs_of(study, tmp_path, lambda made: [ExtraRun(run, study.arms[run.arm]) for run in made])
    assert [(job.seed, job.keeps_weights) for job in jobs] == [
        (3, True), (3, True), (4, False), (4, False), (5, False), (5, False), (6, False), (6, False),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["rates", "null"])
def test_runs_beside_the_pairs_keep_none_though_they_have_that_seed(tmp_path, kind):
    jobs = jobs_of(make_study(), tmp_path, lambda made: plan_extra_runs(made)[kind])
    assert 0 in {job.seed for job in jobs}
    assert not any(job.keeps_weights for job in jobs)


def test_a_baseline_that_was_run_for_its_own_noise_keeps_them_for_the_study_that_takes_it_over(tmp_path):
    study = make_study()
    jobs = jobs_of(study, tmp_path, lambda made: [ExtraRun(made.run(BASELINE, 0), study.arms[BASELINE])])
    assert jobs[0].keeps_weights


@pytest.fixture(scope="module")
def job(home, tmp_path_factory):
    """One run of twelve steps that keeps its weights."""
    study = pb.Study(
        question="What does a run keep?",
        baseline=pb.nn.llama(d_model=16, n_layers=1, n_heads=2),
        treatments={"idea": pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2)},
        data=pb.spec(pb.data.Text, source=str(Path(email.__file__).parent), tokenizer=pb.spec(pb.data.Bytes)),
        training=pb.Training(
            tokens=576,
            batch_tokens=48,
            seq_len=24,
            evaluations=1,
            evaluation_tokens=96,
            optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
        ),
        margin=0.1,
    )
    corpus, _ = prepare_data(study.data, study.training)
    made = plan(study, Environment.here(corpus.digest, "cpu"))
    store = Store.create(tmp_path_factory.mktemp("weights") / "store")
    return make_job(store, made, made.run(BASELINE, 0), study.arms[BASELINE], None)


def stored_at(job, folder):
    return replace(job, store=str(Store.create(folder / "store").folder))


def folder_of(job):
    return Store(Path(job.store)).run_folder(job.digest)


def kept(job):
    return torch.load(folder_of(job) / "weights.pt", weights_only=True)


def unmeasured(record):
    evaluations = [{k: v for k, v in line.items() if k != "measured"} for line in record.evaluations]
    return {**record.to_json(), "measured": None, "evaluations": evaluations}


@pytest.fixture(scope="module")
def whole(job):
    return unmeasured(perform(job)), kept(job)


def test_the_weights_that_are_kept_give_the_loss_of_the_record(job, whole):
    from paribus.data import prepare
    from paribus.design.specs import Spec
    from paribus.nn.contract import build_model
    from paribus.training.evaluation import evaluate

    source = Spec.from_json(job.data)
    corpus = prepare(source.cls(**dict(source.arguments)))
    held_out = corpus.evaluation(24, 96)
    model = build_model(Spec.from_json(job.arm["model"]), 99, vocab_size=corpus.vocab_size, seq_len=24)
    model.load_state_dict(whole[1])
    assert evaluate(model, held_out, 2, "cpu", "fp32").loss == pytest.approx(whole[0]["metrics"]["val_loss"], abs=1e-6)


def test_a_run_that_is_not_asked_to_keeps_none(job, tmp_path):
    plain = replace(stored_at(job, tmp_path), keeps_weights=False)
    assert perform(plain).status == "done"
    assert not (folder_of(plain) / "weights.pt").exists()


def test_a_kill_between_the_weights_and_the_result_does_no_harm(job, whole, tmp_path, monkeypatch):
    again = stored_at(job, tmp_path)

    def die(store, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_record", die)
        with pytest.raises(KeyboardInterrupt):
            perform(again)
    assert (folder_of(again) / "weights.pt").exists()
    assert not Store(Path(again.store)).is_done(again.digest), "weights alone are no result"
    assert unmeasured(perform(again)) == whole[0]
    assert all(torch.equal(kept(again)[name], tensor) for name, tensor in whole[1].items())


def test_weights_that_a_kill_left_half_written_are_swept_away(job, whole, tmp_path):
    again = stored_at(job, tmp_path)
    folder_of(again).mkdir(parents=True)
    (folder_of(again) / ".weights.pt.abc").write_bytes(b"half")
    (folder_of(again) / "weights.pt").write_bytes(b"of an older kill")
    assert unmeasured(perform(again)) == whole[0]
    assert all(torch.equal(kept(again)[name], tensor) for name, tensor in whole[1].items())
    assert {path.name for path in folder_of(again).iterdir()} == {
        "lease",
        "result.json",
        "run.json",
        "steps.jsonl",
        "weights.pt",
    }
