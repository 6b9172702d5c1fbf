"""What a part of a run has to say before training begins."""

from typing import NamedTuple


class Notices(NamedTuple):
    """What should be known of a part of a run: lines for the screen, and tags for its record."""

    lines: tuple[str, ...]
    tags: dict[str, str]


def join_notices(*parts: Notices) -> Notices:
    """What several parts have to say, in their order."""
    return Notices(
        tuple(line for part in parts for line in part.lines),
        {tag: text for part in parts for tag, text in part.tags.items()},
    )
