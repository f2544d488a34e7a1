import ast
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.data import text_files as files
from paribus.errors import DataError


def read(path, column="text", suffixes=files.SUFFIXES):
    return list(files.read(files.find(Path(path), suffixes), column))


def test_the_standard_library_is_source_without_tests_and_tables():
    found = dict(files.find_stdlib())
    assert {"ast.py", "json/decoder.py", "asyncio/tasks.py"} <= found.keys()
    assert all(path.suffix == ".py" for path in found.values())
    folders = {part for name in found for part in name.split("/")[:-1]}
    assert not folders & {"test", "tests", "idle_test", "encodings", "pydoc_data", "site-packages", "__pycache__"}
    assert not [name for name in found if name.startswith("_sysconfigdata")]


def test_the_standard_library_has_one_document_per_file_in_its_own_words():
    texts = dict(files.read(files.find_stdlib(), "text"))
    assert texts["ast.py"] == Path(ast.__file__).read_text("utf-8")
    assert list(texts) == [name for name, _ in files.find_stdlib()]


def test_a_folder_is_read_in_order_of_path_without_hidden_and_other_files(tmp_path):
    for name in ("b.txt", "a/z.md", "a/.hidden.txt", ".git/x.txt", "a/picture.png", "a/b/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert read(tmp_path) == [("b.txt", "b.txt"), ("a/z.md", "a/z.md"), ("a/b/c.py", "a/b/c.py")]
    assert read(tmp_path, suffixes=(".md", ".png")) == [("a/picture.png", "a/picture.png"), ("a/z.md", "a/z.md")]


def test_a_folder_without_text_says_what_it_holds(tmp_path):
    (tmp_path / "a.png").write_text("")
    with pytest.raises(DataError, match=r"no file that ends in \.txt, .*; it holds \.png"):
        read(tmp_path)


def test_json_lines_are_documents_by_column(tmp_path):
    rows = [{"body": "one\ntwo"}, {"body": None}, {"body": "three\u2028four"}]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    names, texts = zip(*read(tmp_path / "x.jsonl", "body"), strict=True)
    assert names == ("x.jsonl:1", "x.jsonl:2", "x.jsonl:3") and texts == ("one\ntwo", "", "three\u2028four")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "b', r"x\.jsonl:2 is not JSON: Unterminated string.* at column 10"),
        (b'{"txet": "b"}', r"x\.jsonl:2 has no column 'text'; did you mean 'txet'\?"),
        (b'["b"]', r"x\.jsonl:2: expected an object with the key 'text', got list"),
        (b'{"text": 5}', r"x\.jsonl:2: column 'text' holds int, expected text"),
        (b'{"text": "\xff"}', r"x\.jsonl:2 is not UTF-8: byte 0xff"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "a"}\n' + line + b"\n")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.jsonl")


def test_parquet_rows_are_documents_by_column(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"id": [1, 2, 3], "body": ["one", None, "drei"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    assert [text for _, text in read(tmp_path / "x.parquet", "body")] == ["one", "", "drei"]
    with pytest.raises(DataError, match=r"x\.parquet has no column 'bdy'; did you mean 'body'\?"):
        read(tmp_path / "x.parquet", "bdy")
    with pytest.raises(DataError, match=r"x\.parquet, row 1: column 'id' holds int"):
        read(tmp_path / "x.parquet", "id")
    (tmp_path / "y.parquet").write_text("no")
    with pytest.raises(DataError, match=r"y\.parquet is not readable as Parquet"):
        read(tmp_path / "y.parquet")


def test_parquet_without_its_extra_names_it(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").write_text("")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"install the extra paribus\[parquet\]"):
        read(tmp_path / "x.parquet")


def test_a_file_that_is_not_utf_8_is_named_with_the_place(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"fine")
    (tmp_path / "b.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match=r"b\.txt is not utf-8: byte 0xe9 at position 3"):
        read(tmp_path)


def test_a_source_file_is_read_in_the_encoding_it_declares(tmp_path):
    (tmp_path / "a.py").write_bytes("# -*- coding: latin-1 -*-\n# caf\xe9\n".encode("latin-1"))
    (tmp_path / "b.py").write_bytes(b"\xef\xbb\xbf# marked\n")
    assert [text for _, text in read(tmp_path)] == ["# -*- coding: latin-1 -*-\n# café\n", "# marked\n"]


@given(st.text(alphabet="ab \n", max_size=300))
def test_blocks_together_are_the_text(text):
    long = text * 60
    assert "".join(files.split_blocks(long)) == long


def test_a_block_ends_at_the_first_blank_line_after_two_thousand_characters():
    paragraph = "x" * 898 + "\n\n"  # 900 characters: the third passes 2,000
    assert [len(block) for block in files.split_blocks(paragraph * 7)] == [2_700, 2_700, 900]


def test_a_file_with_end_of_text_lines_is_cut_there():
    assert files.split_blocks("one\n\none\n<|endoftext|>\ntwo\n") == ["one\n\none", "two"]


def test_a_path_that_is_not_there_gives_the_nearest_that_is(tmp_path):
    (tmp_path / "shakespeare.txt").write_text("")
    with pytest.raises(
        DataError, match=r"no corpus .*did you mean '.*shakespeare\.txt'\?.*built-in corpus is 'stdlib'"
    ):
        files.find(tmp_path / "shakespear.txt")


def test_a_misspelt_built_in_corpus_and_a_bare_hub_name_get_their_spelling():
    with pytest.raises(DataError, match="did you mean 'stdlib'"):
        files.find(Path("sdtlib"))
    with pytest.raises(DataError, match="is written 'hub:owner/stories'"):
        files.find(Path("owner/stories"))


def test_the_fingerprint_follows_names_and_bytes(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    before = files.fingerprint(files.find(tmp_path))
    assert before == files.fingerprint(files.find(tmp_path))
    (tmp_path / "b.txt").write_text("twp")
    assert files.fingerprint(files.find(tmp_path)) != before
