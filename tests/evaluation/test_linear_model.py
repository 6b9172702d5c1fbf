"""The features and the scores of reference lines, against counts made by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.data.tokenization.text_encoder import EncodedTexts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore, TokenStoreWriter
from src.evaluation import linear_model
from src.evaluation.linear_model import count_features, score_constant, score_linear_model

CLS, SEP = 1, 2
_CLASSES = TargetLayout()


def write_store(
    folder: Path,
    rows: Sequence[Sequence[int]],
    targets: Sequence[Any],
    begins: Sequence[int] = (),
    layout: TargetLayout = _CLASSES,
) -> TokenStore:
    lengths = np.array([len(row) for row in rows])
    encoded = EncodedTexts(
        ids=np.concatenate([np.array(row) for row in rows]),
        lengths=lengths,
        begins=np.array(begins or [0] * len(rows)),
        num_truncated=0,
    )
    with TokenStoreWriter(folder, vocab_size=100, targets=layout) as writer:
        texts = [TextRow("", None, target, number) for number, target in enumerate(targets)]
        writer.append_rows(texts, encoded)
        writer.finish_store()
    return TokenStore.open(folder)


def test_features_are_tokens_and_pairs_of_neighbours(tmp_path: Path) -> None:
    rows = [[CLS, 10, 11, 10, 11, SEP], [CLS, 11, 10, SEP], [CLS, 10, SEP], [CLS, SEP]]
    counts = count_features(write_store(tmp_path, rows, [0, 0, 0, 0]), [CLS, SEP]).toarray()
    # 10 and 11 twice, "10 11" twice, "11 10" once
    assert sorted(counts[0][counts[0] > 0]) == [1, 2, 2, 2]
    assert sorted(counts[1][counts[1] > 0]) == [1, 1, 1]
    # the second row has the pair of the first that occurs once, and both of its tokens
    assert (counts[0] * counts[1]).sum() == 2 + 2 + 1
    assert (counts[0] * counts[2]).sum() == 2
    assert not counts[3].any()


def test_the_texts_of_a_pair_have_features_of_their_own(tmp_path: Path) -> None:
    rows = [[CLS, 10, SEP, 10, SEP], [CLS, 10, 10, SEP]]
    counts = count_features(
        write_store(tmp_path, rows, [0, 0], begins=[3, 0]), [CLS, SEP]
    ).toarray()
    # in the first row 10 in either text, but no neighbours; in the second 10 twice and "10 10"
    assert sorted(counts[0][counts[0] > 0]) == [1, 1]
    assert sorted(counts[1][counts[1] > 0]) == [1, 2]
    assert (counts[0] * counts[1]).sum() == 2


def make_stores(folder: Path) -> dict[str, TokenStore]:
    """Token 10 says class 0, and 11 class 1; two of three training rows are of class 1."""
    train = [[CLS, 10, 20, SEP], [CLS, 11, 20, SEP], [CLS, 11, 21, SEP]] * 4
    held_out = [[CLS, 10, 20, SEP], [CLS, 11, 20, SEP], [CLS, 10, 20, SEP], [CLS, 10, SEP]]
    return {
        "train": write_store(folder / "train", train, [0, 1, 1] * 4),
        "validation": write_store(folder / "validation", held_out, [0, 1, 0, 0]),
        "test": write_store(folder / "test", held_out, [0, 1, 1, 1]),
    }


def test_majority_and_linear_model(tmp_path: Path) -> None:
    stores = make_stores(tmp_path)
    majority = score_constant(stores, 2)
    # class 1 for all: right for 1 of 4, and for 3 of 4; F1 of class 1 is 2/5 and 6/7, of class 0 0
    assert majority.metrics == {
        "val/accuracy": 0.25,
        "val/f1_macro": pytest.approx(0.2),
        "test/accuracy": 0.75,
        "test/f1_macro": pytest.approx(3 / 7),
    }
    linear = score_linear_model(stores, 2, [CLS, SEP])
    assert linear is not None
    assert linear.rows == 12
    assert linear.metrics["val/accuracy"] == 1.0
    # two of class 1 look like class 0
    assert linear.metrics["test/accuracy"] == 0.5


def test_one_class_cannot_be_learnt(tmp_path: Path) -> None:
    rows = [[CLS, 10, SEP], [CLS, 11, SEP]]
    stores = {
        "train": write_store(tmp_path / "train", rows, [1, 1]),
        "test": write_store(tmp_path / "test", rows, [0, 1]),
    }
    assert score_linear_model(stores, 2, [CLS, SEP]) is None
    assert score_constant(stores, 2).metrics["test/accuracy"] == 0.5


def test_large_data_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # rows have 4 tokens, so 8 values: 64 are 8 rows
    monkeypatch.setattr(linear_model, "_MOST_VALUES", 64)
    monkeypatch.setattr(linear_model, "_MOST_WEIGHTS", 3)
    linear = score_linear_model(make_stores(tmp_path), 2, [CLS, SEP])
    assert linear is not None
    assert linear.rows == 8


def test_several_labels(tmp_path: Path) -> None:
    """Token 10 brings the first label, 11 the second; all texts have the third, none the fourth."""
    layout = TargetLayout("uint8", 4)
    train = [[CLS, 10, 11, SEP], [CLS, 10, 20, SEP], [CLS, 20, 21, SEP], [CLS, 10, 21, SEP]] * 3
    targets = [(1, 1, 1, 0), (1, 0, 1, 0), (0, 0, 1, 0), (1, 0, 1, 0)] * 3
    held_out = [[CLS, 10, 20, SEP], [CLS, 10, 11, SEP], [CLS, 20, 21, SEP]]
    right = [(1, 0, 1, 0), (1, 1, 1, 0), (0, 0, 1, 0)]
    stores = {
        "train": write_store(tmp_path / "train", train, targets, layout=layout),
        "test": write_store(tmp_path / "test", held_out, right, layout=layout),
    }
    # the first and the third for all: F1 of 4/5, 0, 1 and 0; of all decisions 5 right, 1 too
    # many, 1 missing
    assert score_constant(stores, 4, "multi_label").metrics == {
        "test/subset_accuracy": pytest.approx(1 / 3),
        "test/f1_micro": pytest.approx(10 / 12),
        "test/f1_macro": pytest.approx(1.8 / 4),
    }
    linear = score_linear_model(stores, 4, [CLS, SEP], "multi_label")
    assert linear is not None
    assert linear.metrics["test/subset_accuracy"] == 1.0
    assert linear.metrics["test/f1_micro"] == 1.0


def test_where_no_label_is_on_half_of_the_rows_the_most_frequent_one_is_said(
    tmp_path: Path,
) -> None:
    layout = TargetLayout("uint8", 2)
    rows = [[CLS, 10, SEP]] * 5
    targets = [(1, 0), (1, 0), (0, 1), (0, 0), (0, 0)]
    stores = {
        "train": write_store(tmp_path / "train", rows, targets, layout=layout),
        "test": write_store(tmp_path / "test", rows, targets, layout=layout),
    }
    # 2 of 5 right, 3 too many; the other label is missing
    assert score_constant(stores, 2, "multi_label").metrics["test/f1_macro"] == pytest.approx(2 / 7)


def test_numbers(tmp_path: Path) -> None:
    layout = TargetLayout("float32")
    train = [[CLS, 10, 20, SEP], [CLS, 11, 20, SEP], [CLS, 12, 20, SEP]] * 4
    held_out = [[CLS, 10, 20, SEP], [CLS, 12, 20, SEP], [CLS, 11, SEP]]
    stores = {
        "train": write_store(tmp_path / "train", train, [0.0, 2.0, 4.0] * 4, layout=layout),
        "test": write_store(tmp_path / "test", held_out, [1.0, 5.0, 2.0], layout=layout),
    }
    # 2 for all: wrong by 1, 3 and 0
    assert score_constant(stores, 0, "regression").metrics == {
        "test/rmse": pytest.approx((10 / 3) ** 0.5),
        "test/mae": pytest.approx(4 / 3),
    }
    linear = score_linear_model(stores, 0, [CLS, SEP], "regression")
    assert linear is not None and linear.rows == 12
    assert linear.metrics["test/rmse"] < 1.2
    assert linear.metrics["test/spearman"] == pytest.approx(1.0)
    assert 0.95 < linear.metrics["test/pearson"] <= 1.0


def test_one_number_cannot_be_learnt(tmp_path: Path) -> None:
    layout = TargetLayout("float32")
    rows = [[CLS, 10, SEP], [CLS, 11, SEP]]
    stores = {
        name: write_store(tmp_path / name, rows, [1.0, 1.0], layout=layout)
        for name in ("train", "test")
    }
    assert score_linear_model(stores, 0, [CLS, SEP], "regression") is None
    assert score_constant(stores, 0, "regression").metrics["test/rmse"] == 0.0
