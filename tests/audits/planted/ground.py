"""The ground that the planted studies share: a toy transformer, a short recipe, real text."""

import html
from pathlib import Path

import torch

import paribus as pb

CORPUS = pb.spec(pb.data.Text, source=str(Path(html.__file__).parents[1] / "email"), tokenizer=pb.spec(pb.data.Bytes))
TRAINING = pb.Training(
    tokens=30 * 96,
    batch_tokens=96,
    seq_len=24,
    evaluations=3,
    evaluation_tokens=480,
    optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
)
BASELINE = pb.nn.llama(d_model=32, n_layers=2, n_heads=2, norm=pb.spec(pb.nn.LayerNorm))

MIXTURE = pb.spec(  # four experts that an honest router keeps busy
    pb.nn.MoE,
    n_experts=4,
    experts=pb.spec(pb.nn.Experts, d_ff=32),
    router=pb.spec(pb.nn.TopK, top_k=1, normalize=False, score=pb.nn.sigmoid),
    losses=(pb.spec(pb.nn.LoadBalance, weight=1.0),),
)


def make_study(treatment=None, baseline=BASELINE, /, **fields):
    """A study of one treatment called "idea", or of ``treatments``; two or three pairs."""
    if treatment is not None:
        fields["treatments"] = {"idea": treatment}
    defaults = {
        "question": "Is the idea as good?",
        "data": CORPUS,
        "training": TRAINING,
        "margin": 0.03,
        "min_seeds": 2,
        "max_seeds": 2,
        "extra_rates": (),
    }
    return pb.Study(baseline=baseline, **{**defaults, **fields})
