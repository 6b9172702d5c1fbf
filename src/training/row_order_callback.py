"""Writes the record of the order of rows that `src.training.row_order.RowOrder` describes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.batch import Tokens
from src.core.files import write_text
from src.data.batches.batch_sampler import BatchKey
from src.data.splitmix import GOLDEN_GAMMA, finalize_splitmix64
from src.training.distributed import gather_from_ranks
from src.training.lightning_internals import is_step_complete
from src.training.row_files import list_row_files, row_file
from src.training.training_state import count_batch_parts

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule


class RowOrderCallback(Callback):
    """Collects the rows of each optimizer step from all ranks.

    The first rank keeps them until a checkpoint is written: a run that is cut off goes on from
    there, and its later steps come again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: Iterator[BatchKey] = iter(())
        self._epoch = -1
        # of this rank, in the step under way
        self._rows: list[int] = []
        self._contents = 0
        self._lines: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            for step, path in list_row_files(self._folder).items():
                if step > trainer.global_step:
                    path.unlink()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._epoch != trainer.current_epoch:
            self._epoch = trainer.current_epoch
            datamodule: TextDataModule = trainer.datamodule  # type: ignore[attr-defined]
            plan = datamodule.build_batch_sampler("train")
            plan.skip_to(self._epoch, batch_idx // count_batch_parts(trainer))
            self._keys = iter(plan)
        rows = next(self._keys).rows
        self._rows += rows.tolist()
        # a rank without rows has a batch that counts for nothing
        if len(rows):
            self._contents += digest_sequences(batch.tokens)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not is_step_complete(trainer):
            return
        parts = gather_from_ranks((self._rows, self._contents))
        self._rows, self._contents = [], 0
        line = {
            "step": trainer.global_step,
            "epoch": self._epoch,
            "rows": sorted(row for rows, _ in parts for row in rows),
            "contents": f"{sum(contents for _, contents in parts) % 2**64:016x}",
        }
        if trainer.is_global_zero:
            self._lines.append(json.dumps(line, separators=(",", ":")))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._write_lines(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_lines(trainer)

    def _write_lines(self, trainer: Trainer) -> None:
        if not self._lines:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in self._lines)
        write_text(row_file(self._folder, trainer.global_step), text)
        self._lines = []


def digest_sequences(tokens: Tokens) -> int:
    """The sum of 64-bit hashes of the sequences of a batch: sums of batches are digests of all
    their sequences, in whatever order and batches they come.
    """
    ids = tokens.ids.cpu().numpy().astype(np.uint64)
    positions = tokens.positions.cpu().numpy().astype(np.uint64)
    starts = tokens.cu_seqlens[:-1].cpu().numpy()
    words = finalize_splitmix64(ids * GOLDEN_GAMMA + finalize_splitmix64(positions + GOLDEN_GAMMA))
    hashes = finalize_splitmix64(np.add.reduceat(words, starts))
    return int(hashes.sum(dtype=np.uint64))
