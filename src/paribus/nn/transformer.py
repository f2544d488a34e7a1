"""The decoder-only language model: tokens (B, T) -> logits (B, T, V)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.errors import SpecError
from paribus.nn.attention import split_width
from paribus.nn.contract import TokenIds, build, here, require_positive
from paribus.nn.init import Embedding, reset_children
from paribus.nn.norm import LayerNorm
from paribus.nn.position import NoPosition

SLOT = "model"


class Transformer(nn.Module):
    """logits = W_head norm(block_L(... block_1(position(c E[tokens])) ...))

    Source: Vaswani et al. 2017, arXiv:1706.03762 (decoder only, as Radford et al. 2019, GPT-2).
    Parity: transformers GPT2LMHeadModel, LlamaForCausalLM, MixtralForCausalLM and DeepseekV3ForCausalLM.

    Args:
        blocks: one spec per layer.
        position: handed to every mixer that has none of its own.
        head: spec of a map D -> V such as ``spec(Linear)``; None ties it to the embedding.
        embedding_scale: c; sqrt(D) in Vaswani et al., section 3.4.
        dropout: on the embeddings, and handed down to blocks and mixers.
        init_std: of every matrix; out_std of those that write to the residual stream, None for the same.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        blocks: tuple[Spec, ...],
        vocab_size: int,
        seq_len: int,
        position: Spec = spec(NoPosition),
        final_norm: Spec = spec(LayerNorm),
        head: Spec | None = None,
        head_dim: int | None = None,
        embedding_scale: float = 1.0,
        dropout: float = 0.0,
        init_std: float = 0.02,
        out_std: float | None = None,
    ):
        super().__init__()
        if not blocks:
            raise SpecError(f"a Transformer needs at least one block{here()}")
        head_dim = split_width(d_model, n_heads) if head_dim is None else head_dim
        require_positive(head_dim=head_dim)
        self.tokens = TokenIds()
        legend = {
            "d_model": d_model,
            "n_heads": n_heads,
            "head_dim": head_dim,
            "n_layers": len(blocks),
            "vocab_size": vocab_size,
            "seq_len": seq_len,
            "dropout": dropout,
            "init_std": init_std,
            "out_std": out_std,
            "tokens": self.tokens,
        }
        self.embedding_scale = embedding_scale
        self.embedding = Embedding(vocab_size, d_model, init_std)
        self.position = build(position, "position", slot="position", **legend)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            build(block, f"blocks.{i}", d_model, slot="block", layer=i, **{**legend, "position": self.position})
            for i, block in enumerate(blocks)
        )
        self.final_norm = build(final_norm, "final_norm", d_model, slot="norm", **legend)
        self.head = None
        if head is not None:
            self.head = build(head, "head", d_model, vocab_size, slot="head", **legend)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, tokens: Tensor) -> Tensor:
        return read_out(self, self.features(tokens))  # (B, T, V)

    def features(self, tokens: Tensor) -> Tensor:
        """What the head reads, (B, T, D)."""
        return self.final_norm(self.transform(embed_tokens(self, tokens)))

    @property
    def unembedding(self) -> Tensor | None:
        """The matrix (V, D) of the head; None where the head is more than a matrix, or a hook watches it."""
        if self.head is None:
            return self.embedding.weight
        head = self.head
        is_own = "forward" in vars(head) or type(head).forward is not nn.Linear.forward or head.bias is not None
        hooks = head._forward_hooks, head._forward_pre_hooks, head._backward_hooks, head._backward_pre_hooks
        return None if is_own or any(hooks) else head.weight

    def transform(self, x: Tensor) -> Tensor:
        """What the blocks make of the embeddings, (B, T, D)."""
        for block in self.blocks:
            x = block(x)
        return x


def embed_tokens(model: Any, tokens: Tensor) -> Tensor:
    """What the first block of ``model`` reads, (B, T, D). The model's parts can see the ids from here on."""
    model.tokens.ids = tokens
    x = model.embedding(tokens)
    if model.embedding_scale != 1:
        x = x * model.embedding_scale
    return model.dropout(model.position.embed(x))


def read_out(model: Any, x: Tensor) -> Tensor:
    """The logits (B, T, V) of what the head of ``model`` reads."""
    if model.head is None:
        return F.linear(x, model.embedding.weight)
    return model.head(x)
