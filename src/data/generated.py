"""A data set out of a grammar: terse reviews of things, positive or negative. Nothing is downloaded or stored.

It is made so that a verdict needs composition and so that unlabelled text is worth reading: some 320 opinion words are
too many to meet in a few hundred labelled rows, but unlabelled reviews can be had in any amount, and in them words of
one polarity keep company.

**Grammar.** One or two sentences about aspects of one thing, at times named first ("Phone: ..."):

    clause    [DEGREE | NEGATOR] ADJECTIVE ASPECT      "slightly dull screen", "not at all disappointing battery"
    sentence  CLAUSE | CLAUSE and CLAUSE               both of one polarity
              CLAUSE, but CLAUSE | despite CLAUSE, CLAUSE | CLAUSE, despite CLAUSE           of opposite polarity

("yet" serves as "but", "notwithstanding" as "despite"; the words are in `lexicon.py`.)

**Verdict.** A clause is worth 2 for a positive adjective and -2 for a negative one; 1 with a mild degree ("slightly"),
4 with a strong one ("utterly"). A negator turns the sign ("not at all disappointing" is worth 2). A sentence is worth
the sum of its clauses, where a conceded clause counts for nothing: what stands before "but" or behind "despite". The
verdict is the sign of the sum of the sentences; reviews with a sum of 0 are never written.

    "Dreadful battery, but not at all disappointing screen."
        conceded: dreadful; held: not disappointing = 2; verdict positive.
    "Slightly tasty soup. Despite superb wine, utterly careless service."
        slightly tasty = 1; conceded: superb; utterly careless = -4; sum -3; verdict negative.

**Unlabelled text** (`labelled=False`) is more outspoken, and that is what pretraining learns polarities from: degrees
may be telling ones, which go with adjectives of one polarity only ("woefully slow"), and each review ends on what was
done ("Returned and cursed."), which agrees with its verdict. Labelled rows never hold any of these words.
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

# How the grammar is walked. With more negation and concession than this a bag of words is blind, but so is a small
# encoder: it first finds out which words keep company, and only then what turns them.
NAMED_FRACTION = 0.4  # reviews that name their thing
SECOND_FRACTION = 0.7  # reviews of two sentences
AGREEING_FRACTION = 0.9  # second sentences of the review's polarity
SENTENCES = (("plain", 0.25), ("and", 0.45), ("but", 0.15), ("despite", 0.15))
NEGATED_FRACTION = 0.15  # clauses
DEGREE_FRACTION = 0.3  # clauses, half of them mild
TELLING_FRACTION = 0.8  # unlabelled clauses without a negator
DOMAIN_FRACTION = 0.4  # adjectives that only this domain knows
LONE_CLOSING_FRACTION = 0.5  # unlabelled reviews that close on one word; the others on two

# Every review belongs to one (labelled, split), by a hash of its text: so many sixteenths of all texts. That keeps the
# splits apart whatever their seeds and sizes, without a look at any other row.
SHARES = {
    (False, "train"): range(8),
    (False, "validation"): range(8, 9),
    (False, "test"): range(9, 10),
    (True, "train"): range(10, 12),
    (True, "validation"): range(12, 14),
    (True, "test"): range(14, 16),
}

T = TypeVar("T")


class Clause(NamedTuple):
    """One aspect and what is said of it."""

    adjective: str
    aspect: str
    polarity: int  # of the adjective by itself
    degree: str | None = None
    negator: str | None = None

    @property
    def worth(self) -> int:
        strength = 2 if self.degree is None else 1 if self.degree in lexicon.MILD else 4
        return self.polarity * strength * (1 if self.negator is None else -1)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.negator, self.degree, self.adjective, self.aspect)))


class Sentence(NamedTuple):
    """What the writer holds, and what is conceded in the same breath."""

    held: tuple[Clause, ...]
    conceded: Clause | None = None
    conjunction: str = ""
    conceded_first: bool = True  # always so with "but"

    @property
    def worth(self) -> int:
        return sum(clause.worth for clause in self.held)

    def __str__(self) -> str:
        text = " and ".join(map(str, self.held))
        if self.conjunction in lexicon.BEFORE_HELD:
            text = f"{self.conceded}, {self.conjunction} {text}"
        elif self.conceded is not None and self.conceded_first:
            text = f"{self.conjunction} {self.conceded}, {text}"
        elif self.conceded is not None:
            text = f"{text}, {self.conjunction} {self.conceded}"
        return f"{text.capitalize()}."


def verdict(sentences: Sequence[Sentence]) -> int:
    """The sign of what the sentences are worth together: 1, -1, or 0 where they are in balance."""
    total = sum(sentence.worth for sentence in sentences)
    return (total > 0) - (total < 0)


@checked
@dataclass(frozen=True, kw_only=True)
class Generated:
    """Generated reviews, half of them "positive", half "negative" (to within one row).

    A row is a pure function of (seed, labelled, split, index), the same on every platform; a larger split begins with
    the rows of a smaller one. No two splits share a review, labelled or not, whatever their seeds; within a split a
    short review may come more than once.

    Args:
        train, validation, test: rows of each split.
        seed: of the data set, not of the run.
        labelled: rows with labels; else outspoken text without (see the module).
    """

    train: Count = 400
    validation: Count = 400
    test: Count = 1000
    seed: Whole = 0
    labelled: bool = True

    @property
    def name(self) -> str:
        """What the data set is called."""
        return "generated"

    def check(self) -> None:
        """Nothing to look for: no file is behind it."""

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def read(self, split: str) -> Iterator[Record]:
        """The rows of a split; `where` names the row, counted from 1. Raises KeyError for a split it does not have."""
        rows = {"train": self.train, "validation": self.validation, "test": self.test}[split]
        for index in range(rows):
            random = Random(f"{self.seed} {self.labelled} {split} {index}")
            polarity = POSITIVE if index % 2 else NEGATIVE
            text = _review(random, polarity, self.labelled, SHARES[self.labelled, split])
            label = LABELS[polarity] if self.labelled else None
            yield Record(text, None, label, f"generated {split}, row {index + 1}")

    def fingerprint(self, split: str) -> str:
        """A hash of every text and label of the split."""
        digest = hashlib.sha256()
        for record in self.read(split):
            digest.update(f"{record.text}\t{record.label}\n".encode())
        return digest.hexdigest()


def _review(random: Random, polarity: int, labelled: bool, share: range) -> str:
    """Sentences are drawn until they have the wanted verdict and fall into the split's share of all texts."""
    telling = 0.0 if labelled else TELLING_FRACTION
    while True:
        domain = _pick(random, lexicon.DOMAINS)
        # a second sentence mostly agrees with the first: its company is what tells a word's polarity
        signs = [polarity]
        if random.random() < SECOND_FRACTION:
            signs.append(polarity if random.random() < AGREEING_FRACTION else -polarity)
        aspects = list(domain.aspects)
        sentences = [_sentence(random, domain, aspects, sign, telling) for sign in signs]
        body = " ".join(map(str, sentences))
        if verdict(sentences) == polarity and hashlib.sha256(body.encode()).digest()[0] % 16 in share:
            break
    # neither changes what is judged, so neither is hashed: two splits do not differ by them alone
    name = f"{_pick(random, domain.things).capitalize()}: " if random.random() < NAMED_FRACTION else ""
    return name + body + ("" if labelled else f" {_closing(random, polarity)}")


def _sentence(random: Random, domain: lexicon.Domain, aspects: list[str], sign: int, telling: float) -> Sentence:
    """A sentence whose worth has the given sign, about some of the aspects, which it takes away."""
    main = _clause(random, domain, aspects, sign, telling)
    kind = _weighted(random, SENTENCES)
    if kind == "plain":
        return Sentence((main,))
    if kind == "and":
        return Sentence((main, _clause(random, domain, aspects, sign, telling)))
    conceded = _clause(random, domain, aspects, -sign, telling)
    if kind == "but":
        return Sentence((main,), conceded, _pick(random, lexicon.BEFORE_HELD))
    return Sentence((main,), conceded, _pick(random, lexicon.BEFORE_CONCEDED), random.random() < 0.5)


def _clause(random: Random, domain: lexicon.Domain, aspects: list[str], sign: int, telling: float) -> Clause:
    negator = _pick(random, lexicon.NEGATORS) if random.random() < NEGATED_FRACTION else None
    polarity = sign if negator is None else -sign
    degree = None
    if negator is None and random.random() < telling:
        degree = _pick(random, lexicon.TELLING[polarity])
    elif negator is None and random.random() < DEGREE_FRACTION:
        degree = _pick(random, _pick(random, (lexicon.MILD, lexicon.STRONG)))
    adjectives = domain.adjectives if random.random() < DOMAIN_FRACTION else lexicon.ADJECTIVES
    aspect = aspects.pop(int(random.random() * len(aspects)))
    return Clause(_pick(random, adjectives[polarity]), aspect, polarity, degree, negator)


def _closing(random: Random, polarity: int) -> str:
    words = lexicon.CLOSINGS[polarity]
    first = _pick(random, words)
    if random.random() < LONE_CLOSING_FRACTION:
        return f"{first.capitalize()}."
    return f"{first.capitalize()} and {_pick(random, [word for word in words if word != first])}."


def _pick(random: Random, options: Sequence[T]) -> T:
    # only `Random.random` is promised to stay the same from one Python to the next; `choice` and `choices` are not
    return options[int(random.random() * len(options))]


def _weighted(random: Random, options: Sequence[tuple[str, float]]) -> str:
    left = random.random()
    for option, weight in options:
        left -= weight
        if left < 0:
            return option
    return options[-1][0]
