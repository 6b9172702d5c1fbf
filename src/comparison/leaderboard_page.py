"""A leaderboard as one HTML page, and its Pareto fronts as a picture."""

import math
from html import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.comparison.interval_chart import CHART_STYLE, Interval, draw_intervals
from src.comparison.leaderboard import Board, Entry, Leaderboard
from src.comparison.leaderboard_text import (
    FRONT_MARK,
    describe_board,
    describe_params,
    format_score,
    list_rows,
)
from src.core.formatting import truncate_end
from src.core.html_page import render_table, wrap_page

_MAX_LABEL = 32
# boards of one picture
_MAX_PLOTS = 4
# of the palette of Okabe and Ito, for the colour-blind
_FRONT_COLOUR, _OTHER_COLOUR = "#d55e00", "#0072b2"
_COST_LABELS = {
    "seconds": "seconds of a run",
    "tokens": "training tokens of a run",
    "energy": "joules of a run",
}


def render_page(leaderboard: Leaderboard) -> str:
    """All boards in one file."""
    parts = [f'<p class="note">{escape(line)}</p>' for line in leaderboard.told]
    for board, heads, rows in list_rows(leaderboard.boards):
        parts.append(f"<h2>{escape(describe_board(board))}</h2>")
        intervals = [
            Interval(
                truncate_end(f"{number}  {_describe(board, entry)}", _MAX_LABEL),
                entry.score.value,
                entry.score.low,
                entry.score.high,
                format_score(entry.score),
            )
            for number, entry in enumerate(board.entries, 1)
        ]
        parts.append(draw_intervals(f"{board.metric} of each setting", intervals))
        parts.append(render_table(heads, rows))
        parts.append(
            f'<p class="note">{FRONT_MARK}: no other setting has both a better score and fewer '
            f"{board.cost}</p>"
        )
    parts += [f'<p class="note">{escape(line)}</p>' for line in leaderboard.remarks]
    title = "Leaderboard"
    return wrap_page(title, [f"<h1>{escape(title)}</h1>", *parts], style=CHART_STYLE)


def _describe(board: Board, entry: Entry) -> str:
    return describe_params(board, entry) or entry.name


def plot_fronts(leaderboard: Leaderboard) -> Figure:
    """Score against cost for the first boards; settings on the front are named and joined."""
    boards = leaderboard.boards[:_MAX_PLOTS]
    figure = Figure(figsize=(8, 4.4 * len(boards)), layout="constrained", dpi=120)
    for number, board in enumerate(boards, 1):
        _plot_front(figure.add_subplot(len(boards), 1, number), board)
    return figure


def _plot_front(axes: Axes, board: Board) -> None:
    known = [
        (number, entry)
        for number, entry in enumerate(board.entries, 1)
        if board.cost in entry.costs
    ]
    for is_on_front, colour, marker, label in (
        (False, _OTHER_COLOUR, "o", "beaten in score and cost"),
        (True, _FRONT_COLOUR, "D", "Pareto front"),
    ):
        some = [(number, entry) for number, entry in known if entry.is_on_front == is_on_front]
        if not some:
            continue
        costs = [entry.costs[board.cost] for _, entry in some]
        scores = [entry.score.value for _, entry in some]
        errors = [
            [
                0.0 if end is None else abs(end - entry.score.value)
                for end in (entry.score.low, entry.score.high)
            ]
            for _, entry in some
        ]
        axes.errorbar(
            costs,
            scores,
            yerr=list(zip(*errors, strict=True)),
            fmt=marker,
            color=colour,
            label=label,
            capsize=3,
            elinewidth=1,
            alpha=0.9,
        )
        if is_on_front:
            line = sorted(zip(costs, scores, strict=True))
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1, linestyle="--")
        for (number, _), cost, score in zip(some, costs, scores, strict=True):
            axes.annotate(
                str(number), (cost, score), textcoords="offset points", xytext=(7, 4), fontsize=9
            )
    costs = [entry.costs[board.cost] for _, entry in known]
    if costs and min(costs) > 0 and math.log10(max(costs) / min(costs)) > 1:
        axes.set_xscale("log")
    axes.set_xlabel(_COST_LABELS[board.cost])
    axes.set_ylabel(board.metric)
    axes.set_title(describe_board(board), fontsize=10)
    axes.grid(alpha=0.25)
    if known:
        axes.legend(fontsize=9)
