"""The `data` node: where text comes from and how it becomes batches, as plain values that are
checked. Nothing heavy is imported before `build`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from src.core.dataset_info import Task
from src.core.user_errors import UserError, UserErrors
from src.core.validation import Bound, NonNegativeInt, PositiveInt, validate_init
from src.data.batching import Batching
from src.data.cleaning import Cleaning
from src.data.labels import LabelSpace
from src.data.records import DataSource
from src.data.splitting import Split
from src.data.tokenizer import PretrainedTokenizer, Tokenizer

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule


@validate_init
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Text from a source, cleaned, split, tokenised and put into batches.

    Args:
        task: what the rows are for; all but `masked_lm` need labels.
        source: where the rows come from.
        cleaning: how texts are cleaned, and which rows are dropped.
        split: how the rows are divided into train, validation and test.
        tokenizer: how texts are turned into tokens.
        batching: how rows are put into batches.
        label_names: the names of the class labels, in the order of their indices; null takes the
            labels of the training rows.
        num_labels: the number of labels, verified against the data. Models read it from here.
        label_values: how the files write each label, if neither by its name nor as 0, 1, ...
        train_rows: take only this many training rows, drawn with the seed of the split, evenly
            from the classes; null takes all.
        cache: the folder of tokenised text and learnt vocabularies; it may be deleted.
        seed: the seed of the order of rows and of masking.
        num_workers: the number of processes that make batches. 0 is fastest if a batch takes less
            time than a training step.
        on_device: keep the corpus of masked language modelling on the GPU, which gathers and masks
            rows without the host; the batches are the same. Null does so if the corpus takes at
            most a tenth of the GPU's free memory.
    """

    task: Task
    source: DataSource
    cleaning: Cleaning
    split: Split
    tokenizer: Tokenizer
    batching: Batching
    label_names: list[str | float] | None = None
    num_labels: Annotated[int, Bound(least=2)] | None = None
    label_values: list[str | float] | None = None
    train_rows: PositiveInt | None = None
    cache: str
    seed: int = 0
    num_workers: NonNegativeInt = 0
    on_device: bool | None = None

    def __post_init__(self) -> None:
        errors = [
            *self.find_batching_errors(self.task, self.batching.kind, type(self.batching).__name__),
            *self.find_label_errors(self.label_names, self.label_values, self.num_labels),
        ]
        if self.on_device and self.task != "masked_lm":
            errors.append(
                UserError(
                    "goes with data.task=masked_lm",
                    key="data.on_device",
                    value="true",
                    found=f"data.task={self.task}",
                    about=["data.task"],
                    colon=False,
                )
            )
        if errors:
            raise UserErrors(errors)

    def with_origin(self, origin: Path | None) -> "DataConfig":
        """This config with the tokenizer of the run that `init_from` names.

        Args:
            origin: the model folder of that run; None leaves the config as it is.
        """
        if origin is None:
            return self
        assert isinstance(self.tokenizer, PretrainedTokenizer)
        return replace(self, tokenizer=replace(self.tokenizer, name_or_path=str(origin)))

    def check(self, origin: Path | None = None) -> None:
        """Raise UserError if the rows or the tokenizer are not where the config says.

        Args:
            origin: the model folder of the run that `init_from` names.
        """
        self.source.check()
        self.with_origin(origin).tokenizer.check()

    def build(self, origin: Path | None = None) -> "TextDataModule":
        """The LightningDataModule, which reads nothing before `prepare_data`."""
        from src.data.datamodule import TextDataModule

        return TextDataModule(self.with_origin(origin))

    @staticmethod
    def find_batching_errors(task: str, kind: str, name: str) -> Iterator[UserError]:
        """The error of a batching that is not made for the task.

        Args:
            task: the task of the data.
            kind: the kind of batches, `masked_lm` or `labelled`.
            name: the name of the class that makes the batches.
        """
        if (task == "masked_lm") != (kind == "masked_lm"):
            fitting = "masked" if task == "masked_lm" else "labelled"
            yield UserError(
                f"data.task={task} does not go with data.batching={name}; "
                f"data/batching={fitting} fits"
            )

    @staticmethod
    def find_label_errors(
        names: Sequence[str | float] | None,
        values: Sequence[str | float] | None,
        count: int | None,
    ) -> Iterator[UserError]:
        """The errors of names of labels, of their spelling in files, and of their number, if these
        disagree.
        """
        if names is None:
            return
        try:
            LabelSpace.from_names(names, values)
        except UserError as error:
            yield error
            return
        if count is not None and len(names) != count:
            yield UserError(
                f"data.num_labels={count}, but data.label_names has {len(names)}: "
                f"{', '.join(map(str, names))} "
                f"(data.num_labels={len(names)}, or other names)"
            )
