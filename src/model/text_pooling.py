"""What represents a whole text for its head: its first token, the mean of its tokens, or a mean
with learnt weights.

transformers' own models know the first two for ModernBERT, and the first alone for the other
families. What they do not know stands in config.json as `sentence_pooling`, which they ignore.

Shape legend: B sequences, T tokens, D width.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from src.core.batch import Tokens
from src.core.notices import Notices
from src.core.user_errors import UserError
from src.model.attention.ragged_layout import mean_pool
from src.model.encoder_families import SEQUENCE_HEADS

Pooling = Literal["first", "mean", "attention"]
_MODULE = "attention_pooling"
WEIGHT_NAME = f"{_MODULE}.score"
_WORDS = {"mean": "the mean of their tokens", "attention": "a learnt weighting of their tokens"}


class AttentionPooling(nn.Module):
    """A mean of the tokens of each sequence, weighted by the softmax of a linear score. All scores
    begin at 0, which is the plain mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor, tokens: Tokens) -> Tensor:
        """From [T, D] to [B, D]; computed in fp32, returned in the type of the states."""
        lengths = tokens.cu_seqlens.diff().long()
        # [T]: number of the sequence that each token is of
        sequences = torch.repeat_interleave(lengths, output_size=len(states))
        wide = states.float()
        scores = wide @ self.score.float()
        highest = scores.detach().new_full((len(lengths),), -torch.inf)
        highest = highest.scatter_reduce(0, sequences, scores.detach(), "amax")
        weights = (scores - highest[sequences]).exp()
        totals = weights.new_zeros(len(lengths)).index_add(0, sequences, weights)
        sums = wide.new_zeros(len(lengths), wide.shape[1])
        sums = sums.index_add(0, sequences, wide * weights[:, None])
        return (sums / totals[:, None]).to(states.dtype)


def read_pooling(config: PreTrainedConfig) -> Pooling:
    """The pooling that a config says, in our words or in ModernBERT's."""
    own: Pooling | None = getattr(config, "sentence_pooling", None)
    return own or ("mean" if getattr(config, "classifier_pooling", "cls") == "mean" else "first")


def check_pooling(family: str, pooling: Pooling | None) -> None:
    """Raise UserError if a pooling is asked for and the family's head is not run by itself."""
    if pooling is not None and family not in SEQUENCE_HEADS:
        raise UserError(
            f"the family '{family}' runs as a whole and judges texts in its own way",
            key="model.encoder.pooling",
            value=pooling,
            expected="null",
        )


def write_pooling(config: PreTrainedConfig, pooling: Pooling | None) -> None:
    """Have a config say the pooling; None leaves what it says. Raises UserError as
    `check_pooling`.
    """
    check_pooling(config.model_type, pooling)
    if pooling is None:
        return
    config.sentence_pooling = pooling if pooling != "first" else None
    if config.model_type == "modernbert" and pooling != "attention":
        config.sentence_pooling = None
        config.classifier_pooling = "mean" if pooling == "mean" else "cls"


def add_pooling_weights(network: PreTrainedModel) -> None:
    """Give a network the weights of its pooling, if this has any."""
    if read_pooling(network.config) == "attention":
        network.add_module(_MODULE, AttentionPooling(network.config.hidden_size))


def load_pooling_weights(network: PreTrainedModel, folder: Path) -> bool:
    """Take the stored weights of the pooling from a folder, which transformers does not, if they
    are there; True if so.
    """
    file = folder / "model.safetensors"
    module: Any = getattr(network, _MODULE, None)
    if module is None or not file.is_file():
        return False
    with safe_open(file, framework="pt") as stored:
        if WEIGHT_NAME not in stored.keys():  # noqa: SIM118 - it is no mapping
            return False
        module.score.data = stored.get_tensor(WEIGHT_NAME).to(module.score.dtype)
    return True


def pool_tokens(network: PreTrainedModel, states: Tensor, tokens: Tokens) -> Tensor:
    """The vector that represents each sequence, from the states of all tokens: [T, D] to [B, D]."""
    module: Any = getattr(network, _MODULE, None)
    return mean_pool(states, tokens) if module is None else module(states, tokens)


def describe_pooling(network: PreTrainedModel) -> Notices:
    """What should be known of the pooling: nothing where transformers does the same."""
    own = getattr(network.config, "sentence_pooling", None)
    if own is None:
        return Notices((), {})
    line = (
        f"texts are judged by {_WORDS[own]}, which transformers' own {type(network).__name__} does "
        "not do: from the model folder it gives other answers, and src.predict the right ones"
    )
    return Notices((line,), {"model/pooling": own})
