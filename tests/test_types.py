"""What a type checker says of paribus, and of a file that uses it."""

import subprocess
import sys
from pathlib import Path

import paribus

ROOT = Path(paribus.__file__).parent
REPOSITORY = ROOT.parent.parent

RIGHT = """
import torch
import paribus as pb

baseline: pb.Spec = pb.nn.llama(d_model=96, n_layers=3, n_heads=3)
training = pb.Training(
    tokens=204_800, batch_tokens=2_048, seq_len=128, optimizer=pb.spec(torch.optim.AdamW, lr=0.003)
)
study = pb.Study(
    question="Is RMSNorm as good?",
    baseline=baseline,
    treatments={
        "rms": baseline.replace("*norm", pb.spec(torch.nn.RMSNorm)),
        "slow": pb.Arm(baseline, training.replace(clip=None)),
    },
    data=pb.spec(pb.data.Text, source="stdlib"),
    training=training,
    margin=0.03,
    metric=pb.VAL_LOSS,
    primary=("rms",),
    tuning=pb.Tuning(over={"learning_rate": (0.5, 1, 2)}),
)
findings = pb.check(study).findings
result: pb.Result = pb.run(study, store="runs", max_seeds=3)
code: int = result.exit_code
"""

WRONG = """
import paribus as pb

pb.Study(question=1)
pb.run(3)
pb.Tuning(ovre={})
pb.Metric("val_loss", 3)
pb.rum("norm")
"""


def check_types(*arguments, cwd=REPOSITORY):
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(REPOSITORY / ".mypy_cache"), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_paribus_has_no_type_errors():
    assert check_types()[-1].startswith("Success")


def test_a_users_file_is_checked_against_the_types_of_paribus(tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    said = check_types("--ignore-missing-imports", "--check-untyped-defs", "right.py", "wrong.py", cwd=tmp_path)
    assert not [line for line in said if line.startswith("right.py")]
    for line, words in (
        (4, 'Argument "question" to "Study" has incompatible type "int"; expected "str"'),
        (4, 'Missing named argument "baseline" for "Study"'),
        (5, 'Argument 1 to "run" has incompatible type "int"'),
        (6, 'Unexpected keyword argument "ovre" for "Tuning"'),
        (7, 'Argument 2 to "Metric" has incompatible type "int"; expected "str"'),
        (8, 'Module has no attribute "rum"'),
    ):
        assert [told for told in said if told.startswith(f"wrong.py:{line}: error: ") and words in told], (words, said)
