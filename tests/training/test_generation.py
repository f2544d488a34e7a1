import itertools
import math

import pytest
import torch
from torch import nn

from paribus.errors import TrainingError
from paribus.training.generation import MOST_PREFIXES, generate, measure_decoding, score_tokens


class Bigram(nn.Module):
    """logits of the next token = the row of this token in a table."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table))

    def forward(self, tokens):
        return self.table[tokens]


class CountsTokens(nn.Module):
    """Says how many tokens it reads: the most likely next token is their number."""

    def forward(self, tokens):
        length = torch.full(tokens.shape, tokens.shape[1])
        return nn.functional.one_hot(length, 50).float()


CYCLE = [[0.0, 1.0, 3.0], [5.0, 2.0, 4.0], [-1.0, 0.5, 0.0]]  # the largest of each row: 0 -> 2 -> 1 -> 0


def test_greedy_text_follows_the_largest_number_of_each_row():
    written = generate(Bigram(CYCLE), torch.tensor([[0], [1]]), 5)
    assert written.tolist() == [[2, 1, 0, 2, 1], [0, 2, 1, 0, 2]]


def test_of_equal_logits_the_first_is_taken():
    assert generate(Bigram([[1.0, 2.0, 2.0]] * 3), torch.tensor([[0]]), 2).tolist() == [[1, 1]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_tokens_follow_the_softmax_of_the_divided_logits(temperature):
    logits, n = [1.0, 0.0, -1.0, 2.0], 20_000
    generator = torch.Generator().manual_seed(0)
    written = generate(Bigram([logits] * 4), torch.zeros(n, 1, dtype=torch.long), 1, temperature, generator)
    weights = [math.exp(logit / temperature) for logit in logits]
    for token, weight in enumerate(weights):
        p = weight / sum(weights)
        # 4.5 standard deviations of a binomial: once in 12,000 such tests of twelve shares.
        assert abs((written == token).sum().item() - n * p) < 4.5 * math.sqrt(n * p * (1 - p))


def test_at_a_temperature_near_zero_sampling_is_greedy():
    generator = torch.Generator().manual_seed(0)
    cold = generate(Bigram(CYCLE), torch.tensor([[0]]), 30, 1e-300, generator)
    assert torch.equal(cold, generate(Bigram(CYCLE), torch.tensor([[0]]), 30))


def test_equal_seeds_give_equal_text_and_others_another():
    def write(seed):
        return generate(Bigram(CYCLE), torch.tensor([[0]]), 40, 2.0, torch.Generator().manual_seed(seed)).tolist()

    assert write(1) == write(1) != write(2)


def test_the_window_slides_and_the_model_never_reads_more():
    assert generate(CountsTokens(), torch.tensor([[0, 0]]), 4, window=4).tolist() == [[2, 3, 4, 4]]
    assert generate(CountsTokens(), torch.tensor([[0, 0]]), 4).tolist() == [[2, 3, 4, 5]]


def test_a_model_is_asked_in_eval_mode_and_given_back_in_its_own():
    model = nn.Sequential(Bigram(CYCLE), nn.Dropout(0.99))
    assert generate(model, torch.tensor([[0]]), 6).tolist() == [[2, 1, 0, 2, 1, 0]]
    assert model.training


def test_logits_that_are_no_numbers_stop_the_text():
    with pytest.raises(TrainingError, match="token 2 cannot be chosen: its logits are not finite"):
        generate(Bigram([[0.0, 1.0], [0.0, math.nan]]), torch.tensor([[0]]), 3)


def test_the_score_is_the_mean_log_probability_from_the_start_on():
    def log_p(row, token):
        return CYCLE[row][token] - math.log(sum(math.exp(logit) for logit in CYCLE[row]))

    scored = score_tokens(Bigram(CYCLE), torch.tensor([[0, 2, 2, 1]]), 2)
    assert scored == pytest.approx((log_p(2, 2) + log_p(2, 1)) / 2)


class Mean(nn.Module):
    """The mean of the embeddings so far; ``forget`` of the state makes its steps wrong from the third token on."""

    def __init__(self, forget=False):
        super().__init__()
        self.forget = forget

    def forward(self, x):
        counts = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        return x.cumsum(1) / counts[:, None]

    def step(self, x, state=None):
        total, seen = (torch.zeros_like(x), 0) if state is None else state
        if self.forget and seen == 2:
            total = torch.zeros_like(total)
        total, seen = total + x, seen + 1
        return total / seen, (total, seen)


class Reader(nn.Module):
    """Embeddings, a mixer, and a norm over ``axes`` of (B, T, D)."""

    def __init__(self, mixer, axes=(-1,), per_length=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.mixer = nn.Embedding(11, 8), mixer
        self.axes, self.per_length = axes, per_length

    def forward(self, tokens):
        x = self.mixer(self.embedding(tokens))
        x = x / x.square().mean(self.axes, keepdim=True).sqrt()
        return x * (1 + self.per_length * tokens.shape[1])


TOKENS = torch.arange(9)[None] % 11


def test_a_causal_model_says_the_same_of_prefixes_and_in_steps():
    model = Reader(Mean()).double()
    found = measure_decoding(model, TOKENS, [model.mixer])
    assert (found.n_tokens, found.n_prefixes) == (9, 9)
    assert found.by_prefixes < 1e-12
    assert found.by_steps < 1e-12


@pytest.mark.parametrize("broken", [{"axes": (-2, -1)}, {"per_length": 0.01}], ids=["norm over time", "length"])
def test_a_model_that_uses_what_it_has_not_read_yet_differs_between_prefixes(broken):
    model = Reader(Mean(), **broken).double()
    assert measure_decoding(model, TOKENS).by_prefixes > 0.01


def test_steps_that_forget_differ_while_prefixes_agree():
    model = Reader(Mean(forget=True)).double()
    found = measure_decoding(model, TOKENS, [model.mixer])
    assert found.by_prefixes < 1e-12
    assert found.by_steps > 0.1
    assert torch.equal(model(TOKENS), Reader(Mean()).double()(TOKENS)), "its own forward is given back"


def test_the_largest_logit_is_told_without_its_sign():
    tokens = torch.tensor([[1, 2]])
    assert measure_decoding(Bigram([[9.0, 0.0], [0.5, -3.0], [2.0, 1.0]]), tokens).largest_logit == 3.0


def test_without_a_mixer_that_steps_nothing_is_said_of_steps():
    assert measure_decoding(Reader(nn.Identity()), TOKENS).by_steps is None


def test_a_logit_that_is_no_number_is_infinitely_far():
    assert measure_decoding(Bigram([[math.nan] * 11] * 11), TOKENS).by_prefixes == math.inf


def test_of_a_long_sequence_the_first_token_the_whole_and_lengths_between_are_read():
    lengths = []

    class Notes(nn.Module):
        def forward(self, tokens):
            lengths.append(tokens.shape[1])
            return nn.functional.one_hot(tokens, 11).double()

    found = measure_decoding(Notes(), torch.zeros(1, 200, dtype=torch.long))
    read = sorted(lengths[1:])
    assert found.n_prefixes == len(set(read)) == MOST_PREFIXES
    assert (read[0], read[-1]) == (1, 200)
    assert max(b - a for a, b in itertools.pairwise(read)) <= 4
