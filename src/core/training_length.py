"""How long a training is, in optimizer steps, known before its first batch, and in how many parts
a process goes through its share of a global batch.
"""

import math
from typing import NamedTuple


class TrainingLength(NamedTuple):
    """Optimizer steps of the whole run and of an epoch, and batches of a step."""

    total_steps: int
    steps_per_epoch: int
    batches_per_step: int

    def step_at(self, epoch: int, batch: int) -> int:
        """The optimizer steps that are done before that of a batch.

        Args:
            epoch, batch: both counted from 0, the batch in its epoch.
        """
        return epoch * self.steps_per_epoch + batch // self.batches_per_step

    def progress_at(self, epoch: int, batch: int) -> float:
        """The share of the training's steps that are done before that of a batch; from 0 at the
        first to 1 at the last.

        Args:
            epoch, batch: both counted from 0, the batch in its epoch.
        """
        return min(1.0, self.step_at(epoch, batch) / max(1, self.total_steps - 1))


def count_parts(batch_ranks: int | None, world_size: int) -> int:
    """The batches in which each of `world_size` ranks goes through its share of a global batch,
    whose limits are those of `batch_ranks` batches; None: of as many as there are ranks.
    """
    return 1 if batch_ranks is None else math.ceil(batch_ranks / world_size)
