"""Texts to token ids, in one flat array: framed by special tokens and cut to length.

The ids are those that the tokenizer gives for whole texts, at a fraction of the work and memory:
words that were seen before are looked up (`WordCache`), and long texts are encoded in pieces
(`split_text`). Needs no more than `tokenizers` and NumPy, so that a process that only tokenises
starts quickly.

Shape legend: N texts or pairs, T tokens of all of them.
"""

import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from src.core.user_errors import UserError
from src.data.special_frame import SpecialFrame, find_frame

# ids [T] of all texts (uint32) without special tokens, and how many each text has [N] (int64)
FlatIds = tuple[np.ndarray, np.ndarray]
Truncation = Literal["head", "tail", "head_tail"]

# `head_tail` keeps so much from the beginning; Sun et al. (2019), section 5.3.1: 128 of 510 tokens
HEAD_FRACTION = 0.25
# A text longer than this is encoded in pieces of about this size: so many characters that a cut
# costs nothing.
PIECE_CHARACTERS = 1 << 14
# characters of the pieces that are encoded in one go
PIECE_BATCH_CHARACTERS = 1 << 20


class EncodedTexts(NamedTuple):
    """Texts or pairs as ids, special tokens included, laid end to end."""

    ids: np.ndarray  # [T] uint32
    lengths: np.ndarray  # [N] int64, tokens of each
    # [N] int32, tokens up to where the second segment begins; 0 where all tokens are of one
    begins: np.ndarray
    # how many were shortened
    num_truncated: int


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
        return TextEncoder, (self.backend,)

    @property
    def frame_ids(self) -> set[int]:
        """The special tokens around texts."""
        frames = (self._single_frame, self._pair_frame)
        return {token_id for frame in frames if frame for ids in frame.ids for token_id in ids}

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

        Raises UserError if the tokenizer does not give the texts once each, in their order.
        """
        frame = self._single_frame if pairs is None else self._pair_frame
        if frame is None:
            raise UserError(
                "the tokenizer's post-processor does not give "
                + ("a text once" if pairs is None else "two texts once each, in their order"),
                hint="data/tokenizer=wordpiece learns another from the texts",
            )
        room = None if max_tokens is None else max_tokens - frame.num_tokens
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


# -- long texts in pieces

WHITE_SPACE = re.compile(r"[ \t\n\r]")
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
    normalizer, *others = _component_names(backend)
    if normalizer not in ("NoneType", "NFC", "NFD") or others != ["ByteLevel", "BPE"]:
        return None
    if not backend.pre_tokenizer.use_regex or backend.model.dropout:
        return None
    added_tokens = backend.get_added_tokens_decoder().values()
    if any(token.rstrip or re.search(r"\S ", token.content) for token in added_tokens):
        return None
    return _SINGLE_SPACE


def _component_names(backend: Any) -> list[str]:
    """Class names of a tokenizer's normalizer, pre-tokenizer and model."""
    components = ("normalizer", "pre_tokenizer", "model")
    return [type(getattr(backend, name, None)).__name__ for name in components]


# -- words looked up

# some 50 MB; when there are more, all are forgotten, and the frequent ones are soon back
MAX_CACHED_WORDS = 1 << 18
# of all cached words: a script without spaces has long ones
MAX_CACHED_CHARACTERS = 1 << 23
# looked up in one go: few enough that their words stay in the processor's cache
TEXTS_PER_LOOKUP = 128

_PUNCTUATION = re.escape(string.punctuation)
_find_words: Callable[[str], list[str]] = re.compile(
    rf"[^ \t\n\r{_PUNCTUATION}]+|[{_PUNCTUATION}]"
).findall


class WordCache:
    """The ids of each word of a text, for tokenizers that work as BERT's does.

    BERT normalises a text character by character, parts it at white space and around punctuation
    marks, and cuts each part into pieces by itself (Devlin et al., 2019; `BertNormalizer`,
    `BertPreTokenizer` and `WordPiece` in `tokenizers`). So the ids of a text are those of its
    words, one after the other, wherever it is parted at ASCII white space and marks. Whatever
    stands between two of these (accents, other scripts, invisible characters) is left to the
    tokenizer as a whole. Only special tokens that are written out in a text ("[MASK]") reach across
    marks: such texts are encoded whole.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._special_tokens = [
            token.content for token in backend.get_added_tokens_decoder().values()
        ]
        self._spaced_special_tokens = list(filter(WHITE_SPACE.search, self._special_tokens))
        self._clear()

    @staticmethod
    def is_bert_style(backend: Any) -> bool:
        """True if this tokenizer (`tokenizers.Tokenizer`) cuts texts in BERT's way."""
        if _component_names(backend) != ["BertNormalizer", "BertPreTokenizer", "WordPiece"]:
            return False
        return not any(
            token.normalized or token.single_word or token.lstrip or token.rstrip
            for token in backend.get_added_tokens_decoder().values()
        )

    def has_spaced_special_token(self, text: str) -> bool:
        """True if a special token with white space inside is written out in the text, which must
        then not be cut at white space.
        """
        return any(token in text for token in self._spaced_special_tokens)

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {}
        self._characters = 0
        # the ids of all cached words, and where those of each word begin
        self._ids = np.zeros(0, dtype=np.uint32)
        self._starts = np.zeros(1, dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> FlatIds:
        """Ids of all texts, without special tokens around them, and how many each text has."""
        groups = [
            self._encode_group(texts[begin : begin + TEXTS_PER_LOOKUP])
            for begin in range(0, len(texts), TEXTS_PER_LOOKUP)
        ]
        if len(self._numbers) > MAX_CACHED_WORDS or self._characters > MAX_CACHED_CHARACTERS:
            self._clear()
        ids, lengths = zip(*groups, strict=True)
        return np.concatenate(ids), np.concatenate(lengths)

    def _encode_group(self, texts: Sequence[str]) -> FlatIds:
        words_of_texts = [
            [text] if any(token in text for token in self._special_tokens) else _find_words(text)
            for text in texts
        ]
        words = list(chain.from_iterable(words_of_texts))
        if unknown := set(words).difference(self._numbers):
            self._add_words(sorted(unknown))
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        begins = self._starts[numbers]
        lengths = self._starts[numbers + 1] - begins
        ends = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        ids = self._ids[np.arange(ends[-1]) + np.repeat(begins - ends[:-1], lengths)]
        counts = np.fromiter(map(len, words_of_texts), np.int64, len(texts))
        return ids, np.diff(ends[np.cumsum(counts)], prepend=0)

    def _add_words(self, words: list[str]) -> None:
        encodings = self.backend.encode_batch_fast(words, add_special_tokens=False)
        rows = [encoding.ids for encoding in encodings]
        self._characters += sum(map(len, words))
        first = len(self._numbers)
        self._numbers.update(zip(words, range(first, first + len(words)), strict=True))
        new_ids = np.fromiter(chain.from_iterable(rows), np.uint32)
        self._ids = np.concatenate((self._ids, new_ids))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        self._starts = np.concatenate((self._starts, self._starts[-1] + np.cumsum(lengths)))


# -- cut to length and framed


def _truncate_ids(
    ids: np.ndarray, lengths: np.ndarray, kept: np.ndarray, truncation: Truncation
) -> FlatIds:
    """The first `kept` [N] ids of each text (`head`), the last (`tail`), or a quarter of them from
    the beginning and the rest from the end (`head_tail`).
    """
    is_cut = kept < lengths
    if not is_cut.any():
        return ids, lengths
    heads = {
        "head": kept,
        "tail": np.zeros_like(kept),
        "head_tail": np.rint(HEAD_FRACTION * kept).astype(np.int64),
    }
    head = np.where(is_cut, heads[truncation], kept)
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
