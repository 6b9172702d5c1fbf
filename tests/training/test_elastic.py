"""A training sees the same rows in the same steps on any number of ranks, also where that number
changes between two of its steps, and ends as it would have.

Ranks here are forks of the test's process that talk through gloo.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.config.build_nodes import build_node
from src.core.user_errors import UserError
from src.training.launcher import RankLauncher
from src.training.row_files import read_row_order
from src.training.trainer import Training
from tests.training.forked_ranks import QUIET, on_ranks
from tests.training.small_trainings import (
    DENOISING,
    LABELLED,
    MASKED,
    Compose,
    begun_at,
    train,
)

pytestmark = QUIET
EXACT = (
    "model.encoder.dropout=0",
    "callbacks=row_order",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
)
# rows of a step's batch, divisible by 4, and settings
CASES: dict[str, tuple[tuple[str, ...], int]] = {
    "grouped by length": (
        (*LABELLED, *EXACT, "data.batching.batch_tokens=null"),
        16,
    ),
    "shuffled, with larger batches in time": (
        (
            *LABELLED,
            *EXACT,
            "data.batching.group_by_length=false",
            "data.batching.batch_tokens=null",
            "data.batching.warmup_batches=6",
        ),
        12,
    ),
    "masked, two batches in a step, fewer masks in later steps": (
        (
            *MASKED,
            *EXACT,
            "data.source.train=42",
            "trainer.accumulate_grad_batches=2",
            "data.batching.mask_fraction=0.4",
            "data.batching.mask_fraction_end=0.1",
            "trainer.val_check_steps=2",
        ),
        4,
    ),
    "denoising": ((*DENOISING, *EXACT), 8),
}


def ready(composed: Compose, folder: Path, *overrides: str) -> dict[str, Any]:
    """A config whose data are prepared: a forked process has none of the threads that learn a
    vocabulary.
    """
    overrides = tuple(each for each in overrides if not each.startswith("callbacks.early"))
    config = composed(*overrides, f"data.cache={folder}/cache")
    build_node(config["data"]).build().prepare_data()
    return config


def of_batches(config: dict[str, Any], size: int, ranks: int | None) -> dict[str, Any]:
    """The config with other batches, each for one of so many ranks."""
    data, batching = config["data"], config["data"]["batching"]
    return {
        **config,
        "data": {**data, "batching": {**batching, "batch_size": size}},
        "trainer": {**config["trainer"], "batch_ranks": ranks},
    }


def assert_same_end(one: Any, other: Any) -> None:
    weights = [made.trainer.strategy.lightning_module_state_dict() for made in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("case", list(CASES))
def test_parts_of_a_batch_are_one_step_and_a_run_may_change_them(
    case: str, composed: Compose, tmp_path: Path
) -> None:
    settings, size = CASES[case]
    config = ready(composed, tmp_path, *settings)
    whole = train(of_batches(config, size, None), tmp_path / "whole")
    parts = train(of_batches(config, size // 4, 4), tmp_path / "parts")
    expected = read_row_order(tmp_path / "whole")
    assert [line.step for line in expected] == list(range(1, whole.trainer.global_step + 1))
    if case.startswith("masked"):
        # the same rows have other masks in another epoch
        assert len({line.contents for line in expected}) == len(expected)
    if "warmup_batches=6" not in str(settings):
        rows = [row for line in expected if line.epoch == 1 for row in line.rows]
        assert sorted(rows) == list(range(max(rows) + 1))
    assert read_row_order(tmp_path / "parts") == expected
    assert len(parts.seen.batches) == 4 * len(whole.seen.batches)
    assert parts.points.points == pytest.approx(whole.points.points, rel=2e-4, abs=1e-6)
    assert_same_end(whole, parts)
    # from the midst of an epoch, and from one of 4 parts to one, and to 2
    middle = whole.trainer.global_step // 2 + 1
    for name, count in (("parts", 1), ("whole", 2)):
        folder = tmp_path / f"{name} on"
        begin = begun_at(tmp_path / name, folder, middle)
        for each in (tmp_path / name).glob("rows-*"):
            (folder / each.name).write_bytes(each.read_bytes())
        rest = train(of_batches(config, size // count, count), folder, begin=begin)
        assert read_row_order(folder) == expected
        assert rest.points.points == pytest.approx(whole.points.after(middle), rel=2e-4, abs=1e-6)
        assert_same_end(whole, rest)


def test_one_rank_then_four_then_two(composed: Compose, tmp_path: Path) -> None:
    config = ready(composed, tmp_path, *CASES["grouped by length"][0])
    config = of_batches(config, 16, 1)

    def outcome(folder: Path, begin: Path | None) -> Callable[[RankLauncher], dict[str, Any]]:
        def work(ranks: RankLauncher) -> dict[str, Any]:
            made = train(config, folder, begin=begin, launcher=ranks)
            return {
                key: value.clone()
                for key, value in made.trainer.strategy.lightning_module_state_dict().items()
            }

        return work

    whole = train(config, tmp_path / "whole")
    expected = read_row_order(tmp_path / "whole")
    folder, steps = tmp_path / "whole", whole.trainer.global_step
    weights: list[Any] = []
    for size, middle in ((4, steps // 3), (2, 2 * steps // 3)):
        begin = begun_at(folder, tmp_path / f"{size}", middle)
        folder = tmp_path / f"{size}"
        weights = on_ranks(outcome(folder, begin), tmp_path / f"of {size}", size=size)
        assert read_row_order(folder) == expected[middle:]
    for name, value in whole.trainer.strategy.lightning_module_state_dict().items():
        torch.testing.assert_close(weights[0][name], value, rtol=0, atol=1e-4, msg=name)


def test_parts_of_batches_are_not_left_out() -> None:
    with pytest.raises(UserError, match="trainer.batch_ranks=2 makes parts of them"):
        Training(max_epochs=1, on_non_finite="skip", batch_ranks=2)
