"""Packing and batches, on stores written by hand."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.user_errors import UserError, UserErrors
from src.data.batches import loader as module
from src.data.batches.batch_sampler import BatchKey, DistributedBatchSampler
from src.data.batches.batching import Labelled, Masked
from src.data.batches.loader import BatchDataset, PrefetchSampler
from src.data.batches.mask_settings import EVAL_MASK_FRACTION
from src.data.tokenization.token_store import TokenStore

TOKENIZER: Any = SimpleNamespace(mask_id=4, special_ids=(0, 1, 2, 3, 4), vocab_size=2000)


def _store(
    documents: Sequence[Sequence[int]], begins: Sequence[int] = (), targets: Any = None
) -> TokenStore:
    count = len(documents)
    return TokenStore(
        folder=Path(),
        ids=np.array([token for document in documents for token in document], dtype=np.uint16),
        offsets=np.cumsum([0, *map(len, documents)]),
        begins=np.array(begins or [0] * count, dtype=np.int32),
        targets=np.zeros(count, dtype=np.int64) if targets is None else targets,
        identities=np.arange(count) + 100,
        num_truncated=0,
    )


def _batch(batching: Any, store: TokenStore, rows: Any, **changed: Any) -> Any:
    settings = {"epoch": 0, "seed": 1, "training": True} | changed
    return batching.build_batch(store, np.asarray(rows), tokenizer=TOKENIZER, **settings)


def _restored(batch: Any) -> list[int]:
    ids = batch.tokens.ids.clone()
    ids[batch.masked_positions] = batch.targets
    return list(ids.tolist())


def test_no_rows_make_a_batch_without_targets() -> None:
    """A row stands in, and the batches beside it are as they were."""
    store = _store([range(10, 15), range(20, 24), range(30, 41)])
    some, nothing = np.arange(2), np.arange(0)
    one, idle, other = Masked(row_tokens=8).build_batches(
        store, [some, nothing, some[:1]], epoch=0, seed=1, tokenizer=TOKENIZER, training=True
    )
    assert (len(idle.tokens.ids), len(idle.masked_positions), len(idle.targets)) == (8, 0, 0)
    for found, rows in ((one, some), (other, some[:1])):
        alone = _batch(Masked(row_tokens=8), store, rows)
        assert torch.equal(found.tokens.ids, alone.tokens.ids)
        assert torch.equal(found.masked_positions, alone.masked_positions) and torch.equal(
            found.targets, alone.targets
        )
    labelled = _batch(Labelled(), store, nothing)
    assert (labelled.tokens.num_sequences, len(labelled.labels), len(labelled.row_ids)) == (1, 0, 0)


def test_documents_in_rows_of_eight() -> None:
    """Documents of 5, 4 and 11 tokens: rows [5 3], [1 7] and [4]."""
    store = _store([range(10, 15), range(20, 24), range(30, 41)])
    packed = Masked(row_tokens=8)
    assert packed.count_rows(store) == 3
    batch = _batch(packed, store, [0, 1])
    assert batch.tokens.cu_seqlens.tolist() == [0, 5, 8, 9, 16]
    assert batch.tokens.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6]
    assert (batch.tokens.max_seqlen, batch.tokens.row_tokens, batch.tokens.num_sequences) == (
        7,
        8,
        4,
    )
    assert _restored(batch) == [10, 11, 12, 13, 14, 20, 21, 22, 23, 30, 31, 32, 33, 34, 35, 36]
    assert len(batch.masked_positions) == 2
    last = _batch(packed, store, [2])
    assert last.tokens.cu_seqlens.tolist() == [0, 4]
    assert (last.tokens.row_tokens, _restored(last)) == (0, [37, 38, 39, 40])


def test_a_batch_with_the_short_last_row() -> None:
    store = _store([range(10, 15), range(20, 24), range(30, 41)])
    batch = _batch(Masked(row_tokens=8), store, [1, 2])
    assert batch.tokens.cu_seqlens.tolist() == [0, 1, 8, 12]
    # rows of two lengths
    assert batch.tokens.row_tokens == 0
    assert _restored(batch) == [23, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40]
    alone = [_batch(Masked(row_tokens=8), store, [row]) for row in (1, 2)]
    assert batch.masked_positions.tolist() == [
        *alone[0].masked_positions.tolist(),
        *(alone[1].masked_positions + 8).tolist(),
    ]
    assert batch.tokens.ids.tolist() == [
        *alone[0].tokens.ids.tolist(),
        *alone[1].tokens.ids.tolist(),
    ]


DOCUMENTS = st.lists(st.integers(1, 30), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    lengths=DOCUMENTS,
    row_tokens=st.integers(8, 20),
    batch_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_no_token_is_lost_and_borders_are_where_documents_end(
    lengths: list[int], row_tokens: int, batch_size: int, epoch: int
) -> None:
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    # each token is its own place, plus 5
    store = _store(np.split(np.arange(5, 5 + total), ends[:-1]))
    packed = Masked(row_tokens=row_tokens, batch_size=batch_size)
    count = packed.count_rows(store)
    assert count == -(-total // row_tokens)
    rows_of = {}
    plan = DistributedBatchSampler(count, batch_size, seed=3, training=True)
    plan.set_epoch(epoch)
    for seen_epoch, _, rows in plan:
        assert seen_epoch == epoch
        batch = _batch(packed, store, rows, epoch=epoch)
        tokens = batch.tokens
        ids = _restored(batch)
        lengths_of = np.diff(tokens.cu_seqlens.numpy())
        assert lengths_of.sum() == len(ids) == len(tokens.positions) == len(tokens.type_ids)
        assert (lengths_of > 0).all() and tokens.max_seqlen == lengths_of.max()
        place = 0
        for row in rows.tolist():
            size = row_tokens if row < count - 1 else total - (count - 1) * row_tokens
            rows_of[row] = ids[place : place + size]
            borders = [
                start - place
                for start in tokens.cu_seqlens.tolist()
                if place < start < place + size
            ]
            first = row * row_tokens
            assert borders == [end - first for end in ends.tolist() if first < end < first + size]
            assert {place, place + size} <= set(tokens.cu_seqlens.tolist())
            place += size
        assert place == len(ids)
        assert tokens.row_tokens == (row_tokens if len(ids) == row_tokens * len(rows) else 0)
    assert [token for row in sorted(rows_of) for token in rows_of[row]] == list(range(5, 5 + total))


def test_evaluation_masks_ignore_the_run() -> None:
    store = _store([range(10, 410)])
    one = _batch(Masked(row_tokens=100), store, [0, 1, 2], training=False)
    other = Masked(row_tokens=100, mask_fraction=0.4, mask_share=0.1, random_share=0.9)
    two = _batch(other, store, [0, 1, 2], training=False, seed=77, epoch=9)
    assert one.masked_positions.tolist() == two.masked_positions.tolist()
    assert one.tokens.ids.tolist() == two.tokens.ids.tolist()
    assert len(one.masked_positions) == 3 * round(100 * EVAL_MASK_FRACTION)
    assert EVAL_MASK_FRACTION == 0.15
    train = _batch(Masked(row_tokens=100), store, [0, 1, 2])
    assert train.masked_positions.tolist() != one.masked_positions.tolist()


def test_training_masks_move_with_seed_and_epoch_not_with_company() -> None:
    store = _store([range(10, 410)])
    packed = Masked(row_tokens=100)
    whole = _batch(packed, store, [1, 3])
    assert (
        whole.masked_positions[:15].tolist() == _batch(packed, store, [1]).masked_positions.tolist()
    )
    assert (
        whole.masked_positions.tolist()
        != _batch(packed, store, [1, 3], epoch=1).masked_positions.tolist()
    )
    assert (
        whole.masked_positions.tolist()
        != _batch(packed, store, [1, 3], seed=2).masked_positions.tolist()
    )


def test_an_empty_document_makes_no_empty_sequence() -> None:
    store = _store([[7, 8, 9], [], [10, 11, 12, 13, 14]])
    assert _batch(Masked(row_tokens=8), store, [0]).tokens.cu_seqlens.tolist() == [0, 3, 8]


def test_labelled_rows_longest_first() -> None:
    store = _store([[2, 10, 3], [2, 3], [2, 30, 31, 3]], targets=np.array([1, 0, 2]))
    batch = _batch(Labelled(), store, [0, 2])
    assert batch.tokens.ids.tolist() == [2, 30, 31, 3, 2, 10, 3]
    assert batch.tokens.cu_seqlens.tolist() == [0, 4, 7]
    assert batch.tokens.positions.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert batch.tokens.type_ids.tolist() == [0] * 7
    assert (batch.labels.tolist(), batch.row_ids.tolist()) == ([2, 1], [102, 100])
    assert (batch.tokens.max_seqlen, batch.tokens.row_tokens) == (4, 0)


def test_labelled_pairs_and_values() -> None:
    values = np.array([0.5, -1.0], dtype=np.float32)
    store = _store([[2, 10, 3, 11, 12, 3], [2, 20, 21, 3, 22, 3]], begins=[3, 4], targets=values)
    batch = _batch(Labelled(), store, [0, 1])
    assert batch.tokens.type_ids.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    assert batch.labels.tolist() == [0.5, -1.0]
    assert batch.labels.dtype.is_floating_point


def test_a_source_of_batches_is_a_map_from_keys() -> None:
    store = _store([range(10, 410)])
    source = BatchDataset(store, Masked(row_tokens=100), TOKENIZER, seed=1, training=True)
    direct = _batch(Masked(row_tokens=100), store, [2], epoch=5)
    assert source[BatchKey(5, 0, np.array([2]))].tokens.ids.tolist() == direct.tokens.ids.tolist()


def test_what_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"mask_share=0\.9 and random_share=0\.2 add up to more than 1"
    ):
        Masked(mask_share=0.9, random_share=0.2)
    with pytest.raises(
        UserError, match="batch_tokens=128 has no room for a text of max_tokens=256"
    ):
        Labelled(batch_tokens=128)
    with pytest.raises(UserErrors) as caught:
        Labelled(max_tokens=3, truncation="middle")  # type: ignore[arg-type]
    assert caught.value.messages == [
        "Labelled.max_tokens: expected a whole number at least 4, found 3",
        "Labelled.truncation: expected one of head, tail, head_tail, found 'middle'; "
        "did you mean head_tail?",
    ]


def test_plans_know_lengths_and_limits() -> None:
    store = _store([[1] * length for length in (3, 9, 4, 5, 2)])
    plan = Labelled(max_tokens=16, eval_batch_size=3, eval_batch_tokens=12).build_batch_sampler(
        store, seed=1, training=False
    )
    assert [rows.tolist() for _, _, rows in plan] == [[1], [3, 2, 0], [4]]
    assert len(Labelled(batch_size=2).build_batch_sampler(store, seed=1, training=True)) == 3
    assert (
        len(
            Labelled(max_tokens=9, batch_tokens=12).build_batch_sampler(
                store, seed=1, training=True
            )
        )
        == 3
        # 9 + 3, 5 + 2, 4
    )
    packed = Masked(row_tokens=8, batch_size=1, eval_batch_size=2)
    shares = [
        packed.build_batch_sampler(store, seed=1, training=False, rank=rank, world_size=2)
        for rank in range(2)
    ]
    assert [[rows.tolist() for _, _, rows in share] for share in shares] == [[[0, 2]], [[1]]]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist(), value.dtype
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(
        lambda lengths: sum(lengths) > 0
    ),
    size=st.integers(1, 5),
    training=st.booleans(),
)
def test_batches_made_together_are_those_made_alone(
    lengths: list[int], size: int, training: bool
) -> None:
    store = _store([range(5, 5 + length) for length in lengths])
    packed = Masked(row_tokens=8, batch_size=size, eval_batch_size=size, mask_fraction=0.4)
    many = [rows for _, _, rows in packed.build_batch_sampler(store, seed=3, training=training)]
    arguments: dict[str, Any] = {
        "epoch": 2,
        "seed": 3,
        "training": training,
        "tokenizer": TOKENIZER,
    }
    together = packed.build_batches(store, many, **arguments)
    assert [_plain(batch) for batch in together] == [
        _plain(packed.build_batch(store, rows, **arguments)) for rows in many
    ]


def test_batches_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six batches, four of them made in one go; whoever asks for another one, or stops, gets what
    is right.
    """
    monkeypatch.setattr(module, "PREFETCH_TOKENS", 64)
    store = _store([range(5, 97)])
    packed = Masked(row_tokens=8, batch_size=2)
    plan = packed.build_batch_sampler(store, seed=1, training=True)
    source, alone = (
        BatchDataset(store, packed, TOKENIZER, seed=1, training=True) for _ in range(2)
    )
    ahead = PrefetchSampler(plan, source)
    assert (len(ahead), ahead.prefetch_count) == (len(plan), 4) == (6, 4)
    calls: list[int] = []
    batches = Masked.build_batches
    monkeypatch.setattr(
        Masked,
        "build_batches",
        lambda self, store, many, **other: [
            calls.append(len(many)),
            batches(self, store, many, **other),
        ][1],
    )
    for epoch in (0, 1):
        ahead.set_epoch(epoch)
        found = [_plain(source[key]) for key in ahead]
        assert calls == [4, 2]
        assert found == [_plain(alone[key]) for key in plan]
        calls.clear()
    keys = list(plan)
    next(iter(ahead))
    assert _plain(source[keys[3]]) == _plain(alone[keys[3]])


def test_batches_of_labelled_texts_are_not_made_ahead() -> None:
    store = _store([range(5, 9)] * 5)
    labelled = Labelled(max_tokens=8, batch_size=2)
    source = BatchDataset(store, labelled, TOKENIZER, seed=1, training=True)
    ahead = PrefetchSampler(labelled.build_batch_sampler(store, seed=1, training=True), source)
    assert [_plain(source[key]) for key in ahead] == [
        _plain(source[key]) for key in ahead.batch_sampler
    ]
