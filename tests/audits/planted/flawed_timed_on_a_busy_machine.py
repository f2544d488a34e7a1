"""The arms are timed while something else comes and goes on the machine: a fixed computation takes now 2, now 20 ms."""

import itertools
import time

import torch
from ground import BASELINE, make_study

import paribus as pb
from paribus.bench import prepare_corpus
from paribus.execution.timing import Instruments, make_step, time_steps
from paribus.judgement import TIME_MARGIN, Rule
from paribus.nn.contract import build_model
from paribus.records import Store, write_json

study = make_study(BASELINE.replace("*norm", pb.spec(pb.nn.RMSNorm)), changes={"idea": ("*norm",)}, rate_probe=())

CAUGHT = {"check": "timing", "severity": "doubt"}


def spoil(store):
    """Time the arms with a reference that the other load slows down every second time."""
    corpus, _ = prepare_corpus(study)
    steps = {}
    for name, arm in study.arms.items():
        model = build_model(arm.model, 0, vocab_size=corpus.vocab_size, seq_len=arm.training.seq_len)
        steps[name] = make_step(model, arm.training, 0, corpus)
    load = itertools.cycle([0.002, 0.020])
    timed = time_steps(
        steps, Rule(margin=TIME_MARGIN), Instruments(reference=lambda: time.sleep(next(load))), block_seconds=0.01
    )
    # Timed here through internals: a full `--timing` takes seconds.
    place = Store.open(store)
    (name,) = place.study_names()
    machine = {"device": "cpu", "device_name": "shared", "threads": torch.get_num_threads()}
    write_json(place.study_folder(name) / "timing.json", {"measured": {**timed, **machine}})
