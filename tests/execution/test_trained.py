import email
import inspect
from pathlib import Path

import pytest
import torch

import paribus as pb
from paribus.experiment.stored_evidence import read_evidence
from paribus.lab import running as lab
from paribus.store.store import Store


class FailsLate(torch.optim.SGD):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken > 5:
            raise RuntimeError("no more steps")
        return super().step(closure)


def run_study(folder, optimizer):
    """The result of ten steps of an arm with two blocks, and its store."""
    baseline = pb.nn.llama(d_model=16, n_layers=2, n_heads=2)
    study = pb.Study(
        question="What does a worker write?",
        baseline=baseline,
        treatments={"idea": baseline.replace("final_norm", pb.spec(pb.nn.LayerNorm))},
        data=pb.spec(pb.data.Text, source=str(Path(email.__file__).parent), tokenizer=pb.spec(pb.data.Bytes)),
        training=pb.Training(
            tokens=480,
            batch_tokens=48,
            micro_batch_tokens=24,
            seq_len=24,
            evaluations=1,
            evaluation_tokens=96,
            optimizer=optimizer,
        ),
        margin=0.1,
        min_seeds=2,
        max_seeds=2,
    )
    store = Store(folder / "store")
    return lab.run(study, store=store.address, executor="inline"), store


@pytest.fixture(scope="module")
def record(home, tmp_path_factory):
    result, store = run_study(tmp_path_factory.mktemp("worker"), pb.spec(torch.optim.AdamW, lr=0.01))
    return read_evidence(store, result.name).records["idea"][0]


def test_a_run_that_fails_in_code_of_the_users_own_names_the_line_in_its_record_and_its_report(home, tmp_path):
    result, _ = run_study(tmp_path, pb.spec(FailsLate, lr=0.1))
    line = inspect.getsourcelines(FailsLate.step)[1] + 3
    error = result.report.failed_runs[0].error
    told = f"RuntimeError: no more steps (test_trained.py:{line} in step)"
    assert error.splitlines()[0] == error.splitlines()[-1] == told
    assert told in result.page.with_name("report.md").read_text()


def test_every_part_in_a_slot_is_measured_after_the_last_step(record):
    blocks = [f"blocks.{i}{part}" for i in (0, 1) for part in ("", ".mixer_norm", ".mixer", ".mlp_norm", ".mlp")]
    # The position has neither parameters nor a forward of its own.
    assert set(record.sites) == {"", "position", "final_norm", *blocks}
    assert record.sites["position"] == {}
    assert "output_rms" not in record.sites[""]  # those of the model are the logits, which are never all there
    for site in ("final_norm", *blocks):
        assert record.sites[site]["output_rms"] > 0
    for site in ("", "final_norm", *blocks):
        assert record.sites[site]["gradient_rms"] > 0
        assert record.sites[site]["unmoved"] == 0.0


def test_the_code_is_named_by_the_digest_that_the_run_is_identified_by(record):
    from paribus.store.identity import source_identity

    arm = pb.Arm(pb.nn.llama(d_model=16, n_layers=2, n_heads=2), pb.Training(
        tokens=48, batch_tokens=48, seq_len=24, evaluations=1, optimizer=pb.spec(torch.optim.SGD, lr=1.0)
    ))  # fmt: skip
    assert record.pairing["code"] == source_identity(arm)["paribus_source"][:16]  # of any arm
