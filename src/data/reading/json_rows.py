"""JSON: one object or list a line, or all of them in one value."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.core.formatting import format_python_command
from src.core.user_errors import UserError
from src.data.reading.bad_rows import RowErrors
from src.data.reading.columns import ColumnSelection, build_record, check_columns
from src.data.reading.decoding import InputFile, find_line_error, read_text_lines
from src.data.reading.json_shapes import find_items, is_row_per_line, list_part_rows
from src.data.rows.nested_values import list_keys, look_up
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import is_word_list

_EXPECTED = "expected one JSON object a line"
# By which the names of values in lists are guessed.
_SAMPLE_ITEMS = 100
# What a column of words is called: a list there is no column of a table.
_WORD_COLUMNS = ("tokens", "words")
# A line as Python shows an object, as in the reviews of Steam.
_PYTHON_ROW = re.compile(r"\s*[{\[]\s*u?'")
_JSON_TYPE_NAMES: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
}


class JsonStyle(NamedTuple):
    """How JSON is written.

    Args:
        header: whether rows have names for their values.
        names: of the values of rows that are lists.
    """

    encoding: str
    header: bool = True
    names: tuple[str, ...] | None = None


def read_json_rows(
    file: InputFile,
    columns: ColumnSelection,
    style: JsonStyle,
    keep_other: bool = False,
    keep_bad: bool = False,
) -> Iterator[RawRecord]:
    """Read JSON. Some row must have each requested column. The text of a row that lacks its key is
    empty, which is remarked.

    A column is a key, or a path of keys with dots between them ("review.text").
    """
    names = read_json_keys(file, columns, style, keep_bad)
    if names:
        check_columns(file.name, columns, names)
    texts = [str(column) for column in columns.text_columns]
    wanted = columns.requested_names()
    errors = RowErrors(keep_bad)
    for where, row in iter_json_objects(file, style, texts, errors):
        yield from errors.take_records()
        values = {column: look_up(row, column) for column in wanted}
        try:
            record = build_record(columns, values, where)
        except UserError as error:
            errors.add(error)
            continue
        # an empty object is an empty row
        if row and all(values[text] is None for text in texts) and not _has_any(texts, row):
            record = record._replace(remark=f"without '{texts[0]}' (data.source.text)")
        yield record._replace(other=row if keep_other else None)
    yield from errors.take_records()


def read_json_keys(
    file: InputFile, columns: ColumnSelection, style: JsonStyle, keep_bad: bool = False
) -> list[str]:
    """The keys of the first objects, up to where all requested columns have been seen; keys inside
    others as paths with dots. Empty if there is no object, or none with a key.
    """
    names: dict[str, None] = {}
    wanted = set(columns.requested_names())
    texts = [str(column) for column in columns.text_columns]
    for _, row in iter_json_objects(file, style, texts, RowErrors(keep_bad)):
        names.update(dict.fromkeys(list_keys(row)))
        # through lists too
        names.update(dict.fromkeys(one for one in wanted if look_up(row, one) is not None))
        if wanted <= names.keys():
            break
    return list(names)


def _explain_python(path: Path) -> str:
    """What to do with lines that are objects as Python shows them."""
    lines = f"for line in open({str(path)!r})"
    command = format_python_command(
        f"import ast, json; [print(json.dumps(ast.literal_eval(line))) {lines}]"
    )
    target = shlex.quote(f"{path}.jsonl")
    return f"it is written as Python shows it; {command} > {target} writes it as JSON"


def _has_any(columns: Sequence[str], row: dict[str, Any]) -> bool:
    """Whether a row has one of some columns, be it null."""
    return not set(columns).isdisjoint(list_keys(row))


def iter_json_objects(
    file: InputFile, style: JsonStyle, texts: Sequence[str], errors: RowErrors | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects with where they stand: line by line, or item by item of a file that is one value.

    An object that has one of `texts` is a row, whatever arrays it holds elsewhere. A row that is a
    list is an object of the names that `style` has.

    Args:
        errors: takes those of lines and items; None: they are raised.
    """
    errors = errors or RowErrors(keep=False)
    if file.member is not None:
        value = json.loads("".join(read_text_lines(file, style.encoding)))
        yield from _name_items(file, style, texts, list_part_rows(value[file.member]), errors)
        return
    first = True
    lines = read_text_lines(file, style.encoding, keep_bad=errors.keep)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        if errors.keep and (broken := find_line_error(line, style.encoding, where)):
            errors.add(broken)
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if first and (items := _parse_whole_file(file, style, texts)) is not None:
                yield from _name_items(file, style, texts, items, errors)
                return
            reason = (
                f"{error.msg} at column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else error
            )
            whole = _explain_whole_file(file, style) if first and _may_go_on(line) else None
            python = _explain_python(file.path) if _PYTHON_ROW.match(line) else None
            hint = python or whole or _EXPECTED
            errors.add(UserError(f"{where}: not valid JSON ({reason}); {hint}"))
            first = False
            continue
        row = _pair_lone_key(row, style, texts)
        items = find_items(row, texts) if first and not _is_row(row, texts) else None
        if items is not None and _parse_whole_file(file, style, texts) is not None:
            yield from _name_items(file, style, texts, items, errors)
            return
        first = False
        try:
            named = _name_values(row, style, texts, where)
        except UserError as error:
            errors.add(error)
            continue
        yield where, named


def _pair_lone_key(row: Any, style: JsonStyle, texts: Sequence[str]) -> Any:
    """A list of a text and its label, of an object that has one key, the text; else the row."""
    if not isinstance(row, dict) or len(row) != 1:
        return row
    [(key, value)] = row.items()
    is_text = " " in key.strip() or style.names is not None
    is_pair = is_text and key not in texts and isinstance(value, str | int | float)
    return [key, value] if is_pair else row


def _is_row(value: Any, texts: Sequence[str]) -> bool:
    """Whether a value is an object that has a text."""
    return isinstance(value, dict) and any(
        not isinstance(value.get(text), dict | list)
        or (text in _WORD_COLUMNS and is_word_list(value.get(text)))
        for text in texts
        if text in list_keys(value)
    )


def _parse_whole_file(file: InputFile, style: JsonStyle, texts: Sequence[str]) -> list[Any] | None:
    """The rows of a file that is one JSON value; None if it is not, or holds none."""
    if is_row_per_line(file, style.encoding):
        return None
    try:
        value = json.loads("".join(read_text_lines(file, style.encoding)))
    except (ValueError, RecursionError):
        return None
    return [value] if _is_row(value, texts) else find_items(value, texts)


def _may_go_on(line: str) -> bool:
    """Whether a line that is no JSON may be the beginning of some."""
    return line.lstrip().startswith(("{", "["))


def _explain_whole_file(file: InputFile, style: JsonStyle) -> str | None:
    """What is wrong with a file that begins as one value over several lines; None if nothing more
    is known.
    """
    if is_row_per_line(file, style.encoding):
        return None
    try:
        json.loads("".join(read_text_lines(file, style.encoding)))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return (
                f"another value begins at line {error.lineno}: one after the other they stand on "
                "one line each (jq -c . FILE), or in an array"
            )
        # of the first line the message has spoken already
        if error.lineno > 1:
            return f"as one value it is broken at line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError):
        pass
    return None


def _name_items(
    file: InputFile, style: JsonStyle, texts: Sequence[str], items: list[Any], errors: RowErrors
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(items, start=1):
        where = f"{file.name}, item {number}"
        try:
            named = _name_values(item, style, texts, where, items)
        except UserError as error:
            errors.add(error)
            continue
        yield where, named


def _name_values(
    row: Any, style: JsonStyle, texts: Sequence[str], where: str, items: Sequence[Any] = ()
) -> dict[str, Any]:
    """A row as an object: a list becomes one of the columns' names.

    Args:
        items: rows of its kind, by which names are proposed.
    """
    if isinstance(row, dict):
        return row
    if not isinstance(row, list):
        kind = _JSON_TYPE_NAMES.get(type(row), "null")
        raise UserError(f"{where}: {kind} and no object; {_EXPECTED}")
    if style.header and style.names is None:
        raise UserError(
            f"{where}: a list, whose values have no names",
            hint=f"data.source.columns=[{','.join(_guess_names(row, items, texts))}] names them",
        )
    if style.names is not None and len(row) != len(style.names):
        raise UserError(f"{where}: {len(row)} values, data.source.columns names {len(style.names)}")
    return dict(zip(style.names or map(str, range(len(row))), row, strict=True))


def _guess_names(row: list[Any], items: Sequence[Any], texts: Sequence[str]) -> list[str]:
    """Names for the values of a list: the longest is the text, any other the label, or notes where
    it is an object.
    """
    alike = [item for item in items[:_SAMPLE_ITEMS] if isinstance(item, list)]
    rows = [item for item in alike if len(item) == len(row)] or [row]
    longest = max(
        range(len(row)), key=lambda place: sum(len(str(item[place])) for item in rows), default=0
    )
    if {type(item[-1]) for item in rows if len(item) == 2} == {dict}:
        # spaCy's texts with their annotations
        return [texts[0], "notes"]
    names = ["label", *(f"column{place}" for place in range(2, len(row)))]
    names.insert(longest, texts[0])
    return names[: len(row)]
