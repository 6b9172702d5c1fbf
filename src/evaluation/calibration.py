"""Whether probabilities hold: of the texts that a model gives 80 %, 80 % should be right. What they
miss it by, and the temperature that mends it.

Shape legend: N rows, C labels, B bins.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, nll_loss

# of equal width, as in the literature
NUM_BINS = 15
# beyond which nothing is calibrated any more, and everything is said
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
# Standard deviation of the logarithm of the temperature, before any row is seen. Of a few rows the
# best temperature is chance; some hundred of them outweigh this (docs/lab-log.md).
PRIOR_DEVIATION = 0.5


class Calibration(NamedTuple):
    """How far probabilities are from what happens.

    Args:
        log_loss: the mean negative logarithm of what the truth was given, in nats.
        brier: the mean squared distance between probabilities and truth, summed over the labels of
            a row (Brier, 1950: 0 to 2), or of single decisions (0 to 1).
        error: the expected calibration error (Naeini et al., 2015): the mean distance, weighted by
            rows, between mean confidence and share of right ones in `NUM_BINS` bins of equal width.
        low, high: [B] the ends of the bins that hold rows.
        rows: [B] how many each holds.
        confidence: [B] their mean confidence.
        right: [B] the share of them that are right.
    """

    log_loss: float
    brier: float
    error: float
    low: list[float]
    high: list[float]
    rows: list[int]
    confidence: list[float]
    right: list[float]


class TemperatureFit(NamedTuple):
    """A temperature, and the log loss of the rows that it was fitted on before and with it.

    `reason` says why none was fitted; the temperature is 1 then.
    """

    temperature: float
    loss_before: float
    loss_after: float
    reason: str = ""


def measure_calibration(probabilities: Tensor, targets: Tensor) -> Calibration:
    """Judge the probabilities [N, C] of labels of which a row has one, or of decisions.

    The confidence of a row is the probability of its likeliest label, and it is right if that is
    the label. Of decisions, with targets [N, C] of 0 and 1, each label is a row by itself, and its
    confidence is the probability of a yes.

    Args:
        targets: [N] class indices, or [N, C].
    """
    probabilities = probabilities.double()
    if targets.ndim == 2:
        confidence, right = probabilities.flatten(), targets.double().flatten()
        log_loss = binary_cross_entropy_with_logits(to_logits(confidence), right).item()
        brier = (confidence - right).square().mean().item()
    else:
        confidence, predicted = probabilities.max(1)
        right = (predicted == targets).double()
        log_loss = nll_loss(to_log_probabilities(probabilities), targets).item()
        own = probabilities.gather(1, targets[:, None])[:, 0]
        # sum of (p - y)^2, without a table of y
        brier = (probabilities.square().sum(1) - 2 * own + 1).mean().item()
    bins = (confidence * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    counts = torch.bincount(bins, minlength=NUM_BINS)
    used = counts.nonzero()[:, 0]
    sums = torch.stack(
        [torch.bincount(bins, values, NUM_BINS)[used] for values in (confidence, right)]
    )
    means = sums / counts[used]
    error = ((means[0] - means[1]).abs() * counts[used]).sum() / counts.sum()
    return Calibration(
        log_loss,
        brier,
        error.item(),
        (used / NUM_BINS).tolist(),
        ((used + 1) / NUM_BINS).tolist(),
        counts[used].tolist(),
        means[0].tolist(),
        means[1].tolist(),
    )


def to_log_probabilities(probabilities: Tensor) -> Tensor:
    """Logarithms that are finite where a probability has been rounded to 0."""
    return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()


def to_logits(probabilities: Tensor) -> Tensor:
    """What sigmoid makes probabilities of, finite where one has been rounded to 0 or 1."""
    least = torch.finfo(torch.float32).eps / 2
    return probabilities.double().clamp(least, 1 - least).logit()


def apply_temperature(probabilities: Tensor, temperature: float, *, many: bool) -> Tensor:
    """The probabilities [N, C] that the model has at another temperature.

    Args:
        many: whether each label is a decision of its own.
    """
    if temperature == 1.0:
        return probabilities
    if many:
        return (to_logits(probabilities) / temperature).sigmoid().to(probabilities.dtype)
    return (to_log_probabilities(probabilities) / temperature).softmax(1)


def fit_temperature(probabilities: Tensor, targets: Tensor) -> TemperatureFit:
    """The likeliest temperature, given these rows and that it is about 1 (`PRIOR_DEVIATION`): of
    many rows that with the least log loss.

    One temperature serves all labels, so that no two change places. None is fitted where the model
    makes no mistake, since the loss then falls with the temperature down to 0.

    Args:
        probabilities: [N, C] at temperature 1.
        targets: [N] class indices, or [N, C] of 0 and 1 where each label is a decision of its own.
    """
    from scipy.optimize import minimize_scalar

    many = targets.ndim == 2
    if many:
        outputs, truth = to_logits(probabilities), targets.double()
        wrong = (outputs > 0) != (truth > 0.5)
    else:
        outputs, truth = to_log_probabilities(probabilities.double()), targets.long()
        wrong = outputs.argmax(1) != truth

    def compute_loss(log_temperature: float) -> float:
        scaled = outputs / math.exp(log_temperature)
        if many:
            return binary_cross_entropy_with_logits(scaled, truth).item()
        return nll_loss(log_softmax(scaled, 1), truth).item()

    def compute_unlikeliness(log_temperature: float) -> float:
        """The negative logarithm of the posterior probability, for each decision."""
        prior = (log_temperature / PRIOR_DEVIATION) ** 2 / 2
        return compute_loss(log_temperature) + prior / truth.numel()

    before = compute_loss(0.0)
    if not wrong.any():
        return TemperatureFit(1.0, before, before, "there is no mistake among the rows")
    bounds = (math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE))
    # the loss has one minimum in 1 / temperature (it is convex there), so in its logarithm too
    found = minimize_scalar(compute_unlikeliness, bounds=bounds, method="bounded")
    temperature = math.exp(found.x)
    if min(found.x - bounds[0], bounds[1] - found.x) < 0.01:
        reason = f"the best one is beyond {LEAST_TEMPERATURE} to {MOST_TEMPERATURE:g}"
        return TemperatureFit(1.0, before, before, reason)
    return TemperatureFit(temperature, before, compute_loss(found.x))
