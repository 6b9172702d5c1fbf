"""What the name of a metric says: whether small is good, whether it is a share from 0 to 1."""

import re
from collections.abc import Sequence

# of what a test measures, the most telling first
TEST_METRICS = ("accuracy", "pearson", "f1", "f1_macro", "perplexity", "loss")
_SMALL_IS_GOOD = ("loss", "perplexity", "mae", "rmse", "error", "seconds", "memory", "joules")
# the same as words of their own: some of them are parts of others
_SMALL_WORDS = {"mse", "msle", "mape", "smape", "nll", "brier", "ece", "wer", "cer", "divergence"}
_SMALL_WORDS |= {"distance", "deviance", "bits", "crossentropy", "rse", "ter", "mer"}
_SHARES = ("accuracy", "f1", "precision", "recall", "auroc")


def is_small_good(metric: str) -> bool:
    words = re.split(r"[^a-z]+", metric.lower())
    return any(word in metric for word in _SMALL_IS_GOOD) or not _SMALL_WORDS.isdisjoint(words)


def is_share(metric: str, *values: float) -> bool:
    """Whether differences of a metric are told in points, which are hundredths: not where one of
    its values is above 1, since others record percent.
    """
    name = metric.rpartition("/")[2]
    is_named = any(word in name for word in _SHARES) and not is_small_good(name)
    return is_named and all(value <= 1 for value in values)


def format_change(
    value: float, metric: str, *, sign: bool = True, among: Sequence[float] = ()
) -> str:
    """A difference of a metric: `+0.8` points of a share, else `+0.0341` or `+23,693`.

    Args:
        among: the values that differ.
    """
    plus = "+" if sign else ""
    if not is_share(metric, *among):
        return f"{value:{plus},.0f}" if abs(value) >= 1000 else f"{value:{plus}.3g}"
    # what would be rounded to nothing is nothing, without a sign of its own
    points = 100 * value if abs(value) >= 5e-5 else 0.0
    return f"{points:{plus}.{1 if abs(points) >= 0.095 or points == 0 else 2}f}"
