"""What a task makes of the labels of rows: the classes, and the target of each row.

Shape legend: N rows of a split of the source, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from src.core.dataset_info import Task
from src.core.user_errors import UserError
from src.data.preparation.label_map import LabelMap
from src.data.rows.label_sets import build_membership, describe_label_sets
from src.data.rows.labels import LabelSpace
from src.data.rows.odd_labels import describe_odd_labels
from src.data.rows.regression_targets import describe_close_targets


def build_label_space(
    task: Task,
    labels: Mapping[Any, str],
    codes: np.ndarray,
    names: Sequence[str | float] | None,
    values: Sequence[str | float] | None,
    label_map: LabelMap | None,
) -> LabelSpace | None:
    """The classes that are declared or, without `names`, found in train; None for tasks without.

    Args:
        labels: the different labels of train, in the order of their codes.
        codes: of the rows of train.
        names, values, label_map: as in `DataConfig`.

    Raises:
        UserError: what is declared or found makes no classes.
    """
    if task not in ("classification", "multi_label"):
        return None
    if names is not None:
        return LabelSpace.from_names(names, values)
    different = list(labels)
    found = (different[code] for code in codes.tolist())
    if task == "multi_label":
        found = (label for label_set in found for label in label_set)
    try:
        return LabelSpace.from_labels(found)
    except UserError as error:
        notes = list(label_map.describe()) if label_map is not None else []
        raise UserError("; ".join([str(error), *notes])) if notes else error from None


def build_targets(
    task: Task,
    split: str,
    places: np.ndarray,
    labels: Mapping[Any, str],
    codes: np.ndarray,
    space: LabelSpace | None,
) -> np.ndarray:
    """The target of every row of the source, [N] or [N, C]; 0 for rows that cleaning dropped.

    Args:
        split: its name at the source, for messages.
        places: for each row, 1 if cleaning kept it, else 0.
        labels: where the first row with each label stands, in the order of their codes.
        codes: of the kept rows, or their values.

    Raises:
        UserError: a label that is no class.
    """
    if space is not None and task == "multi_label":
        codes = build_membership(labels, space, split)[codes]
    elif space is not None:
        codes = np.array(space.class_indices(labels, split), dtype=np.int64)[codes]
    if not len(codes):
        return codes
    targets = np.zeros((len(places), *codes.shape[1:]), dtype=codes.dtype)
    targets[places > 0] = codes
    return targets


def describe_targets(
    task: Task,
    targets: np.ndarray,
    counts: Mapping[str, int],
    label_map: LabelMap | None,
) -> list[str]:
    """What should be known of the labels of train, in sentences.

    Args:
        targets: of the rows that train keeps.
        counts: these rows by class; empty without classes.
    """
    if task == "regression":
        return describe_close_targets(targets)
    if not counts:
        return []
    remarks = list(label_map.describe()) if label_map is not None else []
    remarks += describe_odd_labels(counts)
    if task == "multi_label":
        remarks += describe_label_sets(targets)
    return remarks


def make_target_getter(targets: np.ndarray | None) -> Callable[[int], Any]:
    """What gives the target of a row by its number: a number, or a tuple where there are several;
    0 without targets.
    """
    if targets is None:
        return lambda number: 0
    if targets.ndim == 2:
        return lambda number: tuple(targets[number].tolist())
    return targets.data.__getitem__
