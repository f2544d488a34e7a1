"""The five published documents as data: what they claim, what their code really compared, in our own words.

Nothing here was measured by paribus. What paribus says is read from ``results/`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

HARDWARE = "one seed each, RTX 4090"


@dataclass(frozen=True)
class Published:
    """One arm's figures as the document prints them; "" where it prints none."""

    arm: str
    val_loss: str
    accuracy: str
    perplexity: str
    time: str
    peak_memory: str = ""


@dataclass(frozen=True)
class Replicated:
    """A built-in study that asks again about a claim of the document.

    Args:
        paper_scale: its size there, "" where it has no paper scale.
        scale: where it is not the study's first scale.
    """

    study: str
    claim: str
    paper_scale: str = ""
    scale: str = ""

    @property
    def name(self) -> str:
        """What paribus calls its report, and the folder in ``results/``."""
        return f"{self.study}-{self.scale}" if self.scale else self.study

    @property
    def words(self) -> str:
        """What follows ``paribus run``."""
        return f"{self.study} --scale {self.scale}" if self.scale else self.study


@dataclass(frozen=True)
class Original:
    """One document.

    Args:
        claimed, compared: paragraphs of Markdown; ``(n)`` in ``compared`` is the number of a flaw.
    """

    title: str
    claimed: str
    compared: str
    published: tuple[Published, ...]
    replicated: tuple[Replicated, ...]


@dataclass(frozen=True)
class Flaw:
    """What was wrong, how it is known, and which checks of paribus look for it (names of ``audits.CHECKS``).

    Args:
        otherwise: what stands in the way of it where no check does.
    """

    what: str
    evidence: str
    checks: tuple[str, ...] = ()
    otherwise: str = ""


_MOE_256 = "d 256, 3 layers, 4 heads, d_ff 1024; sequence 256, batch 16 x 4; 1000 micro-steps (250 updates)"
_DENSE_512 = "dense, d 512, 6 layers, 8 heads, d_ff 2048; sequence 512, batch 32 x 4; 1000 micro-steps (250 updates)"

ORIGINALS = (
    Original(
        title='Attention ("Experiment 1, 10x longer")',
        claimed="""
            Three attentions in one mixture-of-experts model: plain multi-head attention; `lora`, latent
            attention with low-rank queries, keys and values; `enhanced`, the same with wider values, scaled
            positions and biases. Enhanced is said to win, with an effect size of Cohen's d = 2.121.
        """,
        compared="""
            Enhanced differs from lora in three things at once: value heads of 96 in place of 64, a bias on
            three projections, RoPE stretched by 2. The document credits two of them. Of the 987,648 parameters
            that it has more than lora, 983,040 are the wider values (7).

            One seed was run per arm. The effect size is the gap divided by the standard deviation of the three
            arms' means. With the baseline worst, that ratio lies between 2.121 and 2.449 whatever was trained
            (6).

            With no unrotated key dimensions, all heads share one key of width 64: this is not the whole of
            DeepSeek's latent attention. paribus adds an arm with a real split (32 unrotated, 32 rotated, values
            of 64), and arms that change one thing at a time.

            The 515.40 GFLOPs printed for every arm come from a formula without ranks, experts and head, so they
            are equal by construction. Counted, one forward batch of 32 x 512 costs 1959.3, 1849.8 and 1907.8
            GFLOP for plain, lora and enhanced.

            A later arm of the same code adds an all-true boolean mask to the scores, which masks nothing. It
            reached a loss of 0.017 by reading the next token (3).
        """,
        published=(
            Published("plain", "3.455628", ".369897", "31.678", "215.9 s", "15.975 GB"),
            Published("lora", "3.455685", ".371161", "31.680", "246.5 s", "18.800 GB"),
            Published("enhanced", "3.380159", ".383948", "29.375", "247.7 s", "18.922 GB"),
        ),
        replicated=(
            Replicated(
                "attention",
                "the enhanced latent attention wins, Cohen's d = 2.121",
                "mixture of 8 experts, d 512, 6 layers, 8 heads, d_ff 2048; sequence 512, batch 32 x 4; "
                "1000 micro-steps (250 updates)",
            ),
        ),
    ),
    Original(
        title='RMSNorm ("Experiment 3")',
        claimed="""
            PyTorch's `nn.RMSNorm` against the RMSNorm of DeepSeek-V3, which has an eps of 1e-6. The second is
            said to end 2.40 % lower and to be 2.5 % faster, "everything else identical".
        """,
        compared="""
            The two arms are the same function but for one eps: that of the final norm, one of seven norms. At
            equal eps their outputs differ by exactly 0. At equal weights the two models' logits differ by at
            most 2.5e-5 (4).

            The 2.40 % are 0.0494 nats. This document, the one on MLPs and the one on mixtures train the same
            baseline: 2.0551, 1.9876, 2.0774. The standard deviation of these three is 0.0468: the effect is
            about one of them.

            The code that was timed as 2.5 % faster is the same code. The same baseline took 1.21, 1.83 and 1.74
            minutes in the three documents (11).
        """,
        published=(
            Published("baseline", "2.055139", ".5874", "7.808", "1.214 min"),
            Published("treatment", "2.005752", ".5920", "7.432", "1.181 min"),
        ),
        replicated=(
            Replicated(
                "rmsnorm",
                "DeepSeek-V3's RMSNorm is 2.40 % better and 2.5 % faster",
                f"mixture of 8 experts, {_MOE_256}",
            ),
        ),
    ),
    Original(
        title='MLP ("Experiment 4")',
        claimed="""
            A ReLU MLP against the gated MLP of DeepSeek-V3 (SiLU) inside the same mixture of experts, by loss,
            accuracy and perplexity.
        """,
        compared="""
            The treatment's model has no causal mask and no positions: its attention is
            `nn.MultiheadAttention(x, x, x)`. Changing the tokens from place 20 on changes the predictions
            before place 20 (2). A model that can read the next token has a lower loss, whatever its MLP.

            The baseline is the model of the RMSNorm and mixture documents. Its experts use SiLU, not ReLU.

            The treatment also has 9.2 % more parameters (8).
        """,
        published=(
            Published("baseline", "1.987559", ".5965", "7.298", "1.834 min"),
            Published("treatment", "1.539225", ".6448", "4.661", "1.115 min"),
        ),
        replicated=(
            Replicated(
                "mlp",
                "the gated MLP of DeepSeek-V3 ends at 1.539, the ReLU MLP at 1.988",
                f"mixture of 8 experts, {_MOE_256}",
            ),
        ),
    ),
    Original(
        title='Mixture of experts ("Experiment 5")',
        claimed="""
            A mixture with softmax top-k routing, plain SiLU experts and a load-balancing loss against that of
            DeepSeek-V3: gated experts, sigmoid scores, group-limited top-k, a correction bias.
        """,
        compared="""
            As in the MLP document, the treatment's model has no causal mask and no positions (2).

            It has 24.3 % more parameters (8). The arms also differ in balancing loss, router noise, norm and
            initial weights (10).
        """,
        published=(
            Published("baseline", "2.077405", ".5758", "7.984", "1.743 min"),
            Published("treatment", "1.390571", ".6754", "4.017", "1.646 min"),
        ),
        replicated=(
            Replicated(
                "moe",
                "the DeepSeek-V3 mixture ends at 1.391, the baseline mixture at 2.077",
                f"mixture of 8 experts, {_MOE_256}",
            ),
        ),
    ),
    Original(
        title="LayerNorm or RMSNorm, in a transformer, a HyperMixer and an HRM",
        claimed="""
            A configuration switch between LayerNorm and RMSNorm in three kinds of model: transformer,
            HyperMixer and HRM, with SwiGLU and grouped-query heads. RMSNorm is said to have 50 % fewer norm
            parameters, to be a 10-15 % faster norm, and perhaps to converge faster.
        """,
        compared="""
            Both norms have hand-written gradients, and the gradients are wrong: finite differences disagree.
            The HyperMixer sees later tokens. The HRM never trains: its parameters get no gradient (17).

            The count holds by arithmetic, since LayerNorm has two vectors and RMSNorm one. At width 128 with
            three layers of two norms it is 1,536 against 768 in the blocks, 1,792 against 896 with the final
            norm.

            That the norm is 10-15 % faster is not judged here: times carry no verdict.

            paribus asks about the norms with `norm`, once in each kind of model, all of them causal and trained.
            `backbone` is a question of our own: how these models compare, with a looped transformer beside them.
        """,
        published=(),
        replicated=(
            Replicated(
                "norm",
                "RMSNorm has half the norm parameters and a 10-15 % faster norm, and may converge faster",
                _DENSE_512,
            ),
            Replicated("norm", "the same switch serves a HyperMixer", scale="hypermixer"),
            Replicated("norm", "the same switch serves an HRM", scale="hrm"),
            Replicated(
                "backbone",
                "none: a question of our own, how the three backbones compare",
                f"{_DENSE_512}; HyperMixer k 64, 8 heads; HRM 2 cycles of 2 steps, 2 low and 2 high blocks, 1 segment; "
                "looped transformer 3 blocks x 2",
            ),
        ),
    ),
)

FLAWS = (
    Flaw(
        "Training and validation overlap: windows at stride 1, split at random",
        "every scored validation token lies inside a training window; with a clean contiguous split one arm's loss was "
        "1.1587 in place of 0.0178",
        ("train/validation overlap",),
    ),
    Flaw(
        "No causal mask, no positions in the treatments on MLPs and mixtures",
        "changing tokens from place 20 on changes logits before it",
        ("causality",),
    ),
    Flaw(
        "A boolean mask that is added to the scores, not applied",
        "the same probe; loss 0.017, accuracy 99.7 %",
        ("causality",),
    ),
    Flaw(
        "Two arms that are the same function",
        "difference 0.0 at equal eps; one of seven norms changed",
        ("same function", "sites changed"),
    ),
    Flaw(
        "Arms built one after the other from one seed: other weights, data order and dropout",
        "0 of 14 shared tensors are equal",
        ("initial weights", "batches"),
    ),
    Flaw(
        "One seed per arm, and an effect size made of the arms' means",
        "arithmetic: from 3/sqrt(2) to sqrt(6) whatever was trained",
        otherwise="a verdict needs three pairs at least, and its interval comes from the pairs",
    ),
    Flaw(
        "Three changes in one arm, two of them credited",
        "983,040 of 987,648 added parameters are the third",
        ("several differences",),
    ),
    Flaw(
        "Unequal sizes: +9.2 % (MLP), +24.3 % (mixture), SwiGLU at an equal hidden width",
        "counts",
        ("parameters and FLOPs",),
    ),
    Flaw(
        "The schedule is counted in micro-steps and stepped per update",
        "arithmetic: the run ends at about 0.905 of the peak rate",
        ("schedule",),
    ),
    Flaw(
        "Balancing loss, router noise, norm and initial weights differ between arms",
        "read in the code",
        ("several differences", "undeclared difference"),
    ),
    Flaw(
        "The first arm pays for starting up; equal code is timed as different",
        "equal code took 1.21 to 1.83 min",
        otherwise="start-up is measured apart; times are shown and no verdict is made of them",
    ),
    Flaw(
        "Treatments put in after initialization keep another initial scale",
        "read in the code",
        ("initial weights",),
    ),
    Flaw(
        "The learning rate lies at the edge of its search, the default was never tried",
        "the search's own JSON",
        otherwise="paribus does not tune; each report says at which shared rate it holds",
    ),
    Flaw(
        "An arm whose part failed to import trained the baseline under its name",
        "its count equals the baseline's",
        ("sites changed",),
    ),
    Flaw(
        "Dead parameters, 51 M per layer",
        "no gradient after a step",
        ("dead parameters",),
    ),
    Flaw(
        "A benchmark score drawn from a random generator",
        "reproduced exactly from its seed",
        otherwise="every number of a report comes from a run's record, which holds its digest and its evaluations",
    ),
    Flaw(
        "Norms with wrong gradients, a HyperMixer that sees the future, an HRM that never trains",
        "finite differences; perturbation; empty gradients",
        ("conformance", "causality", "dead parameters"),
    ),
)
"""In the order of their numbers, from 1."""
