"""Small files of the shapes in which well-known data sets are found: each is read by options alone,
without a change to the file. The rows are made up.
"""

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from src.data.reading.sources import Source
from src.data.rows.token_labels import TokenLabels
from tests.data.reading.test_readers import put, put_parquet

ONE_HOT = "ID\tTweet\tanger\tjoy\tsad\n1\ta day\t1\t0\t1\n2\train\t0\t0\t0\n"
CLASS_FOLDERS = {"by-date-train/alt.a/101": b"one", "by-date-train/rec.b/102": b"caf\xe9"}


class Shape(NamedTuple):
    """Files by their names, the options that read them, and what the rows of a split are."""

    files: dict[str, str | bytes]
    options: dict[str, Any]
    rows: list[tuple[Any, ...]]
    split: str = "train"
    path: str = ""


SHAPES = {
    "TREC, fine": Shape(
        {"train.label": b"NUM:date When was caf\xe9 born ?\nLOC:city Where ?\n"},
        {"format": "label_first", "encoding": "latin-1", "label": "label"},
        [("When was café born ?", "NUM:date"), ("Where ?", "LOC:city")],
    ),
    "TREC, coarse": Shape(
        {"train.label": "NUM:date When ?\nLOC:city Where ?\n"},
        {"format": "label_first", "label": "label", "label_pattern": "^([^:]+)"},
        [("When ?", "NUM"), ("Where ?", "LOC")],
    ),
    "MR": Shape(
        {"rt-polarity.neg": b"dull .\n", "rt-polarity.pos": b"tr\xe8s bon .\n"},
        {"format": "class_files", "encoding": "cp1252", "label": "label"},
        [("dull .", "neg"), ("très bon .", "pos")],
    ),
    "SUBJ": Shape(
        {"plot.tok.gt9.5000": "he goes .\n", "quote.tok.gt9.5000": "a joy .\n"},
        {"format": "class_files", "label": "label"},
        [("he goes .", "plot"), ("a joy .", "quote")],
    ),
    "20 Newsgroups": Shape(
        CLASS_FOLDERS,
        {"encoding": "latin-1", "label": "label", "train": "by-date-train"},
        [("one", "alt.a"), ("café", "rec.b")],
    ),
    "BBC": Shape(
        {"README.TXT": "about", "tech/1.txt": "one £".encode(), "sport/2.txt": b"two \xa3"},
        {"encoding": ["utf-8", "cp1252"], "label": "label"},
        [("two £", "sport"), ("one £", "tech")],
    ),
    "AG News": Shape(
        {"test.csv": '"3","A title","A body, long"\n"1","B","C"\n'},
        {"columns": ["label", "title", "body"], "text": ["title", "body"], "label": "label"},
        [("A title\nA body, long", "3"), ("B\nC", "1")],
        path="test.csv",
    ),
    "NoisyAG": Shape(
        {"samples10Val.csv": "text,gt,n\na,1,2\n", "samplesTest.csv": "text,gt,n\nb,2,2\n"},
        {"label": "gt", "train": "samples10Val", "test": "samplesTest"},
        [("b", "2")],
        "test",
    ),
    "SST-5": Shape(
        {"stsa.fine.train": "4 a joy\n", "stsa.fine.dev": "0 dull\n"},
        {"format": "label_first", "validation": "dev", "label": "label"},
        [("dull", "0")],
        "validation",
    ),
    "CoLA": Shape(
        {"raw/in_domain_train.tsv": 'g1\t1\t\tHe "goes.\ng2\t0\t*\tGoes he.\n'},
        {"header": False, "text": 3, "label": 1},
        [('He "goes.', "1"), ("Goes he.", "0")],
        path="raw",
    ),
    "MRPC": Shape(
        {"train.tsv": '\ufeffQuality\t#1 String\t#2 String\r\n1\tHe "said.\tShe.\r\n'},
        {"text": "#1 String", "pair": "#2 String", "label": "Quality"},
        [('He "said.', "1", "She.")],
    ),
    "GLUE SST-2": Shape(
        {"train_full.tsv": "sentence\tlabel\na joy \t1\n", "test.tsv": "index\tsentence\n0\tx\n"},
        {"text": "sentence", "label": "label", "train": "train_full", "test": None},
        [("a joy ", "1")],
    ),
    "Davidson": Shape(
        {"a.csv": ',count,class,tweet\n0,3,2,"!!! RT:\nyes"\n1,3,1,no\n'},
        {"text": "tweet", "label": "class"},
        [("!!! RT:\nyes", "2"), ("no", "1")],
    ),
    "ETHOS, binary": Shape(
        {"a.csv": "comment;isHate\nYou, no;0.5\nFine;0.2\n"},
        {"text": "comment", "label": "isHate", "delimiter": "semicolon", "label_threshold": 0.5},
        [("You, no", 1), ("Fine", 0)],
    ),
    "ETHOS, several": Shape(
        {"a.csv": "comment;gender;race\nx;0.7;0.1\ny;0.0;1.0\n"},
        {
            "text": "comment",
            "label": ["gender", "race"],
            "delimiter": "semicolon",
            "label_threshold": 0.5,
        },
        [("x", ("gender",)), ("y", ("race",))],
    ),
    "EmoBank": Shape(
        {"a.csv": "id,split,V,A,D,text\n1,train,3.2,3,3,a day\n2,dev,2.1,3,3,rain\n"},
        {"label": "V", "split_column": "split", "validation": "dev"},
        [("rain", "2.1")],
        "validation",
    ),
    "EI-reg": Shape(
        {
            "EI-reg-train.txt": "ID\tTweet\tScore\n1\ta\t0.72\n",
            "EI-reg-dev.txt": 'ID\tTweet\tScore\n2\tso "mad\t0.31\n',
        },
        {"format": "tsv", "text": "Tweet", "label": "Score", "validation": "dev"},
        [('so "mad', "0.31")],
        "validation",
    ),
    "E-c": Shape(
        {"train.txt": ONE_HOT},
        {"format": "tsv", "text": "Tweet", "label": ["anger", "joy", "sad"]},
        [("a day", ("anger", "sad")), ("rain", ())],
    ),
    "GoEmotions": Shape(
        {"train.tsv": 'My "food\t27\teb1\nNow\t5,18\teb2\n', "emotions.txt": "admiration\n"},
        {"header": False, "text": 0, "label": 1, "label_separator": "comma"},
        [('My "food', ("27",)), ("Now", ("5", "18"))],
    ),
    "GermEval": Shape(
        {"germeval.training.txt": '@x "so nicht\tOFFENSE\tABUSE\nGut\tOTHER\tOTHER\n'},
        {"format": "tsv", "header": False, "text": 0, "label": 1, "train": "training"},
        [('@x "so nicht', "OFFENSE"), ("Gut", "OTHER")],
    ),
    "ChnSentiCorp and waimai": Shape(
        {"a.csv": "label,review\n1,很好，不错\n0,\n"},
        {"text": "review", "label": "label"},
        [("很好，不错", "1"), ("", "0")],
    ),
    "ISEAR": Shape(
        {"a.csv": "ID|CITY|Field1|SIT|TEMPER\n11|1|joy|A day, out|2\n12|1|fear|Night|3\n"},
        {"text": "SIT", "label": "Field1", "delimiter": "pipe"},
        [("A day, out", "joy"), ("Night", "fear")],
    ),
    "CLINC150": Shape(
        {"data_full.json": json.dumps({"train": [["hi there", "hello"]], "val": [["go", "bye"]]})},
        {"columns": ["text", "label"], "label": "label", "validation": "val"},
        [("go", "bye")],
        "validation",
        "data_full.json",
    ),
    "10kGNAD": Shape(
        {"train.csv": "Sport;'Ein \"Tor\"; das war''s'\nWeb;Kein Zitat\n"},
        {"header": False, "text": 1, "label": 0, "delimiter": "semicolon", "quote": "single"},
        [('Ein "Tor"; das war\'s', "Sport"), ("Kein Zitat", "Web")],
    ),
    "Qualtrics": Shape(
        {"a.csv": 'id,Q1\nID,Why?\n"{""ImportId"":""a""}","{""ImportId"":""b""}"\nR_1,So\n'},
        {"text": "Q1"},
        [("So", None)],
    ),
    "Qualtrics as TSV": Shape(
        {"a.tsv": 'id\tQ1\nID\tWhy?\n"{""ImportId"":""a""}"\t"{""ImportId"":""b""}"\n1\tSo\n'},
        {"text": "Q1"},
        [("So", None)],
    ),
    "Microsoft Forms": Shape(
        {"a.csv": "Answer,Topics\nGood,Price;Staff;\nBad,Staff;\nOdd,\n"},
        {"text": "Answer", "label": "Topics", "label_separator": "semicolon"},
        [("Good", ("Price", "Staff")), ("Bad", ("Staff",)), ("Odd", None)],
    ),
    "REDCap": Shape(
        {"a.csv": "note,topic___1,topic___2\nrash,Checked,Unchecked\nfine,Unchecked,Unchecked\n"},
        {"text": "note", "label": ["topic___1", "topic___2"]},
        [("rash", ("topic___1",)), ("fine", ())],
    ),
    "Jira": Shape(
        {"a.csv": "Summary,Labels,Labels\nlate,ui,app\nodd,,\n"},
        {
            "skip_rows": 1,
            "columns": ["Summary", "Labels", "Labels_2"],
            "text": "Summary",
            "label": ["Labels", "Labels_2"],
        },
        [("late", ("ui", "app")), ("odd", None)],
    ),
    "MultiCoNER": Shape(
        {"train.conll": "# id 5-a\tdomain=en\nada _ _ B-PER\n\n# id 5-b\tdomain=en\nran _ _ O\n"},
        {"label": "tags"},
        [("ada", TokenLabels(tags=("B-PER",))), ("ran", TokenLabels(tags=("O",)))],
    ),
    "OntoNotes": Shape(
        {"a.conll": "#begin document (bc/0); part 000\nAda B-PER\n\n# 0\nran O\n\n#end document\n"},
        {"label": "tags"},
        [("Ada", TokenLabels(tags=("B-PER",))), ("ran", TokenLabels(tags=("O",)))],
    ),
    "gym reviews as CSV": Shape(
        {"a.csv": "\ufefftext,rating\nGood,5\n,1\n"},
        {"label": "rating"},
        [("Good", "5"), ("", "1")],
    ),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_set_is_read_as_it_is_found(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    for file, content in shape.files.items():
        put(tmp_path / file, content)
    _check(tmp_path / shape.path, shape)


def test_rows_of_parquet_with_names_of_classes_and_a_test_without_labels(tmp_path: Path) -> None:
    """As RTE is found."""
    rows = [{"sentence1": "a", "sentence2": "b", "label": 1}]
    put_parquet(tmp_path / "train.parquet", rows)
    put_parquet(tmp_path / "test.parquet", [{**rows[0], "label": -1}])
    options = {"text": "sentence1", "pair": "sentence2", "label": "label", "test": None}
    _check(tmp_path, Shape({}, options, [("a", 1, "b")]))


def test_a_table_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shopping reviews are found."""
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("shop.csv", "cat,label,review\n书,1,好\n")
    options = {"text": "review", "label": "label"}
    _check(tmp_path / "shop.zip", Shape({}, options, [("好", "1")]))


def test_a_table_in_a_workbook(tmp_path: Path) -> None:
    """As the gym reviews are found."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("text", "rating"), ("Good", 5), (None, 1)):
        book.active.append(row)
    book.save(tmp_path / "gym.xlsx")
    options = {"label": "rating"}
    _check(tmp_path / "gym.xlsx", Shape({}, options, [("Good", 5), ("", 1)]))


def _check(path: Path, shape: Shape) -> None:
    source = Source(path=str(path), **shape.options)
    source.check()
    found = [
        (row.text, row.label) if row.pair is None else (row.text, row.label, row.pair)
        for row in source.read_records(shape.split)
    ]
    assert found == shape.rows
