"""Transformer, causal HyperMixer, HRM and looped transformer, each at equal parameters and at equal training FLOPs.

HyperMixer: Mai et al. 2022, arXiv:2203.03691. HRM: Wang et al. 2025, arXiv:2506.21734. The looped transformer
(Dehghani et al. 2018, arXiv:1807.03819) is HRM's control: it repeats its blocks without a second state.

The arms are whole backbones, each as its paper has it, not one difference: HRM has norms after the sums and none at its
end, embeddings times sqrt(d), the tokens added at every step and a gradient through its last step alone; the looped
transformer has none of these.
"""

from typing import Any

import paribus as pb


def ask(d_model: int, n_layers: int, n_heads: int, d_hidden: int, d_ff: int, dropout: float, **scale: Any) -> pb.Study:
    half = n_layers // 2
    baseline = pb.nn.llama(d_model, n_layers, n_heads, d_ff=d_ff, dropout=dropout)
    backbones = {
        "HyperMixer": baseline.replace("*.mixer", pb.spec(pb.nn.HyperMixer, d_hidden=d_hidden)),
        "HRM": pb.nn.hrm(d_model, n_layers // 3, n_layers // 3, n_heads, d_ff=d_ff, dropout=dropout),
        "looped transformer": pb.nn.looped(d_model, half, 2, n_heads, d_ff=d_ff, dropout=dropout),
    }
    equal = {name: pb.Arm(model, match="parameters", width="*.mlp.d_ff") for name, model in backbones.items()}
    as_dear = {
        f"{name}, equal FLOPs": pb.Arm(model, match="flops", width="*.mlp.d_ff") for name, model in backbones.items()
    }
    return pb.Study(
        question="Is a HyperMixer or an HRM a better language model than a transformer of equal size?",
        baseline=baseline,
        treatments=equal | as_dear,
        changes=dict.fromkeys(equal | as_dear, ("*",)),
        primary=("HyperMixer", "HRM"),
        **scale,
    )


study = ask(
    d_model=96,
    n_layers=4,
    n_heads=3,
    d_hidden=16,
    d_ff=256,
    dropout=0.0,
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    # A run is short: scoring more of the curve would take more than a tenth of it.
    training=pb.training.quick_recipe(tokens=100 * 1024, batch_tokens=1024, curve_tokens=2048),
    margin=0.031,  # what 5 % more tokens buys the baseline: 0.0311 (standard error 0.0008, 6 seeds)
    max_seeds=6,
)

paper = ask(
    d_model=512,
    n_layers=6,
    n_heads=8,
    d_hidden=64,
    d_ff=2048,
    dropout=0.1,
    data=pb.data.cosmopedia(max_train_tokens=2_000_000),
    training=pb.training.paper_recipe(32, 512, precision="bf16"),
    margin=0.031,  # the quick scale's; not measured at this one
)

scales = {"quick": study, "paper": paper}
