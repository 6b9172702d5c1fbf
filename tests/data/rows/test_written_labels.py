"""Tags and spans of words that stand as text in the cells of a table."""

import json
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.data.rows.token_labels import EntitySpan, TokenLabels
from src.data.rows.written_labels import parse_written_list
from src.look import main
from tests.data.reading.test_readers import put

TAGS = "['B-per', 'O', 'O', 'B-geo']"
SPANS = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}]


def _quote(cell: object) -> str:
    return '"' + str(cell).replace('"', '""') + '"'


def _read(tmp_path: Path, text: str, label: str, **options: str) -> list[object]:
    file = tmp_path / "a.csv"
    put(file, f"text,label\n{_quote(text)},{_quote(label)}\n")
    source = Source(path=str(file), label="label", **options)
    return [(one.text, one.label, one.words) for one in source.read_records("train")]


@pytest.mark.parametrize("label", [TAGS, TAGS.replace("'", '"'), f" {TAGS} "])
@pytest.mark.parametrize(
    "text", ["Ada met in Oslo", "Ada  met in Oslo ", "['Ada', 'met', 'in', 'Oslo']"]
)
def test_a_list_of_tags(tmp_path: Path, text: str, label: str) -> None:
    tags = TokenLabels(tags=("B-per", "O", "O", "B-geo"))
    words = ((0, 3), (4, 7), (8, 10), (11, 15))
    assert _read(tmp_path, text, label) == [("Ada met in Oslo", tags, words)]


@pytest.mark.parametrize(
    ("text", "label", "tags"),
    [
        (
            "['Ada' 'met' \"don't\"\n 'Oslo']",
            "['B-per' 'O' 'O'\n 'B-geo']",
            ("B-per", "O", "O", "B-geo"),
        ),
        ("['Ada' 'met' \"don't\" 'Oslo']", "[3 0 0 5]", (3, 0, 0, 5)),
        ("['Ada', 'met', \"don't\", 'Oslo']", "[3, 0, 0, 5]", (3, 0, 0, 5)),
    ],
)
def test_arrays_as_numpy_writes_them(
    tmp_path: Path, text: str, label: str, tags: tuple[str | int, ...]
) -> None:
    """As pandas writes columns of lists that came from Parquet into CSV."""
    words = ((0, 3), (4, 7), (8, 13), (14, 18))
    assert _read(tmp_path, text, label) == [("Ada met don't Oslo", TokenLabels(tags=tags), words)]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("['a' 'b']", ["a", "b"]),
        ("[0 1 1]", [0, 1, 1]),
        ("[ 0.  1. -.5]", [0.0, 1.0, -0.5]),
        ("[ True False]", [True, False]),
        ("['a']", ["a"]),
        ("[a b]", None),
        ("['a' ... 'b']", None),
    ],
)
def test_lists_in_cells(cell: str, found: list[object] | None) -> None:
    assert parse_written_list(cell) == found


@pytest.mark.parametrize("label", [json.dumps(SPANS), "[(0, 3, 'PER')]", '[[0, 3, "PER"]]'])
def test_a_list_of_spans(tmp_path: Path, label: str) -> None:
    spans = TokenLabels(spans=(EntitySpan(0, 3, "PER"),))
    assert _read(tmp_path, "Ada  met", label) == [("Ada  met", spans, None)]


@pytest.mark.parametrize("label", ["['good', 'O']", "[good]", "B-per", "['B-per', 'O'", "[1, 2]"])
def test_other_labels_are_as_they_stand(tmp_path: Path, label: str) -> None:
    assert _read(tmp_path, "two words", label) == [("two words", label, None)]


def test_a_separator_that_was_typed_is_obeyed(tmp_path: Path) -> None:
    found = _read(tmp_path, "two words", "['B-per', 'O']", label_separator="comma")
    assert found == [("two words", ("B-per", "O"), None)]


def test_a_span_outside_the_text(tmp_path: Path) -> None:
    message = r"a.csv, line 2: the span \[0, 3, 'PER'\] is none of the text"
    with pytest.raises(UserError, match=message):
        _read(tmp_path, "Ad", json.dumps(SPANS))


@pytest.mark.parametrize("good", [9, 0])
def test_rows_with_more_tags_than_words_have_no_label_which_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], good: int
) -> None:
    rows = [f"Ada met{n} in Oslo,{_quote(TAGS)}\n" for n in range(good)]
    rows += [f"Ada met {n} in Oslo.,{_quote(TAGS)}\n" for n in range(3)]
    put(tmp_path / "a.csv", "".join(["text,tags\n", *rows]))
    assert main([f"data.source.path={tmp_path}/a.csv", "data.source.label=tags"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"rows: train {good + 3}, 3 without a label" in shown
    assert "3 rows with more or fewer tags than words between blanks, which have no" in shown
    assert "to train on it (token_classification):" in shown


def test_a_look_takes_them_for_labels_of_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Kaggle's ner.csv and Label Studio's CSV have them."""
    parts = _quote(["NNP", "VBD", "IN", "NNP"])
    rows = [f"Sentence: {n},Ada met{n} in Oslo,{parts},{_quote(TAGS)}\n" for n in range(30)]
    put(tmp_path / "ner.csv", "".join(["Sentence #,Sentence,POS,Tag\n", *rows]))
    cells = [_quote(json.dumps(SPANS)) if n % 4 else "" for n in range(30)]
    rows = [f"Ada met {n},{n},{cells[n]},1,{n / 7}\n" for n in range(30)]
    put(tmp_path / "spans.csv", "".join(["text,id,label,annotator,lead_time\n", *rows]))
    for name, columns in (("ner", "text=Sentence, label=Tag"), ("spans", "text=text, label=label")):
        assert main([f"data.source.path={tmp_path}/{name}.csv"]) == 0
        shown = capsys.readouterr().out
        assert f"guessed columns: {columns}\nto train on it (token_classification):" in shown
        assert "label_separator" not in shown
