"""Several processes on one study, and processes that end in the midst of it."""

import multiprocessing
import os
import signal
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from src.search.samplers import TPE, Grid, Random
from src.search.space import SearchSpace, parse_space
from src.search.sweep_study import SweepStorage, SweepStudy
from src.search.trials import TrialRecord

# nothing of an open storage is inherited; imports are paid once
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(
    [
        "src.search.storage",
        "src.search.optuna_algorithms",
        "optuna.samplers._tpe.sampler",
    ]
)
FAST = TPE(startup_trials=3)


def _space(sampler: Any) -> SearchSpace:
    if isinstance(sampler, Grid):
        return parse_space(["a.b=range(0,8)", "c.d=range(0,5)"], {})[0]
    return parse_space(["a.b=interval(0,1)", "c.d=0,1,2"], {})[0]


def _open(folder: Path, sampler: Any) -> SweepStudy:
    storage = SweepStorage(None, folder)
    storage.create_study("sweep", ["min"], {})
    return storage.open_study("sweep", space=_space(sampler), sampler=sampler)


def _value(row: TrialRecord) -> float:
    return abs(float(row.params["a.b"]) - 0.4) + 0.1 * float(row.params["c.d"])


def _work(folder: Path, sampler: Any, most: int, ready: Any, results: Any) -> None:
    """Take trials and end them until there are none."""
    ready.wait()
    study = _open(folder, sampler)
    mine = []
    while (row := study.claim_trial(str(os.getpid()), max_trials=most)) is not None:
        study.report_value(row.number, 1, _value(row))
        if study.end_trial(row.number, "finished", [_value(row)], by=os.getpid()):
            mine.append(row.number)
    results.put(mine)


@pytest.mark.parametrize("sampler", [Grid(), FAST], ids=["grid", "tpe"])
def test_four_processes_take_and_end_each_of_forty_trials_once(
    tmp_path: Path, sampler: Any
) -> None:
    ready, results = FRESH.Barrier(4), FRESH.Queue()
    workers = [
        FRESH.Process(target=_work, args=(tmp_path, sampler, 40, ready, results)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    ended = [number for _ in workers for number in results.get(timeout=120)]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert Counter(ended) == Counter(range(40))
    rows = _open(tmp_path, sampler).load_trials()
    assert [row.number for row in rows] == list(range(40))
    assert sorted(row.attributes["point"] for row in rows) == list(range(40))
    assert all(
        row.state == "finished" and row.intermediate_values == {1: _value(row)} for row in rows
    )
    if isinstance(sampler, Grid):
        assert len({tuple(row.params.values()) for row in rows}) == 40


def _hold(folder: Path, sampler: Any, said: Connection) -> None:
    """Take a trial, say which, and go no further."""
    row = _open(folder, sampler).claim_trial("gone", max_trials=None)
    assert row is not None
    said.send(row.number)
    signal.pause()


@pytest.mark.parametrize("sampler", [Random(), FAST], ids=["random", "tpe"])
def test_a_kill_between_take_and_tell_changes_no_trial(tmp_path: Path, sampler: Any) -> None:
    killed = _open(tmp_path / "killed", sampler)
    _finish(killed, 4)
    here, there = FRESH.Pipe()
    holder = FRESH.Process(target=_hold, args=(tmp_path / "killed", sampler, there))
    holder.start()
    assert here.poll(60) and here.recv() == 4
    holder.kill()
    holder.join()
    assert killed.release_running_trials(lambda row: row.attributes["owner"] == "gone") == [4]
    _finish(killed, 8)
    assert _told(killed) == _undisturbed(tmp_path, sampler)


@pytest.mark.parametrize("written", [0, 1])
@pytest.mark.parametrize("together", [True, False])
def test_a_kill_in_the_midst_of_asking_changes_no_trial(
    tmp_path: Path, together: bool, written: int
) -> None:
    sampler = TPE(startup_trials=3, multivariate=together)
    killed = _open(tmp_path / "killed", sampler)
    _finish(killed, 5)
    _interrupt_asking(killed, written)
    row = killed.load_trial(5)
    assert (row.state, len(row.params)) == ("running", written)
    assert killed.release_running_trials(lambda row: row.attributes["owner"] == "gone") == [5]
    assert len(killed.load_trial(5).params) == 2
    _finish(killed, 8)
    assert _told(killed) == _undisturbed(tmp_path, sampler)


def _interrupt_asking(study: SweepStudy, written: int) -> None:
    """Take a trial, whose process ends when so many of its parameters are written down."""
    storage = study._storage.optuna_storage
    write, left = storage.set_trial_param, iter(range(written))

    def until_killed(*arguments: Any) -> None:
        if next(left, None) is None:
            raise InterruptedError
        write(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "set_trial_param", until_killed)
        with pytest.raises(InterruptedError):
            study.claim_trial("gone", max_trials=None)


def test_what_has_ended_is_read_once_and_still_told_whole(tmp_path: Path) -> None:
    study, other = (_open(tmp_path, Random()) for _ in range(2))
    _finish(other, 2)
    failed = study.claim_trial("me", max_trials=None)
    assert failed is not None and study.end_trial(failed.number, "failed", reason="no")
    assert study.load_trials() == other.load_trials()
    other.requeue_failed_trials()
    _finish(other, 3)
    fresh = _open(tmp_path, Random()).load_trials()
    assert study.load_trials() == fresh == study.load_trials()
    assert [row.state for row in fresh] == ["finished", "finished", "failed", "finished"] and fresh[
        2
    ].is_replaced


def test_only_the_process_for_which_a_trial_was_taken_works_at_it_and_lets_go_of_it(
    tmp_path: Path,
) -> None:
    study = _open(tmp_path, Random())
    row = study.claim_trial("me", max_trials=None)
    assert row is not None
    assert not study.register_worker(row.number, owner="another", worker="w1")
    assert (
        study.register_worker(row.number, owner="me", worker="w1")
        and study.load_trial(row.number).attributes["worker"] == "w1"
    )
    assert (
        not study.release_trial(row.number, worker="w2")
        and study.load_trial(row.number).state == "running"
    )
    assert study.release_trial(row.number, worker="w1")
    assert not study.register_worker(row.number, owner="me", worker="w1")


def _finish(study: SweepStudy, most: int) -> None:
    while (row := study.claim_trial("me", max_trials=most)) is not None:
        assert study.end_trial(row.number, "finished", [_value(row)])


def _told(study: SweepStudy) -> list[tuple[int, dict[str, Any], tuple[float, ...] | None]]:
    return [(row.number, row.params, row.values) for row in study.load_trials()]


def _undisturbed(
    folder: Path, sampler: Any
) -> list[tuple[int, dict[str, Any], tuple[float, ...] | None]]:
    study = _open(folder / "undisturbed", sampler)
    _finish(study, 8)
    return _told(study)
