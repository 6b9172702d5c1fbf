"""Separators and quotes: rows never vanish, and what to type is named."""

from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.reading_remarks import RemarkCounts
from src.data.reading.sources import Source
from tests.data.reading.test_readers import ROWS, fault, put, put_csv, read


def test_quotes_in_tsv_swallow_no_rows(tmp_path: Path) -> None:
    rows = [("0", '"a'), ("1", "b"), ("0", 'c"'), ("1", '"d"')]
    body = "".join(f"{label}\t{text}\n" for label, text in rows)
    put(tmp_path / "a.tsv", "label\ttext\n" + body)
    assert [(row.label, row.text) for row in read(tmp_path / "a.tsv", label="label")] == rows
    put(tmp_path / "b.txt", body)
    for options in ({"format": "tsv"}, {"format": "csv", "delimiter": "tab"}):
        records = read(tmp_path / "b.txt", header=False, text=1, label=0, **options)
        assert [(row.label, row.text) for row in records] == rows
    assert len(read(tmp_path / "a.tsv", quoting=True)) == 2
    put(tmp_path / "c.tsv", 'text\tlabel\n"a\tb"\t1\n')
    assert fault(tmp_path / "c.tsv").endswith(
        "data.source.quoting=true where quotes stand around cells"
    )
    put(tmp_path / "d.tsv", 'text\n"he said ""no"""\n')
    assert "data.source.quoting=true takes them for quotes" in fault(tmp_path / "d.tsv")
    assert read(tmp_path / "d.tsv", quoting=True)[0].text == 'he said "no"'
    assert read(tmp_path / "d.tsv", quoting=False)[0].text == '"he said ""no"""'


@pytest.mark.parametrize(
    ("name", "delimiter"), [("semicolon", ";"), ("pipe", "|"), ("^", "^"), ("tab", "\t")]
)
def test_other_delimiters(tmp_path: Path, name: str, delimiter: str) -> None:
    put_csv(tmp_path / "a.csv", [("text", "label"), *ROWS], delimiter=delimiter)
    records = read(tmp_path / "a.csv", label="label", delimiter=name, quote="double")
    assert [(row.text, row.label) for row in records] == ROWS


def test_quotes_of_another_kind(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "Sport;'Ein Tor; ''schön'''\nWeb;'kurz, gut'\n")
    records = read(tmp_path / "a.csv", header=False, text=1, label=0, delimiter=";", quote="single")
    assert [row.text for row in records] == ["Ein Tor; 'schön'", "kurz, gut"]
    put(tmp_path / "b.csv", 'text,label\n"He said \\"hi\\", ok",1\n')
    assert fault(tmp_path / "b.csv").endswith(
        "data.source.escape=backslash where a backslash stands before quotes inside"
    )
    assert read(tmp_path / "b.csv", escape="backslash")[0].text == 'He said "hi", ok'


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("text;label\na, b;1\n", {}),
        ('"text";"label"\n"a, b";"1"\n', {}),
        ("id|text|x, y\n1|a, b|2\n", {}),
        ("1;a, b\n0;c\n", {"header": False, "text": 1}),
        ("1;a, b, c\n0;c, d\n0;c\n", {"header": False, "text": 1}),
        ("1;a\n0;c\n", {"header": False, "text": 1}),
    ],
)
def test_the_delimiter_to_type_is_named(
    tmp_path: Path, content: str, options: dict[str, object]
) -> None:
    put(tmp_path / "a.csv", content)
    name = "pipe" if "|" in content else "semicolon"
    assert f"data.source.delimiter={name}" in fault(tmp_path / "a.csv", **options)
    assert read(tmp_path / "a.csv", delimiter=name, **options)


def test_rows_that_a_quote_swallows_are_counted(tmp_path: Path) -> None:
    rows = [f"{n % 2},text {n}" for n in range(60)]
    rows[10], rows[20] = '0,"text 10', '0,text 20"'
    put(tmp_path / "a.csv", "label,text\n" + "\n".join(rows))
    records = read(tmp_path / "a.csv", label="label")
    counts = RemarkCounts()
    for record in records:
        counts.count("train", record)
    assert len(records) == 50
    assert counts.describe() == [
        "train: 1 row over several lines that all look like rows of their own: "
        "data.source.quoting=false where quotes are ordinary characters (the first: a.csv, line 12)"
    ]
    assert len(read(tmp_path / "a.csv", quoting=False)) == 60
    put(tmp_path / "b.csv", 'label,text\n1,"Dear all,\nhello, you,\nbye"\n0,x\n0,"a\nb"\n')
    assert [record.remark for record in read(tmp_path / "b.csv")] == [
        "over several lines, in quotes",
        None,
        "over several lines, in quotes",
    ]


def test_characters_that_are_none() -> None:
    for key in ("delimiter", "quote", "escape"):
        with pytest.raises(UserError, match=f"data.source.{key}=ab: expected one character"):
            Source(path="x", **{key: "ab"})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="give one of the two"):
        Source(path="x", quoting=False, quote="single")


def test_a_first_line_for_spreadsheets_names_the_delimiter(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "sep=;\r\ntext;label\r\na, b;1\r\n")
    assert fault(tmp_path / "a.csv") == (
        "a.csv, line 1 says that columns are parted by ';': data.source.delimiter=semicolon"
    )
    [row] = read(tmp_path / "a.csv", label="label", delimiter="semicolon")
    assert (row.text, row.label, row.where) == ("a, b", "1", "a.csv, line 3")


def test_blanks_around_names_of_columns(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text , label\na,1\n")
    for text, label in (("text", "label"), ("text ", " label")):
        [row] = read(tmp_path / "a.csv", text=text, label=label)
        assert (row.text, row.label) == ("a", "1")
    put(tmp_path / "b.csv", " text,text,label\na,b,1\n")
    assert read(tmp_path / "b.csv")[0].text == "b"


def test_columns_of_one_name_are_all_kept(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text,note,note\na,1,2\n")
    [record] = Source(path=str(path)).read_records("train", keep_other=True)
    assert record.other == {"text": "a", "note": "1", "note_2": "2"}


def test_delimiters_of_several_characters(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text ||| label\na | b ||| x\nc, d ||| y\n")
    rows = read(path, label="label", delimiter=" ||| ")
    assert [(row.text, row.label) for row in rows] == [("a | b", "x"), ("c, d", "y")]
    put(tmp_path / "b.csv", "1::a:b\n0::c\n")
    rows = read(tmp_path / "b.csv", header=False, text=1, label=0, delimiter="::")
    assert [(row.text, row.label) for row in rows] == [("a:b", "1"), ("c", "0")]
    assert "b.csv, line 1: 1 columns" in fault(
        tmp_path / "b.csv", header=False, text=1, delimiter=" ||| "
    )


def test_comments_between_rows(tmp_path: Path) -> None:
    quoted = '"a\n# no comment",1\n'
    path = put(tmp_path / "a.csv", f"# made by us\ntext,label\n{quoted}# checked\nb,0\n#c,1\n")
    rows = read(path, label="label", comment="hash")
    assert [(row.text, row.label, row.where) for row in rows] == [
        ("a\n# no comment", "1", "a.csv, line 3"),
        ("b", "0", "a.csv, line 6"),
    ]
    put(tmp_path / "b.csv", "text,label\na,1\n# checked\nb,0\n")
    assert fault(tmp_path / "b.csv", label="label") == (
        "b.csv, line 3: 1 columns, the header has 2; data.source.comment=hash passes over lines "
        "that begin with '#'"
    )
    assert len(read(tmp_path / "b.csv", comment="hash")) == 2
    put(tmp_path / "c.csv", "text,label\na,1\n%% x\nb,0\n")
    assert len(read(tmp_path / "c.csv", comment="%%")) == 2


def test_lines_that_seem_to_be_no_rows_are_read_and_told(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\n# checked, by me\n#happy day,1\nTotal,40\nTotal bore,0\n")
    counts = RemarkCounts()
    for record in read(tmp_path / "a.csv", label="label"):
        counts.count("train", record)
    assert counts.describe() == [
        "train: 1 row beginning with '#' (comments are passed over by data.source.comment=hash) "
        "(the first: a.csv, line 2)",
        "train: 1 row with 'Total' in the first cell, as a sum below a table has it "
        "(the first: a.csv, line 4)",
    ]
    put(tmp_path / "c.csv", "text,label\n---,:---\na,1\ntext,label\nb,0\n---,1\n")
    remarks = [str(record.remark) for record in read(tmp_path / "c.csv", label="label")]
    assert remarks == [
        "of dashes, as Markdown has it below a header",
        "None",
        "with the names of the columns, as where tables were joined",
        "None",
        "None",
    ]
    put(tmp_path / "b.csv", "label,text\n1,a\n#0,b\n# by me,c\n")
    options = {"header": False, "label": 0, "text": 1}
    remarks = [record.remark for record in read(tmp_path / "b.csv", **options)]
    assert remarks[0] is not None and "data.source.skip_rows=1 passes over the first" in remarks[0]
    assert [bool(remark) for remark in remarks] == [True, False, False, True]
    assert len(read(tmp_path / "b.csv", skip_rows=1, **options)) == 3
