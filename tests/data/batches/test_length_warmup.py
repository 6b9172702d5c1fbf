"""Texts that are cut shorter at first, by hand and beside what the tokenizer makes of them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from src.core.training_length import TrainingLength
from src.core.user_errors import UserErrors
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Labelled
from src.data.batches.length_warmup import Cut, LengthWarmup
from src.data.batches.loader import BatchDataset
from src.data.data_config import DataConfig
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.tokenization.text_encoder import TextEncoder, Truncation
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import WordPiece

WORDS = [f"w{number}" for number in range(100)]


def build_encoder(single: str) -> TextEncoder:
    """Of words with the ids 10, 11, ..., in a frame of special tokens."""
    special = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}
    vocabulary = special | {word: 10 + number for number, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, special[token]) for token in ("[CLS]", "[SEP]")]
    )
    return TextEncoder(backend)


BERT = build_encoder("[CLS] $A [SEP]")
FRAMES = {"bert": BERT, "end": build_encoder("$A [SEP]"), "none": build_encoder("$A")}


def build_store(rows: list[list[int]]) -> TokenStore:
    return TokenStore(
        folder=Path(),
        ids=np.array([token for row in rows for token in row], dtype=np.uint16),
        offsets=np.cumsum([0, *map(len, rows)]),
        begins=np.zeros(len(rows), dtype=np.int32),
        targets=np.arange(len(rows)) % 2,
        identities=np.arange(len(rows)) + 100,
        num_truncated=0,
    )


def test_the_first_steps_have_short_texts() -> None:
    """Ten steps of two batches, in epochs of eight batches: 0.7 of them are the first seven."""
    warmup = LengthWarmup(8, 0.7, "head_tail", BERT.single_frame, TrainingLength(10, 4, 2))
    cuts = [warmup.cut_at(epoch, batch) for epoch in range(3) for batch in range(8)]
    # 6 tokens of a text beside the two special ones: a quarter is 1.5, rounded to 2 as ever
    assert cuts == [Cut(limit=8, head=3, tail=5)] * 14 + [None] * 10


@pytest.mark.parametrize(
    ("truncation", "head", "tail"), [("head", 7, 1), ("tail", 1, 7), ("head_tail", 3, 5)]
)
def test_a_batch_by_hand(truncation: Truncation, head: int, tail: int) -> None:
    """Of ten tokens 8 stay, of nine as well; eight and three are as they were. The longest come
    first, as in every batch.
    """
    rows = [[1, 5, 2], [1, *range(20, 28), 2], [1, *range(30, 36), 2], [1, *range(40, 47), 2]]
    batching = Labelled(max_tokens=12, truncation=truncation)
    cut = Cut(8, head, tail)
    batch = batching.build_batch(
        build_store(rows),
        np.arange(4),
        epoch=0,
        seed=1,
        tokenizer=None,  # type: ignore[arg-type]
        training=True,
        cut=cut,
    )
    ids, edges = batch.tokens.ids.tolist(), batch.tokens.cu_seqlens.tolist()
    ten, nine = rows[1], rows[3]
    expected = [ten[:head] + ten[10 - tail :], nine[:head] + nine[9 - tail :], rows[2], rows[0]]
    assert [ids[begin:end] for begin, end in pairwise(edges)] == expected
    assert batch.tokens.positions.tolist() == [*range(8)] * 3 + [0, 1, 2]
    assert batch.row_ids.tolist() == [101, 103, 102, 100]


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    truncation=st.sampled_from(["head", "tail", "head_tail"]),
    frame=st.sampled_from(sorted(FRAMES)),
    longest=st.integers(9, 50),
    data=st.data(),
)
def test_what_is_left_is_what_the_tokenizer_makes_at_that_length(
    lengths: list[int], truncation: Truncation, frame: str, longest: int, data: Any
) -> None:
    encoder = FRAMES[frame]
    limit = data.draw(st.integers(8, longest - 1))
    texts = [" ".join(WORDS[:length]) for length in lengths]
    stored = encoder.encode(texts, None, None, truncation)
    kept = encoder.encode(texts, None, longest, truncation) if all(stored.lengths) else stored
    short = encoder.encode(texts, None, limit, truncation) if all(stored.lengths) else None
    if short is None:
        return
    warmup = LengthWarmup(limit, 1.0, truncation, encoder.single_frame, TrainingLength(1, 1, 1))
    cut = warmup.cut_at(0, 0)
    assert cut is not None
    ends = np.cumsum(kept.lengths)
    pieces = zip(*cut.apply(ends - kept.lengths, ends), strict=True)
    assert [
        int(token) for begin, end in pieces for token in kept.ids[begin:end]
    ] == short.ids.tolist()


def test_batches_depend_on_their_place_alone() -> None:
    """The first batch of the second epoch is cut, and the next is not."""
    store = build_store([[1, *range(10, 10 + length), 2] for length in (30, 20, 10, 4)])
    batching = Labelled(batch_size=2, length_warmup_tokens=8, length_warmup_fraction=0.75)
    tokenizer: Any = type("Tokenizer", (), {"encoder": BERT})
    warmup = batching.build_length_warmup(tokenizer, TrainingLength(4, 2, 1))
    source = BatchDataset(store, batching, tokenizer, seed=1, training=True, length_warmup=warmup)
    longest = [
        source[BatchKey(epoch=epoch, number=number, rows=np.arange(2))].tokens.max_seqlen
        for epoch in range(2)
        for number in range(2)
    ]
    assert longest == [8, 8, 8, 32]
    assert Labelled().build_length_warmup(tokenizer, None) is None


@pytest.mark.parametrize(
    ("task", "pair", "found"),
    [
        ("classification", "second", "data.source.pair=second"),
        ("token_classification", None, "data.task=token_classification"),
    ],
)
def test_rows_that_are_not_one_text_are_refused(task: Any, pair: str | None, found: str) -> None:
    with pytest.raises(UserErrors) as refused:
        DataConfig(
            task=task,
            source=Source(path="rows", text="text", label="label", pair=pair),
            cleaning=Cleaning(),
            split=Split(),
            tokenizer=WordPiece(),
            batching=Labelled(length_warmup_tokens=64),
            cache="cache",
            seed=1,
        )
    [message] = [str(error) for error in refused.value.errors]
    assert "data.batching.length_warmup_tokens" in message
    assert found in message


def test_texts_that_are_not_shorter_are_refused() -> None:
    with pytest.raises(Exception, match="length_warmup_tokens"):
        Labelled(max_tokens=64, length_warmup_tokens=64)
