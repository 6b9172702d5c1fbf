"""The judgement of tagged words: entities by type, and the tags of every text.

Shape legend: S words of several texts and the end of each (`src/core/entities.py`), C tags.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.core.entities import Entities, find_entities, find_right_entities
from src.core.entity_tags import END_OF_TEXT, list_entity_types


def judge_tags(
    rows: Tensor, targets: Tensor, predicted: Tensor, label_names: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, list]]]:
    """The metrics and tables of predicted and true tags [S].

    Without entities, as where tags are parts of speech, each tag is judged for itself by words.
    `f1_macro` is the mean over the types, or tags, that occur. `support` is the number of entities,
    or of words. In the table of predictions an entity stands as TYPE[begin:end], in words counted
    from 0.

    Args:
        rows: the row that each word is of, in ascending order.
    """
    types = list_entity_types(label_names)
    is_word = targets != END_OF_TEXT
    predicted = predicted.masked_fill(~is_word, END_OF_TEXT)
    if types:
        true, found = find_entities(targets), find_entities(predicted)
        is_right = find_right_entities(found, true)
        counts = [_count(true.types[is_right], types), _count(found.types, types)]
        counts.append(_count(true.types, types))
    else:
        is_right = (predicted == targets) & is_word
        counts = [_count(targets[is_right], label_names), _count(predicted[is_word], label_names)]
        counts.append(_count(targets[is_word], label_names))
    by_type = _build_type_table(types or label_names, *counts)
    scores = [value for value in by_type["f1"] if value is not None]
    metrics = {"support": float(sum(counts[2]))}
    if scores:
        metrics["f1_macro"] = sum(scores) / len(scores)
    table = {"row": rows[~is_word].tolist()}
    for name, tags in (("label", targets), ("predicted", predicted)):
        table[name] = _describe_texts(tags, ~is_word, types, label_names)
    return metrics, {"per_class": by_type, "predictions": table}


def _count(classes: Tensor, names: Sequence[str]) -> list[int]:
    counts: list[int] = torch.bincount(classes, minlength=len(names)).tolist()
    return counts


def _build_type_table(
    names: Sequence[str], right: list[int], predicted: list[int], true: list[int]
) -> dict[str, list]:
    """Precision, recall and F1 by type; None for a type that neither occurs nor is predicted."""

    def divide(counts: list[int], totals: list[float]) -> list[float | None]:
        return [
            None if not (one_true or one_predicted) else count / max(total, 1)
            for count, total, one_true, one_predicted in zip(
                counts, totals, true, predicted, strict=True
            )
        ]

    halves = [(one + other) / 2 for one, other in zip(true, predicted, strict=True)]
    return {
        "label": list(names),
        "precision": divide(right, [float(count) for count in predicted]),
        "recall": divide(right, [float(count) for count in true]),
        "f1": divide(right, halves),
        "support": true,
        "predicted": predicted,
    }


def _describe_texts(
    tags: Tensor, is_end: Tensor, types: Sequence[str], names: Sequence[str]
) -> list[str]:
    """The entities of each text in words, or its tags."""
    ends = is_end.nonzero()[:, 0].tolist()
    begins = [0, *(end + 1 for end in ends[:-1])]
    if not types:
        return [
            " ".join(names[tag] for tag in tags[begin:end].tolist())
            for begin, end in zip(begins, ends, strict=True)
        ]
    entities = find_entities(tags)
    # the text that each entity is of
    owners = torch.searchsorted(torch.tensor(ends), entities.begins).tolist()
    described: list[list[str]] = [[] for _ in ends]
    for owner, begin, end, kind in zip(owners, *_to_lists(entities), strict=True):
        first = begins[owner]
        described[owner].append(f"{types[kind]}[{begin - first}:{end - first}]")
    return [" ".join(texts) for texts in described]


def _to_lists(entities: Entities) -> tuple[list[int], list[int], list[int]]:
    return entities.begins.tolist(), entities.ends.tolist(), entities.types.tolist()
