"""Labels and dates of the first rows are told before a run is opened, and only what is certain."""

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.data.batches.batching import Labelled
from src.data.data_config import DataConfig
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.tokenization.tokenizer import WordPiece
from tests.data.preparation.test_corpus import _corpus


def check(path: Path, task: str, source: dict[str, Any] | None = None, **changed: Any) -> None:
    settings: dict[str, Any] = {
        "source": Source(path=str(path), **({"label": "label"} | (source or {}))),
        "cleaning": Cleaning(),
        "split": Split(),
        "tokenizer": WordPiece(vocab_size=100),
        "batching": Labelled(),
        "cache": "unused",
    }
    DataConfig(task=task, **(settings | changed)).check_source()  # type: ignore[arg-type]


def fault(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def write(path: Path, labels: list[str]) -> Path:
    rows = [f"text {number}\t{label}" for number, label in enumerate(labels)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", ["NA", "nan", "NULL", "\\N", "#N/A", "<NA>", "", "-"])
def test_a_missing_number_is_no_label(tmp_path: Path, mark: str) -> None:
    """As R, pandas, Excel and MySQL write it: dropped, counted and said."""
    file = write(tmp_path / "a.tsv", ["1.5", mark, "2.5", mark, "4"])
    check(file, "regression")
    source = Source(path=str(file), label="label")
    corpus = _corpus(source, task="regression", split=Split(validation=0.4))
    summary = corpus.survey_rows().data_summary
    assert (summary["rows"], summary["counts"]["train/missing_label"]) == (
        {"train": 2, "validation": 1},
        2,
    )
    said = f"train: 2 rows with the label '{mark}', which stands for a missing value (the first: "
    assert [remark.startswith(said) for remark in summary["remarks"]] == [True] * (mark != "")


def test_a_test_split_of_missing_numbers_only(tmp_path: Path) -> None:
    write(tmp_path / "d/train.tsv", ["1.5", "2"])
    write(tmp_path / "d/test.tsv", ["NA", "NA"])
    config = {"split": Split(validation=0)}
    check(tmp_path / "d", "regression", **config)
    with pytest.raises(UserError, match="no row of test has a label"):
        DataConfig(
            task="regression",
            source=Source(path=str(tmp_path / "d"), label="label"),
            cleaning=Cleaning(),
            split=Split(),
            tokenizer=WordPiece(vocab_size=100),
            batching=Labelled(),
            cache="unused",
        ).check()


def test_what_mends_a_number_mends_it(tmp_path: Path) -> None:
    """What the messages propose works together too."""
    file = write(tmp_path / "a.tsv", ["$1,250.50 a night", "$80 a night", "n/a"])
    assert fault(file, "regression") == (
        "a.tsv, line 2: label '$1,250.50 a night' is not a finite number (a regression needs one; "
        "data.source.label); 'data.source.label_pattern=\"([-+]?[0-9][0-9.,]*)\"' takes the number "
        "in a label, data.source.decimal=dot where commas part thousands"
    )
    options = {"label": "label", "decimal": "dot", "label_pattern": "([-+]?[0-9][0-9.,]*)"}
    check(file, "regression", options)
    records = list(Source(path=str(file), **options).read_records("train"))  # type: ignore[arg-type]
    assert [record.label for record in records] == ["1250.50", "80", None]
    assert records[2].remark == "with the label 'n/a', which stands for a missing value"


def test_labels_of_held_out_splits_are_looked_at_too(tmp_path: Path) -> None:
    write(tmp_path / "d/train.tsv", ["red", "green"])
    write(tmp_path / "d/test.tsv", ["red", "gren"])
    assert fault(tmp_path / "d", "classification", label_names=["red", "green"]) == (
        "test.tsv, line 3: label 'gren' is none of the 2 classes declared; did you mean 'green'?"
    )
    # what cleaning leaves out or the map renames is no fault
    check(
        tmp_path / "d",
        "classification",
        label_names=["red", "green"],
        label_map={"red": "red", "green": "green", "gren": "green"},
    )


def test_all_rows_say_how_the_data_write_the_classes(tmp_path: Path) -> None:
    """Sorted by class, the first rows have only some of them."""
    file = write(tmp_path / "a.tsv", ["11"] * 1500 + ["22", "33"])
    said = fault(file, "classification", label_names=["low", "mid", "high"])
    assert said.endswith("data.label_values=[11,22,33] says that the data write low, mid, high so")
    check(file, "classification", label_names=["low", "mid", "high"], label_values=[11, 22, 33])


def test_several_labels_that_are_not_declared(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"text": "a", "label": ["joy", "awe"]}, {"text": "b", "label": ["fear"]}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    check(file, "multi_label", label_names=["joy", "awe", "fear"])
    assert "line 2: label 'fear' is none of the 2" in fault(
        file, "multi_label", label_names=["joy", "awe"]
    )


def test_tags_that_are_numbers_need_their_names(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"tokens": ["Oslo", "is"], "label": [number, 0]} for number in (1, 8, 3)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = {"text": "tokens"}
    said = fault(file, "token_classification", source)
    assert "line 1: the tag is the number 1, which nothing names; it takes 9 names" in said
    names = ["O", *(f"{prefix}-{kind}" for kind in "WXYZ" for prefix in "BI")]
    check(file, "token_classification", source, label_names=names)
    assert "the number 8, which none of 8 names has; it takes 9 names" in fault(
        file, "token_classification", source, label_names=names[:8]
    )


def test_dates_are_read_before_the_run(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", ["1. Mai 2020"])
    split = Split(time="label")
    assert "'label' is '1. Mai 2020', which cannot be put in order" in fault(
        tmp_path / "a.tsv", "classification", split=split
    )
    write(tmp_path / "a.tsv", ["2020-05-01"])
    check(tmp_path / "a.tsv", "classification", split=split)
