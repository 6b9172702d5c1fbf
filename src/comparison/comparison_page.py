"""A comparison as one HTML page: all groups and metrics, where a terminal has the first ones."""

from html import escape

from src.comparison.comparison import MAX_SHOWN, Comparison, describe_seeds
from src.comparison.comparison_text import (
    describe_single_group,
    format_difference,
    format_mean,
)
from src.comparison.interval_chart import CHART_STYLE, Interval, draw_intervals
from src.core.formatting import MISSING_VALUE_TEXT, format_number, truncate_middle
from src.core.html_page import render_table, wrap_page

_SECTIONS = {
    "configuration": "Configuration",
    "code": "Code",
    "environment": "Environment",
    "data": "Data (digests of the rows)",
}
# characters of a group's name beside the chart
_MAX_LABEL = 32


def render_page(comparison: Comparison) -> str:
    """Everything about a comparison in one file."""
    parts = [f'<p class="note">{escape(line)}</p>' for line in comparison.told]
    if not comparison.verdicts and len(comparison.groups) == 1:
        parts.append(f'<p class="verdict">{escape(describe_single_group(comparison))}</p>')
    parts += [f'<p class="verdict">{escape(one.words)}</p>' for one in comparison.verdicts]
    parts += [f'<p class="note">{escape(line)}</p>' for line in comparison.remarks]
    parts += [_render_chart(comparison), _render_groups(comparison)]
    parts += _render_differences(comparison)
    parts.append(_render_metrics(comparison))
    title = f"Comparison by {comparison.metric}"
    return wrap_page(title, [f"<h1>{escape(title)}</h1>", *parts], style=CHART_STYLE)


def _render_chart(comparison: Comparison) -> str:
    intervals = [
        Interval(
            truncate_middle(f"{group.label}  {_name(comparison, number)}", _MAX_LABEL),
            value.mean,
            value.low,
            value.high,
            format_mean(value, comparison.metric),
        )
        for number, group in enumerate(comparison.groups[:MAX_SHOWN])
        if (value := comparison.metrics[comparison.metric][number]) is not None
    ]
    what = f"{comparison.metric}: mean over seeds with its 95 % interval"
    return f"<h2>{escape(what)}</h2>{draw_intervals(what, intervals)}"


def _name(comparison: Comparison, number: int) -> str:
    return comparison.table.runs[comparison.groups[number].places[0]].name


def _render_groups(comparison: Comparison) -> str:
    runs = comparison.table.runs
    rows = [
        [
            group.label,
            " ".join(runs[place].id[:8] for place in group.places),
            _name(comparison, number),
            " ".join(dict.fromkeys(runs[place].status for place in group.places)),
            describe_seeds(comparison, group),
            format_number(score, 4),
        ]
        for number, (group, score) in enumerate(
            zip(comparison.groups, comparison.scores, strict=True)
        )
    ]
    head = ["", "runs", "name", "status", "seeds", comparison.metric]
    return "<h2>Runs</h2>" + render_table(head, rows, numbers_from=5)


def _render_differences(comparison: Comparison) -> list[str]:
    shown = comparison.groups[:MAX_SHOWN]
    parts = []
    for section, title in _SECTIONS.items():
        differences = getattr(comparison.differences, section)
        if not differences:
            continue
        rows = [
            [
                one.key,
                *(
                    ", ".join(MISSING_VALUE_TEXT if value is None else value for value in values)
                    for values in one.values[: len(shown)]
                ),
            ]
            for one in differences
        ]
        parts.append(f"<h2>{title}</h2>")
        parts.append(render_table(["", *(group.label for group in shown)], rows))
    if len(comparison.groups) > len(shown):
        parts.append(
            f'<p class="note">The tables of differences and metrics have the first {len(shown)} '
            f"of {len(comparison.groups):,} groups; --json has all.</p>"
        )
    if comparison.differences.within:
        keys = ", ".join(comparison.differences.within)
        parts.append(f'<p class="note">Within the groups: {escape(keys)}</p>')
    return parts


def _render_metrics(comparison: Comparison) -> str:
    names = list(comparison.metrics)
    rows = [
        [name, *(format_mean(value, name) for value in values)]
        for name, values in comparison.metrics.items()
    ]
    head = ["", *(group.label for group in comparison.groups[:MAX_SHOWN])]
    if len(comparison.groups) == 2:
        head.append(f"{head[2]} - {head[1]}")
        for row, (name, (first, second)) in zip(rows, comparison.metrics.items(), strict=True):
            row.append(format_difference(first, second, name))
    table = render_table(head, rows, numbers_from=1, strong=names.index(comparison.metric))
    return f"<h2>Metrics</h2>{table}"
