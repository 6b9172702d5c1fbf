"""The report of a run as one HTML page: pictures are inside, and neither network nor script is
needed.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from src.core.html_page import embed_picture, wrap_page
from src.evaluation.token_heat_map import HEAT_MAP_STYLE

# of a table on the page; the file beside it has all
_MOST_ROWS = 60
_STYLE = f"td.text {{ min-width: 22rem; }} {HEAT_MAP_STYLE}"


class Section(NamedTuple):
    """A part of the page.

    Args:
        title: its heading.
        lines: sentences below it.
        figure: the name of its picture, if it has one.
        table: the name of its table, if it has one.
        html: what the page shows in the place of picture and table, HTML already.
    """

    title: str
    lines: tuple[str, ...] = ()
    figure: str | None = None
    table: str | None = None
    html: str = ""


def render_page(
    title: str,
    result: str,
    sections: Sequence[Section],
    tables: Mapping[str, Mapping[str, Sequence[Any]]],
    pictures: Mapping[str, bytes],
) -> str:
    """The page.

    Args:
        title: the name of the run.
        result: what was measured, in one line.
        sections: in their order; they name tables and pictures.
        tables: columns by table.
        pictures: PNG files by name.
    """
    body = [f"<h1>{escape(title)}</h1>", f"<p><b>{escape(result)}</b></p>"]
    for section in sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [f'<p class="note">{escape(line)}</p>' for line in section.lines]
        body.append(section.html)
        if section.figure is not None and section.figure in pictures:
            body.append(embed_picture(pictures[section.figure], section.title))
        if section.table is not None and section.table in tables:
            body.append(_render_table(section.table, tables[section.table]))
    return wrap_page(title, body, style=_STYLE)


def _render_table(name: str, table: Mapping[str, Sequence[Any]]) -> str:
    count = max(map(len, table.values()), default=0)
    is_number = {
        column: all(isinstance(value, int | float | None) for value in values[:_MOST_ROWS])
        for column, values in table.items()
    }
    head = "".join(
        f"<th{' class=n' * is_number[column]}>{escape(column.replace('_', ' '))}</th>"
        for column in table
    )
    rows = [
        "<tr>"
        + "".join(
            _render_cell(values[row], column, is_number[column]) for column, values in table.items()
        )
        + "</tr>"
        for row in range(min(count, _MOST_ROWS))
    ]
    more = (
        f'<p class="note">{count - _MOST_ROWS:,} more rows stand in {escape(name)}.json</p>'
        if count > _MOST_ROWS
        else ""
    )
    return f'<div class="table"><table><tr>{head}</tr>{"".join(rows)}</table></div>{more}'


def _render_cell(value: Any, column: str, is_number: bool) -> str:
    if is_number:
        shown = (
            "" if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
        )
        return f"<td class=n>{shown}</td>"
    kind = " class=text" if column.endswith(("text", "pair")) else ""
    return f"<td{kind}>{escape('' if value is None else str(value))}</td>"
