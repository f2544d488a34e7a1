"""Routers against hand calculations, and the losses that act on them."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paribus.nn as pn
from paribus.design.specs import spec
from paribus.errors import SpecError
from paribus.nn.contract import build_at
from paribus.nn.router import count_per_expert

D = 6


def with_gate(router, rows):
    """``router`` with these rows as its gate, so that logits can be read off the input."""
    with torch.no_grad():
        router.gate.weight.copy_(torch.tensor(rows))
    return router


def identity(n_experts, **arguments):
    """A router whose logits are its input."""
    return with_gate(pn.TopK(n_experts, n_experts, **arguments), torch.eye(n_experts).tolist())


def chosen(routing, top_k):
    return routing.experts.view(-1, top_k).sort(-1).values.tolist()


def test_weights_are_the_softmax_over_the_chosen():
    routing = identity(4)(torch.tensor([[[1.0, 3.0, 0.0, 2.0]]]))
    assert routing.experts.tolist() == [1, 3]
    e = math.e
    assert routing.weights.tolist() == pytest.approx([e / (e + 1), 1 / (e + 1)])
    assert routing.tokens.tolist() == [0, 0]


def test_weights_without_normalization_are_the_scaled_scores():
    x = torch.tensor([[[0.0, math.log(3.0)]]])
    assert identity(2, top_k=1, normalize=False, scale=2.0)(x).weights.tolist() == pytest.approx([2 * 0.75])
    scored = identity(2, top_k=1, normalize=False, scale=2.0, score=pn.sigmoid)(x)
    assert scored.weights.tolist() == pytest.approx([2 * 0.75])  # sigmoid(ln 3) = 3/4 as well
    assert scored.probabilities.flatten().tolist() == pytest.approx([0.5 / 1.25, 0.75 / 1.25])


def test_bias_moves_the_choice_and_leaves_the_weights_alone():
    router = identity(3, top_k=1, normalize=False, score=pn.sigmoid, bias_rate=0.0)
    x = torch.tensor([[[0.0, 1.0, -1.0]]])
    assert router(x).experts.tolist() == [1]
    router.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
    routing = router(x)
    assert routing.experts.tolist() == [2]
    assert routing.weights.item() == pytest.approx(1 / (1 + math.e))


def test_groups_are_scored_by_their_best_two():
    # Group 0 has the best single expert, group 1 the best pair.
    router = identity(4, top_k=1, n_groups=2, top_groups=1, score=pn.sigmoid)
    logit = torch.tensor([0.95, 0.01, 0.6, 0.5]).logit().view(1, 1, 4)
    assert router(logit).experts.tolist() == [2]
    assert identity(4, top_k=1, score=pn.sigmoid)(logit).experts.tolist() == [0]


def test_negative_biased_scores_in_a_chosen_group_come_before_other_groups():
    router = identity(4, n_groups=2, top_groups=1, score=pn.sigmoid, bias_rate=0.0)
    router.bias.copy_(torch.tensor([3.0, -1.0, 0.0, 0.0]))
    assert chosen(router(torch.zeros(1, 1, 4)), 2) == [[0, 1]]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_choice_is_that_of_a_loop_over_tokens(n_groups, group_size, top_groups, data):
    top_groups = min(top_groups, n_groups)
    top_k = data.draw(st.integers(1, group_size * top_groups))
    router = pn.TopK(D, n_groups * group_size, top_k, pn.sigmoid, n_groups=n_groups, top_groups=top_groups, init_std=1)
    x = torch.randn(2, 5, D)
    routing = router(x)
    for i, token in enumerate(x.flatten(0, 1)):
        scores = (router.gate.weight @ token).sigmoid().tolist()
        groups = [scores[g * group_size : (g + 1) * group_size] for g in range(n_groups)]
        best = sorted(range(n_groups), key=lambda g: -sum(sorted(groups[g])[-2:]))[:top_groups]
        allowed = [g * group_size + e for g in best for e in range(group_size)]
        expected = sorted(allowed, key=lambda e: -scores[e])[:top_k]
        mine = routing.tokens == i
        assert set(routing.experts[mine].tolist()) == set(expected)
        total = sum(scores[e] for e in expected)
        for e, w in zip(routing.experts[mine].tolist(), routing.weights[mine].tolist(), strict=True):
            assert w == pytest.approx(scores[e] / total, rel=1e-5)


def test_noise_falls_on_the_logits_in_training_alone():
    router = identity(4, noise_std=0.1)
    x = torch.zeros(8, 64, 4)
    noise = router(x).logits
    assert noise.std().item() == pytest.approx(0.1, rel=0.1)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    assert torch.equal(router.eval()(x).logits, x)


def test_learned_noise_has_the_width_of_its_softplus():
    router = with_gate(pn.NoisyTopK(4, 4), torch.eye(4).tolist())
    with torch.no_grad():
        router.noise.weight.copy_(torch.diag(torch.tensor([0.0, 1.0, 2.0, 3.0])))
    x = torch.ones(64, 64, 4)
    deviations = (router(x).logits - 1).flatten(0, 1).std(0)
    expected = [math.log(1 + math.exp(slope)) for slope in (0.0, 1.0, 2.0, 3.0)]
    assert deviations.tolist() == pytest.approx(expected, rel=0.1)
    assert torch.equal(router.eval()(x).logits, x)


def test_bias_is_moved_by_the_sign_of_the_missing_load_and_once_per_step():
    router = identity(3, top_k=1, bias_rate=0.25)
    for loud in (0, 0, 1):  # three micro-batches: loads 4, 2, 0, mean 2
        router(torch.eye(3)[loud].expand(1, 2, 3))
    assert router.load.tolist() == [4.0, 2.0, 0.0]
    router.after_step()
    assert router.bias.tolist() == [-0.25, 0.0, 0.25]
    assert router.load.tolist() == [0.0, 0.0, 0.0]


def test_evaluation_does_not_count_as_load_and_a_rate_of_zero_keeps_the_bias():
    router = identity(3, top_k=1, bias_rate=0.25)
    router.eval()(torch.randn(2, 4, 3))
    assert router.load.sum() == 0
    still = identity(3, top_k=1, bias_rate=0.0)
    still(torch.randn(2, 4, 3))
    still.after_step()
    assert still.bias.abs().sum() == 0
    assert identity(3, bias_rate=None).bias is None


def test_bias_evens_out_a_skewed_router():
    torch.manual_seed(1)
    router = identity(8, score=pn.sigmoid, bias_rate=0.02)
    skew = torch.linspace(-1, 1, 8)
    x = torch.randn(4, 64, 8) * 0.5 + skew

    def imbalance():
        counts = count_per_expert(router(x))
        return (counts.max() / counts.mean()).item()

    before = imbalance()
    for _ in range(100):
        router(x)
        router.after_step()
    assert before > 2.0
    assert imbalance() < 1.2


def test_reset_forgets_the_bias():
    router = build_at(spec(pn.TopK, bias_rate=0.1, n_experts=3), "", 0, D)
    router(torch.randn(2, 4, D))
    router.after_step()
    router(torch.randn(2, 4, D))
    router.reset_parameters()
    assert router.bias.abs().sum() == router.load.sum() == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.floats(0.5, 3.0))
def test_expert_choice_loads_every_expert_alike(n_experts, t, top_k):
    top_k = min(top_k, n_experts)
    router = pn.ExpertChoice(D, n_experts, top_k, init_std=1)
    routing = router(torch.randn(3, t, D))
    capacity = math.ceil(t * top_k / n_experts)
    assert count_per_expert(routing).tolist() == [3 * capacity] * n_experts
    pairs = list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    probabilities = routing.probabilities.flatten(0, 1)
    assert torch.equal(routing.weights, probabilities[routing.tokens, routing.experts])


def test_expert_choice_takes_the_tokens_with_the_largest_scores_of_their_sequence():
    router = with_gate(pn.ExpertChoice(2, 2, top_k=1), [[1.0, 0.0], [0.0, 0.0]])
    x = torch.tensor([[[3.0, 0], [1.0, 0], [2.0, 0], [0.0, 0]], [[-1.0, 0], [-2.0, 0], [-3.0, 0], [-4.0, 0]]])
    routing = router(x)
    taken = {e: set(routing.tokens[routing.experts == e].tolist()) for e in (0, 1)}
    assert taken == {0: {0, 2, 4, 5}, 1: {1, 3, 6, 7}}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 40), st.data())
def test_hash_table_is_balanced_over_ids_and_its_experts_are_distinct(n_experts, rounds, data):
    top_k = data.draw(st.integers(1, n_experts))
    router = pn.Hash(n_experts, vocab_size=n_experts * rounds, tokens=pn.TokenIds(), top_k=top_k)
    for column in router.table.unbind(1):
        assert column.bincount(minlength=n_experts).tolist() == [rounds] * n_experts
    assert all(len(set(row)) == top_k for row in router.table.tolist())


def test_hash_table_of_an_odd_vocabulary_is_balanced_give_or_take_one_per_choice():
    router = pn.Hash(8, vocab_size=61, tokens=pn.TokenIds(), top_k=2)
    counts = router.table.flatten().bincount(minlength=8)
    assert counts.max() - counts.min() <= 2
    partners = {tuple(sorted(row)) for row in router.table.tolist()}
    assert len(partners) > 16  # not the same neighbour for every id of an expert


def test_hash_routes_by_id_alone():
    tokens = pn.TokenIds()
    router = pn.Hash(5, 11, tokens, top_k=2)
    tokens.ids = torch.tensor([[3, 3, 7], [7, 0, 3]])
    first, second = router(torch.randn(2, 3, D)), router(torch.randn(2, 3, D))
    assert torch.equal(first.experts, second.experts)
    assert first.experts.view(6, 2)[0].tolist() == first.experts.view(6, 2)[5].tolist() == router.table[3].tolist()
    assert first.weights.tolist() == [0.5] * 12
    assert first.probabilities.sum(-1).flatten().tolist() == [1.0] * 6


def test_hash_table_depends_on_the_seed_and_is_drawn_again_on_reset():
    def table(seed):
        return build_at(spec(pn.Hash), "r", seed, n_experts=4, vocab_size=61, tokens=pn.TokenIds()).table

    assert torch.equal(table(0), table(0))
    assert not torch.equal(table(0), table(1))


def test_hash_in_a_model_that_hands_no_ids_down_says_so():
    with pytest.raises(SpecError, match=r"Hash needs 'tokens'.*owns a TokenIds and sets its ids.*\[site r\]"):
        build_at(spec(pn.Hash), "r", 0, n_experts=4, vocab_size=61)
    with pytest.raises(SpecError, match="no token ids are set"):
        pn.Hash(4, 61, pn.TokenIds())(torch.randn(1, 2, D))
    tokens = pn.TokenIds()
    tokens.ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(SpecError, match=r"ids of shape \(1, 3\) for an input of shape \(1, 2, 6\)"):
        pn.Hash(4, 61, tokens)(torch.randn(1, 2, D))


def hashed():
    arm = pn.llama(d_model=16, n_layers=2, n_heads=2, mlp=spec(pn.MoE, router=spec(pn.Hash)))
    return pn.build_model(arm, 0, vocab_size=61, seq_len=8)


def test_a_copied_model_reads_its_own_ids():
    model = hashed()
    ids = torch.randint(61, (2, 8))
    expected = model(ids)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.tokens is not model.tokens
        assert all(block.mlp.router.tokens is other.tokens for block in other.blocks)
        with pytest.raises(SpecError, match="no token ids are set"):
            _ = other.tokens.ids
        torch.testing.assert_close(other(ids), expected, rtol=0, atol=0)
        other(torch.zeros_like(ids))
    assert torch.equal(model.tokens.ids, ids)
    assert not [name for name in model.state_dict() if "ids" in name]


def test_a_called_copy_of_the_weights_reads_the_ids_of_the_call():
    model = hashed()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    a, b = torch.randint(61, (1, 8)), torch.randint(61, (1, 8))
    first = torch.func.functional_call(model, weights, (a,))
    torch.func.functional_call(model, weights, (b,))
    torch.testing.assert_close(torch.func.functional_call(model, weights, (a,)), first, rtol=0, atol=0)
    assert hashed().to("meta")(a.to("meta")).shape == (1, 8, 61)


def test_scores_are_float32_under_autocast():
    router, x = pn.TopK(D, 4, init_std=1), torch.randn(2, 5, D)
    with torch.autocast("cpu", torch.bfloat16):
        routing = router(x)
    assert routing.logits.dtype == routing.weights.dtype == torch.float32
    torch.testing.assert_close(routing.logits, x @ router.gate.weight.T)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 5}, "top_k must be from 1 to the 4 experts there are to choose from, got 5"),
        ({"n_groups": 3}, "n_experts 4 is no multiple of n_groups 3"),
        ({"n_groups": 2, "top_groups": 3}, "top_groups must be from 1 to n_groups 2, got 3"),
        ({"n_groups": 4, "top_k": 2}, "top_k must be from 1 to the 1 experts"),
    ],
)
def test_impossible_choice_is_refused_with_its_numbers(arguments, message):
    with pytest.raises(SpecError, match=message):
        pn.TopK(D, 4, **arguments)


def test_gates_of_different_routers_start_alike():
    parts = (pn.TopK, pn.NoisyTopK, pn.ExpertChoice)
    gates = [build_at(spec(cls), "r", 0, D, n_experts=4).gate.weight for cls in parts]
    assert torch.equal(gates[0], gates[1])
    assert torch.equal(gates[0], gates[2])


# Losses


def even(top_k, b=2, t=6, n_experts=3):
    """Every expert has the same load and the same probability, in each sequence."""
    experts = (torch.arange(t).view(-1, 1) + torch.arange(top_k)) % n_experts
    return pn.Routing(
        tokens=torch.arange(b * t).repeat_interleave(top_k),
        experts=experts.flatten().repeat(b),
        weights=torch.ones(b * t * top_k),
        probabilities=torch.full((b, t, n_experts), 1 / n_experts),
        logits=torch.zeros(b, t, n_experts),
    )


@pytest.mark.parametrize("loss", [pn.LoadBalance(), pn.SequenceBalance()])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_balance_losses_are_one_at_an_even_load(loss, top_k):
    assert loss(even(top_k)).item() == pytest.approx(1.0)


@pytest.mark.parametrize("loss", [pn.LoadBalance(), pn.SequenceBalance()])
def test_balance_losses_are_the_number_of_experts_when_one_takes_all(loss):
    routing = pn.Routing(
        tokens=torch.arange(8),
        experts=torch.zeros(8, dtype=torch.long),
        weights=torch.ones(8),
        probabilities=torch.tensor([1.0, 0.0, 0.0]).expand(2, 4, 3),
    )
    assert loss(routing).item() == pytest.approx(3.0)


def test_balance_within_sequences_sees_what_balance_over_the_batch_does_not():
    one_hot = torch.eye(2).view(2, 1, 2).expand(2, 4, 2)  # sequence 0 goes to expert 0, sequence 1 to expert 1
    routing = pn.Routing(torch.arange(8), torch.arange(2).repeat_interleave(4), torch.ones(8), one_hot)
    assert pn.LoadBalance()(routing).item() == pytest.approx(1.0)
    assert pn.SequenceBalance()(routing).item() == pytest.approx(2.0)


def test_sequence_balance_is_equations_17_to_20_term_by_term_whatever_the_bias_chose():
    torch.manual_seed(1)
    router = pn.TopK(D, 4, score=pn.sigmoid, n_groups=2, top_groups=1, bias_rate=0.0)
    router.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 5.0]))
    x = 20 * torch.randn(2, 7, D)
    scores = torch.sigmoid(x @ router.gate.weight.T)
    expected = 0.0
    for s in scores:  # one sequence: (T, E)
        for e in range(4):
            among = [sorted(token.tolist(), reverse=True).index(token[e].item()) < 2 for token in s]
            f = 4 / (2 * 7) * sum(among)
            p = sum(token[e].item() / token.sum().item() for token in s) / 7
            expected += f * p / 2
    assert pn.SequenceBalance()(router(x)).item() == pytest.approx(expected, rel=1e-5)


def test_one_normalised_weight_is_a_constant_and_gives_the_gate_no_gradient():
    failed = {check.name for check in pn.check_part(pn.TopK, "router", top_k=1) if not check.passed}
    assert failed == {"trains every parameter"}
    unnormalised = pn.check_part(pn.TopK, "router", top_k=1, normalize=False)
    balanced = pn.check_part(pn.MoE, "mlp", router=spec(pn.TopK, top_k=1), losses=(spec(pn.LoadBalance, weight=0.01),))
    assert all(check.passed for check in (*unnormalised, *balanced))


def test_router_z_is_the_mean_square_of_the_log_partition():
    assert pn.RouterZ()(even(1)).item() == pytest.approx(math.log(3) ** 2)
    silent = pn.Routing(torch.arange(1), torch.arange(1), torch.ones(1), torch.ones(1, 1, 1))
    with pytest.raises(SpecError, match="this router has none"):
        pn.RouterZ()(silent)


@pytest.mark.parametrize("loss", [pn.LoadBalance(weight=1.0), pn.SequenceBalance(weight=1.0)])
def test_descending_a_balance_loss_evens_out_a_skewed_router(loss):
    router = pn.TopK(D, 4, top_k=1, normalize=False)
    with torch.no_grad():
        router.gate.weight[0] += 1.0
    x = torch.randn(4, 32, D) + 1.0
    optimizer = torch.optim.SGD(router.parameters(), lr=0.1)

    shares = []
    for _ in range(200):
        optimizer.zero_grad()
        routing = router(x)
        loss(routing).backward()
        optimizer.step()
        shares.append(count_per_expert(routing) / 128)
    assert shares[0].max() > 0.9
    assert torch.stack(shares[-100:]).mean(0).max() < 0.45  # it swings, and is even on average


def test_routers_hold_no_state_but_their_weights_and_their_bias():
    assert set(pn.TopK(D, 4).state_dict()) == {"gate.weight"}
    assert set(pn.TopK(D, 4, bias_rate=0.1).state_dict()) == {"gate.weight", "bias", "load"}
