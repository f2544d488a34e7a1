"""The snippets on patterns over depth and on factorial studies, as the pages have them."""

import re
from pathlib import Path

import torch

import paribus as pb
from paribus.design.study_files import read_study

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
PAGE = (REPOSITORY / "docs" / "factorial.md").read_text()


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page, flags=re.S)


def the_block(page, word):
    (code,) = [block for block in blocks_of(page) if word in block]
    return code


def test_the_hybrid_of_the_readme_builds_and_is_causal():
    names = {"pb": pb}
    exec(the_block(README, "pb.nn.tile("), names)
    assert [b["mixer.window"] for b in names["alternating"]["blocks"]] == [32, 32, None] * 2
    model = pb.nn.build_model(names["hybrid"], 0, vocab_size=64, seq_len=16).double().eval()
    tokens = torch.arange(16)[None]
    later = tokens.clone()
    later[0, 10:] += 1
    assert (model(tokens) - model(later))[0, :10].abs().max() < 1e-12


def test_the_factorial_of_the_readme_is_a_study_of_three_effects():
    adam = pb.spec(torch.optim.AdamW, lr=0.01)
    training = pb.Training(tokens=2_048, batch_tokens=1_024, seq_len=64, optimizer=adam, evaluations=1)
    found = {"pb": pb, "baseline": pb.nn.llama(d_model=96, n_layers=3, n_heads=3), "training": training}
    exec(the_block(README, "pb.factorial("), found)
    assert list(found["study"].contrasts) == ["effect of no norm", "effect of 3x rate", "no norm:3x rate"]


def test_the_study_of_the_page_is_a_study_file(tmp_path):
    path = tmp_path / "no_norm.py"
    path.write_text(blocks_of(PAGE)[0])
    study = read_study(path).choose()
    assert list(study.arms) == ["baseline", "no norm", "3x rate", "no norm + 3x rate"]
    for effect in study.contrasts:
        assert f"`{effect}`" in PAGE


def test_the_own_contrasts_of_the_page_are_a_study():
    names = {}
    exec(blocks_of(PAGE)[0], names)
    study = names["study"]
    fields = {"baseline": study.baseline, "training": study.training, "data": study.data, "margin": 0.05}
    found = {"pb": pb, "fields": fields, **names}
    exec(the_block(PAGE, "contrasts="), found)
    assert set(found["against"].contrasts) == {"Sandwich against PostNorm"}
    assert found["against"].primary == ()
