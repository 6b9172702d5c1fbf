"""Trials as tasks of a real Ray cluster: of a pool alone, and of whole sweeps."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import sweeping
from benchmarks.ray_nodes import RayNodes
from src.search.run.ray_pool import RayPool
from src.search.run.worker_pool import ProcessExit, TrialJob
from src.search.search_config import RayCluster
from tests.search import stand_in

pytestmark = pytest.mark.services
pytest.importorskip("ray")
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes()
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.stop()


def connect(address: str) -> RayPool:
    return RayPool(
        RayCluster(address=address),
        {"accelerator": "cpu", "devices": 1},
        preload=stand_in.__name__,
        task=stand_in.run_trial_job,
    )


@pytest.fixture
def pool(nodes: RayNodes) -> Iterator[RayPool]:
    with connect(nodes.address) as pool:
        yield pool


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., TrialJob]:
    def make(do: str, log: str = "log", **config: Any) -> TrialJob:
        config |= {"do": do, "begun": str(tmp_path / f"begun-{log}")}
        return TrialJob("a trial", config, str(tmp_path / "logs" / log), {"SHARE": "1"})

    return make


def wait_for(due: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not due():
        assert time.monotonic() < until
        time.sleep(0.05)


def wait_for_all(pool: RayPool, count: int) -> dict[int, ProcessExit]:
    ended: list[ProcessExit] = []
    until = time.monotonic() + PATIENCE_SECONDS
    while len(ended) < count:
        assert time.monotonic() < until, f"nothing has ended but {ended}"
        ended += pool.wait_for_exits(1.0)
    return {exited.number: exited for exited in ended}


def test_trials_end_with_their_codes_and_logs(
    pool: RayPool, order: Callable[..., TrialJob], tmp_path: Path
) -> None:
    for number, job in enumerate(
        [order("end", "0", code=0), order("leave", "1"), order("die", "2"), order("fail", "3")]
    ):
        pool.start_trial(number, job)
    ended = wait_for_all(pool, 4)
    assert {number: exited.code for number, exited in ended.items()} == {0: 0, 1: 4, 2: -9, 3: 1}
    assert not pool.running and not any(exited.is_lost for exited in ended.values())
    said = (tmp_path / "logs" / "0").read_text().splitlines()
    assert sorted(said) == ["of a child", "to stderr", "to stdout"]


def test_a_signal_reaches_trials_that_run_and_those_that_wait(
    pool: RayPool, order: Callable[..., TrialJob], tmp_path: Path
) -> None:
    for number in range(3):
        pool.start_trial(number, order("wait", str(number)))
    wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    pool.send_signal(signal.SIGINT)
    codes = {number: exited.code for number, exited in wait_for_all(pool, 3).items()}
    assert sorted(codes.values()) == [-2, 130, 130]
    assert len(list(tmp_path.glob("begun-*"))) == 2
    heard = [path.read_text() for path in sorted((tmp_path / "logs").glob("?"))]
    assert heard == ["heard SIGINT\n"] * 2


def test_trials_of_a_machine_that_is_no_node(
    nodes: RayNodes, order: Callable[..., TrialJob], tmp_path: Path
) -> None:
    with connect(nodes.client_address) as pool:
        pool.start_trial(0, order("end", "0", code=3))
        pool.start_trial(1, order("wait", "1"))
        pool.start_trial(2, order("wait", "2"))
        assert wait_for_all(pool, 1)[0].code == 3
        wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        pool.send_signal(signal.SIGTERM)
        ended = wait_for_all(pool, 2)
    assert [ended[number].code for number in (1, 2)] == [130, 130]


def test_a_trial_that_does_not_end_is_ended_with_its_worker(
    pool: RayPool, order: Callable[..., TrialJob], tmp_path: Path
) -> None:
    pool.start_trial(0, order("wait", "0"))
    wait_for(lambda: (tmp_path / "begun-0").is_file() and (tmp_path / "begun-0").read_text())
    trial = int((tmp_path / "begun-0").read_text())
    pool.kill_all()
    exited = wait_for_all(pool, 1)[0]
    assert exited.is_lost or exited.code == -signal.SIGINT
    wait_for(lambda: not psutil.pid_exists(trial))


TRAINING = (
    "trainer.max_epochs=null",
    "trainer.max_steps=80",
    "trainer.val_check_steps=40",
    "callbacks.checkpoint.every_steps=10",
    "search.launcher=ray",
)


def has_begun_to_train(root: Path, count: int) -> bool:
    checkpoints = (root / "mlruns" / "checkpoints").glob("*/*.ckpt")
    return len({path.parent for path in checkpoints}) >= count


def test_a_sweep_that_is_interrupted_goes_on_and_ends_once(nodes: RayNodes, tmp_path: Path) -> None:
    words = (*TRAINING, f"search.ray.address={nodes.address}", "seed=1,2,3")
    sweep = sweeping.start(tmp_path, *words)
    wait_for(lambda: has_begun_to_train(tmp_path, 2) or sweep.poll() is not None)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(PATIENCE_SECONDS) == 130, (tmp_path / "said.log").read_text()
    assert [trial.state for trial in sweeping.trials(tmp_path)] == ["waiting"] * 2
    assert {status for _, status, _ in sweeping.runs(tmp_path)} == {"KILLED"}
    sweeping.finish(sweeping.start(tmp_path, *words), tmp_path)
    trials, runs = sweeping.trials(tmp_path), sweeping.runs(tmp_path)
    assert [trial.state for trial in trials] == ["finished"] * 3
    assert sorted(status for _, status, _ in runs) == ["FINISHED"] * 4
    said = (tmp_path / "said.log").read_text()
    assert "ray: 2 nodes with room for 2 trials at a time, 1 core for one" in said
    assert [tags["search.sweep"] for _, _, tags in runs if "search.sweep" in tags] == [
        next(run_id for run_id, _, tags in runs if tags.get("kind") == "search")
    ] * 3
    # both went on where they stood
    logs = (tmp_path / "mlruns" / "sweeps").glob("*/[01].log")
    assert all("resumed at optimizer step" in log.read_text() for log in logs)


def test_a_node_that_dies_takes_no_trial_with_it(nodes: RayNodes, tmp_path: Path) -> None:
    words = (*TRAINING, f"search.ray.address={nodes.address}", "seed=1,2,3")
    sweep = sweeping.start(tmp_path, *words)
    wait_for(lambda: has_begun_to_train(tmp_path, 2) or sweep.poll() is not None)
    nodes.kill_node(nodes.nodes[0])
    nodes.add_node()
    sweeping.finish(sweep, tmp_path)
    said = (tmp_path / "said.log").read_text()
    assert [trial.state for trial in sweeping.trials(tmp_path)] == ["finished"] * 3, said
    assert sorted(status for _, status, _ in sweeping.runs(tmp_path)) == ["FINISHED"] * 4
    [lost] = [trial for trial in sweeping.trials(tmp_path) if "lost_nodes" in trial.attributes]
    assert f"trial {lost.number}: its node was lost" in said
    [log] = (tmp_path / "mlruns" / "sweeps").glob(f"*/{lost.number}.log")
    assert "resumed at optimizer step" in log.read_text()
