"""Two ranks go on from a checkpoint as if they had never stopped, each with its own noise: ddp to the last bit.

Ranks here are forks of the test's process that talk through gloo; each says what came of it in a file.
"""

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from src.config.build import build
from src.training.checkpoints import Ties, about, step_of
from src.training.ranks import Place, Ranks
from tests.training.trained import LABELLED, Compose, begun_at, same, train

BOTH = (*LABELLED, "trainer.devices=2", "trainer.max_epochs=1", "data.batching.batch_size=8")
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*multi-threaded, use of fork",
        ".*sync_dist=True",
        ".*returned a view tensor",
    )  # as src/training/noise.py
]


def on_two(work: Callable[[Ranks], Any], folder: Path) -> list[Any]:
    """What `work` returns on each of two ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def one(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        ranks = Ranks(Place(rank, 2, rank, 2, launched=False), threads=1, give_up=lambda error: None)
        ranks.port = port
        try:
            result = work(ranks)
        except BaseException:
            result = traceback.format_exc()
        (folder / f"rank {rank}").write_bytes(pickle.dumps(result))
        os._exit(0)

    folder.mkdir(parents=True, exist_ok=True)
    processes = [get_context("fork").Process(target=one, args=(rank,)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    results = [pickle.loads(each.read_bytes()) for each in sorted(folder.iterdir())]
    assert len(results) == 2 and not any(isinstance(each, str) for each in results), results  # a rank that fails ends
    return results


def outcome(config: dict[str, Any], folder: Path, **options: Any) -> Callable[[Ranks], Any]:
    def work(ranks: Ranks) -> Any:
        tags: list[str] = []
        ties = Ties(tag=lambda key, words: tags.append(f"{key}: {words}"))
        made = train(config, folder, ranks=ranks, ties=ties, **options)
        weights = made.trainer.strategy.lightning_module_state_dict()
        return {
            "weights": {key: value.clone() for key, value in weights.items()},
            "points": made.points.points if ranks.place.rank == 0 else {},
            "batches": made.seen.batches,
            "best": made.keeper.best_model_path,
            "noise": torch.get_rng_state(),
            "tags": tags,
        }

    return work


def close(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Equal but for rounding in fp32, which AdamW makes as large as its rate where a gradient is nothing else."""
    assert one.keys() == other.keys()
    pairs = [(torch.as_tensor(one[key]).double(), torch.as_tensor(other[key]).double()) for key in one]
    return all(torch.allclose(mine, theirs, rtol=1e-4, atol=1e-3) for mine, theirs in pairs)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_goes_on(strategy: str, composed: Compose, tmp_path: Path) -> None:
    config = composed(*BOTH, f"data.cache={tmp_path}/cache", f"trainer.strategy={strategy}")
    build(config["data"]).prepare_data()  # a forked process has none of the threads that learn a vocabulary
    whole = on_two(outcome(config, tmp_path / "whole"), tmp_path / "of whole")
    steps = sorted(step_of(each) for each in (tmp_path / "whole").iterdir())
    assert steps == list(range(1, steps[-1] + 1))
    assert not torch.equal(whole[0]["noise"], whole[1]["noise"])
    middle = len(steps) // 2 + 1
    begin = begun_at(tmp_path / "whole", tmp_path / "on", middle)
    assert about(begin)["world"] == 2
    rest = on_two(outcome(config, tmp_path / "on", begin=begin), tmp_path / "of on")
    # Shards of fsdp lie elsewhere in memory after a resume; in some processes the last bit of a sum then differs.
    agree = same if strategy == "ddp" else close
    for one, other in zip(whole, rest, strict=True):
        assert agree(one["weights"], other["weights"])
        assert torch.equal(one["noise"], other["noise"])
        assert other["batches"] == one["batches"][-len(other["batches"]) :]
        assert other["tags"] == []
        assert Path(one["best"]).name == Path(other["best"]).name
    assert agree(rest[0]["points"], {at: value for at, value in whole[0]["points"].items() if at[1] > middle})
