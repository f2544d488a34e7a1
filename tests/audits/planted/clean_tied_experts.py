"""Two layers that share one MLP, twice as wide."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Tied(pb.nn.Transformer):
    """The transformer whose layers all call the MLP of the first."""

    def __init__(self, d_model: int, n_heads: int, blocks: tuple, vocab_size: int, seq_len: int, **rest):
        super().__init__(d_model, n_heads, blocks, vocab_size, seq_len, **rest)
        for block in self.blocks[1:]:
            block.mlp = self.blocks[0].mlp


class SquaredMLP(nn.Module):
    def __init__(self, d_model: int, d_ff: int, init_std: float):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff, bias=False), nn.Linear(d_ff, d_model, bias=False)
        self.init_std = init_std
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.up.weight, std=self.init_std)
        nn.init.normal_(self.down.weight, std=self.init_std)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())


base = BASELINE.replace("*.mlp", pb.spec(SquaredMLP, d_ff=64))
tied = pb.spec(Tied, **dict(base.replace("*.mlp.d_ff", 128).arguments))
study = make_study(pb.Arm(tied, match="parameters", width="blocks.*.mlp.d_ff"), base)
