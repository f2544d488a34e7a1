"""A notebook from its first cell to its last, run by a real kernel; and what is shown where there is none."""

import email
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from paribus.lab.notebook import is_kernel, watch

FIRST = """
import torch
from torch import nn

import paribus as pb

EPS = 1e-5


def centre(x):
    return x - x.mean(-1, keepdim=True)


class SameNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        x = centre(x)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weight + self.bias
"""
SECOND = """
baseline = pb.nn.gpt2(d_model=16, n_layers=1, n_heads=2)
study = pb.Study(
    question="Is it <b>the</b> same?",
    baseline=baseline,
    treatments={"again": baseline.replace("*norm", pb.spec(SameNorm))},
    data=pb.spec(pb.data.Text, source=SOURCE, tokenizer=pb.spec(pb.data.Bytes)),
    training=pb.Training(
        tokens=1280, batch_tokens=128, seq_len=32, evaluations=2, evaluation_tokens=1024,
        optimizer=pb.spec(torch.optim.AdamW, lr=0.01),
    ),
    margin=0.05,
    min_seeds=2,
    max_seeds=2,
    extra_rates=(),
)
study
"""
THIRD = "result = pb.run(study, store=STORE)\nresult"
FOURTH = """
import json
frame = result.frame()
print(json.dumps({
    "verdicts": {name: [verdict.kind, str(verdict)] for name, verdict in result.verdicts.items()},
    "figures": sorted(type(figure).__module__ for figure in result.figures().values()),
    "columns": list(frame.columns[:3]),
    "rows": len(frame),
    "folders": len(list(result.page.parents[2].glob("runs/*/result.json"))),
}))
"""
EDITED = """
from paribus.experiment.plan import Environment, plan

here = Environment("data", "cpu", "2")
before = [run.digest for run in plan(study, here)]
EPS = 0.5
print([one == other.digest for one, other in zip(before, plan(study, here))])
"""


@pytest.fixture(scope="module")
def cells(home, tmp_path_factory):
    """The cells of the notebook, each with its outputs, and every message that redrew one."""
    folder = tmp_path_factory.mktemp("notebook")
    names = f"SOURCE = {str(Path(email.__file__).parent)!r}\nSTORE = {str(folder / 'store')!r}\n"
    sources = [names + FIRST, SECOND, THIRD, FOURTH, EDITED, "result.comparisons['again']"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    updates, handle = [], client.process_message

    def listen(message, cell, index):
        if message["msg_type"] == "update_display_data":
            updates.append((index, message["content"]["data"]["text/markdown"]))
        return handle(message, cell, index)

    client.process_message = listen
    client.execute()
    return notebook.cells, updates


def shown_by(cell):
    return [output["data"]["text/markdown"] for output in cell.outputs if "text/markdown" in output.get("data", {})]


def text(cell):
    return "".join(output["text"] for output in cell.outputs if output.get("name") == "stdout")


def test_a_study_shows_its_question_its_arms_and_its_margin(cells):
    (shown,) = shown_by(cells[0][1])
    assert "Is it &lt;b&gt;the&lt;/b&gt; same?" in shown
    assert "final_norm" in shown and "SameNorm" in shown and "±0.05 nats/token of val_loss" in shown


def test_a_run_is_drawn_in_place_while_it_goes_on_and_ends_with_the_verdict(cells):
    live, shown = shown_by(cells[0][2])
    updates = [content for index, content in cells[1] if index == 2]
    assert len(updates) >= 8, "at the least for messages, starts, ends and judgements"
    assert live == updates[-1], "one output, drawn again in its place"
    assert any("baseline / seed 0" in content for content in updates)
    assert "again" in live and "| equivalent |" in live
    assert "**equivalent** again is equivalent to the baseline" in shown
    assert any("cannot be sent to workers: running in this process" in u for u in updates)


def test_a_result_tells_verdicts_figures_and_a_frame(cells):
    told = json.loads(text(cells[0][3]))
    assert told["verdicts"]["again"][0] == "equivalent"
    assert told["verdicts"]["again"][1].startswith("again is equivalent to the baseline")
    assert set(told["figures"]) == {"matplotlib.figure"}
    assert (told["columns"], told["rows"], told["folders"]) == (["arm", "seed", "status"], 4, 4)


def test_what_a_cell_changes_beside_the_class_makes_other_runs_of_its_arm_and_of_no_other(cells):
    # Two seeds, the baseline first.
    assert text(cells[0][4]) == "[True, False, True, False]\n"


def test_a_comparison_shows_every_pair(cells):
    (shown,) = shown_by(cells[0][5])
    assert "interval (95 %" in shown and "±0.05" in shown and "\n| 0 | " in shown and "\n| 1 | " in shown


def test_without_a_kernel_lines_are_printed_and_a_function_is_used_as_it_is(capsys):
    assert not is_kernel()
    told = []
    with watch(told.append) as observe:
        observe({"event": "message", "text": "training"})
    assert told == [{"event": "message", "text": "training"}]
    with watch(None) as observe:
        observe({"event": "message", "text": "training"})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "training\n")


def test_neither_ipython_nor_pandas_is_imported_before_it_is_asked_for():
    code = "import paribus.lab.notebook, paribus.reports.result, sys\n"
    code += "print({'IPython', 'pandas', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
