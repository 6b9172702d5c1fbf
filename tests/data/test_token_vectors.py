"""What the training rows tell of each token, whole and in shards, and from a part of them."""

from pathlib import Path

import numpy as np
import pytest

from src.data import token_vectors
from src.data.datamodule import TextDataModule
from src.data.tokenization import cooccurrence_vectors
from tests.data.shards.test_sharded_training import _data, folder, storage

__all__ = ["folder", "storage"]


def test_a_corpus_in_shards_tells_the_same(folder: Path) -> None:
    whole, sharded = _data(folder, None), _data(folder, "memory://bucket", "other")
    one, other = (data.load_token_vectors(8) for data in (whole, sharded))
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)
    assert np.array_equal(one.frequencies, other.frequencies)
    assert one.num_tokens == other.num_tokens > 1000
    assert one.vectors.shape == (whole.tokenizer.vocab_size, 8)
    info = whole.dataset_info
    assert one.frequencies.sum() > 1000 and not one.frequencies[list(info.special_ids)].any()
    assert not one.vectors[list(info.special_ids)].any()


def test_vectors_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _data(folder, None).load_token_vectors(8)

    def fail(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(cooccurrence_vectors, "factorise_neighbours", fail)
    again = _data(folder, None).load_token_vectors(8)
    assert np.array_equal(first.vectors, again.vectors)
    with pytest.raises(AssertionError, match="made again"):
        _data(folder, None).load_token_vectors(4)


def _count_read_shards(data: TextDataModule) -> int:
    assert data.sharded_train is not None
    return len(data.sharded_train._open)


def test_a_part_of_a_large_corpus_is_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_vectors, "MOST_TOKENS", 320)
    whole, sharded = _data(folder, None), _data(folder, "memory://bucket", "other")
    known = [data.load_token_vectors(8) for data in (whole, sharded)]
    assert [each.num_tokens for each in known] == [320, 320]
    # how often a token occurs is known of all
    assert np.array_equal(known[0].frequencies, known[1].frequencies)
    assert known[0].frequencies.sum() > 1000
    # 320 tokens are in two shards of 192
    assert _count_read_shards(sharded) == 2
