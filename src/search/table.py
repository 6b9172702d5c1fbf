"""The table of a sweep's trials for a terminal, as many rows and columns as there is room for."""

import io
from collections.abc import Mapping, Sequence

from src.search.rows import Row
from src.search.standing import Limit, census, elapsed_seconds, leading, left_seconds, ranked, values_of
from src.search.words import NOTHING, duration, number, plain, setting, several, short

_TONES = {"finished": "green", "pruned": "dim", "failed": "red", "running": "cyan", "waiting": "dim"}
_BEST, _LAST = 5, 3  # how many of the best, and of those that ended last, where not all find room
_WIDE, _NARROW = 84, 56  # columns of a terminal from which, or below which, there is more or less to see


def table(
    rows: Sequence[Row],
    *,
    monitors: Sequence[str],
    modes: Sequence[str],
    keys: Sequence[str],
    name: str,
    steps: Mapping[int, tuple[int, int]],
    left: Mapping[int, float],
    limits: Sequence[Limit],
    now: float,
    width: int,
    height: int,
    fancy: bool = True,
) -> list[tuple[str, int]]:
    """Lines for a terminal of this size, each with its width in columns: a heading, then trials.

    Args:
        steps, left: of running trials the optimizer step, all steps, and the seconds left.
        fancy: whether the terminal shows more than ASCII.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = max(width - 1, 10)  # the last column makes some terminals begin a new line
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, highlight=False, markup=False, emoji=False,
        legacy_windows=False, color_system="standard",
    )  # fmt: skip
    first = {row.number for row in leading(rows, modes)}
    heading = Text(_heading(rows, monitors, modes, name, limits, now))
    heading.stylize("bold", 0, len(name))
    with console.capture() as captured:
        console.print(heading)
    top = captured.get().splitlines()
    room = max(height - len(top) - 3, 1)  # the names of the columns, and a row for the cursor
    shown, hidden = chosen(rows, modes, room)
    names = short(keys)
    apart = width >= _WIDE and len(keys) <= 5 and _room_for(shown, keys, names) <= width - 52
    told = monitors if width >= _WIDE else monitors[:1]
    heads = ["trial", *(names[key] for key in keys if apart), *([] if apart else ["parameters"])]
    heads += [monitor if width >= _NARROW else monitor.rpartition("/")[2] for monitor in told]
    after = 3 if width >= _NARROW else 1
    heads += ["state", "step", "time"][:after]
    body = []
    for row in shown:
        star = ("★" if fancy else "*") if row.number in first else ""
        values = [plain(row.params[key]) if key in row.params else "" for key in keys]
        known: Sequence[float | None] = row.values if row.state == "finished" and row.values else (row.last,)
        cells = [str(row.number), *(values if apart else [setting(row.params, keys)])]
        cells += [number(known[place]) if place < len(known) else NOTHING for place in range(len(told))]
        cells += [f"{row.state} {star}".rstrip(), _step(row, steps), _time(row, left, now)][
            : 3 if width >= _NARROW else 1
        ]
        tone = f"bold {_TONES[row.state]}" if star else _TONES[row.state] if row.state != "finished" else ""
        body.append((cells, tone))
    widths = [max(map(cell_len, column)) for column in zip(heads, *(cells for cells, _ in body), strict=True)]
    if not apart:  # what is left for them, and the others whole
        widths[1] = min(widths[1], max(width - (sum(widths) - widths[1]) - 2 * (len(widths) - 1), 6))
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, (head, wide) in enumerate(zip(heads, widths, strict=True)):
        right = head in ("trial", "step", "time") or place >= len(heads) - len(told) - after
        side = "right" if right and head != "state" else "left"
        grid.add_column(Text(head), justify=side, no_wrap=True, overflow="ellipsis", width=wide)  # type: ignore[arg-type]
    for cells, tone in body:
        grid.add_row(*map(Text, cells), style=tone)
    with console.capture() as captured:
        if shown:
            console.print(grid)
        if hidden:
            console.print(Text(f"and {several(hidden, 'more trial')}", style="dim"), no_wrap=True, overflow="ellipsis")
    lines = [*top, *captured.get().splitlines()][: max(height - 1, 1)]
    lines = [line if fancy else _ascii(line) for line in lines]
    return [(line, cell_len(Text.from_ansi(line).plain.rstrip())) for line in lines]


def chosen(rows: Sequence[Row], modes: Sequence[str], room: int) -> tuple[list[Row], int]:
    """The trials that have begun and find room, by number, and how many do not.

    Where not all of them do: the best, the running ones, those that ended last.
    """
    begun = [row for row in rows if row.state != "waiting" and not row.replaced]
    if len(begun) <= room:
        return sorted(begun, key=lambda row: row.number), 0
    room = max(room - 1, 1)  # a line says how many there are more
    running = [row for row in begun if row.state == "running"]
    ended = [row for row in begun if row.state != "running"]
    last = sorted(ended, key=lambda row: (row.ended_at or 0.0, row.number), reverse=True)
    found: dict[int, Row] = {}
    best = ranked(ended, modes)[:_BEST]
    for row in (*best[:1], *running[: max(room - 3, 1)], *best, *last[:_LAST]):
        if len(found) < room:
            found.setdefault(row.number, row)
    return [found[each] for each in sorted(found)], len(begun) - len(found)


def _heading(
    rows: Sequence[Row],
    monitors: Sequence[str],
    modes: Sequence[str],
    name: str,
    limits: Sequence[Limit],
    now: float,
) -> str:
    parts = [name, *map(str, limits), census(rows)]
    best = leading(rows, modes)
    if len(modes) > 1 and best:
        parts.append(f"{several(len(best), 'trial')} on the Pareto front")
    elif best:
        parts.append(f"best: trial {best[0].number}, {values_of(best[0], monitors)}")
    if (seconds := left_seconds(rows, limits, now)) is not None and any(row.state == "running" for row in rows):
        parts.append(f"about {duration(seconds)} left")
    return " | ".join(filter(None, parts))


def _step(row: Row, steps: Mapping[int, tuple[int, int]]) -> str:
    if row.state == "running" and row.number in steps:
        step, total = steps[row.number]
        return f"{step}/{total}" if total > 0 else str(step)
    return str(row.about["steps"]) if row.about.get("steps") else ""


def _time(row: Row, left: Mapping[int, float], now: float) -> str:
    """What is left of a running trial, else what it took."""
    if row.state == "running":
        return f"{duration(left[row.number])} left" if row.number in left else duration(elapsed_seconds(row, now))
    return duration(elapsed_seconds(row)) if row.ended_at is not None else ""


def _room_for(rows: Sequence[Row], keys: Sequence[str], names: Mapping[str, str]) -> int:
    """Columns that the parameters take, each in a column of its own."""
    return sum(
        2 + max([len(names[key]), *(len(plain(row.params[key])) for row in rows if key in row.params)]) for key in keys
    )


def _ascii(text: str) -> str:
    return text.replace("–", "-").replace("…", "~").encode("ascii", "replace").decode()
