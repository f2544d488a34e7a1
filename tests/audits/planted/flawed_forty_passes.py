"""Forty passes over a corpus of a few files: what is compared is how well the arms memorise it."""

from html import parser

from ground import BASELINE, TRAINING, make_study

import paribus as pb

FILES = pb.spec(pb.data.Text, source=str(parser.__file__).removesuffix("parser.py"), tokenizer=pb.spec(pb.data.Bytes))
recipe = TRAINING.replace(tokens=40 * 90_000, batch_tokens=96_000)
study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), data=FILES, training=recipe)
CAUGHT = {"check": "budget", "severity": "doubt", "arm": None}
