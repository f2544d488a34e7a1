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
    # How size, batch and rates were chosen, with the measured noise: docs/quick_scale.md.
    "training": pb.Training(
        tokens=100 * 2048,
        batch_tokens=2048,
        seq_len=128,
        evaluations=3,
        target_loss=4.6,
        optimizer=pb.spec(pb.training.MuonAdamW, lr=0.02, adamw_lr=0.01),
    ),
    "margin": 0.031,  # what 5 % more tokens buys the baseline: 0.0312 (standard error 0.0008, 8 seeds)
}
study = ask("a transformer", transformer, **quick)

hypermixer = transformer.replace("*.mixer", pb.spec(pb.nn.HyperMixer, d_hidden=16)).replace("*norm", LAYER_NORM)
hrm = pb.nn.hrm(d_model=96, n_low=1, n_high=1, n_heads=3, norm=LAYER_NORM)

corpus = pb.spec(
    pb.data.Text,
    source="hub:HuggingFaceTB/smollm-corpus",
    hub_config="cosmopedia-v2",
    max_document_chars=3000,
    max_train_tokens=2_000_000,
    tokenizer=pb.spec(
        pb.data.Pretrained, name="HuggingFaceTB/SmolLM-135M", separator="<|endoftext|>", vocab_size=49152
    ),
)


def train(seq_len: int) -> pb.Training:
    return pb.Training(
        tokens=250 * 4 * 32 * seq_len,  # 1000 forward passes, four to a step
        batch_tokens=4 * 32 * seq_len,
        micro_batch_tokens=32 * seq_len,
        seq_len=seq_len,
        precision="bf16",
        optimizer=pb.spec(
            pb.training.MuonAdamW,
            lr=0.01,
            adamw_lr=0.001,
            adamw_betas=(0.9, 0.999),
            adamw_weight_decay=0.1,
        ),
        schedule=pb.spec(pb.training.Cosine, warmup=0.05, floor=0.1),
    )


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
        training=train(seq_len=512),
        margin=0.031,  # the quick scale's; not measured at this one
    ),
    "document": ask(  # the size that the published document itself names
        "a transformer",
        pb.nn.llama(d_model=128, n_layers=3, n_heads=8, d_ff=256, norm=LAYER_NORM, dropout=0.1),
        data=corpus,
        training=train(seq_len=80),
        margin=0.031,
    ),
}
