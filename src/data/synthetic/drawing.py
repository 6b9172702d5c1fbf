"""How generated texts are drawn: the same on every platform, and none of them in two splits."""

import hashlib
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

from src.data.rows.records import RawRecord

T = TypeVar("T")

# A hash of its text gives a text to one split, which has so many sixteenths of all.
_HASH_BUCKETS = {"train": range(8), "validation": range(8, 12), "test": range(12, 16)}


def split_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def pick_uniform(random: Random, options: Sequence[T]) -> T:
    # Of all methods only `Random.random` is promised to stay the same in later versions of Python.
    return options[int(random.random() * len(options))]


def pick_weighted(random: Random, options: Sequence[tuple[T, float]]) -> T:
    """One of the options, each of which stands with its probability."""
    left = random.random()
    for option, weight in options:
        left -= weight
        if left < 0:
            return option
    return options[-1][0]


def hash_sixteenth(text: str) -> int:
    """Which of sixteen parts of all texts this one belongs to, from 0."""
    return hashlib.sha256(text.encode()).digest()[0] % 16


def belongs_to_split(text: str, split: str) -> bool:
    return hash_sixteenth(text) in _HASH_BUCKETS[split]


def hash_records(records: Iterable[RawRecord]) -> str:
    """A hash of every text and label."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.text}\t{record.label}\n".encode())
    return digest.hexdigest()
