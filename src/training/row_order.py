"""The node `callbacks.row_order`: a run's own record of which rows each of its optimizer steps has
seen, to compare runs by.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.validation import validate_init

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@validate_init
@dataclass(frozen=True, kw_only=True)
class RowOrder:
    """Records which rows each optimizer step has seen, with a digest of their tokens: one line of
    JSON for each step, in files `rows-STEP.jsonl` among the run's checkpoints, one for each stretch
    between two checkpoints. The record does not depend on the number of devices. It takes some 7
    bytes for each row of each epoch, and each step waits for all devices.
    """

    def build(self, folder: Path, hooks: object = None) -> "list[Callback]":
        """One callback.

        Args:
            folder: of the run's checkpoints.
            hooks: to the run's record, not used.
        """
        from src.training.row_order_callback import RowOrderCallback

        return [RowOrderCallback(folder)]
