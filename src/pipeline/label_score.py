"""How many answers agree with the labels that stand beside the texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.core.formatting import format_quantity
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError
from src.data.rows.labels import LabelSpace, RawLabel
from src.data.rows.token_labels import TokenLabels

AnyLabel = RawLabel | tuple[str | int | float, ...] | TokenLabels


class LabelScore:
    """Counts the rows whose label is the predicted one.

    Args:
        label_names: of the model; none for tasks that are not scored.
        config: of the run, which says how its files write the labels.
    """

    def __init__(self, label_names: Sequence[str], config: Mapping[str, Any]) -> None:
        self._space: LabelSpace | None = None
        if label_names:
            declared = get_by_path(config, "data.label_names") is not None
            values = get_by_path(config, "data.label_values") if declared else label_names
            self._space = LabelSpace.from_names(label_names, values)
        self._labelled = 0
        self._right = 0
        # the first one
        self._unknown = ""

    def find_name(self, label: AnyLabel) -> str | None:
        """The model's name of a label; None if it is none of its labels."""
        if self._space is None or isinstance(label, tuple | TokenLabels):
            return None
        try:
            return self._space.names[self._space.class_index(label, "")]
        except UserError:
            return None

    def add(self, label: AnyLabel, predicted: str) -> None:
        """Count the answer for a row; a row without a label does not count."""
        if self._space is None or label is None:
            return
        name = self.find_name(label)
        if name is None:
            self._unknown = self._unknown or str(label)
            return
        self._labelled += 1
        self._right += name == predicted

    def describe(self) -> str | None:
        """The accuracy in one line; None if no row has a label."""
        if self._unknown:
            return (
                f"no accuracy: the label {self._unknown!r} is none of the model's "
                "(data.source.label=null leaves labels alone)"
            )
        if not self._labelled:
            return None
        return (
            f"accuracy {self._right / self._labelled:.4f} "
            f"({self._right:,} of {format_quantity(self._labelled, 'labelled row')})"
        )
