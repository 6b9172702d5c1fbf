"""Masking as a pure function of (seed, epoch, row), for NumPy and for torch.

Nothing here has a state: the same row of the same epoch is masked alike in any process, on any
number of workers, after any interruption. The torch functions compute the same bits as those of
NumPy; they serve a corpus that lives on the GPU (`src/data/batches/device_dataset.py`).

Shape legend: R rows, L tokens of a row, K masked positions of all rows, V vocabulary.
"""

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from src.data.batches.word_masking import (
    choose_words,
    find_limits,
    make_token_steps,
    order_as_unsigned,
    order_words_torch,
)
from src.data.splitmix import (
    GOLDEN_GAMMA,
    INT64_GAMMA,
    MAX_UINT64,
    derive_key,
    finalize_splitmix64,
    finalize_splitmix64_torch,
    shift_right_logical,
    to_signed_int64,
)

ArrayT = TypeVar("ArrayT")

_1, _40 = np.uint64(1), np.uint64(40)
_24_BITS = np.uint64(2**24 - 1)


class MaskingParams(NamedTuple, Generic[ArrayT]):
    """The settings of masking for one split; the arrays are NumPy's or torch's."""

    seed: int
    # of a row's tokens; special ones are never chosen, so a row of few others has fewer masks
    fraction: float
    # of the chosen tokens: what becomes the mask token, and what a random one; the rest stays
    mask_share: float
    random_share: float
    mask_id: int
    # ids that a random token is drawn from
    ordinary: ArrayT
    special: ArrayT  # [V] true for ids that are never chosen
    # where words begin, as of `find_word_joints`, and what of them is chosen as a whole; None:
    # tokens are chosen one by one
    joints: ArrayT | None = None
    # [N] as of `build_unit_draws`
    unit_draws: ArrayT | None = None
    # a unit is a span of words, which has one fate (Joshi et al., 2020, section 3.1)
    has_spans: bool = False

    def num_masked_per_row(self, length: int) -> int:
        """Masked positions of a row of `length` tokens, where it has enough ordinary ones."""
        return max(1, round(self.fraction * length))


class MaskedRows(NamedTuple, Generic[ArrayT]):
    """Rows with some tokens replaced, and the tokens that stood there."""

    ids: ArrayT  # [R, L] with replacements
    positions: ArrayT  # [K] into the flattened rows, ascending
    targets: ArrayT  # [K]


def mask_tokens(
    ids: np.ndarray,
    rows: np.ndarray,
    epoch: int,
    masking: MaskingParams[np.ndarray],
    starts: np.ndarray | None = None,
) -> MaskedRows[np.ndarray]:
    """Choose and replace tokens, a fixed number in each row (Devlin et al., 2019, section 3.1).

    Args:
        ids: [R, L] int64.
        rows: [R], the numbers that make each row's choice its own.
        starts: where sequences begin in the flattened rows, and the end of the last; needed where
            words are masked.
    """
    length = ids.shape[1]
    per_row = masking.num_masked_per_row(length)
    keys = finalize_splitmix64(
        derive_key(masking.seed, epoch) + rows.astype(np.uint64) * GOLDEN_GAMMA
    )  # [R]
    if masking.joints is None or masking.unit_draws is None:
        # No two words [R, L] of a row are alike, but special tokens', which are above any limit.
        words = finalize_splitmix64(keys[:, None] + make_token_steps(length))
        # these are few, so their places are cheaper than a mask
        words.ravel()[np.flatnonzero(masking.special.take(ids.ravel()))] = MAX_UINT64
        positions = np.flatnonzero(words <= find_limits(words, per_row))  # [K]
        number_tokens = lambda some: words.take(some) + GOLDEN_GAMMA
    else:
        assert starts is not None
        positions, places = choose_words(
            ids,
            keys,
            starts,
            per_row,
            special=masking.special,
            joints=masking.joints,
            unit_draws=masking.unit_draws,
        )
        # a token is as many steps ahead of its row's key as above
        begins = np.arange(len(ids), dtype=np.uint64) * np.uint64(length)
        bases = keys - (begins - _1) * GOLDEN_GAMMA
        number_tokens = lambda some: (
            bases.take(some // length) + some.view(np.uint64) * GOLDEN_GAMMA
        )
    targets = ids.take(positions)
    if masking.unit_draws is not None and masking.has_spans:
        # and a span behind it
        spans = masking.unit_draws.take(places.take(positions))
        fates = keys.take(positions // length) - spans * GOLDEN_GAMMA
    else:
        fates = number_tokens(positions)
    # uniform in [0, 1)
    share = (finalize_splitmix64(fates) >> _40).astype(np.float64) / 2**24
    is_mask = share < masking.mask_share
    replaced = np.where(is_mask, masking.mask_id, targets)
    # these are few
    random = np.flatnonzero(~is_mask & (share < masking.mask_share + masking.random_share))
    numbers = finalize_splitmix64(number_tokens(positions.take(random))) & _24_BITS
    replaced[random] = masking.ordinary.take(numbers.view(np.int64) % len(masking.ordinary))
    masked_ids = ids.copy()
    masked_ids.ravel()[positions] = replaced
    return MaskedRows(masked_ids, positions, targets)


def mask_tokens_torch(
    ids: Tensor,
    rows: Tensor,
    epoch: int,
    num_masked: int,
    masking: MaskingParams[Tensor],
    starts: Tensor | None = None,
) -> MaskedRows[Tensor]:
    """Compute what `mask_tokens` does, on the device of the ids and without waiting for it.

    Args:
        num_masked: K, which the host knows from the number of ordinary tokens in each row.
        starts: as of `mask_tokens`, int64.
    """
    size, length = ids.shape
    per_row = masking.num_masked_per_row(length)
    key = to_signed_int64(int(derive_key(masking.seed, epoch)[0]))
    keys = finalize_splitmix64_torch(rows * INT64_GAMMA + key)  # [R]
    if masking.joints is None or masking.unit_draws is None:
        steps = torch.arange(1, length + 1, device=ids.device) * INT64_GAMMA
        words = finalize_splitmix64_torch(keys[:, None] + steps)  # [R, L]
        # -1 has all bits set: the largest word, where words are read as unsigned
        words = words.masked_fill(masking.special[ids], -1)
        ordered = order_as_unsigned(words)
    else:
        assert starts is not None
        words, ordered = order_words_torch(
            ids,
            keys,
            starts,
            per_row,
            special=masking.special,
            joints=masking.joints,
            unit_draws=masking.unit_draws,
        )
    least = ordered.topk(per_row, dim=1, largest=False, sorted=False).indices  # [R, K / R]
    columns = least.sort(dim=1).values
    positions = (columns + torch.arange(size, device=ids.device)[:, None] * length).flatten()
    words = words.flatten()
    # some row has fewer ordinary tokens than should be masked: special ones were chosen, and leave
    if num_masked < len(positions):
        positions = positions[(words[positions] == -1).byte().argsort(stable=True)[:num_masked]]
    flat_ids = ids.flatten()
    targets = flat_ids[positions]
    words = words[positions]
    if masking.joints is None:
        fate = span_fate = finalize_splitmix64_torch(words + INT64_GAMMA)
    else:
        own_keys = keys[positions // length]
        steps = (positions % length + 1) * INT64_GAMMA
        fate = span_fate = finalize_splitmix64_torch(own_keys + steps)
    drawn = masking.ordinary[(fate & 0xFFFFFF) % len(masking.ordinary)]
    if masking.unit_draws is not None and masking.has_spans:
        span_fate = finalize_splitmix64_torch(own_keys - masking.unit_draws[words] * INT64_GAMMA)
    share = shift_right_logical(span_fate, 40).double() / 2**24
    replaced = torch.where(share < masking.mask_share + masking.random_share, drawn, targets)
    replaced = torch.where(share < masking.mask_share, masking.mask_id, replaced)
    masked_ids = flat_ids.index_copy(0, positions, replaced).view(size, length)
    return MaskedRows(masked_ids, positions, targets)
