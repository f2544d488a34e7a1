import io

from rich.console import Console

from paribus.cli.texts import wrap_sentences
from paribus.lab.progress import LiveTable, PlainLines

STARTED = {"event": "started", "digest": "d", "arm": "a treatment with a rather long name", "seed": 3, "steps": 300}
LINE = {"step": 120, "loss": 4.2111, "measured": {"tokens_per_second": 15432.1}}
ROW = {
    "treatment": "a treatment with a rather long name",
    "primary": True,
    "pairs": 3,
    "mean": 0.00031,
    "interval": (-0.0289, 0.0295),
    "verdict": None,
}


def show(table, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table.render())
    return console.file.getvalue()


def test_the_live_table_fits_80_columns_and_carries_the_numbers():
    table = LiveTable()
    table.observe(
        {"event": "message", "text": "Is a very long question with many words in it still shown on one line?" * 2}
    )
    table.observe(STARTED)
    table.observe({"event": "progress", "digest": "d", "line": LINE})
    table.observe({"event": "judged", "rows": [ROW, {**ROW, "treatment": "b", "verdict": "equivalent"}]})
    text = show(table)
    assert max(map(len, text.splitlines())) <= 80
    for part in ("120/300", "4.211", "15,432", "+0.0003 [-0.0289, +0.0295]", "equivalent"):
        assert part in text


def test_a_finished_run_leaves_the_live_table():
    table = LiveTable()
    table.observe(STARTED)
    assert "0/300" in show(table)
    table.observe({"event": "finished", "digest": "d", "status": "done"})
    assert "0/300" not in show(table)


def test_plain_lines_say_each_thing_once():
    console = Console(file=io.StringIO(), width=200)
    lines = PlainLines(console)
    for event in (STARTED, {"event": "judged", "rows": [ROW]}, {"event": "judged", "rows": [ROW]}):
        lines.observe(event)
    lines.observe({**STARTED, "event": "finished", "status": "diverged"})
    assert console.file.getvalue().splitlines() == [
        "a treatment with a rather long name seed 3: started",
        "a treatment with a rather long name: 3 pairs, +0.0003 [-0.0289, +0.0295]",
        "a treatment with a rather long name seed 3: diverged",
    ]


def test_sentences_are_folded_between_words_and_rows_of_a_table_are_not():
    row = "baseline   431,424   431,424   1,344   1,007,616   3,022,848"
    sentence = "RMSNorm is equivalent to the baseline: validation loss lower by 0.001 nats/token"
    folded = wrap_sentences(f"{sentence}\n\n{row}", 40).splitlines()
    assert folded[-1] == row
    assert " ".join(folded[:-2]) == sentence
    assert max(map(len, folded[:-1])) < 40
