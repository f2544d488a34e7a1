"""A mixture of experts as in DeepSeek-V3 (arXiv:2412.19437) against softmax top-k, and its parts one at a time.

As in the published comparison there is no shared expert, and routed outputs are not scaled. The noise on the logits is
the baseline's. Group-limited choice, which saves communication, has no arm of its own.
"""

from typing import Any

import paribus as pb

EPS = 2.0**-23  # torch.finfo(torch.float32).eps, the default of torch.nn.RMSNorm


def moe_transformer(d_model: int, n_layers: int, n_heads: int, d_ff: int, dropout: float) -> pb.Spec:
    moe = pb.spec(
        pb.nn.MoE,
        n_experts=8,
        router=pb.spec(pb.nn.TopK, top_k=2, noise_std=0.1),
        experts=pb.spec(pb.nn.Experts, d_ff=d_ff, activation=pb.nn.silu),
        losses=(pb.spec(pb.nn.LoadBalance, weight=0.01),),
    )
    norm = pb.spec(pb.nn.RMSNorm, eps=EPS)
    model = pb.nn.llama(d_model, n_layers, n_heads, norm=norm, mlp=moe, dropout=dropout)
    return model.replace("embedding_scale", d_model**0.5)


def ask(baseline: pb.Spec, **scale: Any) -> pb.Study:
    gated = pb.spec(pb.nn.GatedExperts, d_ff=128, activation=pb.nn.silu)
    deepseek = baseline.replace("*.experts", gated)
    for argument, value in {"score": pb.nn.sigmoid, "n_groups": 4, "top_groups": 2, "bias_rate": 0.001}.items():
        deepseek = deepseek.replace(f"*.router.{argument}", value)  # the router's noise stays as it is
    balanced_by_bias = baseline.replace("*.router.bias_rate", 0.001).replace("*.losses", ())
    sequence_loss = (pb.spec(pb.nn.SequenceBalance, weight=1e-4),)
    return pb.Study(
        question="Is DeepSeek-V3's mixture of experts better than softmax top-k at equal parameters?",
        baseline=baseline,
        treatments={
            "DeepSeek-V3": pb.Arm(
                deepseek.replace("*.losses", sequence_loss), match="parameters", width="*.experts.d_ff"
            ),
            "sigmoid scores": baseline.replace("*.router.score", pb.nn.sigmoid),
            "gated experts": pb.Arm(baseline.replace("*.experts", gated), match="parameters", width="*.experts.d_ff"),
            "bias balancing": balanced_by_bias,
        },
        changes={
            "DeepSeek-V3": ("*.router", "*.experts", "*.losses"),
            "sigmoid scores": ("*.router.score",),
            "gated experts": ("*.experts",),
            "bias balancing": ("*.router.bias_rate", "*.losses"),  # in place of the loss, not beside it
        },
        primary=("DeepSeek-V3",),
        **scale,
    )


study = ask(
    moe_transformer(d_model=96, n_layers=3, n_heads=3, d_ff=192, dropout=0.0),
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    training=pb.training.quick_recipe(),
    margin=0.038,  # what 5 % more tokens buys the baseline: 0.0377 (standard error 0.0003, 6 seeds)
    max_seeds=8,
)

paper = ask(
    moe_transformer(d_model=256, n_layers=3, n_heads=4, d_ff=1024, dropout=0.1),
    data=pb.data.cosmopedia(max_train_tokens=100_000),
    training=pb.training.paper_recipe(16, 256),
    margin=0.038,  # the quick scale's; not measured at this one
)

scales = {"quick": study, "paper": paper}
