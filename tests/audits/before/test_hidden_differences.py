import planted_parts as planted
import pytest
import torch
import torch.nn.functional as F
from small_studies import BASELINE, TRAINING, audit_specs, make_study, of, the, worst
from torch import nn

from paribus.audits.instruments.models import randomize
from paribus.audits.instruments.observation import APART, measure_objective
from paribus.design.specs import spec
from paribus.nn import MLP, Attention, GatedMLP, LinearAttention, MoE, NoisyTopK, RMSNorm, Transformer, llama
from paribus.nn.contract import build_model
from paribus.nn.router_losses import LoadBalance


class Noisy(nn.Module):
    """An MLP that multiplies by noise of its own; a rate of 0 turns it off."""

    def __init__(self, d_model: int, rate: float = 0.25):
        super().__init__()
        self.rate, self.mix = rate, nn.Linear(d_model, d_model)

    def forward(self, x):
        y = self.mix(x)
        return y * (1 + self.rate * torch.randn_like(y)) if self.training and self.rate else y


class Sampler(nn.Module):
    """Noise on the scores by which one of two maps is chosen."""

    def __init__(self, d_model: int):
        super().__init__()
        self.gate, self.maps = nn.Linear(d_model, 2), nn.Parameter(torch.randn(2, d_model, d_model))

    def forward(self, x):
        scores = self.gate(x)
        noisy = scores + torch.randn_like(scores) if self.training else scores
        kept = F.one_hot(noisy.argmax(-1), 2) * scores.softmax(-1)
        return torch.einsum("btd,edf,bte->btf", x, self.maps, kept.to(x.dtype))


class FixedDraw(nn.Module):
    """Draws from the default generator and throws it away."""

    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        torch.rand(1)
        return self.mix(x)


class HalfTable(nn.Module):
    """A table of angles in float64, made anew in each pass, and activations in float32."""

    def __init__(self, d_model: int):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] / torch.arange(1, 33, dtype=torch.float64)
        return self.mix(x) * angles.cos().to(x.dtype)


class DoubleWeights(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim, dtype=torch.float64))

    def forward(self, x):
        return x * self.weight.to(x.dtype)


class TwoLosses(Transformer):
    def loss(self, tokens, targets):
        logits = self(tokens).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten()) + 1e-2 * logits.square().mean()


class SameLoss(Transformer):
    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())


class Smoothed(Transformer):
    smoothing = 0.1

    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten(), label_smoothing=self.smoothing)


class HardlySmoothed(Smoothed):
    smoothing = 0.01


class SmallPartition(Transformer):
    """With a z-loss, 1e-4 times the squared logarithm of the sum of all exponentials."""

    def loss(self, tokens, targets):
        logits = self(tokens).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten()) + 1e-4 * logits.logsumexp(-1).square().mean()


class SetsThreads(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        torch.use_deterministic_algorithms(True)
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        torch.set_default_dtype(torch.float64)
        return self.mix(x)


def hidden(what, corpus, *baseline, **study):
    findings = of("hidden difference", audit_specs(make_study(*baseline, **study), corpus))
    return [f for f in findings if f.evidence["what"] == what]


# Noise.


def test_noise_that_the_spec_does_not_spell_out_is_doubted_at_its_sites(corpus):
    (found,) = hidden("noise", corpus, arm=BASELINE.replace("*mlp", spec(Noisy)))
    assert (found.severity, found.arm, found.site) == ("doubt", "arm", "blocks.0.mlp")
    assert found.evidence["sites"] == ["blocks.0.mlp", "blocks.1.mlp"]


def test_noise_whose_rate_the_spec_spells_out_is_the_question_and_no_finding(corpus):
    assert hidden("noise", corpus, arm=BASELINE.replace("*mlp", spec(Noisy, rate=0.25))) == []
    assert hidden("noise", corpus, arm=BASELINE.replace("dropout", 0.1)) == []


def test_a_routers_noise_is_a_note_whoever_wrote_the_router(corpus):
    arms = {
        "ours": BASELINE.replace("*mlp", spec(MoE, n_experts=4, router=spec(NoisyTopK))),
        "own": BASELINE.replace("*mlp", spec(Sampler)),
    }
    found = hidden("noise", corpus, treatments=arms)
    assert [(f.severity, f.arm, f.site) for f in found] == [
        ("note", "ours", "blocks.0.mlp.router"),
        ("note", "own", "blocks.0.mlp"),
    ]


def test_a_draw_that_moves_nothing_is_no_noise(corpus):
    assert hidden("noise", corpus, arm=BASELINE.replace("*mlp", spec(FixedDraw))) == []


def test_a_part_that_leaves_the_baselines_dropout_out_is_noted_and_a_model_without_any_is_doubted(corpus):
    dropping = BASELINE.replace("dropout", 0.1)
    (found,) = hidden("noise", corpus, dropping, arm=dropping.replace("*mixer", spec(LinearAttention)))
    assert (found.severity, found.evidence["sites"]) == ("note", ["blocks.0.mixer", "blocks.1.mixer"])
    assert hidden("noise", corpus, dropping, arm=BASELINE) == []  # the spec says so

    class Calm(Transformer):
        def __init__(self, d_model, n_heads, blocks, vocab_size, seq_len, dropout: float, **rest):
            super().__init__(d_model, n_heads, blocks, vocab_size, seq_len, **rest)

    calm = spec(Calm, **dict(dropping.arguments))
    (found,) = hidden("noise", corpus, dropping, arm=calm)
    assert found.severity == "doubt"


# Types.


@pytest.mark.parametrize(("pattern", "part", "dtype"), [("*mlp", planted.CoarseMLP, "bfloat16")])
def test_activations_in_another_type_are_doubted(pattern, part, dtype, corpus):
    (found,) = hidden("types", corpus, arm=BASELINE.replace(pattern, spec(part)))
    assert found.severity == "doubt" and found.site == "blocks.0.mlp"
    assert set(found.evidence["types"].values()) == {dtype}


def test_weights_in_another_type_are_doubted_and_an_exact_table_is_not(corpus):
    (found,) = hidden("types", corpus, arm=BASELINE.replace("final_norm", spec(DoubleWeights)))
    assert found.severity == "doubt" and found.site == "final_norm"
    assert found.evidence["types"] == {"final_norm.weight": "torch.float64"}
    assert hidden("types", corpus, arm=BASELINE.replace("*mlp", spec(HalfTable))) == []


class FineMLP(planted.CoarseMLP):
    def forward(self, x):
        return self.mix(x).double().sigmoid().type_as(x)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, planted.CoarseMLP, "computes in bfloat16 where the baseline's are float32, in 2 places"),
        (planted.CoarseMLP, None, "computes in float32 where the baseline's are bfloat16, in 2 places"),
        (planted.CoarseMLP, FineMLP, "computes in float64 where the baseline's are bfloat16, in 2 places"),
        (planted.CoarseMLP, planted.CoarseMLP, None),
    ],
)
def test_the_types_of_both_arms_are_told_whichever_has_the_odd_one(before, after, words, corpus):
    baseline, arm = (BASELINE.replace("*mlp", spec(part)) if part else BASELINE for part in (before, after))
    found = hidden("types", corpus, baseline, arm=arm.replace("*norm", spec(RMSNorm)))
    assert [(f.severity, f.site) for f in found] == [("doubt", "blocks.0.mlp")] * (words is not None)
    assert all(words in f.message for f in found)


def test_one_place_is_one_place(corpus):
    (found,) = hidden(
        "types",
        corpus,
        spec(Transformer, **dict(BASELINE.replace("final_norm", spec(DoubleWeights)).arguments)),
        arm=BASELINE,
    )
    assert "keeps weights in float32 where the baseline's are float64, in 1 place: final_norm.weight" in found.message


# Objectives.


@pytest.mark.parametrize("base", [BASELINE, llama(d_model=64, n_layers=3, n_heads=4)])
@pytest.mark.parametrize("length", [24, 128])
def test_smoothed_labels_show_their_share_at_any_size(base, length):
    def gap(cls):
        model = build_model(spec(cls, **dict(base.arguments)), 0, vocab_size=257, seq_len=length)
        randomize(model, 0)
        return measure_objective(model, 257, length).gap

    # Smoothing adds s (U - H), U the loss of a token drawn at random. Half of the targets cost about U, and half, being
    # the likeliest of 257, nearly nothing: H = U / 2.
    assert gap(Smoothed) == pytest.approx(0.1, rel=0.2)
    assert gap(HardlySmoothed) == pytest.approx(0.01, rel=0.2)
    assert gap(SmallPartition) > 10 * APART
    assert gap(SameLoss) < APART / 10


@pytest.mark.parametrize("cls", [Smoothed, HardlySmoothed, SmallPartition])
def test_a_little_beside_the_cross_entropy_is_doubted(cls, corpus):
    (found,) = hidden("objective", corpus, arm=spec(cls, **dict(BASELINE.arguments)))
    assert found.severity == "doubt"


def test_a_loss_that_is_not_the_cross_entropy_is_doubted_and_one_that_is_is_not(corpus):
    (found,) = hidden("objective", corpus, arm=spec(TwoLosses, **dict(BASELINE.arguments)))
    assert found.severity == "doubt"
    assert found.evidence["own"] > found.evidence["cross_entropy"]
    assert hidden("objective", corpus, arm=spec(SameLoss, **dict(BASELINE.arguments))) == []


def test_an_auxiliary_loss_at_a_change_is_noted_with_its_size(corpus):
    mixture = BASELINE.replace("*mlp", spec(MoE, n_experts=4))
    balanced = mixture.replace("*mlp.losses", (spec(LoadBalance, weight=0.5),))
    (found,) = hidden("auxiliary losses", corpus, mixture, arm=balanced)
    assert found.severity == "note" and found.site == "blocks.0.mlp"
    # E sum f P is at least about 1 where loads and probabilities go together, and at most E.
    assert all(0.4 < size < 2.0 for size in found.evidence["terms"].values())
    (found,) = hidden("auxiliary losses", corpus, balanced, arm=mixture)
    assert "lacks 2 auxiliary losses" in found.message


# Weights.


class Shrinking(Transformer):
    """A tenth of each weight is lost after each step."""

    @torch.no_grad()
    def after_step(self):
        for p in self.parameters():
            p *= 0.9


class ClampedNorm(RMSNorm):
    """A gain that is kept below 1."""

    @torch.no_grad()
    def after_step(self):
        self.weight.clamp_(max=0.5)


class Halved(Transformer):
    """Evaluated at half of its embedding, for good."""

    def eval(self):
        with torch.no_grad():
            self.embedding.weight *= 0.5
        return super().eval()


def as_model(cls, model):
    return spec(cls, **dict(model.arguments))


RMS = BASELINE.replace("*norm", spec(RMSNorm))


def test_weights_that_the_model_moves_after_a_step_are_doubted_with_how_many_and_how_far(corpus):
    (found,) = hidden("weights", corpus, arm=as_model(Shrinking, RMS))
    assert (found.severity, found.arm) == ("doubt", "arm")
    n_tensors = len(list(build_model(RMS, 0, vocab_size=257, seq_len=24).parameters()))
    assert f"the weights of {n_tensors} tensors after each step, behind the optimizer" in found.message
    assert all(size == pytest.approx(0.1, rel=1e-4) for size in found.evidence["moved"].values())


def test_weights_that_move_for_evaluation_are_doubted(corpus):
    (found,) = hidden("weights", corpus, arm=as_model(Halved, RMS))
    assert found.severity == "doubt" and "1 tensor when it is evaluated" in found.message
    assert found.evidence["moved"] == {"embedding.weight": pytest.approx(0.5)}


def test_weights_that_the_baseline_alone_moves_are_doubted_and_those_of_both_are_not_told(corpus):
    (found,) = hidden("weights", corpus, as_model(Shrinking, BASELINE), arm=RMS)
    assert found.severity == "doubt" and "does not move the weights" in found.message
    assert hidden("weights", corpus, as_model(Shrinking, BASELINE), arm=as_model(Shrinking, RMS)) == []


def test_weights_that_move_are_a_note_in_the_part_that_changes_or_where_nothing_else_does(corpus):
    (found,) = hidden("weights", corpus, arm=BASELINE.replace("*norm", spec(ClampedNorm)))
    assert found.severity == "note" and found.site.endswith("norm")
    (found,) = hidden("weights", corpus, arm=as_model(Shrinking, BASELINE))
    assert found.severity == "note"


def test_a_bias_of_a_router_is_a_buffer_and_no_moved_weight(corpus):
    class Calm(MoE):
        def after_step(self):
            self.steps = 1

    assert hidden("weights", corpus, arm=BASELINE.replace("*mlp", spec(Calm, n_experts=4))) == []


def test_averaged_weights_of_a_model_that_moves_them_after_a_step_are_doubted(corpus):
    study = make_study(as_model(Shrinking, BASELINE), arm=as_model(Shrinking, RMS))
    averaging = study.replace(training=study.training.replace(averaged=0.5))
    told = [f for f in audit_specs(averaging, corpus) if f.evidence.get("what") == "averaged weights"]
    assert [(f.check, f.severity, f.arm) for f in told] == [
        ("hidden difference", "doubt", "baseline"),
        ("hidden difference", "doubt", "arm"),
    ]
    assert hidden("averaged weights", corpus, as_model(Shrinking, BASELINE), arm=as_model(Shrinking, RMS)) == []
    calm = make_study(BASELINE, arm=RMS)
    calm = calm.replace(training=calm.training.replace(averaged=0.5))
    assert not [f for f in audit_specs(calm, corpus) if f.evidence.get("what") == "averaged weights"]


# Kernels and settings.


def test_another_kernel_is_noted_with_both_sets(corpus):
    (found,) = hidden("kernels", corpus, arm=BASELINE.replace("*norm", spec(RMSNorm)))
    assert found.severity == "note" and "in 1 fused kernel: " in found.message
    assert set(found.evidence["baseline"]) - set(found.evidence["treatment"]) == {"layer norm"}
    assert hidden("kernels", corpus, arm=BASELINE.replace("*mlp.d_ff", 96)) == []


def test_settings_of_the_process_are_doubted_and_put_back(corpus):
    found = hidden("global state", corpus, arm=BASELINE.replace("*mlp", spec(SetsThreads)))
    assert [f.severity for f in found] == ["doubt", "doubt"]
    assert found[0].evidence["moved"] == {"deterministic algorithms": "False -> True"}
    assert found[1].evidence["moved"] == {"default dtype": "torch.float32 -> torch.float64"}
    assert torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


def test_built_in_parts_differ_in_nothing_hidden(corpus):
    arms = {
        "mixer": BASELINE.replace("*mixer", spec(Attention, window=5)),
        "mlp": BASELINE.replace("*mlp", spec(MLP, d_ff=132)),
        "gate": BASELINE.replace("*mlp", spec(GatedMLP, d_ff=80)),
    }
    findings = [f for f in audit_specs(make_study(treatments=arms), corpus) if f.check == "hidden difference"]
    assert worst(findings) == []
    assert {f.evidence["what"] for f in findings} <= {"kernels"}


# Start and groups.


class WideMLP(GatedMLP):
    """The baseline's MLP, its weights three times as wide at the start."""

    def reset_parameters(self):
        super().reset_parameters()
        with torch.no_grad():
            for p in self.parameters():
                p *= 3


class WideModel(Transformer):
    def reset_parameters(self):
        super().reset_parameters()
        with torch.no_grad():
            self.embedding.weight *= 2


def test_a_part_that_starts_wider_is_noted_at_its_site_with_the_ratio(corpus):
    wide = BASELINE.replace("*mlp", spec(WideMLP, **dict(BASELINE["blocks.0.mlp"].arguments)))
    found = of("initial scale", audit_specs(make_study(arm=wide), corpus))
    weights, outputs = found
    assert {f.severity for f in found} == {"note"}
    assert weights.evidence["ratios"]["blocks.0.mlp.up.weight"] == pytest.approx(3, rel=1e-5)
    # Three matrices in a row, and silu about half of its argument near 0: 3^3.
    assert outputs.evidence["ratios"]["blocks.0.mlp"] == pytest.approx(27, rel=0.1)


def test_a_model_of_the_users_that_starts_wider_is_doubted(corpus):
    found = the("initial scale", audit_specs(make_study(arm=spec(WideModel, **dict(BASELINE.arguments))), corpus))
    assert found.severity == "doubt"
    assert found.evidence["ratios"] == {"embedding.weight": pytest.approx(2)}


class DecayedNorm(RMSNorm):
    def roles(self):
        return {"weight": "matrix"}


def test_tensors_in_another_group_are_doubted_with_both_settings(corpus):
    decaying = TRAINING.replace(optimizer=spec(torch.optim.AdamW, lr=0.01, weight_decay=0.1))
    rms = BASELINE.replace("*norm", spec(RMSNorm))
    study = make_study(rms, arm=rms.replace("*norm", spec(DecayedNorm)), training=decaying)
    found = the("optimizer groups", audit_specs(study, corpus))
    assert found.severity == "doubt"
    assert found.evidence["tensors"]["final_norm.weight"] == ["weight_decay 0.0 -> 0.1"]
    assert of("optimizer groups", audit_specs(make_study(rms, arm=BASELINE, training=decaying), corpus)) == []
