"""The pattern by which several columns become one text: `{title}: {body}`."""

from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

from src.core.user_errors import UserError

KEY = "data.source.template"


@lru_cache(maxsize=16)
def parse_template(template: str) -> tuple[tuple[str, str | None], ...]:
    """What stands before each column, and the column; None behind the last one.

    Raises:
        UserError: braces are left open or empty, or there are none.
    """
    expected = "columns in braces, such as {title}: {body}"
    try:
        # a column may be called "a:b", "a!r" or "a.b"
        parts = [
            (before, None if name is None else _join_name(name, spec, conversion))
            for before, name, spec, conversion in Formatter().parse(template)
        ]
    except ValueError as error:
        raise UserError(
            f"no template ({error})", key=KEY, value=template, expected=expected
        ) from error
    columns = [column for _, column in parts if column is not None]
    if not columns or not all(columns):
        raise UserError(key=KEY, expected=expected, found=repr(template))
    return tuple(parts)


def find_template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names, in their order, without repeats."""
    columns = (column for _, column in parse_template(template) if column is not None)
    return tuple(dict.fromkeys(columns))


def fill_template(template: str, texts: Mapping[str, str]) -> str:
    """The text of a row; empty where all of its columns are.

    Args:
        texts: by column.
    """
    if not any(text.strip() for text in texts.values()):
        return ""
    return "".join(
        before + ("" if column is None else texts[column])
        for before, column in parse_template(template)
    )


def _join_name(name: str, spec: str | None, conversion: str | None) -> str:
    return name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
