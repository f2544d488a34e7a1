"""Forty passes over a corpus of a few files: what is compared is how well the arms memorise it."""

import wsgiref
from pathlib import Path

from ground import BASELINE, TRAINING, make_study

import paribus as pb

FILES = pb.spec(pb.data.Text, source=str(Path(wsgiref.__file__).parent), tokenizer=pb.spec(pb.data.Bytes))
recipe = TRAINING.replace(tokens=40 * 40_000, batch_tokens=960)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), data=FILES, training=recipe)
CAUGHT = {"check": "budget", "severity": "doubt", "arm": None}
