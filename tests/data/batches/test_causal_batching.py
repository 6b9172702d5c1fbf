"""Batches in which each token is predicted from those before it."""

from pathlib import Path
from typing import Any

import numpy as np

from src.data.batches.causal_batching import Causal
from src.data.tokenization.token_store import TokenStore

TOKENIZER: Any = None


def _store(*lengths: int) -> TokenStore:
    return TokenStore(
        folder=Path(),
        ids=np.arange(100, 100 + sum(lengths)).astype(np.uint16),
        offsets=np.cumsum([0, *lengths]),
        begins=np.zeros(len(lengths), dtype=np.int32),
        targets=np.zeros(len(lengths), dtype=np.int64),
        identities=np.arange(len(lengths)),
        num_truncated=0,
    )


def _batch(store: TokenStore, rows: list[int]) -> Any:
    return Causal(row_tokens=8).build_batch(
        store,
        np.array(rows, dtype=np.int64),
        epoch=0,
        seed=0,
        tokenizer=TOKENIZER,
        training=True,
    )


def test_every_token_but_the_first_of_each_piece_is_a_target() -> None:
    """Documents of 5, 4 and 11 tokens: rows [5 3], [1 7] and [4]."""
    store = _store(5, 4, 11)
    batch = _batch(store, [0, 1])
    assert batch.tokens.ids.tolist() == list(range(100, 116))
    assert batch.tokens.cu_seqlens.tolist() == [0, 5, 8, 9, 16]
    assert batch.tokens.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6]
    assert (batch.tokens.max_seqlen, batch.tokens.row_tokens) == (7, 8)
    assert batch.predicting.tolist() == [0, 1, 2, 3, 5, 6, 9, 10, 11, 12, 13, 14]
    assert batch.targets.tolist() == [101, 102, 103, 104, 106, 107, *range(110, 116)]
    last = _batch(store, [1, 2])
    assert last.tokens.cu_seqlens.tolist() == [0, 1, 8, 12]
    assert last.tokens.row_tokens == 0
    assert last.targets.tolist() == [*range(110, 116), 117, 118, 119]


def test_no_rows_make_a_batch_without_targets() -> None:
    batch = _batch(_store(5, 4, 11), [])
    assert (len(batch.tokens.ids), len(batch.predicting), len(batch.targets)) == (8, 0, 0)


def test_rows_are_shared_out() -> None:
    store = _store(5, 4, 11)
    plan = Causal(row_tokens=8, batch_size=2).build_batch_sampler(store, seed=1, training=True)
    assert sorted(row for key in plan for row in key.rows.tolist()) == [0, 1, 2]
