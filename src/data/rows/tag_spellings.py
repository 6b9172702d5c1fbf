"""How a tag of a word says where in an entity it stands: by a letter before the type (B-PER), which
is what most files have, behind it (PER-B), with a colon (B:PER), or by the letter alone (B).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from src.core.entity_tags import OUTSIDE

_LETTERS = "BIELSUMW"
_BEGIN_PREFIXES, _END_PREFIXES = "BSUW", "ELSUW"
# a tag of an entity: a prefix and a type
TAG_PATTERN = re.compile(rf"([{_LETTERS}])[-_](.+)")
# the type of entities whose tags name none
NAMELESS_TYPE = "entity"
# by what a run says of them; tried only where no tag is as TAG_PATTERN has it, since a type may be
# called "vitamin-B", and parts of speech may be anything
OTHER_SPELLINGS: Mapping[str, re.Pattern[str]] = {
    "the letter behind the type": re.compile(rf"(?P<type>.+)[-_:](?P<letter>[{_LETTERS}])"),
    "a colon behind the letter": re.compile(rf"(?P<letter>[{_LETTERS}]):(?P<type>.+)"),
    f"without types, called '{NAMELESS_TYPE}'": re.compile(r"(?P<letter>[BIELSU])(?P<type>)"),
}


def respell_tag(tag: str, spelling: re.Pattern[str]) -> str | None:
    """A tag as TAG_PATTERN has it; None if it is not of this spelling."""
    if tag == OUTSIDE:
        return tag
    found = spelling.fullmatch(tag)
    return None if found is None else f"{found['letter']}-{found['type'] or NAMELESS_TYPE}"


def split_tag(tag: str, types: Collection[str] = ()) -> tuple[str, str]:
    """The prefix and the type of a tag; I where it has no prefix, and no type for an O.

    Args:
        types: those that are known; a tag of which no prefix is the first letter may then be one of
            them in another spelling.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if found := TAG_PATTERN.fullmatch(tag):
        return found[1], found[2]
    if tag not in types:
        for spelling in OTHER_SPELLINGS.values():
            respelled = respell_tag(tag, spelling)
            if respelled is not None and respelled[2:] in types:
                return respelled[0], respelled[2:]
    return "I", tag


def read_tags(tags: Sequence[str], types: Collection[str] = ()) -> list[tuple[str | None, bool]]:
    """The type of each word, and whether an entity begins there, by conlleval's rule.

    Args:
        types: of entities, as far as they are known.
    """
    read: list[tuple[str | None, bool]] = []
    open_type = None
    for tag in tags:
        prefix, name = split_tag(tag, types)
        if not name or prefix == OUTSIDE:
            read.append((None, False))
            open_type = None
            continue
        read.append((name, prefix in _BEGIN_PREFIXES or open_type != name))
        open_type = None if prefix in _END_PREFIXES else name
    return read


def find_irregular_tags(tags: Sequence[str]) -> Iterator[str]:
    """`inside` for each entity that begins with an I, `free` for each B that IOB1 would not have:
    no entity of its type stands before it.
    """
    before = None
    for tag, (name, begins) in zip(tags, read_tags(tags), strict=True):
        prefix, _ = split_tag(tag)
        if begins and prefix not in _BEGIN_PREFIXES:
            yield "inside"
        if prefix == "B" and before != name:
            yield "free"
        before = name
