"""A share of masked tokens that changes over training: a pure function of the optimizer step.

Many masks teach much at first, few are nearer to the text that the encoder will meet (Ankner et
al., 2024: linear from 0.30 to 0.15).
"""

import math
from dataclasses import dataclass
from typing import Literal

from src.core.training_length import TrainingLength

MaskScheduleShape = Literal["linear", "cosine"]


@dataclass(frozen=True)
class MaskSchedule:
    """The share of each batch's tokens that is masked.

    Args:
        first, last: the shares in the first and the last step.
        shape: of the way between them.
        row_tokens: of a packed row, of which a whole number is masked.
    """

    first: float
    last: float
    shape: MaskScheduleShape
    row_tokens: int
    length: TrainingLength

    def fraction_at(self, epoch: int, batch: int) -> float:
        """The share for a batch of an epoch, both counted from 0: what a whole number of tokens is
        of a row, so that neighbouring batches have the same one.
        """
        progress = self.length.progress_at(epoch, batch)
        if self.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        fraction = self.first + (self.last - self.first) * progress
        return max(1, round(fraction * self.row_tokens)) / self.row_tokens
