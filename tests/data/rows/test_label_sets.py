"""Rows with several labels, from the records of a source to batches."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.user_errors import UserError
from src.data.batches.batching import Labelled
from src.data.data_config import DataConfig
from src.data.datamodule import TextDataModule
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.corpus import Corpus
from src.data.preparation.splitting import Split
from src.data.reading.hub import find_hub_classes
from src.data.reading.sources import Source
from src.data.rows.label_sets import build_membership
from src.data.rows.labels import LabelSpace
from src.data.rows.records import RawRecord
from src.data.tokenization.tokenizer import WordPiece

Label = Any
WORDS = ("red", "green", "blue", "warm", "cold", "soft", "hard", "old", "new", "dark")


class Rows:
    """A source of rows that have these labels, in turns."""

    name = "rows"

    def __init__(self, labels: Mapping[str, Sequence[Label]]) -> None:
        self.labels = labels

    def check(self) -> None:
        """Nothing outside can be wrong."""

    def available_splits(self) -> tuple[str, ...]:
        return tuple(self.labels)

    def read_records(self, split: str) -> Iterator[RawRecord]:
        for number, label in enumerate(self.labels[split]):
            text = " ".join(WORDS[int(digit)] for digit in f"{number:03d}") + " " + split
            yield RawRecord(text, None, label, f"{split}, row {number + 1}")

    def fingerprint_split(self, split: str) -> str:
        return repr(self.labels[split])


def _corpus(labels: Mapping[str, Sequence[Label]], **changed: Any) -> Corpus:
    settings: dict[str, Any] = {
        "task": "multi_label",
        "source": Rows(labels),
        "cleaning": Cleaning(),
        "split": Split(validation=0.0),
    }
    return Corpus(**(settings | changed))


def test_each_row_has_a_place_for_every_class() -> None:
    labels = {
        "train": [("joy", "anger"), (), ("anger",), "joy", None, ("fear", "joy ", "joy")],
        "test": [("fear",), ("anger", "joy")],
    }
    survey = _corpus(labels).survey_rows()
    assert survey.data_summary["label_names"] == ["anger", "fear", "joy"]
    assert survey.targets["train"].dtype == np.uint8
    assert survey.targets["train"].tolist() == [
        [1, 0, 1],
        [0, 0, 0],
        [1, 0, 0],
        [0, 0, 1],
        # a row without a label is left out, and not one that has none of the labels
        [0, 0, 0],
        [0, 1, 1],
    ]
    assert survey.places["train"].tolist() == [1, 1, 1, 1, 0, 1]
    assert survey.targets["test"].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert survey.data_summary["labels"] == {
        "train": {"anger": 2, "fear": 1, "joy": 3},
        "test": {"anger": 1, "fear": 1, "joy": 1},
    }
    assert survey.data_summary["counts"]["train/missing_label"] == 1
    remarks = survey.data_summary["remarks"]
    assert "1 of 5 rows of train have none of the labels" in remarks
    assert any("data.cleaning.missing_label=keep takes them for rows" in one for one in remarks)
    kept = _corpus(labels, cleaning=Cleaning(missing_label="keep")).survey_rows()
    assert kept.places["train"].tolist() == [1] * 6
    assert "2 of 6 rows of train have none of the labels" in kept.data_summary["remarks"]


def test_numbers_name_declared_classes() -> None:
    labels = {"train": [("2", "0"), ("1",), (0, 1)], "test": [("2",)]}
    survey = _corpus(labels, label_names=["calm", "glad", "sad"]).survey_rows()
    assert survey.targets["train"].tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
    assert survey.data_summary["labels"]["test"] == {"calm": 0, "glad": 0, "sad": 1}


def test_a_label_that_only_test_has() -> None:
    labels = {"train": [("a", "b"), ("b",)], "test": [("a",), ("a", "c")]}
    with pytest.raises(UserError, match=r"test, row 2: label 'c' is none of the 2 classes found"):
        _corpus(labels).survey_rows()
    space = LabelSpace.from_names(["a", "b"])
    assert build_membership({("b", "a"): "x", (): "y"}, space, "train").tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_several_labels_where_one_is_expected(task: str) -> None:
    with pytest.raises(UserError) as caught:
        _corpus({"train": ["1", ("2", "3")]}, task=task).survey_rows()
    assert str(caught.value).startswith(
        "train, row 2: 2 labels (2, 3), but a text has one here; data.task=multi_label"
    )


def test_how_rows_with_several_labels_are_divided_is_told() -> None:
    labels = {"train": [("a",), ("a", "b"), ("b",), ("a", "c"), ("c",)] * 8}
    summary = _corpus(labels, split=Split(validation=0.2)).survey_rows().data_summary
    assert summary["rows"] == {"train": 32, "validation": 8}
    assert summary["remarks"] == [
        "validation are rows of train drawn at random: rows with several labels are not divided by "
        "class (data.split.stratify)"
    ]
    every = _corpus({"train": [("a", "b")] * 9}, split=Split(validation=0.0)).survey_rows()
    assert every.data_summary["remarks"] == ["every row of train has all 2 labels"]
    plain = _corpus({"train": ["a", "b"] * 9}, split=Split(validation=0.0)).survey_rows()
    assert plain.data_summary["remarks"] == [
        "no row of train has more than one label; where a cell holds several, "
        "data.source.label_separator says what parts them"
    ]


def test_a_missing_label_means_none_of_them_only_where_there_may_be_several(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        DataConfig(
            task="classification",
            source=Rows({"train": ["a", "b"]}),
            cleaning=Cleaning(missing_label="keep"),
            split=Split(),
            tokenizer=WordPiece(vocab_size=120),
            batching=Labelled(),
            cache=str(tmp_path),
        )
    assert str(caught.value) == (
        "data.cleaning.missing_label=keep goes with data.task=multi_label, found "
        "data.task=classification"
    )


def test_emotions_as_they_are_published(tmp_path: Path) -> None:
    """GoEmotions: numbers joined by commas, without a header, and a file of names."""
    cells = ["0", "0,2", "1", "2,1", ""]
    lines = [f'text number {n}, "quoted\t{cells[n % 5]}\tid{n}\n' for n in range(50)]
    (tmp_path / "train.tsv").write_text("".join(lines))
    (tmp_path / "emotions.txt").write_text("admiration\namusement\nanger\n")
    source = Source(
        path=str(tmp_path / "train.tsv"), header=False, text=0, label=1, label_separator="comma"
    )
    data = DataConfig(
        task="multi_label",
        source=source,
        cleaning=Cleaning(),
        split=Split(),
        tokenizer=WordPiece(vocab_size=120, min_frequency=1),
        batching=Labelled(max_tokens=16),
        label_names=str(tmp_path / "emotions.txt"),
        cache=str(tmp_path / "cache"),
    )
    data.check()
    module = data.build()
    module.prepare_data()
    summary = module.data_summary
    assert summary["label_names"] == ["admiration", "amusement", "anger"]
    assert summary["rows"] == {"train": 36, "validation": 4}
    assert summary["counts"]["train/missing_label"] == 10
    train, validation = summary["labels"]["train"], summary["labels"]["validation"]
    assert {name: train[name] + validation[name] for name in train} == dict.fromkeys(train, 20)


def _prepared(folder: Path, labels: Mapping[str, Sequence[Label]]) -> TextDataModule:
    data = DataConfig(
        task="multi_label",
        source=Rows(labels),
        cleaning=Cleaning(),
        split=Split(),
        tokenizer=WordPiece(vocab_size=120, min_frequency=1),
        batching=Labelled(max_tokens=16, batch_size=4, eval_batch_size=4),
        cache=str(folder),
    ).build()
    data.prepare_data()
    return data


def test_batches_hold_zeros_and_ones(tmp_path: Path) -> None:
    sets = [("a",), ("a", "b"), (), ("c", "b")]
    labels = {"train": sets * 6, "validation": sets, "test": sets}
    data = _prepared(tmp_path, labels)
    [batch] = list(data.test_dataloader())
    found = dict(zip(batch.row_ids.tolist(), batch.labels.tolist(), strict=True))
    assert found == {0: [1, 0, 0], 1: [1, 1, 0], 2: [0, 0, 0], 3: [0, 1, 1]}
    # and from the cache
    again = _prepared(tmp_path, labels)
    assert again.data_summary == data.data_summary
    # another set of labels is another content
    labels["test"] = [*sets[:3], ("c",)]
    other = _prepared(tmp_path, labels)
    assert other.data_summary["digests"]["train"] == data.data_summary["digests"]["train"]
    assert other.data_summary["digests"]["test"] != data.data_summary["digests"]["test"]


def test_a_column_without_a_one_in_train_is_a_label(tmp_path: Path) -> None:
    rows = "".join(f"text {n},{n % 2},{n % 3 // 2},0\n" for n in range(12))
    (tmp_path / "train.csv").write_text(f"text,joy,anger,fear\n{rows}", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,joy,anger,fear\nother,0,0,1\n", encoding="utf-8")
    source = Source(path=str(tmp_path), label=["joy", "anger", "fear"])
    config = DataConfig(
        task="multi_label",
        source=source,
        cleaning=Cleaning(),
        split=Split(),
        tokenizer=WordPiece(vocab_size=100),
        batching=Labelled(),
        cache=str(tmp_path / "cache"),
    )
    assert config.find_classes() == (["anger", "fear", "joy"], None)
    labels, _ = config.find_classes()
    corpus = _corpus({}, source=source, label_names=labels)
    survey = corpus.survey_rows()
    assert survey.data_summary["label_names"] == ["anger", "fear", "joy"]
    assert survey.targets["test"].tolist() == [[0, 1, 0]]
    assert "no row of train has 1 of 3 classes: 'fear'" in survey.data_summary["remarks"]


def test_names_of_several_labels_of_the_library_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    names = ["admiration", "joy", "neutral"]
    for kind, feature in (
        ("list", datasets.Sequence(datasets.ClassLabel(names=names))),
        ("single", datasets.ClassLabel(names=names)),
    ):
        labels = [[0, 1], [2]] if kind == "list" else [0, 2]
        features = datasets.Features({"text": datasets.Value("string"), "label": feature})
        part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": labels}, features=features)
        part.to_parquet(str(tmp_path / f"{kind}.parquet"))
        assert find_hub_classes(part, "label") == names
        assert find_hub_classes(part, "text") is None
        source = Source(path=str(tmp_path / f"{kind}.parquet"), label="label")
        assert source.find_class_names() == names
        monkeypatch.setattr(
            "src.data.reading.sources.load_from_hub",
            lambda *_, part=part: datasets.DatasetDict({"train": part}),
        )
        hub = Source(hub="some/set", label="label")
        assert hub.find_class_names() == names
        assert [row.label for row in hub.read_records("train")] == [
            tuple(label) if isinstance(label, list) else label for label in labels
        ]
    assert LabelSpace.from_names(names, [0, 1, 2]).class_indices({1: "here"}, "train") == [1]
