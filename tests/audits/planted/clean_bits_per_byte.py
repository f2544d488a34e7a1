"""Judged in bits per byte, with a tokenizer of its own."""

from ground import BASELINE, CORPUS, make_study

import paribus as pb

study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)),
    metric=pb.VAL_BITS_PER_BYTE,
    data=CORPUS.replace("tokenizer", pb.spec(pb.data.BPE, vocab_size=300)),
    changes={"idea": ("*norm",)},
)
