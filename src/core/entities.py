"""Entities in tagged words, counted as the field does (conlleval, Tjong Kim Sang and Buchholz,
2000; seqeval): one is right if its first word, its last word and its type are.

Tags are class indices in the order of `src/core/entity_tags.py`. An entity begins at a B,
and also at an I that does not go on with one of its type (the lenient reading, which gives what a
model predicts without regard to order a meaning).

Shape legend: S tags of several texts end to end, with -1 behind the last one of each; E entities.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Entities(NamedTuple):
    """Entities in the order of their places."""

    begins: Tensor  # [E] int64, the first word of each
    ends: Tensor  # [E] int64, behind the last word of each
    types: Tensor  # [E] int64, 0 for the tags 1 and 2, 1 for 3 and 4, ...


def find_entities(tags: Tensor) -> Entities:
    """The entities in tags [S]."""
    types = torch.where(tags > 0, (tags - 1) // 2, -1)
    before = torch.cat((types.new_full((1,), -1), types[:-1]))
    is_begin = (types >= 0) & ((tags % 2 == 1) | (types != before))
    begins = is_begin.nonzero()[:, 0]
    # an entity ends where another begins, or where there is none
    borders = (is_begin | (types < 0)).nonzero()[:, 0]
    borders = torch.cat((borders, borders.new_full((1,), len(tags))))
    ends = borders[torch.searchsorted(borders, begins, right=True)]
    return Entities(begins, ends, types[begins])


def find_right_entities(predicted: Entities, true: Entities) -> Tensor:
    """Which of the true entities [E] are predicted, with the same words and the same type."""
    place = torch.searchsorted(predicted.begins, true.begins)
    is_there = place < len(predicted.begins)
    if not len(predicted.begins):
        return is_there
    place = place.clamp(max=len(predicted.begins) - 1)
    for one, other in zip(predicted, true, strict=True):
        is_there = is_there & (one[place] == other)
    return is_there
