import json
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.reading.label_cells import LabelReading
from src.data.reading.sources import Source
from src.data.rows.labels import as_label_set, require_single_label
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import (
    EntitySpan,
    TokenLabels,
    find_words,
    join_words,
    require_token_labels,
)
from src.data.rows.written_labels import read_written_labels

TEXT = "Ada went to Bath."
SPANS = TokenLabels(spans=(EntitySpan(0, 3, "PER"), EntitySpan(12, 16, "LOC")))


def _read(path: Path, rows: list[Any], **options: Any) -> list[RawRecord]:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    source = Source(path=str(path), **options)
    source.check()
    return list(source.read_records("train"))


@pytest.mark.parametrize(
    ("row", "options"),
    [
        # doccano, and its other form
        ({"text": TEXT, "label": [[0, 3, "PER"], [12, 16, "LOC"]]}, {"label": "label"}),
        (
            {
                "text": TEXT,
                "entities": [
                    {"id": 1, "label": "LOC", "start_offset": 12, "end_offset": 16},
                    {"id": 0, "label": "PER", "start_offset": 0, "end_offset": 3},
                ],
                "relations": [],
            },
            {"label": "entities"},
        ),
        # spaCy's training data as JSON
        (
            [TEXT, {"entities": [[0, 3, "PER"], [12, 16, "LOC"]]}],
            {"columns": ["text", "notes"], "label": "notes.entities"},
        ),
        # Prodigy
        (
            {
                "text": TEXT,
                "tokens": [{"text": "Ada", "start": 0, "end": 3, "id": 0}],
                "spans": [
                    {"start": 0, "end": 3, "label": "PER", "token_start": 0},
                    {"start": 12, "end": 16, "label": "LOC"},
                ],
            },
            {"label": "spans"},
        ),
        # Label Studio, whole and in short
        (
            {
                "data": {"text": TEXT},
                "annotations": [
                    {
                        "result": [
                            {"value": {"start": 0, "end": 3, "labels": ["PER"]}},
                            {"value": {"choices": ["news"]}},
                            {"value": {"start": 12, "end": 16, "labels": ["LOC"]}},
                        ]
                    }
                ],
            },
            {"text": "data.text", "label": "annotations"},
        ),
        (
            {
                "text": TEXT,
                "label": [
                    {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
                    {"start": 12, "end": 16, "text": "Bath", "labels": ["LOC"]},
                ],
            },
            {"label": "label"},
        ),
    ],
)
def test_spans_as_tools_write_them(tmp_path: Path, row: Any, options: dict[str, Any]) -> None:
    records = _read(tmp_path / "a.jsonl", [row, row], **options)
    assert [(record.text, record.label) for record in records] == [(TEXT, SPANS)] * 2


def test_offsets_of_browsers_count_an_emoji_twice(tmp_path: Path) -> None:
    text = "👍 nice 🚀 Ada went to Rome"
    expected = [EntitySpan(9, 12, "PER"), EntitySpan(21, 25, "LOC")]
    assert [text[span.begin : span.end] for span in expected] == ["Ada", "Rome"]
    plain = [[11, 14, "PER"], [23, 27, "LOC"]]
    quoted = [
        {"start": begin, "end": end, "text": quote, "labels": [name]}
        for (begin, end, name), quote in zip(plain, ("Ada", "Rome"), strict=True)
    ]
    right = [[9, 12, "PER"], [21, 25, "LOC"]]
    rows = [{"text": text, "label": spans} for spans in (plain, quoted, right)]
    read = [record.label for record in _read(tmp_path / "a.jsonl", rows, label="label")]
    twice = TokenLabels(spans=tuple(expected), remarks=("utf16", "utf16"))
    assert read == [twice, twice, TokenLabels(spans=tuple(expected))]
    # neither reading fits: as they stand, and it is remarked
    for spans, remarks in (
        ([{"start": 0, "end": 3, "text": "Eve", "labels": ["PER"]}], ("quoted",)),
        ([[12, 16, "PER"]], ()),
    ):
        (record,) = _read(tmp_path / "b.jsonl", [{"text": text, "label": spans}], label="label")
        assert isinstance(record.label, TokenLabels)
        assert record.label.remarks == remarks


def test_a_span_with_two_labels_is_read_with_the_first(tmp_path: Path) -> None:
    """Label Studio lets a span have several, in JSON and in the cells of its CSV."""
    span = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER", "BOSS"]}
    expected = TokenLabels(spans=(EntitySpan(0, 3, "PER"),), remarks=("several",))
    [record] = _read(tmp_path / "a.jsonl", [{"text": TEXT, "label": [span]}], label="label")
    assert record.label == expected
    cell = RawRecord(TEXT, None, json.dumps([span]), "row 1")
    assert read_written_labels(cell).label == expected


def test_tokens_and_tags(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ada", "left"], "ner_tags": [1, 0]}]
    # one row too is no table that is kept by column
    for count in (1, 3):
        records = _read(tmp_path / "a.jsonl", rows * count, text="tokens", label="ner_tags")
        assert len(records) == count
        assert records[0].text == "Ada left"
        assert records[0].words == ((0, 3), (4, 8))
        assert records[0].label == TokenLabels(tags=(1, 0))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": ["a", "b"], "label": ["O"]},
            "a.jsonl, line 1: 2 words and 1 tags; expected a tag for each word",
        ),
        ({"text": ["a"], "label": [0.5]}, "the tag 0.5 is neither a text nor a whole number"),
        (
            {"text": "abc", "label": [[0, 4, "X"]]},
            "a.jsonl, line 1: the span [0, 4, 'X'] is none of the text, which has 3 characters",
        ),
        ({"text": "abc", "label": [[2, 2, "X"]]}, "the span [2, 2, 'X'] is none of the text"),
        ({"text": "abc", "label": [[0, 1]]}, "a.jsonl, line 1: [0, 1] is no entity; expected"),
        ({"text": "abc", "label": [{"start": 0, "end": 1}]}, "is no entity; expected spans as"),
    ],
)
def test_faults(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path / "a.jsonl", [row, {"text": "x", "label": []}], label="label")
    assert message in str(caught.value)


def test_words_of_a_text() -> None:
    def words(text: str) -> list[str]:
        return [text[begin:end] for begin, end in find_words(text)]

    assert words("Ada's co-op, 3.5 km") == [
        *("Ada", "'", "s", "co", "-", "op", ",", "3", ".", "5", "km")
    ]
    # scripts without spaces: one word a character; accents stay with their letter
    assert words("東京です e\u0301t\u00e9") == ["東", "京", "で", "す", "e\u0301t\u00e9"]
    assert words(" \n") == []
    assert join_words(["a", "", "bc"]) == ("a  bc", ((0, 1), (2, 2), (3, 5)))


def test_labels_of_words_are_no_labels_of_texts() -> None:
    for read in (require_single_label, as_label_set):
        with pytest.raises(UserError, match=r"a\.csv, line 2: words of the text are labelled"):
            read(SPANS, "a.csv, line 2")


def test_labels_of_texts_are_none_of_words() -> None:
    assert require_token_labels(RawRecord("a", None, (), "row 1")) == TokenLabels()
    with pytest.raises(UserError, match="row 1: the label is 'pos'; expected a list"):
        require_token_labels(RawRecord("a", None, "pos", "row 1"))


def test_options_of_labels_are_not_for_those_of_words() -> None:
    record = RawRecord(TEXT, None, SPANS, "row 1")
    assert LabelReading().read_record(record) == record
    with pytest.raises(UserError, match="row 1: the words of the text have tags"):
        LabelReading(separator="comma").read_record(record)
