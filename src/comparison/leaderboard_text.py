"""A leaderboard for a terminal of 80 to 100 columns."""

import textwrap
from collections.abc import Iterator, Sequence

from src.comparison.leaderboard import Board, Entry, Leaderboard, Score
from src.core.formatting import (
    MISSING_VALUE_TEXT,
    format_count,
    format_duration,
    format_number,
    format_quantity,
    shorten_keys,
    truncate_middle,
)

# characters of a parameter's value, and of a setting's line of parameters
_MAX_VALUE = 24
# parameters that are named; --json has all
_MAX_KEYS = 12
FRONT_MARK = "*"


def render_text(leaderboard: Leaderboard, width: int = 100) -> str:
    """The boards one below the other, and what their signs mean."""
    blocks = ["\n".join(_render_board(board, width)) for board in leaderboard.boards]
    costs = {board.cost for board in leaderboard.boards}
    notes = [
        f"{FRONT_MARK}: no other setting has both a better score and fewer {cost}"
        for cost in sorted(costs)
    ]
    blocks.append(
        "\n".join(
            textwrap.fill(note, width, subsequent_indent="  ")
            for note in [*notes, *leaderboard.remarks]
        )
    )
    return "\n\n".join(blocks)


def describe_board(board: Board) -> str:
    """`imdb by best/val/accuracy: the best 10 of 37 settings (rows 43a0e10f)`."""
    names = ", ".join(board.names[:3]) + (", ..." if len(board.names) > 3 else "")
    count = format_quantity(board.total, "setting")
    if board.total > len(board.entries):
        count = f"the best {len(board.entries)} of {count}"
    rows = f" (rows {board.digest[:8]})" if board.digest else ""
    return f"{names or 'runs'} by {board.metric}: {count}{rows}"


def _render_board(board: Board, width: int) -> Iterator[str]:
    yield describe_board(board)
    rows = [list_columns(board)]
    rows += [list_cells(board, number, entry) for number, entry in enumerate(board.entries, 1)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    described = [""] + [describe_params(board, entry) for entry in board.entries]
    for row, params in zip(rows, described, strict=True):
        yield "  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip()
        if params:
            indent = " " * (widths[0] + 2)
            yield textwrap.fill(params, width, initial_indent=indent, subsequent_indent=indent)


def list_columns(board: Board) -> list[str]:
    """The heads of a board's columns, without its parameters."""
    test = [] if board.test_metric is None else [board.test_metric]
    costs = [name for name in ("seconds", "tokens", "energy") if _has_cost(board, name)]
    return ["", board.metric.removeprefix("best/"), *test, *costs, "seeds", "run"]


def list_cells(board: Board, number: int, entry: Entry) -> list[str]:
    """What stands in these columns for a setting."""
    formats = {
        "seconds": format_duration,
        "tokens": format_count,
        "energy": lambda joules: f"{format_number(joules)} J",
    }
    test = [] if board.test_metric is None else [format_score(entry.test)]
    costs = [
        formats[name](entry.costs[name]) if name in entry.costs else MISSING_VALUE_TEXT
        for name in formats
        if _has_cost(board, name)
    ]
    mark = FRONT_MARK if entry.is_on_front else " "
    return [
        f"{number:>2}{mark}",
        format_score(entry.score),
        *test,
        *costs,
        str(len(entry.run_ids)),
        entry.run_ids[0][:8],
    ]


def _has_cost(board: Board, name: str) -> bool:
    return any(name in entry.costs for entry in board.entries)


def describe_params(board: Board, entry: Entry) -> str:
    """`lr=0.001 warmup_fraction=0.1`: what tells a setting from the others of its board."""
    names = shorten_keys(board.keys)
    # a key that it lacks tells little, and a setting without phases lacks all of theirs
    keys = [key for key in board.keys if entry.params[key] is not None] or board.keys
    shown = keys[:_MAX_KEYS]
    texts = [
        f"{names[key]}={truncate_middle(_to_text(entry.params[key]), _MAX_VALUE)}" for key in shown
    ]
    more = len(keys) - len(shown)
    return " ".join(texts) + (f" and {more} more" if more else "")


def _to_text(value: str | None) -> str:
    return MISSING_VALUE_TEXT if value is None else value


def format_score(score: Score | None) -> str:
    """`0.812 (0.801 to 0.823, seeds)`."""
    if score is None:
        return MISSING_VALUE_TEXT
    value = format_number(score.value, 4)
    if score.low is None or score.high is None:
        return value
    low, high = format_number(score.low), format_number(score.high)
    return f"{value} ({low} to {high}, {score.interval})"


def list_rows(boards: Sequence[Board]) -> Iterator[tuple[Board, list[str], list[list[str]]]]:
    """Every board with the heads and the rows of a table that has its parameters too."""
    for board in boards:
        heads = [*list_columns(board), "setting"]
        rows = [
            [*list_cells(board, number, entry), describe_params(board, entry) or entry.name]
            for number, entry in enumerate(board.entries, 1)
        ]
        yield board, heads, rows
