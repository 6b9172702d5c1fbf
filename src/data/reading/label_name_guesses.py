"""The options without which labels are not what they seem to be, or not called as was typed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.core.user_errors import UserError
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.columns import ColumnSelection
from src.data.reading.file_contents import FileContents
from src.data.reading.label_cells import are_repeated_names, split_labels
from src.data.reading.label_guesses import NUMBER_PATTERN, guess_task
from src.data.rows.labels import LabelSpace
from src.data.rows.odd_labels import guess_label_separator
from src.data.rows.written_labels import are_multi_hot

# More names are better kept in a file.
_LISTED_NAMES = 20
_MOST_BYTES = 1 << 16


def find_names_file(files: Iterable[Path], labels: Collection[str]) -> Path | None:
    """The file that has as many lines as there are labels, where these are numbers from 0 or 1 on;
    None if there is none, or several.
    """
    numbers = sorted(int(label) for label in labels if label.isdecimal())
    if len(numbers) < max(2, len(labels)) or numbers[0] > 1:
        return None
    found = [
        file
        for file in files
        if file.is_file()
        and file.stat().st_size < _MOST_BYTES
        and _count_names(file) == numbers[-1] + (numbers[0] == 0)
    ]
    return found[0] if len(found) == 1 else None


def _count_names(file: Path) -> int:
    """The lines of a file that may be names; 0 if some are none."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        return 0
    names = [line.strip() for line in lines if line.strip()]
    are_names = len({*names}) == len(names) and all(len(name) <= 60 for name in names)
    return len(names) if are_names else 0


def guess_label_options(
    contents: FileContents, names: Sequence[str | float] | None, typed: Mapping[str, str]
) -> tuple[dict[str, str], str | None]:
    """The options that are missing, as they are typed, and what should be known of them.

    Args:
        names: of the labels, as they were typed.
        typed: the options of `data` that were typed.
    """
    if contents.tags is not None:
        if not (count := contents.tags.needed_names):
            return {}, None
        stand_ins = [f"NAME{number}" for number in range(count)]
        value = f"[{','.join(stand_ins)}]" if count <= _LISTED_NAMES else "NAMES.txt"
        return {"data.label_names": value}, (
            f"put the names of its {count} tags into data.label_names, in the order of their "
            "numbers from 0"
        )
    if names is None or {"data.label_values", "data.label_map"} & typed.keys():
        return {}, None
    try:
        space = LabelSpace.from_names(names)
        space.class_indices(dict.fromkeys(contents.labels, "the files"), "train")
    except UserError as error:
        values = space.guess_values(set(contents.labels))
        return {} if values is None else {"data.label_values": f"[{','.join(values)}]"}, str(error)
    return {}, None


def guess_label_reading(
    options: Mapping[str, Any], profiles: Sequence[ColumnProfile], columns: ColumnSelection
) -> dict[str, Any]:
    """Options without which labels are not what they seem to be."""
    by_name = {profile.name: profile for profile in profiles}
    if any(options.get(f"label_{key}") is not None for key in ("separator", "threshold")):
        return {}
    if columns.has_label_columns:
        known = [by_name[name] for name in columns.label_columns]
        # of columns of one name the words are the labels
        hold_words = are_repeated_names([*map(str, columns.label_columns)]) and not any(
            one.is_numeric for one in known
        )
        says_itself = hold_words or all(one.is_yes_no or not one.filled for one in known)
        return {} if says_itself else {"label_threshold": 0.5}
    if isinstance(columns.label, str | int) and columns.label in by_name:
        profile = by_name[columns.label]
        written: dict[str, Any] = (
            {"decimal": profile.decimal} if profile.decimal is not None else {}
        )
        if profile.has_unit and guess_task(profile) == "regression":
            written["label_pattern"] = NUMBER_PATTERN
        if profile.are_multi_hot:
            return {"label_threshold": 0.5}
        if written or profile.has_unit:
            return {key: value for key, value in written.items() if options.get(key) is None}
        are_of_words = profile.holds_spans or profile.holds_tags
        found = None if profile.is_nested or are_of_words else guess_label_separator(profile.labels)
        if found is None:
            return {}
        signs: dict[Any, Any] = {"0": 0, "1": 1}
        parts = [split_labels(label, found[0]) for label in profile.labels]
        marks = [[signs.get(part, part) for part in one] for one in parts]
        places = {"label_threshold": 0.5} if are_multi_hot(marks) else {}
        return {"label_separator": found[0], **places}
    return {}
