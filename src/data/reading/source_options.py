"""What is wrong with the options of a `Source` by themselves, before any file is looked at."""

import re
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import TYPE_CHECKING

from src.core.user_errors import UserError, did_you_mean, suggest
from src.data.reading.table_rows import CHARACTER_NAMES, parse_character, parse_delimiter
from src.data.rows.text_template import KEY, find_template_columns

if TYPE_CHECKING:
    from src.data.reading.sources import Source


def find_option_errors(source: "Source") -> Iterator[UserError]:
    """Every option that cannot be, alone or beside the others."""
    yield from _find_column_errors(source)
    yield from _find_template_errors(source)
    yield from _find_character_errors(source)
    if not source.encodings:
        yield UserError(key="data.source.encoding", expected="one encoding or more", found="[]")
    for encoding in source.encodings:
        yield from _find_encoding_errors(encoding)
    try:
        re.compile(source.heading or "")
    except re.error as error:
        yield UserError(
            f"not a regular expression ({error})", key="data.source.heading", value=source.heading
        )
    yield from _find_label_errors(source)
    if source.skip_rows is not None and source.skip_rows < 0:
        yield UserError(
            key="data.source.skip_rows", expected="0 or more", found=f"{source.skip_rows}"
        )
    if source.split_column is not None and source.path is None:
        yield UserError(
            "a data set of the hub has its splits",
            key="data.source.split_column",
            value=source.split_column,
            hint="leave this option, or give data.source.path=FILE",
        )
    names = list(source.split_names().values())
    for name in sorted({repeated for repeated in names if names.count(repeated) > 1}):
        yield UserError(
            f"two splits are both called '{name}' (train, validation, test)", key="data.source"
        )


def _find_column_errors(source: "Source") -> Iterator[UserError]:
    named = source.header or source.columns is not None
    for key, column in source.select_columns().requested_columns():
        if isinstance(column, int) and named:
            yield UserError(
                "a position, but the columns have names",
                key=f"data.source.{key}",
                value=column,
                hint="give the name (in quotes where it is a number: "
                f"""'data.source.{key}="{column}"'), or data.source.header=false for a table """
                "without a header",
            )
        if not named and (isinstance(column, str) or column < 0):
            yield UserError(
                "data.source.header=false leaves columns without names",
                key=f"data.source.{key}",
                value=column,
                hint="expected a position, counted from 0, or data.source.columns=[NAME,NAME] with "
                "all names",
            )
    if not source.select_columns().text_columns:
        yield UserError(key="data.source.text", expected="one column or more", found="[]")
    names = list(source.columns or ["text"])
    if not names or len(set(names)) < len(names):
        yield UserError(
            key="data.source.columns",
            expected="the names of all columns, no name twice",
            found=f"[{','.join(names)}]",
        )


def _find_template_errors(source: "Source") -> Iterator[UserError]:
    """The error of a text column that the template does not use, unless it is the default."""
    if source.template is None or source.text == "text":
        return
    named = set(find_template_columns(source.template))
    columns = [source.text] if isinstance(source.text, str | int) else source.text
    if left := [str(column) for column in columns if str(column) not in named]:
        yield UserError(
            f"does not use {', '.join(left)}, which data.source.text names",
            key=KEY,
            value=source.template,
            hint=f"put {{{left[0]}}} into it, or leave data.source.text at text",
            colon=False,
        )


def _find_label_errors(source: "Source") -> Iterator[UserError]:
    columns = source.select_columns()
    if columns.has_label_columns and len(set(map(str, columns.label_columns))) < max(
        2, len(columns.label_columns)
    ):
        yield UserError(
            key="data.source.label",
            expected="one column, or two or more of which each says whether a row has its label",
            found=f"[{','.join(map(str, columns.label_columns))}]",
        )
    for key in ("label_separator", "label_pattern"):
        value = getattr(source, key)
        if value is not None and columns.has_label_columns:
            yield UserError(
                "the columns of data.source.label hold 1 and 0 and no labels",
                key=f"data.source.{key}",
                value=value,
                hint="leave this option",
            )
    if source.label_separator == "":
        yield UserError(key="data.source.label_separator", expected="a character", found="''")
    if source.label_pattern is None:
        return
    try:
        groups = re.compile(source.label_pattern).groups
    except re.error as error:
        problem = f"not a regular expression ({error})"
    else:
        problem = "" if groups == 1 else f"{groups} groups, but one says which part is the label"
    if problem:
        yield UserError(
            problem,
            key="data.source.label_pattern",
            value=source.label_pattern,
            hint="such as '^([^:]+)' for what stands before a colon",
        )


def _find_character_errors(source: "Source") -> Iterator[UserError]:
    for key in ("delimiter", "quote", "escape", "comment"):
        value = getattr(source, key)
        parse = parse_delimiter if key in ("delimiter", "comment") else parse_character
        if value is not None and parse(value) is None:
            yield UserError(
                f"expected one character or its name, one of {', '.join(CHARACTER_NAMES)}",
                key=f"data.source.{key}",
                value=value,
            )
    if source.quoting is False and source.quote is not None:
        yield UserError(
            "data.source.quoting=false makes quotes ordinary characters",
            key="data.source.quote",
            value=source.quote,
            hint="give one of the two",
        )


def _find_encoding_errors(encoding: str) -> Iterator[UserError]:
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError):
        known = {
            name.replace("_", "-")
            for name in aliases.values()
            if not name.endswith(("_codec", "rot_13"))
        }
        near = suggest(encoding, known)
        common = "common ones: utf-8, utf-16, latin-1, cp1252"
        yield UserError(
            "no such text encoding",
            key="data.source.encoding",
            value=encoding,
            hint=common if near is None else did_you_mean(near),
        )
