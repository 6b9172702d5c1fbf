"""How much better a model knows the rows that it was trained on than others: what its answers give
away about who was in the training data.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from src.evaluation.intervals import Interval

_RESAMPLES = 2000


class MembershipProbe(NamedTuple):
    """The attack that guesses "was trained on" where the loss is small (Yeom et al. 2018).

    Attributes:
        auc: chance that a training row has a smaller loss than a row held out; 0.5 gives nothing
            away.
        interval: 95 %, by bootstrap of both sets of rows.
        advantage: the most by which the attack's hits exceed its false alarms, over all thresholds.
        train_loss, held_out_loss: means.
    """

    auc: float
    interval: Interval
    advantage: float
    train_loss: float
    held_out_loss: float


def probe_membership(
    train: NDArray[np.float64], held_out: NDArray[np.float64], *, seed: int = 0
) -> MembershipProbe:
    """Probe the losses of rows.

    Args:
        train: [N], of rows that were trained on.
        held_out: [M], of rows that were not.
    """
    random = np.random.default_rng(seed)
    drawn = np.array(
        [
            _compute_auc(
                train[random.integers(len(train), size=len(train))],
                held_out[random.integers(len(held_out), size=len(held_out))],
            )
            for _ in range(_RESAMPLES)
        ]
    )
    thresholds = np.concatenate([train, held_out])
    hits = np.searchsorted(np.sort(train), thresholds, side="right") / len(train)
    alarms = np.searchsorted(np.sort(held_out), thresholds, side="right") / len(held_out)
    return MembershipProbe(
        _compute_auc(train, held_out),
        Interval(*(float(end) for end in np.quantile(drawn, (0.025, 0.975)))),
        float(max((hits - alarms).max(), 0.0)),
        float(train.mean()),
        float(held_out.mean()),
    )


def _compute_auc(train: NDArray[np.float64], held_out: NDArray[np.float64]) -> float:
    """The Mann-Whitney statistic; equal losses count half."""
    ranks = rankdata(np.concatenate([held_out, train]))
    above = ranks[: len(held_out)].sum() - len(held_out) * (len(held_out) + 1) / 2
    return float(above / (len(train) * len(held_out)))
