"""A text whose tokens are coloured by how much they counted: as HTML, as a picture and as lines.

Blue speaks for the answer and orange against it, which people with the common kinds of colour
blindness tell apart. The strongest token of a text has the full colour.
"""

import functools
import html
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from src.core.pictures import DOTS_PER_INCH
from src.evaluation.plots import TEXT_COLOR

_FOR, _AGAINST = (33, 102, 172), (230, 97, 1)
# of the picture, in characters
_LINE_WIDTH = 92
# of the picture, in dots
_CHARACTER, _ROW, _MARGIN = 14.1, 51, 15
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


def plot_heat_map(title: str, tokens: Sequence[str], scores: Sequence[float]) -> Image.Image:
    """The coloured text as a picture."""
    return plot_heat_maps([(title, tokens, scores)], most_lines=None)


def plot_heat_maps(
    texts: Sequence[tuple[str, Sequence[str], Sequence[float]]],
    *,
    most_lines: int | None = _MOST_LINES,
) -> Image.Image:
    """Coloured texts below each other as one picture.

    It is drawn without matplotlib, which needs a tenth of a second for a hundred coloured words.

    Args:
        texts: title, tokens and their scores.
        most_lines: of a text; what does not fit is not drawn.
    """
    drawn = [(*text, _break_lines(text[1])[:most_lines]) for text in texts]
    rows = sum(len(lines) + 1.4 for *_, lines in drawn) + 0.7
    lengths = [
        sum(len(tokens[index]) + 1.2 for index in line)
        for _, tokens, _, lines in drawn
        for line in lines
    ]
    heading = _load_font("sans-serif", 10, weight="bold")
    titles = [heading.getlength(_make_drawable(title)) for title, *_ in drawn]
    # a single token may be longer than a line
    width = max([_LINE_WIDTH * _CHARACTER, *(_CHARACTER * length for length in lengths), *titles])
    size = (round(width) + 2 * _MARGIN, round(rows * _ROW) + _MARGIN)
    picture = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(picture)
    top = 0.6

    def write(text: str, x: float, row: float, font: ImageFont.FreeTypeFont, anchor: str) -> None:
        place = (x, round(row * _ROW) + _MARGIN)
        canvas.text(place, _make_drawable(text), font=font, fill=TEXT_COLOR, anchor=anchor)

    for title, tokens, scores, lines in drawn:
        write(title, _MARGIN, top, heading, "ls")
        _draw_lines(canvas, top, tokens, scores, lines)
        is_cut = sum(map(len, lines)) < len(tokens)
        top += len(lines) + 1.4
        if is_cut:
            write("…", size[0] - _MARGIN, top - 1.4, _load_font("sans-serif", 10), "rs")
    legend = "blue: for the answer   orange: against it"
    write(legend, _MARGIN, top - 0.3, _load_font("sans-serif", 8), "ls")
    return picture


def _draw_lines(
    canvas: ImageDraw.ImageDraw,
    top: float,
    tokens: Sequence[str],
    scores: Sequence[float],
    lines: Sequence[Sequence[int]],
) -> None:
    strongest = max(map(abs, scores), default=0) or 1.0
    font = _load_font("monospace", 10)
    # around a token, as parts of its height
    padding, above, below = (round(part * font.size) for part in (0.15, 0.91, 0.38))
    for number, line in enumerate(lines, start=1):
        place, base = float(_MARGIN + padding), round((top + number) * _ROW) + _MARGIN
        for index in line:
            share, text = scores[index] / strongest, _make_drawable(tokens[index])
            left, right = round(place) - padding, round(place + font.getlength(text)) + padding
            box = (left, base - above, right, base + below)
            canvas.rounded_rectangle(box, radius=padding, fill=_blend(share))
            colour = "white" if abs(share) > 0.65 else TEXT_COLOR
            canvas.text((round(place), base), text, font=font, fill=colour, anchor="ls")
            place += _CHARACTER * (len(tokens[index]) + 1.2)


@functools.cache
def _load_font(family: str, points: float, *, weight: str = "normal") -> ImageFont.FreeTypeFont:
    """The font that matplotlib draws with."""
    found = findfont(FontProperties(family=family, weight=weight))
    return ImageFont.truetype(str(found), points * DOTS_PER_INCH / 72)


def _make_drawable(text: str) -> str:
    """A text on one line, without half characters, which no font has."""
    return text.replace("\n", " ").encode("utf-8", "replace").decode()


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


def _blend(share: float) -> tuple[int, int, int]:
    """The colour of a share on white."""
    red, green, blue = _FOR if share >= 0 else _AGAINST
    strength = abs(share)
    return (
        round(255 - strength * (255 - red)),
        round(255 - strength * (255 - green)),
        round(255 - strength * (255 - blue)),
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
