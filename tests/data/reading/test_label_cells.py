"""Labels as files write them: parts of them, several in a cell or a line, a column for each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.batches.batching import Labelled
from src.data.data_config import DataConfig
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.label_cells import guess_decimal, has_decimal_commas
from src.data.reading.sources import Source
from src.data.tokenization.tokenizer import WordPiece
from src.look import main as look
from tests.data.reading.test_readers import fault, put, read

Labels = Callable[..., list[Any]]


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    """The labels of a file with this content, read with these options."""

    def read(name: str, content: str, **options: Any) -> list[Any]:
        (tmp_path / name).write_bytes(content.encode(options.get("encoding", "utf-8")))
        source = Source(path=str(tmp_path / name), **({"label": "label"} | options))
        source.check()
        return [record.label for record in source.read_records("train")]

    return read


def test_a_part_of_the_label_at_the_beginning_of_a_line(labels: Labels, tmp_path: Path) -> None:
    """TREC."""
    lines = "DESC:manner How did serfdom develop ?\nHUM:ind Who was Camus\xe9 ?\nHUM:gr Which ?\n"
    settings = {"format": "label_first", "encoding": "latin-1"}
    assert labels("a.label", lines, **settings) == ["DESC:manner", "HUM:ind", "HUM:gr"]
    coarse = {**settings, "label_pattern": "^([^:]+)"}
    assert labels("a.label", lines, **coarse) == ["DESC", "HUM", "HUM"]
    source = Source(path=str(tmp_path / "a.label"), label="label", **coarse)  # type: ignore[arg-type]
    assert next(record.text for record in source.read_records("train")) == (
        "How did serfdom develop ?"
    )
    fine = Source(path=str(tmp_path / "a.label"), label="label", **settings)  # type: ignore[arg-type]
    assert source.fingerprint_split("train") != fine.fingerprint_split("train")
    with pytest.raises(UserError) as caught:
        labels("a.label", lines + "HUM what\n", **{**settings, "label_pattern": "(.+):"})
    assert str(caught.value) == (
        "a.label, line 4: does not match the label, found 'HUM' (data.source.label_pattern)"
    )


def test_lists_that_are_written_into_cells(labels: Labels) -> None:
    """As pandas writes lists and arrays."""
    cells = ["['x, y', 'b']", "['a' 'b']", "[]", "[5, 07]", "[1.0, 2e1]"]
    content = "".join(["text,label\n", *(f'a film,"{cell}"\n' for cell in cells)])
    found = labels("a.csv", content, label_separator="comma")
    assert found == [("x, y", "b"), ("a", "b"), (), ("5", "07"), ("1.0", "2e1")]
    assert labels("b.csv", 'text,label\na,"MM\nPR"\n', label_separator="newline") == [("MM", "PR")]


@pytest.mark.parametrize("cell", ["[0, 1, 1]", "[0 1 1]", "[0. 1. 1.]", "0,1,1"])
def test_lists_of_ones_and_zeros_in_cells(
    labels: Labels, tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: str
) -> None:
    content = f'text,label\na film,"{cell}"\n'
    with pytest.raises(UserError, match="data.source.label_threshold=0.5 takes the places of its"):
        labels("a.csv", content, label_separator="comma")
    # what the message says is added to what was typed
    options = {"label_separator": "comma", "label_threshold": 0.5}
    assert labels("a.csv", content, **options) == [(1, 2)]
    if cell.startswith("["):
        assert labels("a.csv", content, label_threshold=0.5) == [(1, 2)]
    cells = [cell, cell.replace("1", "0", 1), cell.replace("0", "1", 1)]
    rows = [f'a film {n},"{cells[n % 3]}"\n' for n in range(12)]
    (tmp_path / "a.csv").write_text("".join(["text,label\n", *rows]))
    assert look([f"data.source.path={tmp_path}/a.csv"]) == 0
    assert "label_threshold=0.5" in capsys.readouterr().out


def test_several_labels_in_a_cell(labels: Labels) -> None:
    """GoEmotions: no header, numbers joined by commas."""
    lines = '"Hm", he said\t5,18,20\ta\nplain\t27\tb\nnone\t\tc\n'
    options = {"header": False, "text": 0, "label": 1, "label_separator": "comma"}
    assert labels("train.tsv", lines, **options) == [("5", "18", "20"), ("27",), None]


@pytest.mark.parametrize(
    ("cell", "separator", "expected"),
    [
        ("a; b;", ";", ("a", "b")),
        ("a|b", "pipe", ("a", "b")),
        ("['joy', 'mild anger']", "comma", ("joy", "mild anger")),
        ("[5 18]", "space", ("5", "18")),
        ("[]", "comma", ()),
        ("a :: b", "::", ("a", "b")),
        ('{""choices"": [""a, b"", ""c""]}', "comma", ("a, b", "c")),
        ('{""topics"": []}', "semicolon", ()),
    ],
)
def test_ways_to_part_labels(
    labels: Labels, cell: str, separator: str, expected: tuple[str, ...]
) -> None:
    content = f'text,label\nx,"{cell}"\n'
    assert labels("a.csv", content, label_separator=separator) == [expected]


def test_labels_at_the_beginning_of_a_line_in_the_way_of_fasttext(
    labels: Labels, tmp_path: Path
) -> None:
    lines = "__label__a __label__b the __label__ text\n__label__b  more\nplain words\n__label__a\n"
    options = {"format": "label_first"}
    assert labels("a.txt", lines, **options) == [
        ("__label__a", "__label__b"),
        "__label__b",
        "plain",
        "__label__a",
    ]
    pattern = {"label_pattern": "(?:__label__)?(.+)"}
    assert labels("a.txt", lines, **options, **pattern) == [("a", "b"), "b", "plain", "a"]
    source = Source(path=str(tmp_path / "a.txt"), format="label_first")
    assert [record.text for record in source.read_records("train")] == [
        "the __label__ text",
        "more",
        "words",
        "",
    ]


def test_lists_in_json(labels: Labels) -> None:
    rows = [{"text": "x", "label": value} for value in (["a", "b"], [], None, "c", ["a", None])]
    content = "\n".join(map(json.dumps, rows))
    assert labels("a.jsonl", content) == [("a", "b"), (), None, "c", ("a",)]
    with pytest.raises(UserError, match=r"the label is \{'a': 1\} \(dict\); expected a text, a "):
        labels("a.jsonl", json.dumps({"text": "x", "label": {"a": 1}}))


def test_lists_in_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [{"text": "x", "label": [2, 0]}, {"text": "y", "label": []}]
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    source = Source(path=str(tmp_path / "a.parquet"), label="label")
    assert [record.label for record in source.read_records("train")] == [(2, 0), ()]


TOXIC = "id,comment_text,toxic,obscene,threat\n1,a,0,0,0\n2,b,1,1,0\n3,c,0,1.0,true\n4,d,,,\n"


def test_a_column_for_each_label(labels: Labels) -> None:
    """Jigsaw's toxic comments, and the same in JSON."""
    columns = {"text": "comment_text", "label": ["toxic", "obscene", "threat"]}
    expected = [(), ("toxic", "obscene"), ("obscene", "threat"), None]
    assert labels("train.csv", TOXIC, **columns) == expected
    rows = [{"text": "b", "toxic": True, "threat": 0}, {"text": "c", "toxic": 0, "threat": 1}]
    content = "\n".join(map(json.dumps, rows))
    assert labels("a.jsonl", content, label=["toxic", "threat"]) == [("toxic",), ("threat",)]
    numbers = {"header": False, "text": 0, "label": [1, 2]}
    assert labels("b.csv", "x,0,1\ny,1,0\n", **numbers) == [("2",), ("1",)]
    with pytest.raises(UserError, match=r"data\.source\.label=insult: .* has no such column"):
        labels("train.csv", TOXIC, **{**columns, "label": ["toxic", "insult"]})


def test_fractions_need_a_threshold(labels: Labels) -> None:
    """ETHOS: semicolons, the share of judges who said yes."""
    rows = "comment;violence;gender\nx;0.25;0.5\ny;1.0;0.0\n"
    options = {"text": "comment", "delimiter": "semicolon", "label": ["violence", "gender"]}
    with pytest.raises(UserError) as caught:
        labels("ethos.csv", rows, **options)
    assert str(caught.value) == (
        "ethos.csv, line 2: column 'violence' is 0.25, but the columns of data.source.label say "
        "with 1 and 0 which labels a row has; data.source.label_threshold=0.5 takes values from "
        "0.5 on for a yes"
    )
    assert labels("ethos.csv", rows, **options, label_threshold=0.5) == [
        ("gender",),
        ("violence",),
    ]
    # and of a single column
    assert labels("ethos.csv", rows, **{**options, "label": "gender"}, label_threshold=0.5) == [
        1,
        0,
    ]
    with pytest.raises(UserError, match=r"line 2: the label is 'x'; expected a number"):
        labels("ethos.csv", rows, **{**options, "label": "comment"}, label_threshold=0.5)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("-1,-1", "column 'a' is -1, .*; data.source.test=null leaves out test"),
        ("0,", "column 'b' is empty; expected 1 or 0, or a word for it: yes, no"),
        ("good,no", "column 'a' is 'good'; expected 1 or 0, or a word .* checked, unchecked"),
    ],
)
def test_columns_of_labels_that_hold_something_else(
    labels: Labels, cells: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        labels("a.csv", f"text,a,b\nx,{cells}\n", label=["a", "b"])


def test_columns_of_labels_with_marks_or_words(tmp_path: Path) -> None:
    """As surveys and people write them: a cross, or nothing."""
    cells = ["x,,", ",X,x", "yes,no,no", "1,,", "0,1,0", ",,"]
    put(tmp_path / "a.csv", "text,a,b,c\n" + "".join(f"t,{row}\n" for row in cells))
    records = read(tmp_path / "a.csv", label=["a", "b", "c"])
    assert [one.label for one in records] == [("a",), ("b", "c"), ("a",), ("a",), ("b",), None]
    marked = "whose label columns hold marks or words, read as 1 and 0"
    empty = "with empty label columns, read as 0"
    assert [one.remark for one in records] == [
        f"{marked} and {empty}",
        f"{marked} and {empty}",
        marked,
        empty,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("Checked", "Unchecked"),
        ("Selected", "Not Selected"),
        ("selected", "not_selected"),
        ("TRUE", "FALSE"),
        ("t", "f"),
        ("Ticked", "unticked"),
    ],
)
def test_columns_of_labels_with_pairs_of_words(labels: Labels, yes: str, no: str) -> None:
    content = f"text,a,b\nx,{yes},{no}\ny,{no},{no}\n"
    assert labels("a.csv", content, label=["a", "b"]) == [("a",), ()]


def test_columns_of_one_name_hold_labels(labels: Labels, tmp_path: Path) -> None:
    """Jira: `Labels` three times."""
    content = "text,tag,tag,tag\na,ui,app,\nb,,,\nc,,ui,\nd,api,ui,api\n"
    options = {"skip_rows": 1, "columns": ["text", "tag", "tag_2", "tag_3"]}
    names = ["tag", "tag_2", "tag_3"]
    found = labels("a.csv", content, label=names, **options)
    assert found == [("ui", "app"), None, ("ui",), ("api", "ui")]
    source = Source(path=str(tmp_path / "a.csv"), label=names, **options)  # type: ignore[arg-type]
    assert _config("multi_label", source).find_classes() == (None, None)
    # where they say yes and no they are labels themselves
    assert labels("b.csv", "text,tag,tag_2\na,1,0\nb,0,0\n", label=names[:2]) == [("tag",), ()]
    assert labels("c.csv", "text,tag,tag_2\na,x,\n", label=names[:2]) == [("tag",)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": ["a"]}, "data.source.label: expected one column, or two or more"),
        ({"label": ["a", "b", "a"]}, "data.source.label: expected one column, or two or more"),
        ({"label": ["a", "b"], "label_separator": ","}, "hold 1 and 0 and no labels"),
        ({"label_pattern": "a"}, "0 groups, but one says which part is the label"),
        ({"label_pattern": "("}, "not a regular expression"),
        ({"label_separator": ""}, "expected a character"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Source(path="a.csv", **options)
    assert message in str(caught.value)


def _config(task: str, source: Source) -> DataConfig:
    return DataConfig(
        task=task,  # type: ignore[arg-type]
        source=source,
        cleaning=Cleaning(),
        split=Split(),
        tokenizer=WordPiece(vocab_size=100),
        batching=Labelled(),
        cache="unused",
    )


def test_several_labels_need_a_task_for_them(tmp_path: Path) -> None:
    remedy = (
        "data.task=multi_label model=multi_label callbacks.checkpoint.monitor=val/f1_macro "
        "callbacks.checkpoint.mode=max learns several"
    )
    with pytest.raises(UserError) as caught:
        _config("classification", Source(path="a.csv", label=["joy", "anger"]))
    assert str(caught.value) == (
        "data.source.label=[joy,anger]: rows may have several labels, but data.task=classification "
        f"is about one; {remedy}"
    )
    with pytest.raises(UserError, match=r"^data\.source\.label_separator=comma: rows may have"):
        _config("regression", Source(path="a.csv", label="a", label_separator="comma"))
    # lists in JSON are seen before the run
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": ["a", "b"]}')
    source = Source(path=str(tmp_path / "a.jsonl"), label="label")
    with pytest.raises(UserError) as caught:
        _config("classification", source).check()
    assert str(caught.value) == (
        f"a.jsonl, line 1: 2 labels (a, b), but a text has one here; {remedy}"
    )
    _config("multi_label", source).check()


def test_decimal_commas(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", 'text,label\na,"1,5"\nb,"-1.234,25"\nc,3\nd,""\n')
    rows = read(tmp_path / "a.csv", label="label", decimal="comma")
    assert [row.label for row in rows] == ["1.5", "-1234.25", "3", None]
    rows = read(tmp_path / "a.csv", label="label", decimal="comma", label_threshold=2)
    assert [row.label for row in rows] == [0, 0, 1, None]
    put(tmp_path / "b.csv", "text,label\na,1.5\n")
    assert fault(tmp_path / "b.csv", label="label", decimal="comma") == (
        "b.csv, line 2: no number with a comma before its decimals, found '1.5' "
        "(data.source.decimal)"
    )
    # a mark for a missing value is none
    put(tmp_path / "c.csv", 'text,label\na,"1,5"\nb,NA\n')
    assert [row.label for row in read(tmp_path / "c.csv", label="label", decimal="comma")] == [
        "1.5",
        None,
    ]
    assert has_decimal_commas(["1,5", "3", "4,2"])
    assert not has_decimal_commas(["5,18", "3"]) and not has_decimal_commas(["1", "2"])
    assert not has_decimal_commas(["1,2,3", "4,1"])


def test_commas_between_thousands(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", 'text,label\na,"12,345.5"\nb,"-1,000,000"\nc,7.25\nd,"1,5"\n')
    records = Source(path=str(tmp_path / "a.csv"), label="label", decimal="dot").read_records(
        "train"
    )
    assert [next(records).label for _ in range(3)] == ["12345.5", "-1000000", "7.25"]
    with pytest.raises(UserError, match="line 5: no number with a dot before its decimals, found"):
        next(records)


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (["12,345.5", "7"], "dot"),
        (["1,000,000", "20,000"], "dot"),
        (["1,200", "3,083", "950"], "dot"),
        (["1,250", "0,083", "2"], "comma"),
        (["1,5", "4,2"], "comma"),
        (["5,120", "3,40"], None),
        (["1.5", "2"], None),
    ],
)
def test_how_numbers_are_written(cells: list[str], decimal: str | None) -> None:
    assert guess_decimal(cells) == decimal
