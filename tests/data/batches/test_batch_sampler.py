"""Which rows meet, on which rank, in every epoch."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.user_errors import UserError
from src.data.batches.batch_sampler import POOL_BATCHES, DistributedBatchSampler


def _batches(plan: DistributedBatchSampler, epoch: int = 0) -> list[list[int]]:
    plan.set_epoch(epoch)
    found = list(plan)
    assert all(seen == epoch for seen, _, _ in found)
    assert len(found) == len(plan)
    return [rows.tolist() for _, _, rows in found]


def _flat(batches: list[list[int]]) -> list[int]:
    return sorted(row for batch in batches for row in batch)


def test_a_plan_visits_each_row_once_and_shuffles_training_only() -> None:
    plan = DistributedBatchSampler(10, 4, seed=1, training=True)
    first = _batches(plan)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert _flat(first) == list(range(10))
    assert first == _batches(DistributedBatchSampler(10, 4, seed=1, training=True))
    # disk order within a batch
    assert all(rows == sorted(rows) for rows in first)
    assert (
        first
        != _batches(plan, epoch=1)
        != _batches(DistributedBatchSampler(10, 4, seed=2, training=True), epoch=1)
    )
    assert _batches(DistributedBatchSampler(10, 4, seed=1, training=False)) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


def test_held_out_rows_by_hand() -> None:
    """Longest first, each batch as full as 10 tokens and 3 rows allow; a row of 12 is alone."""
    lengths = np.array([3, 12, 2, 6, 4, 2, 1, 1])
    plan = DistributedBatchSampler(8, 3, seed=1, training=False, lengths=lengths, batch_tokens=10)
    assert _batches(plan) == _batches(plan, epoch=3) == [[1], [3, 4], [0, 2, 5], [6, 7]]


def test_without_a_budget_training_rows_meet_by_chance_whatever_their_lengths() -> None:
    lengths = np.arange(1, 21)
    by_chance = _batches(DistributedBatchSampler(20, 4, seed=1, training=True))
    plan = DistributedBatchSampler(20, 4, seed=1, training=True, lengths=lengths)
    assert [sorted(batch) for batch in _batches(plan)] == by_chance
    # longest first
    assert all(batch == sorted(batch, reverse=True) for batch in _batches(plan))


def test_a_budget_deals_lengths_evenly() -> None:
    """Rows of 1 to 100 tokens, 5,050 in all: 1,000 tokens a batch take six batches and no luck."""
    lengths = np.arange(1, 101)
    plan = DistributedBatchSampler(
        100, 100, seed=1, training=True, lengths=lengths, batch_tokens=1000
    )
    assert len(plan) == 6
    for epoch in range(3):
        tokens = [sum(lengths[row] for row in batch) for batch in _batches(plan, epoch)]
        assert min(tokens) > 750 and max(tokens) <= 1000
    # who meets whom changes
    assert sorted(_batches(plan)) != sorted(_batches(plan, epoch=1))


def test_grouped_by_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 257, size=4000)
    plan = DistributedBatchSampler(
        4000, 32, seed=1, training=True, lengths=lengths, group_by_length=True
    )
    spread = [np.ptp(lengths[batch]) for batch in _batches(plan)]
    # of 251 among rows that meet by chance
    assert np.median(spread) < 16
    assert len(plan) <= 1.05 * 4000 / 32
    begins = [lengths[batch[0]] for batch in _batches(plan)]
    # batches come in random order
    assert begins != sorted(begins) and begins != sorted(begins, reverse=True)
    pairs = [
        {frozenset(pair) for batch in _batches(plan, epoch) for pair in pairwise(batch)}
        for epoch in (0, 1)
    ]
    assert len(pairs[0] & pairs[1]) < 0.5 * len(pairs[0])
    # more than one pool was needed
    assert len(plan) > POOL_BATCHES


PLANS = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 40), min_size=1, max_size=150),
        "batch_size": st.integers(1, 12),
        "batch_tokens": st.none() | st.integers(40, 300),
        "group_by_length": st.booleans(),
        "training": st.booleans(),
        "world": st.integers(1, 4),
        "warmup_batches": st.integers(0, 9),
        "knows_lengths": st.booleans(),
        "seed": st.integers(0, 5),
    }
)


@settings(max_examples=200, deadline=None)
@given(drawn=PLANS)
def test_ranks_divide_the_batches_of_one_process_without_overlap_or_loss(
    drawn: dict[str, Any],
) -> None:
    lengths, world, training = np.array(drawn["lengths"]), drawn["world"], drawn["training"]
    shared = {key: drawn[key] for key in ("group_by_length", "training", "seed")}
    if drawn["knows_lengths"]:
        shared["lengths"] = lengths
    else:
        drawn["batch_tokens"] = None
    count, size, budget = len(lengths), drawn["batch_size"], drawn["batch_tokens"]
    if count < world:
        with pytest.raises(UserError, match=f"{count} rows cannot be divided among {world} ranks"):
            DistributedBatchSampler(count, size, world_size=world, **shared)
        return
    more = {**shared, "warmup_batches": drawn["warmup_batches"]}
    ranks = [
        DistributedBatchSampler(
            count, size, rank=rank, world_size=world, batch_tokens=budget, **more
        )
        for rank in range(world)
    ]
    alone = DistributedBatchSampler(
        count, size * world, batch_tokens=budget and budget * world, **more
    )
    assert {len(plan) for plan in ranks} == {len(alone)}
    assert {plan.compute_fingerprint() for plan in ranks} == {alone.compute_fingerprint()}
    seen = []
    for epoch in (0, 2, 20):
        parts = [_batches(plan, epoch) for plan in ranks]
        together = [
            [row for share in shares for row in share] for shares in zip(*parts, strict=True)
        ]
        assert list(map(sorted, together)) == list(map(sorted, _batches(alone, epoch)))
        if not training or (epoch and epoch * len(alone) >= drawn["warmup_batches"]):
            assert _flat(together) == list(range(count))
        assert all(together)
        # no rank's metrics go without a row
        assert training or all(map(_flat, parts))
        for batch, *shares in zip(together, *parts, strict=True):
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            assert len(batch) <= size * world
            if drawn["knows_lengths"]:
                tokens = [lengths[share].sum() for share in shares]
                assert max(tokens) - min(tokens) <= lengths[batch].max()
                assert all(np.diff(lengths[share]).max(initial=-1) <= 0 for share in shares)
                assert budget is None or len(batch) == 1 or lengths[batch].sum() <= budget * world
        seen.append(parts)
    assert training or seen[0] == seen[1]


@settings(max_examples=200, deadline=None)
@given(drawn=PLANS, now=st.integers(1, 6))
def test_another_number_of_ranks_divides_the_same_global_batches(
    drawn: dict[str, Any], now: int
) -> None:
    lengths, world = np.array(drawn["lengths"]), drawn["world"]
    if len(lengths) < max(world, now):
        return
    options = {key: drawn[key] for key in ("seed", "batch_tokens", "group_by_length")}
    options |= {"training": True, "warmup_batches": drawn["warmup_batches"]}
    if drawn["knows_lengths"]:
        options["lengths"] = lengths
    else:
        options["batch_tokens"] = None
    make = lambda: DistributedBatchSampler(
        len(lengths), drawn["batch_size"], world_size=world, **options
    )
    begun, later = [make() for _ in range(world)], [make() for _ in range(now)]
    for plans in (begun, later):
        for rank, plan in enumerate(plans):
            plan.share_among(rank, len(plans))
    parts = -(-world // now)
    assert {plan.num_parts for plan in later} == {parts}
    assert {plan.compute_fingerprint() for plan in later} == {begun[0].compute_fingerprint()}
    for epoch in (0, 3):
        before = [_batches(plan, epoch) for plan in begun]
        whole = [_flat(list(shares)) for shares in zip(*before, strict=True)]
        found = [_batches(plan, epoch) for plan in later]
        assert {len(batches) for batches in found} == {len(whole) * parts}
        for number, rows in enumerate(whole):
            steps = [batches[number * parts : (number + 1) * parts] for batches in found]
            assert _flat([share for shares in steps for share in shares]) == rows
            assert all(len(share) <= drawn["batch_size"] for shares in steps for share in shares)
    # from the midst of an epoch: places are counted in global batches
    later[0].load_state_dict({**begun[0].state_dict(), "epoch": 3, "batch": len(whole) // 2})
    later[0].set_epoch(3)
    rest = [rows.tolist() for _, _, rows in later[0]]
    assert rest == found[0][len(whole) // 2 * parts :]


@pytest.mark.parametrize(
    ("rows", "size", "world"), [(41, 8, 2), (41, 8, 8), (9, 8, 2), (33, 16, 4), (65, 4, 4)]
)
@pytest.mark.parametrize("warmup", [0, 8])
def test_a_remnant_smaller_than_the_ranks(rows: int, size: int, world: int, warmup: int) -> None:
    alone = DistributedBatchSampler(rows, size, seed=1, training=True, warmup_batches=warmup)
    ranks = [
        DistributedBatchSampler(
            rows,
            size // world,
            seed=1,
            training=True,
            rank=rank,
            world_size=world,
            warmup_batches=warmup,
        )
        for rank in range(world)
    ]
    parts = [_batches(plan) for plan in ranks]
    assert [_flat(list(shares)) for shares in zip(*parts, strict=True)] == _batches(alone)
    assert [len(part[-1]) for part in parts] == [1] + [0] * (world - 1)


def test_ranks_see_the_batches_of_one_process() -> None:
    lengths = np.random.default_rng(0).integers(5, 257, size=1001)
    for settings_ in ({}, {"batch_tokens": 2048}, {"batch_tokens": 2048, "group_by_length": True}):
        alone = DistributedBatchSampler(
            1001,
            32,
            seed=1,
            training=True,
            lengths=lengths,
            **{
                key: value * 2 if key == "batch_tokens" else value
                for key, value in settings_.items()
            },
        )
        ranks = [
            DistributedBatchSampler(
                1001,
                16,
                seed=1,
                training=True,
                lengths=lengths,
                rank=rank,
                world_size=2,
                **settings_,
            )
            for rank in range(2)
        ]
        for whole, one, other in zip(*map(_batches, [alone, *ranks]), strict=True):
            assert (whole[::2], whole[1::2]) in ((one, other), (other, one))


def test_the_first_batches_grow() -> None:
    plan = DistributedBatchSampler(320, 32, seed=1, training=True, warmup_batches=14)
    full = DistributedBatchSampler(320, 32, seed=1, training=True)
    assert len(plan) == len(full) == 10
    assert [len(batch) for batch in _batches(plan)] == [8] * 7 + [16] * 3
    assert [len(batch) for batch in _batches(plan, epoch=1)] == [16] * 4 + [32] * 6
    assert all(
        set(few) <= set(all_) for few, all_ in zip(_batches(plan), _batches(full), strict=True)
    )
    assert _batches(plan, epoch=2) == _batches(full, epoch=2)
    held_out = DistributedBatchSampler(320, 32, seed=1, training=False, warmup_batches=14)
    assert [len(batch) for batch in _batches(held_out)] == [32] * 10
    assert [
        len(batch)
        for batch in _batches(
            DistributedBatchSampler(6, 3, seed=1, training=True, warmup_batches=9)
        )
    ] == [2, 2]


def test_more_ranks_than_rows() -> None:
    with pytest.raises(UserError, match="3 rows cannot be divided among 4 ranks.*trainer.devices"):
        DistributedBatchSampler(3, 8, seed=1, training=False, world_size=4)
    with pytest.raises(UserError, match="3 rows cannot be divided among 4 ranks"):
        DistributedBatchSampler(3, 8, seed=1, training=True).share_among(0, 4)


LENGTHS = np.random.default_rng(5).integers(3, 90, size=120)


@pytest.mark.parametrize(
    "options", [{}, {"lengths": LENGTHS, "batch_tokens": 300, "group_by_length": True}]
)
def test_begins_in_the_midst_of_an_epoch(options: dict[str, Any]) -> None:
    make = lambda **more: DistributedBatchSampler(
        len(LENGTHS), 7, seed=3, training=True, warmup_batches=9, **options, **more
    )
    whole, later = make(), make()
    later.load_state_dict({**whole.state_dict(), "epoch": 1, "batch": 4})
    for epoch in (1, 2):
        whole.set_epoch(epoch)
        later.set_epoch(epoch)
        expected = [rows.tolist() for _, _, rows in whole][4 if epoch == 1 else 0 :]
        assert [rows.tolist() for _, _, rows in later] == expected
    later.skip_to(2, len(later))
    assert list(later) == []


def test_batches_of_another_plan_are_no_place_to_go_on() -> None:
    plan = DistributedBatchSampler(40, 8, seed=3, training=True)
    assert (
        DistributedBatchSampler(
            40, 4, seed=3, training=True, rank=1, world_size=2
        ).compute_fingerprint()
        == plan.compute_fingerprint()
    )
    for other in (
        DistributedBatchSampler(41, 8, seed=3, training=True),
        DistributedBatchSampler(40, 8, seed=4, training=True),
    ):
        with pytest.raises(UserError, match="an epoch had 5 of them, and now has"):
            other.load_state_dict(plan.state_dict())
