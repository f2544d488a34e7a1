"""The checks after training: from records. No torch."""

from paribus.audits.context import Check

AFTER = (
    Check(
        "seeds",
        "after",
        ("note", "invalid"),
        "A failed run, a run without its partner, or a seed left out (invalid). A diverged run, or no run yet (note).",
        "Runs that were deleted: they count as not done, and the verdict waits for them.",
        "none",
    ),
    Check(
        "evidence",
        "after",
        ("invalid",),
        "A metric that is not what the documents, the evaluations and steps.jsonl give, to 1e-9. Two seeds with equal "
        "batches and equal losses of every document. A record of another seed.",
        "Files that were all changed so that they agree. Metrics of an optimizer's or a part's own.",
        "reads steps.jsonl",
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
        "Two runs of a pair with other versions of packages, on another kind of device, or by other code of paribus.",
        "Two machines of one kind. Drivers. Constants that a study file reads from environment variables or other "
        "files.",
        "none",
    ),
    Check(
        "schedule",
        "after",
        ("note", "doubt"),
        "A run with another number of steps than planned, or whose last learning rate is more than 0.05 of the peak "
        "away from where the schedule ends (doubt). For a class of your own: a last rate above 0.15 of the peak "
        "(note).",
        "The end of a schedule of your own class: its code is not run here, as it is before training. Groups of "
        "parameters after the first.",
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
        "price in tokens",
        "after",
        ("note",),
        "For a difference above the margin and two standard errors: how many more tokens would buy the baseline as "
        "much, on the same line over log tokens.",
        "What a longer schedule would do. Above twice the tokens no number is given.",
        "none",
    ),
    Check(
        "clipping",
        "after",
        ("note",),
        "Gradients clipped in more than 90 % of an arm's steps, or of the baseline's where the arm's share differs by "
        "more than half under the same `clip`.",
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
    Check(
        "site norms",
        "after",
        ("note", "doubt"),
        "Sites whose outputs or gradients, after the last step, are more than 10 times larger or smaller than the "
        "baseline's at the same path in every pair (note); more than 100 times, at a site that does not change, in "
        "two pairs or more of equal recipes (doubt).",
        "Sites that one arm alone has. What happens earlier in training.",
        "one more micro-batch a run, without a step",
    ),
    Check(
        "unmoved parameters",
        "after",
        ("note", "doubt"),
        "Trainable tensors whose bits are the initial ones at the end of every run: doubt where the baseline's at "
        "that site moved.",
        "A tensor of which a part moves, such as one expert of a stack.",
        "a digest of the weights",
    ),
    Check(
        "routing",
        "after",
        ("note", "doubt"),
        "A router that sends more than 90 % of the assignments to one expert, or whose load is worth less than 1.5 "
        "experts (doubt in half of the runs or more). Experts without a token at the last evaluation: a doubt where "
        "it is more than a quarter of a site's in every run, and 8 tokens or more were scored for each expert.",
        "Parts of yours without a `load` in `diagnostics()`. Experts that are chosen and weigh nothing.",
        "none",
    ),
    Check(
        "late auxiliary loss",
        "after",
        ("doubt",),
        "A treatment whose auxiliary losses are absent or 0 in the first five steps or more of every run and not "
        "later, where the baseline's are not so.",
        "A loss that sets in within five steps, or beside another one. Terms inside a model's own `loss`.",
        "reads steps.jsonl",
    ),
    Check(
        "timing",
        "after",
        ("note", "doubt"),
        "After `paribus time STUDY`: a machine so busy that more than a third of the rounds were rejected (doubt). "
        "The baseline over again timed faster or slower than itself (doubt). A first step of more than 5 times a later "
        "one (note).",
        "Load that slows the steps and not the reference, such as of memory. Start-up beyond the fourth step. "
        "Another machine.",
        "none; the timing itself 4 steps and 3 to 10 rounds of about a third of a second",
    ),
    Check(
        "learning rate",
        "after",
        ("note", "doubt"),
        "Without tuning: one pair more at half and at double the learning rate of each verdict "
        "(`Study(extra_rates=...)`). A difference that speaks against the verdict by more than one pair scatters "
        "(doubt); else the numbers (note).",
        "Rates further away. A turn that is smaller than the noise of one pair. Recipes whose optimizer has no "
        "argument `lr`. Treatments without a verdict, and contrasts.",
        "two runs, and two of the baseline",
    ),
    Check(
        "tuning",
        "after",
        ("note", "doubt"),
        "With `Study(tuning=...)`: what each arm was tried with and what was chosen (note). A best value at the edge "
        "of what was tried, after the grid was extended (doubt).",
        "Hyper-parameters that were not named. A best value between two that were tried. Luck of one tuning seed.",
        "as many runs as trials times tuning seeds",
    ),
    Check(
        "size response",
        "after",
        ("note", "doubt"),
        "With `Study(width_response=...)`: what the baseline gains by being wider, and so how much of each difference "
        "the treatment's number of parameters alone would make; more than half of a difference that carries a verdict "
        "is a doubt.",
        "Sizes other than the number of parameters. A response that is no straight line over log parameters.",
        "two runs of the baseline for each of the first `min_seeds` seeds",
    ),
    Check(
        "noise floor",
        "after",
        ("doubt",),
        "After `paribus calibrate STUDY`: a margin below twice the sd that rounding alone gives a pair, or, where "
        "contrasts alone get verdicts, the noisiest of them.",
        "Noise of the seeds, which the intervals carry. Rounding in longer runs.",
        "up to ten runs of the baseline, half of which the study then has",
    ),
)
