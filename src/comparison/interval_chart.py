"""Intervals beside each other, drawn as SVG."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

CHART_STYLE = """
.verdict { font-size: 1.05rem; font-weight: 600; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
"""
# in pixels
_ROW, _LABEL, _CHART, _VALUE = 24, 230, 420, 210
_COLOUR = "#0072b2"
# of a label, which would run into the chart
_MOST_CHARACTERS = 34


class Interval(NamedTuple):
    """A line of a chart: a value with its interval where it has one."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str


def _shorten(label: str) -> str:
    """As much of a label as there is room for; the whole one is shown under the pointer."""
    return label if len(label) <= _MOST_CHARACTERS else f"{label[: _MOST_CHARACTERS - 1]}…"


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
        parts.append(
            f'<text x="0" y="{y + 4}"><title>{escape(one.label)}</title>'
            f"{escape(_shorten(one.label))}</text>"
        )
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
