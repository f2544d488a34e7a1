import pytest

from paribus.cli.texts import examination_text
from paribus.errors import PartError, SpecError, StudyError
from paribus.lab.trying import examine

FILE = """
import numpy as np
import paribus as pb
import torch
from torch import nn

class HalfNorm(nn.Module):
    def __init__(self, dim, share=0.5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        half = x.shape[-1] // 2
        scale = torch.rsqrt(x[..., :half].square().mean(-1, keepdim=True) + 1e-6)
        return torch.cat([x[..., :half] * scale, x[..., half:]], -1) * self.gain

class Peeking(nn.Module):
    def forward(self, x):
        return x.flip(1)

class Wide(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
    def forward(self, x):
        return self.down(self.up(x).relu())

class Frozen(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
    def forward(self, x):
        return x * self.gain.detach()

class Pair(nn.Module):
    def forward(self, x):
        return x, x

class SignDescent(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign()

class Stubborn(SignDescent):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= 0.01 * p.grad.sign()

class Forgetful(SignDescent):
    seen = 0
    @torch.no_grad()
    def step(self):
        self.seen += 1
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] / self.seen * p.grad.sign()

class Needy(SignDescent):
    def __init__(self, params, lr, decay):
        super().__init__(params, lr)

class Half:
    def __call__(self, step, steps):
        return 0.5

class Rising:
    def __call__(self, step, steps):
        return 1 + step

class Stories:
    vocab_size = 5
    def documents(self, side):
        return [np.array([i % 5, (i // 5) % 5, len(side) % 5]) for i in range(20)]

def surprise(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]

def flat(logits, targets):
    return logits.mean()

surprise_metric = pb.Metric("surprise", "nats", measure=surprise)
flat_metric = pb.Metric("flat", "nats", measure=flat)

class Wild(Stories):
    def documents(self, side):
        return [np.array([1, 7])] * 20
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examined.py").write_text(FILE)


def failed(name, **arguments):
    return {check.name for check in examine(f"examined.py:{name}", arguments=arguments).failed}


def test_a_norm_is_found_to_be_one_and_passes():
    found = examine("examined.py:HalfNorm")
    assert (found.slot, found.others, found.failed) == ("norm", ("mlp", "mixer", "block"), ())
    assert len(found.checks) >= 10


def test_what_fails_is_named_with_its_numbers():
    (check,) = examine("examined.py:Peeking").failed
    assert check.name == "is causal"
    assert "at most 1e-09 allowed" in check.detail


def test_dead_parameters_are_found():
    assert "trains every parameter" in failed("Frozen")


def test_missing_arguments_are_asked_for_by_name_and_taken():
    with pytest.raises(SpecError, match=r"Wide needs 'hidden', which nothing around it gives; say --set hidden=\.\.\."):
        examine("examined.py:Wide")
    assert examine("examined.py:Wide", arguments={"hidden": 7}).slot == "mlp"


def test_an_argument_that_the_class_does_not_take_is_an_error_with_the_nearest_one():
    with pytest.raises(SpecError, match="takes no argument 'shar'; did you mean 'share'"):
        examine("examined.py:HalfNorm", arguments={"shar": 1})


def test_a_text_in_place_of_a_number_is_refused():
    with pytest.raises(SpecError, match=r"HalfNorm: share is 0\.5 by default, got the text 'half'"):
        examine("examined.py:HalfNorm", arguments={"share": "half"})


def test_a_width_that_the_user_states_is_the_one_tried():
    assert examine("examined.py:Wide", arguments={"dim": 30, "hidden": 7}).failed == ()


def test_a_slot_that_does_not_exist_is_an_error_with_the_nearest_one():
    with pytest.raises(StudyError, match="no slot 'nrom'; did you mean 'norm'"):
        examine("examined.py:HalfNorm", slot="nrom")


def test_a_slot_that_is_named_is_the_one_examined():
    assert examine("examined.py:HalfNorm", slot="mlp").slot == "mlp"


def test_where_behaviour_does_not_decide_the_slot_is_asked_for():
    with pytest.raises(StudyError, match="it may stand as norm or mlp; say --slot norm or --slot mlp"):
        examine("torch.nn:Identity")


def test_a_class_that_fits_no_slot_is_told_why_of_each():
    with pytest.raises(PartError, match="Pair does not fit as norm, mlp, mixer or block: forward returns a tuple"):
        examine("examined.py:Pair")


def test_an_optimizer_that_obeys_and_resumes_passes():
    assert failed("SignDescent") == set()


def test_an_optimizer_that_ignores_its_rate_or_forgets_its_state_is_found():
    assert failed("Stubborn") == {"obeys its learning rate"}
    assert failed("Forgetful") == {"goes on from its state"}


def test_an_optimizer_s_missing_arguments_are_asked_for_without_its_parameters():
    with pytest.raises(SpecError, match="Needy needs 'lr', 'decay', which"):
        examine("examined.py:Needy")


def test_an_optimizer_has_no_slot():
    with pytest.raises(StudyError, match="SignDescent, of the kind optimizer, stands in no slot"):
        examine("examined.py:SignDescent", slot="norm")


def test_a_schedule_keeps_between_nought_and_one():
    assert failed("Half") == set()
    assert failed("Rising") == {"gives a factor"}


def test_a_data_set_keeps_its_contract_or_is_told_where_not():
    assert failed("Stories") == set()
    (check,) = examine("examined.py:Wild").failed
    assert "7" in check.detail and not check.ran


def test_a_metric_is_tried_on_toy_logits():
    assert failed("surprise_metric") == set()
    (check,) = examine("examined.py:flat_metric").failed
    assert check.name == "measures tokens" and "flat" in check.detail


def test_a_metric_takes_no_arguments():
    with pytest.raises(StudyError, match="is a Metric, which is made already; leave share out"):
        examine("examined.py:surprise_metric", arguments={"share": 1})


def test_the_screen_is_narrow_and_marks_what_failed():
    text = examination_text(examine("examined.py:Peeking"))
    assert max(map(len, text.splitlines())) < 80
    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("FAIL")] == ["FAIL  is causal"]
    assert text.splitlines()[-1] == "Peeking as mixer: 9 of 10 checks passed"
