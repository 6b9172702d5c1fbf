"""Training rows that repeat others: what leaves train once all rows have been read."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from src.data.cleaning import Cleaning
from src.data.near_duplicates import PLACES, find_near_duplicates
from src.data.split_survey import SurveyedSplit


def drop_near_duplicates(
    parts: Mapping[str, SurveyedSplit],
    signatures: bytearray,
    cleaning: Cleaning,
    counts: Counter[str],
) -> SurveyedSplit:
    """The training split without the rows that are nearly an earlier one of train, or of a held-out
    split that the source has.

    Args:
        signatures: of the rows that cleaning kept, those of train last.
        counts: "train/near_duplicates", "train/contradicting_near_duplicates" and
            "train/near_overlap" are set, and "train/kept" is reduced.
    """
    assert cleaning.near_duplicates is not None
    train = parts["train"]
    num_held_out = sum(
        int(np.count_nonzero(part.places)) for split, part in parts.items() if split != "train"
    )
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
    return train.drop_rows(dropped)
