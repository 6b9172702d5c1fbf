"""The share of masked tokens over a training, by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.core.training_length import TrainingLength
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Masked
from src.data.batches.loader import BatchDataset, PrefetchSampler
from src.data.tokenization.token_store import TokenStore

TOKENIZER: Any = SimpleNamespace(mask_id=4, special_ids=(0, 1, 2, 3, 4), vocab_size=2000)


def _store(tokens: int) -> TokenStore:
    return TokenStore(
        folder=Path(),
        ids=np.random.default_rng(0).integers(5, 2000, tokens).astype(np.uint16),
        offsets=np.array([0, tokens]),
        begins=np.zeros(1, dtype=np.int32),
        targets=np.zeros(1, dtype=np.int64),
        identities=np.zeros(1, dtype=np.int64),
        num_truncated=0,
    )


def test_from_30_to_15_masks_of_a_hundred() -> None:
    """Sixteen steps of two batches, in epochs of ten batches: one mask less in each step."""
    batching = Masked(row_tokens=100, mask_fraction=0.30, mask_fraction_end=0.15)
    schedule = batching.build_mask_schedule(TrainingLength(16, 5, 2))
    assert schedule is not None
    masks = [
        round(100 * schedule.fraction_at(epoch, batch)) for epoch in range(3) for batch in range(10)
    ]
    assert masks[::2] == masks[1::2] == list(range(30, 15, -1))
    assert schedule.fraction_at(3, 0) == 0.15
    # beyond the end, as in a run that was lengthened before it knew of it
    assert schedule.fraction_at(9, 0) == 0.15


def test_by_a_cosine() -> None:
    """A quarter, half and three quarters of the way: (1 - cos(pi / 4)) / 2 = 0.146, 0.5, 0.854."""
    batching = Masked(
        row_tokens=1000, mask_fraction=0.1, mask_fraction_end=0.3, mask_schedule="cosine"
    )
    schedule = batching.build_mask_schedule(TrainingLength(5, 100, 1))
    assert schedule is not None
    found = [schedule.fraction_at(0, batch) for batch in range(5)]
    assert found == pytest.approx([0.1, 0.129, 0.2, 0.271, 0.3])


def test_without_an_end_it_stays() -> None:
    assert Masked().build_mask_schedule(None) is None


def test_batches_depend_on_their_place_alone() -> None:
    """Made one by one, ahead in groups, or from the middle on, they are the same."""
    store = _store(40 * 64 + 20)
    batching = Masked(row_tokens=64, batch_size=2, mask_fraction=0.5, mask_fraction_end=0.1)
    schedule = batching.build_mask_schedule(TrainingLength(40, 21, 1))

    def build() -> BatchDataset:
        return BatchDataset(store, batching, TOKENIZER, seed=1, training=True, schedule=schedule)

    def read(epoch: int, first: int) -> list[tuple[list[int], list[int]]]:
        plan = batching.build_batch_sampler(store, seed=1, training=True)
        plan.skip_to(epoch, first)
        source = build()
        return [
            (batch.tokens.ids.tolist(), batch.masked_positions.tolist())
            for batch in (source[key] for key in PrefetchSampler(plan, source))
        ]

    plan = batching.build_batch_sampler(store, seed=1, training=True)
    plan.set_epoch(1)
    keys = list(plan)
    alone = [build()[key] for key in keys]
    expected = [(batch.tokens.ids.tolist(), batch.masked_positions.tolist()) for batch in alone]
    assert read(1, 0) == expected
    assert read(1, 9) == expected[9:]
    assert len(expected[0][1]) > len(expected[-1][1])


def test_held_out_rows_have_their_own_share() -> None:
    store = _store(640)
    batching = Masked(row_tokens=64, mask_fraction=0.5, mask_fraction_end=0.3)
    key = BatchKey(0, 0, np.arange(4))
    batch: Any = BatchDataset(store, batching, TOKENIZER, seed=1, training=False)[key]
    assert len(batch.targets) == 4 * round(0.15 * 64)
