"""The special tokens that a tokenizer puts around texts, and the segments that it makes of them.

They are asked of its post-processor with stand-ins for the texts, so that they do not depend on
what the tokenizer makes of any text.
"""

from typing import Any, NamedTuple

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

# ids that no vocabulary has
_STAND_IN_IDS = (2**32 - 2, 2**32 - 1)


class SpecialFrame(NamedTuple):
    """The special tokens around one or two texts."""

    # before the first text, after it, and with a second one after that
    ids: list[list[int]]
    # special tokens before the second segment (BERT's token type 1); None where all tokens are of
    # one segment (0), or of others than 0 and then 1
    second_segment: int | None
    # all tokens have type 0
    is_plain: bool

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.ids))


def find_frame(backend: Any, num_texts: int) -> SpecialFrame | None:
    """What a tokenizer (`tokenizers.Tokenizer`) puts around one text or two; None if it does not
    give them once each, in their order.
    """
    vocabulary = dict(zip("ab", _STAND_IN_IDS, strict=True))
    stand_ins = Tokenizer(WordLevel(vocabulary, unk_token="a"))
    texts = [stand_ins.encode("a")]
    if num_texts == 2:
        # as a second text comes to a post-processor: of type 1
        stand_ins.post_processor = TemplateProcessing(single="$A:1", special_tokens=[])
        texts.append(stand_ins.encode("b"))
    whole = backend.post_process(*texts)
    found = tuple(token_id for token_id in whole.ids if token_id in _STAND_IN_IDS)
    if found != _STAND_IN_IDS[:num_texts]:
        return None
    ids: list[list[int]] = [[]]
    for token_id in whole.ids:
        if token_id in _STAND_IN_IDS:
            ids.append([])
        else:
            ids[-1].append(token_id)
    types = whole.type_ids
    second = types.index(1) if 1 in types else len(types)
    is_known = types == [0] * second + [1] * (len(types) - second)
    # it begins behind the first text, and no later than with the second
    is_between = len(ids[0]) < second < len(types) - len(ids[-1])
    return SpecialFrame(ids, second - 1 if is_known and is_between else None, not any(types))
