"""The order of rows in shards: each row once, a few shards at a time, the same in every call."""

import itertools

import numpy as np
import pytest

from src.data.batches.batch_sampler import DistributedBatchSampler
from src.data.batches.shard_order import ShardOrder


def _order(num_rows: int, window: int = 3, seed: int = 5) -> ShardOrder:
    return ShardOrder(seed=seed, num_rows=num_rows, shard_rows=10, window_shards=window)


@pytest.mark.parametrize("num_rows", [1, 9, 10, 11, 60, 67, 95])
@pytest.mark.parametrize("window", [1, 3, 20])
def test_every_row_comes_once_and_few_shards_at_a_time(num_rows: int, window: int) -> None:
    order = _order(num_rows, window)
    for epoch in (0, 1):
        rows = order.take_rows(epoch, 0, num_rows)
        assert sorted(rows.tolist()) == list(range(num_rows))
        seen = [shard for shard, _ in itertools.groupby(rows // 10)]
        windows = [set(order.list_window(epoch, number)) for number in range(order.num_windows)]
        numbers = [next(n for n, shards in enumerate(windows) if shard in shards) for shard in seen]
        assert numbers == sorted(numbers)
        pieces = [order.take_rows(epoch, at, min(at + 7, num_rows)) for at in range(0, num_rows, 7)]
        assert np.concatenate(pieces).tolist() == rows.tolist()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [_order(95, seed=seed).take_rows(epoch, 0, 95) for seed in (1, 2) for epoch in (0, 1)]
    assert not any(np.array_equal(*pair) for pair in itertools.combinations(orders, 2))
    assert np.array_equal(_order(95, seed=1).take_rows(0, 0, 95), orders[0])


def test_the_shards_that_come_next() -> None:
    order = _order(67)
    first, second, third = (order.list_window(0, number).tolist() for number in range(3))
    assert order.list_coming_shards(0, 0) == [*first, *second]
    assert order.list_coming_shards(0, 1) == [*second, *third]
    following = order.list_window(1, 0).tolist()
    assert order.list_coming_shards(0, 2) == list(dict.fromkeys([*third, *following]))
    for window, shards in enumerate((first, second, third)):
        assert order.find_window(0, np.array([shards[0] * 10])) == window
    assert order.find_window(0, np.array([third[0] * 10, second[0] * 10])) == 1


def _sampler(order: ShardOrder | None, rank: int = 0, ranks: int = 1) -> DistributedBatchSampler:
    return DistributedBatchSampler(
        95, 8 // ranks, seed=5, training=True, rank=rank, world_size=ranks, order=order
    )


def test_batches_follow_the_order_on_any_number_of_ranks() -> None:
    alone = [sorted(key.rows.tolist()) for key in _sampler(_order(95))]
    parts = [[key.rows.tolist() for key in _sampler(_order(95), rank, 2)] for rank in (0, 1)]
    assert [sorted(one + two) for one, two in zip(*parts, strict=True)] == alone
    expected = _order(95).take_rows(0, 0, 95)
    assert alone == [sorted(expected[at : at + 8].tolist()) for at in range(0, 95, 8)]


def test_a_sampler_goes_on_where_another_was_left() -> None:
    whole = [key.rows.tolist() for key in _sampler(_order(95))]
    again = _sampler(_order(95))
    again.load_state_dict({**_sampler(_order(95)).state_dict(), "batch": 7})
    assert [key.rows.tolist() for key in again] == whole[7:]
    plans = {_sampler(order).compute_fingerprint() for order in (None, _order(95), _order(95, 2))}
    assert len(plans) == 3
