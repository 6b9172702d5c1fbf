"""What becomes of each row, without holding a text."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.user_errors import UserError
from src.data.preparation import split_survey as module
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.corpus import Corpus
from src.data.preparation.corpus_survey import CorpusSurvey
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord


class Text(str):
    """A text whose life can be watched."""


class Made:
    """A source of train rows made as they are read; every fifth repeats the one before."""

    name = "made"

    def __init__(self, count: int) -> None:
        self.count = count
        self.alive: weakref.WeakSet[Text] = weakref.WeakSet()
        self.most = 0

    def available_splits(self) -> tuple[str, ...]:
        return ("train",)

    def read_records(self, split: str) -> Iterator[RawRecord]:
        for number in range(self.count):
            text = Text(f"text {number - (number % 5 == 4)}" if number % 7 else " ")
            self.alive.add(text)
            self.most = max(self.most, len(self.alive))
            yield RawRecord(text, None, ("yes", "no")[number % 2], f"made, row {number + 1}")


class Held:
    """A source of a few rows that are given."""

    name = "held"

    def __init__(self, splits: dict[str, list[RawRecord]]) -> None:
        self.splits = splits

    def available_splits(self) -> tuple[str, ...]:
        return tuple(self.splits)

    def read_records(self, split: str) -> Iterator[RawRecord]:
        return iter(self.splits[split])


def held_rows(**splits: list[tuple[str, Any]]) -> Held:
    """A source of texts with their labels, by split."""
    return Held(
        {
            split: [
                RawRecord(text, None, label, f"{split}, row {number}")
                for number, (text, label) in enumerate(rows, 1)
            ]
            for split, rows in splits.items()
        }
    )


def _corpus(source: Any, **changed: Any) -> Corpus:
    """A corpus; arguments of its cleaning may be given by themselves."""
    policies = {name: changed.pop(name) for name in Cleaning.__annotations__ if name in changed}
    settings = {
        "task": "masked_lm",
        "cleaning": Cleaning(**policies),
        "split": Split(validation=0.2, test=0.1),
    } | changed
    return Corpus(source=source, **settings)


@pytest.mark.parametrize("task", ["masked_lm", "classification"])
def test_rows_of_a_survey_that_was_saved(task: str, tmp_path: Path) -> None:
    corpus = _corpus(Made(300), task=task, cleaning=Cleaning(duplicates="drop"), train_rows=100)
    survey = corpus.survey_rows()
    survey.save(tmp_path)
    opened = CorpusSurvey.load(tmp_path)
    assert opened.data_summary == survey.data_summary
    assert isinstance(opened.places["train"], np.memmap)
    rows = list(corpus.iter_rows(opened))
    counts = survey.data_summary["counts"]
    assert (
        counts["train/read"]
        == 300
        == sum(each for key, each in counts.items() if key != "train/read")
    )
    assert counts["train/empty_text"] == 43
    numbers = [row.identity for _, row in rows]
    assert numbers == sorted(set(numbers))
    assert len({row.text for _, row in rows}) == len(rows)
    for split in ("train", "validation", "test"):
        mine = [row for name, row in rows if name == split]
        assert len(mine) == survey.data_summary["rows"][split]
        assert [row for _, row in corpus.iter_rows(opened, (split,))] == mine
        if task == "classification":
            assert all(
                ("no", "yes")[int(row.target)] == ("yes", "no")[row.identity % 2] for row in mine
            )
            expected = {
                name: sum(row.target == at for row in mine) for at, name in enumerate(("no", "yes"))
            }
            assert survey.data_summary["labels"][split] == expected
    assert survey.data_summary["rows"]["train"] == 100
    assert list(corpus.iter_train_texts(opened)) == [
        row.text for name, row in rows if name == "train"
    ]


def test_what_repeats_a_held_out_row_leaves_train() -> None:
    corpus = _corpus(Made(300), cleaning=Cleaning(empty_text="drop"))
    survey = corpus.survey_rows()
    rows = list(corpus.iter_rows(survey))
    held_out = {row.text for split, row in rows if split != "train"}
    assert not held_out & {row.text for split, row in rows if split == "train"}
    assert survey.data_summary["counts"]["train/overlap"] > 0
    assert survey.data_summary["rows"]["train"] + len(
        [1 for split, _ in rows if split != "train"]
    ) == len(rows)


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_no_text_is_held(duplicates: Any) -> None:
    source = Made(2000)
    corpus = _corpus(source, cleaning=Cleaning(duplicates=duplicates))
    survey = corpus.survey_rows()
    assert sum(1 for _ in corpus.iter_rows(survey)) > 1000
    assert source.most < 10


def test_data_that_grow_while_they_are_read() -> None:
    source = Made(50)
    corpus = _corpus(source)
    survey = corpus.survey_rows()
    source.count = 51
    with pytest.raises(
        UserError, match=r"^made, row 51: the data grew while they were read; run again$"
    ):
        list(corpus.iter_rows(survey))


def test_a_large_text_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LARGE_TEXT_CHARACTERS", len("text 99"))
    _corpus(Made(102)).survey_rows()
    said = capfd.readouterr().err.splitlines()
    assert [line[: line.index(",", 20)] for line in said] == [
        f"note: made, row {number}: one text of 8 letters" for number in (101, 102)
    ]


def test_remarks_of_rows_are_counted_by_split(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 2)):
        rows = [f'{n % 2},"text {n} of {split}\nmore"' for n in range(count)] + ["1,last"]
        (tmp_path / f"{split}.csv").write_text("label,text\n" + "\n".join(rows), encoding="utf-8")
    source = Source(path=str(tmp_path), label="label")
    survey = _corpus(source, task="classification").survey_rows()
    assert survey.data_summary["remarks"] == [
        "test: 2 rows over several lines, in quotes (the first: test.csv, line 2)",
        "train: 12 rows over several lines, in quotes (the first: train.csv, line 2)",
    ]
