"""The features and the scores of reference lines, against counts made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from src.data.tokenization.text_encoder import EncodedTexts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore, TokenStoreWriter
from src.evaluation import linear_model
from src.evaluation.linear_model import count_features, score_linear_model, score_majority

CLS, SEP = 1, 2


def write_store(
    folder: Path, rows: Sequence[Sequence[int]], targets: Sequence[int], begins: Sequence[int] = ()
) -> TokenStore:
    lengths = np.array([len(row) for row in rows])
    encoded = EncodedTexts(
        ids=np.concatenate([np.array(row) for row in rows]),
        lengths=lengths,
        begins=np.array(begins or [0] * len(rows)),
        num_truncated=0,
    )
    with TokenStoreWriter(folder, vocab_size=100, targets=TargetLayout()) as writer:
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
    majority = score_majority(stores, 2)
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
    assert score_majority(stores, 2).metrics["test/accuracy"] == 0.5


def test_large_data_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # rows have 4 tokens, so 8 values: 64 are 8 rows
    monkeypatch.setattr(linear_model, "_MOST_VALUES", 64)
    monkeypatch.setattr(linear_model, "_MOST_WEIGHTS", 3)
    linear = score_linear_model(make_stores(tmp_path), 2, [CLS, SEP])
    assert linear is not None
    assert linear.rows == 8
