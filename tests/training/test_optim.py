import pytest
import torch
from torch import nn

from paribus.design.specs import spec
from paribus.errors import TrainingError
from paribus.nn.matrices import Blocks
from paribus.training import optim
from paribus.training.optim import Muon, MuonAdamW, adamw_rms_scale, build_optimizer, orthogonalize, spectral_scale


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 6)
        self.matrix = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)


ROLES = {
    "table.weight": "embedding",
    "matrix.weight": "matrix",
    "matrix.bias": "vector",
    "norm.weight": "norm",
    "norm.bias": "norm",
}


def small():
    torch.manual_seed(0)
    return Small()


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7)])
@pytest.mark.parametrize("scale", ["original", "match_rms_adamw"])
def test_muon_follows_the_rule_of_torch(shape, scale):
    torch.manual_seed(1)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    update_scale = {"original": spectral_scale, "match_rms_adamw": adamw_rms_scale}[scale]
    mine = Muon([ours], lr=0.1, weight_decay=0.1, update_scale=update_scale)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn=scale)
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    # torch iterates in bf16, whose unit roundoff is 2^-8.
    assert torch.allclose(ours, theirs, atol=0.05 * (1 - ours).abs().max().item())
    assert not torch.allclose(ours, torch.ones(shape), atol=0.05)


def published_muon(w, gradients, lr, momentum=0.95):
    """Jordan 2024, transcribed: one matrix, float32 throughout, where the original iterates in bfloat16."""
    buf = torch.zeros_like(w)
    for g in gradients:
        buf = momentum * buf + (1 - momentum) * g
        update = (1 - momentum) * g + momentum * buf  # Nesterov: g.lerp(buf, momentum)
        x = update.T if update.shape[0] > update.shape[1] else update
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        x = x.T if update.shape[0] > update.shape[1] else x
        w = w - lr * max(1, w.shape[0] / w.shape[1]) ** 0.5 * x
    return w


@pytest.mark.parametrize("largest", [1, 100, 10**6])
def test_matrices_that_are_stacked_in_smaller_groups_take_the_same_steps(largest, monkeypatch):
    monkeypatch.setattr(optim, "_STACKED", largest)
    torch.manual_seed(5)
    starts, gradients = ([torch.randn(shape) for shape in [(6, 9), (2, 6, 9), (6, 9)]] for _ in range(2))
    parameters = [nn.Parameter(start.clone()) for start in starts]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    Muon(parameters, lr=0.1).step()
    for p, start, g in zip(parameters, starts, gradients, strict=True):
        matrices = zip(start.reshape(-1, 6, 9), g.reshape(-1, 6, 9), strict=True)
        expected = torch.stack([published_muon(w, [each], lr=0.1) for w, each in matrices]).view_as(start)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7), (24, 5), (1, 8), (3, 6, 9), (3, 9, 6)])
def test_muon_is_the_published_rule_and_a_stack_is_its_matrices_apart(shape):
    torch.manual_seed(4)
    start, gradients = torch.randn(shape), [torch.randn(shape) for _ in range(4)]
    p = nn.Parameter(start.clone())
    optimizer = Muon([p], lr=0.1)
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    size = shape[-2:]
    matrices = zip(start.view(-1, *size), *(g.view(-1, *size) for g in gradients), strict=True)
    expected = torch.stack([published_muon(w, grads, lr=0.1) for w, *grads in matrices]).view(shape)
    torch.testing.assert_close(p.detach(), expected, atol=1e-5, rtol=1e-5)
    assert (p - start).abs().max() > 0.05


@pytest.mark.parametrize("dim", [0, 1])
def test_matrices_side_by_side_take_the_steps_that_they_take_apart(dim):
    """Rows, or columns, of three sizes in turn; the optimizer of three parameters is the one to agree with."""
    torch.manual_seed(0)
    place = torch.arange(24) % 4
    indices = [torch.where(places)[0] for places in (place == 0, place == 1, place >= 2)]
    joined = nn.Parameter(torch.randn((24, 10) if dim == 0 else (10, 24)))
    apart = [nn.Parameter(joined.detach().index_select(dim, of_one)) for of_one in indices]
    blocks = Blocks(dim, tuple(tuple(of_one.tolist()) for of_one in indices))
    together = Muon([joined], lr=0.1, weight_decay=0.1, blocks={joined: blocks})
    one_by_one = Muon(apart, lr=0.1, weight_decay=0.1)
    for _ in range(3):
        joined.grad = torch.randn(joined.shape)
        for p, of_one in zip(apart, indices, strict=True):
            p.grad = joined.grad.index_select(dim, of_one)
        together.step()
        one_by_one.step()
    for p, of_one in zip(apart, indices, strict=True):
        torch.testing.assert_close(joined.index_select(dim, of_one), p, rtol=1e-5, atol=1e-6)


def test_muon_in_one_batch_equals_muon_one_by_one():
    torch.manual_seed(2)
    values = [torch.randn(4, 6) for _ in range(3)]
    gradients = [torch.randn(4, 6) for _ in range(3)]
    together = [nn.Parameter(v.clone()) for v in values]
    stacked = nn.Parameter(torch.stack(values))
    for parameters, grads in ((together, gradients), ([stacked], [torch.stack(gradients)])):
        for p, g in zip(parameters, grads, strict=True):
            p.grad = g.clone()
        Muon(parameters, lr=0.1).step()
    for value, gradient, p, row in zip(values, gradients, together, stacked, strict=True):
        alone = nn.Parameter(value.clone())
        alone.grad = gradient.clone()
        Muon([alone], lr=0.1).step()
        assert torch.allclose(alone, p, atol=1e-6)
        assert torch.allclose(alone, row, atol=1e-6)


def test_orthogonalized_singular_values_lie_near_one():
    torch.manual_seed(3)
    singular = torch.linalg.svdvals(orthogonalize(torch.randn(5, 8, 12), 5))
    assert singular.min() > 0.5  # Jordan 2024: the tuned quintic ends between about 0.7 and 1.2
    assert singular.max() < 1.3


@pytest.mark.parametrize("condition", [1, 1e3, 1e6])
@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 24, 5), (2, 1, 8), (3, 8, 40), (1, 48, 192)])
def test_newton_schulz_moves_each_singular_value_by_the_quintic_alone(shape, condition):
    torch.manual_seed(6)
    u, s, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    s = condition ** -torch.linspace(0, 1, s.shape[-1], dtype=torch.float64).expand_as(s)
    matrices = u * s[..., None, :] @ v
    expected = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5  # Jordan 2024
    expected = u * expected[..., None, :] @ v
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        found = orthogonalize(matrices.to(dtype), 5).double()
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_muon_adamw_splits_by_role_and_not_by_name_or_shape():
    model = small()
    optimizer = MuonAdamW(model.named_parameters(), {**ROLES, "table.weight": "matrix", "matrix.weight": "head"})
    muon, adamw = optimizer.optimizers
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(model.table.weight)]
    adamw_ids = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert adamw_ids == {id(p) for p in model.parameters()} - {id(model.table.weight)}


def test_adamw_part_of_muon_adamw_is_torch_adamw():
    ours, theirs = small(), small()
    mine = MuonAdamW(ours.named_parameters(), ROLES, adamw_lr=0.01)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for model, optimizer in ((ours, mine), (theirs, reference)):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert torch.allclose(ours.table.weight, theirs.table.weight, atol=1e-6)
    assert torch.allclose(ours.norm.bias, theirs.norm.bias, atol=1e-6)


def test_weight_decay_spares_norms_and_vectors():
    model = small()
    optimizer = build_optimizer(spec(torch.optim.AdamW, lr=0.1, weight_decay=0.5), model, ROLES)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: decay[id(p)] for name, p in model.named_parameters()}
    assert named == {name: 0.5 if role in ("embedding", "matrix") else 0.0 for name, role in ROLES.items()}


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adafactor, torch.optim.RMSprop])
def test_any_torch_optimizer_trains(cls):
    model = small()
    optimizer = build_optimizer(spec(cls, lr=0.01), model, ROLES)
    before = model.matrix.weight.clone()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert not torch.equal(before, model.matrix.weight)


def test_torch_muon_on_vectors_is_refused_with_the_right_thing():
    with pytest.raises(TrainingError, match="MuonAdamW"):
        build_optimizer(spec(torch.optim.Muon, lr=0.01), small(), ROLES)
