"""Test rows and the training rows that are most similar to them, on texts whose sets are known."""

from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data import near_train_rows as module
from src.data.near_train_rows import NearTrainRows
from tests.data.test_leakage import prepare

LONG = "a b c d e f g h i j k l m n o p q r s t"
OURS = {
    "train": ["first text here,p,0", f"{LONG} v w x y z,p,1", f"{LONG} z,p,1", "no words,p,0"],
    "validation": ["v,p,1"],
    "test": [
        "First text: here!,p,0",
        f"{LONG} z u,p,1",
        "other,p,0",
        f"{LONG} z.,p,1",
        f"{LONG} Z,p,0",
        "!?,p,0",
    ],
}


def find(folder: Path, threshold: float = 0.7) -> NearTrainRows:
    datamodule = prepare(folder, "ours", OURS).build()
    datamodule.prepare_data()
    return datamodule.find_near_train_rows(threshold)


@pytest.mark.parametrize("block", [1, 1000])
def test_the_most_similar_row_of_train_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    pytest.importorskip("datasketch")
    monkeypatch.setattr(module, "_BLOCK_ROWS", block)
    found = find(tmp_path)
    assert found.rows.tolist() == [0, 1, 3, 4]
    # of LONG z u, 21 of 24 pairs are shared with LONG z, and 20 of 28 with the longer row
    assert found.neighbours.tolist() == [0, 2, 2, 2]
    assert found.similarity.tolist() == pytest.approx([1, 21 / 24, 1, 1], abs=0.1)
    assert found.similarity[[0, 2, 3]].tolist() == [1, 1, 1]
    assert not found.same_words
    # once more from the cache, in which nothing is looked for
    monkeypatch.setattr(module, "_find_similar", lambda *_: pytest.fail("looked again"))
    again = prepare(tmp_path / "cache", "ours", OURS, cache=str(tmp_path / "cache")).build()
    again.prepare_data()
    assert again.find_near_train_rows(0.7).rows.tolist() == [0, 1, 3, 4]


def test_without_datasketch_rows_of_the_same_words_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = find(tmp_path)
    assert found.rows.tolist() == [0, 3, 4] and found.neighbours.tolist() == [0, 2, 2]
    assert found.similarity.tolist() == [1, 1, 1] and found.same_words


def test_too_many_letters_are_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LETTERS", 10)
    with pytest.raises(UserError, match="letters are too many to look through"):
        find(tmp_path)
