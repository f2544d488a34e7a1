"""A SwiGLU against a ReLU MLP inside the experts of a transformer (Shazeer 2020, arXiv:2002.05202).

A gate is a third matrix: at equal d_ff the experts are half as large again, so the fair arm solves for its d_ff.
"""

from typing import Any

import paribus as pb

EPS = 2.0**-23  # torch.finfo(torch.float32).eps, the default of torch.nn.RMSNorm


def moe_transformer(d_model: int, n_layers: int, n_heads: int, d_ff: int, dropout: float) -> pb.Spec:
    moe = pb.spec(
        pb.nn.MoE,
        n_experts=8,
        router=pb.spec(pb.nn.TopK, top_k=2, noise_std=0.1),
        experts=pb.spec(pb.nn.Experts, d_ff=d_ff, activation=pb.nn.relu),
        losses=(pb.spec(pb.nn.LoadBalance, weight=0.01),),
    )
    norm = pb.spec(pb.nn.RMSNorm, eps=EPS)
    model = pb.nn.llama(d_model, n_layers, n_heads, norm=norm, mlp=moe, dropout=dropout)
    return model.replace("embedding_scale", d_model**0.5)


def ask(baseline: pb.Spec, d_ff: int, **scale: Any) -> pb.Study:
    swiglu = baseline.replace("*.experts", pb.spec(pb.nn.GatedExperts, d_ff=d_ff, activation=pb.nn.silu))
    return pb.Study(
        question="Are SwiGLU experts better than ReLU experts in a mixture-of-experts transformer?",
        baseline=baseline,
        treatments={
            "SwiGLU": pb.Arm(swiglu, match="parameters", width="*.experts.d_ff"),
            "SwiGLU at equal d_ff": swiglu,
        },
        changes={"SwiGLU": ("*.experts",), "SwiGLU at equal d_ff": ("*.experts",)},
        primary=("SwiGLU",),
        **scale,
    )


study = ask(
    moe_transformer(d_model=96, n_layers=3, n_heads=3, d_ff=192, dropout=0.0),
    d_ff=192,
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    training=pb.training.quick_recipe(),
    margin=0.037,  # what 5 % more tokens buys the baseline: 0.0367 (standard error 0.0006, 6 seeds)
    max_seeds=8,
)

paper = ask(
    moe_transformer(d_model=256, n_layers=3, n_heads=4, d_ff=1024, dropout=0.1),
    d_ff=1024,
    data=pb.data.cosmopedia(max_train_tokens=100_000),
    training=pb.training.paper_recipe(16, 256),
    margin=0.037,  # the quick scale's; not measured at this one
)

scales = {"quick": study, "paper": paper}
