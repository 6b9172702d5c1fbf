"""Masks of whole words and of spans, against the same choice made one token at a time."""

from typing import Any

import numpy as np
import pytest

from src.data.batches.masking import MaskedRows, MaskingParams, mask_tokens
from src.data.batches.word_masking import build_unit_draws
from src.data.tokenization.word_joints import JOINS_LEFT, JOINS_RIGHT

STEP, WORD = 0x9E3779B97F4A7C15, 1 << 64
# 0 to 4 are special, 5 to 599 begin a word, 600 to 999 go on with one
VOCABULARY, MASK = 1000, 4
SPECIAL = np.arange(VOCABULARY) < 5
JOINTS = np.full(VOCABULARY, JOINS_RIGHT, dtype=np.uint8)
JOINTS[:5] = 0
JOINTS[600:] |= JOINS_LEFT
WORDS, SPANS = (build_unit_draws(0.2, longest, 128) for longest in (1, 10))


def _masked(
    ids: np.ndarray, rows: Any, starts: Any = None, *, spans: bool = False, **changed: Any
) -> MaskedRows:
    settings = {"seed": 1, "fraction": 0.15, "mask_share": 0.8, "random_share": 0.1} | changed
    masking = MaskingParams(
        mask_id=MASK,
        ordinary=np.flatnonzero(~SPECIAL),
        special=SPECIAL,
        joints=JOINTS,
        unit_draws=SPANS if spans else WORDS,
        has_spans=spans,
        **settings,
    )
    if starts is None:
        starts = np.arange(len(ids) + 1) * ids.shape[1]
    return mask_tokens(ids, np.asarray(rows), 0, masking, np.asarray(starts))


def _ids(rows: int, length: int, *, joined: float = 0.25, special: float = 0.05) -> np.ndarray:
    draw = np.random.default_rng(5)
    ids = draw.integers(5, 600, (rows, length))
    ids = np.where(draw.random(ids.shape) < joined, draw.integers(600, 1000, ids.shape), ids)
    return np.where(draw.random(ids.shape) < special, 2, ids)


# -- the same, one token at a time, with Python's own whole numbers


def _mix(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def _row_key(row: int) -> int:
    key = _mix((_mix((STEP + 1) % WORD) + STEP) % WORD)
    return _mix((key + row * STEP) % WORD)


def _words_of(ids: list[int], starts: set[int]) -> list[list[int]]:
    words: list[list[int]] = []
    for column, token in enumerate(ids):
        goes_on = column not in starts and token >= 600 and ids[column - 1] >= 5
        if goes_on:
            words[-1].append(column)
        else:
            words.append([column])
    return words


def _units_of(
    words: list[list[int]], row: int, length: int, spans: bool
) -> list[tuple[int, list[list[int]]]]:
    """Each with its draw."""
    line = SPANS if spans else WORDS
    place = _mix(_row_key(row) ^ 0x5350414E) % (len(line) - length + 1)
    units: dict[int, list[list[int]]] = {}
    for number, word in enumerate(words, place):
        units.setdefault(int(line[number]), []).append(word)
    return list(units.items())


def _expected(ids: list[int], starts: set[int], row: int, count: int, spans: bool) -> list[int]:
    words = _words_of(ids, starts)
    low = (1 << len(ids).bit_length()) - 1
    factor = _row_key(row) >> 32 | 1
    units = {
        draw * factor % (1 << 32) >> 1 & ~low: unit
        for draw, unit in _units_of(words, row, len(ids), spans)
    }
    order = [word for key in sorted(units) for word in units[key] if ids[word[0]] >= 5]
    chosen: list[list[int]] = []
    for place, word in enumerate(order):
        room = count - sum(map(len, chosen))
        if len(word) <= room:
            chosen.append(word)
            continue
        if room:
            last = next(key for key in units if word in units[key]) | word[room - 1]
            singles = [other for other in chosen if len(other) == 1]
            spare = len(word) - room
            is_kept = (_mix((last + STEP) % WORD) >> 40) * len(word) < room << 24
            if is_kept and len(singles) >= spare:
                dropped = singles[len(singles) - spare :]
                chosen = [other for other in chosen if other not in dropped] + [word]
            else:
                rest = [other for other in order[place:] if len(other) == 1]
                cut = [column for other in order[place:] if len(other) > 1 for column in other]
                chosen.append([column for other in (*rest, cut) for column in other][:room])
        break
    return sorted(column for word in chosen for column in word)


@pytest.mark.parametrize("spans", [False, True])
@pytest.mark.parametrize("joined", [0.0, 0.25, 0.9])
@pytest.mark.parametrize(("length", "fraction"), [(128, 0.15), (40, 0.4), (12, 0.3), (9, 0.95)])
def test_words_are_chosen_as_one_by_one(
    length: int, fraction: float, joined: float, spans: bool
) -> None:
    ids = _ids(30, length, joined=joined)
    # a document ends in the middle of each row
    starts = np.sort(np.concatenate((np.arange(31) * length, np.arange(30) * length + 5)))
    found = _masked(ids, range(30), starts, spans=spans, fraction=fraction)
    count = max(1, round(fraction * length))
    for row in range(30):
        columns = found.positions[found.positions // length == row] % length
        expected = _expected(ids[row].tolist(), {0, 5}, row, count, spans)
        assert columns.tolist() == expected
        assert len(expected) == min(count, int((ids[row] >= 5).sum()))
    assert (found.targets == ids.ravel()[found.positions]).all()


def test_a_row_by_hand() -> None:
    """un ##believ ##able | a | b | c: three tokens of six are the long word or the others, each in
    half of all rows, as often as chance would choose a token.
    """
    ids = np.tile([10, 610, 620, 11, 12, 13], (10_000, 1))
    found = _masked(ids, range(10_000), fraction=0.5)
    chosen = [tuple(row) for row in (found.positions.reshape(-1, 3) % 6).tolist()]
    assert set(chosen) == {(0, 1, 2), (3, 4, 5)}
    assert 4800 < chosen.count((0, 1, 2)) < 5200


def test_a_word_is_cut_only_where_no_single_token_is_left() -> None:
    ids = np.array([[10, 610, 620, 13, 613, 623]])
    chosen = {tuple(_masked(ids, [row], fraction=4 / 6).positions.tolist()) for row in range(100)}
    assert chosen == {(0, 1, 2, 3), (0, 3, 4, 5)}


def test_a_row_is_masked_alike_in_any_company_and_order() -> None:
    ids = _ids(6, 40)
    for spans in (False, True):
        whole = _masked(ids, range(6), spans=spans)
        shuffled = [4, 0, 5, 2]
        part = _masked(ids[shuffled], shuffled, spans=spans)
        assert (part.ids == whole.ids[shuffled]).all()


def test_lengths_of_spans_are_geometric() -> None:
    """p = 0.2 cut at 10 and scaled up to 1, whose mean is 3.8 (Joshi et al., 2020, figure 2)."""
    borders = np.flatnonzero(np.diff(SPANS)) + 1
    counts = np.bincount(np.diff(borders, prepend=0)[: 2**14])[1:]
    shares = 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)
    assert np.abs(counts / 2**14 - shares).max() < 2**-14
    assert round(2**14 * 3.8 / (len(SPANS) - 128), 1) == 1
    assert len(WORDS) == 2**14 + 128 and np.diff(WORDS.astype(np.int64)).all()
    # a row that is longer than the line of words goes on with further draws
    assert len(build_unit_draws(0.2, 1, 2**15)) == 2**14 + 2**15


def test_words_are_chosen_independently_of_each_other() -> None:
    """Of 40 words 8: any two are chosen together in 8/40 * 7/39 of all rows, neighbours or not, and
    any three in 6/38 of these. 12,000 rows give 431 and 68, with a standard deviation of 20.4 and
    8.2.
    """
    ids = _ids(12_000, 40, joined=0.0, special=0.0)
    columns = _masked(ids, range(12_000), fraction=0.2).positions.reshape(-1, 8) % 40
    chosen = np.zeros((12_000, 40))
    np.put_along_axis(chosen, columns, 1, axis=1)
    pairs = (chosen.T @ chosen)[np.triu_indices(40, 1)]
    assert np.abs(pairs - 430.8).max() < 4.5 * 20.4 and 0.9 < pairs.std() / 20.4 < 1.1
    triples = np.array(
        [
            (chosen[:, a] * chosen[:, a + b] * chosen[:, a + b + c]).sum()
            for a in range(20)
            for b in range(1, 10)
            for c in range(1, 10)
        ]
    )
    assert np.abs(triples - 68.0).max() < 5 * 8.2 and 0.9 < triples.std() / 8.2 < 1.1


def test_spans_have_those_lengths_and_one_fate() -> None:
    """Of long rows with few masks: runs of masked tokens, where a run is rarely two spans."""
    ids = _ids(400, 2000, joined=0.0, special=0.0)
    found = _masked(ids, range(400), spans=True, fraction=0.01, mask_share=0.5, random_share=0.0)
    runs = np.split(
        np.arange(len(found.positions)), 1 + np.flatnonzero(np.diff(found.positions) > 1)
    )
    mean = np.mean([len(run) for run in runs])
    # the last span of the five or six of a row is cut
    assert 3.3 < mean < 4.0
    is_mask = found.ids.ravel()[found.positions] == MASK
    mixed = [run for run in runs if 0 < is_mask[run].sum() < len(run)]
    assert len(mixed) < 0.03 * len(runs)


def test_every_token_is_masked_as_often() -> None:
    """Words of one token and of several; at the ends of a row as in its middle, but that the front
    of a span is never what is cut.
    """
    ids = _ids(4000, 64, special=0.0)
    for spans in (False, True):
        found = _masked(ids, range(4000), spans=spans)
        counts = np.bincount(found.positions % 64, minlength=64) / 4000
        assert np.abs(counts[4:] - 10 / 64).max() < 0.03
        assert np.abs(counts[:4] - 10 / 64).max() < (0.06 if spans else 0.02)
        share = (found.targets >= 600).sum() / (ids >= 600).sum()
        assert abs(share - 10 / 64) < 0.008
