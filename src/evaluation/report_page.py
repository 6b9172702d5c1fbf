"""The report of a run as one HTML page: pictures are inside, and neither network nor script is
needed.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

# of a table on the page; the file beside it has all
_MOST_ROWS = 60
_STYLE = """
:root { color-scheme: light dark; --ink: #22303c; --page: #fff; --line: #dde3e8; --soft: #5d6b77; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebef; --page: #14191d; --line: #35404a; --soft: #9fb0bd; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p.note { color: var(--soft); } figure { margin: 1rem 0; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums; } td.text { min-width: 22rem; }
"""


class Section(NamedTuple):
    """A part of the page.

    Args:
        title: its heading.
        lines: sentences below it.
        figure: the name of its picture, if it has one.
        table: the name of its table, if it has one.
    """

    title: str
    lines: tuple[str, ...] = ()
    figure: str | None = None
    table: str | None = None


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
        if section.figure is not None and section.figure in pictures:
            content = base64.b64encode(pictures[section.figure]).decode()
            body.append(
                f'<figure><img alt="{escape(section.title)}" '
                f'src="data:image/png;base64,{content}"></figure>'
            )
        if section.table is not None and section.table in tables:
            body.append(_render_table(section.table, tables[section.table]))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{chr(10).join(body)}
</body>
</html>
"""


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
    kind = " class=text" if column in ("text", "pair") else ""
    return f"<td{kind}>{escape('' if value is None else str(value))}</td>"
