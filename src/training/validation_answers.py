"""The answers of the model that is tested to the rows of the validation, in one more pass."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from src.training.distributed import RankPredictions, gather_predictions

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from src.data.datamodule import TextDataModule
    from src.model.module import EncoderModule


class PlainBatches:
    """The batches of a loader. Lightning would not take the loader itself for predictions, but
    build another one of its own class.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)


def answer_validation(
    module: "EncoderModule", trainer: "Trainer", datamodule: "TextDataModule"
) -> RankPredictions | None:
    """Row ids [N], targets [N] and answers of all ranks, ordered by row id; None if the rows have
    no ids. To be called on every rank.
    """
    loader = datamodule.build_loader("validation")
    batches = trainer.predict(module, dataloaders=PlainBatches(loader))
    assert batches is not None
    columns: list[Any] = list(zip(*batches, strict=True))
    return gather_predictions(
        (torch.cat(columns[0]), torch.cat(columns[1]), torch.cat(columns[2])) if columns else None
    )
