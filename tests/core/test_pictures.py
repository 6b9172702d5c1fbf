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
        figure = Figure(figsize=(4, 2), layout=layout)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label="a line")
        axes.text(1.1, 0.5, "beyond the axes")
        axes.legend()
        return figure

    expected = io.BytesIO()
    plot().savefig(expected, format="png", dpi=150, bbox_inches="tight")
    drawings: list[Figure] = []
    draw = Figure.draw
    monkeypatch.setattr(
        Figure, "draw", lambda figure, renderer: (drawings.append(figure), draw(figure, renderer))
    )
    found = io.BytesIO()
    save_figure(plot(), found)
    pixels = [np.asarray(Image.open(picture)) for picture in (found, expected)]
    np.testing.assert_array_equal(*pixels)
    assert len(drawings) == 1
