import planted_parts as planted
import pytest
from small_studies import BASELINE, audit_specs, make_study, the, worst
from torch import nn

from paribus.design.specs import spec
from paribus.nn import ALiBi, Attention, DyT, LayerNorm, Learned, PostNorm, RMSNorm, Sandwich, Sinusoidal, gpt2, llama


@pytest.mark.parametrize("recipe", [llama, gpt2])
def test_layer_norm_against_rms_norm_has_nothing_above_a_note(recipe, corpus):
    baseline = recipe(d_model=48, n_layers=3, n_heads=3, norm=spec(LayerNorm))
    study = make_study(baseline, arm=baseline.replace("*norm", spec(RMSNorm, eps=1e-5)), changes={"arm": ("*norm",)})
    findings = audit_specs(study, corpus)
    assert worst(findings) == []
    checks = [finding.check for finding in findings]
    assert checks == ["hidden difference", "train/validation overlap", "budget"]  # layer norm is a kernel


CLEAN = {
    "own norm": BASELINE.replace("*norm", spec(planted.RootMeanSquare)),
    "torch norm": BASELINE.replace("*norm", spec(nn.RMSNorm)),
    "dyt": BASELINE.replace("*norm", spec(DyT)),
    "sliding window": BASELINE.replace("*mixer", spec(Attention, window=5)),
    "soft-cap": BASELINE.replace("*mixer", spec(Attention, softcap=20.0)),
    "qk norm": BASELINE.replace("*mixer.qk_norm", spec(RMSNorm)),
    "alibi": BASELINE.replace("position", spec(ALiBi)),
    "learned positions": BASELINE.replace("position", spec(Learned)),
    "sinusoidal": BASELINE.replace("position", spec(Sinusoidal)),
    "linear attention": BASELINE.replace("*mixer", spec(planted.LinearAttention)),
    "fft in float32": BASELINE.replace("*mixer", spec(planted.FourierConvolution)),
    "weights per place": BASELINE.replace("*mixer", spec(planted.FixedMixing)),
    "zero start": BASELINE.replace("*mlp", spec(planted.ZeroStartMLP)),
    "wrapped": BASELINE.replace("*mixer", spec(planted.Wrapped, inner=spec(Attention))),
    "dropout": BASELINE.replace("dropout", 0.2),
    "post-norm": llama(d_model=32, n_layers=2, n_heads=2, norm=spec(LayerNorm), block=spec(PostNorm)),
    "sandwich": llama(d_model=32, n_layers=2, n_heads=2, norm=spec(LayerNorm), block=spec(Sandwich)),
}


@pytest.fixture(scope="module")
def findings(corpus):
    return audit_specs(make_study(treatments=CLEAN), corpus)


@pytest.mark.parametrize("arm", CLEAN)
def test_a_clean_arm_is_not_suspected(arm, findings):
    own = [f for f in findings if f.arm == arm and f.check != "parameters and FLOPs"]
    assert worst(own) == []


def test_nothing_is_said_against_the_baseline(findings):
    assert [f for f in findings if f.arm in ("baseline", None) and f.severity != "note"] == []


def test_a_norm_written_anew_is_recognized_though_its_gain_has_another_name(corpus):
    rms = BASELINE.replace("*norm", spec(RMSNorm))
    found = the("same function", audit_specs(make_study(rms, arm=CLEAN["own norm"]), corpus))
    assert found.severity == "note" and found.arm == "arm"
    assert found.evidence["relative_difference"] < 1e-12


def test_a_null_arm_that_is_the_same_function_needs_no_remark(corpus):
    rms = BASELINE.replace("*norm", spec(RMSNorm))
    findings = audit_specs(make_study(rms, arm=CLEAN["own norm"], null=("arm",)), corpus)
    assert [finding.check for finding in findings] == ["train/validation overlap", "budget"]
