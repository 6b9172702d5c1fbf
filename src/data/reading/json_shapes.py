"""Where the rows are in a JSON value that is a whole file: arrays, objects around arrays, tables
kept by column, and several splits in one object.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeGuard

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_names import SPLIT_ALIASES, SplitFiles

_SPLIT_NAMES = {*SPLIT_ALIASES, *chain(*SPLIT_ALIASES.values())}


def find_items(value: Any, texts: Sequence[str]) -> list[Any] | None:
    """The rows in a JSON value, objects or lists; None if it holds none, or several tables.

    Rows are the items of an array, of the only array in an object, or of several objects in its
    objects, the lists of `data` beside the names in `columns`, the objects in an object of objects
    that have one of `texts`, what stands at the same place of every column where a column of
    `texts` is itself an array or object, or keys with what they stand for: a text with its label,
    or a label with one of its texts.
    """
    if isinstance(value, list):
        return value if _is_table(value) else None
    if not isinstance(value, dict):
        return None
    if any(isinstance(value.get(text), list | dict) for text in texts):
        return _find_columns(value)
    if (rows := _name_cells(value)) is not None:
        return rows
    inner = [part for part in value.values() if isinstance(part, dict)]
    if len(inner) == len(value) > 0 and all(set(texts) & row.keys() for row in inner):
        return inner
    if len(inner) == len(value) > 2 and _are_alike(inner):
        return inner
    arrays = [part for part in value.values() if isinstance(part, list) and _is_table(part)]
    if not arrays and len(tables := list(_list_inner_tables(value))) == 1:
        return tables[0]
    return arrays[0] if len(arrays) == 1 else _pair_keys(value)


def _are_alike(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether objects have the same keys, two at least, that are no numbers, as of the cells in
    a table by column are.
    """
    keys = rows[0].keys()
    named = len(keys) > 1 and not any(key.isdecimal() for key in keys)
    return named and all(row.keys() == keys for row in rows)


def _list_inner_tables(value: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The arrays of several objects in the objects of an object."""
    for part in value.values():
        if isinstance(part, dict):
            yield from _list_inner_tables(part)
        elif isinstance(part, list) and len(part) > 1 and all(isinstance(x, dict) for x in part):
            yield part


def _name_cells(value: Mapping[str, Any]) -> list[Any] | None:
    """The rows of a table whose names of columns stand apart, as pandas writes it with
    orient="split"; None if it is none.
    """
    names, rows = value.get("columns"), value.get("data")
    if not _is_array_of_texts(names) or not isinstance(rows, list) or len(set(names)) < len(names):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]


def _pair_keys(value: Mapping[str, Any]) -> list[Any] | None:
    """Lists of a key and a value, of an object that goes from texts to labels, or from labels to
    arrays of texts; None of one whose keys seem to be the names of columns.
    """
    parts = list(value.values())
    if len(parts) > 1 and all(_is_array_of_texts(part) for part in parts):
        # in a column of labels some come again
        are_columns = len(set(map(len, parts))) == 1 and any(
            len(set(part)) < len(part) for part in parts
        )
        return None if are_columns else [[key, text] for key in value for text in value[key]]
    spaced = sum(" " in key.strip() for key in value)
    plain = all(isinstance(part, str | int | float) for part in parts)
    return (
        [[key, part] for key, part in value.items()] if plain and 2 * spaced > len(value) else None
    )


def _is_array_of_texts(part: Any) -> TypeGuard[list[str]]:
    return isinstance(part, list) and bool(part) and all(isinstance(item, str) for item in part)


def _is_table(items: list[Any]) -> bool:
    return bool(items) and isinstance(items[0], dict | list)


def _find_columns(value: Mapping[str, Any]) -> list[Any] | None:
    """The rows of a table that is kept by column, as pandas writes it."""
    columns = {
        name: list(part.values()) if isinstance(part, dict) else part
        for name, part in value.items()
        if isinstance(part, dict | list)
    }
    if len(columns) < len(value) or len(set(map(len, columns.values()))) != 1:
        return None
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def is_row_per_line(file: InputFile, encoding: str) -> bool:
    """Whether the second and the third line that are not blank are objects by themselves, which
    they are in no file that is one value: a comma would part them. It spares large files with a row
    a line from being read as a whole.
    """
    lines = (line for line in read_text_lines(file, encoding, keep_bad=True) if line.strip())
    try:
        below = [json.loads(line) for line in islice(lines, 1, 3)]
    except (ValueError, RecursionError):
        return False
    return len(below) == 2 and all(isinstance(value, dict) for value in below)


def split_parts(
    layout: SplitFiles, names: Mapping[str, str], encodings: Sequence[str]
) -> SplitFiles:
    """The layout of a lone JSON file that holds splits by name, `{"train": [...], "val": [...]}`;
    any other layout unchanged.

    Raises:
        UserError: it holds several tables, and none is called as a split is.
    """
    lone = layout.files.get("train", ())
    if layout.format != "jsonl" or len(lone) != 1 or lone[0].label is not None:
        return layout
    parts = list_parts(lone[0], choose_encoding(lone[0], encodings).name)
    if len(parts) < 2:
        return layout
    by_name = {part.casefold(): part for part in parts}
    files: dict[str, tuple[InputFile, ...]] = {}
    for split, name in names.items():
        if (part := by_name.get(name.casefold())) is not None:
            files[split] = (lone[0]._replace(member=part, name=f"{lone[0].name}, {part}"),)
    if not files:
        raise UserError(
            f"several tables in one file, {', '.join(parts)}",
            where=lone[0].name,
            hint="data.source.train=NAME says which is train",
        )
    taken = [file.member for (file,) in files.values()]
    return SplitFiles(layout.format, files, tuple(part for part in parts if part not in taken))


def list_parts(file: InputFile, encoding: str) -> tuple[str, ...]:
    """The names of the tables in a file that is one JSON object, if it holds some."""
    facts = file.path.stat()
    return _list_parts(file, encoding, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _list_parts(file: InputFile, encoding: str, *_facts: int) -> tuple[str, ...]:
    if not _begins_as_lone_object(file, encoding):
        return ()
    try:
        value = json.loads("".join(read_text_lines(file, encoding)))
    except (ValueError, RecursionError):
        return ()
    return _name_tables(value)


def _name_tables(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of arrays of rows in an object; of tables by column, where one is called as a split
    is: rows that hold lists of words look the same.
    """
    arrays = tuple(
        name for name, part in value.items() if isinstance(part, list) and _is_table(part)
    )
    is_split = any(name.casefold() in _SPLIT_NAMES for name in value)
    if arrays or not is_split or not all(map(_is_kept_by_column, value.values())):
        return arrays
    return (*value,)


def _is_kept_by_column(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and all(isinstance(column, list) for column in part.values())
        and bool(_find_columns(part))
    )


def list_part_rows(part: Any) -> list[Any]:
    """The rows of one of the tables that `list_parts` names."""
    return part if isinstance(part, list) else _find_columns(part) or []


def _begins_as_lone_object(file: InputFile, encoding: str) -> bool:
    """Whether a file's first line begins an object that goes on, or ends one that has a table.

    It spares files of one object a line from being read as a whole.
    """
    lines = read_text_lines(file, encoding, keep_bad=True)
    first = next((line for line in lines if line.strip()), "")
    if not first.lstrip().startswith("{") or is_row_per_line(file, encoding):
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return True
    return bool(_name_tables(value))
