"""Two ranks go on from a checkpoint as if they had never stopped, each with its own noise: ddp to
the last bit.

Ranks here are forks of the test's process that talk through gloo; each says what came of it in a
file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.config.build_nodes import build_node
from src.training.checkpoint_files import (
    CheckpointHooks,
    parse_checkpoint_step,
    read_checkpoint_description,
)
from src.training.launcher import RankLauncher
from tests.training.forked_ranks import QUIET, on_ranks
from tests.training.small_trainings import LABELLED, Compose, begun_at, same, train

BOTH = (*LABELLED, "trainer.devices=2", "trainer.max_epochs=1", "data.batching.batch_size=8")
pytestmark = QUIET


def outcome(config: dict[str, Any], folder: Path, **options: Any) -> Callable[[RankLauncher], Any]:
    def work(ranks: RankLauncher) -> Any:
        tags: list[str] = []
        ties = CheckpointHooks(tag=lambda key, words: tags.append(f"{key}: {words}"))
        made = train(config, folder, launcher=ranks, hooks=ties, **options)
        weights = made.trainer.strategy.lightning_module_state_dict()
        return {
            "weights": {key: value.clone() for key, value in weights.items()},
            "points": made.points.points if ranks.rank_info.rank == 0 else {},
            "batches": made.seen.batches,
            "best": made.keeper.best_model_path,
            "noise": torch.get_rng_state(),
            "tags": tags,
        }

    return work


def close(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Equal but for rounding in fp32, which AdamW makes as large as its rate where a gradient is
    nothing else.
    """
    assert one.keys() == other.keys()
    pairs = [
        (torch.as_tensor(one[key]).double(), torch.as_tensor(other[key]).double()) for key in one
    ]
    return all(torch.allclose(mine, theirs, rtol=1e-4, atol=1e-3) for mine, theirs in pairs)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_goes_on(strategy: str, composed: Compose, tmp_path: Path) -> None:
    config = composed(*BOTH, f"data.cache={tmp_path}/cache", f"trainer.strategy={strategy}")
    # a forked process has none of the threads that learn a vocabulary
    build_node(config["data"]).build().prepare_data()
    whole = on_ranks(outcome(config, tmp_path / "whole"), tmp_path / "of whole")
    steps = sorted(parse_checkpoint_step(each) for each in (tmp_path / "whole").iterdir())
    assert steps == list(range(1, steps[-1] + 1))
    assert not torch.equal(whole[0]["noise"], whole[1]["noise"])
    middle = len(steps) // 2 + 1
    begin = begun_at(tmp_path / "whole", tmp_path / "on", middle)
    assert read_checkpoint_description(begin)["world"] == 2
    rest = on_ranks(outcome(config, tmp_path / "on", begin=begin), tmp_path / "of on")
    # Shards of fsdp lie elsewhere in memory after a resume; in some processes the last bit of a sum
    # then differs.
    agree = same if strategy == "ddp" else close
    for one, other in zip(whole, rest, strict=True):
        assert agree(one["weights"], other["weights"])
        assert torch.equal(one["noise"], other["noise"])
        assert other["batches"] == one["batches"][-len(other["batches"]) :]
        assert other["tags"] == []
        assert Path(one["best"]).name == Path(other["best"]).name
    assert agree(
        rest[0]["points"], {at: value for at, value in whole[0]["points"].items() if at[1] > middle}
    )
