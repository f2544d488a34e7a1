"""A mixture of the user's own whose router adds noise in training and has a loss of its own."""

import torch
import torch.nn.functional as F
from ground import make_study
from torch import nn

import paribus as pb


class NoisyExperts(nn.Module):
    """Top-2 of noisy logits, every expert computed and most weighted 0."""

    def __init__(self, d_model: int, n_experts: int = 4, d_ff: int = 32, init_std: float = 0.02):
        super().__init__()
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.gates = nn.Parameter(init_std * torch.randn(n_experts, d_model, d_ff))
        self.up = nn.Parameter(init_std * torch.randn(n_experts, d_model, d_ff))
        self.down = nn.Parameter(init_std * torch.randn(n_experts, d_ff, d_model))
        self.probabilities = None

    def forward(self, x):
        logits = self.gate(x)
        noisy = logits + 0.1 * torch.randn_like(logits) if self.training else logits
        best = noisy.topk(2, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, best.indices, best.values.softmax(-1))
        self.probabilities = logits.softmax(-1)
        hidden = F.silu(torch.einsum("btd,edf->btef", x, self.gates)) * torch.einsum("btd,edf->btef", x, self.up)
        return torch.einsum("btef,efd,bte->btd", hidden, self.down, weights)

    def idle_parameters(self):
        return (self.gates.numel() + self.up.numel() + self.down.numel()) // 2

    def aux(self):
        return {"evenness": 0.01 * self.probabilities.mean((0, 1)).square().sum()}


class QuietExperts(NoisyExperts):
    def forward(self, x):
        logits = self.gate(x)
        self.probabilities = logits.softmax(-1)
        best = logits.topk(2, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, best.indices, best.values.softmax(-1))
        hidden = F.silu(torch.einsum("btd,edf->btef", x, self.gates)) * torch.einsum("btd,edf->btef", x, self.up)
        return torch.einsum("btef,efd,bte->btd", hidden, self.down, weights)

    def aux(self):
        return {}


baseline = pb.nn.llama(32, 2, 2, mlp=pb.spec(QuietExperts))
study = make_study(baseline.replace("*.mlp", pb.spec(NoisyExperts)), baseline)
