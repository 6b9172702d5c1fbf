"""A corpus that lives on the GPU: rows are gathered and masked there, and nothing but row numbers travels to it.

The batches are those of `src/data/batching.py`, bit for bit: the same function of (seed, epoch, row), in torch. No step
waits for the device, because every shape is known to the host.

Shape legend: N rows of the corpus, R rows of a batch, L tokens of a row, T tokens, K masked positions, V vocabulary.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor

from src.data.batching import EVALUATION_FRACTION, EVALUATION_SEED, Masked
from src.data.masking import _key
from src.data.packing import sequence_starts
from src.terms.batch import MaskedBatch, Tokens

if TYPE_CHECKING:
    from src.data.store import TokenStore
    from src.data.tokenizer import TextTokenizer

MEMORY_SHARE = 0.1  # of the device's free memory that a corpus may take without being asked for
_CHUNK = 1 << 24  # tokens moved and counted at a time


def wanted(batching: object, choice: bool | None, store: "TokenStore", device: torch.device) -> TypeGuard[Masked]:
    """Whether a split should live on the device: as chosen, and by itself where it is small beside a GPU's memory."""
    if not isinstance(batching, Masked) or choice is False:
        return False
    if choice is True:
        return True
    return device.type == "cuda" and store.ids.nbytes <= MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]


def _signed(word: int) -> int:
    """The int64 with the bits of a 64-bit word: torch has no unsigned arithmetic, but products wrap alike."""
    return word - 2**64 if word >= 2**63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right, filled with zeros."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _mix(words: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al., 2014), as in `src/data/masking.py`."""
    words = (words ^ _shifted(words, 30)) * _signed(0xBF58476D1CE4E5B9)
    words = (words ^ _shifted(words, 27)) * _signed(0x94D049BB133111EB)
    return words ^ _shifted(words, 31)


class Choice(NamedTuple):
    """What is masked, and how; constants of a split."""

    fraction: float
    mask_share: float
    random_share: float
    mask_id: int
    ordinary: Tensor  # ids that a random token is drawn from
    special: Tensor  # [V] true for ids that are never chosen

    def per_row(self, length: int) -> int:
        return max(1, round(self.fraction * length))


def mask(ids: Tensor, rows: Tensor, key: int, count: int, choice: Choice) -> tuple[Tensor, Tensor, Tensor]:
    """As `src.data.masking.mask`: replaced ids [R, L], positions [K] into the flattened rows, and targets [K].

    Args:
        ids: [R, L].
        rows: [R], what makes each row's choice its own.
        key: of the seed and the epoch.
        count: K, which the host knows from the number of ordinary tokens in each row.
    """
    size, length = ids.shape
    per_row = choice.per_row(length)
    keys = _mix(rows * _GOLDEN + key)  # [R]
    places = torch.arange(1, length + 1, device=ids.device)
    words = _mix(keys[:, None] + places * _GOLDEN)  # [R, L]
    words = words.masked_fill(choice.special[ids], -1)  # the largest word, where words are unsigned
    turned = words ^ -(2**63)  # ordered as unsigned words are
    chosen = turned.topk(per_row, dim=1, largest=False, sorted=False).indices.sort(dim=1).values
    flat = (chosen + torch.arange(size, device=ids.device)[:, None] * length).flatten()
    words = words.flatten()
    if count < len(flat):  # some row has fewer ordinary tokens than should be masked
        flat = flat[(words[flat] == -1).byte().argsort(stable=True)[:count]]
    out = ids.flatten()
    targets, fate = out[flat], _mix(words[flat] + _GOLDEN)
    share = _shifted(fate, 40).double() / 2**24  # uniform in [0, 1)
    drawn = choice.ordinary[(fate & 0xFFFFFF) % len(choice.ordinary)]
    replaced = torch.where(share < choice.mask_share + choice.random_share, drawn, targets)
    replaced = torch.where(share < choice.mask_share, choice.mask_id, replaced)
    return out.index_copy(0, flat, replaced).view(size, length), flat, targets


class DeviceSource:
    """A map from (epoch, rows) to a batch on the device: stands where `BatchSource` does, for packed rows."""

    def __init__(
        self,
        store: "TokenStore",
        batching: Masked,
        tokenizer: "TextTokenizer",
        *,
        seed: int,
        training: bool,
        device: torch.device,
    ) -> None:
        assert tokenizer.mask_id is not None
        self.device = device
        self.row_tokens = batching.row_tokens
        self._offsets, self._tokens = store.offsets, store.tokens
        self._seed = seed if training else EVALUATION_SEED
        self._training = training
        special = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
        special[list(tokenizer.special_ids)] = True
        self._choice = Choice(
            fraction=batching.mask_fraction if training else EVALUATION_FRACTION,
            mask_share=batching.mask_share if training else 0.8,
            random_share=batching.random_share if training else 0.1,
            mask_id=tokenizer.mask_id,
            ordinary=torch.nonzero(~special)[:, 0].to(device),
            special=special.to(device),
        )
        # Signed types of the same width: torch gathers few unsigned ones. The bits are read as unsigned afterwards.
        kind = {2: torch.int16, 4: torch.int32}[store.ids.dtype.itemsize]
        self._bits = 8 * store.ids.dtype.itemsize
        self._ids = torch.empty(store.tokens, dtype=kind, device=device)
        for begin in range(0, store.tokens, _CHUNK):
            part = np.array(store.ids[begin : begin + _CHUNK])  # a copy: torch wants memory that may be written
            self._ids[begin : begin + len(part)] = torch.from_numpy(part.view(f"int{self._bits}")).to(device)
        self._maskable = self._count_maskable()

    def _count_maskable(self) -> np.ndarray:
        """[N]: positions that are masked in each row: fewer than usual where a row has too few ordinary tokens."""
        step = max(1, _CHUNK // self.row_tokens) * self.row_tokens
        counts = []
        for begin in range(0, self._tokens, step):
            ordinary = ~self._choice.special[self._widened(self._ids[begin : begin + step])]
            full = len(ordinary) // self.row_tokens * self.row_tokens
            counts.append(ordinary[:full].view(-1, self.row_tokens).sum(1))
            if full < len(ordinary):
                counts.append(ordinary[full:].sum()[None])
        found = torch.cat(counts).cpu().numpy()
        most = np.full(len(found), self._choice.per_row(self.row_tokens))
        if short := self._tokens % self.row_tokens:
            most[-1] = self._choice.per_row(short)
        return np.minimum(found, most)

    def _widened(self, ids: Tensor) -> Tensor:
        return ids.long() & ((1 << self._bits) - 1)

    def _sent(self, array: np.ndarray) -> Tensor:
        """On its way to the device; the host does not wait."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def __getitem__(self, key: tuple[int, np.ndarray]) -> MaskedBatch:
        epoch, rows = key
        idle = not len(rows)  # as in `src/data/batching.py`
        rows = np.zeros(1, dtype=np.int64) if idle else rows.astype(np.int64)
        word = _signed(int(_key(self._seed, epoch if self._training else 0)[0]))
        begins = rows * self.row_tokens
        short = begins + self.row_tokens > self._tokens  # the row that ends the corpus, if it is among them
        parts, starts, seen = [], [], 0
        for which, length in ((~short, self.row_tokens), (short, self._tokens % self.row_tokens)):
            if not which.any():
                continue
            where = self._sent(rows[which])
            places = where[:, None] * self.row_tokens + torch.arange(length, device=self.device)
            count = int(self._maskable[rows[which]].sum())
            ids, flat, targets = mask(self._widened(self._ids[places]), where, word, count, self._choice)
            parts.append((ids.flatten(), flat + seen, targets))
            starts.append(sequence_starts(self._offsets, begins[which], length)[:-1] + seen)
            seen += ids.numel()
        ids, positions, targets = (torch.cat(each) for each in zip(*parts, strict=True))
        row = 0 if short.any() else self.row_tokens
        tokens = self._laid_out(ids, np.concatenate([*starts, [seen]]), row)
        return MaskedBatch(tokens, positions[:0], targets[:0]) if idle else MaskedBatch(tokens, positions, targets)

    def _laid_out(self, ids: Tensor, starts: np.ndarray, row: int) -> Tokens:
        """As `src.terms.batch.lay_out`, with the starts of sequences on the host."""
        lengths = np.diff(starts)
        sent = self._sent(starts.astype(np.int32))
        first = torch.repeat_interleave(sent[:-1].long(), sent.diff().long(), output_size=len(ids))
        positions = torch.arange(len(ids), device=self.device) - first
        return Tokens(ids, positions, torch.zeros_like(ids), sent, int(lengths.max()), row)
