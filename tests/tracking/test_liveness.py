"""Runs that died without a word: who is judged dead, by what, and what becomes of one that was
judged too early.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from src.core.processes import get_process_identity, is_process_gone
from src.tracking import liveness
from src.tracking.liveness import (
    VANISHED_REASON,
    Heartbeat,
    check_liveness,
    close_vanished_runs,
    heartbeat_path,
)
from src.tracking.store import Store

RUN = "ab" * 16
HOST, BOOT, SPACE, PID, STARTED = get_process_identity().split()


def process(
    *,
    host: str = HOST,
    boot: str = BOOT,
    space: str = SPACE,
    pid: str = PID,
    started: str = STARTED,
) -> str:
    return " ".join((host, boot, space, pid, started))


def beat(age: float, every: int = 60) -> str:
    return f"{time.time() - age:.0f} every {every} s"


@pytest.fixture(scope="module")
def ended() -> str:
    """A process of this machine that is no more."""
    started = subprocess.Popen([sys.executable, "-c", ""])
    started_at = psutil.Process(started.pid).create_time()
    started.wait()
    return process(pid=str(started.pid), started=f"{started_at:.2f}")


def test_a_process_of_this_machine_is_there_or_not(ended: str, tmp_path: Path) -> None:
    assert check_liveness(
        RUN,
        {"process": process(), "heartbeat": beat(9999)},
        tmp_path,
        # whatever its heart says
    ).is_alive
    assert not check_liveness(RUN, {"process": ended, "heartbeat": beat(0)}, tmp_path).is_alive
    assert not check_liveness(
        RUN,
        {"process": process(started="1.00")},
        tmp_path,
        # its number was given to another
    ).is_alive
    assert (
        is_process_gone(ended)
        and not is_process_gone(process())
        and not is_process_gone(process(host="other", pid="1"))
    )


@pytest.mark.parametrize(
    ("where", "age", "every", "alive"),
    [
        (process(host="other"), 280, 60, True),
        (process(host="other"), 310, 60, False),
        (process(host="other"), 310, 120, True),
        # its clock goes ahead of ours
        (process(host="other"), -4000, 60, True),
        # it gives no signs: nothing is known
        (process(host="other"), None, 60, True),
        # another container here
        (process(space="pid:[1]"), 310, 60, False),
        (process(boot="before"), time.time() - psutil.boot_time() + 3600, 60, False),
        # another machine of the same name
        (process(boot="before"), 0, 60, True),
        ("", None, 60, True),
    ],
    ids=[
        "silent for less than five beats",
        "silent for more",
        "with a longer beat",
        "ahead of our clock",
        "no signs",
        "another container",
        "before this boot",
        "another machine of this name",
        "unknown",
    ],
)
def test_a_process_of_elsewhere_is_judged_by_its_signs_of_life(
    where: str, age: float | None, every: int, alive: bool, tmp_path: Path
) -> None:
    tags = {"process": where} | ({} if age is None else {"heartbeat": beat(age, every)})
    assert check_liveness(RUN, tags, tmp_path).is_alive == alive


def test_where_the_folder_is_shared_its_own_clock_decides(tmp_path: Path) -> None:
    # a clock of its own, or a store that was away
    tags = {"process": process(host="other"), "heartbeat": beat(9999)}
    file = heartbeat_path(tmp_path, RUN)
    file.parent.mkdir()
    file.touch()
    assert check_liveness(RUN, tags, tmp_path).is_alive
    os.utime(file, (time.time() - 400,) * 2)
    assert not check_liveness(RUN, tags, tmp_path).is_alive


def created(store: Store, **tags: str) -> str:
    return str(
        store.open()
        .client.create_run(store.open().experiment_id, tags=tags, run_name="x")
        .info.run_id
    )


def close(store: Store) -> list[str]:
    return close_vanished_runs(store.open().client, store.open().experiment_id, store.runs_folder)


def test_the_dead_are_killed_when_they_were_last_heard_of(
    store: Store, ended: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alive = created(store, process=process(), heartbeat=beat(0))
    dead = created(store, process=process(host="other"), heartbeat=beat(600))
    client = store.open().client
    client.log_metric(dead, "train/loss", 1.0, timestamp=int((time.time() - 590) * 1000), step=7)
    client.update_run(dead, "RUNNING")
    store_clock = client.get_run(dead).info.start_time
    assert close(store) == [dead] and close(store) == []
    found = store.find_run(dead)
    assert (found.status, found.tags["failure.reason"], found.last_step) == (
        "KILLED",
        liveness.KILLED_REASON,
        7,
    )
    assert found.started_at + found.elapsed_seconds * 1000 == pytest.approx(
        store_clock,
        abs=1,
        # never before its start
    )
    assert store.find_run(alive).status == "RUNNING"
    assert f"run {dead} (x) is now KILLED: the process vanished" in capsys.readouterr().out


def test_one_of_several_ranks_is_failed(
    store: Store, ended: str, capsys: pytest.CaptureFixture[str]
) -> None:
    several, one = (created(store, process=ended, ranks=ranks) for ranks in ("2", "1"))
    assert sorted(close(store)) == sorted([several, one])
    found = store.find_run(several)
    assert (found.status, found.tags["failure.reason"]) == (
        "FAILED",
        f"{liveness.KILLED_REASON} (rank 0 of 2)",
    )
    assert store.find_run(one).status == "KILLED"
    assert f"run {several} (x) is now FAILED: the process vanished" in capsys.readouterr().out


def test_the_system_is_blamed_where_it_counted(store: Store, ended: str, tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("oom_kill 4\n")
    run = created(store, process=ended)
    file = heartbeat_path(store.runs_folder, run)
    file.parent.mkdir()
    file.write_text(json.dumps({"kills": [str(events), 3]}))
    close(store)
    assert (
        store.find_run(run).tags["failure.reason"]
        == f"{VANISHED_REASON}: very likely killed by the system because memory had run out"
    )
    assert not file.exists()


def test_who_was_judged_too_early_comes_back(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = created(store, process=process(host="other"), heartbeat=beat(600))
    client = store.open().client
    heart = Heartbeat(
        run_id=run,
        runs_folder=store.runs_folder,
        set_tag=lambda key, value: client.set_tag(run, key, value),
        client=client,
    )
    with heart:
        file = heartbeat_path(store.runs_folder, run)
        assert (
            file.exists()
            and check_liveness(run, store.find_run(run).tags, store.runs_folder).is_alive
        )
        heart.send_heartbeat()
        assert capsys.readouterr().err == ""
        client.set_tag(run, "heartbeat", beat(600))
        os.utime(file, (time.time() - 600,) * 2)
        assert close(store) == [run]
        heart.send_heartbeat()
        back = store.find_run(run)
        assert back.status == "RUNNING" and "failure.reason" not in back.tags and file.exists()
        assert (
            capsys.readouterr().err
            == "tracking: this run was taken for dead; it is RUNNING again\n"
        )
        # by a person, in the UI: stays as it is
        client.set_terminated(run, "KILLED")
        heart.send_heartbeat()
        assert store.find_run(run).status == "KILLED"
    assert not file.exists()


def test_a_heart_beats_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "alive").write_text("a file where a folder should be")
    tags: list[str] = []

    class Away:
        def get_run(self, run_id: str) -> None:
            raise ConnectionError(run_id)

    with Heartbeat(
        run_id=RUN,
        runs_folder=tmp_path,
        set_tag=lambda key, value: tags.append(f"{key}={value}"),
        client=Away(),  # type: ignore[arg-type]
    ) as heart:
        heart.send_heartbeat()
    assert len(tags) == 2 and all(
        line.startswith("heartbeat=") and line.endswith(" every 60 s") for line in tags
    )
