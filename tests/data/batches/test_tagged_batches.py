"""From tagged words to batches: the first token of each, what was cut, what was lost."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from transformers import PreTrainedTokenizerFast

from src.core.user_errors import UserErrors
from src.data.batches.batching import Labelled
from src.data.data_config import DataConfig
from src.data.datamodule import TextDataModule
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.rows.token_labels import join_words
from src.data.tokenization.text_encoder import CUT_TOKEN, NO_TOKEN, TextEncoder, find_first_tokens
from src.data.tokenization.tokenizer import WordPiece
from tests.data.test_ids_equal_transformers import _bytes, _unigram, _wordpiece

WORDS = ["The", "naïve", "cat", "!", "GATTACA", "漢字", "don't_stop", "12", "café", "mat"]
BACKENDS: dict[str, Callable[[], Any]] = {
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "bytes": lambda: _bytes(prefix_space=True),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_first_tokens_are_those_of_transformers(name: str) -> None:
    backend = BACKENDS[name]()
    encoder = TextEncoder(backend)
    rows = [WORDS, WORDS[::-1], ["cat"]]
    joined = [join_words(words) for words in rows]
    texts, words = [text for text, _ in joined], [spans for _, spans in joined]
    found = encoder.encode_words(texts, words, 400, "head")
    assert found.ids.tolist() == encoder.encode(texts, None, 400, "head").ids.tolist()
    theirs = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert found.word_tokens is not None
    places = iter(found.word_tokens.tolist())
    for row in rows:
        owners = theirs(row, is_split_into_words=True).word_ids()
        assert [next(places) for _ in row] == [owners.index(number) for number in range(len(row))]


def test_a_token_belongs_to_the_word_of_its_first_visible_character() -> None:
    words = [(0, 2), (3, 4), (4, 5), (5, 5)]
    # " b" begins at the blank; "cd" reaches beyond its word; nothing begins in the last one
    offsets = [(0, 1), (1, 2), (2, 4), (4, 5)]
    assert find_first_tokens("aa bcd", words, offsets).tolist() == [0, 2, 3, -1]
    assert find_first_tokens("aa bcd", words, [(0, 2), (2, 5)]).tolist() == [0, 1, -1, -1]
    # a blank is the mark of the word behind it, other white space is not
    assert find_first_tokens(
        "a b\nc", [(0, 1), (2, 3), (4, 5)], [*pairwise(range(6))]
    ).tolist() == [*(0, 1, 4)]


@pytest.mark.parametrize(
    ("truncation", "places"),
    [
        ("head", [1, 2, 3, CUT_TOKEN, CUT_TOKEN]),
        ("tail", [CUT_TOKEN, CUT_TOKEN, 1, 2, 3]),
        ("head_tail", [1, CUT_TOKEN, CUT_TOKEN, 2, 3]),
    ],
)
def test_what_is_cut_has_no_token(truncation: Any, places: list[int]) -> None:
    encoder = TextEncoder(_wordpiece())
    text, words = join_words(["cat", "the", "mat", "cat", "mat"])
    found = encoder.encode_words([text, "cat"], [words, ((0, 3),)], 5, truncation)
    assert found.word_tokens is not None
    assert found.word_tokens.tolist() == [*places, 1]
    assert (found.lengths.tolist(), found.num_truncated) == ([5, 3], 1)
    # a text of nothing but what the tokenizer drops
    found = encoder.encode_words(["\u200b", "\u200b"], [((0, 1),)] * 2, 5, truncation)
    assert found.word_tokens is not None
    assert found.word_tokens.tolist() == [NO_TOKEN] * 2


def _data(folder: Path, **changed: Any) -> TextDataModule:
    settings: dict[str, Any] = {
        "task": "token_classification",
        "source": Source(path=str(folder / "data"), label="tags"),
        "cleaning": Cleaning(),
        "split": Split(),
        "tokenizer": WordPiece(vocab_size=150, min_frequency=1),
        "batching": Labelled(max_tokens=6, batch_size=4, eval_batch_size=4),
        "cache": str(folder / "cache"),
    }
    data = DataConfig(**(settings | changed)).build()
    data.prepare_data()
    return data


def _write(folder: Path, split: str, sentences: list[str]) -> None:
    (folder / "data").mkdir(exist_ok=True)
    lines = [
        "".join(f"{word.replace('/', ' ')}\n" for word in one.split()) + "\n" for one in sentences
    ]
    (folder / "data" / f"{split}.conll").write_text("".join(lines), encoding="utf-8")


TRAIN = [
    "ada/B-PER lee/I-PER ran/O",
    "he/O saw/O bath/B-LOC",
    # two words are cut, and an entity with them
    "he/O ran/O he/O saw/O he/O bath/B-LOC",
    # a word of which nothing is left
    "ada/B-PER \u200b/I-PER ran/O",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path, "train", TRAIN)
    _write(tmp_path, "validation", ["lee/B-PER saw/O", "he/O fled/O"])
    return tmp_path


def test_batches_of_tagged_words(folder: Path) -> None:
    data = _data(folder)
    store = data.token_stores["train"]
    batch = data.config.batching.build_batch(
        store, np.array([0, 2, 3]), epoch=0, seed=0, tokenizer=data.tokenizer, training=True
    )
    assert data.dataset_info.label_names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    # longest first
    assert batch.row_ids.tolist() == [2] * 7 + [0] * 4 + [3] * 4
    assert batch.targets.tolist() == [0, 0, 0, 0, 0, 1, -1, 3, 4, 0, -1, 3, 4, 0, -1]
    # the words that have a token, and where
    assert batch.places.tolist() == [0, 1, 2, 3, 7, 8, 9, 11, 13]
    words = data.tokenizer.huggingface.convert_ids_to_tokens(batch.tokens.ids[batch.positions])
    assert words == ["he", "ran", "he", "saw", "ada", "lee", "ran", "ada", "ran"]
    empty = data.config.batching.build_batch(
        store, np.array([], dtype=int), epoch=0, seed=0, tokenizer=data.tokenizer, training=True
    )
    assert [len(part) for part in empty[1:]] == [0, 0, 0, 0]
    assert empty.tokens.num_sequences == 1


def test_what_is_lost_is_said(folder: Path) -> None:
    data = _data(folder)
    notices = data.describe_reading()
    assert notices.lines == (
        "train: 4 rows; LOC 2, PER 2; 15 words; 25.0 % of texts cut to 6 tokens",
        "validation: 2 rows; LOC 0, PER 1; 4 words; 25.0 % of tokens unknown",
        "train: of 15 words, 2 cut off (data.batching.max_tokens), 1 of which the\n"
        "  tokenizer makes nothing; 2 entities among them count as missed",
        "note: tags of words: IOB2 (BIO)",
    )
    record = json.loads(notices.tags["data/summary"])
    assert record["words"]["train"] == {
        "words": 15,
        "cut_words": 2,
        "words_without_token": 1,
        "lost": 2,
    }


def test_stores_are_the_same_after_a_stop(folder: Path) -> None:
    """A writer goes on from a state as if it had never stopped."""
    from src.data.tokenization.token_store import (
        TargetLayout,
        TextRow,
        TokenStore,
        TokenStoreWriter,
    )

    encoder = TextEncoder(_wordpiece())
    rows = [TextRow("cat the", None, (1, 0), 7, ((0, 3), (4, 7))), TextRow("", None, (), 8, ())]
    rows += [TextRow("mat", None, (2,), 9, ((0, 3),))]

    def encode(some: list[TextRow]) -> Any:
        return encoder.encode_words(
            [row.text for row in some], [row.words or () for row in some], 9, "head"
        )

    layout = TargetLayout(of_words=True)
    with TokenStoreWriter(folder / "whole", 60, targets=layout) as writer:
        writer.append_rows(rows, encode(rows))
        writer.finish_store()
    with TokenStoreWriter(folder / "parts", 60, targets=layout) as writer:
        writer.append_rows(rows[:1], encode(rows[:1]))
        state = json.loads(json.dumps(writer.sync_state()))
        writer.append_rows(rows[1:], encode(rows[1:]))
    state = TokenStoreWriter.parse_state(state)
    with TokenStoreWriter(folder / "parts", 60, targets=layout, state=state) as writer:
        writer.append_rows(rows[1:], encode(rows[1:]))
        writer.finish_store()
    for file in (folder / "whole").iterdir():
        assert file.read_bytes() == (folder / "parts" / file.name).read_bytes()
    store = TokenStore.open(folder / "whole")
    assert store.target_offsets is not None and store.target_tokens is not None
    assert store.target_offsets.tolist() == [0, 3, 4, 6]
    assert store.targets.tolist() == [1, 0, -1, -1, 2, -1]
    assert store.target_tokens.tolist() == [1, 2, -1, -1, 1, -1]


def test_numbers_of_a_hub_data_set_have_their_names(folder: Path) -> None:
    features = Features(
        {"tokens": [Value("string")], "ner_tags": [ClassLabel(names=["O", "B-X", "I-X"])]}
    )
    rows = {"tokens": [["a", "b"], ["c"]], "ner_tags": [[1, 2], [0]]}
    file = folder / "a.parquet"
    Dataset.from_dict(rows, features=features).to_parquet(str(file))
    source = Source(path=str(file), text="tokens", label="ner_tags")
    data = _data(folder, source=source, split=Split(validation=0.0))
    assert data.dataset_info.label_names == ("O", "B-X", "I-X")
    assert data.token_stores["train"].targets.tolist() == [1, 2, -1, 0, -1]


def test_options_that_do_not_go_with_it(folder: Path) -> None:
    with pytest.raises(UserErrors) as caught:
        _data(
            folder,
            cleaning=Cleaning(whitespace=True),
            source=Source(path=str(folder / "data"), label="tags", pair="other"),
            label_values=[1, 2],
        )
    said = str(caught.value)
    assert "data.cleaning.whitespace=true would move the words of data.task=token_class" in said
    assert "data.label_values does not go with data.task=token_classification" in said
    assert "data.source.pair=other: data.task=token_classification is about the words of" in said
