"""A data set out of a grammar: reviews of things, positive or negative. Nothing is downloaded, nothing is stored.

It is made so that a verdict needs composition and so that unlabelled text is worth reading: some 360 opinion words are
far too many to meet in a few hundred labelled rows, but any amount of unlabelled reviews can be had, and there words of
one polarity keep company.

**Grammar.** An optional opening ("We tried this phone.") and one or two sentences about aspects of one thing:

    clause    The ASPECT LINK [DEGREE | NEGATOR] ADJECTIVE   "the battery was slightly disappointing"
              The ASPECT [DEGREE | NEGATOR] VERB us          "the battery never impressed us"
    sentence  CLAUSE | CLAUSE and CLAUSE                     both of one polarity
              CLAUSE, but CLAUSE | although CLAUSE, CLAUSE | CLAUSE, although CLAUSE      of opposite polarity

**Verdict.** A clause is worth 2 for a positive word and -2 for a negative one; 1 with a mild degree ("slightly"), 4
with a strong one ("utterly"). A negator turns the sign ("not at all disappointing" is worth 2). A sentence is worth the
sum of its clauses, where a conceded clause counts for nothing: what stands before "but" or behind "although". The
verdict is the sign of the sum of the sentences; reviews with a sum of 0 are never written.

    "The battery was dreadful, but the screen was not at all disappointing."
        conceded: dreadful; holds: not disappointing = 2; verdict positive.
    "The soup was slightly bland. Although the wine was superb, the service utterly annoyed us."
        slightly bland = -1; conceded: superb; utterly annoyed = -4; sum -5; verdict negative.

**Unlabelled text** (`labelled=False`) closes each review with a sentence that gives the verdict away, in a word of its
own ("In the end we returned it."). Labelled rows have no such sentence.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeVar

from src.data import lexicon
from src.data.formats import Record
from src.data.lexicon import NEGATIVE, POSITIVE
from src.terms.bounds import Count, Whole, checked

LABELS = {NEGATIVE: "negative", POSITIVE: "positive"}

# Every review belongs to exactly one owner, by a hash of its text: sixteenths for (labelled, split). That alone keeps
# the splits apart, whatever the seeds and sizes, and without a look at any other row.
SHARES = {
    (False, "train"): range(0, 8),
    (False, "validation"): range(8, 9),
    (False, "test"): range(9, 10),
    (True, "train"): range(10, 12),
    (True, "validation"): range(12, 14),
    (True, "test"): range(14, 16),
}


class Clause(NamedTuple):
    """One aspect and what is said of it."""

    aspect: str
    word: str
    polarity: int  # of the word by itself
    degree: str | None = None
    negator: str | None = None
    link: str | None = "was"  # None before a verb

    @property
    def worth(self) -> int:
        strength = 1 if self.degree in lexicon.MILD else 4 if self.degree in lexicon.STRONG else 2
        return self.polarity * strength * (1 if self.negator is None else -1)

    def __str__(self) -> str:
        opinion = " ".join(filter(None, (self.link, self.degree, self.negator, self.word)))
        return f"the {self.aspect} {opinion}" + (" us" if self.link is None else "")


class Sentence(NamedTuple):
    """What the writer holds, and what is conceded in the same breath (before "but", behind "although")."""

    held: tuple[Clause, ...]
    conceded: Clause | None = None
    conjunction: str = ""
    conceded_first: bool = True

    @property
    def worth(self) -> int:
        return sum(clause.worth for clause in self.held)

    def __str__(self) -> str:
        main = " and ".join(map(str, self.held))
        if self.conceded is None:
            text = main
        elif self.conjunction in lexicon.BEFORE_MAIN:
            text = f"{self.conceded}, {self.conjunction} {main}"
        elif self.conceded_first:
            text = f"{self.conjunction} {self.conceded}, {main}"
        else:
            text = f"{main}, {self.conjunction} {self.conceded}"
        return f"{text[0].upper()}{text[1:]}."


def verdict(sentences: Sequence[Sentence]) -> int:
    """The sign of what the sentences are worth together: 1, -1, or 0 where they are in balance."""
    total = sum(sentence.worth for sentence in sentences)
    return (total > 0) - (total < 0)


@checked
@dataclass(frozen=True, kw_only=True)
class Generated:
    """Generated reviews, half of them "positive", half "negative" (to within one row).

    A row is a pure function of (seed, labelled, split, index), the same on every platform; a larger split begins with
    the rows of a smaller one. No two splits share a text, labelled or not, whatever their seeds; within a split a short
    review may come twice. `seed` belongs to the data set, not to the run.
    """

    train: Count = 400
    validation: Count = 400
    test: Count = 1000
    seed: Whole = 0
    labelled: bool = True

    @property
    def name(self) -> str:
        return "generated"

    def check(self) -> None:
        """Nothing to look for: there is no file behind it."""

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def read(self, split: str) -> Iterator[Record]:
        """The rows of a split, "train", "validation" or "test"; `where` names the row, counted from 1."""
        for index in range(self._rows(split)):
            random = Random(f"{self.seed} {self.labelled} {split} {index}")
            polarity = POSITIVE if index % 2 else NEGATIVE
            text = self._owned_review(split, random, polarity)
            if not self.labelled:
                text = f"{text} In the end we {_pick(random, lexicon.CLOSINGS[polarity])} it."
            yield Record(text, None, LABELS[polarity] if self.labelled else None, f"generated {split}, row {index + 1}")

    def fingerprint(self, split: str) -> str:
        """A hash of every text and label of the split."""
        digest = hashlib.sha256()
        for record in self.read(split):
            digest.update(f"{record.text}\t{record.label}\n".encode())
        return digest.hexdigest()

    def _rows(self, split: str) -> int:
        if split not in self.splits():
            raise KeyError(f"split {split!r}; there are {', '.join(self.splits())}")
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def _owned_review(self, split: str, random: Random, polarity: int) -> str:
        """Reviews are drawn until one has the wanted verdict and falls into this split's share of all texts."""
        while True:
            opening, sentences = _review(random, polarity)
            if verdict(sentences) == polarity:
                text = " ".join((*opening, *map(str, sentences)))
                # the opening does not count: it says nothing, and two texts that differ in it alone are too alike
                body = " ".join(map(str, sentences))
                if hashlib.sha256(body.encode()).digest()[0] % 16 in SHARES[self.labelled, split]:
                    return text


T = TypeVar("T")


def _pick(random: Random, options: Sequence[T]) -> T:
    # only `Random.random` is promised to stay the same from one Python to the next; `choice` is not
    return options[int(random.random() * len(options))]


def _review(random: Random, polarity: int) -> tuple[tuple[str, ...], list[Sentence]]:
    """An opening, or none, and sentences that lean towards `polarity`."""
    domain = _pick(random, lexicon.DOMAINS)
    opening = (f"We {_pick(random, lexicon.OPENINGS)} this {_pick(random, domain.things)}.",)
    # a second sentence mostly agrees with the first: company is what tells the polarity of a word
    signs = [polarity]
    if random.random() < 0.6:
        signs.append(polarity if random.random() < 0.8 else -polarity)
    return opening if random.random() < 0.4 else (), [_sentence(random, domain, sign) for sign in signs]


def _sentence(random: Random, domain: lexicon.Domain, sign: int) -> Sentence:
    main = _clause(random, domain, sign)
    kind = random.random()
    if kind < 0.25:
        return Sentence((main,))
    if kind < 0.5:
        return Sentence((main, _clause(random, domain, sign)))
    conceded = _clause(random, domain, -sign)
    if kind < 0.75:
        return Sentence((main,), conceded, _pick(random, lexicon.BEFORE_MAIN))
    return Sentence((main,), conceded, _pick(random, lexicon.BEFORE_CONCEDED), random.random() < 0.5)


def _clause(random: Random, domain: lexicon.Domain, sign: int) -> Clause:
    """A clause whose worth has the given sign."""
    modifier = random.random()
    negated = modifier < 0.3
    polarity = -sign if negated else sign
    verb = random.random() < 0.2
    if verb:
        words = lexicon.VERBS
    else:
        words = domain.adjectives if random.random() < 0.4 else lexicon.ADJECTIVES
    degree = None
    if 0.3 <= modifier < 0.65:
        degree = _pick(random, lexicon.MILD if random.random() < 0.5 else lexicon.STRONG)
    return Clause(
        _pick(random, domain.aspects),
        _pick(random, words[polarity]),
        polarity,
        degree,
        _pick(random, lexicon.VERB_NEGATORS if verb else lexicon.NEGATORS) if negated else None,
        None if verb else _pick(random, lexicon.LINKS),
    )
