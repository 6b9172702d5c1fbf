"""Batches of texts whose words have tags, and what became of the words in tokenising.

Shape legend: B rows of a batch, K words that have a token, S words and the end of each text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.core.batch import TaggedBatch, Tokens
from src.core.entities import find_entities
from src.core.entity_tags import END_OF_TEXT, list_entity_types
from src.data.tokenization.text_encoder import CUT_TOKEN, NO_TOKEN
from src.data.tokenization.token_store import TokenStore


def build_tagged_batch(store: TokenStore, rows: np.ndarray, tokens: Tokens) -> TaggedBatch:
    """The batch of some rows; without targets where there are no rows.

    Args:
        rows: numbers of rows of the store, in the order of `tokens`.
    """
    assert store.target_offsets is not None and store.target_tokens is not None
    begins, ends = store.target_offsets[rows], store.target_offsets[rows + 1]
    counts = ends - begins
    # the place of each target in the store
    targets = np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    places_in_row = store.target_tokens[targets].astype(np.int64)
    # where the tokens of each target's row begin in the batch
    row_begins = np.repeat(tokens.cu_seqlens.numpy()[: len(rows)].astype(np.int64), counts)
    has_token = np.flatnonzero(places_in_row >= 0)
    return TaggedBatch(
        tokens,
        positions=torch.from_numpy((row_begins + places_in_row)[has_token]),
        places=torch.from_numpy(has_token),
        targets=torch.from_numpy(store.targets[targets]),
        row_ids=torch.from_numpy(np.repeat(store.identities[rows], counts)),
    )


def count_words(store: TokenStore, names: Sequence[str]) -> dict[str, Any]:
    """What a split has: words, how many of them were cut off and of how many the tokenizer makes
    nothing, and by type the entities, and how many of these have a word without a token; by tag the
    words, where tags are about no entities.
    """
    assert store.target_tokens is not None
    tags, tokens = np.asarray(store.targets), np.asarray(store.target_tokens)
    is_word = tags != END_OF_TEXT
    counts: dict[str, Any] = {
        "words": int(is_word.sum()),
        "cut_words": int((tokens == CUT_TOKEN).sum()),
        "words_without_token": int((is_word & (tokens == NO_TOKEN)).sum()),
    }
    types = list_entity_types(names)
    if not types:
        by_tag = np.bincount(tags[is_word], minlength=len(names))
        return counts | {"labels": dict(zip(names, by_tag.tolist(), strict=True)), "lost": 0}
    found = find_entities(torch.from_numpy(tags.copy()))
    by_type = torch.bincount(found.types, minlength=len(types))
    missing = np.concatenate(([0], np.cumsum(is_word & (tokens < 0))))
    lost = missing[found.ends.numpy()] > missing[found.begins.numpy()]
    return counts | {
        "labels": dict(zip(types, by_type.tolist(), strict=True)),
        "lost": int(lost.sum()),
    }


def describe_words(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a summary that are about words: how many each split has of them and of
    entities, and what was lost of them.

    Args:
        folder: with the token store of each split.
        summary: of all else.
    """
    counts = {
        split: count_words(TokenStore.open(folder / split), summary["label_names"])
        for split in summary["rows"]
    }
    return {
        "labels": {split: found.pop("labels") for split, found in counts.items()},
        "words": counts,
    }
