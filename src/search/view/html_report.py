"""The report of a sweep: an HTML page, a note for the MLflow UI, and a table of all trials."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from src.core.formatting import (
    MISSING_VALUE_TEXT,
    format_duration,
    format_number,
    format_params,
    format_quantity,
    format_value,
    shorten_keys,
    truncate_end,
    truncate_middle,
)
from src.core.html_page import embed_picture, wrap_page
from src.search.replicates import (
    REPLICATE_KEYS,
    group_replicates,
    list_metrics,
    select_best_setting,
)
from src.search.trials import (
    SweepSnapshot,
    TrialRecord,
    estimate_remaining_seconds,
    format_metric_values,
    format_status_counts,
    rank_trials,
    select_best_trials,
    trial_elapsed_seconds,
)
from src.tracking.mlflow_format import escape_markdown, format_code_block

# in the order of the page, with a text for readers who do not see them
_PICTURES = {
    "replicates": "The mean of each setting over its repetitions, with its interval",
    "history": "The value of each trial, and the best so far",
    "intermediate": "The values of each trial over its validations",
    "rate": "The value of each trial over each parameter",
    "parallel": "Parallel coordinates of parameters and values",
    "front": "Each metric of each trial against each other one",
    "importance": "How much each parameter matters",
}
# trials of a Pareto front that are written out
_MAX_LISTED_TRIALS = 10
# characters; the trial's own run has the whole reason
_MAX_REASON_LENGTH = 300
# characters of a command in a note, so that the note fits into a tag; the page has all of it
_MAX_COMMAND_LENGTH = 1200
# parameters with columns of their own in a note
_MAX_KEY_COLUMNS = 8

_STYLE = """
th, td { white-space: nowrap; } .n { text-align: right; }
.reason { min-width: 15rem; white-space: normal; } .best { font-weight: bold; }
.failed td { color: #a83254; } .pruned td, .waiting td { color: #71808d; }
"""


def render_page(sweep: SweepSnapshot, pictures: Mapping[str, bytes]) -> str:
    """Everything about a sweep in one HTML file that needs neither network nor script.

    Args:
        pictures: PNG files by the name of the plot.
    """
    title, link = escape(sweep.name), _render_link(sweep.sweep, sweep.run_url, sweep.sweep)
    as_of = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(sweep.taken_at))
    figures = [
        embed_picture(pictures[name], text) for name, text in _PICTURES.items() if name in pictures
    ]
    parts = [
        f"<h1>{title}</h1>",
        f"<p><b>{sweep.state}</b> {link} as of {as_of} UTC</p>",
        _describe_local_pages(sweep),
        f"<p>{escape(sweep.reason)}</p>" if sweep.reason else "",
        _render_settings(sweep),
        _render_best_trials(sweep),
        f"<h2>Trials</h2><p>{escape(format_status_counts(sweep.rows))}</p>",
        "<h2>Budget</h2>" if sweep.limits else "",
        *(f"<p>{escape(str(limit))}</p>" for limit in sweep.limits),
    ]
    seconds = estimate_remaining_seconds(sweep.rows, sweep.limits, sweep.taken_at)
    if sweep.state == "RUNNING" and seconds is not None:
        parts.append(f"<p>about {format_duration(seconds)} left</p>")
    if sweep.command:
        parts.append(f"<h2>Command</h2><pre>{escape(sweep.command)}</pre>")
    if sweep.resume_command:
        parts.append(f"<h2>To go on with it</h2><pre>{escape(sweep.resume_command)}</pre>")
    parts += [*figures, _render_table(sweep) if sweep.rows else ""]
    return wrap_page(sweep.name, parts, style=_STYLE)


def _describe_local_pages(sweep: SweepSnapshot) -> str:
    """How to come to the pages of runs where a store has no address of its own: that of the UI
    depends on its port, and where MLflow shows an artifact, a link leads nowhere.
    """
    if not sweep.run_url.startswith("#/"):
        return ""
    page = escape(sweep.run_url.replace(sweep.sweep, "ID"))
    return (
        f"<p>The page of a run: its id for ID in <code>{page}</code>, behind the address that "
        "<code>make ui</code> prints</p>"
    )


def render_note(sweep: SweepSnapshot) -> str:
    """Markdown for the description of the sweep's run: state, best trials and commands."""
    best = select_best_trials(sweep.rows, sweep.modes)
    parts = [f"**search**: {escape_markdown(sweep.name)}", *_describe_settings(sweep)]
    if len(sweep.modes) > 1 and best:
        numbers = ", ".join(str(trial.number) for trial in best[:_MAX_LISTED_TRIALS])
        more = ", …" if len(best) > _MAX_LISTED_TRIALS else ""
        count = format_quantity(len(best), "trial")
        parts.append(f"**{count} on the Pareto front**: {numbers}{more}")
    elif best and best[0].values:
        value = f"{escape_markdown(sweep.monitors[0])} **{format_number(best[0].values[0], 4)}**"
        link = _render_markdown_link(best[0], sweep)
        parts.append(f"**Best: trial {best[0].number}**, {value} {link}")
        params = best[0].params
        overrides = " ".join(f"{key}={params[key]}" for key in sweep.keys if key in params)
        parts.append(_render_command(overrides))
    used = "; ".join(map(str, sweep.limits))
    parts.append(" · ".join(filter(None, (sweep.state, format_status_counts(sweep.rows), used))))
    if sweep.reason:
        parts.append(escape_markdown(truncate_end(sweep.reason, _MAX_REASON_LENGTH)))
    if ranked := rank_trials(sweep.rows, sweep.modes)[:5]:
        parts.append(_render_markdown_table(ranked, sweep))
    if sweep.command:
        parts.append(_render_command(sweep.command))
    if sweep.resume_command:
        parts.append(f"To go on with it:\n\n{_render_command(sweep.resume_command)}")
    return "\n\n".join(parts)


def build_trial_columns(
    trials: Sequence[TrialRecord], *, keys: Sequence[str], monitors: Sequence[str]
) -> dict[str, list[Any]]:
    """Every trial as columns of equal length, by number. Unknown values are None.

    A metric's column has the values that finished trials count with, `last` the first metric at the
    last validation of any trial.
    """
    trials = sorted(trials, key=lambda trial: trial.number)
    columns: dict[str, list[Any]] = {
        "trial": [trial.number for trial in trials],
        "state": [trial.state for trial in trials],
    }
    for index, monitor in enumerate(monitors):
        columns[monitor] = [_finished_value(trial, index) for trial in trials]
    columns["last"] = [trial.last_report for trial in trials]
    for key in keys:
        columns[key] = [trial.params.get(key) for trial in trials]
    columns["validations"] = [len(trial.intermediate_values) for trial in trials]
    columns["seconds"] = [trial_elapsed_seconds(trial) for trial in trials]
    if any(trial.attributes.get("halvings") for trial in trials):
        # how often the batch was halved for lack of memory
        columns["halvings"] = [trial.attributes.get("halvings", 0) for trial in trials]
    columns["run_id"] = [trial.attributes.get("run_id") or None for trial in trials]
    columns["reason"] = [trial.attributes.get("reason") or None for trial in trials]
    return columns


def _describe_settings(sweep: SweepSnapshot) -> list[str]:
    """In Markdown, the means over repetitions of the only setting, or of the best; none if nothing
    was repeated.
    """
    settings = group_replicates(sweep)
    best = select_best_setting(settings, sweep)
    if best is None:
        return []
    lines = [f"**mean {escape_markdown(name)}**: {entry}" for name, entry in best.metrics.items()]
    if len(settings) == 1:
        return lines
    params = format_params(best.params, [*best.params])
    return [f"**Best of {len(settings)} settings by its mean**: {escape_markdown(params)}", *lines]


def _render_settings(sweep: SweepSnapshot) -> str:
    """The table of settings with means and intervals; empty if nothing was repeated."""
    settings = group_replicates(sweep)
    if not settings:
        return ""
    keys = [key for key in sweep.keys if key not in REPLICATE_KEYS]
    best = select_best_setting(settings, sweep)
    heads = [*keys, *(f"mean {name} (95 % interval)" for name in list_metrics(sweep))]
    lines = []
    for setting in settings:
        cells = [format_value(setting.params.get(key, ""), 4) for key in keys]
        cells += [str(setting.metrics.get(name, "")) for name in list_metrics(sweep)]
        row = "".join(f"<td>{escape(truncate_middle(cell, 80))}</td>" for cell in cells)
        lines.append(f'<tr class="{"best" if setting is best else ""}">{row}</tr>')
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return (
        "<h2>Means over repetitions</h2>"
        f'<div class="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _render_best_trials(sweep: SweepSnapshot) -> str:
    """The best trial with its parameters, or the trials of the Pareto front."""
    best = select_best_trials(sweep.rows, sweep.modes)
    if not best:
        return "<h2>Best trial</h2><p>no trial has finished yet</p>"
    if len(sweep.modes) > 1:
        items = [
            f"<li>trial {trial.number}: {escape(format_metric_values(trial, sweep.monitors, 4))}"
            f"</li>"
            for trial in best[:_MAX_LISTED_TRIALS]
        ]
        if len(best) > _MAX_LISTED_TRIALS:
            items.append(f"<li>and {len(best) - _MAX_LISTED_TRIALS} more</li>")
        heading = f"<h2>Pareto front</h2><p>{format_quantity(len(best), 'trial')}</p>"
    else:
        trial = best[0]
        items = [
            f"<li>{escape(key)}: {escape(format_value(trial.params[key], 6))}</li>"
            for key in sweep.keys
            if key in trial.params
        ]
        value = format_number(trial.values[0] if trial.values else None, 4)
        heading = (
            f"<h2>Best trial</h2><p><b>{value}</b> {escape(sweep.monitors[0])} of trial "
            f"{trial.number} {_render_run_link(trial, sweep)}</p>"
        )
    return f"{heading}<ul>{''.join(items)}</ul>"


def _render_table(sweep: SweepSnapshot) -> str:
    """Every trial, the best first, then those without a final value."""
    best = {trial.number for trial in select_best_trials(sweep.rows, sweep.modes)}
    names = shorten_keys(sweep.keys)
    right = '<th class="n">'
    heads = [f"{right}trial</th><th>state</th>"]
    heads += [f"{right}{escape(monitor)}</th>" for monitor in sweep.monitors]
    if sweep.test_values:
        heads.append(f"{right}{escape(sweep.test_metric)}</th>")
    heads += [f'<th title="{escape(key)}">{escape(names[key])}</th>' for key in sweep.keys]
    heads.append(f"{right}validations</th>{right}time</th><th>run</th><th>reason</th>")
    lines = []
    for trial in _sort_by_value(sweep):
        values = [_finished_value(trial, index) for index in range(len(sweep.monitors))]
        if values[0] is None:
            values[0] = trial.latest_value
        now = sweep.taken_at if trial.state == "running" else None
        reason = " ".join(str(trial.attributes.get("reason") or "").split())
        cells = [f'<td class="n">{trial.number}</td><td>{trial.state}</td>']
        cells += [
            '<td class="n"></td>'
            if value is None
            else f'<td class="n">{format_number(value, 4)} '
            f"<small>{trial.describe_choice(monitor)}</small></td>"
            for monitor, value in zip(sweep.monitors, values, strict=True)
        ]
        if sweep.test_values:
            tested = sweep.test_values.get(trial.number)
            cells.append(f'<td class="n">{"" if tested is None else format_number(tested, 4)}</td>')
        cells += [
            f"<td>{escape(truncate_middle(format_value(trial.params.get(key, ''), 4), 80))}</td>"
            for key in sweep.keys
        ]
        cells.append(
            f'<td class="n">{len(trial.intermediate_values) or ""}</td>'
            f'<td class="n">{format_duration(trial_elapsed_seconds(trial, now))}</td>'
            f"<td>{_render_run_link(trial, sweep)}</td>"
            f'<td class="reason">{escape(truncate_end(reason, _MAX_REASON_LENGTH))}</td>'
        )
        mark = " best" if trial.number in best else ""
        lines.append(f'<tr class="{trial.state}{mark}">{"".join(cells)}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="table"><table><thead><tr>{"".join(heads)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _sort_by_value(sweep: SweepSnapshot) -> list[TrialRecord]:
    """The finished trials, the best first, the pruned ones by their last values, then all others
    by number.
    """
    ranked = rank_trials(sweep.rows, sweep.modes)
    sign = -1 if sweep.modes[0] == "max" else 1
    pruned = {
        trial.number: sign * trial.last_report
        for trial in sweep.rows
        if trial.state == "pruned"
        and trial.last_report is not None
        and math.isfinite(trial.last_report)
    }
    listed = {trial.number for trial in ranked}
    others = sorted(
        (trial for trial in sweep.rows if trial.number not in listed),
        key=lambda trial: (pruned.get(trial.number, math.inf), trial.number),
    )
    return [*ranked, *others]


def _render_markdown_table(trials: Sequence[TrialRecord], sweep: SweepSnapshot) -> str:
    """Finished trials with metrics, parameters and runs as a table in Markdown."""
    keys = sweep.keys if len(sweep.keys) <= _MAX_KEY_COLUMNS else []
    names = shorten_keys(sweep.keys)
    params = [names[key] for key in keys] or ["parameters"]
    heads = ["trial", *sweep.monitors, *params, "run"]
    lines = [[escape_markdown(head) for head in heads], ["---"] * len(heads)]
    for trial in trials:
        values = (trial.values or ())[: len(sweep.monitors)]
        texts = [
            truncate_middle(format_value(trial.params.get(key, MISSING_VALUE_TEXT)), 60)
            for key in keys
        ] or [truncate_middle(format_params(trial.params, sweep.keys), 200)]
        cells = [str(trial.number), *(format_number(value, 4) for value in values)]
        cells += [*map(escape_markdown, texts), _render_markdown_link(trial, sweep)]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _render_command(command: str) -> str:
    return format_code_block(truncate_end(command, _MAX_COMMAND_LENGTH))


def _finished_value(trial: TrialRecord, index: int) -> float | None:
    if trial.state != "finished" or not trial.values or index >= len(trial.values):
        return None
    return trial.values[index]


def _render_run_link(trial: TrialRecord, sweep: SweepSnapshot) -> str:
    run_id = str(trial.attributes.get("run_id") or "")
    url = sweep.trial_urls.get(trial.number, "")
    # to be copied where it is no link
    text = run_id if url.startswith("#/") else run_id[:8]
    return _render_link(run_id, url, text) if run_id else ""


def _render_link(run_id: str, url: str, text: str) -> str:
    """A run's id, as a link to its page where that has an address."""
    code = f'<code title="{escape(run_id)}">{escape(text)}</code>'
    if not url.startswith(("http://", "https://")):
        return code
    return f'<a href="{escape(url)}" target="_blank" rel="noopener">{code}</a>'


def _render_markdown_link(trial: TrialRecord, sweep: SweepSnapshot) -> str:
    run_id = re.sub(r"\W", "", str(trial.attributes.get("run_id") or ""))[:8]
    url = sweep.trial_urls.get(trial.number, "")
    if not url.startswith(("http://", "https://", "#/")):
        return f"`{run_id}`" if run_id else ""
    return f"[{run_id or 'run'}]({url.replace(')', '%29').replace(' ', '%20')})"
