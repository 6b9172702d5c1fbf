"""What the training rows tell of each token, made once for each content."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.core.dataset_info import DatasetInfo, TokenVectors
from src.data.cache import ContentCache
from src.data.shards.sharded_tokens import ShardedTokens
from src.data.surveyed_corpus import hash_as_json
from src.data.tokenization.token_store import TokenStore

# so that the factorisation of a large vocabulary ends in minutes
MOST_TOKENS = 10_000_000
_CHUNK_TOKENS = 1 << 20
_FILE = "vectors.npy"


def load_token_vectors(
    store: TokenStore | ShardedTokens,
    dataset_info: DatasetInfo,
    *,
    width: int,
    row_tokens: int,
    cache: ContentCache,
    tokens_key: str,
) -> TokenVectors:
    """Count the neighbours of each token and factorise, or find the vectors in the cache.

    Args:
        store: of the training rows.
        width: of a vector.
        row_tokens: of the rows that are read; a shard has a whole number of them.
        tokens_key: a hash of all that decides on the tokens.
    """
    vocab_size, special_ids = dataset_info.vocab_size, dataset_info.special_ids
    length = max(1, min(row_tokens, store.num_tokens))
    begins = _choose_rows(store, length) * length

    def write_vectors(folder: Path) -> None:
        from src.data.tokenization.cooccurrence_vectors import (
            count_neighbours,
            factorise_neighbours,
        )

        counts = count_neighbours(_iter_spans(store, begins, length), vocab_size, special_ids)
        np.save(folder / _FILE, factorise_neighbours(counts, width))

    key = hash_as_json([tokens_key, width, length, len(begins)])
    folder = cache.get_or_build("vectors", key, write_vectors)
    frequencies = store.count_tokens(vocab_size)
    frequencies[list(special_ids)] = 0
    return TokenVectors(np.load(folder / _FILE), frequencies, len(begins) * length)


def _choose_rows(store: TokenStore | ShardedTokens, length: int) -> np.ndarray:
    """The numbers of the rows that are counted: all, or as many as allowed, from end to end of the
    corpus, but from as few shards as have them.
    """
    num_rows, most = store.num_tokens // length, max(1, MOST_TOKENS // length)
    # rows that are at hand together
    block = store.manifest.shard_tokens // length if isinstance(store, ShardedTokens) else 1
    blocks, needed = num_rows // block, -(-most // block)
    rows = np.arange(num_rows)
    if needed < blocks:
        chosen = np.linspace(0, blocks - 1, needed).astype(np.int64)
        rows = (chosen[:, None] * block + np.arange(block)).ravel()
    if most < len(rows):
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return rows


def _iter_spans(
    store: TokenStore | ShardedTokens, begins: np.ndarray, length: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    step = max(1, _CHUNK_TOKENS // length)
    for first in range(0, len(begins), step):
        yield store.read_spans(begins[first : first + step], length)
