"""How tokenised rows become batches. A batch is a pure function of (seed, epoch, which rows).

Shape legend: B rows of a batch, L tokens of a packed row, T real tokens, K masked positions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from src.data.masking import Masked as MaskedRows
from src.data.masking import mask, order
from src.terms.bounds import Bound, Count, Fraction, checked
from src.terms.fault import Fault

if TYPE_CHECKING:
    from src.data.store import TokenStore
    from src.data.tokenizer import TextTokenizer
    from src.terms.batch import LabelledBatch, MaskedBatch

EVALUATION_SEED = 15_015  # its own: held-out masks never move with the run's seed
EVALUATION_FRACTION = 0.15  # fixed, so that held-out losses compare between runs whatever they trained with


@checked
@dataclass(frozen=True, kw_only=True)
class Masked:
    """Documents laid end to end and cut into full rows; tokens masked anew in every epoch.

    No token is lost: a document goes on in the next row where it does not fit, the last row is short, and neighbours
    in a row never see each other (attention stops at borders). Held-out rows are masked by a seed of their own at 0.15.

    Args:
        row_tokens: length of a packed row.
        batch_size: rows of a batch; `eval_batch_size` of held-out ones.
        mask_fraction: of a row's tokens, to be predicted.
        mask_share, random_share: of these, what is replaced by the mask token and by a random one; the rest stays.
    """

    kind: ClassVar[str] = "masked_lm"

    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: Count = 32
    eval_batch_size: Count = 64
    mask_fraction: Annotated[float, Bound(above=0, below=1)] = 0.15
    mask_share: Fraction = 0.8
    random_share: Fraction = 0.1

    def __post_init__(self) -> None:
        if self.mask_share + self.random_share > 1:
            raise Fault(
                f"mask_share={self.mask_share} and random_share={self.random_share} add up to more than 1 "
                "(data.batching.mask_share, data.batching.random_share)"
            )

    @property
    def max_tokens(self) -> int:
        return self.row_tokens

    @property
    def cut_tokens(self) -> None:
        """Documents are never cut when they are tokenised."""
        return None

    def rows(self, store: "TokenStore") -> int:
        return math.ceil(store.tokens / self.row_tokens)

    def batch(
        self,
        store: "TokenStore",
        rows: np.ndarray,
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "MaskedBatch":
        import torch

        from src.terms.batch import MaskedBatch, lay_out

        begins = rows.astype(np.int64) * self.row_tokens
        lengths = np.minimum(self.row_tokens, store.tokens - begins)
        flat, positions, targets, sequences, seen = [], [], [], [], 0
        for length in sorted(set(lengths.tolist()), reverse=True):  # full rows, then the short one that ends the corpus
            which = lengths == length
            ids = np.stack([store.ids[begin : begin + length] for begin in begins[which].tolist()]).astype(np.int64)
            masked = self._mask(ids, rows[which], epoch, seed, tokenizer, training)
            flat.append(masked.ids.ravel())
            positions.append(masked.positions + seen)
            targets.append(masked.targets)
            sequences += _sequence_lengths(store.offsets, begins[which], length)
            seen += ids.size
        row = self.row_tokens if lengths.min() == self.row_tokens else 0
        tokens = lay_out(torch.from_numpy(np.concatenate(flat)), torch.tensor(sequences), row=row)
        return MaskedBatch(
            tokens, torch.from_numpy(np.concatenate(positions)), torch.from_numpy(np.concatenate(targets))
        )

    def _mask(
        self, ids: np.ndarray, rows: np.ndarray, epoch: int, seed: int, tokenizer: "TextTokenizer", training: bool
    ) -> MaskedRows:
        assert tokenizer.mask_id is not None
        special = np.zeros(tokenizer.vocab_size, dtype=bool)
        special[list(tokenizer.special_ids)] = True
        return mask(
            ids,
            rows,
            seed=seed if training else EVALUATION_SEED,
            epoch=epoch if training else 0,
            fraction=self.mask_fraction if training else EVALUATION_FRACTION,
            mask_share=self.mask_share if training else 0.8,
            random_share=self.random_share if training else 0.1,
            mask_id=tokenizer.mask_id,
            ordinary=np.flatnonzero(~special),
            special=special,
        )


def _sequence_lengths(offsets: np.ndarray, begins: np.ndarray, length: int) -> list[int]:
    """Lengths of the pieces of documents in packed rows, in order; each row's add up to `length`.

    Documents at offsets [0 5 9 20] and rows of 8 tokens: [5 3] [1 7] [4].
    """
    first = np.searchsorted(offsets, begins, side="right")
    last = np.searchsorted(offsets, begins + length, side="left")
    lengths: list[int] = []
    for place, begin in enumerate(begins.tolist()):
        borders = offsets[first[place] : last[place]] - begin
        lengths += [each for each in np.diff(borders, prepend=0, append=length).tolist() if each]  # no empty ones
    return lengths


@checked
@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with a label or a value each, cut to `max_tokens`.

    Args:
        max_tokens: longest text kept whole, special tokens included.
        truncation: what a longer one keeps: its `head`, its `tail`, or `head_tail` (a quarter of the beginning and
            three quarters of the end; Sun et al., 2019, section 5.3.1, found verdicts there).
        batch_size: texts of a batch; `eval_batch_size` of held-out ones.
    """

    kind: ClassVar[str] = "labelled"

    max_tokens: Annotated[int, Bound(least=4)] = 256
    truncation: Literal["head", "tail", "head_tail"] = "head"
    batch_size: Count = 32
    eval_batch_size: Count = 64

    @property
    def cut_tokens(self) -> int:
        return self.max_tokens

    def rows(self, store: "TokenStore") -> int:
        return len(store)

    def batch(
        self,
        store: "TokenStore",
        rows: np.ndarray,
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "LabelledBatch":
        import torch

        from src.terms.batch import LabelledBatch, lay_out

        begins, ends = store.offsets[rows], store.offsets[rows + 1]
        lengths = ends - begins
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        ids = np.concatenate([store.ids[begin:end] for begin, end in spans]).astype(np.int64)
        second = store.begins[rows]
        types = None
        if second.any():
            places = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            types = torch.from_numpy((places >= np.repeat(second, lengths)).astype(np.int64))
        tokens = lay_out(torch.from_numpy(ids), torch.from_numpy(lengths), types)
        targets = torch.from_numpy(store.targets[rows])
        return LabelledBatch(tokens, targets, torch.from_numpy(store.identities[rows]))


Batching = Masked | Labelled


class Plan:
    """Which rows make up each batch of an epoch; a sampler that yields (epoch, rows)."""

    def __init__(self, rows: int, batch_size: int, *, seed: int, training: bool) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        places = order(self.seed, self.epoch, self.rows) if self.training else np.arange(self.rows)
        for begin in range(0, self.rows, self.batch_size):
            yield self.epoch, np.sort(places[begin : begin + self.batch_size])


class BatchSource:
    """A map from (epoch, rows) to a batch: what a DataLoader calls, in this process or in a worker."""

    def __init__(
        self, store: "TokenStore", batching: Batching, tokenizer: "TextTokenizer", *, seed: int, training: bool
    ) -> None:
        self.store = store
        self.batching = batching
        self.tokenizer = tokenizer
        self.seed = seed
        self.training = training

    def __getitem__(self, key: tuple[int, np.ndarray]) -> "MaskedBatch | LabelledBatch":
        epoch, rows = key
        return self.batching.batch(
            self.store, rows, epoch=epoch, seed=self.seed, tokenizer=self.tokenizer, training=self.training
        )
