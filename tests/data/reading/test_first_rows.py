"""What the first rows show is told before a run is opened."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from tests.data.reading.test_readers import put
from tests.data.reading.test_sources import check_fault
from tests.data.test_datamodule import _data, _labelled, _write


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", b"text,label\nK\xe4se,1\n", "train.csv, line 2: byte 0xe4"),
        ("train.csv", b'text,label\n"he said "no", ok",1\n', "bad quoting"),
        ("train.csv", b"text,label\na,1,more\n", "line 2: 3 columns, the header has 2"),
        ("train.jsonl", b'{"text": "a", "label": "x"}\n{"text": 5}\n', "'text' is 5 (int)"),
        ("train.jsonl", b'{"text": "a", "label": {"x": 1}}\n', "the label is {'x': 1}"),
        ("train.txt", b"fine\n\xff\n", "train.txt, line 2: byte 0xff"),
        ("train.csv.gz", b"text,label\na,1\n", "broken gzip data"),
    ],
)
def test_faults_of_the_first_rows(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    label = None if name == "train.txt" else "label"
    assert message in check_fault(tmp_path, label=label)


def test_every_split_and_every_file_is_looked_at(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", "text,label\na,1\n")
    put(tmp_path / "test.csv", b"text,label\na,1\nK\xe4se,0\n")
    assert check_fault(tmp_path, label="label").startswith("test.csv, line 3: byte 0xe4")
    for number in range(4):
        put(tmp_path / "c" / "pos" / f"{number}.txt", b"\xff" if number == 3 else b"fine")
        put(tmp_path / "c" / "neg" / f"{number}.txt", b"fine")
    assert check_fault(tmp_path / "c", label="label").startswith("pos/3.txt, line 1: byte 0xff")


def test_only_the_first_rows_are_read(tmp_path: Path) -> None:
    rows = [json.dumps({"text": "a", "label": "x"})] * 5000
    put(tmp_path / "a.jsonl", "\n".join([*rows, "broken"]))
    Source(path=str(tmp_path / "a.jsonl"), label="label").check()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_held_out_split_without_labels(tmp_path: Path, split: str) -> None:
    folder = tmp_path / "data"
    _write(folder / "train.csv", _labelled(20))
    _write(folder / f"{split}.csv", [(text, " ") for text, _ in _labelled(4, 20)])
    with pytest.raises(UserError) as caught:
        _data(tmp_path).config.check()
    assert str(caught.value) == (
        f"{split}.csv, line 2: no row of {split} has a label; "
        f"data.source.{split}=null leaves {split} out (data.source.label)"
    )
    left: dict[str, Any] = {split: None}
    source = Source(path=str(folder), label="label", **left)
    _data(tmp_path, source=source).config.check()
    _write(folder / f"{split}.csv", [("x", ""), ("y", "pos")])
    _data(tmp_path).config.check()
