"""Folders and files that stand for classes, as data sets have them, and what is said of others."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from tests.data.reading.test_data_files import check_fault, put


def _read(path: Path, split: str = "train", **options: Any) -> list[tuple[str, Any]]:
    source = Source(path=str(path), label="label", **options)
    source.check()
    return [(record.text, record.label) for record in source.read_records(split)]


def test_files_named_by_number(tmp_path: Path) -> None:
    """20 Newsgroups by date: mails without an ending."""
    for split in ("train", "test"):
        for group in ("sci.space", "alt.atheism"):
            for number in (9, 10):
                put(tmp_path / f"20news-{split}" / group / f"5{number}", f"From: {group} {number}")
    options = {"train": "20news-train", "test": "20news-test"}
    assert _read(tmp_path, "test", **options) == [
        ("From: alt.atheism 10", "alt.atheism"),
        ("From: alt.atheism 9", "alt.atheism"),
        ("From: sci.space 10", "sci.space"),
        ("From: sci.space 9", "sci.space"),
    ]
    assert len(_read(tmp_path / "20news-train")) == 4


@pytest.mark.parametrize("names", [("mails-train", "mails-test"), ("Big_Train", "Big_Test")])
def test_folders_whose_names_end_on_their_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        for group in ("ham", "spam"):
            put(tmp_path / name / group / "1", f"{group} of {name}")
    for kind in ("auto", "folders"):
        for split, name in zip(("train", "test"), names, strict=True):
            rows = [(f"{group} of {name}", group) for group in ("ham", "spam")]
            assert _read(tmp_path, split, format=kind) == rows
    (tmp_path / names[1]).rename(tmp_path / names[1].replace("est", "esting"))
    rows = [(f"{group} of {names[1]}", group) for group in ("ham", "spam")]
    assert _read(tmp_path, "test") == rows


def test_classes_whose_names_end_like_a_split(tmp_path: Path) -> None:
    for name in ("blood-test", "express-train", "bus"):
        put(tmp_path / name / "1.txt", name)
    assert [label for _, label in _read(tmp_path)] == ["blood-test", "bus", "express-train"]


@pytest.mark.parametrize("ending", ["", ".txt", ".eml", ".TXT"])
def test_a_readme_beside_class_folders(tmp_path: Path, ending: str) -> None:
    """BBC News."""
    put(tmp_path / "README.TXT", "All rights reserved.")
    for name in ("sport", "business"):
        put(tmp_path / name / f"001{ending}", f"{name} news")
        put(tmp_path / name / f"002{ending}", f"{name} again")
    assert [label for _, label in _read(tmp_path)] == ["business"] * 2 + ["sport"] * 2
    assert Source(path=str(tmp_path)).list_files().passed_over == (
        "files beside the class folders: README.TXT",
    )


def test_what_lies_in_class_folders_and_is_no_text(tmp_path: Path) -> None:
    for name in ("pos", "neg"):
        put(tmp_path / name / "1.txt", f"{name} one")
        put(tmp_path / name / "more" / "2.txt", f"{name} two")
        put(tmp_path / name / ".hidden", "x")
    put(tmp_path / "pos" / "1.ann", "T1")
    source = Source(path=str(tmp_path), label="label")
    assert _read(tmp_path) == [("neg one", "neg"), ("pos one", "pos")]
    assert source.list_files().passed_over == (
        "1 file in neg/more",
        "1 file in pos/more",
        "1 file of other kinds in pos",
    )


def test_a_file_per_class(tmp_path: Path) -> None:
    """Movie reviews (rt-polarity), cp1252, and SUBJ."""
    put(tmp_path / "rt-polaritydata.README.1.0.txt", "about")
    for name, word in (("pos", "a sm\xf6rg\xe5s"), ("neg", "dull")):
        (tmp_path / f"rt-polarity.{name}").write_bytes(
            f"{word} one\n\n{word} two\n".encode("cp1252")
        )
    message = check_fault(tmp_path, label="label")
    assert "no readable file; " in message
    assert "data.source.format=class_files where every file holds the texts of a class" in message
    options = {"format": "class_files", "encoding": "cp1252"}
    assert _read(tmp_path, **options) == [
        ("dull one", "neg"),
        ("dull two", "neg"),
        ("a sm\xf6rg\xe5s one", "pos"),
        ("a sm\xf6rg\xe5s two", "pos"),
    ]
    layout = Source(path=str(tmp_path), **options).list_files()  # type: ignore[arg-type]
    assert layout.passed_over == (
        "files beside those of the classes: rt-polaritydata.README.1.0.txt",
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["plot.tok.gt9.5000", "quote.tok.gt9.5000"], ["plot", "quote"]),
        (["pos.txt", "neg.txt", "neutral.txt"], ["neg", "neutral", "pos"]),
        (["very-pos.txt", "very-neg.txt", "pos.txt"], ["pos", "very-neg", "very-pos"]),
        (["a/one.txt", "b/one.txt", "b/two.txt"], ["a", "b", "b"]),
        (["train/x.pos", "train/x.neg"], ["neg", "pos"]),
    ],
)
def test_names_of_classes(tmp_path: Path, names: list[str], labels: list[str]) -> None:
    for name in names:
        put(tmp_path / name, "text\n")
    assert [label for _, label in _read(tmp_path, format="class_files")] == labels


def test_a_list_of_texts_in_every_class_folder(tmp_path: Path) -> None:
    """One file for each class would be one text for each."""
    for name in ("pos", "neg"):
        put(tmp_path / name / "a.txt", f"{name}\n" * 10)
    assert check_fault(tmp_path, label="label") == (
        "data.source.path: every class is one file of many lines (neg/a.txt), which would be one "
        "text; data.source.format=class_files takes each line for a text"
    )
    assert len(_read(tmp_path, format="class_files")) == 20


def test_where_classes_are_missing(tmp_path: Path) -> None:
    put(tmp_path / "pos.txt", "a\n")
    assert check_fault(tmp_path, format="class_files") == (
        f"data.source.format=class_files: fewer than two files of texts in {tmp_path}: expected "
        "one for each class, found pos.txt"
    )
    assert "is a file; expected a folder of one file per class" in check_fault(
        tmp_path / "pos.txt", format="class_files"
    )
    put(tmp_path / "neg.txt", "b\n")
    message = check_fault(tmp_path, format="class_files", label=["pos", "neg"])
    assert message.startswith("data.source.label=[pos,neg]: class_files files have no columns")
    with pytest.raises(UserError, match="class_files where every file holds the texts of a class"):
        _read(tmp_path)


def test_files_of_classes_whose_names_say_the_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("neg", "pos"):
            put(tmp_path / f"polarity-{split}.{name}", f"{split} {name} one\n{split} {name} two\n")
    options = {"format": "class_files"}
    assert _read(tmp_path, **options) == [
        (f"train {name} {number}", name) for name in ("neg", "pos") for number in ("one", "two")
    ]
    assert [label for _, label in _read(tmp_path, "test", **options)] == ["neg"] * 2 + ["pos"] * 2
    for name in ("neg", "pos"):
        put(tmp_path / f"polarity-dev.{name}", f"dev {name}\n")
    for name in ("dev", "validation"):
        assert _read(tmp_path, "validation", validation=name, **options) == [
            ("dev neg", "neg"),
            ("dev pos", "pos"),
        ]
    source = Source(path=str(tmp_path), validation=None, label="label", format="class_files")
    assert source.describe_unread() == [
        "not read: files beside those of the classes: polarity-dev.neg, polarity-dev.pos"
    ]


def test_class_folders_that_lie_deeper(tmp_path: Path) -> None:
    """Movie reviews beside a note, and texts in numbered parts of a class."""
    put(tmp_path / "a" / "README", "about")
    for name in ("neg", "pos"):
        put(tmp_path / "a" / "review_polarity" / "txt_sentoken" / name / "1.txt", f"{name} film")
        for fold in ("fold1", "fold2"):
            put(tmp_path / "b" / name / fold / "1.txt", f"{name} {fold}")
            put(tmp_path / "c" / fold / name / "1.txt", f"{name} {fold}")
    assert _read(tmp_path / "a") == [("neg film", "neg"), ("pos film", "pos")]
    assert _read(tmp_path / "b") == [
        (f"{name} {fold}", name) for name in ("neg", "pos") for fold in ("fold1", "fold2")
    ]
    shown = check_fault(tmp_path / "c", label="label")
    assert shown == (
        f"data.source.path={tmp_path / 'c'}: several folders of class folders: "
        f"{tmp_path / 'c' / 'fold1'}, {tmp_path / 'c' / 'fold2'}; name one of them: "
        f"data.source.path={tmp_path / 'c' / 'fold1'}"
    )
    # which are no classes
    assert "no folders of texts" in check_fault(tmp_path / "c", label="label", format="folders")


def test_folders_inside_those_of_classes(tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        for author in ("alice", "bob"):
            put(tmp_path / name / author / "1.txt", f"{name} {author}")
    assert check_fault(tmp_path, label="label").endswith(
        "; data.source.format=folders where these are the classes"
    )
    assert _read(tmp_path, format="folders") == [
        (f"{name} {author}", name) for name in ("neg", "pos") for author in ("alice", "bob")
    ]


def test_tables_that_are_classes(tmp_path: Path) -> None:
    for name in ("True.csv", "Fake.csv"):
        put(tmp_path / name, f"title,text\na,{name} one\nb,{name} two\n")
    put(tmp_path / "readme.txt", "about it")
    source = Source(path=str(tmp_path), format="class_files", label="label", text="text")
    source.check()
    assert source.list_files().format == "csv"
    assert [(row.text, row.label) for row in source.read_records("train")] == [
        ("Fake.csv one", "Fake"),
        ("Fake.csv two", "Fake"),
        ("True.csv one", "True"),
        ("True.csv two", "True"),
    ]
    other = Source(path=str(tmp_path), format="class_files", text="text")
    assert [row.label for row in other.read_records("train")] == [None] * 4
    assert source.fingerprint_split("train") != other.fingerprint_split("train")


def test_tables_of_classes_in_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("pos", "neg"):
            put(tmp_path / split / f"{name}.jsonl", json.dumps({"text": f"{split} {name}"}))
    source = Source(path=str(tmp_path), format="class_files", label="label", text="text")
    assert [row.label for row in source.read_records("test")] == ["neg", "pos"]
    assert [row.text for row in source.read_records("train")] == ["train neg", "train pos"]
