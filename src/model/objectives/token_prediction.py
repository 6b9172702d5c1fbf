"""What the objectives that predict tokens have in common."""

import math
import sys
from typing import TYPE_CHECKING

from src.core.dataset_info import DatasetInfo
from src.model.objectives.objective import ObjectiveOutput, TokenScores

if TYPE_CHECKING:
    from torch import Tensor

    from src.core.batch import Tokens
    from src.model.encoder import Encoder

# of the largest number
_MAX_EXPONENT = math.log(sys.float_info.max)


def predict_tokens(
    encoder: "Encoder", tokens: "Tokens", at: "Tensor", targets: "Tensor"
) -> ObjectiveOutput:
    """The mean cross-entropy of chosen tokens, and in evaluation the likeliest ones.

    Args:
        at: positions [K] in the flat batch. None at all if a corpus ends with a short row that
            holds only special tokens.
        targets: [K], the right tokens.
    """
    count = len(targets)
    if encoder.training:
        loss = encoder.compute_loss_at(tokens, at, targets) / max(1, count)
        return ObjectiveOutput(loss, count, loss.new_empty(0), targets)
    losses, likeliest = encoder.compute_losses_and_predictions_at(tokens, at, targets)
    scores = TokenScores(losses, likeliest == targets)
    return ObjectiveOutput(losses.sum() / max(1, count), count, likeliest, targets, scores)


def derive_perplexity(values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
    """The perplexity, which is the exponential of the mean loss, and as a yardstick the unigram
    entropy, if it is known. A perplexity beyond the range of numbers is infinite.
    """
    loss = values["loss"]
    perplexity = math.exp(loss) if loss < _MAX_EXPONENT else math.inf
    yardstick = {} if facts.unigram_entropy is None else {"unigram_entropy": facts.unigram_entropy}
    return {"perplexity": perplexity, **yardstick}
