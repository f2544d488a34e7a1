import numpy as np
import planted_parts as planted
import pytest
from small_studies import BASELINE, audit_specs, make_study, of, the

from paribus.data.corpus import Corpus
from paribus.data.held_out import Side
from paribus.design.specs import spec
from paribus.errors import PartError, SpecError
from paribus.nn import ExpertChoice, MoE, NoisyTopK, RMSNorm, TopK, sigmoid


@pytest.mark.parametrize(
    ("mixer", "blamed"),
    [
        (planted.UnmaskedAttention, "MultiheadAttention"),
        (planted.AddedMaskAttention, "AddedMaskAttention"),
        (planted.SilentUnmaskedAttention, "MultiheadAttention"),
    ],
)
def test_a_mixer_that_sees_the_future_is_invalid_and_named(mixer, blamed, corpus):
    study = make_study(arm=BASELINE.replace("blocks.1.mixer", spec(mixer)))
    found = the("causality", audit_specs(study, corpus))
    assert (found.severity, found.arm, found.site) == ("invalid", "arm", "blocks.1.mixer")
    assert found.evidence["class"] == blamed
    assert found.evidence["moved"] > 1e-3
    assert "blocks.1.mixer" in found.message


def test_a_norm_over_time_is_invalid_wherever_it_stands(corpus):
    study = make_study(arm=BASELINE.replace("final_norm", spec(planted.TimeNorm)))
    found = the("causality", audit_specs(study, corpus))
    assert (found.severity, found.site, found.evidence["class"]) == ("invalid", "final_norm", "TimeNorm")


def test_the_first_of_several_leaks_is_blamed(corpus):
    study = make_study(arm=BASELINE.replace("*mixer", spec(planted.UnmaskedAttention)))
    assert the("causality", audit_specs(study, corpus)).site == "blocks.0.mixer"


def test_a_leak_below_a_composite_is_traced_to_its_own_site(corpus):
    leak = spec(planted.Wrapped, inner=spec(planted.UnmaskedAttention))
    study = make_study(arm=BASELINE.replace("blocks.0.mixer", leak))
    assert the("causality", audit_specs(study, corpus)).site == "blocks.0.mixer.inner"


def test_experts_that_choose_their_tokens_see_the_future_and_tokens_that_choose_theirs_do_not(corpus):
    routers = {
        "expert choice": spec(ExpertChoice, top_k=1),
        "noisy": spec(NoisyTopK),
        "balanced": spec(TopK, score=sigmoid, n_groups=2, bias_rate=0.1, noise_std=0.1),
    }
    arms = {name: BASELINE.replace("*mlp", spec(MoE, n_experts=4, router=router)) for name, router in routers.items()}
    found = the("causality", audit_specs(make_study(treatments=arms), corpus))
    # A router returns no tensor that could be watched, so the part that asks it is blamed.
    assert (found.severity, found.arm, found.site) == ("invalid", "expert choice", "blocks.0.mlp")


def test_a_mask_that_is_forgotten_in_evaluation_is_found(corpus):
    study = make_study(arm=BASELINE.replace("*mixer", spec(planted.MaskedInTrainingAlone)))
    found = the("causality", audit_specs(study, corpus))
    assert found.severity == "invalid"
    assert found.evidence["mode"] == "evaluation"


def test_a_baseline_that_sees_the_future_is_found_too(corpus):
    leaking = BASELINE.replace("*mixer", spec(planted.UnmaskedAttention))
    findings = of("causality", audit_specs(make_study(leaking, arm=BASELINE), corpus))
    assert [(f.arm, f.severity) for f in findings] == [("baseline", "invalid")]


def test_statistics_over_the_batch_leak_between_rows_and_not_in_time(corpus):
    study = make_study(arm=BASELINE.replace("blocks.0.mlp_norm", spec(planted.BatchStatistics)))
    findings = audit_specs(study, corpus)
    found = the("row leakage", findings)
    assert (found.severity, found.site) == ("invalid", "blocks.0.mlp_norm")
    assert found.evidence["mode"] == "training"
    assert of("causality", findings) == []


def test_a_model_whose_noise_nothing_fixes_cannot_be_cleared(corpus):
    study = make_study(arm=BASELINE.replace("final_norm", spec(planted.RestlessNorm)))
    found = the("causality", audit_specs(study, corpus))
    assert found.severity == "doubt"
    assert "cannot be told" in found.message


def test_a_parameter_that_nothing_uses_is_doubted_by_name_and_count(corpus):
    study = make_study(arm=BASELINE.replace("*mlp", spec(planted.HalfDeadMLP)))
    found = the("dead parameters", audit_specs(study, corpus))
    assert found.severity == "doubt"
    assert found.evidence["parameters"] == 2 * (32 * 128 + 128)
    assert found.evidence["tensors"][:2] == ["blocks.0.mlp.forgotten.weight", "blocks.0.mlp.forgotten.bias"]


def test_a_frozen_parameter_is_noted_and_not_called_dead(corpus):
    study = make_study(arm=BASELINE.replace("*mlp", spec(planted.FrozenMLP)))
    found = the("dead parameters", audit_specs(study, corpus))
    assert found.severity == "note"
    assert "frozen" in found.message


def test_a_model_without_logits_is_refused_with_its_arm_and_both_shapes(corpus):
    study = make_study(arm=spec(planted.Headless))
    with pytest.raises(PartError, match=r"^arm 'arm', site model \(Headless\): .*\(2, 24, 8\).*\(2, 24, 257\)"):
        audit_specs(study, corpus)


def test_an_exception_in_a_users_forward_names_the_arm_and_the_site(corpus):
    study = make_study(arm=BASELINE.replace("*mixer", spec(planted.Broken)))
    with pytest.raises(PartError, match=r"^arm 'arm', site blocks.0.mixer \(Broken\): RuntimeError"):
        audit_specs(study, corpus)


def test_an_arm_that_cannot_be_built_names_the_arm_and_the_missing_argument(corpus):
    study = make_study(arm=BASELINE.replace("*mlp", spec(planted.Wrapped)))
    with pytest.raises(SpecError, match=r"^arm 'arm': Wrapped needs 'inner'"):
        audit_specs(study, corpus)


def test_the_same_document_twice_is_kept_on_one_side_and_not_suspected(write_corpus, draw_documents):
    documents = draw_documents(30)
    found = the("train/validation overlap", audit_specs(_norm_study(), write_corpus(documents + documents[:10])))
    assert (found.severity, found.remedy) == ("note", "")
    assert found.evidence["shared_share"] == 0


def test_a_tokenizer_that_loses_text_is_doubted_with_the_share(corpus):
    lossy = {**corpus.manifest, "tokenizer": {**corpus.manifest["tokenizer"], "round_trip": 0.75}}
    findings = audit_specs(_norm_study(), Corpus(corpus.folder, lossy))
    found = the("tokenizer loses text", findings)
    assert (found.severity, found.arm, found.evidence) == ("doubt", None, {"round_trip": 0.75})
    assert "75.0%" in found.message
    assert of("tokenizer loses text", audit_specs(_norm_study(), corpus)) == []


def test_a_training_document_among_the_scored_ones_is_invalid(corpus):
    (found, share) = of("train/validation overlap", audit_specs(_norm_study(), Leaking(corpus.folder, corpus.manifest)))
    assert (found.severity, share.severity) == ("invalid", "invalid")
    assert found.evidence["duplicate_documents"] == found.evidence["documents"] == len(corpus.side("validation").ends)


class Leaking(Corpus):
    """A corpus whose validation side is a part of its training side."""

    def side(self, name):
        train, held_out = super().side("train"), super().side("validation")
        if name != "train":
            return super().side(name)
        ends = np.concatenate([train.ends, train.ends[-1] + held_out.ends])
        return Side(name, np.concatenate([train.tokens, held_out.tokens]), ends, None)


def test_windows_of_one_text_as_documents_leak_and_are_invalid(write_corpus, draw_documents):
    words = draw_documents(1, words=2_000)[0].split()
    windows = [" ".join(words[i : i + 40]) for i in range(0, 1_960, 15)]
    found = the("train/validation overlap", audit_specs(_norm_study(), write_corpus(windows)))
    assert found.severity == "invalid"
    assert found.evidence["shared_share"] > 0.5


def test_a_header_in_every_document_is_doubted_and_not_refused(write_corpus, draw_documents):
    documents, header = draw_documents(40, words=60), draw_documents(1, words=30, seed=9)[0]
    found = the(
        "train/validation overlap", audit_specs(_norm_study(), write_corpus([header + " " + d for d in documents]))
    )
    assert found.severity == "doubt"
    assert 0.15 < found.evidence["shared_share"] < 0.5


def _norm_study():
    return make_study(arm=BASELINE.replace("*norm", spec(RMSNorm)))
