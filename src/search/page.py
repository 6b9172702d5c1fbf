"""What a sweep's run says of it: one page for the browser, a note for the MLflow UI, and a table of all trials."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from src.search.drawing import svg
from src.search.look import SCRIPT, STYLE
from src.search.rows import Row
from src.search.standing import Standing, census, counts, elapsed_seconds, leading, left_seconds, ranked, values_of
from src.search.words import NOTHING, cut, duration, number, plain, setting, several, short
from src.tracking.content import note_code, note_text

_ORDER = ("history", "intermediate", "rate", "parallel", "front", "importance")
_WIDE = ("rate", "parallel")  # pictures that take the width of the page
_ALT = {
    "history": "The value of each trial, and the best so far",
    "intermediate": "The values of each trial over its validations",
    "rate": "The value of each trial over each parameter",
    "parallel": "Parallel coordinates of parameters and values",
    "front": "Each metric of each trial against each other one",
    "importance": "How much each parameter matters",
}
_BAR = {"finished": "finished", "pruned": "muted", "failed": "failed", "running": "running", "waiting": "grid"}
_MOST_LISTED = 10  # trials of a Pareto front that are written out
_MOST_REASON = 300  # characters; the whole of it stands in the trial's own run
_MOST_NOTED = 1200  # characters of a command in a note, so that all of it fits a tag; the page has it whole
_MOST_COLUMNS = 8  # keys with a column of their own in a note


def page(standing: Standing, figures: Mapping[str, Figure]) -> str:
    """All of a sweep in one HTML file that needs no network and no script."""
    title = escape(standing.name)
    order = [name for name in _ORDER if name in figures] + sorted(set(figures) - set(_ORDER))
    pictures = "\n".join(
        f'<figure{" class=wide" if name in _WIDE else ""} role="img" aria-label="{escape(_ALT.get(name, name))}">'
        f"{svg(figures[name], name)}</figure>"
        for name in order
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p><span class="state {standing.state}">{standing.state}</span>{_linked(standing.sweep, standing.link, whole=True)}
<span class="muted">as of {time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(standing.at))} UTC</span></p>
{f"<p>{escape(standing.reason)}</p>" if standing.reason else ""}
</header>
<div class="cards">
{_best_card(standing)}
{_counts_card(standing)}
</div>
{_commands(standing)}
<div class="figures">
{pictures}
</div>
{_table(standing)}
<script>{SCRIPT}</script>
</body>
</html>
"""


def note(standing: Standing) -> str:
    """Markdown for the description of the sweep's run: where it stands, the best trials, the commands."""
    best = ranked(standing.rows, standing.modes)[:5]
    front = leading(standing.rows, standing.modes)
    parts = [f"**search**: {note_text(standing.name)}"]
    if len(standing.modes) > 1 and front:
        told = ", ".join(str(row.number) for row in front[:_MOST_LISTED])
        more = ", …" if len(front) > _MOST_LISTED else ""
        parts.append(f"**{several(len(front), 'trial')} on the Pareto front**: {told}{more}")
    elif front and front[0].values:
        value = f"{note_text(standing.monitors[0])} **{number(front[0].values[0], 4)}**"
        parts.append(f"**Best: trial {front[0].number}**, {value} {_markdown_link(front[0], standing)}")
        parts.append(note_code(_begun(_typed(front[0], standing.keys), _MOST_NOTED)))
    used = "; ".join(map(str, standing.limits))
    parts.append(" · ".join(filter(None, (standing.state, census(standing.rows), used))))
    if standing.reason:
        parts.append(note_text(_begun(standing.reason, _MOST_REASON)))
    if best:
        keys = list(standing.keys) if len(standing.keys) <= _MOST_COLUMNS else []
        names = short(standing.keys)
        heads = ["trial", *standing.monitors, *(names[key] for key in keys), *([] if keys else ["parameters"]), "run"]
        lines = [heads, ["---"] * len(heads)]
        for row in best:
            reached = [number(value, 4) for value in (row.values or ())[: len(standing.monitors)]]
            chosen = [note_text(cut(plain(row.params.get(key, NOTHING)), 60)) for key in keys]
            chosen = chosen or [note_text(cut(setting(row.params, standing.keys), 200))]
            lines.append([str(row.number), *reached, *chosen, _markdown_link(row, standing)])
        lines[0] = [note_text(head) for head in heads]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if standing.command:
        parts.append(note_code(_begun(standing.command, _MOST_NOTED)))
    if standing.go_on:
        parts.append(f"To go on with it:\n\n{note_code(_begun(standing.go_on, _MOST_NOTED))}")
    return "\n\n".join(parts)


def columns(rows: Sequence[Row], *, keys: Sequence[str], monitors: Sequence[str]) -> dict[str, list[Any]]:
    """Every trial, as columns of one length. What is not known is None."""
    rows = sorted(rows, key=lambda row: row.number)
    found: dict[str, list[Any]] = {"trial": [row.number for row in rows], "state": [row.state for row in rows]}
    for place, monitor in enumerate(monitors):
        found[monitor] = [_value(row, place) for row in rows]
    found["last"] = [row.last for row in rows]
    for key in keys:
        found[key] = [row.params.get(key) for row in rows]
    found["validations"] = [len(row.reports) for row in rows]
    found["seconds"] = [elapsed_seconds(row) for row in rows]
    if any(row.about.get("halvings") for row in rows):
        found["halvings"] = [row.about.get("halvings", 0) for row in rows]  # of the batch, for want of memory
    found["run_id"] = [row.about.get("run_id") or None for row in rows]
    found["reason"] = [row.about.get("reason") or None for row in rows]
    return found


def _best_card(standing: Standing) -> str:
    best = leading(standing.rows, standing.modes)
    if not best:
        return '<section class="card"><h2>Best trial</h2><p class="muted">no trial has finished yet</p></section>'
    if len(standing.modes) > 1:
        told = {row.number: values_of(row, standing.monitors, 4) for row in best[:_MOST_LISTED]}
        items = "".join(f"<dt>trial {trial}</dt><dd>{escape(values)}</dd>" for trial, values in told.items())
        more = f'<p class="muted">and {len(best) - _MOST_LISTED} more</p>' if len(best) > _MOST_LISTED else ""
        value = f'<div class="value">{several(len(best), "trial")}</div>'
        return f'<section class="card"><h2>Pareto front</h2>{value}<dl>{items}</dl>{more}</section>'
    row = best[0]
    reached = number(row.values[0] if row.values else None, 4)
    items = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(plain(row.params[key], 6))}</dd>"
        for key in standing.keys
        if key in row.params
    )
    return (
        f'<section class="card"><h2>Best trial</h2><div class="value">{reached}</div>'
        f"<p>{escape(standing.monitors[0])} of trial {row.number} {_run(row, standing)}</p><dl>{items}</dl></section>"
    )


def _counts_card(standing: Standing) -> str:
    found = counts(standing.rows)
    shares = "".join(
        f'<i style="flex:{count};background:var(--{_BAR[state]})" title="{count} {state}"></i>'
        for state, count in found.items()
    )
    parts = [f"<h2>Trials</h2><p>{escape(census(standing.rows))}</p>"]
    parts.append(f'<div class="bar">{shares}</div>' if found else "")
    if standing.limits:
        parts.append("<h2>Budget</h2>")
    for limit in standing.limits:
        share = min(limit.used / limit.total, 1.0) if limit.total else 1.0
        parts.append(
            f'<p>{escape(str(limit))}</p><div class="bar"><i style="flex:{share:.4f};background:var(--finished)"></i>'
            f'<i style="flex:{1 - share:.4f}"></i></div>'
        )
    left = left_seconds(standing.rows, standing.limits, standing.at)
    if standing.state == "RUNNING" and left is not None:
        parts.append(f'<p class="muted">about {duration(left)} left</p>')
    return f'<section class="card">{"".join(parts)}</section>'


def _commands(standing: Standing) -> str:
    parts = []
    if standing.command:
        parts.append(f"<h2>Command</h2><pre>{escape(standing.command)}</pre>")
    if standing.go_on:
        parts.append(f"<h2>To go on with it</h2><pre>{escape(standing.go_on)}</pre>")
    return f'<section class="card">{"".join(parts)}</section>' if parts else ""


def _table(standing: Standing) -> str:
    """Every trial, by number."""
    if not standing.rows:
        return ""
    best = {row.number for row in leading(standing.rows, standing.modes)}
    names, rows = short(standing.keys), sorted(standing.rows, key=lambda row: row.number)
    numeric = {key for key in standing.keys if all(isinstance(row.params.get(key, 0), int | float) for row in rows)}
    heads = ["<th class=n>trial</th><th>state</th>"]
    heads += [f"<th class=n>{escape(monitor)}</th>" for monitor in standing.monitors]
    for key in standing.keys:
        side = " class=n" if key in numeric else ""
        heads.append(f'<th{side} title="{escape(key)}">{escape(names[key])}</th>')
    heads.append("<th class=n>validations</th><th class=n>time</th><th>run</th><th>reason</th>")
    body = []
    for row in rows:
        cells = [f"<td class=n>{row.number}</td><td class=s>{row.state}</td>"]
        for place in range(len(standing.monitors)):
            known = _value(row, place)
            shown = row.last if known is None and place == 0 else known
            cells.append(_number_cell(shown, number(shown, 4)))
        for key in standing.keys:
            value = row.params.get(key, "")
            if key in numeric and isinstance(value, int | float):
                cells.append(_number_cell(value, plain(value, 4)))
            else:
                cells.append(f"<td class=text>{escape(cut(plain(value), 80))}</td>")
        took = elapsed_seconds(row, standing.at if row.state == "running" else None)
        reason = " ".join(str(row.about.get("reason") or "").split())
        cells.append(f"<td class=n>{len(row.reports) or ''}</td>{_number_cell(took, duration(took))}")
        cells.append(f"<td>{_run(row, standing)}</td><td class=why>{escape(_begun(reason, _MOST_REASON))}</td>")
        mark = " top" if row.number in best else ""
        body.append(f'<tr class="{row.state}{mark}">{"".join(cells)}</tr>')
    lines = "\n".join(body)
    return f'<div class="table"><table><thead><tr>{"".join(heads)}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _number_cell(value: float | None, text: str) -> str:
    if value is None or not math.isfinite(value):
        return "<td class=n></td>" if value is None else f"<td class=n>{text}</td>"
    return f'<td class=n data-v="{value:.6g}">{text}</td>'


def _begun(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _value(row: Row, place: int) -> float | None:
    return row.values[place] if row.state == "finished" and row.values and place < len(row.values) else None


def _typed(row: Row, keys: Sequence[str]) -> str:
    """A trial's parameters as one would type them."""
    return " ".join(f"{key}={row.params[key]}" for key in keys if key in row.params)


def _run(row: Row, standing: Standing) -> str:
    run_id = str(row.about.get("run_id") or "")
    return _linked(run_id, standing.links.get(row.number, "")) if run_id else ""


def _linked(run_id: str, address: str, *, whole: bool = False) -> str:
    """A run's id, as a link where there is an address; it can be read and copied where links lead nowhere."""
    text = f'<code title="{escape(run_id)}">{escape(run_id if whole else run_id[:8])}</code>'
    if not address.startswith(("http://", "https://")):
        return text
    return f'<a href="{escape(address)}" target="_blank" rel="noopener">{text}</a>'


def _markdown_link(row: Row, standing: Standing) -> str:
    run_id = re.sub(r"\W", "", str(row.about.get("run_id") or ""))[:8]
    address = standing.links.get(row.number, "")
    if not address.startswith(("http://", "https://", "#/")):
        return f"`{run_id}`" if run_id else ""
    return f"[{run_id or 'run'}]({address.replace(')', '%29').replace(' ', '%20')})"
