"""Writes old_store/, the store that today's paribus must open: run it under paribus at commit 1760d7e, and no other.

    git worktree add /some/folder 1760d7e
    PYTHONPATH=/some/folder/src python tests/store/write_old_store.py old_store

It is a study file as well, of three scales: one is decided, one tunes, one has a run that fails.
"""

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import torch

import paribus as pb


class ScaledNorm(torch.nn.Module):
    """A class of the user's own, which nobody who opens the store has."""

    def __init__(self, dim, scale=1.0):
        super().__init__()
        self.scale = scale
        self.gain = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return torch.nn.functional.rms_norm(x, self.gain.shape, self.gain) * self.scale


class FailsLate(torch.optim.SGD):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken > 3:
            raise RuntimeError("no more steps")
        return super().step(closure)


def training(optimizer):
    return pb.Training(
        tokens=8 * 64, batch_tokens=64, seq_len=16, evaluations=2, evaluation_tokens=256, optimizer=optimizer
    )


baseline = pb.nn.llama(d_model=8, n_layers=1, n_heads=2).replace("*norm", pb.spec(pb.nn.LayerNorm))
adamw = training(pb.spec(torch.optim.AdamW, lr=0.01))
common = {
    "baseline": baseline,
    "data": pb.spec(pb.data.Text, source="words.jsonl", tokenizer=pb.spec(pb.data.Bytes)),
    "training": adamw,
    "min_seeds": 2,
    "max_seeds": 3,
}
decided = pb.Study(
    question="Does an old store open?",
    treatments={
        "rms": baseline.replace("*norm", pb.spec(pb.nn.RMSNorm)),
        "own": baseline.replace("*norm", pb.spec(ScaledNorm, scale=1.5)),
        "wide": baseline.replace("*.mlp.d_ff", 48),
    },
    primary=("rms",),
    contrasts={"own against wide": {"own": 1, "wide": -1}},
    margin=0.2,
    width_response="d_model",
    **common,
)
scales = {
    "decided": decided,
    "tuned": pb.Study(
        question="Does an old store with a tuned study open?",
        treatments={"rms": baseline.replace("*norm", pb.spec(pb.nn.RMSNorm))},
        tuning=pb.Tuning(over={"learning_rate": (0.5, 1.0)}, extensions=0),
        margin=0.2,
        **common,
    ),
    "failing": pb.Study(
        question="Does an old store with a failed run open?",
        treatments={"fails": pb.Arm(baseline, training(pb.spec(FailsLate, lr=0.01)))},
        margin=0.2,
        **{**common, "training": training(pb.spec(torch.optim.SGD, lr=0.01))},
    ),
}
study = decided


def write_words(path):
    draw = random.Random(0)
    lines = [" ".join(draw.choices("abcdefghijklmnop", k=120)) for _ in range(24)]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))


def quiet(event):
    """A study of some seconds needs no progress on the screen."""


def write_store(target):
    """Write the store in a folder of its own, then copy what a reader needs, without the names of that folder."""
    file = Path(__file__).resolve()
    sources = str(Path(pb.__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PARIBUS_HOME"] = f"{folder}/cache"
        os.chdir(folder)
        write_words(Path("words.jsonl"))
        for scale in scales:
            pb.run(file, "store", scale=scale, executor="inline", timing=scale == "decided", observe=quiet)
        pb.calibrate(file, "store", scale="decided", executor="inline", observe=quiet)
        for name in pb.status("store")["studies"]:  # again: studies share what was calibrated
            pb.report("store", "json", name)
        unread = shutil.ignore_patterns("*.pt", "lock", "lease", "figures", "report.md", "report.html", "verdicts.json")
        shutil.copytree("store", target, ignore=unread)
        for path in target.rglob("*.json"):
            text = path.read_text()
            for place, name in ((str(file.parent), "study"), (sources, "src"), (sys.prefix, "env"), (folder, ".")):
                text = text.replace(place, name)
            path.write_text(text)


if __name__ == "__main__":
    write_store(Path(sys.argv[1]).resolve())
