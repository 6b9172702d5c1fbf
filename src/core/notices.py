"""What a part of a run has to say before training begins."""

from typing import NamedTuple


class Notices(NamedTuple):
    """What should be known of a part of a run: lines for the screen, and tags for its record."""

    lines: tuple[str, ...]
    tags: dict[str, str]
