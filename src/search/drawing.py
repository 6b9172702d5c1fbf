"""What the pictures of a sweep share: colours, paper, scales with ticks a person can read, and SVG for a page.

Everything is drawn with matplotlib's objects: no pyplot, so no global state and no window.
"""

import functools
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator

from src.search.rows import Value
from src.search.words import cut

# Told apart also by those who do not see red and green. A page shows these in other tones where it is dark (`svg`).
INK, MUTED, GRID, PAPER = "#22303c", "#71808d", "#e4e8eb", "#ffffff"
FINISHED, BEST, FAILED, RUNNING = "#2f6fab", "#d55e00", "#a83254", "#15886b"
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", FINISHED: "--finished", BEST: "--best"}
THEME |= {FAILED: "--failed", RUNNING: "--running"}

FEW = 8  # different numbers that were listed one by one: so many are shown as categories
_FONT = "DejaVu Sans"  # comes with matplotlib


@dataclass(frozen=True)
class Scale:
    """Where a value stands on an axis: numbers as they are or by their logarithm, categories side by side."""

    names: tuple[str, ...] = ()  # of categories, in their order
    log: bool = False
    low: float = 0.0  # as `place` gives it
    high: float = 0.0

    def place(self, value: Value) -> float:
        if self.names:
            return float(self.names.index(str(value)))
        return math.log10(float(value)) if self.log else float(value)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Places and what stands there, at most about `most` of them."""
        if self.names:
            stride = max(1, math.ceil(len(self.names) / most))
            return [(float(place), name) for place, name in enumerate(self.names) if place % stride == 0]
        if not self.log:
            return numbers(self.low, self.high, most)
        if self.high - self.low < 0.7:
            ticks = numbers(10**self.low, 10**self.high, most)
            return [(math.log10(float(value)), text) for value, text in ticks if value > 0]
        factors = (1, 2, 5) if self.high - self.low < 2 else (1, 3) if self.high - self.low < most / 2 else (1,)
        values = [f * 10.0**e for e in range(math.floor(self.low), math.ceil(self.high) + 1) for f in factors]
        values = [each for each in values if self.low - 1e-9 <= math.log10(each) <= self.high + 1e-9]
        values = values[:: max(1, math.ceil(len(values) / (most + 1)))]
        return [(math.log10(each), f"{each:g}" if 1e-3 <= each < 1e5 else f"{each:.0e}") for each in values]


def scale_of(values: Iterable[Value], *, log: bool) -> Scale | None:
    """The scale on which these stand; None where they are all the same.

    Listed values are texts; where all of them are numbers and there are many, they stand on a scale of numbers.
    """
    distinct = set(values)
    if len(distinct) < 2:
        return None
    parsed = {each: _as_number(each) for each in distinct}
    known = [value for value in parsed.values() if value is not None]
    listed = any(isinstance(each, str) for each in distinct)
    if len(known) < len(distinct) or (listed and len(distinct) <= FEW):
        order = sorted((parsed[each] is None, parsed[each] or 0.0, str(each)) for each in distinct)
        return Scale(names=tuple(name for *_, name in order))
    low, high = min(known), max(known)
    wide = listed and low > 0 and high / low >= 100
    if low > 0 and (log or wide):
        return Scale(log=True, low=math.log10(low), high=math.log10(high))
    return Scale(low=low, high=high)


def numbers(low: float, high: float, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Round numbers between two, with as many digits as tell them apart."""
    places = MaxNLocator(nbins=max(most, 1), steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    margin = 1e-9 * (high - low)
    within = [float(each) for each in places if low - margin <= each <= high + margin]
    largest = max(map(abs, within), default=0.0)
    if 1e-3 <= largest < 1e7:
        decimals = next((d for d in range(9) if all(abs(round(each, d) - each) <= margin for each in within)), 9)
        return [(each, f"{each + 0.0:,.{decimals}f}") for each in within]
    digits = next((d for d in range(1, 9) if all(abs(float(f"{e:.{d}g}") - e) <= margin for e in within)), 9)
    return [(each, f"{each:.{digits}g}") for each in within]


def window(values: Sequence[float], mode: str) -> tuple[float, float]:
    """The part of a metric's axis worth showing: a few trials that went far astray do not flatten all the others."""
    ordered = sorted(values, reverse=mode == "max")
    best, worst = ordered[0], ordered[-1]
    reach = 3 * abs(ordered[int(0.8 * (len(ordered) - 1))] - best)
    if len(ordered) >= 5 and reach > 0:
        worst = next(each for each in reversed(ordered) if abs(each - best) <= reach)
    room = abs(worst - best) or 0.5 * abs(best) or 1.0
    if mode == "max":  # more of it at the bad edge, where stands what has no place in the picture
        return worst - 0.12 * room, best + 0.06 * room
    return best - 0.06 * room, worst + 0.12 * room


def sheet(
    title: str, subtitle: str, *, panels: int = 1, columns: int = 1, width: float = 7.2, height: float = 3.3
) -> tuple[Figure, list[Axes]]:
    """Paper with a heading and empty panels in rows. Width and height of one panel are in inches, with its labels."""
    lines = math.ceil(panels / columns)
    foot = 0.25 if columns > 1 else 0.0  # one column leaves the legend room beside the name of its axis
    wide, high = columns * width + 0.1, lines * height + 0.72 + foot
    figure = Figure(figsize=(wide, high), facecolor=PAPER)
    figure.text(0.16 / wide, 1 - 0.28 / high, drawable(title), size=11, weight="bold", color=INK, parse_math=False)
    figure.text(0.16 / wide, 1 - 0.52 / high, drawable(subtitle), size=8.5, color=MUTED, parse_math=False)
    axes = []
    for place in range(panels):
        line, column = divmod(place, columns)
        left, bottom = 0.78 + column * width, high - 0.72 - (line + 1) * height + 0.58
        box = left / wide, bottom / high, (width - 0.9) / wide, (height - 0.66) / high
        axes.append(figure.add_axes(box, facecolor="none"))
        dress(axes[-1])
    return figure, axes


def dress(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, colors=INK, pad=4)


def label(axes: Axes, which: str, text: str) -> None:
    """Name an axis, in letters that the font has."""
    axis = getattr(axes, f"{which}axis")
    axis.set_label_text(drawable(text), size=9, color=INK, parse_math=False)
    if which == "x":
        axes.xaxis.label.set_horizontalalignment("left")
        axes.xaxis.label.set_x(0.0)


def tick(axes: Axes, which: str, ticks: Iterable[tuple[float, str]], most: int = 14) -> None:
    """Set an axis' ticks; names that would run into each other stand slanted."""
    ticks = [(place, shortened(text, most)) for place, text in ticks]
    axis = getattr(axes, f"{which}axis")
    axis.set_ticks([place for place, _ in ticks], [text for _, text in ticks], parse_math=False)
    inches = axes.get_position().width * axes.figure.get_figwidth()  # type: ignore[union-attr]
    if which == "x" and sum(len(text) + 2 for _, text in ticks) * 0.078 > inches:
        for each in axes.get_xticklabels():
            each.set(rotation=28, ha="right", rotation_mode="anchor", size=7.5)


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """At the foot of the sheet, on the right; none where there is nothing to tell apart."""
    if len(handles) < 2:
        return
    figure.legend(
        handles=list(handles), loc="lower right", bbox_to_anchor=(0.995, 0.0), ncols=len(handles), frameon=False,
        fontsize=8.5, labelcolor=INK, handletextpad=0.3, columnspacing=1.3, borderaxespad=0.3,
    )  # fmt: skip


def shortened(text: str, most: int) -> str:
    return drawable(cut(text, most))


def drawable(text: str) -> str:
    """`text` with a box in place of each letter that the font does not have: matplotlib warns of every one."""
    return "".join(each if ord(each) in _letters() else "□" for each in text)


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element for the midst of an HTML page, the same bytes for the same figure.

    Its texts stay texts, its colours follow the page's variables, and its ids begin with `name`, so that several
    pictures share a page.
    """
    buffer = io.StringIO()
    none: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.hashsalt": "palimpsest", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=none, facecolor="none")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # a tenth of a point is more than an eye sees, and a third of the bytes of what matplotlib writes
    text = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#|url\(#', lambda found: f"{found[0]}{name}-", text)
    return re.sub("|".join(THEME), lambda found: f"var({THEME[found[0]]}, {found[0]})", text).strip()


def _as_number(value: Value) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


@functools.cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())
