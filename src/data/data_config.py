"""The `data` node: where text comes from and how it becomes batches, as plain values that are
checked. Nothing heavy is imported before `build`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from src.core.dataset_info import TEXT_BATCHINGS, TEXT_TASKS, WHOLE_TEXT_TASKS, Task
from src.core.user_errors import UserError, UserErrors
from src.core.validation import Bound, NonNegativeInt, PositiveInt, validate_init
from src.data.batches.augmentation import Augmentation
from src.data.batches.batching import Batching, Labelled, Masked
from src.data.batches.causal_batching import Causal
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.division import find_division_errors
from src.data.preparation.first_targets import find_first_target_errors
from src.data.preparation.label_map import find_map_errors, read_label_names
from src.data.preparation.splitting import Split
from src.data.reading.first_rows import find_unlabelled_split
from src.data.reading.label_cells import are_repeated_names
from src.data.reading.sources import Source
from src.data.rows.labels import MULTI_LABEL_HINT, LabelSpace, sort_labels
from src.data.rows.odd_labels import drop_missing_number
from src.data.rows.records import DataSource
from src.data.shards.settings import Shards
from src.data.synthetic.reviews import Generated
from src.data.synthetic.tasks import GeneratedTask
from src.data.tokenization.tokenizer import PretrainedTokenizer, Tokenizer

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule


@validate_init
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Text from a source, cleaned, split, tokenised and put into batches.

    Args:
        task: what the rows are for; all but `masked_lm`, `causal_lm`,
            `masked_lm_with_next_sentence` and `denoising` need labels.
        source: where the rows come from.
        cleaning: how texts are cleaned, and which rows are dropped.
        split: how the rows are divided into train, validation and test.
        tokenizer: how texts are turned into tokens.
        batching: how rows are put into batches.
        augmentation: how training texts are changed anew in every epoch; null leaves them as they
            are.
        shards: where the tokens of the training rows lie, in shards that are fetched as they are
            read; null: in one piece in `cache`.
        label_names: the names of the class labels, in the order of their indices, or a file that
            has one on each line; null takes the labels of the training rows.
        num_labels: the number of labels, verified against the data. Models read it from here.
        label_values: how the files write each label, if neither by its name nor as 0, 1, ...
        label_map: the class of each label of the files, to merge or rename labels; those that it
            leaves out or maps to null are left out, with their rows.
        train_rows: take only this many training rows, drawn with the seed of the split, evenly
            from the classes; null takes all.
        train_share: take only this share of the training rows, the same of every class; null takes
            all. `search=learning_curve` varies it.
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
    augmentation: Augmentation | None = None
    shards: Shards | None = None
    label_names: list[str | float] | str | None = None
    num_labels: Annotated[int, Bound(least=2)] | None = None
    label_values: list[str | float] | None = None
    label_map: Mapping[str | float, str | float | None] | None = None
    train_rows: PositiveInt | None = None
    train_share: Annotated[float, Bound(above=0, most=1)] | None = None
    cache: str
    seed: int = 0
    num_workers: NonNegativeInt = 0
    on_device: bool | None = None

    def __post_init__(self) -> None:
        name = type(self.batching).__name__
        errors = [*self.find_batching_errors(self.task, self.batching.kind, name)]
        if isinstance(self.batching, Labelled):
            errors += self.batching.find_warmup_errors(self.task, self.source)
        if not isinstance(self.label_names, str):
            errors += self.find_label_errors(self.label_names, self.label_values, self.num_labels)
        errors += self._find_label_map_errors()
        if self.cleaning.missing_label == "keep" and self.task != "multi_label":
            errors.append(
                UserError(
                    "goes with data.task=multi_label",
                    key="data.cleaning.missing_label",
                    value="keep",
                    found=f"data.task={self.task}",
                    about=["data.task"],
                    colon=False,
                )
            )
        if self.task == "token_classification":
            errors += self._find_token_errors()
        # other tasks are about the places of words, which change
        if self.augmentation is not None and self.task not in WHOLE_TEXT_TASKS:
            errors.append(
                UserError(
                    "goes with labels of whole texts",
                    key="data.augmentation",
                    found=f"data.task={self.task}",
                    hint="data/augmentation=none leaves texts as they are",
                    about=["data.task"],
                    colon=False,
                )
            )
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
        errors += self._find_shard_errors()
        errors += self._find_label_set_errors()
        division = self.split.find_column()
        if division is not None and isinstance(self.source, Generated | GeneratedTask):
            kind, column = division
            errors.append(
                UserError(
                    "generated rows have no columns",
                    key=f"data.split.{kind}",
                    value=column,
                    hint="{key}=null fits",
                    about=["data.source"],
                )
            )
        if self.train_rows is not None and self.train_share is not None:
            errors.append(
                UserError(
                    f"data.train_rows={self.train_rows} and data.train_share={self.train_share:g} "
                    "both say how many training rows there are; expected one of them",
                    about=["data.train_rows", "data.train_share"],
                )
            )
        if errors:
            raise UserErrors(errors)

    def _find_shard_errors(self) -> Iterator[UserError]:
        """The errors of options that do not go with a corpus in shards."""
        if self.shards is None:
            return
        if not isinstance(self.batching, Masked | Causal):
            yield UserError(
                "goes with rows that are packed without a look at all texts",
                key="data.shards",
                expected="data.task=masked_lm or causal_lm",
                found=f"data.task={self.task}",
                hint="data/shards=none keeps the tokens in data.cache",
                about=["data.task"],
            )
            return
        yield from self.shards.find_row_errors(self.batching.row_tokens)
        if self.on_device:
            yield UserError(
                "a corpus in shards is not kept on the device",
                key="data.on_device",
                value="true",
                hint="{key}=null fits",
                about=["data.shards"],
            )

    def _find_label_map_errors(self) -> Iterator[UserError]:
        if self.label_map is None:
            return
        yield from find_map_errors(self.label_map)
        if self.task not in ("classification", "multi_label"):
            yield UserError(
                "goes with labels that are classes",
                key="data.label_map",
                found=f"data.task={self.task}",
                about=["data.task"],
                colon=False,
            )

    def declared_label_names(self) -> list[str | float] | None:
        """The names of the classes, read from their file where there is one.

        Raises:
            UserError: the file is not there, or holds something else.
        """
        return (
            read_label_names(self.label_names)
            if isinstance(self.label_names, str)
            else (self.label_names)
        )

    def find_classes(self) -> "tuple[list[str | float] | None, list[str | float] | None]":
        """The names of the classes and how the data write them: as declared, or as the files of
        the data say; None where neither does.
        """
        names = self.declared_label_names()
        if self.task == "token_classification":
            found = self.source.find_class_names() if isinstance(self.source, Source) else None
            return names if names is not None or found is None else list(found), None
        declared = names is not None or self.label_values is not None or self.label_map is not None
        if declared or not isinstance(self.source, Source):
            return names, self.label_values
        columns = self.source.label_reading().columns
        if self.task == "multi_label" and columns and not are_repeated_names(columns):
            # those that are 0 in all rows of train are labels too
            return list(sort_labels(columns)), None
        if self.task not in ("classification", "multi_label"):
            return names, self.label_values
        brought = self.source.find_class_names()
        if brought is None or len(brought) < 2:
            return None, None
        return list(brought), list(range(len(brought)))

    def _find_label_set_errors(self) -> Iterator[UserError]:
        """The error of options for several labels where the task is about one."""
        if self.task in ("multi_label", *TEXT_TASKS) or not isinstance(self.source, Source):
            return
        reading = self.source.label_reading()
        for key, value in (("label", reading.columns), ("label_separator", reading.separator)):
            if value is not None:
                yield UserError(
                    f"rows may have several labels, but data.task={self.task} is about one",
                    key=f"data.source.{key}",
                    value=value if isinstance(value, str) else f"[{','.join(value)}]",
                    hint=MULTI_LABEL_HINT,
                    about=["data.task"],
                )

    def _find_token_errors(self) -> Iterator[UserError]:
        """The errors of options that do not go with labels of words."""
        about = ["data.task"]
        where = f"data.task={self.task}"
        for name in ("breaks", "whitespace"):
            if getattr(self.cleaning, name):
                yield UserError(
                    f"would move the words of {where}, whose places in the text are given",
                    key=f"data.cleaning.{name}",
                    value="true",
                    about=about,
                    colon=False,
                )
        if self.label_values is not None:
            yield UserError(
                f"does not go with {where}",
                key="data.label_values",
                hint="data.label_names has the tags in the order of their numbers",
                about=about,
                colon=False,
            )
        if isinstance(self.source, Source) and self.source.pair is not None:
            yield UserError(
                f"{where} is about the words of one text",
                key="data.source.pair",
                value=self.source.pair,
                hint="give null",
                about=about,
            )

    def with_origin(self, origin: Path | None) -> "DataConfig":
        """This config with the tokenizer of the run that `init_from` names.

        Args:
            origin: the model folder of that run; None leaves the config as it is.
        """
        if origin is None:
            return self
        assert isinstance(self.tokenizer, PretrainedTokenizer)
        return replace(self, tokenizer=replace(self.tokenizer, name_or_path=str(origin)))

    def check_source(self) -> None:
        """Raise UserError if the rows are not where the config says, or are not divided as it
        wants.
        """
        self.source.check()
        if self.split.fold is not None and "validation" in self.source.available_splits():
            raise UserError(
                "the source has a validation split of its own",
                key="data.split.fold",
                value=self.split.fold,
                # that of generated rows is a number of them, which cannot be left out
                hint="data.source.validation=null leaves it out"
                if isinstance(getattr(self.source, "validation", None), str)
                else "{key}=null fits",
            )
        if errors := list(self._find_division_errors()):
            raise UserErrors(errors)
        has_files = isinstance(self.source, Source) and self.source.path is not None
        if has_files and (errors := list(find_first_target_errors(self))):
            raise UserErrors(errors)

    def check(self, origin: Path | None = None) -> None:
        """Raise UserError if the rows or the tokenizer are not where the config says.

        Args:
            origin: the model folder of the run that `init_from` names.
        """
        self.check_source()
        self.cleaning.check()
        if self.augmentation is not None:
            self.augmentation.check()
        if self.shards is not None:
            self.shards.check()
        names = self.declared_label_names()
        if errors := list(self.find_label_errors(names, self.label_values, self.num_labels)):
            raise UserErrors(errors)
        if errors := list(self._find_unlabelled_splits()):
            raise UserErrors(errors)
        self.with_origin(origin).tokenizer.check()

    def _find_division_errors(self) -> Iterator[UserError]:
        column = self.split.find_column()
        if column is not None and isinstance(self.source, Source) and self.source.path:
            yield from find_division_errors(self.source, *column)

    def _find_unlabelled_splits(self) -> Iterator[UserError]:
        if not isinstance(self.source, Source) or not self.source.path:
            return
        if self.task in TEXT_TASKS:
            return
        if self.source.label is None:
            yield UserError(
                f"data.task={self.task} learns from labels",
                key="data.source.label",
                value="null",
                hint="data.source.label=COLUMN names theirs; files without columns have any name",
                about=["data.task"],
            )
            return
        for split in self.source.available_splits():
            if split != "train":
                records = self.source.read_records(split)
                if self.task == "regression":
                    records = map(drop_missing_number, records)
                error = find_unlabelled_split(split, records)
                if error is not None:
                    yield error

    def build(self, origin: Path | None = None) -> "TextDataModule":
        """The LightningDataModule, which reads nothing before `prepare_data`."""
        from src.data.datamodule import TextDataModule

        return TextDataModule(self.with_origin(origin))

    @staticmethod
    def find_batching_errors(task: str, kind: str, name: str) -> Iterator[UserError]:
        """The error of a batching that is not made for the task.

        Args:
            task: the task of the data.
            kind: the kind of batches, the task of texts without labels, or `labelled`.
            name: the name of the class that makes the batches.
        """
        if (task if task in TEXT_TASKS else "labelled") != kind:
            fitting = TEXT_BATCHINGS.get(task, "labelled")
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
                f"{', '.join(map(str, names))} (data.num_labels={len(names)}, or other names)",
                about=("data.num_labels", "data.label_names"),
            )
