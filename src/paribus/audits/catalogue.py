"""Every check by name: what it sees, what it cannot see, and how bad its findings are. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One audit.

    Args:
        name: ``Finding.check`` of what it finds.
        when: "before" training (from specs, built models and the corpus) or "after" (from records).
        severities: what its findings can be, mildest first.
        sees: what it finds.
        misses: what it cannot see.
        cost: of one arm, or of the corpus.
    """

    name: str
    when: str
    severities: tuple[str, ...]
    sees: str
    misses: str
    cost: str


CHECKS = (
    Check(
        "sites changed",
        "before",
        ("note", "invalid"),
        "A treatment equal to the baseline in model and recipe (invalid, unless the study calls it null). "
        "A treatment that changes fewer than all sites of a kind (note).",
        "A class of another name with the same code. A change inside a class that both arms use.",
        "none",
    ),
    Check(
        "several differences",
        "before",
        ("note",),
        "More than one kind of change in one treatment, the recipe included. An argument, such as eps, whose value "
        "changes along with the class of its site.",
        "Two changes made inside one new class. Defaults of another name.",
        "none",
    ),
    Check(
        "undeclared difference",
        "before",
        ("note", "doubt"),
        "A difference that no pattern in `changes` names (doubt). A pattern that nothing matches (note). "
        "An arm without an entry in `changes` may differ anywhere in its model, and nowhere in its recipe.",
        "What a pattern as wide as `*` lets pass.",
        "none",
    ),
    Check(
        "matching",
        "before",
        ("note",),
        "A treatment that asked for a `match`: the width that was solved for, and what difference is left. "
        "One that no width brings within 0.5 %, or half a unit of the width, is an error.",
        "Whether the width that floats is the right one to ask of.",
        "about five constructions without memory; for FLOPs also five traced passes",
    ),
    Check(
        "parameters and FLOPs",
        "before",
        ("note", "doubt"),
        "More than 1 % (note) or 5 % (doubt) more or fewer parameters, active parameters or training FLOPs per token "
        "than the baseline. Never more than a note for a treatment that was matched in another of them.",
        "Time and memory. FLOPs of elementwise work and of custom kernels, which the counter does not know.",
        "one forward and backward pass over one window",
    ),
    Check(
        "causality",
        "before",
        ("doubt", "invalid"),
        "A logit that moves by more than 1e-9 in float64 when a later token changes, with random weights, "
        "in training and in evaluation mode; it names the part. Doubt where a model cannot be tried.",
        "A leak that opens only in longer windows than 128 tokens (32 for large models). A custom `loss` that reads "
        "the targets. A leak that needs rare tokens.",
        "21 passes over one or two short sequences in float64",
    ),
    Check(
        "row leakage",
        "before",
        ("invalid",),
        "A logit that moves by more than 1e-9 when another sequence of the batch changes, such as under batch norm.",
        "A leak that needs a large batch, such as a capacity that two sequences do not fill.",
        "6 passes over two short sequences in float64",
    ),
    Check(
        "dead parameters",
        "before",
        ("note", "doubt"),
        "A tensor that gets no gradient at all on three batches, each with its own random weights (doubt). "
        "A frozen tensor (note).",
        "A tensor of which a part is dead, such as one expert of a stack. A gradient of rounding size. "
        "A tensor that dies in training.",
        "one to three forward and backward passes over four short sequences",
    ),
    Check(
        "conformance",
        "before",
        ("note", "doubt", "invalid"),
        "Each part that is not paribus's own, by the suite of `check_part`: a gradient that is not the derivative, "
        "two equal calls that differ, a second reset that differs (doubt), a causal or row leak that the whole model "
        "does not show (doubt), a wrong shape at its site (doubt), anything else (note). "
        "Parameters or buffers that differ between two constructions with one seed (invalid).",
        "What shows at real sizes alone. A part that cannot be tried alone (note). Parts without a slot, heads, and "
        "whole models above 5 million parameters.",
        "none without such parts; 0.1 seconds for each, and one more construction of the arm",
    ),
    Check(
        "same function",
        "before",
        ("note", "doubt"),
        "Two arms of different specs whose logits agree at equal weights, to 1e-9 (the same) or 1e-4 (nearly the same) "
        "of their size. A null arm that is not the baseline's function (doubt).",
        "The same function with its weights stored in another shape, order or scale.",
        "two passes over two short sequences in float64",
    ),
    Check(
        "train/validation overlap",
        "before",
        ("note", "doubt", "invalid"),
        "A scored document that is a training document, token for token (invalid). The share of the scored side's "
        "passages of 50 bytes that stand in the training text: above 50 % invalid, above 15 % doubt, else a note.",
        "Paraphrases, translations, shorter quotations, and what a pretrained tokenizer has seen.",
        "about a second per 3 million tokens",
    ),
    Check(
        "tokenizer loses text",
        "before",
        ("doubt",),
        "A tokenizer that does not give back every validation document: the share it does.",
        "Text that is lost in the training documents alone.",
        "none; measured when the corpus is prepared",
    ),
    Check(
        "seeds",
        "after",
        ("note", "invalid"),
        "A failed run, a run without its partner, or a seed left out (invalid). A diverged run, or no run yet (note).",
        "Runs that were deleted from the end.",
        "none",
    ),
    Check(
        "initial weights",
        "after",
        ("doubt",),
        "Tensors of equal path, outside the changed sites, that start differently in the two runs of a pair.",
        "Tensors under a changed site. Where an argument of the model itself differs, such as d_model, "
        "no tensor is expected to be equal.",
        "none",
    ),
    Check(
        "batches",
        "after",
        ("note", "invalid"),
        "Two runs of a pair that were trained on other batches, or the same in another order (invalid). "
        "A note where the recipes make that unavoidable.",
        "Which batch was the first to differ.",
        "none",
    ),
    Check(
        "held-out tokens",
        "after",
        ("invalid",),
        "Two runs of a pair that were scored on other tokens.",
        "Tokens that were scored twice.",
        "none",
    ),
    Check(
        "environment",
        "after",
        ("doubt",),
        "Two runs of a pair with other versions of packages, or on another kind of device.",
        "Two machines of one kind. Drivers.",
        "none",
    ),
    Check(
        "schedule",
        "after",
        ("note", "doubt"),
        "A run with another number of steps than planned, or whose last learning rate is more than 0.05 of the peak "
        "away from where the schedule ends (doubt). A decay that stops above 0.15 of the peak (note).",
        "The end of a schedule of your own class: its code is not run, only the 0.15 is looked at. "
        "Groups of parameters after the first.",
        "reads steps.jsonl",
    ),
    Check(
        "still falling",
        "after",
        ("note",),
        "A metric that would move by more than the margin in 10 % more tokens, on the line over log tokens through "
        "the evaluation nearest half of the training and the last one.",
        "What a longer schedule would do: it is a rough extrapolation. Metrics that are not scored during training.",
        "none",
    ),
    Check(
        "clipping",
        "after",
        ("note",),
        "Gradients clipped in more than 90 % of an arm's steps.",
        "Clipping inside an optimizer.",
        "none",
    ),
    Check(
        "loss spikes",
        "after",
        ("note",),
        "Steps whose loss lies 6 standard deviations above the mean of the 128 before.",
        "Spikes in the first 128 steps.",
        "none",
    ),
)
"""Every audit there is, in the order in which their findings come."""
