"""The real client of the hub against an imitation on 127.0.0.1, in processes of its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import STORIES

pytest.importorskip("datasets")

CLIENT = """
import json, sys, time
from paribus.data import Bytes, Pretrained, Text, prepare
from paribus.errors import DataError
answers = []
for arguments in json.loads(sys.argv[1]):
    began = time.perf_counter()
    name = arguments.pop("tokenizer", None)
    try:
        corpus = prepare(Text(**arguments, tokenizer=Pretrained(name) if name else Bytes()))
        texts = [corpus.decode(corpus.side(side).tokens) for side in ("train", "validation", "confirm")]
        answer = {"texts": sorted("".join(texts).split("\\n\\n")), "vocab_size": corpus.vocab_size,
                  "digest": corpus.digest, "title": corpus.title}
    except DataError as error:
        answer = {"error": str(error)}
    answers.append({**answer, "seconds": time.perf_counter() - began})
print(json.dumps(answers))
"""
STORY = {"source": "hub:owner/stories", "column": "story", "max_documents": 30}


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, str(Path(__file__).with_name("hub_server.py"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def ask(tmp_path, home):
    """Prepares texts in a fresh process and returns what came out of each."""

    def prepare_all(endpoint, *texts, program=CLIENT, **environment):
        hidden = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(texts)],
            env={**hidden, **ours, "PARIBUS_HOME": str(home), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return prepare_all


def test_a_data_set_is_streamed_and_a_second_look_needs_no_hub(server, ask):
    (first,) = ask(server, STORY)
    assert [text for text in first["texts"] if text] == sorted(STORIES[:30])
    assert first["title"] == "hub:owner/stories" and first["vocab_size"] == 257
    again, other = ask("http://127.0.0.1:9", STORY, {**STORY, "max_documents": 20})
    assert again["digest"] == first["digest"]
    assert "cannot be reached" in other["error"]


def test_what_the_hub_does_not_have_is_one_line_with_the_nearest_thing(server, ask):
    answers = ask(
        server,
        {**STORY, "column": "stori"},
        {**STORY, "hub_split": "trian"},
        {**STORY, "hub_config": "nope"},
        {**STORY, "source": "hub:owner/storys"},
        {**STORY, "tokenizer": "owner/nothing"},
    )
    column, split, config, name, tokenizer = (answer["error"] for answer in answers)
    assert column == "hub:owner/stories has no column 'stori'; did you mean 'story'?"
    assert "Available splits: ['train']" in split
    assert "'nope' not found. Available: ['default']" in config
    assert name.startswith("data set 'owner/storys' cannot be read from the hub") and "Not Found" in name
    assert tokenizer.startswith("tokenizer 'owner/nothing' cannot be read from the hub")
    assert all("\n" not in answer["error"] for answer in answers)


def test_a_tokenizer_is_fetched_by_name_and_read_offline_afterwards(server, ask, jsonl):
    (first,) = ask(server, {**STORY, "tokenizer": "owner/letters"})
    assert first["vocab_size"] == 95 + 1  # the printable characters of ASCII and the separator
    local = {"source": jsonl(STORIES), "tokenizer": "owner/letters"}
    (offline,) = ask(server, local, HF_HUB_OFFLINE="1")
    assert offline["vocab_size"] == 96


def test_offline_reads_what_hf_home_holds_and_nothing_else(server, ask):
    download = "import datasets; datasets.load_dataset('owner/stories'); print('[]')"
    ask(server, program=download)
    held, absent = ask(server, STORY, {**STORY, "source": "hub:owner/poems"}, HF_HUB_OFFLINE="1")
    assert [text for text in held["texts"] if text] == sorted(STORIES[:30])
    assert "HF_HUB_OFFLINE is set, so only what HF_HOME holds can be read" in absent["error"]


def test_a_hub_that_never_answers_costs_three_seconds_and_one_line(ask):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (answer,) = ask(f"http://127.0.0.1:{silent.getsockname()[1]}", STORY)
    assert answer["seconds"] < 8  # three of them knocking; the rest imports the client
    assert "built-in corpus 'stdlib'" in answer["error"] and "HF_HUB_OFFLINE=1" in answer["error"]
    assert "\n" not in answer["error"]


def test_a_missing_client_names_its_extra(monkeypatch):
    from paribus.data.hub import stream
    from paribus.errors import DataError

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"install the extra paribus\[hub\]"):
        next(stream("owner/stories", column="text", config=None, split="train", revision=None))


def test_a_local_folder_of_the_same_name_is_not_read_in_its_place(tmp_path, monkeypatch):
    from paribus.data.hub import stream
    from paribus.errors import DataError

    (tmp_path / "owner" / "stories").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="a local 'owner/stories' would be read in its place"):
        next(stream("owner/stories", column="text", config=None, split="train", revision=None))
