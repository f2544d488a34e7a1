"""LayerNorm against RMSNorm in a transformer (Zhang and Sennrich 2019, arXiv:1910.07467)."""

import paribus as pb

baseline = pb.nn.llama(d_model=96, n_layers=3, n_heads=3, norm=pb.spec(pb.nn.LayerNorm))
rms_norm = baseline.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5))  # LayerNorm's eps: one difference
dyt = baseline.replace("*norm", pb.spec(pb.nn.DyT))

study = pb.Study(
    question="Is RMSNorm as good as LayerNorm in a transformer?",
    baseline=baseline,
    treatments={"RMSNorm": rms_norm},
    changes={"RMSNorm": ("*norm",)},
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    # How size, batch and rates were chosen, with the measured noise: docs/quick_scale.md.
    training=pb.Training(
        tokens=100 * 2048,
        batch_tokens=2048,
        seq_len=128,
        evaluations=3,
        target_loss=4.6,
        optimizer=pb.spec(pb.training.MuonAdamW, lr=0.02, adamw_lr=0.01),
    ),
    margin=0.031,  # what 5 % more tokens buys the baseline: 0.0312 (standard error 0.0008, 8 seeds)
)

scales = {
    "quick": study,
    # The same with DyT (Zhu et al. 2025, arXiv:2503.10622) beside it, described by its interval, without a verdict.
    "wide": study.replace(
        treatments={"RMSNorm": rms_norm, "DyT": dyt},
        changes={"RMSNorm": ("*norm",), "DyT": ("*norm",)},
        primary=("RMSNorm",),
    ),
}
