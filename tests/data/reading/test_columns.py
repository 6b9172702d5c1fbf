"""Which columns are taken: several texts as one, and names for tables that have none."""

import json
from pathlib import Path

import pytest
from openpyxl import Workbook

from src.core.user_errors import UserError
from src.data.reading.columns import ColumnSelection, find_column_errors
from src.data.reading.sources import Source
from src.data.rows.text_template import fill_template, find_template_columns
from tests.data.reading.test_readers import fault, put, read
from tests.data.reading.test_sources import check_fault, put_parquet

NEWS = [("Oil up", "Prices rose."), ("", "No title."), ("No body", "")]
JOINED = ["Oil up\nPrices rose.", "No title.", "No body"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "bare.csv", "named.csv"])
def test_several_columns_are_one_text(tmp_path: Path, name: str) -> None:
    rows = [{"title": title, "body": body, "label": "x"} for title, body in NEWS]
    options: dict[str, object] = {"text": ["title", "body"]}
    if name == "a.parquet":
        put_parquet(tmp_path / name, list(rows))
    elif name == "a.jsonl":
        put(tmp_path / name, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        header = "title,body,label\n" if name == "a.csv" else ""
        put(tmp_path / name, header + "".join(",".join(row.values()) + "\n" for row in rows))
    if name == "bare.csv":
        options = {"header": False, "text": [0, 1]}
    if name == "named.csv":
        options["columns"] = ["title", "body", "label"]
    Source(path=str(tmp_path / name), **options).check()  # type: ignore[arg-type]
    assert [row.text for row in read(tmp_path / name, **options)] == JOINED


TEMPLATE = "{title}: {body} ({title})"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.xlsx", "bare.csv"])
def test_a_template_joins_columns(tmp_path: Path, name: str) -> None:
    """A row is empty where all of its columns are."""
    rows = [{"title": title, "body": body} for title, body in [*NEWS, ("", " ")]]
    options: dict[str, object] = {"template": TEMPLATE}
    if name == "a.parquet":
        put_parquet(tmp_path / name, list(rows))
    elif name == "a.jsonl":
        put(tmp_path / name, "".join(json.dumps(row) + "\n" for row in rows))
    elif name == "a.xlsx":
        book = Workbook()
        for cells in (["title", "body"], *(list(row.values()) for row in rows)):
            book.active.append(cells)
        book.save(tmp_path / name)
    else:
        header = "title,body\n" if name == "a.csv" else ""
        put(tmp_path / name, header + "".join(",".join(row.values()) + "\n" for row in rows))
    if name == "bare.csv":
        options = {"header": False, "template": "{0}: {1} ({0})"}
    Source(path=str(tmp_path / name), **options).check()  # type: ignore[arg-type]
    expected = ["Oil up: Prices rose. (Oil up)", ": No title. ()", "No body:  (No body)", ""]
    assert [row.text for row in read(tmp_path / name, **options)] == expected


def test_names_in_a_template_are_taken_as_they_stand() -> None:
    assert find_template_columns("{{{a.b}}} {c:d}{e!r} {a.b}") == ("a.b", "c:d", "e!r")
    texts = {"a.b": "x", "c:d": "{y}", "e!r": "z"}
    assert fill_template("{{{a.b}}} {c:d}{e!r} {a.b}", texts) == "{x} {y}z x"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("title", "found 'title'"),
        ("{}: {b}", "found '{}: {b}'"),
        (
            "{a",
            "data.source.template={a: no template (expected '}' before end of string): expected",
        ),
    ],
)
def test_templates_without_columns_are_refused(template: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        Source(path="x", template=template)
    assert message in str(error.value)
    assert "columns in braces, such as {title}: {body}" in str(error.value)


def test_what_a_template_does_not_go_with(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "title,body\na,b\n")
    message = check_fault(tmp_path / "a.csv", template="{title}: {bodi}")
    assert message.startswith(
        "data.source.template=bodi: a.csv has no such column; did you mean 'body'"
    )
    put(tmp_path / "a.txt", "one\n")
    assert check_fault(tmp_path / "a.txt", template="{title}") == (
        "data.source.template={title}: text files have no template; give null"
    )
    Source(path="x", text="title", template="{title}: {body}")
    with pytest.raises(UserError) as error:
        Source(path="x", text=["title", "id"], template="{title}: {body}")
    assert str(error.value) == (
        "data.source.template={title}: {body} does not use id, which data.source.text names; put "
        "{id} into it, or leave data.source.text at text"
    )


def test_the_order_of_texts_counts_in_the_fingerprint(tmp_path: Path) -> None:
    path = str(put(tmp_path / "a.csv", "title,body\na,b\n"))
    texts = (["title", "body"], ["body", "title"], "title")
    prints = [Source(path=path, text=text).fingerprint_split("train") for text in texts]  # type: ignore[arg-type]
    assert len(set(prints)) == 3


def test_a_text_column_among_several_that_is_not_there(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "title,body\na,b\n")
    message = check_fault(tmp_path / "a.csv", text=["title", "bodi"])
    assert message.startswith(
        "data.source.text=bodi: a.csv has no such column; did you mean 'body'"
    )
    put(tmp_path / "a.jsonl", '{"title": "a"}\n{"body": "b"}\n{"id": 1}\n')
    rows = read(tmp_path / "a.jsonl", text=["title", "body"])
    assert [(row.text, row.remark) for row in rows] == [
        ("a", None),
        ("b", None),
        ("", "without 'title' (data.source.text)"),
    ]
    with pytest.raises(UserError, match="data.source.text: expected one column or more"):
        Source(path="x", text=[])


def test_columns_without_a_header_are_given_names(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "3,Oil up,Prices rose.\n1,War,Peace.\n")
    names = ["class", "title", "body"]
    rows = read(tmp_path / "a.csv", columns=names, text="title", pair="body", label="class")
    assert [row[:3] for row in rows] == [("Oil up", "Prices rose.", "3"), ("War", "Peace.", "1")]
    wide = fault(tmp_path / "a.csv", columns=["class", "title"], text="title")
    assert wide.startswith("a.csv, line 1: 3 columns, data.source.columns names 2")
    assert check_fault(tmp_path / "a.csv", columns=names, text="titel") == (
        "data.source.text=titel: data.source.columns has no such column; did you mean 'title'? "
        "Columns: class, title, body"
    )
    put(tmp_path / "b.csv", "class,title,body\n1,War,Peace.\n")
    assert check_fault(tmp_path / "b.csv", columns=names, text="title") == (
        "data.source.columns=[class,title,body]: the first line of b.csv holds these very names; "
        "leave this option"
    )
    put(tmp_path / "c.txt", "a\n")
    assert "text files take no names for columns" in check_fault(tmp_path / "c.txt", columns=["a"])
    with pytest.raises(UserError, match="no name twice"):
        Source(path="x", columns=["a", "a"], text="a")


def test_a_name_of_digits_is_shown_as_it_is_typed(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "0,1\ngood,1\n")
    with pytest.raises(UserError) as caught:
        Source(path=str(tmp_path / "a.csv"), text=0)
    assert "'data.source.text=\"0\"'" in str(caught.value)
    assert read(tmp_path / "a.csv", text="0", label="1")[0][:3] == ("good", None, "1")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_all_missing_columns_are_told_at_once(tmp_path: Path, name: str) -> None:
    row = {"review": "a", "stars": "1"}
    if name == "a.parquet":
        put_parquet(tmp_path / name, [dict(row)])
    else:
        put(tmp_path / name, json.dumps(row) if name == "a.jsonl" else "review,stars\na,1\n")
    lines = check_fault(tmp_path / name, text="reviews", pair="other", label="star").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "data.source.text=reviews",
        "data.source.pair=other",
        "data.source.label=star",
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_the_column_of_labels_can_be_left(tmp_path: Path, split: str) -> None:
    put(tmp_path / "train.csv", "text,label\na,1\n")
    put(tmp_path / f"{split}.csv", "id,text\n1,a\n")
    assert check_fault(tmp_path, label="label") == (
        f"data.source.label=label: {split}.csv has no such column; valid: id, text; "
        f"data.source.{split}=null leaves {split} out"
    )
    Source(path=str(tmp_path), label="label", **{split: None}).check()  # type: ignore[arg-type]
    put(tmp_path / "train.csv", "text,stars\na,1\n")
    assert f"data.source.{split}=null" not in check_fault(tmp_path, label="label")


def test_of_many_columns_some_are_named() -> None:
    names = [f"{number:02} " + "x" * 50 for number in range(30)]
    [error] = find_column_errors("a.csv", ColumnSelection("text", None, None), names)
    assert str(error).endswith(" and 10 more")
    assert len(str(error)) < 1000
