"""Texts to token ids, in one flat array: framed by special tokens and cut to length.

The ids are those that the tokenizer gives for whole texts, at a fraction of the work and memory:
words that were seen before are looked up (`WordCache`), and long texts are encoded in pieces
(`split_text`). Needs no more than `tokenizers` and NumPy, so that a process that only tokenises
starts quickly.

Shape legend: N texts or pairs, T tokens of all of them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from src.core.user_errors import UserError
from src.data.tokenization.special_frame import SpecialFrame, find_frame
from src.data.tokenization.word_cache import WHITE_SPACE, FlatIds, WordCache, list_component_names

Truncation = Literal["head", "tail", "head_tail"]

# `head_tail` keeps so much from the beginning; Sun et al. (2019), section 5.3.1: 128 of 510 tokens
HEAD_FRACTION = 0.25
# A text longer than this is encoded in pieces of about this size: so many characters that a cut
# costs nothing.
PIECE_CHARACTERS = 1 << 14
# characters of the pieces that are encoded in one go
PIECE_BATCH_CHARACTERS = 1 << 20


# what to type where a pretrained tokenizer cannot serve: an encoder learns only from its own
OWN_TOKENIZER_HINT = "data/tokenizer=wordpiece model/encoder=small learns both from the texts"


NO_TOKEN, CUT_TOKEN = -1, -2


class EncodedTexts(NamedTuple):
    """Texts or pairs as ids, special tokens included, laid end to end."""

    ids: np.ndarray  # [T] uint32
    lengths: np.ndarray  # [N] int64, tokens of each
    # [N] int32, tokens up to where the second segment begins; 0 where all tokens are of the first,
    # -1 where all are of the second
    begins: np.ndarray
    # how many were shortened
    num_truncated: int
    # where words are tagged, [W] int64: the place of each one's first token in its row; NO_TOKEN
    # for a word that has none, CUT_TOKEN for one that was cut off
    word_tokens: np.ndarray | None = None


class TextEncoder:
    """Encodes texts with a fast tokenizer (`tokenizers.Tokenizer`)."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._word_cache = WordCache(backend) if WordCache.is_bert_style(backend) else None
        self._boundary = WHITE_SPACE if self._word_cache else find_split_pattern(backend)
        self._single_frame = find_frame(backend, 1)
        self._pair_frame = find_frame(backend, 2)
        if self._pair_frame and not (self._single_frame and self._single_frame.is_plain):
            # one text would have other segments than an encoder is given
            self._pair_frame = self._pair_frame._replace(second_segment=None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, for another process, without the words in the cache."""
        # not part of the backend's own pickle
        return _restore_encoder, (self.backend, self.backend.encode_special_tokens)

    @property
    def frame_ids(self) -> set[int]:
        """The special tokens around texts."""
        frames = (self._single_frame, self._pair_frame)
        return {token_id for frame in frames if frame for ids in frame.ids for token_id in ids}

    @property
    def single_frame(self) -> SpecialFrame:
        """The special tokens around one text, where the tokenizer gives a text once."""
        assert self._single_frame is not None
        return self._single_frame

    @property
    def has_segments(self) -> bool:
        """True if the tokenizer tells the tokens of a second text from those of the first."""
        return self._pair_frame is not None and self._pair_frame.second_segment is not None

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        max_tokens: int | None,
        truncation: Truncation,
    ) -> EncodedTexts:
        """Ids of each text or pair, at most `max_tokens` of them, special tokens included.

        Of a pair that is too long the longer text is shortened first, until both have half: Hugging
        Face's `longest_first`, to the token.

        Raises UserError if the tokenizer does not give the texts once each, in their order, if its
        special tokens alone are more than `max_tokens`, or if with `max_tokens` a row has no token
        at all: nothing could be said of it.
        """
        encoded = self._encode_rows(texts, pairs, max_tokens, truncation)
        if max_tokens is not None and not encoded.lengths.all():
            text = texts[int(encoded.lengths.argmin())]
            raise UserError(
                f"the tokenizer makes no token of the text {text[:40]!r}, and puts none around it",
                key="data.tokenizer",
                hint=OWN_TOKENIZER_HINT,
            )
        return encoded

    def _encode_rows(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        max_tokens: int | None,
        truncation: Truncation,
    ) -> EncodedTexts:
        frame = self._single_frame if pairs is None else self._pair_frame
        if frame is None:
            raise UserError(
                "the tokenizer's post-processor does not give "
                + ("a text once" if pairs is None else "two texts once each, in their order"),
                hint=OWN_TOKENIZER_HINT,
            )
        room = None if max_tokens is None else max_tokens - frame.num_tokens
        if room is not None and room < 0:
            raise UserError(
                f"the tokenizer puts {frame.num_tokens} special tokens around "
                + ("a text" if pairs is None else "two texts"),
                key="data.batching.max_tokens",
                value=max_tokens,
                hint=f"{{key}}={frame.num_tokens + 2} is the least that makes sense",
            )
        first, first_lengths = self._encode_without_special(texts)
        if pairs is None:
            if room is None:
                return _join_with_special(frame, [(first, first_lengths)], 0)
            kept = np.minimum(first_lengths, room)
            part = _truncate_ids(first, first_lengths, kept, truncation)
            return _join_with_special(frame, [part], int((kept < first_lengths).sum()))
        second, second_lengths = self._encode_without_special(pairs)
        if room is None:
            parts = [(first, first_lengths), (second, second_lengths)]
            return _join_with_special(frame, parts, 0)
        is_cut = first_lengths + second_lengths > room
        shorter = np.minimum(np.minimum(first_lengths, second_lengths), room // 2)
        first_is_longer = first_lengths > second_lengths
        first_kept = np.where(first_is_longer, room - shorter, shorter)
        second_kept = np.where(first_is_longer, shorter, room - shorter)
        parts = [
            _truncate_ids(ids, lengths, np.where(is_cut, kept, lengths), truncation)
            for ids, lengths, kept in (
                (first, first_lengths, first_kept),
                (second, second_lengths, second_kept),
            )
        ]
        return _join_with_special(frame, parts, int(is_cut.sum()))

    def encode_words(
        self,
        texts: Sequence[str],
        words: Sequence[Sequence[tuple[int, int]]],
        max_tokens: int,
        truncation: Truncation,
    ) -> EncodedTexts:
        """The ids that `encode` gives, and the first token of each word.

        A token belongs to the word in which its first visible character stands, and a lone blank
        to the word behind it: transformers' `word_ids` where it is given the words by themselves.

        Args:
            words: where the words of each text begin and end, in their order.

        Raises UserError as `encode` does.
        """
        encoded = self.encode(texts, None, max_tokens, truncation)
        frame = self.single_frame
        found = self.backend.encode_batch(list(texts), add_special_tokens=False)
        lengths = np.fromiter((len(one.ids) for one in found), np.int64, len(found))
        kept = np.minimum(lengths, max_tokens - frame.num_tokens)
        # of each token of the whole text its place in the row, behind the special ones
        ordinals = np.arange(int(lengths.sum()))
        left, _ = _truncate_ids(ordinals, lengths, kept, truncation)
        # one more for the words of a last text without tokens
        places = np.full(len(ordinals) + 1, CUT_TOKEN, dtype=np.int64)
        places[left] = len(frame.ids[0]) + (
            np.arange(len(left)) - np.repeat(np.cumsum(kept) - kept, kept)
        )
        tokens: list[np.ndarray] = []
        for text, spans, one, begin in zip(
            texts, words, found, np.cumsum(lengths) - lengths, strict=True
        ):
            first = find_first_tokens(text, spans, one.offsets)
            tokens.append(np.where(first < 0, NO_TOKEN, places[begin + np.maximum(first, 0)]))
        return encoded._replace(word_tokens=np.concatenate(tokens))

    def _encode_without_special(self, texts: Sequence[str]) -> FlatIds:
        if self._boundary is not None and any(len(text) > PIECE_CHARACTERS for text in texts):
            return self._encode_in_pieces(texts)
        return self._encode_whole(texts)

    def _encode_whole(self, texts: Sequence[str]) -> FlatIds:
        if self._word_cache is not None and texts:
            return self._word_cache.encode(texts)
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        rows = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(chain.from_iterable(rows), np.uint32, int(lengths.sum())), lengths

    def _encode_in_pieces(self, texts: Sequence[str]) -> FlatIds:
        ids, lengths = [], np.zeros(len(texts), dtype=np.int64)
        for pieces, owners in self._iter_piece_batches(texts):
            piece_ids, piece_lengths = self._encode_whole(pieces)
            ids.append(piece_ids)
            np.add.at(lengths, owners, piece_lengths)
        return np.concatenate(ids), lengths

    def _iter_piece_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[int]]]:
        """The pieces of all texts, some at a time, and the number of the text that each is of."""
        pieces: list[str] = []
        owners: list[int] = []
        characters = 0
        for number, text in enumerate(texts):
            for piece in self._split_long_text(text):
                pieces.append(piece)
                owners.append(number)
                characters += len(piece)
                if characters >= PIECE_BATCH_CHARACTERS:
                    yield pieces, owners
                    pieces, owners, characters = [], [], 0
        if pieces:
            yield pieces, owners

    def _split_long_text(self, text: str) -> Iterable[str]:
        if len(text) <= PIECE_CHARACTERS or (
            self._word_cache is not None and self._word_cache.has_spaced_special_token(text)
        ):
            return (text,)
        assert self._boundary is not None
        return split_text(text, self._boundary, PIECE_CHARACTERS)


def _restore_encoder(backend: Any, splits_special_tokens: bool) -> TextEncoder:
    backend.encode_special_tokens = splits_special_tokens
    return TextEncoder(backend)


def find_first_tokens(
    text: str, words: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The first token of each word, -1 for words without one.

    Args:
        words: where each begins and ends in the text.
        offsets: where each token does; some tokenizers take the space before a word to its token.
    """
    first = np.full(len(words), -1, dtype=np.int64)
    word = 0
    for token, (start, end) in enumerate(offsets):
        begin = start
        while begin < end and text[begin].isspace():
            begin += 1
        while word < len(words) and words[word][1] <= begin:
            word += 1
        if word == len(words):
            break
        # the mark of a word's beginning, where that is a token by itself
        is_mark = begin == end == words[word][0] and text[start:end] in ("", " ")
        if first[word] < 0 and (words[word][0] <= begin < end or is_mark):
            first[word] = token
    return first


def find_token_types(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """The segment [T] (0 or 1, int64) of each token of rows that lie end to end, from where their
    second segments begin, as `EncodedTexts` has it; None if all tokens are of the first.
    """
    if not begins.any():
        return None
    positions = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second_begins = np.where(begins == 0, lengths, begins)
    return (positions >= np.repeat(second_begins, lengths)).astype(np.int64)


# -- long texts in pieces

_SINGLE_SPACE = re.compile(r"(?<=\S) (?=\S)")


def split_text(
    text: str, boundary: re.Pattern[str] = WHITE_SPACE, size: int = PIECE_CHARACTERS
) -> Iterator[str]:
    """A text in pieces: cut before the first match of `boundary` after each `size` characters."""
    begin = 0
    while len(text) - begin > size and (match := boundary.search(text, begin + size)):
        yield text[begin : match.start()]
        begin = match.start()
    yield text[begin:]


def find_split_pattern(backend: Any) -> re.Pattern[str] | None:
    """A pattern before whose matches a text may be cut without changing its ids, for tokenizers
    that work on bytes in GPT-2's way; None for all others.

    Such a tokenizer's pattern (Radford et al., 2019; `ByteLevel` in `tokenizers`) takes a space
    along with the word behind it and looks behind no other character. So one of its matches begins
    at a space that stands alone, whatever is around it. Neither canonical composition (NFC, NFD)
    nor an added token reaches over that space, unless the token holds a space itself or takes those
    behind it along.
    """
    normalizer, *others = list_component_names(backend)
    if normalizer not in ("NoneType", "NFC", "NFD") or others != ["ByteLevel", "BPE"]:
        return None
    if not backend.pre_tokenizer.use_regex or backend.model.dropout:
        return None
    added_tokens = backend.get_added_tokens_decoder().values()
    if any(token.rstrip or re.search(r"\S ", token.content) for token in added_tokens):
        return None
    return _SINGLE_SPACE


# -- cut to length and framed


def find_head_tokens(kept: np.ndarray, truncation: Truncation) -> np.ndarray:
    """Of so many tokens [N] that a text keeps, those that are its first ones."""
    heads = {
        "head": kept,
        "tail": np.zeros_like(kept),
        "head_tail": np.rint(HEAD_FRACTION * kept).astype(np.int64),
    }
    return heads[truncation]


def _truncate_ids(
    ids: np.ndarray, lengths: np.ndarray, kept: np.ndarray, truncation: Truncation
) -> FlatIds:
    """The first `kept` [N] ids of each text (`head`), the last (`tail`), or a quarter of them from
    the beginning and the rest from the end (`head_tail`).
    """
    is_cut = kept < lengths
    if not is_cut.any():
        return ids, lengths
    head = np.where(is_cut, find_head_tokens(kept, truncation), kept)
    # [T], counted from 0 in each text
    positions = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    stays = (positions < np.repeat(head, lengths)) | (
        positions >= np.repeat(lengths - kept + head, lengths)
    )
    return ids[stays], kept


def _join_with_special(
    frame: SpecialFrame, parts: list[FlatIds], num_truncated: int
) -> EncodedTexts:
    """The one or two parts of each row between the special tokens, row after row."""
    lengths_of_parts = (lengths for _, lengths in parts)
    totals = sum(lengths_of_parts, start=np.full(len(parts[0][1]), frame.num_tokens))
    starts = np.cumsum(totals) - totals
    ids = np.empty(int(totals.sum()), dtype=np.uint32)
    is_free = np.ones(len(ids), dtype=bool)
    begins = np.zeros(len(starts), dtype=np.int32)
    if len(parts) == 2 and frame.second_segment is not None:
        begins[:] = parts[0][1] + frame.second_segment
        begins[begins == 0] = -1
    cursors = starts.copy()
    for number, special in enumerate(frame.ids):
        places = cursors[:, None] + np.arange(len(special))
        ids[places] = special
        is_free[places] = False
        cursors += len(special)
        if number == len(parts):
            break
        cursors += parts[number][1]
    if len(parts) == 1:
        ids[is_free] = parts[0][0]
    else:
        lengths = np.stack([lengths for _, lengths in parts], axis=1)  # [N, 2]
        is_second = np.tile([False, True], len(starts)).repeat(lengths.ravel())
        both = np.empty(len(is_second), dtype=np.uint32)
        both[~is_second], both[is_second] = parts[0][0], parts[1][0]
        ids[is_free] = both
    return EncodedTexts(ids, totals, begins, num_truncated)
