"""Half the batch at a time: the same rows in each optimizer step, and what cannot be halved."""

import errno
import math
from typing import Any

import numpy as np
import pytest

from src.config.build_nodes import build_node
from src.core.user_errors import UserError
from src.search.run.trial import halve_batch, is_out_of_memory
from src.training.launcher import LostRank
from tests.training.small_trainings import LABELLED, MASKED, Compose

PLAIN = (*LABELLED, "data.batching.batch_tokens=null", "data.batching.group_by_length=false")


class Texts:
    """As much of a store of tokens as a plan looks at: so many texts of 5, 6, 7, 5, ... tokens."""

    def __init__(self, count: int) -> None:
        self.offsets = np.concatenate(([0], np.cumsum(5 + np.arange(count) % 3)))
        self.num_tokens = int(self.offsets[-1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def order_rows(self, row_tokens: int, seed: int) -> None:
        """Any, as in a store that is no corpus in shards."""


def steps(config: dict[str, Any], store: Any, *, epoch: int, world: int) -> list[set[int]]:
    """The rows of each optimizer step of an epoch, on all ranks together."""
    batching, every = (
        build_node(config["data"]["batching"]),
        config["trainer"]["accumulate_grad_batches"],
    )
    plans = [
        batching.build_batch_sampler(store, seed=7, training=True, rank=rank, world_size=world)
        for rank in range(world)
    ]
    for plan in plans:
        plan.set_epoch(epoch)
    batches = [np.concatenate([rows for _, _, rows in parts]) for parts in zip(*plans, strict=True)]
    made = [
        np.concatenate(batches[begin : begin + every]) for begin in range(0, len(batches), every)
    ]
    assert len(made) == math.ceil(len(batches) / every)
    return [set(rows.tolist()) for rows in made]


@pytest.mark.parametrize("kind", [PLAIN, MASKED])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("texts", [32, 37, 41])
def test_each_optimizer_step_sees_the_same_rows(
    composed: Compose, kind: tuple[str, ...], world: int, texts: int
) -> None:
    size = ("data.batching.batch_size=8", "data.batching.row_tokens=8") if kind is MASKED else ()
    config = composed(*kind, *size, "trainer.accumulate_grad_batches=3")
    found = halve_batch(config)
    assert found is not None
    assert found[0]["trainer"]["accumulate_grad_batches"] == 6
    assert (
        found[0]["data"]["batching"]["batch_size"] == config["data"]["batching"]["batch_size"] // 2
    )
    for epoch in (0, 1):
        whole = steps(config, Texts(texts), epoch=epoch, world=world)
        assert steps(found[0], Texts(texts), epoch=epoch, world=world) == whole


def test_it_is_said_what_was_done_and_the_config_is_left_alone(composed: Compose) -> None:
    config = composed(
        *PLAIN, "data.batching.eval_batch_size=1", "data.batching.eval_batch_tokens=64"
    )
    made, words = halve_batch(config) or ({}, "")
    assert words == (
        "data.batching.batch_size 16 -> 8, data.batching.eval_batch_size 1 -> 1, "
        "data.batching.eval_batch_tokens "
        "64 -> 32, trainer.accumulate_grad_batches 1 -> 2; each optimizer step sees the same rows "
        "as before"
    )
    assert config["data"]["batching"]["batch_size"] == 16
    assert {key: value for key, value in made.items() if key not in ("data", "trainer")} == {
        key: value for key, value in config.items() if key not in ("data", "trainer")
    }


def test_rows_that_are_dealt_by_length_are_as_many(composed: Compose) -> None:
    made, words = halve_batch(composed(*LABELLED, "data.batching.max_tokens=64")) or ({}, "")
    assert made["data"]["batching"]["batch_tokens"] == 150
    assert words.endswith("each optimizer step sees as many rows as before")


@pytest.mark.parametrize(
    "reason",
    [
        "data.batching.batch_size=7",
        "data.batching.batch_size=1",
        "data.batching.warmup_batches=4",
        "trainer.limit_batches=2",
    ],
)
def test_what_cannot_be_halved(composed: Compose, reason: str) -> None:
    assert halve_batch(composed(*PLAIN, reason)) is None


def test_a_budget_of_tokens_keeps_room_for_the_longest_text(composed: Compose) -> None:
    assert halve_batch(composed(*LABELLED, "data.batching.batch_tokens=301")) is None
    assert (
        halve_batch(
            composed(*LABELLED, "data.batching.batch_tokens=100", "data.batching.max_tokens=64")
        )
        is None
    )


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"
            ),
            True,
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (LostRank("rank 1 of 2 (process 7) failed: OutOfMemoryError: CUDA out of memory."), True),
        (
            LostRank(
                "rank 1 of 2 was killed by SIGKILL (the system does so where memory has run out)"
            ),
            False,
        ),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (UserError("out of memory (said by a person)"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory
