"""How long a training is, in optimizer steps, known before its first batch."""

from typing import NamedTuple


class TrainingLength(NamedTuple):
    """Optimizer steps of the whole run and of an epoch, and batches of a step."""

    total_steps: int
    steps_per_epoch: int
    batches_per_step: int

    def progress_at(self, epoch: int, batch: int) -> float:
        """The share of the training's steps that are done before that of a batch; from 0 at the
        first to 1 at the last.

        Args:
            epoch, batch: both counted from 0, the batch in its epoch.
        """
        step = epoch * self.steps_per_epoch + batch // self.batches_per_step
        return min(1.0, step / max(1, self.total_steps - 1))
