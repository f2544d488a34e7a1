"""MLPs that a model class swaps in after its weights are drawn: they keep torch's larger scale. (Origin 12.)"""

from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Swapped(pb.nn.Transformer):
    """The baseline's transformer with plain linear layers in its MLPs."""

    def __init__(self, d_model: int, n_heads: int, blocks: tuple, vocab_size: int, seq_len: int, **rest):
        super().__init__(d_model, n_heads, blocks, vocab_size, seq_len, **rest)
        for block in self.blocks:
            for name, part in block.mlp.named_children():
                if isinstance(part, nn.Linear):
                    setattr(block.mlp, name, nn.Linear(part.in_features, part.out_features, bias=False))


study = make_study(pb.spec(Swapped, **dict(BASELINE.arguments)))
CAUGHT = {"check": "initial scale", "severity": "doubt", "arm": "idea", "site": "blocks.1.mlp"}
ALSO = ("same function",)
