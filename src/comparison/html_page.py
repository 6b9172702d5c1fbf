"""Self-contained HTML: a page without network and script, its tables, intervals drawn as SVG."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_STYLE = """
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #22303c;
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
p { margin: .3rem 0; } .verdict { font-size: 1.05rem; font-weight: 600; } .note { color: #5b6873; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid #e4e8eb; overflow-wrap: normal; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr.strong td { font-weight: 600; } svg text { font: 12px system-ui, sans-serif; fill: #22303c; }
"""
# in pixels
_ROW, _LABEL, _CHART, _VALUE = 24, 230, 420, 210
_COLOUR = "#0072b2"


class Interval(NamedTuple):
    """A line of a chart: a value with its interval where it has one."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str


def wrap_page(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts that are HTML already."""
    body = "\n".join(filter(None, [f"<h1>{escape(title)}</h1>", *parts]))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def render_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers_from: int = 10**6,
    strong: int = -1,
) -> str:
    """A table of texts; columns from `numbers_from` on are aligned to the right."""

    def render(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place >= numbers_from else ''}>{escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    lines = [
        f"<tr{' class=strong' if place == strong else ''}>{render('td', row)}</tr>"
        for place, row in enumerate(rows)
    ]
    return (
        f'<div class="table"><table><thead><tr>{render("th", head)}</tr></thead><tbody>'
        f"{''.join(lines)}</tbody></table></div>"
    )


def draw_intervals(title: str, intervals: Sequence[Interval]) -> str:
    """A dot for each value and a line for its interval, on a common scale."""
    if not intervals:
        return ""
    ends = [
        number
        for one in intervals
        for number in (one.value, one.low, one.high)
        if number is not None
    ]
    low, high = min(ends), max(ends)
    spread = (high - low) or abs(high) or 1.0

    def place(value: float) -> float:
        return _LABEL + 10 + (value - low + 0.02 * spread) / (1.04 * spread) * (_CHART - 20)

    parts = []
    for number, one in enumerate(intervals):
        y = _ROW * number + _ROW / 2
        if one.low is not None and one.high is not None:
            parts.append(
                f'<line x1="{place(one.low):.1f}" x2="{place(one.high):.1f}" y1="{y}" y2="{y}" '
                f'stroke="{_COLOUR}" stroke-width="2"/>'
            )
        parts.append(f'<circle cx="{place(one.value):.1f}" cy="{y}" r="4" fill="{_COLOUR}"/>')
        parts.append(f'<text x="0" y="{y + 4}">{escape(one.label)}</text>')
        parts.append(f'<text x="{_LABEL + _CHART + 8}" y="{y + 4}">{escape(one.text)}</text>')
    axis = _ROW * len(intervals) + 2
    parts.append(
        f'<line x1="{_LABEL}" x2="{_LABEL + _CHART}" y1="{axis}" y2="{axis}" stroke="#9aa5ae"/>'
    )
    for end in dict.fromkeys((low, high)):
        parts.append(
            f'<text x="{place(end):.1f}" y="{axis + 15}" text-anchor="middle">{end:.4g}</text>'
        )
    width, height = _LABEL + _CHART + _VALUE, axis + 20
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
