"""How well the answers for a file agree with the labels that stand in it, in one line: accuracy,
exact match and macro F1, errors of values, or F1 of entities, as the run's own test measures them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from src.core.entity_tags import list_entity_types
from src.core.formatting import format_quantity
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError
from src.data.preparation.label_map import LabelMap, read_label_names
from src.data.rows.labels import LabelSpace, RawLabel
from src.data.rows.records import RawRecord
from src.data.rows.regression_targets import parse_regression_target
from src.data.rows.tag_schemes import TagScheme
from src.data.rows.token_labels import TokenLabels

if TYPE_CHECKING:
    from src.pipeline.prediction.predictor import TextPrediction

_LEAVE_ALONE = "(data.source.label=null leaves labels alone)"


class AnswerScore(Protocol):
    """Compares answers with the labels of their rows; rows without a label do not count."""

    def add(self, record: RawRecord, answer: "TextPrediction") -> None:
        """Count the answer for a row."""

    def describe(self) -> str | None:
        """The figures in one line, or why there are none; None if no row has a label."""


def build_answer_score(
    inference_config: Mapping[str, Any], config: Mapping[str, Any]
) -> AnswerScore | None:
    """The score of a model's task; None where files hold no labels for it.

    Args:
        inference_config: of the model.
        config: of its run, which says how its files write the labels.
    """
    names = inference_config.get("label_names") or []
    match inference_config["task"]:
        case "classification":
            is_ordinal = inference_config.get("head") == "ordinal"
            return ClassScore(ModelLabels(names, config), is_ordinal=is_ordinal)
        case "multi_label":
            return LabelSetScore(ModelLabels(names, config))
        case "regression":
            return ValueScore()
        case "token_classification":
            return WordScore(names, config)
    return None


class ModelLabels:
    """The classes of a model, found by the labels of files as its run read them.

    Args:
        names: of the classes.
        config: of the run.
    """

    def __init__(self, names: Sequence[str], config: Mapping[str, Any]) -> None:
        declared = get_by_path(config, "data.label_names") is not None
        values = get_by_path(config, "data.label_values") if declared else names
        self.space = LabelSpace.from_names(names, values)
        mapping = get_by_path(config, "data.label_map")
        self._map = None if mapping is None else LabelMap(mapping)

    def map_labels(self, label: RawLabel | tuple[Any, ...] | TokenLabels) -> Any:
        """A label, or those of a row, by the names that the run gave them; None if it left them
        out.
        """
        if self._map is None or isinstance(label, TokenLabels):
            return label
        return self._map.map_labels(label)

    def find_names(self, record: RawRecord) -> set[str] | None:
        """The model's names of the labels of a row; None if it has none, or some unknown to it."""
        label = self.map_labels(record.label)
        if label is None:
            return None
        classes = [self.find_class(one) for one in (label if isinstance(label, tuple) else [label])]
        known = [self.space.names[place] for place in classes if place is not None]
        return set(known) if len(known) == len(classes) else None

    def find_class(self, label: Any) -> int | None:
        """The class of a label that is mapped; None if it is none of the model's."""
        if isinstance(label, tuple | TokenLabels):
            return None
        try:
            return self.space.class_index(label, "")
        except UserError:
            return None


class _Unknown:
    """Labels that the model does not know, so that no figure would be true."""

    def __init__(self) -> None:
        self.first = ""
        self.num_left_out = 0

    def describe(self, figure: str) -> str:
        return f"no {figure}: the label {self.first!r} is none of the model's {_LEAVE_ALONE}"

    def describe_rows(self, count: int, right: int | None = None) -> str:
        """The rows behind a figure, in brackets."""
        rows = format_quantity(count, "labelled row")
        left_out = f"; data.label_map leaves out {self.num_left_out:,}" * bool(self.num_left_out)
        return f"({rows if right is None else f'{right:,} of {rows}'}{left_out})"


class ClassScore:
    """Accuracy; of labels in an order also their mean distance and quadratic kappa."""

    def __init__(self, labels: ModelLabels, *, is_ordinal: bool) -> None:
        self.labels, self._is_ordinal = labels, is_ordinal
        self._unknown = _Unknown()
        # rows by true class and answer
        size = len(labels.space.names)
        self._counts = [[0] * size for _ in range(size)]

    def add(self, record: RawRecord, answer: "TextPrediction") -> None:
        if record.label is None:
            return
        label = self.labels.map_labels(record.label)
        if label is None:
            self._unknown.num_left_out += 1
            return
        found = self.labels.find_class(label)
        if found is None:
            self._unknown.first = self._unknown.first or str(record.label)
            return
        self._counts[found][self.labels.space.names.index(answer.predicted)] += 1

    def describe(self) -> str | None:
        if self._unknown.first:
            return self._unknown.describe("accuracy")
        count = sum(map(sum, self._counts))
        if not count:
            return None
        right = sum(row[place] for place, row in enumerate(self._counts))
        rows = self._unknown.describe_rows(count, right)
        line = f"accuracy {right / count:.4f} {rows}"
        return line + self._describe_ranks(count) if self._is_ordinal else line

    def _describe_ranks(self, count: int) -> str:
        size = range(len(self._counts))
        true = [sum(row) for row in self._counts]
        answered = [sum(row[place] for row in self._counts) for place in size]
        cells = [(one, other) for one in size for other in size]
        distance = sum(abs(one - other) * self._counts[one][other] for one, other in cells) / count
        squares = sum((one - other) ** 2 * self._counts[one][other] for one, other in cells)
        chance = sum((one - other) ** 2 * true[one] * answered[other] for one, other in cells)
        kappa = f"{1 - squares * count / chance:.4f}" if chance else "undefined"
        return f", mean distance {distance:.4f} ranks, quadratic kappa {kappa}"


class LabelSetScore:
    """Of rows with any number of labels: the share of rows with exactly the right ones, and the
    mean of the labels' F1.
    """

    def __init__(self, labels: ModelLabels) -> None:
        self.labels = labels
        self._unknown = _Unknown()
        self._count = self._exact = 0
        # for each label, the rows that have it and get it, have it, and get it
        self._right, self._true, self._answered = ([0] * len(labels.space.names) for _ in range(3))

    def add(self, record: RawRecord, answer: "TextPrediction") -> None:
        if record.label is None:
            return
        labels = self.labels.map_labels(record.label)
        if labels is None:
            self._unknown.num_left_out += 1
            return
        labels = labels if isinstance(labels, tuple) else (labels,)
        classes = {label: self.labels.find_class(label) for label in labels}
        if (label := next((one for one, found in classes.items() if found is None), None)) is None:
            self._count_row(set(classes.values()), set(answer.labels))
        else:
            self._unknown.first = self._unknown.first or str(label)

    def _count_row(self, true: set[int | None], answered: set[str]) -> None:
        self._count += 1
        is_exact = True
        for place, name in enumerate(self.labels.space.names):
            has, gets = place in true, name in answered
            self._right[place] += has and gets
            self._true[place] += has
            self._answered[place] += gets
            is_exact &= has == gets
        self._exact += is_exact

    def describe(self) -> str | None:
        if self._unknown.first:
            return self._unknown.describe("exact match")
        if not self._count:
            return None
        rows = self._unknown.describe_rows(self._count, self._exact)
        line = f"exact match {self._exact / self._count:.4f} {rows}"
        totals = [one + other for one, other in zip(self._true, self._answered, strict=True)]
        scores = [
            2 * right / total for right, total in zip(self._right, totals, strict=True) if total
        ]
        if not scores:
            return f"{line}, macro F1 undefined: no row has a label or gets one"
        over = "" if len(scores) == len(totals) else f" over {len(scores)} of {len(totals)} labels"
        return f"{line}, macro F1 {sum(scores) / len(scores):.4f}{over}"


class ValueScore:
    """Root of the mean squared error, and Pearson's correlation."""

    def __init__(self) -> None:
        self._unreadable = ""
        self._count = 0
        self._squares = 0.0
        # running means of labels and answers, and sums of products of deviations from them
        self._means = (0.0, 0.0)
        self._spreads = (0.0, 0.0, 0.0)

    def add(self, record: RawRecord, answer: "TextPrediction") -> None:
        if record.label is None:
            return
        try:
            if isinstance(record.label, tuple | TokenLabels):
                raise UserError("no number")
            true = parse_regression_target(record.label, "")
        except UserError:
            self._unreadable = self._unreadable or str(record.label)
            return
        value = float(answer.predicted)
        self._count += 1
        self._squares += (true - value) ** 2
        first, second = true - self._means[0], value - self._means[1]
        self._means = (
            self._means[0] + first / self._count,
            self._means[1] + second / self._count,
        )
        rest = value - self._means[1]
        of_labels, of_answers, of_both = self._spreads
        self._spreads = (
            of_labels + first * (true - self._means[0]),
            of_answers + second * rest,
            of_both + first * rest,
        )

    def describe(self) -> str | None:
        if self._unreadable:
            return f"no RMSE: the label {self._unreadable!r} is no number {_LEAVE_ALONE}"
        if not self._count:
            return None
        of_labels, of_answers, of_both = self._spreads
        spread = math.sqrt(of_labels * of_answers)
        pearson = f"{of_both / spread:.4f}" if spread else "undefined (one side does not vary)"
        return (
            f"RMSE {math.sqrt(self._squares / self._count):.4g}, Pearson {pearson} "
            f"({format_quantity(self._count, 'labelled row')})"
        )


class WordScore:
    """F1 of entities, which are right with their first word, their last word and their type; the
    accuracy of words where tags are about no entities.

    Args:
        names: of the model's tags.
        config: of the run, which names tags that files write as numbers.
    """

    def __init__(self, names: Sequence[str], config: Mapping[str, Any]) -> None:
        self._scheme = TagScheme(tuple(names), list_entity_types(names), "")
        declared = get_by_path(config, "data.label_names")
        self._declared = read_label_names(declared) if isinstance(declared, str) else declared
        self._unknown = ""
        self._count = self._right = self._true = self._answered = 0

    def add(self, record: RawRecord, answer: "TextPrediction") -> None:
        if record.label is None:
            return
        try:
            true = set(self._scheme.list_entities(record, self._declared))
        except UserError as error:
            self._unknown = self._unknown or str(error)
            return
        found = {(one.start, one.end, one.type) for one in answer.entities or ()}
        self._count += 1
        self._right += len(true & found)
        self._true += len(true)
        self._answered += len(found)

    def describe(self) -> str | None:
        figure = "F1" if self._scheme.types else "accuracy"
        if self._unknown:
            return f"no {figure}: {self._unknown} {_LEAVE_ALONE}"
        if not self._count:
            return None
        texts = format_quantity(self._count, "labelled text")
        if not self._scheme.types:
            share = self._right / max(1, self._true)
            return f"accuracy {share:.4f} ({self._right:,} of {self._true:,} words in {texts})"
        if not self._true + self._answered:
            return f"no F1: no entity in {texts}, and none was found"
        return (
            f"entity F1 {2 * self._right / (self._true + self._answered):.4f}, "
            f"precision {_divide(self._right, self._answered)}, "
            f"recall {_divide(self._right, self._true)} "
            f"({self._true:,} entities in {texts})"
        )


def _divide(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "undefined"
