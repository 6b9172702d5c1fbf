"""A generated data set: short reviews, positive or negative. Nothing is downloaded or stored.

Its labels need composition, and its unlabelled text helps: a few hundred labelled rows show only
some of the 320 opinion words, but unlabelled reviews can be generated in any amount, and in them
words of one polarity occur together.

**Grammar.** One or two sentences about aspects of one thing, at times named first ("Phone: ..."):

    clause    [DEGREE | NEGATOR] ADJECTIVE ASPECT  "slightly dull screen"
    sentence  CLAUSE | CLAUSE and CLAUSE           both of one polarity
              CLAUSE, but CLAUSE | despite CLAUSE, CLAUSE | CLAUSE, despite CLAUSE
                                                   of opposite polarity

("yet" serves as "but", "notwithstanding" as "despite"; `lexicon.py` has the words.)

**Verdict.** A clause is worth 2 for a positive adjective and -2 for a negative one; 1 with a mild
degree ("slightly"), 4 with a strong one ("utterly"). A negator turns the sign ("not at all
disappointing" is worth 2). A sentence is worth the sum of its clauses, where a conceded clause
counts for nothing: what stands before "but" or behind "despite". The verdict is the sign of the sum
of the sentences; reviews with a sum of 0 are never written.

    "Dreadful battery, but not at all disappointing screen."
        conceded: dreadful; held: not disappointing = 2; verdict positive.
    "Slightly tasty soup. Despite superb wine, utterly careless service."
        slightly tasty = 1; conceded: superb; utterly careless = -4; sum -3; verdict negative.

**Unlabelled text** (`labelled=False`) is more outspoken, and that is what pretraining learns
polarities from: degrees may be telling ones, which go with adjectives of one polarity only
("woefully slow"), and each review ends on what was done ("Returned and cursed."), which agrees with
its verdict. Labelled rows never hold any of these words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from src.core.validation import NonNegativeInt, PositiveInt, validate_init
from src.data.rows.records import RawRecord
from src.data.synthetic import lexicon
from src.data.synthetic.drawing import hash_records, hash_sixteenth, pick_uniform, pick_weighted
from src.data.synthetic.lexicon import NEGATIVE, POSITIVE

LABEL_BY_POLARITY = {NEGATIVE: "negative", POSITIVE: "positive"}

# Probabilities of the grammar. With more negation and concession a bag of words learns nothing, but
# neither does a small encoder, which first learns which words occur together, and only then what
# turns their meaning.
# Reviews that name their thing.
NAMED_THING_FRACTION = 0.4
# Reviews of two sentences.
TWO_SENTENCE_FRACTION = 0.7
# Second sentences with the review's polarity.
SAME_POLARITY_FRACTION = 0.9
SENTENCE_KIND_WEIGHTS = (("plain", 0.25), ("and", 0.45), ("but", 0.15), ("despite", 0.15))
# Clauses with a negator.
NEGATED_FRACTION = 0.15
# Clauses with a degree; half of the degrees are mild.
DEGREE_FRACTION = 0.3
# Unlabelled clauses without a negator that have a degree of one polarity only.
POLAR_DEGREE_FRACTION = 0.8
# Adjectives that occur in this domain only.
DOMAIN_ADJECTIVE_FRACTION = 0.4
# Unlabelled reviews that close on one word; the others close on two.
ONE_WORD_CLOSING_FRACTION = 0.5

# A hash of its text assigns every review to one (labelled, split), each of which has so many
# sixteenths of all texts. So no text is in two of them, whatever their seeds and sizes.
HASH_BUCKETS = {
    (False, "train"): range(8),
    (False, "validation"): range(8, 9),
    (False, "test"): range(9, 10),
    (True, "train"): range(10, 12),
    (True, "validation"): range(12, 14),
    (True, "test"): range(14, 16),
}


class Clause(NamedTuple):
    """An aspect and an opinion of it; `polarity` is that of the adjective by itself."""

    adjective: str
    aspect: str
    polarity: int
    degree: str | None = None
    negator: str | None = None

    @property
    def sentiment_score(self) -> int:
        strength = 2 if self.degree is None else 1 if self.degree in lexicon.MILD_DEGREES else 4
        return self.polarity * strength * (1 if self.negator is None else -1)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.negator, self.degree, self.adjective, self.aspect)))


class Sentence(NamedTuple):
    """Clauses that the writer asserts, and one that is conceded; "but" has the latter first."""

    asserted: tuple[Clause, ...]
    conceded: Clause | None = None
    conjunction: str = ""
    conceded_first: bool = True

    @property
    def sentiment_score(self) -> int:
        return sum(clause.sentiment_score for clause in self.asserted)

    def __str__(self) -> str:
        text = " and ".join(map(str, self.asserted))
        if self.conjunction in lexicon.ADVERSATIVE_CONJUNCTIONS:
            text = f"{self.conceded}, {self.conjunction} {text}"
        elif self.conceded is not None and self.conceded_first:
            text = f"{self.conjunction} {self.conceded}, {text}"
        elif self.conceded is not None:
            text = f"{text}, {self.conjunction} {self.conceded}"
        return f"{text.capitalize()}."


def review_polarity(sentences: Sequence[Sentence]) -> int:
    """The sign of the sum of all sentences' scores: 1, -1 or 0."""
    total = sum(sentence.sentiment_score for sentence in sentences)
    return (total > 0) - (total < 0)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Generated:
    """Generated reviews, half of them "positive", half "negative" (to within one row).

    A row is a pure function of (seed, labelled, split, index), the same on every platform; a larger
    split begins with the rows of a smaller one. No two splits share a review, labelled or not,
    whatever their seeds; within a split a short review may come more than once.

    Args:
        train, validation, test: rows of each split.
        seed: of the data set, not of the run.
        labelled: rows with labels; else outspoken text without (see the module).
    """

    train: PositiveInt = 400
    validation: PositiveInt = 400
    test: PositiveInt = 1000
    seed: NonNegativeInt = 0
    labelled: bool = True

    @property
    def name(self) -> str:
        """The name of the data set."""
        return "generated"

    def check(self) -> None:
        """Do nothing: there is no file to look for."""

    def available_splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def read_records(self, split: str) -> Iterator[RawRecord]:
        """Generate the rows of a split; their `where` counts from 1.

        Raises:
            KeyError: there is no such split.
        """
        rows = {"train": self.train, "validation": self.validation, "test": self.test}[split]
        for index in range(rows):
            random = Random(f"{self.seed} {self.labelled} {split} {index}")
            polarity = POSITIVE if index % 2 else NEGATIVE
            text = _generate_review(
                random, polarity, self.labelled, HASH_BUCKETS[self.labelled, split]
            )
            label = LABEL_BY_POLARITY[polarity] if self.labelled else None
            yield RawRecord(text, None, label, f"generated {split}, row {index + 1}")

    def fingerprint_split(self, split: str) -> str:
        """A hash of every text and label of the split."""
        return hash_records(self.read_records(split))


def _generate_review(random: Random, polarity: int, labelled: bool, share: range) -> str:
    """Draw sentences until they have the wanted polarity and belong to the split.

    Args:
        share: the sixteenths of all texts that the split has.
    """
    telling = 0.0 if labelled else POLAR_DEGREE_FRACTION
    while True:
        domain = pick_uniform(random, lexicon.DOMAINS)
        # A second sentence mostly agrees with the first: words of one polarity occur together.
        signs = [polarity]
        if random.random() < TWO_SENTENCE_FRACTION:
            signs.append(polarity if random.random() < SAME_POLARITY_FRACTION else -polarity)
        aspects = list(domain.aspects)
        sentences = [_generate_sentence(random, domain, aspects, sign, telling) for sign in signs]
        body = " ".join(map(str, sentences))
        if review_polarity(sentences) == polarity and hash_sixteenth(body) in share:
            break
    # Neither is hashed, since two splits must not differ by them alone.
    name = (
        f"{pick_uniform(random, domain.things).capitalize()}: "
        if random.random() < NAMED_THING_FRACTION
        else ""
    )
    return name + body + ("" if labelled else f" {_generate_closing(random, polarity)}")


def _generate_sentence(
    random: Random,
    domain: lexicon.ReviewDomain,
    aspects: list[str],
    sign: int,
    telling: float,
) -> Sentence:
    """Draw a sentence whose score has the given sign; removes the aspects that it uses."""
    main = _generate_clause(random, domain, aspects, sign, telling)
    kind = pick_weighted(random, SENTENCE_KIND_WEIGHTS)
    if kind == "plain":
        return Sentence((main,))
    if kind == "and":
        return Sentence((main, _generate_clause(random, domain, aspects, sign, telling)))
    conceded = _generate_clause(random, domain, aspects, -sign, telling)
    if kind == "but":
        return Sentence((main,), conceded, pick_uniform(random, lexicon.ADVERSATIVE_CONJUNCTIONS))
    return Sentence(
        (main,),
        conceded,
        pick_uniform(random, lexicon.CONCESSIVE_PREPOSITIONS),
        random.random() < 0.5,
    )


def _generate_clause(
    random: Random,
    domain: lexicon.ReviewDomain,
    aspects: list[str],
    sign: int,
    telling: float,
) -> Clause:
    negator = (
        pick_uniform(random, lexicon.NEGATOR_PHRASES)
        if random.random() < NEGATED_FRACTION
        else None
    )
    polarity = sign if negator is None else -sign
    degree = None
    if negator is None and random.random() < telling:
        degree = pick_uniform(random, lexicon.POLAR_DEGREES[polarity])
    elif negator is None and random.random() < DEGREE_FRACTION:
        degree = pick_uniform(
            random,
            pick_uniform(random, (lexicon.MILD_DEGREES, lexicon.STRONG_DEGREES)),
        )
    adjectives = (
        domain.adjectives if random.random() < DOMAIN_ADJECTIVE_FRACTION else lexicon.ADJECTIVES
    )
    aspect = aspects.pop(int(random.random() * len(aspects)))
    return Clause(pick_uniform(random, adjectives[polarity]), aspect, polarity, degree, negator)


def _generate_closing(random: Random, polarity: int) -> str:
    words = lexicon.CLOSING_VERBS[polarity]
    first = pick_uniform(random, words)
    if random.random() < ONE_WORD_CLOSING_FRACTION:
        return f"{first.capitalize()}."
    return (
        f"{first.capitalize()} and "
        f"{pick_uniform(random, [word for word in words if word != first])}."
    )
