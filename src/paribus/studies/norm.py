"""LayerNorm against RMSNorm in a transformer (Zhang and Sennrich 2019, arXiv:1910.07467)."""

import paribus as pb

baseline = pb.nn.llama(d_model=96, n_layers=3, n_heads=3, norm=pb.spec(pb.nn.LayerNorm))

study = pb.Study(
    question="Is RMSNorm as good as LayerNorm in a transformer?",
    baseline=baseline,
    treatments={"RMSNorm": baseline.replace("*norm", pb.spec(pb.nn.RMSNorm))},
    changes={"RMSNorm": ("*norm",)},
    data=pb.spec(pb.data.Text, source="stdlib", tokenizer=pb.spec(pb.data.BPE, vocab_size=1024)),
    training=pb.Training(
        tokens=300 * 1024,
        batch_tokens=1024,
        seq_len=128,
        optimizer=pb.spec(pb.training.MuonAdamW, lr=0.02),
    ),
    margin=0.02,
)
