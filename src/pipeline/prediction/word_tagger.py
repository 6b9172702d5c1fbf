"""Entities of texts, found by a model that gives each word a tag.

A text that is too long for the model is read in pieces, which are cut between words and see nothing
of each other; an entity may still reach over a cut.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.core.batch import Tokens
from src.core.entities import find_entities
from src.core.entity_tags import END_OF_TEXT, list_entity_types
from src.data.rows.token_labels import WordSpan
from src.data.tokenization.text_encoder import CUT_TOKEN, TextEncoder

# calls the second with the numbers of the rows of each batch and their tokens
BatchRunner = Callable[[list[np.ndarray], np.ndarray, Callable[[np.ndarray, Tokens], None]], None]


class Entity(NamedTuple):
    """An entity, or a tagged word where tags are about none.

    Args:
        start, end: its first character in the text, and the one behind its last.
        score: the mean over its words of the probability of their tags.
    """

    start: int
    end: int
    text: str
    type: str
    score: float


class _Piece(NamedTuple):
    """A part of a text, from one of its words on."""

    text: int
    word: int


class WordTagger:
    """Tags the words of texts.

    Args:
        compute_logits: of the head for some tokens of a batch: [K, C].
        run_batches: makes batches of rows of ids, given where second segments begin.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        label_names: Sequence[str],
        max_tokens: int,
        *,
        compute_logits: Callable[[Tokens, Tensor], Tensor],
        run_batches: BatchRunner,
    ) -> None:
        self._encoder = encoder
        self._label_names = label_names
        self._max_tokens = max_tokens
        self._compute_logits = compute_logits
        self._run_batches = run_batches
        # texts that were read in pieces
        self.num_divided = 0

    def find_entities(
        self, texts: Sequence[str], words: Sequence[Sequence[WordSpan]]
    ) -> list[list[Entity]]:
        """The entities of each text, given where its words stand."""
        tags = [np.zeros(len(spans), dtype=np.int64) for spans in words]
        scores = [np.ones(len(spans)) for spans in words]
        pieces = [_Piece(number, 0) for number in range(len(texts))]
        divided: set[int] = set()
        while pieces:
            pieces = self._tag_pieces(pieces, texts, words, tags, scores)
            divided.update(piece.text for piece in pieces)
        self.num_divided += len(divided)
        return [
            self._list_entities(text, spans, own, known)
            for text, spans, own, known in zip(texts, words, tags, scores, strict=True)
        ]

    def _tag_pieces(
        self,
        pieces: Sequence[_Piece],
        texts: Sequence[str],
        words: Sequence[Sequence[WordSpan]],
        tags: Sequence[np.ndarray],
        scores: Sequence[np.ndarray],
    ) -> list[_Piece]:
        """Fill in the tags of the words of pieces and how likely they are; returns the pieces with
        the words for which there was no room.
        """
        begins = [words[piece.text][piece.word][0] if piece.word else 0 for piece in pieces]
        spans = [
            [(first - begin, last - begin) for first, last in words[piece.text][piece.word :]]
            for piece, begin in zip(pieces, begins, strict=True)
        ]
        encoded = self._encoder.encode_words(
            [texts[piece.text][begin:] for piece, begin in zip(pieces, begins, strict=True)],
            spans,
            self._max_tokens,
            "head",
        )
        assert encoded.word_tokens is not None
        rows = np.split(encoded.ids.astype(np.int64), np.cumsum(encoded.lengths)[:-1])
        places = np.split(encoded.word_tokens, np.cumsum([len(one) for one in spans])[:-1])

        def tag_batch(indices: np.ndarray, tokens: Tokens) -> None:
            starts = tokens.cu_seqlens.tolist()
            has_token = [np.flatnonzero(places[index] >= 0) for index in indices]
            positions = [
                start + places[index][found]
                for start, index, found in zip(starts[:-1], indices, has_token, strict=True)
            ]
            logits = self._compute_logits(tokens, torch.from_numpy(np.concatenate(positions)))
            best = logits.float().softmax(-1).max(-1)
            likely, found_tags = best.values.cpu().numpy(), best.indices.cpu().numpy()
            done = 0
            for index, found in zip(indices, has_token, strict=True):
                piece, part = pieces[index], slice(done, done + len(found))
                tags[piece.text][piece.word + found] = found_tags[part]
                scores[piece.text][piece.word + found] = likely[part]
                done += len(found)

        self._run_batches(rows, encoded.begins, tag_batch)
        cut = [np.flatnonzero(place == CUT_TOKEN) for place in places]
        return [
            _Piece(piece.text, piece.word + int(missing[0]))
            for piece, missing in zip(pieces, cut, strict=True)
            # without room for a single word there is no end
            if len(missing) and missing[0] > 0
        ]

    def _list_entities(
        self, text: str, words: Sequence[WordSpan], tags: np.ndarray, scores: np.ndarray
    ) -> list[Entity]:
        types = list_entity_types(self._label_names)
        if types:
            found = find_entities(torch.from_numpy(np.append(tags, END_OF_TEXT)))
            begins, ends = found.begins.tolist(), found.ends.tolist()
            names = [types[kind] for kind in found.types.tolist()]
        else:
            begins, ends = list(range(len(words))), list(range(1, len(words) + 1))
            names = [self._label_names[tag] for tag in tags.tolist()]
        return [
            Entity(
                words[begin][0],
                words[end - 1][1],
                text[words[begin][0] : words[end - 1][1]],
                name,
                round(float(scores[begin:end].mean()), 6),
            )
            for begin, end, name in zip(begins, ends, names, strict=True)
        ]
