"""Spreadsheets: one sheet is read as a table, and cells as what they show."""

import datetime
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from src.data.reading.sources import Source
from tests.data.reading.test_archives import _pack
from tests.data.reading.test_readers import fault, put, read
from tests.data.reading.test_sources import check_fault

ROWS = [["text", "label", "note"], ["good", 5, None], [42, 1.0, "x"], [None, None, None]]


def _save(path: Path, **sheets: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_sheet_is_a_table(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.xlsx", Reviews=[*ROWS, ["", 2, None], [True, False, None]])
    source = Source(path=str(path), label="label")
    source.check()
    records = list(source.read_records("train"))
    assert [(row.text, row.label) for row in records] == [
        ("good", 5),
        ("42", 1.0),
        ("", 2),
        ("TRUE", 0),
    ]
    assert [row.where for row in records] == [f"a.xlsx, row {number}" for number in (2, 3, 5, 6)]
    assert next(source.read_records("train", keep_other=True)).other == {
        "text": "good",
        "label": 5,
        "note": None,
    }


def test_sheets_without_a_header(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.xlsx", Sheet=[[1, "good"], [0, "bad", "more"]])
    wanted = [("good", 1), ("bad", 0)]
    rows = read(path, header=False, text=1, label=0)
    assert [(row.text, row.label) for row in rows] == wanted
    rows = read(path, columns=["stars", "review"], text="review", label="stars")
    assert [(row.text, row.label) for row in rows] == wanted
    assert "row 1: 2 cells; data.source asks for one at position 2" in fault(
        path, header=False, text=2
    )


def test_which_sheet_is_read(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.xlsx", Sheet1=ROWS, Sheet2=[], Sheet3=[["text"], ["other"]])
    assert check_fault(path) == (
        "a.xlsx: 2 sheets with rows: Sheet1, Sheet3; data.source.sheet=NAME takes one of them"
    )
    assert [row.text for row in read(path, sheet="Sheet3")] == ["other"]
    assert "data.source.sheet=Sheet4: a.xlsx has no such sheet; did you mean 'Sheet" in fault(
        path, sheet="Sheet4"
    )
    first, second = (Source(path=str(path), sheet=name) for name in ("Sheet1", "Sheet3"))
    assert first.fingerprint_split("train") != second.fingerprint_split("train")
    path = _save(tmp_path / "b.xlsx", Empty=[], Filled=ROWS)
    assert len(read(path)) == 2


def test_what_is_no_spreadsheet_or_lacks_a_column(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.xlsx", Sheet=ROWS)
    assert "a.xlsx has no such column; did you mean 'text'? Columns: text, label, note" in (
        check_fault(path, text="texts")
    )
    assert check_fault(_save(tmp_path / "b.xlsx", Sheet=[])) == "b.xlsx: no rows in it"
    put(tmp_path / "c.xlsx", "text,label\n")
    assert "c.xlsx: this is no spreadsheet, or a broken one" in fault(tmp_path / "c.xlsx")
    put(tmp_path / "d.xlsx", path.read_bytes()[:-200])
    assert "d.xlsx: this is no spreadsheet, or a broken one" in fault(tmp_path / "d.xlsx")
    put(tmp_path / "e.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "an old or encrypted file of Office; save the table as .xlsx or CSV" in fault(
        tmp_path / "e.xlsx"
    )
    put(tmp_path / "f.csv", path.read_bytes())
    assert "or in .xlsx for a spreadsheet" in fault(tmp_path / "f.csv")
    dated = _save(tmp_path / "g.xlsx", Sheet=[["text", "label"], ["a", datetime.date(2026, 1, 2)]])
    assert "g.xlsx, row 2: the label is datetime" in fault(dated, label="label")
    assert read(dated, text="label")[0].text.startswith("2026-01-02")


def test_spreadsheets_of_splits_and_in_archives(tmp_path: Path) -> None:
    train = _save(tmp_path / "set" / "train.xlsx", Sheet=ROWS)
    _save(tmp_path / "set" / "test.xlsx", Sheet=ROWS[:2])
    source = Source(path=str(train.parent), label="label")
    assert source.available_splits() == ("train", "test")
    assert len(list(source.read_records("test"))) == 1
    path = _pack(tmp_path / "a.xlsx.zip", {"a.xlsx": train.read_bytes()})
    (tmp_path / "b").mkdir()
    path.rename(tmp_path / "b" / "train.xlsx.zip")
    assert len(read(tmp_path / "b")) == 2


def test_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "a.xlsx", Sheet=ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert check_fault(path) == (
        "a.xlsx: spreadsheets need the package openpyxl; pip install openpyxl, or save the sheet "
        "as CSV"
    )
