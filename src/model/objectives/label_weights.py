"""Weights of labels in a loss: given in the config, or taken from how often each stands in train.

Shape legend: B texts, C labels.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from src.core.dataset_info import DatasetInfo
from src.core.notices import Notices
from src.core.user_errors import UserError
from src.core.validation import PositiveFloat

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LabelNumbers = Mapping[str | float, PositiveFloat]
LabelWeights = Literal["balanced"] | LabelNumbers
# more labels than these are not told one by one
_SHOWN_LABELS = 8


def resolve_class_weights(
    weights: LabelWeights | None, facts: DatasetInfo, key: str
) -> LabelNumbers | None:
    """The weight of each label, in the order of the labels.

    `balanced` gives a label with n of N training rows N / (C n), so that each has the same share of
    the loss, and the mean over the training rows is 1.

    Args:
        key: the config key, for messages.

    Raises:
        UserError: a label has no weight, or no training row that one could be taken from.
    """
    if weights is None or not isinstance(weights, str):
        return _order_numbers(weights, facts, key)
    _check_counts(facts, key, weights)
    total = sum(facts.label_counts) / len(facts.label_counts)
    return {
        name: total / count
        for name, count in zip(facts.label_names, facts.label_counts, strict=True)
    }


def resolve_positive_weights(
    weights: LabelWeights | None, facts: DatasetInfo, key: str
) -> LabelNumbers | None:
    """The weight of a yes for each label, beside 1 for a no; arguments and errors as for
    `resolve_class_weights`.

    `balanced` gives a label that n of N training rows have (N - n) / n, so that its yes and its no
    have the same share of the loss.
    """
    if weights is None or not isinstance(weights, str):
        return _order_numbers(weights, facts, key)
    _check_counts(facts, key, weights)
    rows = facts.num_train_rows or sum(facts.label_counts)
    for name, count in zip(facts.label_names, facts.label_counts, strict=True):
        if count == rows:
            raise UserError(f"every training row has the label {name}", key=key, value=weights)
    return {
        name: (rows - count) / count
        for name, count in zip(facts.label_names, facts.label_counts, strict=True)
    }


def resolve_label_shares(
    shares: LabelNumbers | None, facts: DatasetInfo, key: str, counts_key: str
) -> LabelNumbers:
    """The share of each label, which sum to 1: as given, or that among the training rows.

    Args:
        key: the config key of the shares.
        counts_key: the config key that asks for them.

    Raises:
        UserError: as for `resolve_class_weights`.
    """
    ordered = _order_numbers(shares, facts, key)
    if ordered is None:
        _check_counts(facts, counts_key, None)
        ordered = dict(zip(facts.label_names, facts.label_counts, strict=True))
    total = sum(ordered.values())
    return {name: number / total for name, number in ordered.items()}


def describe_numbers(what: str, tag: str, numbers: LabelNumbers | None) -> Notices:
    """What should be known of numbers of labels: one line and one tag; nothing where there are
    none.
    """
    if numbers is None:
        return Notices((), {})
    words = [f"{name} {number:.4g}" for name, number in numbers.items()]
    shown = ", ".join(words)
    if len(words) > _SHOWN_LABELS:
        lowest, highest = (f"{pick(numbers.values()):.4g}" for pick in (min, max))
        shown = f"{lowest} to {highest} for {len(words)} labels"
    return Notices((f"{what}: {shown}",), {tag: ", ".join(words)})


def to_tensor(numbers: LabelNumbers, like: "Tensor") -> "Tensor":
    """The numbers [C] on the device of another tensor, in fp32; copied there once."""
    return _copy_to_device(tuple(numbers.values()), like.device)


@lru_cache(maxsize=16)
def _copy_to_device(numbers: tuple[float, ...], device: "torch.device") -> "Tensor":
    import torch

    # also where validation asks first: a tensor of inference mode cannot be trained with
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device)


def _order_numbers(
    numbers: LabelNumbers | None, facts: DatasetInfo, key: str
) -> dict[str | float, float] | None:
    """Given numbers in the order of the labels."""
    if numbers is None:
        return None
    given = {str(name): number for name, number in numbers.items()}
    unknown = [name for name in given if name not in facts.label_names]
    missing = [name for name in facts.label_names if name not in given]
    if unknown or missing:
        problem = (
            f"'{unknown[0]}' is none of the labels" if unknown else f"'{missing[0]}' has no number"
        )
        raise UserError(
            problem, key=key, expected=f"a number for each of {_list_labels(facts.label_names)}"
        )
    return {name: given[name] for name in facts.label_names}


def _check_counts(facts: DatasetInfo, key: str, value: str | None) -> None:
    """Raise UserError if a label has no training row, or if rows have no labels."""
    absent = [
        name
        for name, count in zip(facts.label_names, facts.label_counts, strict=False)
        if not count
    ]
    if absent or not facts.label_counts:
        raise UserError(
            f"no training row has the label {_list_labels(absent)}, so nothing can be counted",
            key=key,
            value=value,
            hint="leave such labels out of data.label_names, or name the numbers yourself",
        )


def _list_labels(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_LABELS]) + ", ..." * (len(names) > _SHOWN_LABELS)
