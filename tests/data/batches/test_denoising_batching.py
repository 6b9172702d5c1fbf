"""Batches of noised texts: rows of long documents, what is held out, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from src.core.user_errors import UserError, UserErrors
from src.data.batches.denoising_batching import Denoising, cut_texts
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import TextTokenizer

PAD, END, BEGIN, MASK, STOP = range(5)
LENGTHS = (40, 5, 0, 2, 1, 70, 14, 13)
FIRST = 10


def _tokenizer(
    *, frame: str = "<s> $A </s>", mask: bool = True, sentinels: int = 0, stop: str = "."
) -> TextTokenizer:
    names = ["<pad>", "</s>", "<s>", "<mask>", stop]
    vocabulary = dict(zip(names, range(5), strict=True))
    # T5's are in descending order
    vocabulary |= {f"<extra_id_{number}>": 9 - number for number in range(sentinels)}
    vocabulary |= {f"w{number}": FIRST + number for number in range(90)}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="w0"))
    special = [("<s>", BEGIN), ("</s>", END)]
    backend.post_processor = TemplateProcessing(single=frame, special_tokens=special)
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "w0"}
    if mask:
        tokens["mask_token"] = "<mask>"
    return TextTokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, **tokens))


def _store(*lengths: int, has_begin: bool = True) -> TokenStore:
    before = [BEGIN] if has_begin else []
    documents = [[*before, *(FIRST + np.arange(length) % 90).tolist(), END] for length in lengths]
    return TokenStore(
        folder=Path(),
        ids=np.concatenate(documents).astype(np.uint16),
        offsets=np.cumsum([0, *map(len, documents)]),
        begins=np.zeros(len(lengths), dtype=np.int32),
        targets=np.zeros(len(lengths), dtype=np.int64),
        identities=np.arange(len(lengths)),
        num_truncated=0,
    )


def _batch(
    batching: Denoising,
    store: TokenStore,
    rows: list[int],
    tokenizer: TextTokenizer,
    *,
    seed: int = 5,
    epoch: int = 0,
    training: bool = True,
) -> Any:
    return batching.build_batch(
        store,
        np.array(rows, dtype=np.int64),
        epoch=epoch,
        seed=seed,
        tokenizer=tokenizer,
        training=training,
    )


@pytest.mark.parametrize("has_begin", [True, False])
def test_long_documents_are_cut_into_rows(has_begin: bool) -> None:
    """No token is lost, no row is too long, and each has its special tokens."""
    frame = "<s> $A </s>" if has_begin else "$A </s>"
    store, tokenizer = _store(*LENGTHS, has_begin=has_begin), _tokenizer(frame=frame)
    batching = Denoising(row_tokens=16)
    pieces = cut_texts(store, 16)
    # 42 and 72 tokens make 3 and 6 rows of 14, and 16 or 15 one row
    assert np.bincount(pieces.documents).tolist() == [3, 1, 1, 1, 1, 6, 1, 1]
    batch = _batch(batching, store, [*range(len(pieces.documents))], tokenizer)
    lengths = batch.target_tokens.cu_seqlens.diff().tolist()
    rows = [row.tolist() for row in batch.target_tokens.ids.split(lengths)]
    assert max(lengths) <= 16
    assert all(row[-1] == END and (row[0] == BEGIN) == has_begin for row in rows)
    own = [[token for token in row if token >= FIRST] for row in rows]
    documents: list[list[int]] = [[] for _ in LENGTHS]
    for document, row in zip(pieces.documents.tolist(), own, strict=True):
        documents[document] += row
    assert [*map(len, documents)] == [*LENGTHS]
    assert documents[5] == (FIRST + np.arange(70) % 90).tolist()
    assert batch.num_targets == len(batch.target_tokens.ids) == len(batch.is_missing)
    assert batch.tokens.num_sequences == len(rows)


def test_rows_of_similar_length_meet() -> None:
    batching = Denoising(row_tokens=16, batch_size=2, eval_batch_size=3)
    plan = batching.build_batch_sampler(_store(*LENGTHS), seed=1, training=True)
    assert sorted(row for key in plan for row in key.rows.tolist()) == [*range(15)]
    held_out = batching.build_batch_sampler(_store(*LENGTHS), seed=1, training=False)
    assert [len(key.rows) for key in held_out] == [3] * 5


def test_held_out_noise_is_the_same_in_every_epoch_and_whatever_training_has() -> None:
    store, tokenizer = _store(*LENGTHS), _tokenizer()
    settings = Denoising(row_tokens=16)
    others = Denoising(
        row_tokens=16, noise_fraction=0.6, deletion_fraction=0.2, mean_span_tokens=1.0
    )
    rows = [0, 3, 5]
    first, later = (
        _batch(settings, store, rows, tokenizer, epoch=epoch, training=False) for epoch in (0, 3)
    )
    other = _batch(others, store, rows, tokenizer, seed=8, training=False)
    for batch in (later, other):
        assert batch.tokens.ids.tolist() == first.tokens.ids.tolist()
        assert batch.target_tokens.ids.tolist() == first.target_tokens.ids.tolist()
    # 0.3 of the tokens of each
    assert first.is_missing.sum() == sum(round(0.3 * size) for size in (13, 5, 2))
    trained = [_batch(settings, store, rows, tokenizer, epoch=epoch) for epoch in (0, 0, 1)]
    assert trained[0].tokens.ids.tolist() == trained[1].tokens.ids.tolist()
    assert trained[0].tokens.ids.tolist() != trained[2].tokens.ids.tolist()


def test_a_rank_without_rows_has_a_batch_that_counts_for_nothing() -> None:
    batch = _batch(Denoising(row_tokens=16), _store(5, 6), [], _tokenizer())
    assert (batch.num_targets, batch.tokens.num_sequences) == (0, 1)
    assert len(batch.target_tokens.ids) == 7


def test_the_tokenizer_decides_what_is_written() -> None:
    store, settings = _store(9, 9), Denoising(row_tokens=16)
    t5 = _tokenizer(frame="$A </s>", mask=False, sentinels=4)
    settings.check_tokenizer(t5)
    assert settings.find_target(t5) == "spans"
    written = _batch(settings, _store(9, has_begin=False), [0], t5).target_tokens.ids.tolist()
    # <extra_id_0>, a token, <extra_id_1> and the end: 0.15 of nine tokens is one
    assert (written[0], *written[2:]) == (9, 8, END) and written[1] >= FIRST
    both = _tokenizer(sentinels=4)
    assert settings.find_target(both) == "spans"
    whole = Denoising(row_tokens=16, target="text", permute_sentences=False)
    assert _batch(whole, store, [0], both).target_tokens.ids.tolist() == store.ids[:11].tolist()
    assert settings.find_target(_tokenizer()) == "text"
    assert settings.permutes("text") and not settings.permutes("spans")


@pytest.mark.parametrize(
    ("settings", "tokenizer", "says"),
    [
        ({}, {"frame": "<s> $A"}, r"data.tokenizer: it does not put one end token behind a text"),
        ({}, {"mask": False}, r"target=text: the tokenizer has no mask token.*data.tokenizer"),
        (
            {"target": "text"},
            {"mask": False, "sentinels": 4},
            r"no mask token to stand for a span; data.batching.target=spans fits",
        ),
        ({"target": "spans"}, {}, r"has no sentinels.*; data.batching.target=text fits"),
        ({}, {"stop": "stop"}, r"no token of the tokenizer ends a sentence.*=false fits"),
        (
            {"row_tokens": 128},
            {"sentinels": 4},
            r"row_tokens=128: a row of 128 tokens has 6 spans, but the tokenizer has 4 sentinels",
        ),
        (
            {"noise_fraction": 0.8, "mean_span_tokens": 5.0},
            {"sentinels": 4},
            r"noise_fraction=0.8: what is to be written.* is longer than a row of 16",
        ),
        (
            {"permute_sentences": True},
            {"sentinels": 4},
            r"nothing else is undone.*data.batching.target=text or .*permute_sentences=false fits",
        ),
    ],
)
def test_what_a_tokenizer_cannot_do(
    settings: dict[str, Any], tokenizer: dict[str, Any], says: str
) -> None:
    batching = Denoising(**({"row_tokens": 16} | settings))
    with pytest.raises(UserError, match=says):
        batching.check_tokenizer(_tokenizer(**tokenizer))


def test_spans_alone_are_undone_where_they_are_written() -> None:
    with pytest.raises((UserError, UserErrors), match=r"deletion_fraction=0.1: .*fraction=0 fits"):
        Denoising(target="spans", deletion_fraction=0.1)
    with pytest.raises((UserError, UserErrors), match="no span would be missing"):
        Denoising(target="spans", noise_fraction=0.0)
    # the text may have its sentences in another order alone
    Denoising(target="text", noise_fraction=0.0)
