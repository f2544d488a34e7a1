"""LayerNorm against RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) in a transformer, a HyperMixer and an HRM."""

from typing import Any

import paribus as pb

LAYER_NORM = pb.spec(pb.nn.LayerNorm)
RMS_NORM = pb.spec(pb.nn.RMSNorm, eps=1e-5)  # LayerNorm's eps: one difference


def ask(backbone: str, baseline: pb.Spec, norms: tuple[str, ...] = ("*norm",), **scale: Any) -> pb.Study:
    treatment = baseline
    for pattern in norms:
        treatment = treatment.replace(pattern, RMS_NORM)
    return pb.Study(
        question=f"Is RMSNorm as good as LayerNorm in {backbone}?",
        baseline=baseline,
        treatments={"RMSNorm": treatment},
        changes={"RMSNorm": norms},
        **scale,
    )


transformer = pb.nn.llama(d_model=96, n_layers=3, n_heads=3, norm=LAYER_NORM)
quick: dict[str, Any] = {
    "data": pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    "training": pb.training.quick_recipe(target_loss=4.6),
    "margin": 0.031,  # what 5 % more tokens buys the baseline: 0.0312 (standard error 0.0008, 8 seeds)
}
study = ask("a transformer", transformer, **quick)

hypermixer = transformer.replace("*.mixer", pb.spec(pb.nn.HyperMixer, d_hidden=16)).replace("*norm", LAYER_NORM)
hrm = pb.nn.hrm(d_model=96, n_low=1, n_high=1, n_heads=3, norm=LAYER_NORM)

corpus = pb.data.cosmopedia(max_train_tokens=2_000_000)

scales = {
    "quick": study,
    # The same with DyT (Zhu et al. 2025, arXiv:2503.10622) beside it, described by its interval, without a verdict.
    "wide": study.replace(
        treatments={**study.treatments, "DyT": transformer.replace("*norm", pb.spec(pb.nn.DyT))},
        changes={"RMSNorm": ("*norm",), "DyT": ("*norm",)},
        primary=("RMSNorm",),
    ),
    "hypermixer": ask("a HyperMixer", hypermixer, **quick),
    "hrm": ask("an HRM", hrm, norms=("*.mixer_norm", "*.mlp_norm"), **quick),  # it has no norm at its end
    "paper": ask(
        "a transformer",
        pb.nn.llama(d_model=512, n_layers=6, n_heads=8, d_ff=2048, norm=LAYER_NORM, dropout=0.1),
        data=corpus,
        training=pb.training.paper_recipe(32, 512, precision="bf16"),
        margin=0.031,  # the quick scale's; not measured at this one
    ),
    "document": ask(  # the size that the published document itself names
        "a transformer",
        pb.nn.llama(d_model=128, n_layers=3, n_heads=8, d_ff=256, norm=LAYER_NORM, dropout=0.1),
        data=corpus,
        training=pb.training.paper_recipe(32, 80, precision="bf16"),
        margin=0.031,
    ),
}
