"""Masks and order: pure functions of (seed, epoch, row)."""

from typing import Any

import numpy as np
import pytest
import torch

from src.data.batches.masking import MaskedRows, MaskingParams, mask_tokens
from src.data.splitmix import (
    GOLDEN_GAMMA,
    finalize_splitmix64,
    finalize_splitmix64_torch,
    permute_rows,
)

VOCABULARY = 1000
SPECIAL = np.zeros(VOCABULARY, dtype=bool)
SPECIAL[:5] = True
MASK = 4


def _masked(ids: np.ndarray, rows: Any, *, epoch: int = 0, **changed: Any) -> MaskedRows:
    settings = {"seed": 1, "fraction": 0.15, "mask_share": 0.8, "random_share": 0.1} | changed
    ordinary = np.flatnonzero(~SPECIAL)
    masking = MaskingParams(mask_id=MASK, ordinary=ordinary, special=SPECIAL, **settings)
    return mask_tokens(ids, np.asarray(rows), epoch, masking)


def _ids(rows: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(5, VOCABULARY, size=(rows, length))


def test_golden_values_never_change_silently() -> None:
    """Computed once with Python's own whole numbers (below); a change here is a change of every
    run's masks.
    """
    assert permute_rows(1, 0, 8).tolist() == _order(1, 0, 8) == GOLDEN_ORDER
    ids = np.arange(10, 22).reshape(2, 6)
    found = _masked(ids, [0, 7], fraction=0.5, mask_share=0.4, random_share=0.4)
    assert found.positions.tolist() == GOLDEN_POSITIONS
    assert found.targets.tolist() == [10 + place for place in GOLDEN_POSITIONS]
    assert found.ids.ravel()[found.positions].tolist() == GOLDEN_REPLACED
    assert [
        _fate(1, 0, (0, 7)[at // 6], at % 6, at + 10) for at in GOLDEN_POSITIONS
    ] == GOLDEN_REPLACED
    by_hand = [
        6 * place + column
        for place, row in enumerate((0, 7))
        for column in sorted(_chosen(1, 0, row, 6, 3))
    ]
    assert by_hand == GOLDEN_POSITIONS


WORD = 1 << 64
STEP = 0x9E3779B97F4A7C15


def _mix(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def _key(seed: int, epoch: int) -> int:
    return _mix((_mix((STEP + seed) % WORD) + STEP + epoch) % WORD)


def _order(seed: int, epoch: int, count: int) -> list[int]:
    return sorted(range(count), key=lambda place: _mix((_key(seed, epoch) + place * STEP) % WORD))


def _chosen(seed: int, epoch: int, row: int, length: int, count: int) -> list[int]:
    key = _mix((_key(seed, epoch) + row * STEP) % WORD)
    return sorted(range(length), key=lambda place: _mix((key + (place + 1) * STEP) % WORD))[:count]


def _fate(seed: int, epoch: int, row: int, place: int, stood: int) -> int:
    """What becomes of a chosen token where 0.4 are masked and 0.4 drawn from the ids 5 to 999."""
    word = _mix((_mix((_key(seed, epoch) + row * STEP) % WORD) + (place + 1) * STEP) % WORD)
    fate = _mix((word + STEP) % WORD)
    share = (fate >> 40) / 2**24
    return MASK if share < 0.4 else 5 + (fate & 0xFFFFFF) % 995 if share < 0.8 else stood


GOLDEN_ORDER = [5, 3, 0, 1, 4, 7, 6, 2]
GOLDEN_POSITIONS = [0, 2, 4, 9, 10, 11]
GOLDEN_REPLACED = [4, 762, 4, 4, 4, 405]


def test_the_hash_is_splitmix64() -> None:
    """The first numbers of the reference implementation for seed 0."""
    states = np.array([0, 0x9E3779B97F4A7C15], dtype=np.uint64)
    found = finalize_splitmix64(states + GOLDEN_GAMMA)
    assert found.tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_words_are_mixed_in_torch_as_in_numpy() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    found = finalize_splitmix64_torch(torch.from_numpy(words.view(np.int64)))
    assert np.array_equal(found.numpy().view(np.uint64), finalize_splitmix64(words))


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch() -> None:
    orders = [permute_rows(seed, epoch, 500) for seed in (0, 1, -1) for epoch in (0, 1, 2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(500))
    assert len({tuple(order.tolist()) for order in orders}) == 9
    assert (permute_rows(3, 4, 500) == permute_rows(3, 4, 500)).all()
    assert permute_rows(0, 0, 0).tolist() == []


def test_order_is_uniform() -> None:
    """Where row 0 ends up over 2,000 epochs: each of 10 places about 200 times (chi-square, 9
    degrees, p = 0.001).
    """
    places = [int(np.flatnonzero(permute_rows(5, epoch, 10) == 0)[0]) for epoch in range(2000)]
    assert ((np.bincount(places, minlength=10) - 200) ** 2 / 200).sum() < 27.9


def test_a_row_is_masked_alike_in_any_company_and_order() -> None:
    ids = _ids(6, 40)
    whole = _masked(ids, range(6))
    shuffled = [4, 0, 5, 2]
    part = _masked(ids[shuffled], shuffled)
    for place, row in enumerate(shuffled):
        assert (part.ids[place] == whole.ids[row]).all()
    assert (_masked(ids[[3]], [3]).ids[0] == whole.ids[3]).all()


def test_seeds_epochs_and_rows_differ() -> None:
    ids = np.full((1, 200), 7)
    found = [
        _masked(ids, [row], seed=seed, epoch=epoch)
        for row in (0, 1)
        for seed in (1, 2)
        for epoch in (0, 1)
    ]
    assert len({tuple(masked.positions.tolist()) for masked in found}) == 8


@pytest.mark.parametrize(
    ("length", "fraction"), [(128, 0.15), (64, 0.3), (10, 0.15), (8, 0.01), (9, 0.95)]
)
def test_exactly_so_many_in_every_row(length: int, fraction: float) -> None:
    ids = _ids(50, length)
    found = _masked(ids, range(50), fraction=fraction)
    counts = np.bincount(found.positions // length, minlength=50)
    assert (counts == max(1, round(fraction * length))).all()
    assert (np.diff(found.positions) > 0).all()


def test_targets_are_what_stood_there_and_nothing_else_changes() -> None:
    ids = _ids(20, 64)
    before = ids.copy()
    found = _masked(ids, range(20))
    # the input is left alone
    assert (ids == before).all()
    assert (found.targets == before.ravel()[found.positions]).all()
    restored = found.ids.ravel().copy()
    restored[found.positions] = found.targets
    assert (restored == before.ravel()).all()


def test_special_tokens_are_never_chosen_and_never_drawn() -> None:
    ids = _ids(200, 32)
    ids[:, ::2] = 2
    # a row of special tokens alone has no masks
    ids[0] = 3
    ids[1, 1::2] = 3
    # one ordinary token
    ids[1, 5] = 9
    found = _masked(ids, range(200), fraction=0.4, mask_share=0.0, random_share=1.0)
    assert not SPECIAL[found.targets].any()
    assert not SPECIAL[found.ids.ravel()[found.positions]].any()
    counts = np.bincount(found.positions // 32, minlength=200)
    assert counts.tolist() == [0, 1] + [13] * 198
    assert found.positions[0] == 32 + 5


def test_shares_of_what_becomes_of_them() -> None:
    """80/10/10 of 30,000 choices, within four standard deviations."""
    ids = _ids(1000, 200)
    found = _masked(ids, range(1000))
    now = found.ids.ravel()[found.positions]
    count = len(now)
    assert count == 30_000
    masked, kept = (now == MASK).mean(), (now == found.targets).mean()
    assert abs(masked - 0.8) < 4 * np.sqrt(0.8 * 0.2 / count)
    assert abs(kept - 0.1 - 0.1 / 995) < 4 * np.sqrt(0.1 * 0.9 / count)
    drawn = now[(now != MASK) & (now != found.targets)]
    assert abs(len(drawn) / count - 0.1) < 4 * np.sqrt(0.1 * 0.9 / count)
    # drawn evenly from the vocabulary
    halves = np.bincount((drawn - 5) * 10 // 995, minlength=10)
    # chi-square, 9 degrees, p = 0.001
    assert ((halves - len(drawn) / 10) ** 2 / (len(drawn) / 10)).sum() < 27.9


@pytest.mark.parametrize(("share", "drawn"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_shares_at_their_ends(share: float, drawn: float) -> None:
    found = _masked(_ids(20, 50), range(20), mask_share=share, random_share=drawn)
    now = found.ids.ravel()[found.positions]
    if share:
        assert (now == MASK).all()
    elif drawn:
        assert (now != MASK).all() and (now != found.targets).mean() > 0.9
    else:
        assert (now == found.targets).all()


def test_every_position_is_chosen_as_often() -> None:
    """Chi-square over 40 positions; 4,000 rows choose 6 each. The bound is its 0.999 quantile at 39
    degrees.
    """
    found = _masked(_ids(4000, 40), range(4000))
    counts = np.bincount(found.positions % 40, minlength=40)
    expected = 4000 * 6 / 40
    assert ((counts - expected) ** 2 / (expected * (1 - 6 / 40))).sum() * 39 / 40 < 72.1
