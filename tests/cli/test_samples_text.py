import pytest
from rich.cells import cell_len

from paribus.cli.samples_text import escape, samples_text
from paribus.lab.sampling.samples import ArmSamples, DecodingCheck, Passage, Samples

GOOD = DecodingCheck(32, 32, 1e-15, None, 0)
TEXT = "def f(x):\n\treturn x\x1b[31m  \nlast line that is much longer than a column of thirty-seven cells"


def make_samples(text=TEXT, **arms):
    passage = Passage((1, 2, 3), text, 0.25)
    given = arms or {"baseline": ArmSamples(passage, passage, -1.5, GOOD)}
    return Samples("toy", "Is it?", 0, passage, True, passage, 3, 0.8, 0, 32, True, given)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\n\nb"),
        ("a  \n b ", "a \\x20\\n\n b\\x20"),
        ("it's", "it's"),
        ("a\tb\r", "a\\tb\\r"),
        ("\\n", "\\\\n"),
        ("\x00\x1b\x7f\x85", "\\x00\\x1b\\x7f\\x85"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        ("é漢�", "é漢�"),
    ],
)
def test_what_cannot_be_seen_is_written_as_an_escape(text, shown):
    assert escape(text) == shown


def test_two_columns_lose_nothing_of_a_long_text():
    letters = "".join(chr(ord("a") + i % 26) for i in range(300))
    shown = samples_text(make_samples(text=letters))
    lines = shown.splitlines()
    start = next(i for i, line in enumerate(lines) if "sampled at temperature" in line) + 2
    cells = [line.split() for line in lines[start : lines.index("", start)]]
    assert ["".join(column) for column in zip(*cells, strict=True)] == [letters, letters]


def test_a_control_character_never_reaches_the_terminal():
    shown = samples_text(make_samples(**{"\x1b[2J": ArmSamples(*[Passage((1,), TEXT, None)] * 2, -1.0, GOOD)}))
    assert "\x1b" not in shown and "\\x1b[31m" in shown and "\\tre" in shown


def test_nothing_is_wider_than_79_cells_even_in_wide_letters_and_long_names():
    long = "a treatment whose name goes on and on, until no column can hold it at all any more, and further"
    passage = Passage((1,), "漢字" * 100 + "x" * 100, None)
    failed = DecodingCheck(32, 32, 0.5, None, 2, trouble="")
    shown = samples_text(make_samples(**{long: ArmSamples(passage, passage, -12.345, failed)}))
    assert max(map(cell_len, shown.splitlines())) <= 79
    assert shown.count("漢") >= 200


def test_the_numbers_of_an_arm_stand_in_its_row():
    shown = samples_text(make_samples())
    (row,) = [line for line in shown.splitlines() if line.startswith("baseline  ")]
    assert row.split() == ["baseline", "25%", "25%", "-1.500"]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (GOOD, "baseline: decodes as it was trained: against one pass over 32 tokens, 32 growing prefixes move"),
        (DecodingCheck(32, 32, 0.25, None, 0), "FAILED: it does NOT decode as it was trained"),
        (DecodingCheck(32, 32, 0.25, None, 0), "2.5e-01 (at most 1e-06 allowed"),
        (
            DecodingCheck(32, 32, 1e-5, None, 0, 20.0, "float32"),
            "(at most 2e-03 allowed, 1e-04 of the largest logit, as it was computed in float32)",
        ),
        (DecodingCheck(32, 32, 1e-5, None, 0, 5.0), "FAILED: it does NOT decode as it was trained"),
        (DecodingCheck(32, 32, 1e-15, 0.125, 1), "FAILED: it does NOT decode as it was trained"),
        (DecodingCheck(32, 32, 1e-15, 0.125, 3), "step() of 3 mixers by 1.2e-01"),
        (DecodingCheck(32, 32, None, None, 0), "move the logits by a value that is not finite"),
        (DecodingCheck(32, 0, None, None, 0, trouble="TypeError: no"), "cannot be checked: TypeError: no"),
    ],
)
def test_the_check_says_plainly_how_it_went(check, said):
    passage = Passage((1,), "a", None)
    shown = samples_text(make_samples(baseline=ArmSamples(passage, passage, -1.0, check)))
    assert said in " ".join(shown.split())
    assert ("FAILED" in shown) == (not check.passed)


def test_token_ids_are_said_to_be_ids():
    passage = Passage((1, 2), "1 2", None)
    samples = Samples("toy", "Is it?", 0, passage, True, passage, 2, 0.8, 0, 32, False, {})
    assert "these are token ids" in samples_text(samples)


def test_a_window_that_slid_is_said_to_have_slid():
    passage = Passage(tuple(range(20)), "a", None)
    samples = Samples("toy", "Is it?", 0, passage, True, passage, 20, 0.8, 0, 32, True, {})
    assert samples.n_slid == 8  # token i of 20 is written after 21 + i others: more than 32 from i = 12 on
    assert "the last 8 after the window had slid" in " ".join(samples_text(samples).split())
