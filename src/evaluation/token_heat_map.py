"""A text whose tokens are coloured by how much they counted: as HTML, as a picture and as lines.

Blue speaks for the answer and orange against it, which people with the common kinds of colour
blindness tell apart. The strongest token of a text has the full colour.
"""

import html
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.evaluation.plots import TEXT_COLOR

_FOR, _AGAINST = (33, 102, 172), (230, 97, 1)
# of the picture, in characters
_LINE_WIDTH = 92
_BAR_WIDTH = 24
# of each of several texts in one picture
_MOST_LINES = 8
HEAT_MAP_STYLE = """
.text { font-size: 1.15em; line-height: 2 }
.text span { padding: .15em .1em; border-radius: .2em; }
"""


def build_heat_map_html(
    title: str, tokens: Sequence[str], scores: Sequence[float], *, level: int = 2
) -> str:
    """The text as a line of coloured tokens; the score of each is shown under the pointer.

    Args:
        level: of the heading.
    """
    strongest = max(map(abs, scores), default=0) or 1.0
    spans = [
        f'<span style="{_style(score / strongest)}" title="{score:+.4f}">{html.escape(token)}'
        "</span>"
        for token, score in zip(tokens, scores, strict=True)
    ]
    heading = f"<h{level}>{html.escape(title)}</h{level}>"
    return f'{heading}\n<p class="text">{" ".join(spans)}</p>\n'


def plot_heat_map(title: str, tokens: Sequence[str], scores: Sequence[float]) -> Figure:
    """The coloured text as a picture."""
    return plot_heat_maps([(title, tokens, scores)], most_lines=None)


def plot_heat_maps(
    texts: Sequence[tuple[str, Sequence[str], Sequence[float]]],
    *,
    most_lines: int | None = _MOST_LINES,
) -> Figure:
    """Coloured texts below each other as one picture.

    Args:
        texts: title, tokens and their scores.
        most_lines: of a text; what does not fit is not drawn.
    """
    drawn = [(*text, _break_lines(text[1])[:most_lines]) for text in texts]
    rows = sum(len(lines) + 1.4 for *_, lines in drawn) + 1.3
    figure = Figure(figsize=(9, 0.34 * rows), dpi=120)
    axes = figure.add_axes((0.02, 0.0, 0.96, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, _LINE_WIDTH)
    axes.set_ylim(rows, 0)
    top = 0.8
    for title, tokens, scores, lines in drawn:
        heading = axes.text(0, top, title, fontsize=10, color=TEXT_COLOR, weight="bold")
        heading.set_parse_math(False)
        is_cut = sum(map(len, lines)) < len(tokens)
        _draw_lines(axes, top, tokens, scores, lines)
        top += len(lines) + 1.4
        if is_cut:
            axes.text(_LINE_WIDTH, top - 1.4, "…", fontsize=10, color=TEXT_COLOR, ha="right")
    legend = "blue: for the answer   orange: against it"
    axes.text(0, top - 0.3, legend, fontsize=8, color=TEXT_COLOR)
    return figure


def _draw_lines(
    axes: Axes,
    top: float,
    tokens: Sequence[str],
    scores: Sequence[float],
    lines: Sequence[Sequence[int]],
) -> None:
    strongest = max(map(abs, scores), default=0) or 1.0
    for number, line in enumerate(lines, start=1):
        place = 0.0
        for index in line:
            share = scores[index] / strongest
            shown = axes.text(
                place,
                top + number,
                tokens[index],
                fontsize=10,
                family="monospace",
                color="white" if abs(share) > 0.65 else TEXT_COLOR,
                bbox={"boxstyle": "round,pad=0.15", "linewidth": 0, "facecolor": _blend(share)},
            )
            shown.set_parse_math(False)
            place += len(tokens[index]) + 1.2


def format_score_bars(
    tokens: Sequence[str], scores: Sequence[float], shown: Sequence[int]
) -> list[str]:
    """A line with a bar for each of the chosen tokens, for a terminal."""
    strongest = max(map(abs, scores), default=0) or 1.0
    width = min(max((len(tokens[index]) for index in shown), default=0), 24)
    lines = []
    for index in shown:
        length = round(abs(scores[index]) / strongest * _BAR_WIDTH)
        bar = ("+" if scores[index] >= 0 else "-") * length
        lines.append(f"  {tokens[index][:width]:<{width}}  {scores[index]:+9.4f}  {bar}".rstrip())
    return lines


def _style(share: float) -> str:
    colour = _FOR if share >= 0 else _AGAINST
    text = ";color:#fff" if abs(share) > 0.65 else ""
    return f"background:rgba({colour[0]},{colour[1]},{colour[2]},{abs(share):.2f}){text}"


def _blend(share: float) -> tuple[float, float, float]:
    """The colour of a share on white."""
    red, green, blue = _FOR if share >= 0 else _AGAINST
    strength = abs(share)
    return (
        1 - strength * (1 - red / 255),
        1 - strength * (1 - green / 255),
        1 - strength * (1 - blue / 255),
    )


def _break_lines(tokens: Sequence[str]) -> list[list[int]]:
    """The numbers of the tokens in each line of the picture."""
    lines: list[list[int]] = [[]]
    used = 0.0
    for index, token in enumerate(tokens):
        if lines[-1] and used + len(token) > _LINE_WIDTH - 2:
            lines.append([])
            used = 0.0
        lines[-1].append(index)
        used += len(token) + 1.2
    return lines
