import pytest
import torch

from paribus import nn, spec
from paribus.nn import build_model, roles
from paribus.training.cost import count_flops, count_parameters


def formula(d, layers, heads, d_ff, vocab, t, kv_heads):
    """2 per multiply-add: projections, full attention, three MLP matrices, head."""
    head = d // heads
    projections = 2 * d * d + 2 * d * kv_heads * head
    return 2 * (layers * (projections + 2 * t * d + 3 * d * d_ff) + d * vocab)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("kv_heads", "position"), [(4, nn.RoPE), (2, nn.RoPE), (4, nn.ALiBi)])
def test_counted_flops_are_those_of_the_formula_on_either_device(kv_heads, position, device):
    d, layers, heads, d_ff, vocab, t = 32, 2, 4, 48, 50, 16
    arm = nn.llama(d, layers, heads, n_kv_heads=kv_heads, d_ff=d_ff, position=spec(position))
    counted = count_flops(build_model(arm, 0, vocab_size=vocab, seq_len=t, device=device), t, device)
    expected = formula(d, layers, heads, d_ff, vocab, t, kv_heads)
    assert counted["forward_flops_per_token"] == expected
    assert counted["training_flops_per_token"] == 3 * expected  # of every product, one for each of its two gradients


def test_latent_attention_with_its_unequal_widths_costs_the_same_on_either_device():
    arm = nn.llama(32, 2, 4, d_ff=48, mixer=spec(nn.LatentAttention, value_dim=5, position=spec(nn.RoPE)))
    on_cpu, on_meta = (
        count_flops(build_model(arm, 0, vocab_size=50, seq_len=16, device=device), 16, device)
        for device in ("cpu", "meta")
    )
    assert on_cpu == on_meta
    assert on_cpu["training_flops_per_token"] == 3 * on_cpu["forward_flops_per_token"]


def test_parameters_by_kind_are_those_of_the_formula():
    d, layers, d_ff, vocab = 32, 2, 48, 50
    model = build_model(nn.llama(d, layers, 4, d_ff=d_ff), 0, vocab_size=vocab, seq_len=16)
    counts = count_parameters(model, roles(model))
    assert counts["norm_parameters"] == (2 * layers + 1) * d
    assert counts["embedding_parameters"] == vocab * d
    assert counts["parameters"] == vocab * d + layers * (4 * d * d + 3 * d * d_ff) + (2 * layers + 1) * d
    assert counts["block_norm_parameters"] == 2 * layers * d
    assert counts["active_parameters"] == counts["parameters"]


def test_idle_parameters_are_not_active_wherever_they_stand():
    class Idle(torch.nn.Linear):
        def idle_parameters(self):
            return 5

    model = torch.nn.ModuleList([Idle(3, 4, bias=False), torch.nn.Sequential(Idle(3, 4, bias=False))])
    counts = count_parameters(model, dict.fromkeys(dict(model.named_parameters()), "matrix"))
    assert (counts["parameters"], counts["active_parameters"]) == (24, 14)
