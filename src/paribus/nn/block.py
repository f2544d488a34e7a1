"""A mixer and an MLP on a residual stream: (B, T, D) -> (B, T, D). Placements differ in where the norms sit."""

from __future__ import annotations

from torch import Tensor, nn

from paribus.design.specs import Spec, spec
from paribus.nn.attention import Attention
from paribus.nn.contract import build
from paribus.nn.init import reset_children
from paribus.nn.mlp import MLP
from paribus.nn.norm import LayerNorm

SLOT = "block"


class PreNorm(nn.Module):
    """x = x + mixer(norm(x));  x = x + mlp(norm(x))

    Source: Xiong et al. 2020, arXiv:2002.04745, figure 1b; GPT-2.
    Parity: transformers GPT2LMHeadModel and LlamaForCausalLM.
    """

    def __init__(
        self,
        d_model: int,
        mixer: Spec = spec(Attention),
        mlp: Spec = spec(MLP),
        mixer_norm: Spec = spec(LayerNorm),
        mlp_norm: Spec = spec(LayerNorm),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.mixer_norm = build(mixer_norm, "mixer_norm", d_model, slot="norm")
        self.mixer = build(mixer, "mixer", d_model, slot="mixer")
        self.mlp_norm = build(mlp_norm, "mlp_norm", d_model, slot="norm")
        self.mlp = build(mlp, "mlp", d_model, slot="mlp")
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.mixer(self.mixer_norm(x)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))  # (B, T, D)


class PostNorm(nn.Module):
    """x = norm(x + mixer(x));  x = norm(x + mlp(x))

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.1.
    Differs: the final norm of the model stays, a second one on the last block; ``final_norm=spec(NoNorm)`` in the
    model is the original.
    """

    def __init__(
        self,
        d_model: int,
        mixer: Spec = spec(Attention),
        mlp: Spec = spec(MLP),
        mixer_norm: Spec = spec(LayerNorm),
        mlp_norm: Spec = spec(LayerNorm),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.mixer = build(mixer, "mixer", d_model, slot="mixer")
        self.mixer_norm = build(mixer_norm, "mixer_norm", d_model, slot="norm")
        self.mlp = build(mlp, "mlp", d_model, slot="mlp")
        self.mlp_norm = build(mlp_norm, "mlp_norm", d_model, slot="norm")
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixer_norm(x + self.dropout(self.mixer(x)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))  # (B, T, D)


class Sandwich(nn.Module):
    """x = x + norm(mixer(norm(x)));  x = x + norm(mlp(norm(x)))

    Source: Ding et al. 2021, arXiv:2105.13290, section 2.4 (Sandwich-LN); Gemma 2, arXiv:2408.00118.
    """

    def __init__(
        self,
        d_model: int,
        mixer: Spec = spec(Attention),
        mlp: Spec = spec(MLP),
        mixer_norm: Spec = spec(LayerNorm),
        mixer_out_norm: Spec = spec(LayerNorm),
        mlp_norm: Spec = spec(LayerNorm),
        mlp_out_norm: Spec = spec(LayerNorm),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.mixer_norm = build(mixer_norm, "mixer_norm", d_model, slot="norm")
        self.mixer = build(mixer, "mixer", d_model, slot="mixer")
        self.mixer_out_norm = build(mixer_out_norm, "mixer_out_norm", d_model, slot="norm")
        self.mlp_norm = build(mlp_norm, "mlp_norm", d_model, slot="norm")
        self.mlp = build(mlp, "mlp", d_model, slot="mlp")
        self.mlp_out_norm = build(mlp_out_norm, "mlp_out_norm", d_model, slot="norm")
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.mixer_out_norm(self.mixer(self.mixer_norm(x))))
        return x + self.dropout(self.mlp_out_norm(self.mlp(self.mlp_norm(x))))  # (B, T, D)
