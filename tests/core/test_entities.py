"""Entities in tags, by hand: O 0, B-LOC 1, I-LOC 2, B-PER 3, I-PER 4; -1 ends a text."""

import pytest
import torch

from src.core.entities import find_entities, find_right_entities
from src.core.entity_tags import list_entity_tags, list_entity_types


def _list(tags: list[int]) -> list[tuple[int, int, int]]:
    found = find_entities(torch.tensor(tags, dtype=torch.int64))
    return list(zip(*(part.tolist() for part in found), strict=True))


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ([], []),
        ([0, 0, -1], []),
        ([1, 2, 0, 3, -1], [(0, 2, 0), (3, 4, 1)]),
        # a B right behind an entity of its type begins another
        ([1, 1, 2, -1], [(0, 1, 0), (1, 3, 0)]),
        # an I that goes on with nothing begins one (lenient), also behind another type
        ([2, 2, 4, 0, 4, -1], [(0, 2, 0), (2, 3, 1), (4, 5, 1)]),
        # no entity reaches over the end of a text
        ([3, 4, -1, 4, -1], [(0, 2, 1), (3, 4, 1)]),
        ([0, 1], [(1, 2, 0)]),
    ],
)
def test_find_entities(tags: list[int], entities: list[tuple[int, int, int]]) -> None:
    assert _list(tags) == entities


def test_an_entity_is_right_with_all_its_words_and_its_type() -> None:
    true = find_entities(torch.tensor([1, 2, 0, 3, 4, 0, 1, -1]))
    # a longer one, another type, and the third one right
    found = find_entities(torch.tensor([1, 2, 2, 1, 2, 0, 1, -1]))
    assert find_right_entities(found, true).tolist() == [False, False, True]
    assert find_right_entities(true, true).all()
    none = find_entities(torch.tensor([0, 0, -1]))
    assert find_right_entities(none, true).tolist() == [False] * 3
    assert find_right_entities(true, none).tolist() == []


def test_names_of_tags() -> None:
    tags = list_entity_tags(["LOC", "PER"])
    assert tags == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert list_entity_types(tags) == ("LOC", "PER")
    # parts of speech
    assert list_entity_types(("ADJ", "NOUN", "VERB")) == ()
    assert list_entity_types(("O", "I-LOC", "B-LOC")) == ()
