"""JSON in its shapes: arrays, objects around arrays, nested keys, rows that lack some."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.sources import Source
from tests.data.test_readers import fault, put, read

ITEMS = [{"text": "a b", "label": "x"}, {"text": "c d", "label": "y"}]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ITEMS),
        json.dumps(ITEMS, indent=2),
        json.dumps({"version": 1, "data": ITEMS}),
        json.dumps({"version": 1, "data": ITEMS}, indent=2),
        "\n".join(map(json.dumps, ITEMS)),
    ],
)
def test_arrays_and_objects_around_them(tmp_path: Path, content: str) -> None:
    put(tmp_path / "a.json", content)
    Source(path=str(tmp_path / "a.json"), label="label").check()
    records = read(tmp_path / "a.json", label="label")
    assert [(row.text, row.label) for row in records] == [("a b", "x"), ("c d", "y")]


def test_lists_inside_rows_are_no_rows(tmp_path: Path) -> None:
    rows = [{"text": word, "tokens": [{"word": word}]} for word in "ab"]
    put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [row.text for row in read(tmp_path / "a.jsonl")] == ["a", "b"]
    put(tmp_path / "b.jsonl", json.dumps(rows[0]))
    assert [row.text for row in read(tmp_path / "b.jsonl")] == ["a"]


def test_keys_inside_keys(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", '{"review": {"text": "a"}, "id": 1}\n{"review.text": "b"}\n')
    assert [row.text for row in read(tmp_path / "a.jsonl", text="review.text")] == ["a", "b"]
    assert "review.text" in fault(tmp_path / "a.jsonl", text="review.txt")


def test_any_row_may_be_the_first_to_have_a_label(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": "b"}\n{"text": "c", "label": "x"}\n')
    source = Source(path=str(tmp_path / "a.jsonl"), label="label")
    source.check()
    assert [row.label for row in source.read_records("train")] == [None, None, "x"]
    with pytest.raises(UserError, match=r"a\.jsonl has no such column; valid: label, text"):
        Source(path=str(tmp_path / "a.jsonl"), label="zzz").check()
    put(tmp_path / "b.jsonl", '{}\n{"text": "c"}\n')
    assert fault(tmp_path / "b.jsonl").startswith("b.jsonl, line 1: no 'text'")


def test_decimals_and_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    for scale, expected in ((2, [4.5, 3.0]), (0, [4, 3])):
        values = [Decimal("4.50") if scale else Decimal(4), Decimal(3)]
        table = pyarrow.table(
            {
                "text": pyarrow.array([b"a", "größer".encode()], pyarrow.binary()),
                "label": pyarrow.array(values, pyarrow.decimal128(10, scale)),
            }
        )
        write_table(table, tmp_path / "a.parquet")
        records = read(tmp_path / "a.parquet", label="label")
        assert [row.text for row in records] == ["a", "größer"]
        labels = [row.label for row in records]
        assert labels == expected
        assert all(type(label) is type(expected[0]) for label in labels)
    write_table(pyarrow.table({"text": [b"\xff"]}), tmp_path / "a.parquet")
    assert "(bytes); expected a text" in fault(tmp_path / "a.parquet")
