"""The names of tags of words, in the one order that everything relies on: "O", and then "B-" and
"I-" of each type in turn.
"""

from collections.abc import Sequence

# stands behind the tags of each text
END_OF_TEXT = -1
OUTSIDE = "O"


def list_entity_tags(types: Sequence[str]) -> tuple[str, ...]:
    """The names of all tags, in their order."""
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI"))


def list_entity_types(tags: Sequence[str]) -> tuple[str, ...]:
    """The types of entities that tags are about; none where they are not about entities, as parts
    of speech are not.
    """
    types = tuple(tag[2:] for tag in tags[1::2])
    return types if tuple(tags) == list_entity_tags(types) else ()
