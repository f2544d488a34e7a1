"""A whole model of the user's own with tied embeddings: parallel attention and MLP in each layer."""

import torch.nn.functional as F
from ground import BASELINE, make_study
from torch import nn

import paribus as pb


class Parallel(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), both from one norm."""

    def __init__(self, width: int, n_heads: int, hidden: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (z.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for z in self.qkv(y).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return x + self.merge(mixed) + self.down(F.gelu(self.up(y)))


class ParallelTransformer(nn.Module):
    def __init__(self, vocab_size: int, seq_len: int, width: int = 32, n_layers: int = 2, hidden: int = 128):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(seq_len, width)
        self.layers = nn.ModuleList(Parallel(width, 2, hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.places.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


study = make_study(pb.spec(ParallelTransformer, hidden=128), BASELINE)
