"""What labels and dates of the first rows show to be wrong, before a run is opened."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from src.core.dataset_info import TEXT_TASKS
from src.core.user_errors import UserError, split_errors
from src.data.preparation.division import DivisionColumn
from src.data.preparation.label_map import LabelMap
from src.data.reading.sources import Source
from src.data.rows.labels import LabelSpace, RawLabel, as_label_set, require_single_label
from src.data.rows.odd_labels import drop_missing_number
from src.data.rows.records import RawRecord
from src.data.rows.tag_schemes import TagSurvey

if TYPE_CHECKING:
    from src.data.data_config import DataConfig

_ROWS = 1000
# Of which an error takes all labels into account; more would take longer than a message should.
_MOST_ROWS = 1_000_000


def find_first_target_errors(config: "DataConfig") -> Iterator[UserError]:
    """The errors of labels that the task cannot use, and of dates that cannot be put in order, in
    the first rows of every split. Only what is certain to stop the run is one.
    """
    source = config.source
    assert isinstance(source, Source)
    if "train" not in source.available_splits():
        # says what there is
        next(source.read_records("train"))
    for split in source.available_splits():
        try:
            _check_first_rows(config, source, split)
        except UserError as error:
            yield from split_errors(error)


def _check_first_rows(config: "DataConfig", source: Source, split: str) -> None:
    if config.task == "token_classification":
        _check_tags(config, source, split)
        return
    column = DivisionColumn.build(config.split)
    names, values = (None, None) if config.task in TEXT_TASKS else config.find_classes()
    space = LabelSpace.from_names(names, values) if names is not None else None
    places: dict[RawLabel, str] = {}
    for record in _iter_clean_records(config, source, split, _ROWS):
        if column is not None and (column.kind == "group" or split == "train"):
            column.read_value(record)
        if config.task == "regression":
            _check_number(record)
        elif config.task not in TEXT_TASKS:
            _add_labels(config, record, places)
    if space is None or not space.find_unknown_labels(places):
        return
    # how the data write the classes is told from all labels
    for record in _iter_clean_records(config, source, split, _MOST_ROWS):
        _add_labels(config, record, places)
    space.class_indices(places, split)


def _iter_clean_records(
    config: "DataConfig", source: Source, split: str, count: int
) -> Iterator[RawRecord]:
    """The first rows of a split, as a run would use them."""
    rows = islice(source.read_records(split, keep_other=True), count)
    return config.cleaning.clean_records(
        map(drop_missing_number, rows) if config.task == "regression" else rows,
        split=split,
        labelled=config.task not in TEXT_TASKS,
        counts=Counter(),
        label_map=None if config.label_map is None else LabelMap(config.label_map),
    )


def _add_labels(config: "DataConfig", record: RawRecord, places: dict[RawLabel, str]) -> None:
    if config.task != "multi_label":
        places.setdefault(require_single_label(record.label, record.where), record.where)
        return
    for label in as_label_set(record.label, record.where):
        places.setdefault(label, record.where)


def _check_number(record: RawRecord) -> None:
    from src.data.rows.regression_targets import parse_regression_target

    parse_regression_target(require_single_label(record.label, record.where), record.where)


def _check_tags(config: "DataConfig", source: Source, split: str) -> None:
    survey = TagSurvey(config.find_classes()[0])
    for number, record in enumerate(_iter_clean_records(config, source, split, _MOST_ROWS)):
        survey.add(split, record)
        # how many names are needed is told from all rows
        if number >= _ROWS and not survey.needed_names:
            return
    survey.check_names()
