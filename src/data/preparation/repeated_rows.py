"""Training rows that repeat others: what leaves train once all rows have been read."""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from src.data.preparation.cleaning import Cleaning
from src.data.preparation.corpus_survey import TRAIN_CODE
from src.data.preparation.near_duplicates import PLACES, find_near_duplicates
from src.data.preparation.split_survey import SurveyedSplit
from src.data.preparation.splitting import SPLITS


def drop_near_duplicates(
    parts: dict[str, SurveyedSplit],
    signatures: bytearray,
    cleaning: Cleaning,
    counts: Counter[str],
) -> dict[str, int]:
    """Take the rows out of train that are nearly an earlier one, or one of a held-out split that
    the source has.

    Args:
        parts: of which "train" is replaced.
        signatures: of the rows that cleaning kept, those of train last.
        counts: "train/near_duplicates", "train/contradicting_near_duplicates" and
            "train/near_overlap" are set, and "train/kept" is reduced.

    Returns:
        By held-out split, how many of its rows are nearly a training row that stays.
    """
    assert cleaning.near_duplicates is not None
    train = parts["train"]
    sizes = {
        split: int(np.count_nonzero(part.places))
        for split, part in parts.items()
        if split != "train"
    }
    num_held_out = sum(sizes.values())
    found = find_near_duplicates(
        np.frombuffer(signatures, dtype=np.uint16).reshape(-1, PLACES),
        cleaning.near_duplicates,
        num_held_out=num_held_out,
        may_repeat=cleaning.overlap == "keep",
    )
    leaders = found.leaders[num_held_out:] - num_held_out
    dropped = leaders != np.arange(len(leaders))
    overlaps = leaders < 0
    contradicts = np.zeros(len(leaders), dtype=bool)
    if len(train.codes):
        contradicts = ~overlaps & (train.codes != train.codes[np.maximum(leaders, 0)])
    reasons = {
        "near_overlap": overlaps,
        "near_duplicates": dropped & ~overlaps & ~contradicts,
        "contradicting_near_duplicates": contradicts,
    }
    for reason, rows in reasons.items():
        if count := int(rows.sum()):
            counts.update({f"train/{reason}": count, "train/kept": -count})
    parts["train"] = train.drop_rows(dropped)
    ends = np.cumsum(list(sizes.values()), dtype=np.int64)
    return {
        split: int(found.repeated[end - size : end].sum())
        for (split, size), end in zip(sizes.items(), ends, strict=True)
    }


def drop_held_out_groups(parts: dict[str, SurveyedSplit], counts: Counter[str]) -> None:
    """Take the rows out of train whose group has rows in a held-out split of the source.

    Args:
        parts: of which "train" is replaced.
        counts: "train/held_out_group" is set, and "train/kept" is reduced.
    """
    held_out = [part.column_values for split, part in parts.items() if split != "train"]
    if not held_out:
        return
    dropped = np.isin(parts["train"].column_values, np.concatenate(held_out))
    if count := int(dropped.sum()):
        counts.update({"train/held_out_group": count, "train/kept": -count})
        parts["train"] = parts["train"].drop_rows(dropped)


def count_leakage(
    parts: Mapping[str, SurveyedSplit], kept: np.ndarray, splits: Collection[str]
) -> dict[str, int]:
    """By held-out split, how many of its rows have texts that stand in train too.

    Args:
        parts: of which `digests` are those of all rows that were kept before splits were taken.
        kept: whether a row of train is one of these.
        splits: the splits that have rows.
    """
    train = parts["train"]
    codes = train.places[kept]
    known = train.digests[codes == TRAIN_CODE]
    counts = {}
    for split in splits:
        taken = train.digests[codes == 1 + SPLITS.index(split)]
        own = parts[split].digests if split in parts else taken
        if split != "train":
            counts[split] = int(np.isin(own, known).sum())
    return counts
