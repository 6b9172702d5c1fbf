"""Training texts whose words are changed anew in every epoch: some left out, exchanged, or replaced
by synonyms (EDA: Wei and Zou, 2019) or by what a masked language model puts there.

What becomes of a text is a pure function of (seed, epoch, row), whatever was drawn before.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Annotated

from src.core.hub_cache import check_cached_files
from src.core.pretrained_files import resolve_local_folder
from src.core.user_errors import UserError
from src.core.validation import Bound, Fraction, validate_init

_KEY = "data.augmentation.synonyms"
MASKED_LM_KEY = "data.augmentation.masked_lm"
# of a word of a text, by its number and a share from 0 to 1; None: there is none
Substitution = Callable[[int, float], str | None]
# A word and the white space behind it.
_PART_PATTERN = re.compile(r"(\S+)(\s*)")
# A word with what stands before and behind it, such as quotes and commas.
_WORD_PATTERN = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Words of training texts that are changed anew in every epoch; white space parts them.

    Held-out texts and predictions stay as they are. Both texts of a pair are changed.

    Args:
        deletion: share of the words that is left out; one always stays.
        swap: share of the words that changes places with another one of the text.
        synonyms: a file with a line for each word: the word, a tab, and its synonyms with commas
            between them; capitals do not count. Null replaces none.
        synonym_share: share of the words that have synonyms which is replaced by one of them.
        masked_lm: a folder or hub name of a masked language model, which says once for each word of
            the training texts what else could stand there (Kobayashi, 2018; Wu et al., 2019). Null:
            none.
        masked_lm_share: share of the words that is replaced by one of these.
        masked_lm_candidates: how many words it names for each; one is drawn by its probability.
        unchanged: share of the texts that stay as they are in an epoch.
    """

    deletion: Fraction = 0.1
    swap: Fraction = 0.1
    synonyms: str | None = None
    synonym_share: Fraction = 0.1
    masked_lm: str | None = None
    masked_lm_share: Fraction = 0.1
    masked_lm_candidates: Annotated[int, Bound(least=1, most=1000)] = 10
    unchanged: Fraction = 0.5

    def check(self) -> None:
        """Raise UserError if the file of synonyms is not there or cannot be read, or if there is no
        folder of the masked language model.
        """
        _ = self._synonyms_by_word
        if (
            self.masked_lm is not None
            and resolve_local_folder(self.masked_lm, MASKED_LM_KEY) is None
        ):
            check_cached_files(self.masked_lm, None, MASKED_LM_KEY)

    @cached_property
    def _synonyms_by_word(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self.synonyms is None else read_synonyms(self.synonyms)

    def change_text(
        self,
        text: str,
        *,
        seed: int,
        epoch: int,
        row: int,
        part: int = 0,
        substitute: Substitution | None = None,
    ) -> str:
        """A training text as it is in an epoch.

        Args:
            row: its number; `part` is 1 for the second text of a pair.
            substitute: what the masked language model puts in the place of a word.
        """
        # Seeded with a text, so that no two rows and epochs have the same numbers. Only `random`
        # is asked, which gives the same numbers in every version of Python.
        draw = Random(f"{seed} {epoch} {row}").random
        if draw() < self.unchanged:
            return text
        draw = Random(f"{seed} {epoch} {row} {part}").random
        parts = _PART_PATTERN.findall(text)
        words = [self._replace_word(word, draw()) for word, _ in parts]
        if substitute is not None:
            # numbers of its own, so that the others stay what they are without it
            draw_own = Random(f"{seed} {epoch} {row} {part} masked_lm").random
            for place, (word, _) in enumerate(parts):
                share = draw_own()
                if share < self.masked_lm_share:
                    found = substitute(place, share / self.masked_lm_share)
                    words[place] = words[place] if found is None else exchange_word(word, found)
        for place in range(len(words)):
            # two words move with each exchange
            if draw() < self.swap / 2:
                other = int(draw() * len(words))
                words[place], words[other] = words[other], words[place]
        # white space stays where it is, and goes with the word before it
        kept = [
            word + space
            for word, (_, space) in zip(words, parts, strict=True)
            if draw() >= self.deletion
        ]
        return "".join(kept) if kept else words[0] if words else text

    def _replace_word(self, word: str, share: float) -> str:
        """The word or, for a `share` below that of synonyms, one of its synonyms."""
        if share >= self.synonym_share or not self._synonyms_by_word:
            return word
        choices = self._synonyms_by_word.get(split_word(word)[1].casefold())
        if not choices:
            return word
        return exchange_word(word, choices[int(share / self.synonym_share * len(choices))])


def split_word(word: str) -> tuple[str, str, str]:
    """What stands before a word, such as quotes, the word itself, and what stands behind it."""
    match = _WORD_PATTERN.fullmatch(word)
    before, bare, behind = match.groups() if match else ("", word, "")
    return before, bare, behind


def exchange_word(word: str, other: str) -> str:
    """Another word in the place of one, with its quotes and commas and its capital."""
    before, bare, behind = split_word(word)
    if bare[:1].isupper():
        other = other[:1].upper() + other[1:]
    return f"{before}{other}{behind}"


def find_word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end, without quotes and commas; what is not made of
    letters has no length.
    """
    spans = []
    for match in _PART_PATTERN.finditer(text):
        before, bare, _ = split_word(match[1])
        begin = match.start() + len(before)
        spans.append((begin, begin + len(bare) * bare.isalpha()))
    return spans


def read_synonyms(path: str) -> dict[str, tuple[str, ...]]:
    """The synonyms of each word, in small letters, from a file as `Augmentation` says.

    Raises:
        UserError: there is no such file, it is not UTF-8, or a line of it is something else.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError("there is no such file", key=_KEY, value=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", key=_KEY, value=path) from error
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, tab, rest = line.partition("\t")
        choices = tuple(choice.strip() for choice in rest.split(",") if choice.strip())
        if not tab or not choices or len(word.split()) != 1:
            raise UserError(
                "expected a word, a tab, and its synonyms with commas between them",
                where=f"{path}, line {number}",
                key=_KEY,
                found=repr(line[:60]),
            )
        found[word.strip().casefold()] = choices
    if not found:
        raise UserError("there is no word in it", key=_KEY, value=path)
    return found
