"""Texts to ids in one flat array: framed by special tokens, cut to length. Needs no more than `tokenizers` and NumPy,
so that a process that only tokenises starts quickly.

Shape legend: N texts or pairs, T tokens of all of them.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from src.data.cutting import PIECE, cut_points, of_pieces, pieces
from src.data.words import Words

Truncation = Literal["head", "tail", "head_tail"]
HEAD_SHARE = 0.25  # of a text cut in the middle; Sun et al. (2019), section 5.3.1, keep 128 of 510 tokens in front


class Encoded(NamedTuple):
    """Texts or pairs as ids, special tokens included, laid end to end."""

    ids: np.ndarray  # [T] uint32
    lengths: np.ndarray  # [N] int64, tokens of each
    begins: np.ndarray  # [N] int32, tokens up to where the second text begins; 0 without one
    cut: int  # how many were shortened


class TextEncoder:
    """A tokenizer's fast form (`tokenizers.Tokenizer`) and what stands before, between and after texts."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._words = Words(backend) if Words.fit(backend) else None
        self._points = cut_points(backend)
        self._single = self._frame("a")
        self._pair = self._frame("a", "a")

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process go the rules, not the words that are remembered."""
        return TextEncoder, (self.backend,)

    @property
    def frame_ids(self) -> set[int]:
        """The special tokens around texts."""
        return set(chain.from_iterable(self._single + self._pair))

    def _frame(self, *texts: str) -> list[list[int]]:
        """The special tokens before, between and after the texts, seen on a probe."""
        bare = self.backend.encode(texts[0], add_special_tokens=False).ids
        whole = self.backend.encode(*texts).ids
        parts: list[list[int]] = [[]]
        place = 0
        while place < len(whole):
            if len(parts) <= len(texts) and whole[place : place + len(bare)] == bare:
                parts.append([])
                place += len(bare)
            else:
                parts[-1].append(whole[place])
                place += 1
        return parts

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_tokens: int | None, truncation: Truncation
    ) -> Encoded:
        """Ids of each text or pair, at most `max_tokens` of them, special tokens included.

        Of a pair that is too long the longer text gives way first, until both have half: Hugging Face's
        `longest_first`, to the token.
        """
        frame = self._single if pairs is None else self._pair
        room = None if max_tokens is None else max_tokens - sum(map(len, frame))
        first, lengths = self._bare(texts)
        if pairs is None:
            if room is None:
                return _laid_out(frame, [(first, lengths)], 0)
            kept = np.minimum(lengths, room)
            return _laid_out(frame, [_shortened(first, lengths, kept, truncation)], int((kept < lengths).sum()))
        second, others = self._bare(pairs)
        if room is None:
            return _laid_out(frame, [(first, lengths), (second, others)], 0)
        cut = lengths + others > room
        short = np.minimum(np.minimum(lengths, others), room // 2)
        longer = lengths > others
        left = np.where(cut, np.where(longer, room - short, short), lengths)
        right = np.where(cut, np.where(longer, short, room - short), others)
        parts = [_shortened(first, lengths, left, truncation), _shortened(second, others, right, truncation)]
        return _laid_out(frame, parts, int(cut.sum()))

    def _bare(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts without special tokens, and how many each has."""
        if self._words is not None and texts:
            return self._words.encode(texts)
        points = self._points
        if points is not None and any(len(text) > PIECE for text in texts):
            return of_pieces(self._plain, texts, lambda text: pieces(text, points))
        return self._plain(texts)

    def _plain(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [each.ids for each in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(chain.from_iterable(rows), np.uint32, int(lengths.sum())), lengths


def _shortened(
    ids: np.ndarray, lengths: np.ndarray, kept: np.ndarray, truncation: Truncation
) -> tuple[np.ndarray, np.ndarray]:
    """The first `kept` [N] of each text's ids (`head`), the last (`tail`), or a quarter of them and the rest from the
    end (`head_tail`)."""
    cut = kept < lengths
    if not cut.any():
        return ids, lengths
    heads = {"head": kept, "tail": np.zeros_like(kept), "head_tail": np.rint(HEAD_SHARE * kept).astype(np.int64)}
    head = np.where(cut, heads[truncation], kept)
    places = _places(np.zeros_like(lengths), lengths)
    stays = (places < np.repeat(head, lengths)) | (places >= np.repeat(lengths - kept + head, lengths))
    return ids[stays], kept


def _laid_out(frame: list[list[int]], parts: list[tuple[np.ndarray, np.ndarray]], cut: int) -> Encoded:
    """The parts of each row between the special tokens, row after row."""
    totals = sum((lengths for _, lengths in parts), start=np.full(len(parts[0][1]), sum(map(len, frame))))
    starts = np.cumsum(totals) - totals
    ids = np.empty(int(totals.sum()), dtype=np.uint32)
    free = np.ones(len(ids), dtype=bool)
    at, begins = starts.copy(), np.zeros(len(starts), dtype=np.int32)
    for number, special in enumerate(frame):
        where = at[:, None] + np.arange(len(special))
        ids[where] = special
        free[where] = False
        at += len(special)
        if number == len(parts):
            break
        if number == 1:
            begins[:] = at - starts
        at += parts[number][1]
    if len(parts) == 1:
        ids[free] = parts[0][0]
    else:
        counts = np.stack([lengths for _, lengths in parts], axis=1)  # [N, 2]
        second = np.tile([False, True], len(starts)).repeat(counts.ravel())
        both = np.empty(len(second), dtype=np.uint32)
        both[~second], both[second] = parts[0][0], parts[1][0]
        ids[free] = both
    return Encoded(ids, totals, begins, cut)


def _places(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Each row's places, one after the other: [3 4 9] for begins [3 9] and lengths [2 1]."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(begins - ends + lengths, lengths)
