"""Judged studies as the lab makes them, from synthetic records: every kind of verdict and the odd cases."""

import json
import math
import random

from paribus.design.metrics import VAL_ACCURACY, VAL_LOSS
from paribus.design.recipe import Training
from paribus.design.specs import spec
from paribus.design.study import Arm, Study
from paribus.judgement import Registration, Report, Rule, decide_all, gather
from paribus.store.records import Finding, Record


class Model:
    def __init__(self, d_model, norm, blocks=()):
        """A stand-in: a report never builds a model."""


class Block:
    def __init__(self, norm):
        """A stand-in."""


class LayerNorm:
    def __init__(self, eps=1e-5):
        """A stand-in."""


class ScaleNorm:
    def __init__(self, eps=1e-5):
        """A stand-in."""


class Text:
    def __init__(self, source):
        """A stand-in."""


class AdamW:
    def __init__(self, lr):
        """A stand-in."""


BASELINE_MODEL = spec(Model, d_model=96, norm=spec(LayerNorm), blocks=[spec(Block, norm=spec(LayerNorm))] * 3)
RECIPE = Training(tokens=307_200, batch_tokens=1024, seq_len=128, optimizer=spec(AdamW, lr=0.02))
MARGIN = 0.02
STEPS = [0, 60, 120, 180, 240, 300]
NOISE = [0.004, -0.006, 0.003, -0.002, 0.005, -0.004, 0.001, -0.003, 0.002, 0.0]


def make_study(names=("ScaleNorm",), **fields):
    model = BASELINE_MODEL.replace("*norm", spec(ScaleNorm))
    fields = {"question": "Is ScaleNorm as good as LayerNorm?", "margin": MARGIN, **fields}
    return Study(
        baseline=BASELINE_MODEL,
        treatments={name: Arm(model, fields.get("training_of", {}).get(name)) for name in names},
        data=spec(Text, source="stdlib"),
        training=RECIPE,
        **{key: value for key, value in fields.items() if key != "training_of"},
    )


def make_record(arm, seed, loss, status="done", **metrics):
    if status == "failed":
        error = "ValueError: Traceback (most recent call last):\n  File x\nValueError: bad shape\n"
        return Record(f"{arm}-{seed}", seed, "failed", error=error)
    if status != "done":
        return Record(f"{arm}-{seed}", seed, status, metrics={"diverged_step": 17.0}, error="the loss is not finite")
    noise = random.Random(f"{arm} {seed}")
    start = 6.94 + 0.003 * noise.random()
    curve = [loss + (start - loss) * math.exp(-step / 60) for step in STEPS[:-1]] + [loss]
    evaluations = tuple(
        {"step": s, "tokens": s * 1024, "loss": y, "measured": {"training_seconds": s / 13.0, "seconds": 0.4}}
        for s, y in zip(STEPS, curve, strict=True)
    )
    documents = {"tokens": [400, 600, 500], "loss": [400 * (loss + 0.01), 600 * loss, 500 * (loss - 0.008)]}
    return Record(
        f"{arm}-{seed}",
        seed,
        "done",
        metrics={
            "val_loss": loss,
            "initial_val_loss": start,
            "val_bits_per_byte": loss / 1.79,
            "val_perplexity": math.exp(loss),
            "val_accuracy": 0.6 - loss / 10,
            "val_loss_area": loss + 0.6,
            "train_loss_variance": 0.023 + 0.002 * noise.random(),
            "loss_spikes": 0.0,
            "parameters": 431_424.0 if arm == "baseline" else 430_752.0,
            "norm_parameters": 1_344.0 if arm == "baseline" else 672.0,
            "training_flops_per_token": 3_096_576.0,
            "tokens": 307_200.0,
            "steps": 300.0,
            "epochs": 0.0704,
            "loss_reduction_per_epoch": 37.1,
            "tokens_to_target": None,
            "gradient_norm_mean": 0.96 + 0.01 * noise.random(),
            "clipping_frequency": 0.25,
            **metrics,
        },
        evaluations=evaluations,
        documents=documents,
        measured={
            "training_seconds": 22.0 + 2 * noise.random(),
            "tokens_per_second": 13_900.0 + 300 * noise.random(),
            "peak_memory_bytes": 415_000_000 + seed,
            "device_name": "a processor",
        },
    )


def judge_records(study, records, findings=(), name="scale", attempt=1):
    """The report of these records, without a store."""
    content = {
        "name": name,
        "digest": "dba8c9391c327db358528fbf32cbeb09891e11ba51b0d479e3b6f86d519bd119",
        "attempt": attempt,
        "judged_before": [],
        "study": study.to_json(),
        "rule": Rule.of_study(study).to_json(),
        "data": {"title": "Python source code", "digest": "9c658d1b0208c55d"},
        "device": "cpu",
        "evaluation_digest": "ab" * 32,
        "runs": {arm: [f"{arm}-{seed}" for seed in range(study.max_seeds)] for arm in study.arms},
    }
    evidence = gather(Registration.from_json(content), records, {}, tuple(findings))
    return decide_all(evidence).report


def edited(report, edit):
    """The report as it is when ``edit`` has changed its plain values."""
    data = json.loads(json.dumps(report.to_json()))
    edit(data)
    return Report.from_json(data)


def judge_losses(
    shift,
    n=10,
    spread=1.0,
    findings=(),
    diverged=(),
    failed=(),
    names=("ScaleNorm",),
    attempt=1,
    name="scale",
    **fields,
):
    """A study whose treatments differ by ``shift`` plus noise; ``diverged`` and ``failed`` hold (arm, seed)."""
    study = make_study(names, **fields)
    shifts = shift if isinstance(shift, dict) else dict.fromkeys(names, shift)

    def record(arm, seed):
        if (arm, seed) in failed:
            return make_record(arm, seed, None, "failed")
        if (arm, seed) in diverged:
            return make_record(arm, seed, None, "diverged")
        base = 4.33 + 0.015 * math.sin(seed)
        noise = spread * NOISE[(seed + list(study.arms).index(arm)) % len(NOISE)]
        return make_record(arm, seed, base if arm == "baseline" else base + shifts[arm] + noise)

    records = {arm: {seed: record(arm, seed) for seed in range(n)} for arm in study.arms}
    return judge_records(study, records, findings, name, attempt)


LEAK = Finding(
    "overlap",
    "invalid",
    "12 of 90 held-out documents are also trained on",
    evidence={"documents": 12},
    remedy="Split by document and remove near duplicates.",
)
STEEP = Finding(
    "schedule", "doubt", "the loss of ScaleNorm still falls steeply at the end", "ScaleNorm", remedy="Train longer."
)
SIZES = Finding("sizes", "note", "ScaleNorm has 672 parameters fewer (0.16 %)", "ScaleNorm", "blocks.0.norm")

CASES = {
    "better": lambda: judge_losses(-0.08),
    "worse": lambda: judge_losses(0.08, findings=[STEEP, SIZES], attempt=3),
    "equivalent": lambda: judge_losses(0.0005),
    "negligible": lambda: judge_losses(0.008, spread=0.3),
    "identical": lambda: judge_losses(0.0, spread=0.0),
    "undecided": lambda: judge_losses(0.005, spread=2.0, margin=0.01),
    "unfinished": lambda: judge_losses(0.02, n=2),
    "one pair": lambda: judge_losses(0.02, n=1),
    "failed": lambda: judge_losses(0.0, failed=[("ScaleNorm", 2)]),
    "unstable": lambda: judge_losses(0.0, diverged=[("ScaleNorm", 1)]),
    "baseline diverged": lambda: judge_losses(0.0, diverged=[("baseline", 2)]),
    "seedless": lambda: judge_losses(0.5, spread=0.0, margin=0.1),
    "invalid": lambda: judge_losses(-0.08, findings=[LEAK, STEEP, SIZES]),
    "no pairs": lambda: judge_losses(0.0, n=0, findings=[LEAK]),
    "accuracy": lambda: judge_losses(-0.5, metric=VAL_ACCURACY, margin=0.01),
    "margin 0": lambda: judge_losses(0.001, spread=2.0, margin=0),
    "several": lambda: judge_losses(
        {
            "scale norm": -0.06,
            "scale norm, last": 0.002,
            "a norm with | a long name <b>& more</b> than one line": 0.03,
            "d": 0.0,
        },
        names=("scale norm", "scale norm, last", "a norm with | a long name <b>& more</b> than one line", "d"),
        primary=("scale norm, last", "scale norm", "a norm with | a long name <b>& more</b> than one line"),
        null=("d",),
        changes={"scale norm": ("*norm",)},
        training_of={"d": RECIPE.replace(optimizer=spec(AdamW, lr=0.002))},
    ),
}
"""Name to a judged study."""

__all__ = ["CASES", "LEAK", "MARGIN", "RECIPE", "SIZES", "STEEP", "VAL_LOSS", "edited", "judge_losses", "judge_records"]
