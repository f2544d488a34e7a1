"""The conformance suite: every part of the package passes, and each fault is caught by its check."""

import json
import random
from dataclasses import asdict

import pytest
import torch
from torch import nn

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import PartError, SpecError

EVERYWHERE = {"keeps its shape", "is causal", "keeps rows apart", "trains every parameter", "has the right gradient"}
EVERYWHERE |= {"registers its weights", "is deterministic", "starts the same", "resets the same", "survives bf16"}

STEPPED = {"steps like its parallel form"}
EXPECTED_FAILURES = {
    "ExpertChoice": {"is causal"},  # as its docstring says
    "HRM": {"has the right gradient"},  # its default is the paper's one-step approximation
}

NEEDS = {
    "Transformer": {"blocks": (spec(pn.PreNorm), spec(pn.PostNorm))},
    "LoopedTransformer": {"blocks": (spec(pn.PreNorm), spec(pn.PostNorm))},
    "HRM": {"low": (spec(pn.PostNorm),), "high": (spec(pn.PostNorm),)},
}

VARIANTS = [
    (spec(pn.RMSNorm, order=pn.cast_then_gain), "norm"),
    (spec(pn.RMSNorm, gain=False), "norm"),
    (spec(pn.LayerNorm, bias=False), "norm"),
    (spec(nn.RMSNorm), "norm"),
    (spec(nn.LayerNorm), "norm"),
    (spec(pn.MLP, activation=pn.relu_squared, bias=True), "mlp"),
    (spec(pn.MLP, activation=nn.GELU), "mlp"),
    (spec(pn.MLP, activation=spec(nn.PReLU)), "mlp"),
    (spec(pn.GatedMLP, activation=pn.gelu), "mlp"),
    (spec(pn.GatedMLP, activation=pn.relu, bias=True), "mlp"),
    (spec(pn.Attention, n_kv_heads=2), "mixer"),
    (spec(pn.Attention, n_kv_heads=1, bias=True, dropout=0.3), "mixer"),
    (spec(pn.Attention, window=3), "mixer"),
    (spec(pn.Attention, softcap=5.0, window=4, n_kv_heads=1), "mixer"),
    (spec(pn.Attention, qk_norm=spec(pn.RMSNorm), position=spec(pn.RoPE)), "mixer"),
    (spec(pn.Attention, head_dim=5, position=spec(pn.ALiBi), softcap=9.0), "mixer"),
    (spec(pn.RoPE, fraction=0.5, theta=100.0), "position"),
    (spec(pn.RoPE, scaling=spec(pn.LinearScaling, factor=2.0)), "position"),
    (spec(pn.RoPE, scaling=spec(pn.NTKScaling, factor=2.0)), "position"),
    (spec(pn.RoPE, scaling=spec(pn.YaRNScaling, factor=4.0, original_seq_len=8)), "position"),
    (spec(pn.PreNorm, dropout=0.2, mlp=spec(pn.GatedMLP)), "block"),
    (spec(pn.TopK, top_k=1, normalize=False, noise_std=0.3), "router"),
    (spec(pn.TopK, top_k=3, score=pn.sigmoid, n_groups=3, top_groups=2, scale=2.5, bias_rate=0.1), "router"),
    (spec(pn.Hash, top_k=3), "router"),
    (spec(pn.MoE, experts=spec(pn.GatedExperts, dropout=0.3), shared=spec(pn.GatedMLP)), "mlp"),
    (spec(pn.MoE, n_experts=5, router=spec(pn.Hash), experts=spec(pn.Experts, activation=nn.PReLU)), "mlp"),
    (spec(pn.MoE, router=spec(pn.NoisyTopK), losses=(spec(pn.LoadBalance), spec(pn.RouterZ))), "mlp"),
    (pn.llama(d_model=24, n_layers=2, n_heads=2, mlp=spec(pn.MoE, router=spec(pn.Hash)), dropout=0.2), "model"),
    (pn.gpt2(d_model=24, n_layers=2, n_heads=2), "model"),
    (pn.llama(d_model=24, n_layers=2, n_heads=2, n_kv_heads=1, tied=False), "model"),
    (pn.llama(d_model=24, n_layers=2, n_heads=2, block=spec(pn.Sandwich), dropout=0.1), "model"),
    (spec(pn.LatentAttention, q_rank=5, bias=True, position=spec(pn.RoPE, pairing=pn.interleaved)), "mixer"),
    (spec(pn.LatentAttention, rope_dim=16, nope_dim=0, value_dim=24, position=spec(pn.RoPE), dropout=0.3), "mixer"),
    (spec(pn.LatentAttention, rope_dim=0, norm=spec(pn.LayerNorm), position=spec(pn.ALiBi)), "mixer"),
    (spec(pn.RoPE, pairing=pn.interleaved, fraction=0.5), "position"),
    (spec(pn.RoPE, scaling=spec(pn.YaRNScaling, factor=4.0, original_seq_len=8, mscale_all_dim=0.0)), "position"),
    (spec(pn.HyperMixer, chunk=5, d_hidden=7, decay=0.9, tied=True, value=spec(pn.Linear), bias=True), "mixer"),
    (spec(pn.HyperMixer, chunk=4, activation=pn.relu, places=spec(pn.Learned), out_norm=spec(pn.LayerNorm)), "mixer"),
    (spec(pn.LinearAttention, chunk=5, d_hidden=7, decay=0.8, value=spec(pn.Linear)), "mixer"),
    (pn.llama(d_model=24, n_layers=2, n_heads=2, mixer=spec(pn.HyperMixer, chunk=6)), "model"),
    (pn.hrm(24, 1, 1, 2, gradient=pn.full), "model"),
    (pn.hrm(24, 2, 1, 2, n_steps=1, gradient=pn.full, position=spec(pn.Learned), tied=False, dropout=0.2), "model"),
    (pn.looped(24, 2, 2, 2, inject=pn.add_input, dropout=0.1), "model"),
]


class Fade(nn.Module):  # a user's mixer, in twelve lines
    def __init__(self, d_model: int, start: float = 1.0):
        super().__init__()
        self.rate = nn.Parameter(torch.full((d_model,), start))

    def step(self, x, state):
        share = self.rate.sigmoid()
        y = share * x if state is None else share * x + (1 - share) * state
        return y, y

    def forward(self, x):
        state, ys = None, []
        for t in range(x.shape[1]):
            y, state = self.step(x[:, t : t + 1], state)
            ys.append(y)
        return torch.cat(ys, dim=1)


class HalfPrecisionCasts(nn.Module):
    """Computes in float32 whatever it is given, as many norms in the field do."""

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * self.weight


class SeesTheFuture(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.mix = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.mix(x - x.mean(dim=1, keepdim=True))


class SeesOneAhead(nn.Module):
    def forward(self, x):
        return x + 1e-6 * torch.roll(x, -1, dims=1)


class MaskAsNumbers(nn.Module):
    """The third flaw of ORIGINS.md: a boolean mask that is added instead of masking."""

    def __init__(self, d_model):
        super().__init__()
        self.o = nn.Linear(d_model, d_model)

    def forward(self, x):
        t = x.shape[1]
        scores = x @ x.transpose(1, 2) + torch.ones(t, t, dtype=torch.bool).tril()
        return self.o(scores.softmax(-1) @ x)


class BatchStatistics(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class LayersInAList(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layers = [nn.Linear(dim, dim), {"gate": nn.Linear(dim, dim)}]

    def forward(self, x):
        return self.layers[0].double()(x)


class LayersTwice(nn.Module):
    """A list beside the attribute: nothing is hidden."""

    def __init__(self, dim):
        super().__init__()
        self.layer = nn.Linear(dim, dim)
        self.order = [self.layer]

    def forward(self, x):
        return self.order[0](x)


class DeadWeight(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.used = nn.Linear(d_model, d_model)
        self.unused = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.used(x)


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        length = x.square().mean(-1, keepdim=True).add(1e-6).sqrt()
        ctx.save_for_backward(length)
        return x / length

    @staticmethod
    def backward(ctx, gradient):
        (length,) = ctx.saved_tensors
        return gradient / length  # forgets that the length depends on x


class WrongGradient(nn.Module):
    def forward(self, x):
        return _WrongBackward.apply(x)


class Noisy(nn.Module):
    def forward(self, x):
        return x + random.random()


class UnseededStart(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), random.random()))

    def forward(self, x):
        return x * self.weight


class ShrinkingReset(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def reset_parameters(self):
        with torch.no_grad():
            self.weight.mul_(0.5)

    def forward(self, x):
        return x * self.weight


class Overflows(nn.Module):
    def forward(self, x):
        return x * 1e30 * 1e30 * 0 if x.dtype is torch.float32 else x


class ReturnsAPair(nn.Module):
    def forward(self, x):
        return x, None


class DropsAToken(nn.Module):
    def forward(self, x):
        return x[:, 1:]


class StepsOtherwise(Fade):
    def step(self, x, state):
        y, state = super().step(x, state)
        return y, 0.9 * state

    def forward(self, x):
        state, ys = None, []
        for t in range(x.shape[1]):
            y, state = super().step(x[:, t : t + 1], state)
            ys.append(y)
        return torch.cat(ys, dim=1)


def failed(part, slot, **arguments):
    return {check.name for check in pn.check_part(part, slot, **arguments) if not check.passed}


@pytest.mark.parametrize("part", pn.discover_parts(), ids=lambda part: part.name)
def test_every_part_of_the_package_conforms(part):
    checks = pn.check_part(part.cls, part.slot, **NEEDS.get(part.name, {}))
    assert {check.name for check in checks} == EVERYWHERE | (STEPPED if hasattr(part.cls, "step") else set())
    assert {check.name for check in checks if not check.passed} == EXPECTED_FAILURES.get(part.name, set()), checks
    assert all(check.ran for check in checks), checks


@pytest.mark.parametrize(("variant", "slot"), VARIANTS, ids=lambda v: str(v)[:60])
def test_every_option_of_a_part_conforms(variant, slot):
    assert [check for check in pn.check_part(variant, slot) if not check.passed] == []


def test_users_class_conforms_and_its_steps_are_compared():
    checks = pn.check_part(Fade, "mixer", start=0.5)
    assert {check.name for check in checks} == EVERYWHERE | STEPPED
    assert all(check.passed for check in checks), checks


def test_part_that_casts_to_float32_itself_is_still_probed_in_float64():
    assert failed(HalfPrecisionCasts, "norm") == set()


@pytest.mark.parametrize(
    ("part", "slot", "name"),
    [
        (SeesTheFuture, "mixer", "is causal"),
        (SeesTheFuture, "mlp", "is causal"),
        (SeesOneAhead, "mixer", "is causal"),
        (MaskAsNumbers, "mixer", "is causal"),
        (BatchStatistics, "norm", "keeps rows apart"),
        (DeadWeight, "mlp", "trains every parameter"),
        (LayersInAList, "mlp", "registers its weights"),
        (WrongGradient, "norm", "has the right gradient"),
        (Noisy, "mixer", "is deterministic"),
        (UnseededStart, "norm", "starts the same"),
        (ShrinkingReset, "norm", "resets the same"),
        (Overflows, "mixer", "survives bf16"),
        (ReturnsAPair, "mixer", "keeps its shape"),
        (DropsAToken, "mixer", "keeps its shape"),
        (StepsOtherwise, "mixer", "steps like its parallel form"),
    ],
)
def test_fault_is_caught_by_the_check_of_its_name(part, slot, name):
    assert name in failed(part, slot)


def test_a_layer_that_is_registered_may_stand_in_a_list_too():
    assert failed(LayersTwice, "mlp") == set()


def test_check_says_the_numbers():
    (dead,) = [c for c in pn.check_part(DeadWeight, "mlp") if c.name == "trains every parameter"]
    assert dead.detail == "no gradient reaches unused.weight, unused.bias"
    (leak,) = [c for c in pn.check_part(SeesOneAhead, "mixer") if c.name == "is causal"]
    assert "e-06, at most 1e-09 allowed" in leak.detail


class ReadsTokens(nn.Module):
    """Takes what a model hands down under the name of the ids; ``shift`` reads those of another token."""

    def __init__(self, d_model, vocab_size, tokens, shift=0):
        super().__init__()
        self.rows = pn.Embedding(vocab_size, d_model)
        self.tokens, self.shift = tokens, shift

    def forward(self, x):
        return x + self.rows(self.tokens.ids.roll(self.shift, dims=1))


@pytest.mark.parametrize("slot", ["norm", "mlp", "mixer", "block"])
def test_part_that_reads_token_ids_is_fed_them_in_every_slot(slot):
    assert failed(ReadsTokens, slot) == set()
    assert failed(ReadsTokens, slot, shift=-1) == {"is causal"}


class RoutesByLength(nn.Module):
    """A router whose choice depends on how many tokens there are, and on all of them."""

    def __init__(self, d_model, n_experts):
        super().__init__()
        self.inner = pn.TopK(d_model, n_experts)

    def forward(self, x):
        return self.inner(x - x.mean(dim=1, keepdim=True))


class DeadGate(pn.TopK):
    def __init__(self, d_model, n_experts):
        super().__init__(d_model, n_experts)
        self.unused = nn.Parameter(torch.ones(n_experts))


def test_faults_of_a_router_are_seen_through_its_experts():
    assert failed(RoutesByLength, "router") == {"is causal"}
    assert failed(DeadGate, "router") == {"trains every parameter"}
    (dead,) = [c for c in pn.check_part(DeadGate, "router") if not c.passed]
    assert dead.detail == "no gradient reaches router.unused"


class RoundsInside(nn.Module):
    def forward(self, x):
        return x.bfloat16().sigmoid().to(x.dtype)


class TakesTheLegend(nn.Module):
    def __init__(self, d_model, position, dropout, init_std, out_std, layer):
        super().__init__()
        self.register_buffer("unset", torch.full((d_model,), torch.nan))

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("part", "slot", "name", "ran"),
    [
        (WrongGradient, "norm", "has the right gradient", True),
        (RoundsInside, "norm", "has the right gradient", False),
        (ReturnsAPair, "mixer", "keeps its shape", True),
        (ReturnsAPair, "mixer", "is causal", False),
    ],
)
def test_check_says_whether_it_has_numbers_or_the_part_could_not_be_tried(part, slot, name, ran):
    (check,) = [c for c in pn.check_part(part, slot) if c.name == name]
    assert (check.passed, check.ran) == (False, ran)


@pytest.mark.parametrize("slot", ["mixer", "mlp"])
def test_part_may_take_whatever_a_model_hands_down_and_keep_a_buffer_of_no_numbers(slot):
    assert failed(TakesTheLegend, slot) == set()


def test_required_part_that_fails_names_every_failure():
    with pytest.raises(PartError, match="DeadWeight does not conform to the mlp slot: trains every parameter"):
        pn.require_part(DeadWeight, "mlp")
    assert pn.require_part(pn.RMSNorm, "norm") is None


def test_part_that_cannot_be_built_is_an_error():
    class Explodes(nn.Module):
        def __init__(self, dim):
            raise RuntimeError("boom")

    with pytest.raises(PartError, match="Explodes cannot be built as a norm: RuntimeError: boom"):
        pn.check_part(Explodes, "norm")
    with pytest.raises(SpecError, match="there is no slot 'nrom'"):
        pn.check_part(pn.RMSNorm, "nrom")
    with pytest.raises(SpecError, match="did you mean 'eps'"):
        pn.check_part(pn.RMSNorm, "norm", epz=1.0)


def test_checking_leaves_the_process_as_it_was():
    before = torch.get_rng_state()
    pn.check_part(Overflows, "mixer")
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(before, torch.get_rng_state())


def test_discovered_parts_are_those_of_the_issue_with_formula_and_source():
    parts = pn.discover_parts()
    assert {part.name for part in parts} == {
        *("LayerNorm", "RMSNorm", "ScaleNorm", "DyT", "NoNorm", "MLP", "GatedMLP", "Attention"),
        "LatentAttention",
        *("RoPE", "ALiBi", "Learned", "Sinusoidal", "NoPosition", "PreNorm", "PostNorm", "Sandwich", "Transformer"),
        *("HyperMixer", "LinearAttention", "HRM", "LoopedTransformer"),
        *("MoE", "TopK", "NoisyTopK", "ExpertChoice", "Hash"),
    }
    for part in parts:
        assert part.formula.isascii() and "=" in part.formula, part.name
        assert part.source and "Args" not in part.source, part.name
        assert json.loads(json.dumps(asdict(part)))["name"] == part.cls.__name__
    by_name = {part.name: part for part in parts}
    assert by_name["RMSNorm"].formula == "y = x / sqrt(mean(x^2) + eps) * g"
    assert by_name["RMSNorm"].source == "Zhang, Sennrich 2019, arXiv:1910.07467, eq. 4."


def test_public_names_are_sorted_importable_and_no_module_name():
    assert pn.__all__ == sorted(pn.__all__)
    modules = {"attention", "block", "catalogue", "checks", "contract", "init", "mlp", "norm", "position", "recipes"}
    for name in pn.__all__:
        assert getattr(pn, name).__name__ == name
        assert name not in modules
    with pytest.raises(AttributeError, match="RMSNrom"):
        pn.RMSNrom  # noqa: B018
