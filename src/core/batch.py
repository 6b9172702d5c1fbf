"""Batches, as they travel from the data to the model.

A batch is flat: the tokens of its sequences stand one after the other without padding, and
`cu_seqlens` says where each sequence begins. Linear layers then see real tokens only, and attention
is told the borders (`src/model/attention/ragged_attention.py`). A batch without targets counts for
nothing: a rank that has no row in a global batch works on one
(`src/data/batches/batch_sampler.py`).

Shape legend: B sequences, T tokens of all sequences together, K tokens that are predicted or
tagged, S words of all texts and the end of each, U tokens that are written, C classes.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """Sequences laid end to end.

    For two sequences of 3 and 2 tokens: ids = [a b c d e], positions = [0 1 2 0 1],
    cu_seqlens = [0 3 5], max_seqlen = 3.
    """

    ids: Tensor  # [T] int64
    positions: Tensor  # [T] int64, counted from 0 in each sequence
    type_ids: Tensor  # [T] int64, 1 in the second text of a pair, else 0
    cu_seqlens: Tensor  # [B + 1] int32, where each sequence begins; the last is T
    # tokens of the longest sequence
    max_seqlen: int
    # tokens of a packed row, where sequences lie in rows of one length; 0 where they do not
    row_tokens: int = 0

    @property
    def num_sequences(self) -> int:
        """B."""
        return len(self.cu_seqlens) - 1


class Batch(Protocol):
    """The part that batches of all tasks have in common."""

    @property
    def tokens(self) -> Tokens: ...


class MaskedBatch(NamedTuple):
    """Text with some tokens replaced, and the tokens that stood there.

    No sentinel marks the other tokens: positions are indices into the flat ones.
    """

    tokens: Tokens
    masked_positions: Tensor  # [K] int64
    targets: Tensor  # [K] int64


class NextTokenBatch(NamedTuple):
    """Text as it is, and the token that follows each one that has a next in its document."""

    tokens: Tokens
    predicting: Tensor  # [K] int64, positions of the tokens that are followed by one
    targets: Tensor  # [K] int64


class SentencePairBatch(NamedTuple):
    """Two segments in each sequence, with some tokens replaced as in `MaskedBatch`."""

    tokens: Tokens
    masked_positions: Tensor  # [K] int64
    targets: Tensor  # [K] int64
    # [B] int64, as in transformers: 0 where the second segment goes on where the first ends, else 1
    pair_labels: Tensor


class DenoisingBatch(NamedTuple):
    """Noised texts, and what is to be written for each."""

    tokens: Tokens
    target_tokens: Tokens
    is_missing: Tensor  # [U] bool, for each target: a token of the text that the noised one lacks
    num_targets: int  # U, or 0 in a batch that counts for nothing


class LabelledBatch(NamedTuple):
    """Texts with one label each, a class index (int64) or a value (float32), or with several: for
    each of C classes 1 if the text has it, else 0 (uint8).
    """

    tokens: Tokens
    labels: Tensor  # [B] or [B, C]
    row_ids: Tensor  # [B] int64, rows of the data set, under which predictions are filed


class TaggedBatch(NamedTuple):
    """Texts with a tag for each word, which the first token of the word is to be given.

    Targets hold all words, also those without a token: where a text was cut, or where the tokenizer
    makes nothing of a word. Nothing is predicted for these, and yet they count in the judgement.
    """

    tokens: Tokens
    positions: Tensor  # [K] int64, the first token of each word that has one, in the flat tokens
    places: Tensor  # [K] int64, where these words stand among the targets
    targets: Tensor  # [S] int64, the tags of all words, and END_OF_TEXT behind those of each text
    row_ids: Tensor  # [S] int64, the row of the data set that each target is of


def build_tokens(
    ids: Tensor, lengths: Tensor, type_ids: Tensor | None = None, row_tokens: int = 0
) -> Tokens:
    """`Tokens` from flat ids [T] and the length of each sequence [B]."""
    cu_seqlens = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    cu_seqlens[1:] = lengths.cumsum(0)
    own_starts = torch.repeat_interleave(cu_seqlens[:-1].long(), lengths)  # [T]
    positions = torch.arange(len(ids)) - own_starts
    type_ids = torch.zeros_like(ids) if type_ids is None else type_ids
    return Tokens(ids, positions, type_ids, cu_seqlens, int(lengths.max()), row_tokens)
