"""Batches of a denoising autoencoder: noised texts, and what a decoder is to write for them.

Shape legend: R rows of a split, N documents, V vocabulary.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from src.core.notices import Notices
from src.core.user_errors import UserError
from src.core.validation import Bound, NonNegativeInt, PositiveInt, validate_init
from src.data.batches.mask_settings import EVAL_MASK_SEED

# NumPy and torch are imported where batches are made: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np

    from src.core.batch import DenoisingBatch
    from src.data.batches.batch_sampler import DistributedBatchSampler
    from src.data.batches.noising import NoiseParams
    from src.data.tokenization.token_store import TokenStore
    from src.data.tokenization.tokenizer import TextTokenizer

Target = Literal["text", "spans"]
Share = Annotated[float, Bound(least=0, below=1)]
# around a text
_MOST_SPECIAL = 2
# Raffel et al. (2020), section 3.3.4; Lewis et al. (2020), section 3
_PUBLISHED_FRACTIONS: dict[str, float] = {"text": 0.3, "spans": 0.15}
_PUBLISHED_SPAN_TOKENS = 3.0
_TARGET_KEY = "data.batching.target"
_ORDER_KEY = "data.batching.permute_sentences"
_DELETION_KEY = "data.batching.deletion_fraction"


@validate_init
@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Texts with noise, anew in every epoch, and what a decoder is to write for each: the whole
    text again (Lewis et al., 2020: BART) or the spans that are missing (Raffel et al., 2020: T5).

    A document is cut into as few pieces of equal length as fit a row. Held-out rows have the
    published noise of their target whatever this says, so that their losses compare: spans of three
    tokens on average over 0.3 of a text, or 0.15 where the spans are written; sentences stay where
    they are. It is the same at every validation.

    Args:
        target: what is to be written: the `text`, where the tokenizer's mask token stands for each
            span; or the `spans`, where a sentinel (`<extra_id_0>`, `<extra_id_1>`, ...) does, and
            is written before it. Null: the spans if the tokenizer has sentinels.
        noise_fraction: share of a row's tokens that lies in spans. Null: 0.3 for the text, 0.15 for
            spans.
        mean_span_tokens: tokens of a span on average. Where the text is written, lengths are of a
            Poisson distribution, and a span without a token is a mask that is put in.
        deletion_fraction: share of a row's tokens that is left out without a trace; for the text
            alone.
        permute_sentences: put sentences into an order of chance; for the text alone. A full stop
            ends one. Null: for the text.
        row_tokens: of the longest text, special tokens included.
        batch_size: rows of a training batch on each rank.
        eval_batch_size: the same for held-out rows.
        group_by_length: let texts of similar lengths meet, since rows are padded.
        warmup_batches: this many first batches are smaller, a quarter and then half of
            `batch_size`.
    """

    kind: ClassVar[str] = "denoising"

    target: Target | None = None
    noise_fraction: Share | None = None
    mean_span_tokens: Annotated[float, Bound(least=1, most=100)] = _PUBLISHED_SPAN_TOKENS
    deletion_fraction: Share = 0.0
    permute_sentences: bool | None = None
    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: PositiveInt = 32
    eval_batch_size: PositiveInt = 64
    group_by_length: bool = True
    warmup_batches: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.target == "spans":
            self._check_spans()

    def _check_spans(self) -> None:
        """Raise UserError if there is other noise than spans."""
        others = {
            _ORDER_KEY: self.permute_sentences and "true",
            _DELETION_KEY: self.deletion_fraction or None,
        }
        for key, value in others.items():
            if value:
                raise UserError(
                    "where the missing spans are to be written nothing else is undone",
                    key=key,
                    value=value,
                    hint=f"{_TARGET_KEY}=text or {key}={'false' if value == 'true' else 0} fits",
                    about=(_TARGET_KEY,),
                )
        if self.noise_fraction == 0:
            raise UserError(
                "no span would be missing, and nothing written",
                key="data.batching.noise_fraction",
                value=self.noise_fraction,
                expected="null or above 0",
            )

    @property
    def max_tokens(self) -> int:
        return self.row_tokens

    @property
    def truncation_tokens(self) -> None:
        """Documents are never cut when they are tokenised."""
        return None

    def check_tokenizer(self, tokenizer: "TextTokenizer") -> None:
        """Raise UserError if the tokenizer lacks a token that the noise needs."""
        from src.data.tokenization.denoising_tokens import (
            find_sentence_ends,
            find_sentinels,
            find_text_frame,
        )

        find_text_frame(tokenizer)
        target, num_sentinels = self.find_target(tokenizer), len(find_sentinels(tokenizer))
        if target == "text" and tokenizer.mask_id is None:
            raise UserError(
                "the tokenizer has no mask token to stand for a span",
                key=_TARGET_KEY,
                value=target,
                hint="{key}=spans fits" if num_sentinels else "data.tokenizer names another",
            )
        if target == "text":
            if self.permutes(target) and not find_sentence_ends(tokenizer).any():
                raise UserError(
                    "no token of the tokenizer ends a sentence",
                    key=_ORDER_KEY,
                    hint="{key}=false fits",
                )
            return
        self._check_spans()
        if not num_sentinels:
            raise UserError(
                "the tokenizer has no sentinels, the tokens <extra_id_0>, <extra_id_1>, ... of T5",
                key=_TARGET_KEY,
                value=target,
                hint="{key}=text fits",
            )
        fractions = (self.find_fraction(target), _PUBLISHED_FRACTIONS[target])
        means = (self.mean_span_tokens, _PUBLISHED_SPAN_TOKENS)
        for fraction, mean in zip(fractions, means, strict=True):
            in_spans = round(fraction * self.row_tokens)
            num_spans = max(1, round(in_spans / mean))
            # one stands behind the last span
            if num_spans + 1 > num_sentinels:
                raise UserError(
                    f"a row of {self.row_tokens} tokens has {num_spans} spans, but the tokenizer "
                    f"has {num_sentinels} sentinels, of which one ends the target",
                    key="data.batching.row_tokens",
                    value=self.row_tokens,
                    expected="fewer tokens, or fewer or longer spans (data.batching.noise_fraction,"
                    " data.batching.mean_span_tokens)",
                )
            if in_spans + num_spans + _MOST_SPECIAL + 1 > self.row_tokens:
                raise UserError(
                    f"what is to be written, {in_spans} tokens of {num_spans} spans and as many "
                    f"sentinels, is longer than a row of {self.row_tokens}",
                    key="data.batching.noise_fraction",
                    value=fraction,
                    expected="less, or longer spans (data.batching.mean_span_tokens)",
                )

    def find_target(self, tokenizer: "TextTokenizer") -> Target:
        """What is to be written, also where the tokenizer decides."""
        from src.data.tokenization.denoising_tokens import find_sentinels

        if self.target is not None:
            return self.target
        return "spans" if len(find_sentinels(tokenizer)) else "text"

    def describe_target(self, tokenizer: "TextTokenizer") -> Notices:
        """What is to be written, for the screen and the record of the run."""
        target = self.find_target(tokenizer)
        written = {"text": "the whole text", "spans": "the missing spans"}[target]
        return Notices(
            (f"to be written: {written} (data.batching.target={target})",),
            {"data/denoising_target": target},
        )

    def find_fraction(self, target: Target) -> float:
        """The share of a training row's tokens that lies in spans."""
        return _PUBLISHED_FRACTIONS[target] if self.noise_fraction is None else self.noise_fraction

    def permutes(self, target: Target) -> bool:
        """Whether training rows have their sentences in another order."""
        return target == "text" and self.permute_sentences is not False

    def build_noise_params(
        self, tokenizer: "TextTokenizer", *, seed: int, training: bool
    ) -> "NoiseParams":
        """The settings for one split; held-out ones are the same for all runs."""
        import numpy as np

        from src.data.batches.noising import NoiseParams
        from src.data.tokenization.denoising_tokens import (
            find_sentence_ends,
            find_sentinels,
            find_text_frame,
        )

        target = self.find_target(tokenizer)
        permutes = training and self.permutes(target)
        return NoiseParams(
            seed=seed if training else EVAL_MASK_SEED,
            target=target,
            noise_fraction=(
                self.find_fraction(target) if training else _PUBLISHED_FRACTIONS[target]
            ),
            deletion_fraction=self.deletion_fraction if training else 0.0,
            mean_span_tokens=self.mean_span_tokens if training else _PUBLISHED_SPAN_TOKENS,
            sentence_ends=find_sentence_ends(tokenizer) if permutes else None,
            stand_ins=(
                find_sentinels(tokenizer) if target == "spans" else np.array([tokenizer.mask_id])
            ),
            frame=find_text_frame(tokenizer),
        )

    def build_batch_sampler(
        self, store: "TokenStore", *, seed: int, training: bool, rank: int = 0, world_size: int = 1
    ) -> "DistributedBatchSampler":
        from src.data.batches.batch_sampler import DistributedBatchSampler

        pieces = cut_texts(store, self.row_tokens)
        return DistributedBatchSampler(
            len(pieces.documents),
            self.batch_size if training else self.eval_batch_size,
            seed=seed,
            training=training,
            rank=rank,
            world_size=world_size,
            lengths=pieces.lengths,
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
    ) -> "DenoisingBatch":
        """The rows with noise, and what is to be written for each."""
        import numpy as np
        import torch

        from src.core.batch import DenoisingBatch, build_tokens
        from src.data.batches.noising import noise_rows

        is_empty = not len(rows)
        rows = np.zeros(1, dtype=np.int64) if is_empty else rows
        noise = self.build_noise_params(tokenizer, seed=seed, training=training)
        pieces = cut_texts(store, self.row_tokens)
        documents, numbers, counts = (array[rows] for array in pieces[:3])
        before, behind = map(len, noise.frame)
        begins = store.offsets[documents] + before
        sizes = store.offsets[documents + 1] - behind - begins
        firsts, ends = numbers * sizes // counts, (numbers + 1) * sizes // counts
        spans = zip((begins + firsts).tolist(), (begins + ends).tolist(), strict=True)
        ids = np.concatenate([store.ids[begin:end] for begin, end in spans]).astype(np.int64)
        noised = noise_rows(ids, ends - firsts, rows, epoch if training else 0, noise)
        from_numpy = torch.from_numpy
        return DenoisingBatch(
            build_tokens(from_numpy(noised.ids), from_numpy(noised.lengths)),
            build_tokens(from_numpy(noised.targets), from_numpy(noised.target_lengths)),
            from_numpy(noised.is_missing),
            0 if is_empty else len(noised.targets),
        )


class TextPieces(NamedTuple):
    """Where each row stands in its document, as arrays [R]."""

    documents: "np.ndarray"  # their numbers in the store
    numbers: "np.ndarray"  # of the piece in its document, from 0
    counts: "np.ndarray"  # pieces of that document
    lengths: "np.ndarray"  # tokens, about


@functools.lru_cache(maxsize=8)
def cut_texts(store: "TokenStore", row_tokens: int) -> TextPieces:
    """Cut each document into as few pieces as fit a row of so many tokens; each has room for the
    special tokens around it.
    """
    import numpy as np

    lengths = np.diff(store.offsets)
    counts = np.where(lengths <= row_tokens, 1, -(-lengths // (row_tokens - _MOST_SPECIAL)))
    documents = np.arange(len(lengths)).repeat(counts)
    first_rows = (counts.cumsum() - counts).repeat(counts)
    numbers = np.arange(len(documents)) - first_rows
    counts = counts[documents]
    return TextPieces(documents, numbers, counts, lengths[documents] // counts)
