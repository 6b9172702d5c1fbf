"""JSON in its shapes: arrays, objects around arrays, nested keys, rows that lack some."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from src import look
from src.core.user_errors import UserError
from src.data.reading.sources import Source
from tests.data.reading.test_readers import fault, put, read
from tests.data.reading.test_sources import check_fault

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


def test_an_empty_object_is_an_empty_row(tmp_path: Path) -> None:
    for content in ('{}\n{"text": "c", "label": "x"}\n', '[{}, {"text": "c", "label": "x"}]'):
        put(tmp_path / "a.json", content)
        source = Source(path=str(tmp_path / "a.json"), label="label")
        source.check()
        rows = [(row.text, row.label) for row in source.read_records("train")]
        assert rows == [("", None), ("c", "x")]


def test_a_table_whose_names_stand_apart(tmp_path: Path) -> None:
    """pandas, orient="split"."""
    table = {"columns": ["no", "said", "mood"], "index": [4, 9]}
    table["data"] = [[1, "what a day", "up"], [2, "oh no", "down"]]
    for indent in (None, 1):
        put(tmp_path / "a.json", json.dumps(table, indent=indent))
        rows = read(tmp_path / "a.json", text="said", label="mood")
        assert [(row.text, row.label) for row in rows] == [("what a day", "up"), ("oh no", "down")]
        assert "no such column; did you mean 'said'" in fault(tmp_path / "a.json", text="sayd")
    # a row that is too short is no row of such a table
    table["data"] = [[1, "what a day"]]
    put(tmp_path / "a.json", json.dumps(table))
    assert "a list, whose values have no names" in fault(tmp_path / "a.json", text="said")


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_row_without_the_text_is_an_empty_one(tmp_path: Path, place: int) -> None:
    """Of many reviews some have a title alone."""
    rows = [f'{{"body": "review {number}", "stars": 5}}' for number in range(4)]
    rows.insert(place, '{"title": "great", "stars": 4}')
    for name, content in (("a.jsonl", "\n".join(rows)), ("b.json", f"[{','.join(rows)}]")):
        put(tmp_path / name, content)
        source = Source(path=str(tmp_path / name), text="body", label="stars")
        source.check()
        records = list(source.read_records("train"))
        assert [record.text == "" for record in records] == [n == place for n in range(5)]
        assert records[place].remark == "without 'body' (data.source.text)"
        assert not any(record.remark for record in records if record.text)
        assert [record.label for record in records if not record.text] == [4]
        # a key that no row has is an error
        with pytest.raises(UserError, match="no such column; did you mean 'title'"):
            Source(path=str(tmp_path / name), text="titel", label="stars").check()


@pytest.mark.parametrize("indent", [None, 2])
def test_splits_in_one_object(tmp_path: Path, indent: int | None) -> None:
    names = {"train": 3, "val": 2, "test": 1, "oos_train": 2}
    parts = {name: [[f"{name} {n}", "x"] for n in range(count)] for name, count in names.items()}
    path = tmp_path / "a.json"
    put(path, json.dumps(parts, indent=indent))
    assert check_fault(path) == (
        "a.json, train, item 1: a list, whose values have no names; "
        "data.source.columns=[text,label] names them"
    )
    source = Source(path=str(path), columns=["text", "label"], label="label")
    source.check()
    for split, name in {"train": "train", "validation": "val", "test": "test"}.items():
        records = list(source.read_records(split))
        assert [row.text for row in records] == [text for text, _ in parts[name]]
        assert records[0].where == f"a.json, {name}, item 1"
    assert len({source.fingerprint_split(split) for split in ("train", "validation", "test")}) == 3
    assert source.list_files().other_parts == ("oos_train",)
    assert source.describe_unread()[0] == (
        "note: a.json, val is validation, by data.source.validation=val; null leaves it out"
    )
    put(path, json.dumps({"oos": [["a", "b"]], "in": [["a", "b"]]}))
    assert check_fault(path) == (
        "a.json: several tables in one file, oos, in; data.source.train=NAME says which is train"
    )
    positions = Source(path=str(path), train="in", header=False, text=0, label=1)
    assert [row[:3] for row in positions.read_records("train")] == [("a", None, "b")]


@pytest.mark.parametrize(
    "content",
    [
        [["a b", "x"], ["c d", "y"]],
        {"train": [["a b", "x"], ["c d", "y"]]},
        {"text": ["a b", "c d"], "label": ["x", "y"]},
        {"text": {"0": "a b", "1": "c d"}, "label": {"0": "x", "1": "y"}},
        {"0": ITEMS[0], "1": ITEMS[1]},
        {"version": 1, "train": ITEMS, "test": []},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_other_shapes_of_tables(tmp_path: Path, content: object, indent: int | None) -> None:
    put(tmp_path / "a.json", json.dumps(content, indent=indent))
    lists = "[[" in json.dumps(content)
    records = read(tmp_path / "a.json", label="label", columns=["text", "label"] if lists else None)
    assert [(row.text, row.label) for row in records] == [("a b", "x"), ("c d", "y")]


def test_lists_line_by_line(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", '["x", "a long text"]\n["y", "b"]\n')
    assert fault(tmp_path / "a.jsonl") == (
        "a.jsonl, line 1: a list, whose values have no names; "
        "data.source.columns=[label,text] names them"
    )
    records = read(tmp_path / "a.jsonl", columns=["label", "text"], label="label")
    assert [(row.text, row.label) for row in records] == [("a long text", "x"), ("b", "y")]
    put(tmp_path / "b.jsonl", '["x", "a"]\n["y"]\n')
    assert fault(tmp_path / "b.jsonl", columns=["label", "text"]) == (
        "b.jsonl, line 2: 1 values, data.source.columns names 2"
    )


def test_whatever_is_broken_is_told_by_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {
        "cut": '{"text": "a", "label": 1',
        "array": '[{"text": "a"},\n {"text": "b"}\n',
        "comma": '[{"text": "a"},]',
        "deep": '{"a":' * 100_000,
        "number": f'{{"text": {"9" * 5000}}}',
        "bare": "nothing",
        "scalar": "5",
    }
    for name, content in broken.items():
        path = put(tmp_path / f"{name}.json", content)
        assert look.main([f"data.source.path={path}"]) == 2
        assert f"error: {name}.json, line 1: " in capsys.readouterr().err


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


def test_ones_and_zeros_in_a_list_are_no_names_of_labels(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": "a", "label": [1, 0, 0]}\n')
    assert fault(path, label="label") == (
        "a.jsonl, line 1: the label is [1, 0, 0]; a list of labels names those that a row has, and "
        "has no 1 or 0 for each; data.source.label_threshold=0.5 takes the places of its ones, "
        "from 0 on, for labels, which data.label_names names"
    )
    put(path, '{"text": "a", "label": [1.0, 0, 1]}\n{"text": "a", "label": [0, 0, 0]}\n')
    records = list(Source(path=str(path), label="label", label_threshold=0.5).read_records("train"))
    assert [row.label for row in records] == [(0, 2), ()]
    assert records[0].remark == "whose labels are the places of ones in a list"
    put(path, '{"text": "a", "label": [1, 0]}\n{"text": "a", "label": [0, 3, 1]}\n')
    assert [row.label for row in read(path, label="label")] == [(1, 0), (0, 3, 1)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"pos": ["a fine day", "sun"], "neg": ["rain again"]}, "label,text"),
        ({"pos": ["a fine day", "sun"], "neg": ["rain again", "x"]}, "label,text"),
        ({"a fine day": "pos", "sun": "pos", "rain again": "a long label"}, "text,label"),
        ({"a fine day": 1, "sun and moon": 1, "rain again": 0}, "text,label"),
    ],
)
def test_keys_that_are_labels_or_texts(
    tmp_path: Path, content: dict[str, object], names: str, indent: int | None
) -> None:
    path = put(tmp_path / "a.json", json.dumps(content, indent=indent))
    shown = check_fault(path, label="label")
    assert shown == (
        "a.json, item 1: a list, whose values have no names; "
        f"data.source.columns=[{names}] names them"
    )
    rows = read(path, label="label", columns=names.split(","))
    found = [(row.text, row.label) for row in rows]
    wanted = [
        pair
        for key, part in content.items()
        for pair in ([(text, key) for text in part] if isinstance(part, list) else [(key, part)])
    ]
    assert found == wanted


def test_keys_that_are_columns(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", json.dumps({"body": ["a", "b", "c"], "stars": ["x", "x", "y"]}))
    assert "a.json has no such column; valid: body, stars" in check_fault(path)
    assert [row.label for row in read(path, text="body", label="stars")] == ["x", "x", "y"]
    path = put(tmp_path / "b.json", json.dumps({"body": "a b", "stars": "x", "id": 5}))
    assert "b.json has no such column; valid: body, id, stars" in check_fault(path)


def test_a_text_that_is_the_key_of_its_label_line_by_line(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", '{"a good film": "pos"}\n{"dull": "neg"}\n')
    assert fault(tmp_path / "a.jsonl") == (
        "a.jsonl, line 1: a list, whose values have no names; "
        "data.source.columns=[text,label] names them"
    )
    records = read(tmp_path / "a.jsonl", columns=["text", "label"], label="label")
    assert [(row.text, row.label) for row in records] == [("a good film", "pos"), ("dull", "neg")]


def test_what_is_broken_over_several_lines(tmp_path: Path) -> None:
    one = '{\n "text": "a"\n}\n'
    put(tmp_path / "a.json", one * 2)
    assert fault(tmp_path / "a.json").endswith(
        "; another value begins at line 4: one after the other they stand on one line each "
        "(jq -c . FILE), or in an array"
    )
    put(tmp_path / "b.json", f"[\n{one},\n]")
    assert "; as one value it is broken at line 6: " in fault(tmp_path / "b.json")
