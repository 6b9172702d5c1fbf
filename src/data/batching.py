"""How tokenised rows become batches. A batch is a pure function of (seed, epoch, which rows).

A rank that has no row in a global batch is given a row without targets: it then works as the others do, and waits for
them where they wait for it, while nothing that it computes counts.

Shape legend: B rows of a batch, L tokens of a packed row, T real tokens, K masked positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from src.terms.bounds import Bound, Count, Fraction, Whole, checked
from src.terms.fault import Fault

if TYPE_CHECKING:
    import numpy as np

    from src.data.masking import Masked as MaskedRows
    from src.data.plan import Plan
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
        batch_size: rows of a batch (of each rank, where there are several); `eval_batch_size` of held-out ones.
        warmup_batches: the first so many batches are smaller, a quarter and then half of `batch_size`.
        mask_fraction: of a row's tokens, to be predicted.
        mask_share, random_share: of these, what is replaced by the mask token and by a random one; the rest stays.
    """

    kind: ClassVar[str] = "masked_lm"

    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: Count = 32
    eval_batch_size: Count = 64
    warmup_batches: Whole = 0
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

    def plan(self, store: "TokenStore", *, seed: int, training: bool, rank: int = 0, world: int = 1) -> "Plan":
        from src.data.plan import Plan

        size = self.batch_size if training else self.eval_batch_size
        return Plan(
            self.rows(store),
            size,
            seed=seed,
            training=training,
            rank=rank,
            world=world,
            warmup_batches=self.warmup_batches,
        )

    def batch(
        self,
        store: "TokenStore",
        rows: "np.ndarray",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "MaskedBatch":
        return self.batches(store, [rows], epoch=epoch, seed=seed, tokenizer=tokenizer, training=training)[0]

    def batches(
        self,
        store: "TokenStore",
        many: "Sequence[np.ndarray]",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "list[MaskedBatch]":
        """The batches of several sets of rows, each as it would be by itself; much cheaper where they are small."""
        import numpy as np

        from src.data.packing import Packed, sequence_starts

        length = self.row_tokens
        idle = [not len(rows) for rows in many]
        many = [np.zeros(1, dtype=np.int64) if each else rows for each, rows in zip(idle, many, strict=True)]
        whole = store.tokens // length  # rows that are full; a short one ends the corpus
        table = store.ids[: whole * length].reshape(whole, length)
        full = np.concatenate(many)
        last = full[full >= whole]
        full = full[full < whole]
        ids, masked, targets = self._mask(table[full], full, epoch, seed, tokenizer, training)
        ids = ids.ravel()
        starts = sequence_starts(store.offsets, full * length, length)
        positions = np.arange(len(ids)) - starts[:-1].repeat(np.diff(starts))
        ends = np.cumsum([len(rows) - np.count_nonzero(rows >= whole) for rows in many]) * length
        spans = zip([0, *ends.tolist()], ends.tolist(), strict=False)
        masks, borders = masked.searchsorted([0, *ends]).tolist(), starts.searchsorted([0, *ends]).tolist()
        made = []
        for number, (begin, end) in enumerate(spans):
            chosen, pieces = slice(*masks[number : number + 2]), slice(borders[number], borders[number + 1] + 1)
            part = Packed(
                ids[begin:end], positions[begin:end], starts[pieces] - begin, masked[chosen] - begin, targets[chosen]
            )
            row = length
            if len(last) and many[number].max() >= whole:
                rest = self._mask(store.ids[None, table.size :], last, epoch, seed, tokenizer, training)
                part = part.followed(rest, sequence_starts(store.offsets, last * length, rest.ids.size))
                row = 0
            if idle[number]:
                part = part._replace(masked=part.masked[:0], targets=part.targets[:0])
            made.append(part.batch(row))
        return made

    def _mask(
        self, ids: "np.ndarray", rows: "np.ndarray", epoch: int, seed: int, tokenizer: "TextTokenizer", training: bool
    ) -> "MaskedRows":
        import numpy as np

        from src.data.masking import mask
        from src.data.packing import kinds

        assert tokenizer.mask_id is not None
        ordinary, special = kinds(tokenizer.vocab_size, tokenizer.special_ids)
        return mask(
            ids.astype(np.int64),
            rows,
            seed=seed if training else EVALUATION_SEED,
            epoch=epoch if training else 0,
            fraction=self.mask_fraction if training else EVALUATION_FRACTION,
            mask_share=self.mask_share if training else 0.8,
            random_share=self.random_share if training else 0.1,
            mask_id=tokenizer.mask_id,
            ordinary=ordinary,
            special=special,
        )


@checked
@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with a label or a value each, cut to `max_tokens`.

    Args:
        max_tokens: longest text kept whole, special tokens included.
        truncation: what a longer one keeps: its `head`, its `tail`, or `head_tail` (a quarter of the beginning and
            three quarters of the end; Sun et al., 2019, section 5.3.1, found verdicts there).
        batch_size: most texts of a batch (of each rank, where there are several).
        batch_tokens: most tokens of a batch; texts are then dealt so that every batch of every epoch keeps to it. Null:
            only `batch_size` counts, and texts meet by chance alone.
        group_by_length: let texts of similar lengths meet. Less work where lengths differ much, but batches are no
            longer drawn by chance.
        eval_batch_size, eval_batch_tokens: the same of held-out texts, always grouped by length: no metric changes.
        warmup_batches: the first so many batches are smaller, a quarter and then half of the full one.
    """

    kind: ClassVar[str] = "labelled"

    max_tokens: Annotated[int, Bound(least=4)] = 256
    truncation: Literal["head", "tail", "head_tail"] = "head"
    batch_size: Count = 32
    batch_tokens: Count | None = None
    group_by_length: bool = False
    eval_batch_size: Count = 256
    eval_batch_tokens: Count = 8192
    warmup_batches: Whole = 0

    def __post_init__(self) -> None:
        if self.batch_tokens is not None and self.batch_tokens < self.max_tokens:
            raise Fault(
                f"batch_tokens={self.batch_tokens} has no room for a text of max_tokens={self.max_tokens} "
                "(data.batching.batch_tokens, data.batching.max_tokens)"
            )

    @property
    def cut_tokens(self) -> int:
        return self.max_tokens

    def plan(self, store: "TokenStore", *, seed: int, training: bool, rank: int = 0, world: int = 1) -> "Plan":
        import numpy as np

        from src.data.plan import Plan

        return Plan(
            len(store),
            self.batch_size if training else self.eval_batch_size,
            seed=seed,
            training=training,
            rank=rank,
            world=world,
            lengths=np.diff(store.offsets),
            batch_tokens=self.batch_tokens if training else self.eval_batch_tokens,
            group_by_length=self.group_by_length,
            warmup_batches=self.warmup_batches,
        )

    def batch(
        self,
        store: "TokenStore",
        rows: "np.ndarray",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
    ) -> "LabelledBatch":
        import numpy as np
        import torch

        from src.terms.batch import LabelledBatch, lay_out

        count = len(rows)
        rows = rows if count else np.zeros(1, dtype=np.int64)
        # Longest first: what is computed over runs of like lengths then needs little padding.
        rows = rows[np.argsort(store.offsets[rows] - store.offsets[rows + 1], kind="stable")]
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
        rows = rows[:count]
        targets = torch.from_numpy(store.targets[rows])
        return LabelledBatch(tokens, targets, torch.from_numpy(store.identities[rows]))


Batching = Masked | Labelled
