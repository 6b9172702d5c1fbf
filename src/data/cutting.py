"""Where a long text can be cut so that its pieces, one after the other, give what the whole gives."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Ids = tuple[np.ndarray, np.ndarray]  # of all texts (uint32), and how many each has (int64)

PIECE = 1 << 14  # letters: enough that a cut costs nothing
TOGETHER = 1 << 20  # letters of the pieces that are looked at in one go

WHITE_SPACE = re.compile(r"[ \t\n\r]")
_SINGLE_SPACE = re.compile(r"(?<=\S) (?=\S)")


def pieces(text: str, where: re.Pattern[str] = WHITE_SPACE, size: int = PIECE) -> Iterator[str]:
    """A text, cut before the first match of `where` after each `size` letters."""
    begin = 0
    while len(text) - begin > size and (found := where.search(text, begin + size)):
        yield text[begin : found.start()]
        begin = found.start()
    yield text[begin:]


def cut_points(backend: Any) -> re.Pattern[str] | None:
    """Before which matches a tokenizer that works on bytes (GPT-2's way) gives the same ids; None where nobody knows.

    Its pattern (Radford et al., 2019; `ByteLevel` in `tokenizers`) takes a space along with the word behind it and
    looks behind no other character, so that one of its matches begins at a space that stands alone, whatever is around
    it. Neither canonical composition (NFC, NFD) nor an added token reaches over it, unless that token holds a space
    itself or takes those behind it along.
    """
    parts = [type(getattr(backend, name, None)).__name__ for name in ("normalizer", "pre_tokenizer", "model")]
    if parts[0] not in ("NoneType", "NFC", "NFD") or parts[1:] != ["ByteLevel", "BPE"]:
        return None
    if not backend.pre_tokenizer.use_regex or backend.model.dropout:
        return None
    added = backend.get_added_tokens_decoder().values()
    if any(each.rstrip or re.search(r"\S ", each.content) for each in added):
        return None
    return _SINGLE_SPACE


def of_pieces(
    encode: "Callable[[Sequence[str]], Ids]", texts: Sequence[str], cut: Callable[[str], Iterable[str]]
) -> "Ids":
    """What `encode` makes of whole texts, from the pieces of long ones, few at a time."""
    import numpy as np

    ids, lengths = [], np.zeros(len(texts), dtype=np.int64)
    some: list[str] = []
    owners: list[int] = []
    letters = 0

    def take() -> None:
        nonlocal letters
        found, counts = encode(some)
        ids.append(found)
        np.add.at(lengths, owners, counts)
        some.clear()
        owners.clear()
        letters = 0

    for number, text in enumerate(texts):
        for piece in cut(text) if len(text) > PIECE else (text,):
            some.append(piece)
            owners.append(number)
            letters += len(piece)
            if letters >= TOGETHER:
                take()
    if some:
        take()
    return np.concatenate(ids), lengths
