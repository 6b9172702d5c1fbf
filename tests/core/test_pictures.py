"""Figures as pictures."""

import io
from typing import Literal

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.core.pictures import save_figure
from src.evaluation.report_plots import draw_picture


def test_letters_that_no_font_has_raise_no_warning() -> None:
    """Warnings are errors here, as the first drawing shows."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_title("Love it \U0001f60d, \u4e2d\u6587")
    with pytest.raises(UserWarning, match="Glyph .* missing from"):
        figure.savefig(io.BytesIO())
    for target in (io.BytesIO(), io.BytesIO()):
        save_figure(figure, target)
        assert target.getvalue().startswith(b"\x89PNG")
    assert draw_picture(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("layout", ["constrained", None])
def test_a_picture_is_drawn_once_and_is_that_of_matplotlib(
    layout: Literal["constrained"] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plot() -> Figure:
        figure = Figure(figsize=(4, 3), layout=layout)
        axes = figure.add_subplot() if layout else figure.add_axes((0.2, 0.2, 0.6, 0.6))
        axes.plot([0, 1], [0, 1], label="a line")
        axes.text(0.1, 0.7, "beside it")
        axes.legend()
        return figure

    expected, drawings = _draw_twice(plot()), _count_drawings(monkeypatch)
    found = _save(plot())
    assert len(drawings) == 1
    if layout is not None:
        np.testing.assert_array_equal(found, expected[..., :3])
    # a letter's own edge in the place of its line's
    assert np.abs(np.subtract(found.shape, (*expected.shape[:2], 3))).max() <= 4
    assert (found.min(2) < 255).sum() == pytest.approx((expected.min(2) < 255).sum(), rel=0.02)


@pytest.mark.parametrize("place", [(-0.7, 0.5), (1.2, 0.5), (0.5, 1.4), (0.5, -0.3)])
def test_what_the_figure_has_no_room_for_is_in_the_picture(place: tuple[float, float]) -> None:
    def plot() -> Figure:
        figure = Figure(figsize=(3, 2))
        figure.add_axes((0.3, 0.3, 0.5, 0.5)).text(*place, "far beyond the axes", wrap=False)
        return figure

    np.testing.assert_array_equal(_save(plot()), _draw_twice(plot())[..., :3])


def _save(figure: Figure) -> np.ndarray:
    target = io.BytesIO()
    save_figure(figure, target)
    return np.asarray(Image.open(target))[..., :3]


def _draw_twice(figure: Figure) -> np.ndarray:
    """As matplotlib does it, which first draws in order to measure."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=150, bbox_inches="tight")
    return np.asarray(Image.open(target))


def _count_drawings(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    drawings: list[Figure] = []
    draw = Figure.draw
    monkeypatch.setattr(
        Figure, "draw", lambda figure, renderer: (drawings.append(figure), draw(figure, renderer))
    )
    return drawings
