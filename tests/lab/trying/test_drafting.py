import pytest

from paribus.design.specs import initialized
from paribus.design.study_files import read_study
from paribus.errors import PartError, StudyError
from paribus.lab.trying import draft, examine
from paribus.lab.trying.drafting import RECIPES

FILE = """
import numpy as np
import torch
import paribus as pb
from torch import nn

class TanhNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        return self.gain * x.tanh()

class Decay(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.out = nn.Linear(dim, dim, bias=False)
    def forward(self, x):
        return self.out(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])

class Wide(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
    def forward(self, x):
        return self.down(self.up(x).relu())

class Chooser(pb.nn.TopK):
    def __init__(self, d_model, n_experts):
        super().__init__(d_model, n_experts, top_k=2)

class Sines(pb.nn.Sinusoidal):
    pass

class Layer(pb.nn.PreNorm):
    pass

class Bigram(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
    def forward(self, tokens):
        return self.table(tokens)

class SignDescent(torch.optim.Optimizer):
    def __init__(self, params, lr=0.001):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign()

class Half:
    def __call__(self, step, steps):
        return 0.5

class Stories:
    vocab_size = 5
    def documents(self, side):
        return [np.array([i % 5, (i // 5) % 5, len(side) % 5]) for i in range(20)]

def surprise(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]

surprise_metric = pb.Metric("surprise", "nats", measure=surprise)

class baseline(TanhNorm):
    pass

class Silent(TanhNorm):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)

class Hidden(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layers = [nn.Linear(dim, dim)]
    def forward(self, x):
        return self.layers[0].to(x.dtype)(x)

class Peeking(nn.Module):
    def forward(self, x):
        return x.flip(1)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drafted.py").write_text(FILE)
    return tmp_path


def write(name, arguments=None, **options):
    return draft(examine(f"drafted.py:{name}", arguments=arguments), **options)


@pytest.mark.parametrize(
    ("name", "arguments", "sites", "declared"),
    [
        ("TanhNorm", {}, 7, "*norm"),  # 3 layers with two norms each, and the final one
        ("Decay", {}, 3, "*.mixer"),
        ("Wide", {"hidden": 17}, 3, "*.mlp"),
        ("Chooser", {}, 3, "*.router"),
        ("Sines", {}, 1, "position"),
        ("Layer", {}, 3, "blocks.*"),
        ("Bigram", {}, 1, "*"),
        ("SignDescent", {}, 1, "training.optimizer"),
        ("Half", {}, 1, "training.schedule"),
    ],
)
def test_the_study_changes_every_site_of_the_slot_and_declares_no_more(name, arguments, sites, declared):
    study = read_study(write(name, arguments)).choose()
    assert study.primary == (name,)
    for arm in study.treatments:
        assert len(study.diff(arm)) == sites
        assert study.changes[arm] == (declared,)
    assert "as good as" in study.question


@pytest.mark.parametrize("name", ["Decay", "Wide", "Bigram"])
def test_weights_that_torch_draws_by_default_are_drawn_as_the_models_and_left_in_a_second_arm(name, here):
    arguments = {"hidden": 17} if name == "Wide" else {}
    path = write(name, arguments)
    study = read_study(path).choose()
    assert list(study.treatments) == [name, f"{name}, its own init"]

    def part(arm):
        model = study.treatments[arm].model
        return model if name == "Bigram" else model["blocks.0.mixer" if name == "Decay" else "blocks.0.mlp"]

    assert part(name) == initialized(part(f"{name}, its own init"))
    path.unlink()
    own = read_study(write(name, arguments, init="own")).choose()
    assert own.treatments[name].model.to_json() == study.treatments[f"{name}, its own init"].model.to_json()
    assert list(own.treatments) == [name]


@pytest.mark.parametrize("name", ["TanhNorm", "Sines", "Chooser", "Half"])
def test_a_class_without_such_weights_is_one_arm(name):
    assert list(read_study(write(name)).choose().treatments) == [name]


def test_an_init_that_is_none_is_refused(here):
    with pytest.raises(StudyError, match="there is no init 'modle'; did you mean 'model'"):
        write("Decay", init="modle")
    assert not list(here.glob("try_*.py"))


def test_the_arguments_that_were_given_stand_in_the_file():
    path = write("Wide", {"hidden": 17})
    assert "pb.spec(Wide, hidden=17)" in path.read_text()
    assert path.name == "try_wide.py"


def test_the_recipe_and_the_corpus_are_those_of_the_study_norm():
    study, norm = read_study(write("TanhNorm")).choose(), read_study("norm").choose()
    assert study.training == norm.training.replace(target_loss=None)
    assert study.data == norm.data


def test_an_optimizer_is_compared_at_each_arm_s_best_rate():
    assert read_study(write("SignDescent")).choose().tuning is not None
    assert read_study(write("TanhNorm")).choose().tuning is None


def test_a_baseline_may_be_a_recipe_or_a_study(here):
    assert "pb.nn.gpt2(" in write("TanhNorm", baseline="gpt2").read_text()
    (here / "try_tanh_norm.py").unlink()
    study = read_study(write("TanhNorm", baseline="mlp")).choose()
    other = read_study("mlp").choose()
    assert (study.baseline, study.training, study.margin) == (other.baseline, other.training, other.margin)


def test_every_recipe_offered_can_be_the_baseline(here):
    for name in RECIPES:
        assert read_study(write("TanhNorm", baseline=name)).choose().diff("TanhNorm")
        (here / "try_tanh_norm.py").unlink()


def test_a_data_set_takes_over_another_study_s_question():
    study = read_study(write("Stories")).choose()
    assert study.question == "Is RMSNorm as good as LayerNorm in a transformer, on Stories?"
    assert study.data.cls.__name__ == "Stories"
    assert list(study.treatments) == list(read_study("norm").choose().treatments)


def test_a_metric_takes_over_another_study_s_question_and_asks_for_its_own_margin():
    with pytest.raises(StudyError, match="say with --margin which difference, in nats, is worth acting on"):
        write("surprise_metric")
    study = read_study(write("surprise_metric", margin=0.25, baseline="rmsnorm")).choose()
    assert (study.metric.key, study.margin) == ("surprise", 0.25)
    assert study.baseline == read_study("rmsnorm").choose().baseline


def test_a_margin_that_is_given_is_the_study_s():
    assert read_study(write("TanhNorm", margin=0.5)).choose().margin == 0.5


@pytest.mark.parametrize("margin", [float("nan"), float("inf"), -1.0])
def test_a_margin_that_is_none_is_refused_before_anything_is_written(here, margin):
    with pytest.raises(StudyError, match="margin must be finite and not negative"):
        write("TanhNorm", margin=margin)
    assert not list(here.glob("try_*.py"))


def test_a_class_with_a_name_that_the_file_needs_is_refused():
    with pytest.raises(StudyError, match="cannot import 'baseline' under that name"):
        write("baseline")


def test_a_class_in_a_file_with_the_study_files_name_is_refused(here):
    (here / "try_tanh_norm.py").write_text(FILE)
    with pytest.raises(StudyError, match="is the name of the study file, and holds the class"):
        draft(examine("try_tanh_norm.py:TanhNorm"))


def test_the_file_says_the_command_that_wrote_it():
    text = write("Wide", {"hidden": 17}, baseline="gpt2", margin=0.5).read_text()
    assert "Written by `paribus try drafted.py:Wide --set=hidden=17 --baseline=gpt2 --margin=0.5`." in text


@pytest.mark.parametrize(
    ("name", "slot", "said"),
    [("Silent", None, "trains every parameter: RuntimeError"), ("Hidden", "mlp", "layers holds weights that torch")],
)
def test_a_class_that_cannot_train_is_refused(name, slot, said):
    with pytest.raises(PartError, match=said):
        draft(examine(f"drafted.py:{name}", slot))


def test_writing_the_same_again_changes_nothing_and_an_edit_is_never_overwritten():
    path = write("TanhNorm")
    assert write("TanhNorm") == path
    path.write_text(path.read_text().replace('"*norm"', '"final_norm"'))
    with pytest.raises(StudyError, match=r"try_tanh_norm.py is there already .* run it with `paribus run"):
        write("TanhNorm")
    assert '"final_norm"' in path.read_text()


@pytest.mark.parametrize(
    ("name", "baseline", "said"),
    [
        ("TanhNorm", "lama", "no baseline 'lama'; did you mean 'llama'"),
        ("TanhNorm", "zebra", "recipes are llama, .*; the built-in studies are attention, "),
        ("Chooser", "llama", "the baseline has no router; choose another, such as --baseline mixtral"),
        ("Stories", "llama", "is a model and no study, .*; the built-in studies are attention, "),
    ],
)
def test_a_baseline_that_will_not_do_is_named_with_one_that_will(here, name, baseline, said):
    with pytest.raises(StudyError, match=said):
        write(name, baseline=baseline)
    assert not list(here.glob("try_*.py"))


def test_a_class_whose_verdict_could_only_be_invalid_is_refused_before_anything_is_written(here):
    with pytest.raises(PartError, match=r"Peeking as mixer cannot be judged:\n  is causal: later tokens move"):
        write("Peeking")
    assert not list(here.glob("try_*.py"))
