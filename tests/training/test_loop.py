import itertools
import json
import resource
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paribus import nn as nn_parts
from paribus.data.held_out import IGNORED, HeldOut
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.errors import Diverged, StoreError, StudyError
from paribus.store.files import read_jsonl
from paribus.store.records import loss_curve
from paribus.training import Constant
from paribus.training.evaluation import evaluate
from paribus.training.loop import Interrupted, train
from paribus.training.step import gather_auxiliary

V, T = 11, 4


class Bigram(nn.Module):
    """Next-token logits from the current token, with dropout so that the noise stream matters."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.table = nn.Embedding(V, 8)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(8, V)

    def forward(self, tokens):
        return self.head(self.drop(self.table(tokens)))


class WithAuxiliary(Bigram):
    def aux(self):
        return {"size": self.table.weight.square().mean()}


class WithOwnLoss(Bigram):
    def loss(self, tokens, targets):
        return 0.5 * F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())


ROLES = {"table.weight": "embedding", "head.weight": "head", "head.bias": "vector"}


def make(cls=Bigram, **arguments):
    torch.manual_seed(0)
    return cls(**arguments)


def batch(step, rows=4):
    rng = np.random.default_rng(step)
    tokens = rng.integers(0, V, (rows, T + 1))
    return tokens[:, :-1], tokens[:, 1:]


def held_out():
    inputs, targets = batch(10**6, 3)
    targets = targets.copy()
    targets[2, 2:] = IGNORED
    return HeldOut(inputs, targets, np.repeat([[0], [0], [1]], T, axis=1), window_bytes=np.array([8, 8, 4]))


def recipe(**changes):
    fields = {
        "tokens": 12 * 4 * T,
        "batch_tokens": 4 * T,
        "seq_len": T,
        "optimizer": spec(torch.optim.AdamW, lr=0.05),
        "evaluations": 3,
    }
    return Training(**{**fields, **changes})


def run(folder, model=None, training=None, **options):
    model = model or make()
    training = training or recipe()
    return model, train(
        model, training, seed=0, roles=ROLES, batch=batch, held_out=held_out(), folder=folder, **options
    )


def untimed(entries):
    return [{key: value for key, value in entry.items() if key != "measured"} for entry in entries]


def test_training_lowers_the_loss_of_a_learnable_task(tmp_path):
    def successor(step):
        tokens = np.arange(4 * T).reshape(4, T) % V
        return tokens, (tokens + 1) % V

    training = recipe(tokens=200 * 4 * T, clip=None)
    inputs, targets = successor(0)
    scored = HeldOut(inputs, targets, np.repeat(np.arange(4)[:, None], T, axis=1), window_bytes=np.full(4, 4))
    trained = train(make(), training, seed=0, roles=ROLES, batch=successor, held_out=scored, folder=tmp_path)
    assert trained.evaluations[0]["loss"] > 1.5
    assert trained.scores.loss < 0.05
    assert trained.scores.accuracy == 1.0


def test_evaluations_fall_on_evenly_spaced_steps_with_the_untrained_model_first(tmp_path):
    _, trained = run(tmp_path)
    assert [e["step"] for e in trained.evaluations] == [0, 4, 8, 12]
    assert [line["step"] for line in trained.steps] == list(range(1, 13))
    assert read_jsonl(tmp_path / "steps.jsonl") == trained.steps


def test_the_curve_scores_a_part_of_the_tokens_and_the_end_all_of_them(tmp_path):
    _, whole = run(tmp_path / "whole")
    model, parts = run(tmp_path / "parts", training=recipe(curve_tokens=T))
    first = HeldOut(*(array[:1] for array in vars(held_out()).values()))
    assert [e["step"] for e in parts.evaluations] == [0, 4, 8, 12, 12]
    assert parts.evaluations[-1]["loss"] == whole.evaluations[-1]["loss"]  # the way there is the same
    assert parts.scores == whole.scores
    for key in ("loss", "bits_per_byte", "accuracy"):
        assert parts.evaluations[-2][key] == getattr(evaluate(model, first, 4, "cpu", "fp32"), key)
    assert loss_curve(parts.evaluations) == parts.evaluations[:-1]
    assert loss_curve(whole.evaluations) == whole.evaluations


@pytest.mark.parametrize("tokens", [1, T, 2 * T, 3 * T - 1])
def test_the_part_of_the_curve_is_spread_evenly_and_has_its_own_bytes(tokens):
    inputs = np.arange(6 * T).reshape(6, T)
    part = HeldOut(inputs, inputs + 1, inputs + 2, np.arange(6)).part(tokens)
    chosen = {1: [0], T: [0], 2 * T: [0, 3], 3 * T - 1: [0, 3]}[tokens]
    assert part.window_bytes.tolist() == chosen
    for added, array in enumerate((part.inputs, part.targets, part.documents)):
        assert (array == inputs[chosen] + added).all()


def nowhere(logits, targets):
    return torch.full(targets.shape, torch.nan)


def in_the_last_window(logits, targets):
    return torch.where((targets == IGNORED).any(1, keepdim=True), 1.0, torch.nan).expand(targets.shape)


def test_a_metric_that_counts_no_token_is_an_error_before_the_first_step(tmp_path):
    with pytest.raises(StudyError, match="metric 'own' counts none of the held-out tokens"):
        run(tmp_path, measures={"own": nowhere})
    assert not (tmp_path / "steps.jsonl").exists()


def test_a_metric_that_counts_no_token_of_the_curve_is_measured_at_the_end(tmp_path):
    _, trained = run(tmp_path, training=recipe(curve_tokens=T), measures={"own": in_the_last_window})
    assert [e.get("metrics") for e in trained.evaluations] == [None, None, None, None, {"own": 1.0}]


def test_averaged_weights_are_the_mean_of_the_last_steps_and_what_the_end_scores(tmp_path):
    seen, model = [], make()

    def keep(line):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})

    _, trained = run(tmp_path, model, recipe(averaged=0.25), report=keep)
    for name, p in model.named_parameters():
        assert torch.allclose(p, torch.stack([weights[name] for weights in seen[-3:]]).mean(0), atol=1e-6)
    _, plain = run(tmp_path / "plain")
    assert untimed(trained.steps) == untimed(plain.steps)
    assert untimed(trained.evaluations[:-1]) == untimed(plain.evaluations)  # the curve is not of averages
    assert trained.scores.loss != plain.scores.loss
    assert trained.scores == evaluate(model, held_out(), 4, "cpu", "fp32")


@pytest.mark.parametrize("stopped_at", [1, 4, 7, 11])
def test_an_interrupted_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path, stopped_at):
    training = recipe(curve_tokens=T, averaged=0.5)
    whole_model, whole = run(tmp_path / "whole", make(dropout=0.3), training)
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", make(dropout=0.3), training, stop=lambda: next(asked) == stopped_at)
    resumed_model, resumed = run(tmp_path / "cut", make(dropout=0.3), training)
    assert untimed(resumed.steps) == untimed(whole.steps)
    assert untimed(resumed.evaluations) == untimed(whole.evaluations)
    assert resumed.batch_digest == whole.batch_digest
    for name, value in whole_model.state_dict().items():
        assert torch.equal(value, resumed_model.state_dict()[name])


def test_lines_behind_the_last_checkpoint_are_run_again(tmp_path):
    _, whole = run(tmp_path / "whole")
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", stop=lambda: next(asked) == 5)
    with (tmp_path / "cut" / "steps.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 99')  # a line that a kill cut short
    _, resumed = run(tmp_path / "cut")
    assert untimed(resumed.steps) == untimed(whole.steps)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no zip file")
    with pytest.raises(StoreError, match=r"checkpoint\.pt is damaged"):
        run(tmp_path)


def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path):
    whole, first = run(tmp_path / "whole")
    parts, second = run(tmp_path / "parts", training=recipe(micro_batch_tokens=2 * T))
    assert [line["loss"] for line in first.steps] == pytest.approx([line["loss"] for line in second.steps], abs=1e-5)
    assert torch.allclose(whole.head.weight, parts.head.weight, atol=1e-4)


def test_the_norm_in_the_log_is_the_one_before_clipping(tmp_path):
    training = recipe(clip=1e-3, optimizer=spec(torch.optim.SGD, lr=1.0), schedule=spec(Constant, warmup=0.0))
    model = make()
    before = torch.cat([p.detach().clone().flatten() for p in model.parameters()])
    _, trained = run(tmp_path, model, training.replace(tokens=4 * T, evaluations=1))
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert trained.steps[0]["gradient_norm"] > 0.05
    assert trained.steps[0]["clipped"]
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_auxiliary_losses_train_and_never_count_in_an_evaluation(tmp_path):
    plain, without = run(tmp_path / "plain")
    other, trained = run(tmp_path / "aux", make(WithAuxiliary))
    assert gather_auxiliary(other).keys() == {".size"}
    assert trained.evaluations[0]["loss"] == without.evaluations[0]["loss"]
    assert trained.steps[0]["loss"] == without.steps[0]["loss"]
    assert trained.steps[0]["auxiliary_loss"] > 0
    assert not torch.equal(plain.table.weight, other.table.weight)


def test_a_models_own_loss_is_the_one_that_trains(tmp_path):
    _, without = run(tmp_path / "plain")
    _, trained = run(tmp_path / "own", make(WithOwnLoss))
    assert trained.steps[0]["loss"] == pytest.approx(without.steps[0]["loss"] / 2)
    assert trained.evaluations[0]["loss"] == without.evaluations[0]["loss"]


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(tmp_path):
    with pytest.raises(Diverged) as caught:
        run(tmp_path, training=recipe(optimizer=spec(torch.optim.SGD, lr=1e38), clip=None))
    assert 1 <= caught.value.step <= 12


def entropy(logits, targets):
    if not logits.isfinite().all():
        raise ValueError("a distribution has finite logits")
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


def passed_on(logits, targets):
    return logits.logsumexp(-1) + torch.inf


@pytest.mark.parametrize("measure", [entropy, passed_on])
def test_a_held_out_loss_that_is_not_finite_is_a_divergence_whatever_a_metric_of_ones_own_says(measure, tmp_path):
    model = make()
    model.head.bias.data[0] = torch.inf
    with pytest.raises(Diverged, match="held-out loss is nan after step 0"):
        run(tmp_path / "own", model, measures={"own": measure})


def test_bf16_stays_close_to_fp32_and_is_not_the_same(tmp_path):
    _, exact = run(tmp_path / "fp32")
    _, rounded = run(tmp_path / "bf16", training=recipe(precision="bf16"))
    assert rounded.scores.loss == pytest.approx(exact.scores.loss, abs=0.05)
    assert rounded.scores.loss != exact.scores.loss


def test_scores_are_sums_over_documents_of_the_reference_loss():
    model, scored = make(), held_out()
    scores = evaluate(model, scored, batch_windows=2, device="cpu", precision="fp32")
    logits = model(torch.from_numpy(scored.inputs))
    targets = torch.from_numpy(scored.targets)
    reference = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    reference = reference.view_as(targets)
    assert scores.document_tokens == (8, 2)
    assert scores.document_loss == pytest.approx([reference[:2].sum().item(), reference[2].sum().item()], rel=1e-5)
    assert scores.loss == pytest.approx(reference.sum().item() / 10, rel=1e-5)
    assert scores.bits_per_byte == pytest.approx(reference.sum().item() / np.log(2) / 20, rel=1e-5)
    assert model.training


def test_a_log_shorter_than_its_checkpoint_is_refused(tmp_path):
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(tmp_path, stop=lambda: next(asked) == 7)
    log = tmp_path / "steps.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(StoreError, match=r"has 3 of the 7 lines"):
        run(tmp_path)
    log.unlink()
    with pytest.raises(StoreError, match="is missing"):
        run(tmp_path)


def test_a_full_disk_is_no_failure_of_the_arm(tmp_path):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, usual[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write .*steps\.jsonl: .*; what was finished before is kept"):
            run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def test_a_part_that_draws_when_it_is_scored_is_scored_the_same_again(tmp_path):
    class Noisy(Bigram):
        def forward(self, tokens):
            logits = super().forward(tokens)
            return logits + 0.1 * torch.randn_like(logits)

    _, first = run(tmp_path / "a", make(Noisy))
    torch.manual_seed(99)
    _, second = run(tmp_path / "b", make(Noisy))
    assert untimed(first.evaluations) == untimed(second.evaluations)


class Counting(Bigram):
    """Remembers how many tokens it saw in training since the last step, and in the whole run, in buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, tokens):
        self.rows, self.seen = len(tokens), self.seen + self.training * tokens.numel()
        return super().forward(tokens)

    def after_step(self):
        assert self.seen == 4 * T  # all micro-batches of one step
        self.seen.zero_()
        self.steps += 1

    def diagnostics(self):
        return {"rows": torch.tensor(float(self.rows)), "both": torch.tensor([1.0, 2.0])}


def test_parts_are_told_when_a_step_is_over_and_after_all_its_micro_batches(tmp_path):
    model, _ = run(tmp_path, make(Counting), recipe(micro_batch_tokens=2 * T))
    assert model.steps == 12


def test_diagnostics_of_an_evaluation_are_averaged_over_its_windows(tmp_path):
    _, trained = run(tmp_path / "with", make(Counting), recipe(micro_batch_tokens=2 * T))
    for entry in trained.evaluations:  # three windows, in batches of two and one
        assert entry["diagnostics"] == {".rows": pytest.approx((2 * 2 + 1 * 1) / 3), ".both": [1.0, 2.0]}
    _, without = run(tmp_path / "without")
    assert not any("diagnostics" in entry for entry in without.evaluations)


def routed(**router):
    mlp = spec(
        nn_parts.MoE,
        n_experts=4,
        router=spec(nn_parts.TopK, score=nn_parts.sigmoid, bias_rate=0.01, **router),
        experts=spec(nn_parts.Experts, d_ff=8, dropout=0.2),
        losses=(spec(nn_parts.LoadBalance, weight=0.01),),
    )
    return nn_parts.build_model(nn_parts.llama(8, 2, 2, mlp=mlp), 0, vocab_size=V, seq_len=T)


def run_routed(folder, **options):
    model = routed(noise_std=0.1)
    roles, training = nn_parts.roles(model), recipe(micro_batch_tokens=2 * T)
    return model, train(
        model, training, seed=0, roles=roles, batch=batch, held_out=held_out(), folder=folder, **options
    )


@pytest.mark.parametrize("stopped_at", [1, 7])
def test_an_interrupted_run_with_balanced_experts_ends_with_the_bits_of_an_undisturbed_one(tmp_path, stopped_at):
    whole_model, whole = run_routed(tmp_path / "whole")
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run_routed(tmp_path / "cut", stop=lambda: next(asked) == stopped_at)
    resumed_model, resumed = run_routed(tmp_path / "cut")
    assert untimed(resumed.steps) == untimed(whole.steps)
    assert untimed(resumed.evaluations) == untimed(whole.evaluations)
    for name, value in whole_model.state_dict().items():
        assert torch.equal(value, resumed_model.state_dict()[name]), name
    assert all(block.mlp.router.bias.abs().sum() > 0 for block in whole_model.blocks)


def test_evaluations_of_a_mixture_of_experts_say_its_load(tmp_path):
    _, trained = run_routed(tmp_path)
    first, last = trained.evaluations[0]["diagnostics"], trained.evaluations[-1]["diagnostics"]
    names = ("load", "entropy", "dropped", "unused", "bias_min", "bias_max")
    assert first.keys() == {f"blocks.{i}.mlp.{name}" for i in (0, 1) for name in names}
    assert sum(last["blocks.1.mlp.load"]) == pytest.approx(1.0)
    assert len(last["blocks.1.mlp.load"]) == 4
    assert (first["blocks.0.mlp.bias_max"], last["blocks.0.mlp.dropped"]) == (0.0, 0.0)
    assert 0 < last["blocks.0.mlp.bias_max"] <= 12 * 0.01 + 1e-6
    assert json.loads(json.dumps(trained.evaluations)) == trained.evaluations
