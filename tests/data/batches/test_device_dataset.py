"""A corpus on the device gives the batches that the host gives, bit for bit; shown on a device that
is the CPU.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.training_length import TrainingLength
from src.data.batches import device_dataset
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Labelled, Masked
from src.data.batches.device_dataset import DeviceBatchDataset, should_keep_on_device
from src.data.batches.loader import BatchDataset
from src.data.tokenization.token_store import TokenStore

VOCABULARY = 70_000
CPU = torch.device("cpu")


def tokenizer(vocabulary: int) -> Any:
    joints = np.random.default_rng(3).integers(0, 4, vocabulary, dtype=np.uint8)
    joints[:5] = 0
    return SimpleNamespace(
        mask_id=4, special_ids=(0, 1, 2, 3, 4), vocab_size=vocabulary, word_joints=joints
    )


def store(
    lengths: list[int], *, special_share: float = 0.1, wide: bool = False, seed: int = 0
) -> TokenStore:
    draw = np.random.default_rng(seed)
    ids = draw.integers(5, VOCABULARY if wide else 2000, sum(lengths))
    ids[draw.random(len(ids)) < special_share] = 2
    return TokenStore(
        folder=Path(),
        ids=ids.astype(np.uint32 if wide else np.uint16),
        offsets=np.cumsum([0, *lengths]),
        begins=np.zeros(len(lengths), dtype=np.int32),
        targets=np.zeros(len(lengths), dtype=np.int64),
        identities=np.arange(len(lengths)),
        num_truncated=0,
    )


def both(
    corpus: TokenStore, batching: Masked, **arguments: Any
) -> tuple[BatchDataset, DeviceBatchDataset]:
    words = tokenizer(VOCABULARY if corpus.ids.dtype == np.uint32 else 2000)
    return (
        BatchDataset(corpus, batching, words, **arguments),
        DeviceBatchDataset(corpus, batching, words, device=CPU, **arguments),
    )


def assert_equal(found: Any, expected: Any) -> None:
    for name, ours, theirs in zip(found.tokens._fields, found.tokens, expected.tokens, strict=True):
        if isinstance(theirs, torch.Tensor):
            assert ours.dtype == theirs.dtype, name
            assert torch.equal(ours, theirs), name
        else:
            assert ours == theirs, name
    assert torch.equal(found.masked_positions, expected.masked_positions)
    assert torch.equal(found.targets, expected.targets)


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=20),
    row_tokens=st.integers(8, 40),
    fraction=st.sampled_from([0.02, 0.15, 0.5, 0.95]),
    special_share=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    epoch=st.integers(0, 2**40),
    seed=st.integers(0, 2**63),
    training=st.booleans(),
    unit=st.sampled_from(["token", "word", "span"]),
)
def test_the_same_batches(
    lengths: list[int],
    row_tokens: int,
    fraction: float,
    special_share: float,
    epoch: int,
    seed: int,
    training: bool,
    unit: Any,
) -> None:
    corpus = store(lengths, special_share=special_share)
    batching = Masked(
        row_tokens=row_tokens,
        mask_fraction=fraction,
        mask_share=0.6,
        random_share=0.3,
        mask_unit=unit,
    )
    host, device = both(corpus, batching, seed=seed, training=training)
    rows = np.random.default_rng(1).permutation(batching.count_rows(corpus))
    for part in (rows, np.sort(rows[:3]), rows[:0]):
        key = BatchKey(epoch, 0, part)
        assert_equal(device[key], host[key])


def test_a_share_that_falls() -> None:
    """As many masks on the device as on the host, at every place of the training."""
    corpus = store([130, 70, 101], special_share=0.6)
    batching = Masked(row_tokens=32, mask_fraction=0.5, mask_fraction_end=0.1, mask_unit="word")
    schedule = batching.build_mask_schedule(TrainingLength(7, 4, 2))
    host, device = both(corpus, batching, seed=1, training=True, schedule=schedule)
    counts = []
    for number in range(8):
        key = BatchKey(0, number, np.arange(batching.count_rows(corpus)))
        assert_equal(device[key], host[key])
        counts.append(len(host[key].targets))
    assert counts[0] == counts[1] > counts[2] == counts[3] > counts[4]


def test_ids_beyond_sixteen_bits() -> None:
    corpus = store([300, 200], wide=True)
    assert corpus.ids.max() > 2**16
    host, device = both(corpus, Masked(row_tokens=64), seed=1, training=True)
    key = BatchKey(0, 0, np.arange(8))
    assert_equal(device[key], host[key])


def test_ids_of_the_upper_half_of_sixteen_bits() -> None:
    """Held as signed numbers, they would be negative."""
    corpus = store([100])
    corpus.ids[:] = 2**16 - 1
    words = tokenizer(2**16)
    device = DeviceBatchDataset(
        corpus, Masked(row_tokens=32), words, seed=1, training=True, device=CPU
    )
    batch = device[BatchKey(0, 0, np.arange(3))]
    assert batch.targets.tolist() == [2**16 - 1] * len(batch.targets)


def test_a_corpus_is_moved_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_dataset, "_CHUNK_TOKENS", 50)
    corpus = store([130, 70, 101])
    host, device = both(corpus, Masked(row_tokens=32), seed=1, training=True)
    rows = np.arange(Masked(row_tokens=32).count_rows(corpus))
    key = BatchKey(0, 0, rows)
    assert_equal(device[key], host[key])


def test_where_a_corpus_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 bytes of ids: a tenth of 200 free ones."""
    corpus, gpu = store([10]), torch.device("cuda")
    free = [200]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 1000))
    assert should_keep_on_device(Masked(), None, corpus, gpu)
    assert not should_keep_on_device(Masked(), False, corpus, gpu)
    assert not should_keep_on_device(Masked(), None, corpus, CPU)
    assert not should_keep_on_device(Labelled(), None, corpus, gpu)
    free[0] = 199
    assert not should_keep_on_device(Masked(), None, corpus, gpu)
    assert should_keep_on_device(Masked(), True, corpus, gpu)
    assert should_keep_on_device(Masked(), True, corpus, CPU)
