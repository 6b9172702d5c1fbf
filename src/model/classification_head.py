"""The stored head of a pretrained classifier under the labels of new data."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.model.pretrained_weights import LoadedWeights

HeadPolicy = Literal["auto", "keep", "fresh"]
# what transformers calls labels that nobody has named
_UNNAMED = re.compile(r"label_\d+")


class StoredHead(NamedTuple):
    """What a config.json says of a sequence head: the labels by their place, and the kind of the
    problem, if it names one.
    """

    labels: dict[int, str]
    problem_type: str | None

    @classmethod
    def read(cls, config: PreTrainedConfig) -> "StoredHead":
        labels = {int(place): str(name) for place, name in (config.id2label or {}).items()}
        return cls(labels, config.problem_type)

    @property
    def is_regression(self) -> bool:
        """True if its one output is a number: it says so, or the output has no name of its own."""
        if len(self.labels) != 1:
            return False
        return self.problem_type == "regression" or (
            self.problem_type is None and _has_no_names(self.labels)
        )

    def describe(self) -> str:
        """What it judges, in words."""
        return "a number" if self.is_regression else describe_labels(self.labels)


def align_head(
    network: PreTrainedModel,
    loaded: LoadedWeights,
    stored: StoredHead,
    wanted: Sequence[str],
    policy: HeadPolicy,
    key: str,
) -> LoadedWeights:
    """Bring the head of a loaded network in line with new labels, and say what became of it.

    The same names in another order are put in the new order; a head for other names is replaced by
    a fresh one, also where their number happens to be the same.

    Args:
        wanted: the names of the new labels; empty for a head that gives a number.
        policy: `auto` goes by the names, `keep` keeps each output in its place whatever its name,
            `fresh` begins anew.
        key: the config key of the policy, for messages.

    Raises:
        UserError: there is no stored head that could be kept.
    """
    layer_name, layer = find_output_layer(network)
    layer_parameters = tuple(f"{layer_name}.{name}" for name, _ in layer.named_parameters())
    new = describe_labels(dict(enumerate(wanted))) if wanted else "a number"
    head = f"the head for {stored.describe()}"
    # a layer of which only a part is stored is put in order like a whole one
    if all(name in loaded.missing for name in layer_parameters):
        if policy == "keep":
            raise UserError(f"{loaded.source} holds no head for {new}", key=key, value=policy)
        return loaded
    if any(name in loaded.mismatched for name in layer_parameters):
        if policy == "keep":
            raise UserError(
                f"the head of {loaded.source} is for {stored.describe()}, not for {new}",
                key=key,
                value=policy,
            )
        # what config.json says of it need not be true
        misfit = f"does not fit {new}" if stored.describe() != new else "has another shape"
        return loaded._replace(head=f"{head} {misfit}, so its output layer is new")
    if policy == "keep":
        return loaded._replace(head=f"{head} is kept for {new}, output by output ({key}={policy})")
    order = match_label_names(stored.labels, wanted) if wanted else None
    is_kept = stored.is_regression if not wanted else order is not None
    if policy == "fresh" or not is_kept:
        reset_output_layer(layer, network.config)
        reason = f"is not taken ({key}={policy})" if is_kept else f"does not fit {new}"
        return loaded._replace(
            head=f"{head} {reason}, so its output layer is new",
            way_out=f"{key}=keep takes it output by output" if policy == "auto" else "",
            missing=tuple(sorted({*loaded.missing, *layer_parameters})),
        )
    if order is None or order == sorted(order):
        return loaded._replace(head=f"{head} is kept")
    permute_labels(layer, order)
    return loaded._replace(head=f"{head} is kept, in the order of the data's labels ({new})")


def match_label_names(stored: Mapping[int, str], wanted: Sequence[str]) -> list[int] | None:
    """The place of each wanted label among the stored ones; None if they are not the same names.

    Names are compared as they are, and then without case, outer blanks and ways to write accents.
    Numbered stand-ins such as LABEL_0 are names only to data whose labels are called so too.
    """
    for spell in (str, _normalize_name):
        old = [spell(stored[place]) for place in sorted(stored)]
        new = [spell(name) for name in wanted]
        if len(set(old)) == len(old) and sorted(old) == sorted(new):
            return [old.index(name) for name in new]
    return None


def describe_labels(stored: Mapping[int, str]) -> str:
    """The labels of a head in words."""
    if _has_no_names(stored):
        return f"{format_quantity(len(stored), 'label')} without names"
    names = [str(stored[place]) for place in sorted(stored)]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def permute_labels(layer: nn.Linear, order: Sequence[int]) -> None:
    """Put the rows of an output layer in another order."""
    for parameter in layer.parameters():
        parameter.data = parameter.data[list(order)].clone()


def reset_output_layer(layer: nn.Linear, config: PreTrainedConfig) -> None:
    """Give an output layer random weights from torch's global generator."""
    with torch.no_grad():
        layer.weight.normal_(0.0, getattr(config, "initializer_range", 0.02))
        if isinstance(layer.bias, Tensor):
            layer.bias.zero_()


def find_output_layer(network: PreTrainedModel) -> tuple[str, nn.Linear]:
    """The last layer of a sequence head, which has a row for each label, and its name. Raises
    UserError if the family has none.
    """
    body = set(network.base_model.modules())
    linears = [
        (name, module)
        for name, module in network.named_modules()
        if module not in body and isinstance(module, nn.Linear)
    ]
    if not linears or linears[-1][1].out_features != network.config.num_labels:
        raise UserError(
            f"the output layer of the family '{network.config.model_type}' is not known, so its "
            "stored head cannot be told from a fresh one"
        )
    return linears[-1]


def _has_no_names(labels: Mapping[int, str]) -> bool:
    return all(_UNNAMED.fullmatch(_normalize_name(name)) for name in labels.values())


def _normalize_name(name: object) -> str:
    return unicodedata.normalize("NFC", str(name).strip().casefold())
