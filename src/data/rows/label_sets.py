"""Rows with several labels: which classes each has, as a row of zeros and ones.

Shape legend: N rows, S different sets of labels, C classes.
"""

from collections.abc import Mapping

import numpy as np

from src.data.rows.labels import LabelSet, LabelSpace, RawLabel


def build_membership(sets: Mapping[LabelSet, str], space: LabelSpace, split: str) -> np.ndarray:
    """For each set of labels and each class 1 if the class is in the set, else 0, [S, C] uint8.

    Args:
        sets: where the first row with each set stands.
        split: the split at the source, which a message names.

    Raises:
        UserError: a label that is no class.
    """
    places: dict[RawLabel, str] = {}
    for labels, where in sets.items():
        for label in labels:
            places.setdefault(label, where)
    index_by_label = dict(zip(places, space.class_indices(places, split), strict=True))
    membership = np.zeros((len(sets), len(space.names)), dtype=np.uint8)
    for row, labels in enumerate(sets):
        membership[row, [index_by_label[label] for label in labels]] = 1
    return membership


def describe_label_sets(membership: np.ndarray) -> list[str]:
    """What should be known of the labels [N, C] that the rows of train have, in sentences."""
    numbers = membership.sum(1)
    remarks = []
    if len(numbers) and numbers.min() == membership.shape[1]:
        remarks.append(f"every row of train has all {membership.shape[1]} labels")
    if none := int((numbers == 0).sum()):
        remarks.append(f"{none:,} of {len(numbers):,} rows of train have none of the labels")
    if len(numbers) and numbers.max() < 2:
        remarks.append(
            "no row of train has more than one label; where a cell holds several, "
            "data.source.label_separator says what parts them"
        )
    return remarks
