"""Generated data sets for tasks beside that of `synthetic.py`: questions of six classes, notes with
several topics, ratings, sentences with entities. Nothing is downloaded or stored.

Some labels are wrong, as they are in real data, so that no model is right about all rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from src.core.validation import NonNegativeInt, PositiveInt, validate_init
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import TokenLabels
from src.data.synthetic.drawing import belongs_to_split, hash_records, pick_uniform
from src.data.synthetic.entities import generate_sentence
from src.data.synthetic.questions import QUESTION_CLASSES, generate_question
from src.data.synthetic.ratings import generate_opinions
from src.data.synthetic.topics import generate_note

# Questions with the label of another class, and topics of a note that are missing in its labels.
WRONG_CLASS_FRACTION, MISSED_TOPIC_FRACTION = 0.05, 0.05
# The standard deviation of what ratings differ by from what the words say.
RATING_NOISE = 0.3

Label = str | float | tuple[str, ...] | TokenLabels


@validate_init
@dataclass(frozen=True, kw_only=True)
class GeneratedTask:
    """Generated texts with labels of a kind: a class, several topics, a number, or
    entities.

    A row is a pure function of (seed, kind, split, index), the same on every platform; a larger
    split begins with the rows of a smaller one. No two splits share a text.

    Args:
        kind: `questions` by what they ask for (person, place, number, date, thing, reason: as many
            of each, before some labels are made wrong); `topics`: notes with 0 to 3 of food, music,
            sport, technology and travel; `ratings`: opinions with a number for how much they
            praise, about 0 to 6; `entities`: sentences whose persons (PER), organisations (ORG) and
            places (LOC) are spans.
        train, validation, test: rows of each split.
        seed: of the data set, not of the run.
    """

    kind: Literal["questions", "topics", "ratings", "entities"] = "questions"
    train: PositiveInt = 2000
    validation: PositiveInt = 500
    test: PositiveInt = 2000
    seed: NonNegativeInt = 0

    @property
    def name(self) -> str:
        """The name of the data set."""
        return f"generated_{self.kind}"

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
            random = Random(f"{self.seed} {self.kind} {split} {index}")
            text, label = self._generate_row(random, index)
            while not belongs_to_split(text, split):
                text, label = self._generate_row(random, index)
            label = _make_noisy(random, label)
            yield RawRecord(text, None, label, f"generated {split}, row {index + 1}")

    def fingerprint_split(self, split: str) -> str:
        """A hash of every text and label of the split."""
        return hash_records(self.read_records(split))

    def _generate_row(self, random: Random, index: int) -> tuple[str, Label]:
        """A text and its true label."""
        if self.kind == "topics":
            return generate_note(random)
        if self.kind == "ratings":
            return generate_opinions(random)
        if self.kind == "entities":
            return generate_sentence(random)
        asked = QUESTION_CLASSES[index % len(QUESTION_CLASSES)]
        return generate_question(random, asked), asked


def _make_noisy(random: Random, label: Label) -> Label:
    """A label as a hasty annotator would give it; entities stay as they are."""
    if isinstance(label, TokenLabels):
        return label
    if isinstance(label, tuple):
        return tuple(topic for topic in label if random.random() >= MISSED_TOPIC_FRACTION)
    if isinstance(label, float):
        # the sum of twelve is nearly normal with a standard deviation of 1
        error = sum(random.random() for _ in range(12)) - 6
        return round(label + RATING_NOISE * error, 2)
    if random.random() < WRONG_CLASS_FRACTION:
        return pick_uniform(random, [name for name in QUESTION_CLASSES if name != label])
    return label
