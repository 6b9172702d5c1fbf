"""Labels that are merged, renamed and left out, and names of classes from a file."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.preparation.label_map import LabelMap, read_label_names
from tests.data.test_datamodule import _data, _prepared, _texts, _write


def _stars(folder: Path, labels: list[Any]) -> None:
    rows = list(zip(_texts(len(labels)), labels, strict=True))
    _write(folder / "data" / "train.csv", rows)


def test_stars_become_two_classes(tmp_path: Path) -> None:
    """Labels merged, rows of one label left out."""
    _stars(tmp_path, [1, 2, "3", 4, "5.0"] * 8)
    mapping = {1: "neg", 2: "neg", "4": "pos", 5: "pos", 6: "pos"}
    data = _prepared(tmp_path, label_map=mapping)
    summary = data.data_summary
    assert summary["label_names"] == ["neg", "pos"]
    assert summary["rows"] == {"train": 28, "validation": 4}
    assert summary["counts"]["train/unmapped_label"] == 8
    lines = [" ".join(line.split()) for line in data.describe_reading().lines]
    assert lines[2:] == [
        "left out of 40 rows read for train: 8 with a label that data.label_map leaves out",
        "note: data.label_map leaves out the labels '3' 8",
        "note: 1 label of data.label_map is in no row: '6'",
    ]
    # another map is another content
    other = _prepared(tmp_path, label_map={**mapping, 3: "neutral"})
    assert other.data_summary["label_names"] == ["neg", "neutral", "pos"]
    # and names may set the order
    named = _prepared(tmp_path, label_map=mapping, label_names=["pos", "neg"])
    assert named.dataset_info.label_names == ("pos", "neg")


def test_no_row_is_left(tmp_path: Path) -> None:
    _stars(tmp_path, ["a", "b"] * 8)
    with pytest.raises(UserError) as caught:
        _prepared(tmp_path, label_map={"A": "x", "B": "y"})
    assert str(caught.value) == (
        "no rows are left for train: 16 were read, 16 with a label that data.label_map leaves out"
    )


def test_a_mistyped_label_is_named_where_one_class_is_left(tmp_path: Path) -> None:
    _stars(tmp_path, [1, 5] * 10)
    with pytest.raises(UserError, match="leaves out the labels '5' 10; .* is in no row: '55'$"):
        _prepared(tmp_path, label_map={1: "bad", 55: "good"})


def test_labels_of_rows_with_several() -> None:
    label_map = LabelMap({"joy": "good", "love": "good", "anger": "bad", "neutral": None})
    assert label_map.map_labels(("anger", "joy", "love")) == ("bad", "good")
    assert label_map.map_labels(("joy", "neutral", "fear")) == ("good",)
    assert label_map.map_labels(("neutral",)) is None
    assert label_map.map_labels(()) == ()
    assert label_map.map_labels(None) is None
    assert list(label_map.describe()) == [
        "data.label_map leaves out the labels 'neutral' 2, 'fear' 1"
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label_map": {True: "a"}}, "data.label_map: expected labels, found true; YAML reads yes"),
        ({"label_map": {1: "a", "1.0": "b"}}, "data.label_map: '1' stands there 2 times"),
        ({"label_map": {1: None}}, "data.label_map leaves out every label; such as"),
        ({"label_map": {}}, "data.label_map leaves out every label; such as"),
        (
            {"label_map": {1: "a"}, "task": "regression"},
            "data.label_map goes with labels that are classes, found data.task=regression",
        ),
    ],
)
def test_maps_that_cannot_be(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        _data(tmp_path, **changed)
    assert message in str(caught.value)


def test_names_of_classes_from_a_file(tmp_path: Path) -> None:
    """GoEmotions: emotions.txt beside labels that are numbers."""
    _stars(tmp_path, [0, 1, 2] * 8)
    names = tmp_path / "emotions.txt"
    names.write_bytes(b"\xef\xbb\xbfadmiration\r\namusement\r\nanger\r\n\r\n")
    data = _prepared(tmp_path, label_names=str(names))
    assert data.dataset_info.label_names == ("admiration", "amusement", "anger")
    rows = data.data_summary["labels"]["train"]
    assert Counter(rows) == {"admiration": 7, "amusement": 7, "anger": 7}
    # the content of the file counts, not its name
    names.write_text("a\nb\nc\n")
    assert _prepared(tmp_path, label_names=str(names)).dataset_info.label_names == ("a", "b", "c")


def test_files_of_names_that_cannot_be(tmp_path: Path) -> None:
    _stars(tmp_path, [0, 1] * 8)
    with pytest.raises(UserError) as caught:
        _data(tmp_path, label_names="pos").config.check()
    assert str(caught.value) == (
        "data.label_names=pos: there is no such file; names stand in a list, "
        "data.label_names=[neg,pos], or one a line in a file, data.label_names=labels.txt"
    )
    names = tmp_path / "labels.txt"
    names.write_text("a\n\nb\n")
    with pytest.raises(UserError, match=r"labels\.txt, line 2: a blank line between names"):
        read_label_names(str(names))
    names.write_text("a\nb\n")
    with pytest.raises(UserError, match=r"^data\.num_labels=3, but data\.label_names has 2: a, b "):
        _data(tmp_path, label_names=str(names), num_labels=3).config.check()
