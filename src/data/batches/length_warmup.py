"""Texts that are cut shorter in the first steps of a training: a pure function of the optimizer
step.

A token costs the same in a short text and in a long one, so short texts give more verdicts to learn
from in the same time (sequence length warm-up; Li et al., 2022, for pretraining).

Shape legend: B rows of a batch, P pieces of their tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.core.training_length import TrainingLength
from src.data.tokenization.special_frame import SpecialFrame
from src.data.tokenization.text_encoder import Truncation, find_head_tokens


class Cut(NamedTuple):
    """Where single texts are cut that were tokenised whole, or cut at a greater length: they become
    what the tokenizer would have made of them at this one.

    Args:
        limit: most tokens of a text, special tokens included.
        head, tail: tokens that a longer text keeps at its beginning and at its end.
    """

    limit: int
    head: int
    tail: int

    def apply(self, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pieces [P] that are left of rows [B], two of each row that is cut, in their order."""
        is_cut = ends - begins > self.limit
        counts = 1 + is_cut
        first_begins, first_ends = begins, np.where(is_cut, begins + self.head, ends)
        pieces = np.repeat(np.stack([first_begins, first_ends], axis=1), counts, axis=0)  # [P, 2]
        second = np.cumsum(counts)[is_cut] - 1
        pieces[second, 0], pieces[second, 1] = ends[is_cut] - self.tail, ends[is_cut]
        return pieces[:, 0], pieces[:, 1]


@dataclass(frozen=True)
class LengthWarmup:
    """How long the texts of each training batch may be.

    Args:
        tokens: the longest text at first, special tokens included.
        fraction: share of all optimizer steps for which that holds.
        frame: what the tokenizer puts around a text.
    """

    tokens: int
    fraction: float
    truncation: Truncation
    frame: SpecialFrame
    length: TrainingLength

    @property
    def num_steps(self) -> int:
        """The optimizer steps of shorter texts."""
        return round(self.fraction * self.length.total_steps)

    def cut_at(self, epoch: int, batch: int) -> Cut | None:
        """How the texts of a batch of an epoch are cut, both counted from 0; None: they are not."""
        if self.length.step_at(epoch, batch) >= self.num_steps:
            return None
        before, after = map(len, self.frame.ids)
        kept = np.array([self.tokens - before - after])
        head = before + int(find_head_tokens(kept, self.truncation)[0])
        return Cut(self.tokens, head, self.tokens - head)
