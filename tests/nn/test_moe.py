"""Mixture of experts: identities with its MLP, what it costs, what it says of itself."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import PartError, SpecError
from paribus.nn.contract import build_at
from paribus.training.cost import count_flops, count_parameters

B, T, D, F = 2, 7, 12, 10
EXPERTS = {pn.Experts: pn.MLP, pn.GatedExperts: pn.GatedMLP}


def make(seed=0, **arguments):
    legend = {"vocab_size": 61, "tokens": pn.TokenIds()}
    return build_at(spec(pn.MoE, **arguments), "mlp", seed, D, slot="mlp", init_std=0.3, **legend)


def expert_of(moe, e, mlp):
    """Expert ``e`` of ``moe`` as an MLP of its own."""
    part = mlp(D, d_ff=F, activation=moe.experts.activation)
    with torch.no_grad():
        for name, p in part.named_parameters():
            p.copy_(moe.experts.get_parameter(name)[e])
    return part


@pytest.mark.parametrize(("experts", "mlp"), EXPERTS.items())
def test_one_expert_is_its_mlp_with_the_same_gradients(experts, mlp):
    moe = make(n_experts=1, router=spec(pn.TopK, top_k=1), experts=spec(experts, d_ff=F))
    part = expert_of(moe, 0, mlp)
    x, y = (torch.randn(B, T, D).requires_grad_() for _ in range(2))
    y.data.copy_(x.data)
    torch.testing.assert_close(moe(x), part(y), rtol=0, atol=1e-6)
    moe(x).square().sum().backward()
    part(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for name, p in part.named_parameters():
        torch.testing.assert_close(moe.experts.get_parameter(name).grad[0], p.grad)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(list(EXPERTS.items())),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([pn.relu, pn.silu]),
    st.integers(1, 9),
)
def test_output_is_the_weighted_sum_over_a_loop_of_tokens(kind, n_experts, top_k, activation, t):
    experts, mlp = kind
    router = spec(pn.TopK, top_k=min(top_k, n_experts))
    moe = make(n_experts=n_experts, router=router, experts=spec(experts, d_ff=F, activation=activation))
    x = torch.randn(B, t, D)
    routing = moe.router(x)
    expected = torch.zeros(B * t, D)
    for token, e, weight in zip(routing.tokens.tolist(), routing.experts.tolist(), routing.weights, strict=True):
        expected[token] += weight * expert_of(moe, e, mlp)(x.flatten(0, 1)[token])
    torch.testing.assert_close(moe(x).flatten(0, 1), expected, rtol=1e-4, atol=1e-5)


def test_equal_experts_are_one_mlp_whatever_the_router_says():
    moe = make(n_experts=5, router=spec(pn.TopK, top_k=3), experts=spec(pn.Experts, d_ff=F))
    with torch.no_grad():
        for p in moe.experts.parameters():
            p.copy_(p[:1].expand_as(p))
    x = torch.randn(B, T, D)
    torch.testing.assert_close(moe(x), expert_of(moe, 0, pn.MLP)(x), rtol=1e-4, atol=1e-5)


def test_shared_expert_is_added_and_is_all_there_is_when_the_routed_say_nothing():
    moe = make(experts=spec(pn.Experts, d_ff=F), shared=spec(pn.GatedMLP, d_ff=F))
    x = torch.randn(B, T, D)
    alone = moe.shared(x)
    assert not torch.equal(moe(x), alone)
    with torch.no_grad():
        moe.experts.down.weight.zero_()
    assert torch.equal(moe(x), alone)


def test_experts_without_a_token_get_a_gradient_of_zero():
    moe = make(n_experts=6, router=spec(pn.TopK, top_k=1), experts=spec(pn.GatedExperts, d_ff=F))
    moe(torch.randn(1, 2, D)).sum().backward()
    visited = moe.diagnostics()["load"] > 0
    assert 1 <= visited.sum() <= 2
    for p in moe.experts.parameters():
        assert p.grad[~visited].abs().sum() == 0
        assert p.grad[visited].abs().sum() > 0


def test_dropout_of_a_token_does_not_depend_on_where_other_tokens_go():
    """Drawn after sorting, the noise of early tokens would move with the experts of later ones."""
    moe = make(n_experts=4, experts=spec(pn.Experts, d_ff=F, dropout=0.5))
    x = torch.randn(1, T, D)
    later = torch.cat((x[:, :3], torch.randn(1, T - 3, D)), dim=1)
    outputs = []
    for each in (x, later):
        torch.manual_seed(0)
        outputs.append(moe(each)[:, :3])
    torch.testing.assert_close(*outputs)
    assert not torch.allclose(moe(x), moe(x))
    assert torch.equal(moe.eval()(x), moe(x))


def test_expert_dropout_keeps_the_mean():
    moe = make(n_experts=2, router=spec(pn.TopK, top_k=1), experts=spec(pn.Experts, d_ff=F, dropout=0.25))
    x = torch.randn(1, 3, D)
    with torch.no_grad():
        mean = moe(x.expand(4000, 3, D)).mean(0, keepdim=True)
        torch.testing.assert_close(mean, moe.eval()(x), rtol=0.05, atol=0.05)


def test_arms_share_what_stands_at_equal_paths():
    plain, gated = make(), make(experts=spec(pn.GatedExperts, d_ff=4 * D))
    other_router = make(router=spec(pn.NoisyTopK))
    for name in ("experts.up.weight", "experts.down.weight", "router.gate.weight"):
        assert torch.equal(plain.get_parameter(name), gated.get_parameter(name))
        assert torch.equal(plain.get_parameter(name), other_router.get_parameter(name))


def test_auxiliary_losses_are_weighted_and_named_and_of_the_last_forward():
    losses = (spec(pn.LoadBalance, weight=0.01), spec(pn.RouterZ, weight=0.5))
    moe = make(losses=losses)
    assert moe.aux() == {}
    x = torch.randn(B, T, D)
    moe(2 * x)
    moe(x)
    routing = moe.router(x)
    assert moe.aux().keys() == {"LoadBalance", "RouterZ"}
    assert moe.aux()["LoadBalance"].item() == pytest.approx(0.01 * pn.LoadBalance()(routing).item())
    assert moe.aux()["RouterZ"].item() == pytest.approx(0.5 * routing.logits.logsumexp(-1).square().mean().item())
    sum(moe.aux().values()).backward()
    assert moe.router.gate.weight.grad.abs().sum() > 0
    with pytest.raises(SpecError, match=r"a loss is given twice: LoadBalance, LoadBalance \[site mlp\]"):
        make(losses=(spec(pn.LoadBalance), spec(pn.LoadBalance, weight=1.0)))


def test_even_router_pays_exactly_the_weight_of_load_balance():
    moe = make(n_experts=2, router=spec(pn.TopK, top_k=2), losses=(spec(pn.LoadBalance, weight=0.01),))
    with torch.no_grad():
        moe.router.gate.weight.zero_()
    moe(torch.randn(B, T, D))
    assert moe.aux()["LoadBalance"].item() == pytest.approx(0.01)


def test_diagnostics_say_how_the_last_forward_was_routed():
    moe = make(n_experts=4, router=spec(pn.TopK, top_k=1, bias_rate=0.5, score=pn.sigmoid))
    assert moe.diagnostics() == {}
    with torch.no_grad():
        moe.router.gate.weight.zero_()
    moe.router.bias.copy_(torch.tensor([0.0, 3.0, -1.0, 0.0]))
    moe(torch.randn(B, T, D))
    said = {name: value.tolist() for name, value in moe.diagnostics().items()}
    assert said["load"] == [0, 1, 0, 0]
    assert said["entropy"] == pytest.approx(torch.tensor(4.0).log().item())
    assert (said["dropped"], said["unused"], said["bias_min"], said["bias_max"]) == (0.0, 3, -1.0, 3.0)
    assert not any(value.requires_grad for value in moe.diagnostics().values())


def test_tokens_that_no_expert_chose_are_counted_and_get_nothing():
    # Experts 0 and 1 like a large first feature best, expert 2 a small one; each takes one token of four.
    moe = make(n_experts=3, router=spec(pn.ExpertChoice, top_k=0.5), experts=spec(pn.Experts, activation=pn.silu))
    with torch.no_grad():
        moe.router.gate.weight.zero_()
        moe.router.gate.weight[:2, 0] = 1.0
    x = torch.randn(1, 4, D)
    x[0, :, 0] = torch.tensor([2.0, 4.0, 1.0, 3.0])
    taken = moe(x)[0].abs().sum(-1) > 0
    assert taken.tolist() == [False, True, True, False]
    assert moe.diagnostics()["dropped"].item() == 0.5


@pytest.mark.parametrize("copies", [copy.deepcopy, lambda m: copy.deepcopy(copy.deepcopy(m))])
def test_a_copy_after_a_forward_has_routed_nothing(copies):
    moe = make(losses=(spec(pn.LoadBalance),))
    x = torch.randn(B, T, D)
    y = moe(x)
    other = copies(moe)
    assert other.aux() == other.diagnostics() == {}
    assert moe.aux() != {}
    assert torch.equal(other(x), y)


@pytest.mark.parametrize(("experts", "matrices"), [(pn.Experts, 2), (pn.GatedExperts, 3)])
@pytest.mark.parametrize("top_k", [1, 3])
def test_flops_on_a_cpu_and_on_meta_are_those_of_the_formula(experts, matrices, top_k):
    d, f, n_experts, t = 16, 24, 5, 11
    moe = spec(pn.MoE, n_experts=n_experts, router=spec(pn.TopK, top_k=top_k), experts=spec(experts, d_ff=f))
    site = moe.replace("shared", spec(pn.MLP, d_ff=7))
    for device in ("cpu", "meta"):
        with torch.device(device):
            part = build_at(site, "", 0, d, slot="mlp")
            x = torch.randn(3, t, d)
        with FlopCounterMode(display=False) as counter:
            part(x)
        tokens = 3 * t
        routed = 2 * tokens * top_k * matrices * d * f
        assert counter.get_total_flops() == routed + 2 * tokens * d * n_experts + 2 * tokens * 2 * d * 7


def test_whole_model_costs_the_same_on_meta_forward_and_backward():
    arm = pn.llama(16, 2, 2, mlp=spec(pn.MoE, experts=spec(pn.GatedExperts, d_ff=24), losses=(spec(pn.LoadBalance),)))
    counted = {}
    for device in ("cpu", "meta"):
        model = pn.build_model(arm, 0, vocab_size=61, seq_len=8, device=device)
        counted[device] = count_flops(model, 8, device)
    assert counted["cpu"] == counted["meta"]
    forward = counted["cpu"]["forward_flops_per_token"]
    attention, experts, router, head = 2 * (4 * 16 * 16 + 2 * 8 * 16), 2 * 2 * 3 * 16 * 24, 2 * 16 * 8, 16 * 61
    assert forward == 2 * (attention + experts + router + head)


@pytest.mark.parametrize(
    ("router", "visited"),
    [(spec(pn.TopK, top_k=2), 2), (spec(pn.Hash, top_k=1), 1), (spec(pn.ExpertChoice, top_k=1.5), 1.5)],
)
def test_active_parameters_leave_out_what_an_average_token_does_not_touch(router, visited):
    moe = spec(pn.MoE, router=router, experts=spec(pn.GatedExperts, d_ff=24, activation=nn.PReLU), shared=spec(pn.MLP))
    model = pn.build_model(pn.llama(16, 2, 2, mlp=moe), 0, vocab_size=61, seq_len=8)
    counts = count_parameters(model, pn.roles(model))
    assert counts["parameters"] - counts["active_parameters"] == 2 * (8 - visited) * 3 * 16 * 24


def test_norm_parameters_of_blocks_leave_out_the_final_norm():
    mixer = spec(pn.Attention, qk_norm=spec(pn.RMSNorm))
    model = pn.build_model(pn.llama(16, 3, 2, mixer=mixer), 0, vocab_size=61, seq_len=8)
    counts = count_parameters(model, pn.roles(model))
    assert counts["block_norm_parameters"] == 3 * (2 * 16 + 2 * 8)
    assert counts["norm_parameters"] == counts["block_norm_parameters"] + 16


def test_expert_stacks_are_matrices_to_the_optimizer():
    moe = make(experts=spec(pn.GatedExperts, d_ff=F))
    assert set(pn.roles(moe).values()) == {"matrix"}


@pytest.mark.parametrize(
    ("d_ff", "experts", "parameters"),
    [(1024, pn.Experts, 25_960_192), (683, pn.GatedExperts, 25_966_336), (682, pn.GatedExperts, 25_947_904)],
)
def test_published_sizes_are_reproduced_to_the_digit(d_ff, experts, parameters):
    arm = pn.llama(256, 3, 4, mlp=spec(pn.MoE, experts=spec(experts, d_ff=d_ff)))
    model = pn.build_model(arm, 0, vocab_size=49152, seq_len=256, device="meta")
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_own_experts_and_router_of_a_user_are_built_with_the_number_of_experts():
    class Scaled(nn.Module):
        def __init__(self, d_model, n_experts):
            super().__init__()
            self.gain = nn.Parameter(torch.arange(1.0, n_experts + 1))

        def forward(self, x, counts, order):
            return x * self.gain.repeat_interleave(torch.tensor(counts)).unsqueeze(-1)

    moe = build_at(spec(pn.MoE, n_experts=3, router=spec(pn.TopK, top_k=1), experts=spec(Scaled)), "", 0, D)
    x = torch.randn(B, T, D)
    expected = x * (moe.router(x).experts + 1.0).view(B, T, 1)
    torch.testing.assert_close(moe(x), expected)
    assert moe.idle_parameters() == 0
    with pytest.raises(SpecError, match="n_experts must be at least 1, got 0"):
        pn.MoE(D, n_experts=0)


class Plain(pn.TopK):
    def forward(self, x):
        return super().forward(x).weights


def test_a_router_that_routes_nothing_is_named_with_its_site():
    moe = make(router=spec(Plain))
    with pytest.raises(PartError, match=r"Plain returns a Tensor, expected paribus.nn.Routing \[site mlp\]"):
        moe(torch.randn(B, T, D))
