"""Batches made of tokenised rows. A batch is a pure function of (seed, epoch, row numbers).

For masked language modelling, documents are laid end to end and cut into rows of one length
(packing); a row may hold several documents, or pieces of them. Labelled texts stay apart.

A rank that has no row in a global batch is given row 0 without targets. It then takes part in the
step as the other ranks do, but nothing that it computes counts.

Shape legend: B rows of a batch, L tokens of a packed row, T tokens of a batch, K masked positions,
V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from src.core.training_length import TrainingLength
from src.core.user_errors import UserError
from src.core.validation import Bound, Fraction, NonNegativeInt, PositiveInt, validate_init
from src.data.batches.causal_batching import Causal
from src.data.batches.denoising_batching import Denoising
from src.data.batches.mask_schedule import MaskScheduleShape
from src.data.batches.mask_settings import build_masking_params, check_mask_shares, check_mask_unit
from src.data.batches.sentence_pairs import SentencePairs

# NumPy and torch are imported where batches are made: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np

    from src.core.batch import LabelledBatch, MaskedBatch, TaggedBatch
    from src.data.batches.batch_sampler import DistributedBatchSampler
    from src.data.batches.length_warmup import Cut, LengthWarmup
    from src.data.batches.mask_schedule import MaskSchedule
    from src.data.batches.packing import PackedTokens
    from src.data.tokenization.token_store import TokenStore
    from src.data.tokenization.tokenizer import TextTokenizer


@validate_init
@dataclass(frozen=True, kw_only=True)
class Masked:
    """Documents laid end to end and cut into full rows; tokens masked anew in every epoch.

    No token is lost: a document that does not fit goes on in the next row, and only the last row is
    short. Neighbours in a row never see each other, because attention stops at the borders of
    documents. Held-out rows are masked with a seed of their own, at a fraction of 0.15.

    Args:
        row_tokens: length of a packed row.
        batch_size: rows of a training batch on each rank.
        eval_batch_size: the same for held-out rows.
        warmup_batches: this many first batches are smaller, a quarter and then half of
            `batch_size`.
        mask_fraction: share of a row's tokens that is to be predicted.
        mask_fraction_end: that share in the last step; null: it stays as it is.
        mask_schedule: the way between the two, by optimizer steps.
        mask_unit: what is masked as a whole: a `token`, a `word`, or a `span` of words (Joshi et
            al., 2020). Every row keeps its number of masked tokens. Held-out rows have token masks
            whatever this says, so that their losses compare.
        span_probability: of the geometric distribution of the words of a span.
        max_span_words: words of the longest span.
        mask_share: share of these that the mask token replaces.
        random_share: share of these that a random token replaces; the rest stays as it is.
    """

    kind: ClassVar[str] = "masked_lm"

    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: PositiveInt = 32
    eval_batch_size: PositiveInt = 64
    warmup_batches: NonNegativeInt = 0
    mask_fraction: Annotated[float, Bound(above=0, below=1)] = 0.15
    mask_fraction_end: Annotated[float, Bound(above=0, below=1)] | None = None
    mask_schedule: MaskScheduleShape = "linear"
    mask_share: Fraction = 0.8
    random_share: Fraction = 0.1
    mask_unit: Literal["token", "word", "span"] = "token"
    span_probability: Annotated[float, Bound(above=0, below=1)] = 0.2
    max_span_words: Annotated[int, Bound(least=1, most=255)] = 10

    def __post_init__(self) -> None:
        check_mask_shares(self)

    @property
    def max_tokens(self) -> int:
        return self.row_tokens

    @property
    def truncation_tokens(self) -> None:
        """Documents are never cut when they are tokenised."""
        return None

    def check_tokenizer(self, tokenizer: "TextTokenizer") -> None:
        """Raise UserError if words are to be masked, and the vocabulary does not tell them."""
        check_mask_unit(self, tokenizer)

    def build_mask_schedule(self, length: TrainingLength | None) -> "MaskSchedule | None":
        """How the share of masked tokens changes over a training; None if it does not."""
        from src.data.batches.mask_schedule import MaskSchedule

        if self.mask_fraction_end is None:
            return None
        assert length is not None, "set_training_length comes before the first training batch"
        return MaskSchedule(
            self.mask_fraction, self.mask_fraction_end, self.mask_schedule, self.row_tokens, length
        )

    def count_rows(self, store: "PackedTokens") -> int:
        return math.ceil(store.num_tokens / self.row_tokens)

    def build_batch_sampler(
        self,
        store: "PackedTokens",
        *,
        seed: int,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> "DistributedBatchSampler":
        from src.data.batches.batch_sampler import build_row_sampler

        num_rows = self.count_rows(store)
        return build_row_sampler(
            self,
            num_rows,
            seed=seed,
            training=training,
            rank=rank,
            world_size=world_size,
            order=store.order_rows(self.row_tokens, seed),
        )

    def build_batch(
        self,
        store: "PackedTokens",
        rows: "np.ndarray",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
        fraction: float | None = None,
    ) -> "MaskedBatch":
        return self.build_batches(
            store,
            [rows],
            epoch=epoch,
            seed=seed,
            tokenizer=tokenizer,
            training=training,
            fraction=fraction,
        )[0]

    def build_batches(
        self,
        store: "PackedTokens",
        rows_per_batch: "Sequence[np.ndarray]",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
        fraction: float | None = None,
    ) -> "list[MaskedBatch]":
        """Several batches of one epoch, each as `build_batch` makes it alone; much cheaper where
        batches are small, because NumPy is called once for all of them.

        Args:
            fraction: share of masked tokens, where it is not `mask_fraction`.
        """
        import numpy as np

        from src.data.batches.masking import mask_tokens
        from src.data.batches.packing import PackedRows

        masking = build_masking_params(self, tokenizer, seed=seed, training=training)
        if fraction is not None:
            masking = masking._replace(fraction=fraction)
        epoch = epoch if training else 0
        length = self.row_tokens
        placeholder = np.zeros(1, dtype=np.int64)
        row_lists = [rows if len(rows) else placeholder for rows in rows_per_batch]
        rows = np.concatenate(row_lists)
        num_full = store.num_tokens // length
        full_rows = rows[rows < num_full]
        full_ids, starts = store.read_spans(full_rows * length, length)
        masked = mask_tokens(full_ids, full_rows, epoch, masking, starts)
        ids = masked.ids.ravel()
        positions = np.arange(len(ids)) - starts[:-1].repeat(np.diff(starts))

        # where each batch ends among the tokens of all, among their masks and their sequences
        full_counts = [np.count_nonzero(rows < num_full) for rows in row_lists]
        token_edges = [0, *(np.cumsum(full_counts) * length).tolist()]
        mask_edges = masked.positions.searchsorted(token_edges).tolist()
        start_edges = starts.searchsorted(token_edges).tolist()
        batches = []
        for number, rows in enumerate(row_lists):
            begin, end = token_edges[number : number + 2]
            masks = slice(*mask_edges[number : number + 2])
            packed = PackedRows(
                ids[begin:end],
                positions[begin:end],
                starts[start_edges[number] : start_edges[number + 1] + 1] - begin,
                masked.positions[masks] - begin,
                masked.targets[masks],
            )
            has_short_row = bool(rows.max() >= num_full)
            if has_short_row:
                short_row = np.array([num_full])
                rest, row_starts = store.read_spans(short_row * length, store.num_tokens % length)
                packed = packed.append_row(
                    mask_tokens(rest, short_row, epoch, masking, row_starts), row_starts
                )
            if not len(rows_per_batch[number]):
                packed = packed._replace(masked=packed.masked[:0], targets=packed.targets[:0])
            batches.append(packed.to_batch(0 if has_short_row else length))
        return batches


@validate_init
@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with a label or a value each, cut to `max_tokens`.

    Args:
        max_tokens: longest text that is kept whole, special tokens included.
        truncation: what is kept of a longer text: its `head`, its `tail`, or `head_tail`, a quarter
            from the beginning and three quarters from the end (Sun et al., 2019, section 5.3.1,
            found the verdicts of reviews there).
        batch_size: most texts of a training batch on each rank.
        batch_tokens: most tokens of such a batch; texts are then dealt so that every batch of every
            epoch keeps to it. Null: only `batch_size` counts, and texts meet by chance alone.
        group_by_length: let texts of similar lengths meet. Less work where lengths differ much, but
            batches are no longer drawn by chance.
        eval_batch_size: most texts of a held-out batch; these are always grouped by length, which
            changes no metric.
        eval_batch_tokens: most tokens of a held-out batch.
        warmup_batches: this many first batches are smaller, a quarter and then half of the full
            ones.
        length_warmup_tokens: longest training text at first, cut as `truncation` says; null:
            `max_tokens` from the beginning (src/data/batches/length_warmup.py). Held-out texts are
            never cut shorter.
        length_warmup_fraction: share of all optimizer steps for which that holds.
    """

    kind: ClassVar[str] = "labelled"

    max_tokens: Annotated[int, Bound(least=4)] = 256
    truncation: Literal["head", "tail", "head_tail"] = "head"
    batch_size: PositiveInt = 32
    batch_tokens: PositiveInt | None = None
    group_by_length: bool = False
    eval_batch_size: PositiveInt = 256
    eval_batch_tokens: PositiveInt = 8192
    warmup_batches: NonNegativeInt = 0
    length_warmup_tokens: Annotated[int, Bound(least=8)] | None = None
    length_warmup_fraction: Fraction = 0.75

    def __post_init__(self) -> None:
        if self.length_warmup_tokens is not None and self.length_warmup_tokens >= self.max_tokens:
            raise UserError(
                f"{self.length_warmup_tokens} tokens are no shorter texts than those of "
                f"max_tokens={self.max_tokens}",
                key="data.batching.length_warmup_tokens",
                hint="{key}=null leaves texts as they are",
                about=("data.batching.max_tokens",),
            )
        if self.batch_tokens is not None and self.batch_tokens < self.max_tokens:
            raise UserError(
                f"batch_tokens={self.batch_tokens} has no room for a text of "
                f"max_tokens={self.max_tokens} "
                "(data.batching.batch_tokens, data.batching.max_tokens)"
            )

    @property
    def truncation_tokens(self) -> int:
        return self.max_tokens

    def find_warmup_errors(self, task: str, source: object) -> "Iterator[UserError]":
        """The error of a length warm-up with rows that are not one text with its labels, by the
        task and the source of the data.
        """
        if self.length_warmup_tokens is None:
            return
        pair = getattr(source, "pair", None)
        found = "data.source.pair" if pair is not None else "data.task"
        if pair is not None or task == "token_classification":
            yield UserError(
                "cuts single texts with labels of their own",
                key="data.batching.length_warmup_tokens",
                found=f"{found}={task if pair is None else pair}",
                hint="{key}=null leaves texts as they are",
                about=(found,),
                colon=False,
            )

    def build_length_warmup(
        self, tokenizer: "TextTokenizer", length: TrainingLength | None
    ) -> "LengthWarmup | None":
        """How long the texts of each training batch may be; None if they are all as long as they
        are.
        """
        from src.data.batches.length_warmup import LengthWarmup

        if self.length_warmup_tokens is None:
            return None
        assert length is not None, "set_training_length comes before the first training batch"
        return LengthWarmup(
            self.length_warmup_tokens,
            self.length_warmup_fraction,
            self.truncation,
            tokenizer.encoder.single_frame,
            length,
        )

    def build_batch_sampler(
        self, store: "TokenStore", *, seed: int, training: bool, rank: int = 0, world_size: int = 1
    ) -> "DistributedBatchSampler":
        import numpy as np

        from src.data.batches.batch_sampler import DistributedBatchSampler

        return DistributedBatchSampler(
            len(store),
            self.batch_size if training else self.eval_batch_size,
            seed=seed,
            training=training,
            rank=rank,
            world_size=world_size,
            lengths=np.diff(store.offsets),
            batch_tokens=self.batch_tokens if training else self.eval_batch_tokens,
            group_by_length=self.group_by_length,
            warmup_batches=self.warmup_batches,
        )

    def build_batch(
        self,
        store: "TokenStore",
        rows: "np.ndarray",
        *,
        epoch: int,
        seed: int,
        tokenizer: "TextTokenizer",
        training: bool,
        cut: "Cut | None" = None,
    ) -> "LabelledBatch | TaggedBatch":
        import numpy as np
        import torch

        from src.core.batch import LabelledBatch, build_tokens
        from src.data.batches.tagged_batches import build_tagged_batch
        from src.data.tokenization.text_encoder import find_token_types

        count = len(rows)
        rows = rows if count else np.zeros(1, dtype=np.int64)
        # Longest first: what is computed over runs of similar lengths then needs little padding.
        rows = rows[np.argsort(store.offsets[rows] - store.offsets[rows + 1], kind="stable")]
        begins, ends = store.offsets[rows], store.offsets[rows + 1]
        lengths = ends - begins
        if cut is not None:
            lengths = np.minimum(lengths, cut.limit)
            begins, ends = cut.apply(begins, ends)
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        ids = np.concatenate([store.ids[begin:end] for begin, end in spans]).astype(np.int64)
        types = find_token_types(store.begins[rows], lengths)
        tokens = build_tokens(
            torch.from_numpy(ids),
            torch.from_numpy(lengths),
            None if types is None else torch.from_numpy(types),
        )
        rows = rows[:count]
        if store.target_offsets is not None:
            return build_tagged_batch(store, rows, tokens)
        targets = torch.from_numpy(store.targets[rows])
        return LabelledBatch(tokens, targets, torch.from_numpy(store.identities[rows]))


Batching = Masked | Causal | SentencePairs | Denoising | Labelled
