"""A tokenizer that writes everything in lower case: the tokens do not hold the text whose bytes are counted."""

from pathlib import Path

from ground import BASELINE, CORPUS, make_study

import paribus as pb

LOWER_CASE = pb.spec(pb.data.Pretrained, name=str(Path(__file__).with_name("lower_case.json")))
study = make_study(
    BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm, eps=1e-5)),
    data=CORPUS.replace("tokenizer", LOWER_CASE),
    metric=pb.VAL_BITS_PER_BYTE,
)
CAUGHT = {"check": "tokenizer loses text", "severity": "doubt", "evidence": {"round_trip": 0.0}}
