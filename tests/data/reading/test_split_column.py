"""Rows that say themselves to which split they belong."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from tests.data.reading.test_data_files import put

EMOBANK = "id,split,V,text\na,train,3.1,one\nb,dev,2.0,two\nc,Test ,3,three\nd,train,1,four\n"


def _source(path: Path, **options: Any) -> Source:
    return Source(path=str(path), **({"label": "V", "split_column": "split"} | options))


def _texts(source: Source) -> dict[str, list[str]]:
    source.check()
    return {
        split: [record.text for record in source.read_records(split)]
        for split in source.available_splits()
    }


def test_rows_are_divided_by_a_column(tmp_path: Path) -> None:
    path = put(tmp_path / "emobank.csv", EMOBANK)
    expected = {"train": ["one", "four"], "validation": ["two"], "test": ["three"]}
    source = _source(path, validation="dev")
    assert _texts(source) == expected
    assert source.describe_unread() == []
    prints = {source.fingerprint_split(split) for split in source.available_splits()}
    assert len(prints) == 3
    [record] = source.read_records("test", keep_other=True)
    assert (record.where, record.label) == ("emobank.csv, line 4", "3")
    assert record.other == {"id": "c", "split": "Test ", "V": "3", "text": "three"}
    assert _texts(_source(path)) == expected
    assert _source(path).describe_unread() == [
        "note: dev in 'split' is validation, by data.source.validation=dev; null leaves it out"
    ]
    with pytest.raises(UserError) as caught:
        _source(put(tmp_path / "two.csv", EMOBANK + "e,val,1,five\n")).check()
    assert str(caught.value).startswith(
        "data.source.validation=validation: the column 'split' has none, but dev; "
        "data.source.validation=dev takes it, data.source.validation=null leaves it"
    )
    (tmp_path / "two.csv").unlink()
    # in a folder too
    assert _texts(_source(tmp_path, validation="dev")) == expected


def test_rows_of_no_split_are_told(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", EMOBANK + "e,extra,1,five\nf,,1,six\n")
    source = _source(path, validation=None, test=None)
    assert _texts(source) == {"train": ["one", "four"]}
    assert source.describe_unread() == [
        "not read: rows of other splits by 'split': dev 1, test 1, extra 1, nothing 1"
    ]


def test_a_split_column_of_other_formats(tmp_path: Path) -> None:
    rows = [{"text": "a", "V": 1, "split": 1}, {"text": "b", "V": 1, "split": 2}]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    folds = {"train": "1", "validation": "2", "test": None}
    assert _texts(_source(path, **folds)) == {"train": ["a"], "validation": ["b"]}
    path = put(tmp_path / "b.tsv", "a\t1\ttrain\nb\t1\ttest\n")
    options = {"header": False, "text": 0, "label": 1, "split_column": 2}
    assert _texts(_source(path, **options)) == {"train": ["a"], "test": ["b"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_column": "splt"}, "data.source.split_column=splt: a.csv has no such column"),
        (
            {"split_column": "id"},
            "data.source.split_column=id: holds a, b, c, d; say which is which: "
            "data.source.train=NAME",
        ),
        (
            {"validation": "heldout"},
            "data.source.validation=heldout: no row has it; data.source.split_column=split holds "
            "train, dev, test",
        ),
        ({"format": "text", "label": None}, "text files have no split_column"),
    ],
)
def test_a_split_column_that_cannot_be(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = put(tmp_path / "a.csv", EMOBANK)
    with pytest.raises(UserError) as caught:
        _source(path, **options).check()
    assert message in str(caught.value)


def test_a_split_column_beside_files_of_splits(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", EMOBANK)
    put(tmp_path / "test.csv", EMOBANK)
    with pytest.raises(UserError, match=r"is divided already: it has test; give one file"):
        _source(tmp_path).check()
    with pytest.raises(UserError, match="a data set of the hub has its splits"):
        Source(hub="a/b", split_column="split")


def test_a_split_column_that_is_not_used_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", EMOBANK)
    source = _source(path, split_column=None)
    assert source.describe_unread() == [
        "note: the column 'split' divides nothing; data.source.split_column=split divides the rows "
        "by it"
    ]
    put(tmp_path / "both" / "train.csv", EMOBANK)
    put(tmp_path / "both" / "test.csv", EMOBANK)
    assert _source(tmp_path / "both", split_column=None).describe_unread() == []


def test_numbers_of_folds_are_named_in_quotes(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,fold\na,0\nb,1\nc,1\n")
    source = Source(path=str(tmp_path / "a.csv"), split_column="fold")
    with pytest.raises(UserError, match=r"""'data\.source\.train="NUMBER"', """):
        source.check()
    source = Source(path=str(tmp_path / "a.csv"), split_column="fold", train="1", test="0")
    source.check()
    assert [row.text for row in source.read_records("train")] == ["b", "c"]
