"""The rules between nodes of a config that are about labels: their names, number and thresholds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.config.class_attributes import read_class_attribute
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError

# Each is a mapping from all labels to numbers.
_LABEL_NUMBER_KEYS = (
    "model.objective.class_weights",
    "model.objective.label_shares",
    "model.objective.pos_weight",
)


def find_label_rule_errors(config: Mapping[str, Any]) -> list[UserError]:
    """The errors of values about labels that do not fit each other."""
    return [*_check_labels(config), *_check_threshold_aim(config)]


def _check_labels(config: Mapping[str, Any]) -> Iterator[UserError]:
    names, count = get_by_path(config, "data.label_names"), get_by_path(config, "data.num_labels")
    values = get_by_path(config, "data.label_values")
    expected = get_by_path(config, "model.objective.num_labels")
    find_errors = read_class_attribute(config, "data", "find_label_errors")
    if isinstance(names, list) and find_errors is not None:
        yield from find_errors(
            list(map(str, names)),
            values if isinstance(values, list) else None,
            count if isinstance(count, int) else None,
        )
    if isinstance(expected, int) and isinstance(count, int) and expected != count:
        yield UserError(
            f"model.objective.num_labels={expected}, but data.num_labels={count}; "
            "leave model.objective.num_labels out: it is read from the data",
            about=("model.objective.num_labels", "data.num_labels"),
        )
    is_binary = read_class_attribute(config, "model.objective", "head") == "binary"
    known = len(names) if isinstance(names, list) else count
    if is_binary and isinstance(known, int) and known != 2:
        yield UserError(
            f"model=binary tells 2 labels apart, but the data have {known}; model=classification "
            "has an output for each",
            about=("model.objective", "data.num_labels", "data.label_names"),
        )
    positive = get_by_path(config, "model.objective.positive")
    find_errors = read_class_attribute(config, "model.objective", "find_label_errors")
    if find_errors and isinstance(positive, str) and isinstance(names, list) and known == 2:
        yield from find_errors(list(map(str, names)), positive)
    for key in _LABEL_NUMBER_KEYS:
        numbers = get_by_path(config, key)
        if isinstance(names, list) and isinstance(numbers, Mapping):
            yield from _find_label_number_errors(
                key, frozenset(map(str, numbers)), list(map(str, names))
            )


def _find_label_number_errors(
    key: str, given: frozenset[str], names: Sequence[str]
) -> Iterator[UserError]:
    """The error of a mapping from labels to numbers that lacks one, or names another."""
    wrong = [f"'{name}' is none of the labels" for name in sorted(given.difference(names))]
    wrong += [f"'{name}' has no number" for name in names if name not in given]
    if wrong:
        yield UserError(
            wrong[0],
            key=key,
            expected=f"a number for each of {', '.join(names)}",
            about=("data.label_names",),
        )


def _check_threshold_aim(config: Mapping[str, Any]) -> Iterator[UserError]:
    aim = get_by_path(config, "report.threshold_aim")
    kind = read_class_attribute(config, "model.objective", "kind")
    head = read_class_attribute(config, "model.objective", "head")
    if aim is None or kind is None:
        return
    if kind not in ("classification", "multi_label") or head == "ordinal":
        yield UserError(
            "thresholds are for models that give every label a probability and choose the "
            "likeliest, or all above 0.5",
            key="report.threshold_aim",
            value=aim,
            hint="{key}=null fits",
            about=("model.objective",),
        )
