"""Figures as pictures."""

import io

import pytest
from matplotlib.figure import Figure

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
        save_figure(figure, target, format="png")
        assert target.getvalue().startswith(b"\x89PNG")
    assert draw_picture(figure).startswith(b"\x89PNG")
