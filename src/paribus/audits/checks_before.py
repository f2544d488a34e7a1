"""The checks before training: from specs, built models and the corpus. No torch."""

from paribus.audits.context import Check

BEFORE = (
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
        "More than one kind of change in one treatment, the recipe included, and which of them have an arm of "
        "their own; from the baseline, or from another treatment with the same new class. An argument, such as "
        "eps, whose value changes along with the class of its site.",
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
        "state size",
        "before",
        ("note",),
        "More than 1 % more or fewer numbers kept of a sequence of the study's length while decoding: what "
        "`state_size(seq_len)` of each mixer says, else what its `step` returns, for every time it runs in a pass.",
        "A mixer with neither. What other parts keep. Memory of training.",
        "one more construction without memory; up to 128 steps of each mixer without `state_size`",
    ),
    Check(
        "tokens and steps",
        "before",
        ("note", "doubt"),
        "More than 1 % (note) or 5 % (doubt, unless declared in `changes`) more or fewer training tokens or "
        "optimizer steps than the baseline.",
        "Tokens that are read and not trained on. Work inside a step.",
        "none",
    ),
    Check(
        "causality",
        "before",
        ("note", "doubt", "invalid"),
        "A logit that moves by more than 1e-9 in float64 when a later token changes, with random weights, "
        "in training and in evaluation mode; it names the part. Doubt where a model cannot be tried, a note where only "
        "the order moves in which noise is drawn.",
        "A leak that opens only in longer windows than 128 tokens (32 for large models), or only between two "
        "neighbours that none of 17 places separates. A custom `loss` that reads the targets. "
        "A leak that needs rare tokens, or that opens only after training has gone on: it is tried at random weights "
        "and before the first step.",
        "8 passes over eight short sequences in float64, for these three checks together",
    ),
    Check(
        "row leakage",
        "before",
        ("note", "invalid"),
        "A logit that moves by more than 1e-9 when another sequence of the batch changes, such as under batch norm. "
        "A note where only the order moves in which noise is drawn.",
        "A leak that needs a large batch, such as a capacity that eight sequences do not fill.",
        "none besides causality",
    ),
    Check(
        "state between passes",
        "before",
        ("invalid",),
        "A logit that moves by more than 1e-9 once the model has seen another batch: what a part keeps in an "
        "attribute, or in a buffer that evaluation moves.",
        "What only training keeps in a buffer, such as running statistics, by design. State that a gradient moves.",
        "none besides causality",
    ),
    Check(
        "dead parameters",
        "before",
        ("note", "doubt"),
        "A tensor that gets no gradient at all on three batches, each with its own random weights (doubt). "
        "A frozen tensor, or a slice of a stack that gets none, such as one expert (note).",
        "A dead part of a matrix, such as one unit. A gradient of rounding size. A tensor that dies in training.",
        "one to three forward and backward passes over four short sequences",
    ),
    Check(
        "conformance",
        "before",
        ("note", "doubt", "invalid"),
        "Each part that is not paribus's own, by the suite of `check_part`: a gradient that is not the derivative, "
        "two equal calls that differ, a second reset that differs, weights in a plain list or dict (doubt), a causal "
        "or row leak that the whole model does not show (doubt), a wrong shape at its site (doubt), anything else "
        "(note). Parameters or buffers that differ between two constructions with one seed (invalid). Varied "
        "parameters that are equal for two seeds (note).",
        "What shows at real sizes alone. A part that cannot be tried alone (note). Parts without a slot, heads, and "
        "whole models above 5 million parameters.",
        "none without such parts; 0.1 seconds for each, and two more constructions of the arm",
    ),
    Check(
        "same function",
        "before",
        ("note", "doubt"),
        "Two arms of different specs whose logits agree at equal weights, to 1e-9 (the same) or 1e-4 (nearly the same) "
        "of their size. A null arm that is not the baseline's function (doubt).",
        "The same function with its weights stored in another shape, order or scale, such as ordinary attention from "
        "separate projections in a class of your own. What differs in evaluation alone.",
        "two passes over two short sequences in float64",
    ),
    Check(
        "silent substitute",
        "before",
        ("doubt", "invalid"),
        "An arm that computes the baseline's function and whose logits, in training and in evaluation, still have the "
        "baseline's bits after each of three steps, from the real initial weights with the real optimizer: a "
        "fallback, or an argument that nothing reads. A doubt where the arm counts steps, in a buffer or in a plain "
        "number of a class of your own, and so may differ later. Not asked of null arms.",
        "A substitute that starts from other weights or stores them in other shapes, such as ordinary attention from "
        "separate projections in a class of your own. A change after the third step whose steps are counted elsewhere.",
        "none but for arms of the same function: three steps on two windows",
    ),
    Check(
        "unsteady training",
        "before",
        ("doubt",),
        "A recipe whose optimizer is neither torch's nor paribus's, and whose first three steps, taken twice from one "
        "seed, give other bits: noise from a generator that nothing seeds.",
        "Noise that sets in later. The training of arms with a built-in optimizer is not tried.",
        "none without such an optimizer; else six steps on two windows for each recipe",
    ),
    Check(
        "hidden difference",
        "before",
        ("note", "doubt"),
        "What only the built models show: noise in training that no number in the spec turns off, noise in evaluation, "
        "weights or activations in another type, a loss that is not the cross-entropy, an auxiliary loss away from the "
        "changes, weights that `after_step()`, `train()` or `eval()` moves in one arm alone, settings of the process "
        "that a part moves, averaged weights of an arm that moves its weights after each step (doubt). A router's "
        "noise, an auxiliary loss at a change, weights moved in a part that changes or where nothing else does, "
        "operations in one kernel that the baseline writes out, or the other way round (note).",
        "Noise from a generator that is not torch's. How strong the same noise is. Kernels of other devices. "
        "Weights that are moved after the second step only, or in a forward pass. "
        "Global state that every arm sets alike is told once, of the baseline.",
        "one pass over three short sequences, two more for a model with noise, two for one with its own loss; two "
        "steps where a class of your own has one of these methods",
    ),
    Check(
        "initial scale",
        "before",
        ("note", "doubt"),
        "Tensors of equal path and shape whose standard deviation at the start is 1.5 times the baseline's, or less "
        "than 1 / 1.5 of it: doubt where the whole model is the user's class or nothing above them changed, else a "
        "note. A changed part that returns three times, or a third of, what the baseline's does (note).",
        "Tensors of other names or shapes, other than by what their part returns. Constant tensors and those of fewer "
        "than 64 numbers.",
        "none besides hidden difference",
    ),
    Check(
        "optimizer groups",
        "before",
        ("doubt",),
        "Tensors of equal path and shape that the same recipe's optimizer trains with other settings, such as a "
        "learning rate, a weight decay or another rule.",
        "Tensors of other names or shapes. What an optimizer of your own decides while it steps.",
        "one construction of the optimizer",
    ),
    Check(
        "metric",
        "before",
        ("doubt",),
        "A study judged on the training loss where an arm is trained on a `loss` of its own that is not the "
        "cross-entropy.",
        "Terms that come in later in training.",
        "two passes over two sequences, and only in such a study",
    ),
    Check(
        "counted tokens",
        "before",
        ("doubt",),
        "In a study judged on a metric of the user's own: other held-out tokens that count where the predictions are "
        "random, right or wrong. A metric that raises, counts no token, does not depend on the predictions or gives "
        "other values the second time is refused.",
        "A choice of tokens that only a trained model's predictions change.",
        "six passes of the metric over the first held-out tokens that count, and only in such a study",
    ),
    Check(
        "planned schedule",
        "before",
        ("note", "doubt"),
        "A schedule that decays and stops above 0.5 of its peak, or has a negative factor (doubt). One that stops "
        "above 0.15, never decays, takes more than 30 % of the steps to its peak, or whose largest factor is not 1 "
        "(note).",
        "Groups with rates of their own. Schedules inside an optimizer.",
        "one call a step, 10,000 at most",
    ),
    Check(
        "extra rates",
        "before",
        ("note",),
        "An optimizer without an argument `lr` (or `..._lr`) in a study that is not tuned: no pair is trained at "
        "another learning rate.",
        "A rate that another argument sets as well.",
        "none",
    ),
    Check(
        "corpus",
        "before",
        ("note", "doubt"),
        "A corpus that `check` could not read, so that nothing is known of its split (doubt). Another corpus than the "
        "study file's, named with `--data`, and the tokenizer that was trained for it (note).",
        "What the other corpus holds.",
        "none",
    ),
    Check(
        "train/validation overlap",
        "before",
        ("note", "doubt", "invalid"),
        "A scored document that is a training document, token for token (invalid; in data of the user's own, short "
        "ones that repeat as often in training are a note, and 1 % or fewer a doubt). The share of the scored "
        "side's passages of 50 bytes that stand in the training text: above 50 % invalid, above 15 % doubt, else a "
        "note. In data of the user's own, passages without the bytes are as many tokens as hold 64 bits by single "
        "frequencies, and the excess over what training documents share with each other counts: pictures have empty "
        "grounds. The share of scored documents that begin with what a training document ends with, in 32 bits or "
        "more, as windows of one text do: the same limits. In data of the user's own also documents more than half "
        "of which is one training document, in passages that at most 5 % of the training documents hold: above 5 % "
        "doubt.",
        "Paraphrases, translations, shorter quotations, and what a pretrained tokenizer has seen. Windows that lie "
        "side by side. A text altered at every few bytes, such as every 12th byte replaced. Altered copies on both "
        "sides, changed every 30 tokens or fewer, or of so few originals that each is in over 5 % of training. "
        "Statistics of held-out files that a model reads from disk itself. It doubts honest documents of two or three "
        "numbers without noise, such as pure sines.",
        "about a second per 3 million tokens; three times that in data of the user's own",
    ),
    Check(
        "vocabulary",
        "before",
        ("note", "doubt"),
        "In data of the user's own: ids that are scored and never occur in training. More than 1 % of the scored "
        "ids, and 5 or more, are a doubt where every id of the vocabulary occurs somewhere, which shows a "
        "vocabulary made from all text, or where they are 5 % of the scored tokens. A ready-made tokenizer (note).",
        "A vocabulary whose size or order comes from held-out text while training shows all of it. What a "
        "ready-made tokenizer was made of.",
        "none for Bytes and BPE, which are made of the training documents; else one pass over the tokens",
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
        "budget",
        "before",
        ("note", "doubt"),
        "Training tokens per active parameter, and passes over the training side: more than 20 are a doubt.",
        "How much of the text repeats within one pass.",
        "none",
    ),
    Check(
        "repeated look",
        "before",
        ("doubt",),
        "Pairs of runs that an earlier registration in this store has judged already: the error rate holds for the "
        "first look at them.",
        "Looks at the same runs in another store.",
        "none",
    ),
)
