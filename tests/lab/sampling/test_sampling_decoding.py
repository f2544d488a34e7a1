"""The decoding check of parts that compute in other types than float64, right and wrong ones."""

import pytest
import torch

import paribus as pb
from paribus.lab.sampling.drawing import _check_decoding
from paribus.nn.contract import build_model


def check(mixer):
    """The decoding check of a small model with matrices three times as large as untrained ones."""
    llama = pb.nn.llama(d_model=32, n_layers=2, n_heads=2).replace("*.mixer", pb.spec(mixer))
    model = build_model(llama, 0, vocab_size=50, seq_len=48)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3 if p.ndim > 1 else 1)
    return _check_decoding(model, torch.randint(50, (48,), generator=torch.Generator().manual_seed(0)).tolist())


class Mixer(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.out = torch.nn.Linear(dim, dim)


class LongConvolution(Mixer):
    """y_t = sum over s <= t of 0.98^(t - s) x_s, by a transform of the length of what it reads, in float32."""

    def forward(self, x):
        n = x.shape[1]
        decay = torch.fft.rfft(0.98 ** torch.arange(n).float(), 2 * n)[None, :, None]
        return self.out(torch.fft.irfft(torch.fft.rfft(x, 2 * n, dim=1) * decay, 2 * n, dim=1)[:, :n].to(x.dtype))


class WrappedConvolution(Mixer):
    """Forgets to make room: the end of what it reads comes round to its beginning."""

    def forward(self, x):
        n = x.shape[1]
        decay = torch.fft.rfft(0.98 ** torch.arange(n).float(), n)[None, :, None]
        return self.out(torch.fft.irfft(torch.fft.rfft(x, n, dim=1) * decay, n, dim=1).to(x.dtype))


class Decay(Mixer):
    """The same sum by a matrix in float32, which takes no float64."""

    leak = 0.0

    def forward(self, x):
        steps = torch.arange(x.shape[1])
        weights = 0.98 ** (steps[:, None] - steps).clamp(min=0).float()
        return self.out(weights.tril() @ x + self.leak * x.mean(1, keepdim=True))


class LeakyDecay(Decay):
    leak = 0.05


class HalfPrecision(Mixer):
    """The mean so far, in bfloat16."""

    def forward(self, x):
        n = x.shape[1]
        mean = torch.ones(n, n, dtype=torch.bfloat16).tril() / torch.arange(1, n + 1, dtype=torch.bfloat16)[:, None]
        return self.out((mean @ x.bfloat16()).to(x.dtype))


class HalfPrecisionOfAll(HalfPrecision):
    def forward(self, x):
        return super().forward(x.mean(1, keepdim=True).expand_as(x))


@pytest.mark.parametrize(
    ("right", "wrong", "precision", "share"),
    [
        (LongConvolution, WrappedConvolution, "float32", 1e-4),
        (Decay, LeakyDecay, "float32", 1e-4),
        (HalfPrecision, HalfPrecisionOfAll, "bfloat16", 5e-2),
    ],
)
def test_a_part_is_judged_at_the_precision_it_computes_in_and_a_broken_one_still_fails(right, wrong, precision, share):
    sound, broken = check(right), check(wrong)
    assert (sound.passed, sound.trouble, sound.precision) == (True, "", precision)
    assert sound.allowed == share * sound.largest_logit
    assert (broken.passed, broken.trouble, broken.precision) == (False, "", precision)


def test_parts_that_follow_their_input_are_judged_in_float64():
    assert check(pb.nn.HyperMixer).precision == "float64"
