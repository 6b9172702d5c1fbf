"""A corpus that lives on the GPU: rows are gathered and masked there, and nothing but row numbers
travels to it.

The batches are those of `src/data/batches/batching.py`, bit for bit. No step waits for the device,
because the host knows every shape beforehand.

Shape legend: N rows of the corpus, R rows of a batch, L tokens of a row, T tokens, K masked
positions, V vocabulary.
"""

from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import torch
from torch import Tensor

from src.core.batch import MaskedBatch, Tokens
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Masked
from src.data.batches.mask_schedule import MaskSchedule
from src.data.batches.mask_settings import build_masking_params
from src.data.batches.masking import MaskingParams, mask_tokens_torch
from src.data.tokenization.sequence_starts import find_sequence_starts

if TYPE_CHECKING:
    from src.data.tokenization.token_store import TokenStore
    from src.data.tokenization.tokenizer import TextTokenizer

# of the device's free memory that a corpus may take without being asked for
MAX_MEMORY_FRACTION = 0.1
# tokens moved and counted at a time
_CHUNK_TOKENS = 1 << 24


def should_keep_on_device(
    batching: object, choice: bool | None, store: "TokenStore", device: torch.device
) -> TypeGuard[Masked]:
    """True if a split is to live on the device: as `data.on_device` says, or, where that is null,
    if the split is small beside a GPU's free memory. Only packed rows can.
    """
    if not isinstance(batching, Masked) or choice is False:
        return False
    if choice is True:
        return True
    return (
        device.type == "cuda"
        and store.ids.nbytes <= MAX_MEMORY_FRACTION * torch.cuda.mem_get_info(device)[0]
    )


class DeviceBatchDataset:
    """A map from keys to batches on the device; takes the place of `BatchDataset` for packed rows.

    Args:
        schedule: how the share of masked tokens changes; None if it does not.
    """

    def __init__(
        self,
        store: "TokenStore",
        batching: Masked,
        tokenizer: "TextTokenizer",
        *,
        seed: int,
        training: bool,
        device: torch.device,
        schedule: MaskSchedule | None = None,
    ) -> None:
        self.device = device
        self._schedule = schedule
        self.row_tokens = batching.row_tokens
        self._offsets, self._num_tokens = store.offsets, store.num_tokens
        self._training = training
        masking = build_masking_params(batching, tokenizer, seed=seed, training=training)
        move = lambda array: torch.from_numpy(array).to(device)
        unit_draws = masking.unit_draws
        self._masking = MaskingParams(
            *masking[:5],
            ordinary=move(masking.ordinary),
            special=move(masking.special),
            joints=None if masking.joints is None else move(masking.joints),
            unit_draws=None if unit_draws is None else move(unit_draws.astype(np.int64)),
            has_spans=masking.has_spans,
        )
        # Signed types of the same width, because torch gathers few unsigned ones; the bits are read
        # as unsigned afterwards.
        dtype = {2: torch.int16, 4: torch.int32}[store.ids.dtype.itemsize]
        self._id_bits = 8 * store.ids.dtype.itemsize
        self._ids = torch.empty(store.num_tokens, dtype=dtype, device=device)
        for begin in range(0, store.num_tokens, _CHUNK_TOKENS):
            # a copy: torch wants memory that may be written
            chunk = np.array(store.ids[begin : begin + _CHUNK_TOKENS])
            self._ids[begin : begin + len(chunk)] = torch.from_numpy(
                chunk.view(f"int{self._id_bits}")
            ).to(device)
        self._ordinary_per_row = self._count_ordinary_per_row()

    def _count_ordinary_per_row(self) -> np.ndarray:
        """Tokens of each row [N] that may be masked."""
        step = max(1, _CHUNK_TOKENS // self.row_tokens) * self.row_tokens
        counts = []
        for begin in range(0, self._num_tokens, step):
            ordinary = ~self._masking.special[self._widen_ids(self._ids[begin : begin + step])]
            full = len(ordinary) // self.row_tokens * self.row_tokens
            counts.append(ordinary[:full].view(-1, self.row_tokens).sum(1))
            if full < len(ordinary):
                counts.append(ordinary[full:].sum()[None])
        return torch.cat(counts).cpu().numpy()

    def _widen_ids(self, ids: Tensor) -> Tensor:
        return ids.long() & ((1 << self._id_bits) - 1)

    def _send_to_device(self, array: np.ndarray) -> Tensor:
        """A copy on the device, for which the host does not wait."""
        tensor = torch.from_numpy(array)
        if self.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def __getitem__(self, key: BatchKey) -> MaskedBatch:
        epoch, _, rows = key
        epoch = epoch if self._training else 0
        masking = self._masking
        if self._schedule is not None:
            masking = masking._replace(fraction=self._schedule.fraction_at(epoch, key.number))
        # row 0 without targets takes the place of no rows, as in `src/data/batches/batching.py`
        is_empty = not len(rows)
        rows = np.zeros(1, dtype=np.int64) if is_empty else rows.astype(np.int64)
        begins = rows * self.row_tokens
        # the row that ends the corpus, if it is among them
        is_short = begins + self.row_tokens > self._num_tokens
        lengths = (self.row_tokens, self._num_tokens % self.row_tokens)
        parts, starts, num_tokens = [], [], 0
        for chosen, length in zip((~is_short, is_short), lengths, strict=True):
            if not chosen.any():
                continue
            row_numbers = self._send_to_device(rows[chosen])
            columns = torch.arange(length, device=self.device)
            ids = self._widen_ids(self._ids[row_numbers[:, None] * self.row_tokens + columns])
            # fewer than usual where a row has too few ordinary tokens
            per_row = masking.num_masked_per_row(length)
            num_masked = int(np.minimum(self._ordinary_per_row[rows[chosen]], per_row).sum())
            row_starts = find_sequence_starts(self._offsets, begins[chosen], length)
            on_device = None if masking.joints is None else self._send_to_device(row_starts)
            masked = mask_tokens_torch(ids, row_numbers, epoch, num_masked, masking, on_device)
            parts.append((masked.ids.flatten(), masked.positions + num_tokens, masked.targets))
            starts.append(row_starts[:-1] + num_tokens)
            num_tokens += ids.numel()
        ids, positions, targets = (torch.cat(column) for column in zip(*parts, strict=True))
        row_tokens = 0 if is_short.any() else self.row_tokens
        tokens = self._build_tokens(ids, np.concatenate([*starts, [num_tokens]]), row_tokens)
        if is_empty:
            positions, targets = positions[:0], targets[:0]
        return MaskedBatch(tokens, positions, targets)

    def _build_tokens(self, ids: Tensor, starts: np.ndarray, row_tokens: int) -> Tokens:
        """As `src.core.batch.build_tokens`, with the starts of sequences on the host."""
        cu_seqlens = self._send_to_device(starts.astype(np.int32))
        own_starts = torch.repeat_interleave(
            cu_seqlens[:-1].long(), cu_seqlens.diff().long(), output_size=len(ids)
        )  # [T]
        return Tokens(
            ids,
            positions=torch.arange(len(ids), device=self.device) - own_starts,
            type_ids=torch.zeros_like(ids),
            cu_seqlens=cu_seqlens,
            max_seqlen=int(np.diff(starts).max()),
            row_tokens=row_tokens,
        )
