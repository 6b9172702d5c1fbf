"""A comparison for a terminal of 80 to 100 columns."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from src.comparison.comparison import MAX_SHOWN, Comparison, describe_seeds
from src.comparison.differences import Difference
from src.core.formatting import (
    MISSING_VALUE_TEXT,
    format_duration,
    format_number,
    format_quantity,
    truncate_middle,
)
from src.evaluation.seed_groups import MeanInterval
from src.tracking.metric_names import format_change, is_share, is_small_good

# groups that have a column each
_MAX_COLUMNS = 4
_MAX_KEY_WIDTH = 34
# distinct values of a key that are written out where groups have no columns
_MAX_VALUES, _MAX_VALUE_LENGTH = 6, 36
_SECTIONS = {
    "configuration": "Configuration",
    "code": "Code",
    "environment": "Environment",
    "data": "Data (digests)",
}


def render_text(comparison: Comparison, width: int = 100) -> str:
    """What differs, the metrics and the verdicts."""
    blocks = [
        _render_groups(comparison, width),
        *_render_differences(comparison, width),
        _render_metrics(comparison, width),
        _render_verdicts(comparison, width),
    ]
    return "\n\n".join(filter(None, blocks))


def _render_groups(comparison: Comparison, width: int) -> str:
    runs = comparison.table.runs
    lines = []
    for group in comparison.groups[:MAX_SHOWN]:
        first = runs[group.places[0]]
        ids = " ".join(runs[place].id[:8] for place in group.places[:4])
        more = "" if len(group.places) <= 4 else f" and {len(group.places) - 4} more"
        seeds = describe_seeds(comparison, group)
        status = "" if first.status == "FINISHED" else f" {first.status}"
        about = f"  {ids}{more}{status}  {f'({seeds})  ' if seeds else ''}"
        line = f"{group.label:<2}{about}"
        lines.append(line + truncate_middle(first.name, max(20, width - len(line))))
    rest = len(comparison.groups) - MAX_SHOWN
    if rest > 0:
        lines.append(
            f"... and {rest:,} more, all behind these by {comparison.metric} (--json and --html "
            "have all)"
        )
    return "\n".join(lines)


def _render_differences(comparison: Comparison, width: int) -> Iterator[str]:
    labels = [group.label for group in comparison.groups]
    if len(labels) > 1:
        any_difference = False
        for section, title in _SECTIONS.items():
            differences = getattr(comparison.differences, section)
            if differences:
                any_difference = True
                yield "\n".join(_render_section(title, differences, labels, width))
        if not any_difference:
            yield "Nothing differs in configuration, code, environment and data."
    if comparison.differences.within:
        yield f"within the groups: {', '.join(comparison.differences.within)}"


def _render_section(
    title: str, differences: Sequence[Difference], labels: Sequence[str], width: int
) -> Iterator[str]:
    key_width = min(_MAX_KEY_WIDTH, max(len(title), *(len(one.key) for one in differences)))
    if len(labels) > _MAX_COLUMNS:
        yield title
        for one in differences:
            key = f"  {truncate_middle(one.key, key_width):<{key_width}}  "
            indent = " " * len(key)
            yield textwrap.fill(
                _count_values(one, labels), width, initial_indent=key, subsequent_indent=indent
            )
        return
    cells = [[_join_values(some) for some in one.values] for one in differences]
    widest = max(len(cell) for row in cells for cell in row)
    column = min(widest, (width - key_width - 2) // len(labels) - 2)
    column = max(column, 6)
    yield f"{title:<{key_width + 2}}" + "".join(f"  {label:<{column}}" for label in labels).rstrip()
    for one, row in zip(differences, cells, strict=True):
        key = truncate_middle(one.key, key_width)
        shown = "".join(f"  {truncate_middle(cell, column):<{column}}" for cell in row)
        yield f"  {key:<{key_width}}{shown}".rstrip()


def _join_values(values: Sequence[str | None]) -> str:
    return ", ".join(MISSING_VALUE_TEXT if value is None else value for value in values)


def _count_values(difference: Difference, labels: Sequence[str]) -> str:
    """`0.001 (A C), 0.003 (B)`; of many groups, how many have each value."""
    texts = [
        truncate_middle("/".join(value or MISSING_VALUE_TEXT for value in some), _MAX_VALUE_LENGTH)
        for some in difference.values
    ]
    counts = Counter(texts)
    if len(counts) > _MAX_VALUES:
        return f"{_describe_range(list(counts))} ({len(counts):,} values)"
    if len(labels) > MAX_SHOWN:
        return ", ".join(f"{value} ({count:,})" for value, count in counts.most_common())
    owners: dict[str, list[str]] = {}
    for label, text in zip(labels, texts, strict=True):
        owners.setdefault(text, []).append(label)
    return ", ".join(f"{value} ({' '.join(some)})" for value, some in owners.items())


def _describe_range(values: Sequence[str]) -> str:
    try:
        numbers = sorted(map(float, values))
    except ValueError:
        return ", ".join([*sorted(values)[:3], "..."])
    return f"{numbers[0]:g} to {numbers[-1]:g}"


def _render_metrics(comparison: Comparison, width: int) -> str:
    groups = comparison.groups[:MAX_SHOWN]
    rows = _lay_out_metrics(comparison) if len(groups) <= _MAX_COLUMNS else None
    if rows is None or max(map(len, _align(rows))) > width:
        rows = _lay_out_groups(comparison, width)
    return "\n".join(_align(rows))


def _lay_out_metrics(comparison: Comparison) -> list[list[str]]:
    """A row for each metric, a column for each group and its difference to the first one."""
    labels = [group.label for group in comparison.groups]
    over = "mean ± sd over seeds" if comparison.has_seeds else "1 seed"
    head = [f"Metrics ({over})", labels[0]]
    for label in labels[1:]:
        head += [label, f"{label} - {labels[0]}"]
    rows = [head]
    for name, values in comparison.metrics.items():
        row = [f"{'>' if name == comparison.metric else ' '} {name}", format_mean(values[0], name)]
        for value in values[1:]:
            row += [format_mean(value, name), format_difference(values[0], value, name)]
        rows.append(row)
    return rows


def _lay_out_groups(comparison: Comparison, width: int) -> list[list[str]]:
    """A row for each group, and as many metrics as fit."""
    groups = comparison.groups[:MAX_SHOWN]
    rows = [["", *(group.label for group in groups)]]
    columns = [list(rows[0])]
    # the one that decides and what it costs before the others
    first = (comparison.metric, "seconds")
    ordered = sorted(comparison.metrics, key=lambda name: first.index(name) if name in first else 2)
    for name in ordered:
        values = comparison.metrics[name]
        columns.append([name, *(format_mean(value, name) for value in values)])
        if sum(max(map(len, column)) + 2 for column in columns) > width and len(columns) > 2:
            columns.pop()
            break
    return [list(row) for row in zip(*columns, strict=True)]


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{size}}" if place == 0 else f"{cell:>{size}}"
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_mean(value: MeanInterval | None, metric: str) -> str:
    """`0.812 ± 0.006`, or the value of a single run."""
    if value is None:
        return MISSING_VALUE_TEXT
    if metric == "seconds":
        return format_duration(value.mean)
    if value.deviation is None:
        return format_number(value.mean, 4)
    return f"{format_number(value.mean, 4)} ± {value.deviation:.2g}"


def format_difference(first: MeanInterval | None, second: MeanInterval | None, metric: str) -> str:
    """`+1.2 points` from the first mean to the second; empty where one is missing."""
    if first is None or second is None:
        return ""
    if metric == "seconds":
        difference = second.mean - first.mean
        sign = "-" if difference <= -0.05 else "+"
        return f"{sign}{format_duration(abs(difference))}"
    values = first.mean, second.mean
    unit = " points" if is_share(metric, *values) else ""
    return f"{format_change(second.mean - first.mean, metric, among=values)}{unit}"


def _render_verdicts(comparison: Comparison, width: int) -> str:
    lines = []
    if not comparison.verdicts and len(comparison.groups) == 1:
        lines.append(describe_single_group(comparison))
    refused: dict[str, list[str]] = {}
    for verdict in comparison.verdicts:
        evidence = verdict.evidence
        if evidence is None:
            reason = verdict.words.partition(": ")[2]
            refused.setdefault(reason, []).append(verdict.second)
            continue
        lines.append(verdict.words)
        if evidence.mcnemar is not None:
            one, other = evidence.mcnemar.only_first, evidence.mcnemar.only_second
            lines.append(
                f"  {one:,} rows are right by {verdict.first} alone, {other:,} by "
                f"{verdict.second} alone (McNemar's exact test: p = {evidence.mcnemar.p_value:.2g})"
            )
        for name, other_score in evidence.others:
            low, high = (format_change(value, name, sign=False) for value in other_score[1:3])
            unit = " points" if is_share(name) else ""
            lines.append(
                f"  {name} {format_change(other_score.value, name)}{unit}, 95 % interval {low} to "
                f"{high}"
            )
    lines += [f"{', '.join(labels)}: {reason}" for reason, labels in refused.items()]
    lines += comparison.remarks
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False) for line in lines
    )


def describe_single_group(comparison: Comparison) -> str:
    """What a comparison of one setting with itself comes to."""
    value = comparison.metrics[comparison.metric][0]
    if value is None or value.low is None or value.high is None:
        return "one run: nothing to compare it with"
    return (
        f"one setting with {format_quantity(value.size, 'seed')}, nothing to compare it with: "
        f"{comparison.metric} {format_number(value.mean, 4)}, 95 % interval "
        f"{format_number(value.low, 4)} to {format_number(value.high, 4)} (Student's t)"
    )


def is_better(first: float, second: float, metric: str) -> bool:
    """Whether the second value of a metric is better."""
    return (second < first) == is_small_good(metric) and first != second
