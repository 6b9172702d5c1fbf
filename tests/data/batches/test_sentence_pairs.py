"""Rows of two segments: what they are made of, and which of them belong together."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from src.core.batch import SentencePairBatch
from src.core.user_errors import UserError
from src.data.batches.sentence_pairs import SentencePairs
from src.data.tokenization.token_store import TokenStore

CLS, SEP, MASK = 1, 2, 3
# a token is its document's number times this, and its place there from 10 on
DOCUMENT = 1000
TOKENIZER: Any = SimpleNamespace(mask_id=MASK, vocab_size=9000, special_ids=(0, CLS, SEP, MASK))
# one has no token, one has one, and some do not fit a row
LENGTHS = (40, 5, 0, 2, 1, 70, 14, 13)


def _store(*lengths: int) -> TokenStore:
    documents = [
        [CLS, *range(DOCUMENT * number + 10, DOCUMENT * number + 10 + length), SEP]
        for number, length in enumerate(lengths, 1)
    ]
    return TokenStore(
        folder=Path(),
        ids=np.concatenate(documents).astype(np.uint16),
        offsets=np.cumsum([0, *map(len, documents)]),
        begins=np.zeros(len(lengths), dtype=np.int32),
        targets=np.zeros(len(lengths), dtype=np.int64),
        identities=np.arange(len(lengths)),
        num_truncated=0,
    )


STORE = _store(*LENGTHS)
# 4 + 1 + 1 + 6 + 2 + 1 pieces of at most 13 tokens
NUM_ROWS = 15


def _batch(rows: list[int], *, epoch: int = 0, training: bool = True, **settings: Any) -> Any:
    return SentencePairs(row_tokens=16, **settings).build_batch(
        STORE,
        np.array(rows, dtype=np.int64),
        epoch=epoch,
        seed=5,
        tokenizer=TOKENIZER,
        training=training,
    )


def _read_pairs(batch: SentencePairBatch) -> list[tuple[list[int], list[int], int]]:
    """Both segments of each row, without masks, and its label."""
    tokens = batch.tokens
    ids = tokens.ids.index_copy(0, batch.masked_positions, batch.targets)
    lengths = tokens.cu_seqlens.diff().tolist()
    pairs = []
    rows = zip(ids.split(lengths), tokens.type_ids.split(lengths), strict=True)
    for (row, types), label in zip(rows, batch.pair_labels.tolist(), strict=True):
        first, second = row[types == 0].tolist(), row[types == 1].tolist()
        assert types.tolist() == [0] * len(first) + [1] * len(second)
        assert (first[0], first[-1], second[-1]) == (CLS, SEP, SEP)
        pairs.append((first[1:-1], second[:-1], label))
    return pairs


def _all_pairs(**settings: Any) -> list[tuple[list[int], list[int], int]]:
    return [
        pair
        for epoch in range(2)
        for row in range(NUM_ROWS)
        for pair in _read_pairs(_batch([row], epoch=epoch, **settings))
    ]


def _find_document(segment: list[int]) -> int:
    [document] = {token // DOCUMENT for token in segment}
    assert segment == list(range(segment[0], segment[0] + len(segment)))
    return document


def test_every_negative_comes_from_another_document() -> None:
    pairs = _all_pairs()
    labels = [label for *_, label in pairs]
    assert len(pairs) == 2 * NUM_ROWS and 8 <= sum(labels) <= 22
    for first, second, label in pairs:
        assert first and second and len(first) + len(second) <= 13
        if label:
            assert _find_document(first) != _find_document(second)
        else:
            assert _find_document(first + second)


def test_segments_swapped_are_those_of_one_document() -> None:
    pairs = _all_pairs(pair_task="sentence_order")
    assert 8 <= sum(label for *_, label in pairs) <= 22
    for first, second, label in pairs:
        assert _find_document(second + first if label else first + second)
    # in each epoch, every token of every document that can be divided, once
    for begin in (0, NUM_ROWS):
        seen = sorted(
            token for one, two, _ in pairs[begin : begin + NUM_ROWS] for token in one + two
        )
        expected = [
            DOCUMENT * number + 10 + place
            for number, length in enumerate(LENGTHS, 1)
            if length > 1
            for place in range(length)
        ]
        assert seen == expected


def test_a_row_is_a_function_of_seed_epoch_and_number() -> None:
    together = _read_pairs(_batch(list(range(NUM_ROWS))))
    alone = [pair for row in range(NUM_ROWS) for pair in _read_pairs(_batch([row]))]
    assert sorted(together) == sorted(alone)
    lengths = [len(first) + len(second) for first, second, _ in together]
    assert lengths == sorted(lengths, reverse=True)
    assert together != _read_pairs(_batch(list(range(NUM_ROWS)), epoch=1))


def test_held_out_pairs_are_fixed() -> None:
    rows = list(range(NUM_ROWS))
    first, later = (_batch(rows, epoch=epoch, training=False) for epoch in (0, 7))
    assert first.tokens.ids.equal(later.tokens.ids)
    assert first.masked_positions.equal(later.masked_positions)
    assert first.pair_labels.equal(later.pair_labels)


def test_masks_are_a_share_of_each_row() -> None:
    batch = _batch(list(range(NUM_ROWS)))
    lengths = batch.tokens.cu_seqlens.diff().tolist()
    assert len(batch.targets) == sum(max(1, round(0.15 * length)) for length in lengths)
    # special tokens are never asked for
    assert (batch.targets > MASK).all()


def test_no_rows_make_a_batch_without_targets() -> None:
    batch = _batch([])
    assert batch.tokens.num_sequences == 1
    assert (len(batch.targets), len(batch.masked_positions), len(batch.pair_labels)) == (0, 0, 0)


def test_rows_are_shared_out() -> None:
    batching = SentencePairs(row_tokens=16, batch_size=4)
    plan = batching.build_batch_sampler(STORE, seed=1, training=True)
    assert sorted(row for key in plan for row in key.rows.tolist()) == list(range(NUM_ROWS))


def test_one_document_has_no_other() -> None:
    one = {"train": STORE, "validation": _store(20, 1)}
    with pytest.raises(UserError) as refusal:
        SentencePairs(row_tokens=16).check_stores(one)
    assert str(refusal.value) == (
        "data.batching.pair_task=next_sentence: the validation split has one document of two "
        "tokens or more, and there is no other one to take a wrong second segment from; "
        "data.batching.pair_task=sentence_order swaps the segments of one document"
    )
    SentencePairs(row_tokens=16, pair_task="sentence_order").check_stores(one)
    with pytest.raises(UserError, match="no document of the train split has two tokens"):
        SentencePairs(pair_task="sentence_order").check_stores({"train": _store(1, 0)})


@pytest.mark.parametrize(
    ("pair", "is_known"),
    [
        ("[CLS] $A [SEP] $B:1 [SEP]:1", True),
        ("[CLS] $A [SEP] $B [SEP]", False),
        ("[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", False),
    ],
)
def test_the_tokenizer_must_put_pairs_as_bert_does(pair: str, is_known: bool) -> None:
    backend = Tokenizer(WordLevel({"[CLS]": CLS, "[SEP]": SEP, "a": 10}, unk_token="a"))
    special = [("[CLS]", CLS), ("[SEP]", SEP)]
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=special
    )
    tokenizer: Any = SimpleNamespace(backend=backend)
    if is_known:
        SentencePairs().check_tokenizer(tokenizer)
    else:
        with pytest.raises(UserError, match=r"data.tokenizer: it does not put two texts"):
            SentencePairs().check_tokenizer(tokenizer)


def test_the_shares_of_masks() -> None:
    with pytest.raises(UserError, match=r"mask_share=0.8 and random_share=0.4 add up to more"):
        SentencePairs(random_share=0.4)
