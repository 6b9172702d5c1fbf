"""Batches of two segments with masked tokens: the second goes on where the first ends, or not.

Shape legend: B rows of a batch, R rows of a split, N documents, T tokens of a batch, K masked
positions.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from src.core.user_errors import UserError
from src.core.validation import Bound, Fraction, NonNegativeInt, PositiveInt, validate_init
from src.data.batches.mask_settings import build_masking_params, check_mask_shares, check_mask_unit

# NumPy and torch are imported where batches are made: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np

    from src.core.batch import SentencePairBatch
    from src.data.batches.batch_sampler import DistributedBatchSampler
    from src.data.tokenization.token_store import TokenStore
    from src.data.tokenization.tokenizer import TextTokenizer

# [CLS] A [SEP] B [SEP] has one special token more than [CLS] A [SEP]
_PAIR_SPECIAL, _SINGLE_SPECIAL = 3, 2
_PAIR_TASK_KEY = "data.batching.pair_task"


@validate_init
@dataclass(frozen=True, kw_only=True)
class SentencePairs:
    """Rows [CLS] A [SEP] B [SEP] of two segments, half of which, drawn anew in every epoch, belong
    together; and tokens masked in both (Devlin et al., 2019, section 3.1).

    Documents know no sentences here, so a segment is a run of tokens. A document is cut into as few
    pieces of equal length as fit a row, and a row divides its piece at a random place: A is what
    stands before, B what stands behind. In the other half of the rows B comes from another document
    (`next_sentence`), or A and B are swapped (`sentence_order`; Lan et al., 2020, section 3.1). A
    document of one token is left out. Held-out pairs and masks are always the same.

    Args:
        pair_task: what the second segment is in half of the rows.
        row_tokens: of the longest row, special tokens included.
        batch_size: rows of a training batch on each rank.
        eval_batch_size: the same for held-out rows.
        warmup_batches: this many first batches are smaller, a quarter and then half of
            `batch_size`.
        mask_fraction: share of a row's tokens that is to be predicted.
        mask_unit: what is masked as a whole, as in masked language modelling alone.
        span_probability: of the geometric distribution of the words of a span.
        max_span_words: words of the longest span.
        mask_share: share of the chosen tokens that the mask token replaces.
        random_share: share of these that a random token replaces; the rest stays as it is.
    """

    kind: ClassVar[str] = "masked_lm_with_next_sentence"

    pair_task: Literal["next_sentence", "sentence_order"] = "next_sentence"
    row_tokens: Annotated[int, Bound(least=8)] = 128
    batch_size: PositiveInt = 32
    eval_batch_size: PositiveInt = 64
    warmup_batches: NonNegativeInt = 0
    mask_fraction: Annotated[float, Bound(above=0, below=1)] = 0.15
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
        """Raise UserError if the tokenizer does not put pairs into [CLS] A [SEP] B [SEP], or if
        words are to be masked, and its vocabulary does not tell them.
        """
        from src.data.tokenization.special_frame import find_frame

        single, pair = (find_frame(tokenizer.backend, count) for count in (1, 2))
        is_known = (
            single is not None
            and pair is not None
            and [*map(len, single.ids)] == [1, 1]
            and [*map(len, pair.ids)] == [1, 1, 1]
            and pair.second_segment == 2
        )
        if not is_known:
            raise UserError(
                "it does not put two texts into [CLS] A [SEP] B [SEP] with token types 0 and 1",
                key="data.tokenizer",
                expected="one that does, such as BERT's, ALBERT's or a learnt one",
            )
        check_mask_unit(self, tokenizer)

    def check_stores(self, stores: "Mapping[str, TokenStore]") -> None:
        """Raise UserError if a split has no document to be divided, or no other one to take a
        segment from.
        """
        least = 2 if self.pair_task == "next_sentence" else 1
        for split, store in stores.items():
            if (count := len(cut_documents(store, self.row_tokens).documents)) >= least:
                continue
            if count:
                raise UserError(
                    f"the {split} split has one document of two tokens or more, and there is no "
                    "other one to take a wrong second segment from",
                    key=_PAIR_TASK_KEY,
                    value=self.pair_task,
                    hint="{key}=sentence_order swaps the segments of one document",
                )
            raise UserError(
                f"no document of the {split} split has two tokens, which two segments need",
                key="data.source",
            )

    def build_batch_sampler(
        self, store: "TokenStore", *, seed: int, training: bool, rank: int = 0, world_size: int = 1
    ) -> "DistributedBatchSampler":
        from src.data.batches.batch_sampler import build_row_sampler

        num_rows = int(cut_documents(store, self.row_tokens).first_rows[-1])
        return build_row_sampler(
            self, num_rows, seed=seed, training=training, rank=rank, world_size=world_size
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
    ) -> "SentencePairBatch":
        """The rows, longest first, with their masked tokens and whether they belong together."""
        import numpy as np
        import torch

        from src.core.batch import SentencePairBatch, build_tokens
        from src.data.batches.masking import mask_tokens

        count = len(rows)
        rows = rows if count else np.zeros(1, dtype=np.int64)
        masking = build_masking_params(self, tokenizer, seed=seed, training=training)
        epoch = epoch if training else 0
        pieces = cut_documents(store, self.row_tokens)
        segments = draw_segments(store, pieces, rows, masking.seed, epoch, self.pair_task)
        order = np.argsort(-segments.row_lengths, kind="stable")
        rows, segments = rows[order], segments.take(order)
        lengths = segments.row_lengths
        flat, types = segments.join(store)
        ids, positions, targets, before = [], [], [], 0
        # rows of one length are masked together, and these stand side by side
        for begin, end in _find_runs(lengths):
            length = int(lengths[begin])
            size = (end - begin) * length
            masked = mask_tokens(
                flat[before : before + size].reshape(-1, length),
                rows[begin:end],
                epoch,
                masking,
                np.arange(end - begin + 1) * length,
            )
            ids.append(masked.ids.ravel())
            positions.append(masked.positions + before)
            targets.append(masked.targets)
            before += size
        num_masked = sum(map(len, targets)) if count else 0
        return SentencePairBatch(
            build_tokens(
                torch.from_numpy(np.concatenate(ids)),
                torch.from_numpy(lengths),
                torch.from_numpy(types),
            ),
            torch.from_numpy(np.concatenate(positions)[:num_masked]),
            torch.from_numpy(np.concatenate(targets)[:num_masked]),
            torch.from_numpy(segments.labels[:count]),
        )


class DocumentPieces(NamedTuple):
    """The documents that can be divided, and how many rows they make."""

    documents: "np.ndarray"  # [N] their numbers in the store
    first_rows: "np.ndarray"  # [N + 1] the number of the first row of each; the last is R


@functools.lru_cache(maxsize=8)
def cut_documents(store: "TokenStore", row_tokens: int) -> DocumentPieces:
    """Count the pieces of each document that fit a row of so many tokens."""
    import numpy as np

    lengths = np.diff(store.offsets) - _SINGLE_SPECIAL
    documents = np.flatnonzero(lengths >= 2)
    counts = -(-lengths[documents] // (row_tokens - _PAIR_SPECIAL))
    return DocumentPieces(documents, np.concatenate(([0], counts.cumsum())))


class Segments(NamedTuple):
    """Where the two segments of each row stand in a store, as arrays [B]."""

    first_begins: "np.ndarray"
    first_ends: "np.ndarray"
    second_begins: "np.ndarray"
    second_ends: "np.ndarray"
    labels: "np.ndarray"  # 0: the second goes on where the first ends; 1: it does not

    @property
    def row_lengths(self) -> "np.ndarray":
        """Tokens of each row, special ones included."""
        first, second = self.first_ends - self.first_begins, self.second_ends - self.second_begins
        lengths: np.ndarray = first + second + _PAIR_SPECIAL
        return lengths

    def take(self, order: "np.ndarray") -> "Segments":
        return Segments(*(array[order] for array in self))

    def join(self, store: "TokenStore") -> "tuple[np.ndarray, np.ndarray]":
        """Ids and token types [T] of the rows, laid end to end."""
        import numpy as np

        # all documents of a store have the same special tokens around them
        start, end = store.ids[:1], store.ids[store.num_tokens - 1 : store.num_tokens]
        ids, types = [], []
        for one, two, three, four in zip(*(array.tolist() for array in self[:4]), strict=True):
            ids += [start, store.ids[one:two], end, store.ids[three:four], end]
            types += [two - one + 2, four - three + 1]
        kinds = np.tile(np.array([0, 1]), len(self.labels))
        return np.concatenate(ids).astype(np.int64), kinds.repeat(types)


def draw_segments(
    store: "TokenStore",
    pieces: DocumentPieces,
    rows: "np.ndarray",
    seed: int,
    epoch: int,
    pair_task: str,
) -> Segments:
    """Divide the pieces of some rows, and draw which of them keep their second segment: a pure
    function of seed, epoch and row.

    The wrong segment is as long as the right one would be, where its document has so many tokens,
    so that lengths tell nothing; a long document is drawn more often than a short one.
    """
    import numpy as np

    from src.data.splitmix import GOLDEN_GAMMA, derive_key, finalize_splitmix64

    row_steps = rows.astype(np.uint64) * GOLDEN_GAMMA

    def draw_below(limits: np.ndarray, number: int) -> np.ndarray:
        words = finalize_splitmix64(derive_key(seed, epoch, number) + row_steps)
        drawn: np.ndarray = (words % limits.astype(np.uint64)).astype(np.int64)
        return drawn

    def find_document(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its place among the pieces, where its text begins in the store, and its length."""
        places = pieces.first_rows.searchsorted(numbers, side="right") - 1
        documents = pieces.documents[places]
        begins = store.offsets[documents]
        return places, begins + 1, store.offsets[documents + 1] - begins - _SINGLE_SPECIAL

    places, texts, lengths = find_document(rows)
    before, counts = pieces.first_rows[places], np.diff(pieces.first_rows)[places]
    begins = texts + (rows - before) * lengths // counts
    ends = texts + (rows - before + 1) * lengths // counts
    borders = begins + 1 + draw_below(ends - begins - 1, 1)
    labels = draw_below(np.full(len(rows), 2), 2)
    is_wrong = labels == 1
    if pair_task == "sentence_order":
        return Segments(
            np.where(is_wrong, borders, begins),
            np.where(is_wrong, ends, borders),
            np.where(is_wrong, begins, borders),
            np.where(is_wrong, borders, ends),
            labels,
        )
    # one of the rows of other documents, which stand before and behind
    others = draw_below(pieces.first_rows[-1] - counts, 3)
    others += np.where(others >= before, counts, 0)
    _, other_texts, other_lengths = find_document(others)
    sizes = np.minimum(ends - borders, other_lengths)
    other_begins = other_texts + draw_below(other_lengths - sizes + 1, 4)
    return Segments(
        begins,
        borders,
        np.where(is_wrong, other_begins, borders),
        np.where(is_wrong, other_begins + sizes, ends),
        labels,
    )


def _find_runs(lengths: "np.ndarray") -> "list[tuple[int, int]]":
    """Begin and end of each run of equal lengths."""
    import numpy as np

    borders = np.flatnonzero(np.diff(lengths)) + 1
    edges = [0, *borders.tolist(), len(lengths)]
    return list(pairwise(edges))
