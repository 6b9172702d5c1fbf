"""Ranks that are forks of the test's process: they talk through gloo and cost no imports."""

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from src.training.launcher import RankInfo, RankLauncher

QUIET = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*multi-threaded, use of fork",
        ".*sync_dist=True",
        ".*returned a view tensor",
        # as src/core/startup.py
    )
]


def on_ranks(
    work: Callable[[RankLauncher], Any],
    folder: Path,
    *,
    size: int = 2,
    launched: bool = False,
    **options: Any,
) -> list[Any]:
    """What `work` returns on each of some ranks, which each says in a file of `folder`; `options`
    are of `Ranks`.
    """
    port = free_port()

    def one(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        place = RankInfo(rank, size, rank, size, is_launched_externally=launched)
        ranks = RankLauncher(
            place, threads_per_rank=1, on_rank_failure=lambda error: None, **options
        )
        ranks.port = port
        try:
            result = work(ranks)
        except BaseException:
            result = traceback.format_exc()
        (folder / f"rank {rank}").write_bytes(pickle.dumps(result))

    folder.mkdir(parents=True, exist_ok=True)
    processes = [forked(lambda rank=rank: one(rank)) for rank in range(size)]
    for process in processes:
        process.join(120)
        process.kill()
    results = [pickle.loads(each.read_bytes()) for each in sorted(folder.iterdir())]
    # one that fails ends
    assert len(results) == size and not any(isinstance(each, str) for each in results), results
    return results


def forked(work: Callable[[], object]) -> BaseProcess:
    """A process that does `work` and ends, without what this one would do at its end."""

    def all_of_it() -> None:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    process = get_context("fork").Process(target=all_of_it)
    process.start()
    return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
