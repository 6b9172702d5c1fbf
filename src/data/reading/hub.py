"""Data sets of the Hugging Face hub, downloaded or, without a network, from the local cache."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from src.core.user_errors import UserError, format_suggestion
from src.data.reading.columns import (
    ColumnSelection,
    build_record,
    check_columns,
    clear_unknown_classes,
)
from src.data.reading.file_names import add_other_names
from src.data.rows.nested_values import list_keys, look_up
from src.data.rows.records import RawRecord

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

# Time for the hub to answer a first request; after it the hub counts as unreachable.
HUB_TIMEOUT_SECONDS = 15.0


@functools.lru_cache(maxsize=1)
def load_from_hub(name: str, config: str | None, revision: str | None) -> "DatasetDict":
    """Download a data set of the hub, or load it from the local cache if the hub does not answer.

    Without a network `datasets` would retry for half a minute, so one request with a time limit is
    made first.
    """
    import datasets
    from huggingface_hub import HfApi, errors

    def ask() -> None:
        HfApi(datasets.config.HF_ENDPOINT).dataset_info(
            name, revision=revision, timeout=HUB_TIMEOUT_SECONDS
        )

    try:
        call_with_timeout(HUB_TIMEOUT_SECONDS, ask)
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.HFValidationError,
    ) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"data.source.hub={name} (data.source.revision={revision}): {said}"
        ) from error
    except Exception as error:
        return _load_from_hub_cache(name, config, revision, f"{type(error).__name__}: {error}")
    try:
        return _build_hub_dataset(name, config, revision)
    except (datasets.exceptions.DatasetNotFoundError, ValueError) as error:
        raise UserError(f"data.source.hub={name} (data.source.config={config}): {error}") from error


def match_hub_splits(hub: str, there: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """The splits that a data set of the hub has, with their names there.

    Args:
        there: what it has.
        names: the name of each split by the config.

    Raises:
        UserError: it lacks one that the config names.
    """
    found = add_other_names(names, there)
    for split, name in found.items():
        if name not in there and name != split:
            raise UserError(
                f"{hub} has no such split",
                key=f"data.source.{split}",
                value=name,
                hint=format_suggestion(name, there),
            )
    return {split: name for split, name in found.items() if name in there}


def read_hub_rows(
    part: "Dataset", columns: ColumnSelection, where: str, keep_other: bool = False
) -> Iterator[RawRecord]:
    """The rows of a split; a ClassLabel of -1 is a missing label, in a list too.

    Args:
        where: how messages call the split.
        keep_other: whether records shall have all columns of their row.
    """
    from datasets import Translation

    # a Translation has its languages as keys, though it is no mapping
    features = {
        name: dict.fromkeys(feature.languages) if isinstance(feature, Translation) else feature
        for name, feature in part.features.items()
    }
    check_columns(where, columns, list(list_keys(features)))
    has_classes = find_hub_classes(part, str(columns.label)) is not None
    wanted = columns.requested_names()
    keep = [
        name
        for name in part.column_names
        if keep_other or any(key == name or key.startswith(f"{name}.") for key in wanted)
    ]
    for number, row in enumerate(part.with_format(None).select_columns(keep), start=1):
        if has_classes:
            clear_unknown_classes(columns, row)
        values = {key: look_up(row, key) for key in wanted}
        record = build_record(columns, values, f"{where}, row {number}")
        yield record._replace(other=row) if keep_other else record


def find_hub_classes(part: "Dataset", column: str) -> list[str] | None:
    """The names of the classes whose numbers a column holds, one or several in a row; None if the
    data set does not say them.
    """
    from datasets import ClassLabel

    feature = part.features.get(column)
    feature = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def _load_from_hub_cache(
    name: str, config: str | None, revision: str | None, reason: str
) -> "DatasetDict":
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        return _build_hub_dataset(name, config, revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"data.source.hub={name}: {datasets.config.HF_ENDPOINT} cannot be reached ({reason}), "
            "and the local cache "
            f"does not help ({error}). Two ways out: connect to the internet; or give a folder "
            "with the files train, "
            "validation and test (.csv, .tsv, .jsonl or .parquet, the same columns): "
            "data.source.path=FOLDER"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


def _build_hub_dataset(name: str, config: str | None, revision: str | None) -> "DatasetDict":
    """Load all splits, in exactly the requested revision, which the cache alone does not check."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
    except RuntimeError as error:
        # the data set is a script
        raise ValueError(f"{error}; the code that a data set brings is not run") from error
    if datasets.config.HF_HUB_OFFLINE and revision not in (None, builder.hash):
        raise ValueError(f"it has revision {builder.hash}, not {revision}")
    if builder.name == "csv" or type(builder).__module__.endswith(".csv.csv"):
        # "None", "NA" and "null" are texts, as they are in a file that is read by path
        builder = datasets.load_dataset_builder(
            name, config, revision=revision, keep_default_na=False
        )
    builder.download_and_prepare()
    return builder.as_dataset()


def call_with_timeout(seconds: float, call: Callable[[], object]) -> None:
    """Call a function in a thread and raise what it raises.

    Raises:
        TimeoutError: it takes longer than `seconds`, even if a socket or name server hangs.
    """
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {seconds:g} seconds")
    if outcome:
        raise outcome[0]
