"""Labels merged, renamed or left out before they become classes, as `data.label_map` says."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from src.core.formatting import format_quantity
from src.core.user_errors import UserError, UserErrors
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.rows.labels import LabelSet, RawLabel, canonical_spelling

_KEY = "data.label_map"
_SHOWN_LABELS = 5


class LabelMap:
    """The name of the class of each label; labels without one are left out and counted.

    Labels are compared as those of a `LabelSpace` are: 1, "1" and 1.0 are the same.
    """

    def __init__(self, mapping: Mapping[Any, str | float | None]) -> None:
        self._names = {canonical_spelling(label): name for label, name in mapping.items()}
        self._unseen = dict.fromkeys(self._names)
        self._left_out: Counter[str] = Counter()

    def map_labels(self, label: RawLabel | LabelSet) -> RawLabel | LabelSet:
        """The name of a label; those of the labels of a row that has several; None if none is
        left.
        """
        if not isinstance(label, tuple):
            return None if label is None else self._map_label(label)
        names = {name for one in label if (name := self._map_label(one)) is not None}
        return tuple(sorted(names, key=str)) if names or not label else None

    def _map_label(self, label: str | float) -> str | float | None:
        spelling = canonical_spelling(label)
        self._unseen.pop(spelling, None)
        name = self._names.get(spelling)
        if name is None:
            self._left_out[spelling] += 1
        return name

    def describe(self) -> Iterator[str]:
        """What was left out, and what is named and was never met, in sentences."""
        if self._left_out:
            shown = [f"'{label}' {count:,}" for label, count in self._left_out.most_common()]
            more = f" and {len(shown) - _SHOWN_LABELS} more" * (len(shown) > _SHOWN_LABELS)
            yield f"{_KEY} leaves out the labels {', '.join(shown[:_SHOWN_LABELS])}{more}"
        if self._unseen:
            shown = [f"'{label}'" for label in self._unseen]
            verb = "is" if len(shown) == 1 else "are"
            yield (
                f"{format_quantity(len(shown), 'label')} of {_KEY} {verb} in no row: "
                f"{', '.join(shown[:_SHOWN_LABELS])}"
            )


def build_label_map(value: Any) -> LabelMap | None:
    """The map that a value of `data.label_map` is; None for null.

    Raises:
        UserError: it is no map, or one that cannot be.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UserError(key=_KEY, expected="{LABEL: CLASS, LABEL: CLASS}", found=repr(value))
    if errors := list(find_map_errors(value)):
        raise UserErrors(errors)
    return LabelMap(value)


def find_map_errors(mapping: Mapping[Any, str | float | None]) -> Iterator[UserError]:
    """The errors of a map by itself: labels that YAML has read as true or false, the same label
    twice.
    """
    for label in mapping:
        if isinstance(label, bool):
            yield UserError(
                key=_KEY,
                expected="labels",
                found=str(label).lower(),
                hint="YAML reads yes, no, on, off, true and false as true or false unless they "
                "stand in quotes, such as {'no': neg, 'yes': pos}",
            )
    spellings = Counter(map(canonical_spelling, mapping))
    for label in (one for one, count in spellings.items() if count > 1):
        yield UserError(f"'{label}' stands there {spellings[label]} times", key=_KEY)
    if not any(name is not None for name in mapping.values()):
        yield UserError(
            "leaves out every label", key=_KEY, hint="such as {1: neg, 2: neg, 4: pos}", colon=False
        )


def read_label_names(file: str) -> list[str | float]:
    """The names of classes in a file, one on each line, in the order of their indices.

    Raises:
        UserError: there is no such file, or a line between two names is blank.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(
            "there is no such file",
            key="data.label_names",
            value=file,
            hint="names stand in a list, {key}=[neg,pos], or one a line in a file, "
            "{key}=labels.txt",
        )
    lines = [line.strip() for line in read_text_lines(InputFile(path, path.name), "utf-8")]
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise UserError(
            f"{path.name}, line {lines.index('') + 1}: a blank line between names",
            key="data.label_names",
        )
    return list(lines)
