"""How RoPE reads windows longer than those it was trained on.

A scaling is any class with ``rescale(frequencies, theta)`` and two numbers: ``softmax_scale``, a factor on all scores,
and ``table_scale``, a factor on the cosines and sines, which acts on the rotated dimensions alone, squared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from paribus.errors import SpecError
from paribus.nn.contract import here


@dataclass(frozen=True)
class LinearScaling:
    """f_i' = f_i / factor

    Source: Chen, Wong, Chen, Tian 2023, arXiv:2306.15595 (position interpolation).
    Parity: transformers LlamaForCausalLM.
    """

    factor: float
    softmax_scale = table_scale = 1.0

    def __post_init__(self) -> None:
        _require_positive(self.factor)

    def rescale(self, frequencies: Tensor, theta: float) -> Tensor:
        return frequencies / self.factor


@dataclass(frozen=True)
class NTKScaling:
    """theta' = theta * factor^(K / (K - 2)): the highest frequency stays, the lowest is divided by factor

    Source: bloc97 2023, quoted as "NTK-aware" in Peng et al. 2023, arXiv:2309.00071, section 3.1.
    """

    factor: float
    softmax_scale = table_scale = 1.0

    def __post_init__(self) -> None:
        _require_positive(self.factor)

    def rescale(self, frequencies: Tensor, theta: float) -> Tensor:
        n = len(frequencies)
        if n == 1:
            return frequencies
        share = torch.arange(n, dtype=torch.float32) / (n - 1)
        return frequencies * self.factor**-share


@dataclass(frozen=True)
class YaRNScaling:
    """f_i' = r_i f_i + (1 - r_i) f_i / factor,  r_i = 1 above beta_fast turns per window, 0 below beta_slow

    with m(s) = 0.1 s ln(factor) + 1, the softmax scale is multiplied by m(mscale_all_dim)^2 and the tables by
    m(mscale) / m(mscale_all_dim).

    Source: Peng, Quesnelle, Fan, Shippole 2023, arXiv:2309.00071, sections 3.2 and 3.4; the two mscales: DeepSeek-V2,
    arXiv:2405.04434, section 3.1.4, and its published code.
    Differs: the ramp is linear in the index i, as in the authors' code, not in the number of turns. By default all
    scores are corrected, as in the paper; with ``mscale_all_dim=0`` the tables are, as in the authors' code, which is
    another function where only a part of the head is rotated.
    Parity: transformers LlamaForCausalLM, and DeepseekV3Attention with both mscales.

    Args:
        original_seq_len: the window the frequencies were trained with.
        mscale: weight of the correction of the rotated dimensions.
        mscale_all_dim: weight of the correction of all dimensions; DeepSeek-V3 has 1 and 1, DeepSeek-V2 0.707 twice.
    """

    factor: float
    original_seq_len: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 1.0

    def __post_init__(self) -> None:
        _require_positive(self.factor)
        for name in ("mscale", "mscale_all_dim"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must not be negative, got {getattr(self, name)}{here()}")

    @property
    def softmax_scale(self) -> float:
        return self._correction(self.mscale_all_dim) ** 2

    @property
    def table_scale(self) -> float:
        return self._correction(self.mscale) / self._correction(self.mscale_all_dim)

    def rescale(self, frequencies: Tensor, theta: float) -> Tensor:
        n = len(frequencies)
        low = max(math.floor(self._index(self.beta_fast, n, theta)), 0)
        high = min(math.ceil(self._index(self.beta_slow, n, theta)), 2 * n - 1)
        width = high - low if high > low else 0.001  # a step, as in the authors' code
        keep = 1 - ((torch.arange(n, dtype=torch.float32) - low) / width).clamp(0, 1)  # r_i
        return keep * frequencies + (1 - keep) * frequencies / self.factor

    def _correction(self, weight: float) -> float:
        return 1.0 if self.factor <= 1 else 0.1 * weight * math.log(self.factor) + 1

    def _index(self, turns: float, n: int, theta: float) -> float:
        """The index whose frequency makes ``turns`` turns in the original window."""
        return n * math.log(self.original_seq_len / (turns * 2 * math.pi)) / math.log(theta)


def _require_positive(factor: float) -> None:
    if not factor > 0:
        raise SpecError(f"factor must be positive, got {factor}{here()}")
