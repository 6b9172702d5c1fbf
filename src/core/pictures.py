"""Figures as pictures: how all that are kept are written."""

import warnings
from typing import Any


def save_figure(figure: Any, target: Any, format: str | None = None) -> None:
    """Write a matplotlib figure. A letter that no font has, such as an emoji, is a box, of which
    nobody is warned: the texts themselves stand elsewhere in the report.

    Args:
        target: a path or an open file.
        format: None takes it from the path, or PNG.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        figure.savefig(target, format=format, dpi=150, bbox_inches="tight")
