"""What losses give away about membership, against hand-computed values."""

import numpy as np
import pytest

from src.evaluation.membership import probe_membership


def test_the_probe_of_four_rows() -> None:
    """Of the four pairs, three have the smaller loss in training. At a threshold of 0.1 half of the
    training rows are found without a false alarm.
    """
    found = probe_membership(np.array([0.1, 0.5]), np.array([0.3, 0.9]))
    assert found.auc == pytest.approx(0.75)
    assert found.advantage == pytest.approx(0.5)
    assert (found.train_loss, found.held_out_loss) == pytest.approx((0.3, 0.6))


def test_equal_losses_give_nothing_away() -> None:
    same = np.full(50, 0.4)
    found = probe_membership(same, same)
    assert found.auc == 0.5 and found.advantage == 0 and found.interval == (0.5, 0.5)


def test_the_interval_covers_chance_where_both_sets_are_alike() -> None:
    random = np.random.default_rng(1)
    found = probe_membership(random.exponential(size=400), random.exponential(size=400))
    assert found.interval.low < 0.5 < found.interval.high
    apart = probe_membership(random.exponential(size=400) * 0.5, random.exponential(size=400))
    # P(E/2 < E') of exponentials is 2/3
    assert apart.auc == pytest.approx(2 / 3, abs=0.04) and apart.interval.low > 0.5
