"""The loop of a sweep, with trials whose ends are written down beforehand instead of processes."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from src.search.identity import Asked
from src.search.plan import Search
from src.search.rows import Row
from src.search.samplers import Grid
from src.search.slots import Slot
from src.search.space import read
from src.search.study import Storage, Study
from src.search.trial import AGAIN, Trial
from src.search.working import Work, Working, cause, gone, progress
from src.terms.fault import Fault


class Ended(NamedTuple):
    number: int
    code: int


class Live:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, rows: list[Row], steps: Mapping[int, tuple[int, int]], limits: object = ()) -> None:
        pass

    def line(self, text: str) -> None:
        self.lines.append(text)


class Signals:
    received: int | None = None


class Store:
    """Of the store only what the loop asks it for."""

    closed = 0

    def close_vanished(self) -> None:
        self.closed += 1

    def runs(self, where: str) -> list[Any]:
        return []


class Trials:
    launcher = None

    def base(self) -> dict[str, Any]:
        return {"trainer": {"threads": None}}

    def config(self, overrides: list[str]) -> dict[str, Any]:
        if overrides == ["seed=13"]:
            raise Fault("seed=13: unlucky")
        return {"seed": overrides[0], "trainer": {"threads": None}}

    def arguments(self, overrides: list[str]) -> list[str]:
        return overrides

    def launch(self, batch: Any, first: int, folder: Path) -> None:
        raise AssertionError


class Workers:
    """Ends each trial at the next `wait`, as `act` says; a trial for which it returns None goes on."""

    def __init__(self, study: Study, act: Callable[[Study, int], int | None]) -> None:
        self.running: dict[int, int] = {}
        self.orders: list[tuple[int, Mapping[str, Any]]] = []
        self.sent: list[int] = []
        self.most = 0
        self._study, self._act = study, act

    def start(self, number: int, order: Mapping[str, Any]) -> None:
        self.running[number] = 1
        self.orders.append((number, order))
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> list[Ended]:
        ended = [Ended(number, code) for number in self.running if (code := self._act(self._study, number)) is not None]
        for each in ended:
            del self.running[each.number]
        return ended

    def send(self, signum: int, number: int | None = None) -> None:
        self.sent.append(signum)

    def kill(self) -> None:
        self.running.clear()


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Working, Workers, Study, Live]]:
    """A sweep over seeds, and what ends its trials."""

    def make(
        seeds: str,
        act: Callable[[Study, int], int | None],
        *,
        jobs: int = 1,
        signals: Signals | None = None,
        **node: Any,
    ) -> tuple[Working, Workers, Study, Live]:
        space, _ = read([f"seed={seeds}"], {})
        search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, **node)
        asked = Asked([], space.plain(), {"sampler": {}, "pruner": None}, "", lambda *_: {})
        storage = Storage(None, tmp_path)
        storage.create("a" * 32, ["min"], asked.about)
        study = storage.open("a" * 32, space=space, sampler=search.sampler)
        study.prepare(retry_failed=search.retry_failed)
        work = Work(asked, search, space, Trials(), Store(), storage, study, tmp_path)  # type: ignore[arg-type]
        workers, live = Workers(study, act), Live()
        slots = [Slot(environment={"SLOT": str(each)}, threads=2) for each in range(jobs)]
        working = Working(
            work,
            workers=workers,  # type: ignore[arg-type]
            slots=slots,
            live=live,  # type: ignore[arg-type]
            signals=lambda: signals or Signals(),  # type: ignore[arg-type,return-value]
            parent=lambda: None,
        )
        return working, workers, study, live

    return make


def finished(study: Study, number: int) -> int:
    study.tell(number, "finished", [float(number)])
    return 0


def states(study: Study) -> str:
    return " ".join(row.state for row in study.rows())


def test_every_trial_once_and_no_more_at_a_time_than_slots(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("1,2,3,4,5", finished, jobs=2)
    working.run()
    assert states(study) == "finished " * 4 + "finished"
    assert [number for number, _ in workers.orders] == [0, 1, 2, 3, 4] and workers.most == 2
    order = workers.orders[0][1]
    assert order["config"]["trainer"]["threads"] == 2 and order["environment"] == {"SLOT": "0"}
    trial = Trial.decode(order["trial"])
    assert (trial.number, trial.parent, trial.shown, trial.resume) == (0, "a" * 32, ["seed=1"], None)


def test_too_many_failures_end_the_sweep_and_leave_the_rest_waiting(made: Callable[..., Any]) -> None:
    def fails(study: Study, number: int) -> int:
        study.tell(number, "failed", reason="no")
        return 1

    working, _, study, live = made("1,2,3,4,5", fails, max_failures=1)
    working.run()
    assert states(study) == "failed failed waiting waiting waiting" and working.failures == 2
    assert working.reason == "2 trials have failed, more than search.max_failures=1"
    assert live.lines == [f"{working.reason}: no new ones begin"]


def test_a_process_that_ends_without_a_word(made: Callable[..., Any]) -> None:
    working, _, study, _ = made("1,2", lambda study, number: -9 if number == 0 else finished(study, number))
    working.run()
    assert states(study) == "failed finished"
    assert (
        study.row(0).about["reason"].startswith("killed by SIGKILL (the system does so where memory has run out); what")
    )


def test_a_trial_that_was_ended_from_outside_is_not_begun_again_at_once(made: Callable[..., Any]) -> None:
    def released(study: Study, number: int) -> int:
        study.release(number)
        return 143

    working, workers, study, _ = made("choice(1)", released)
    working.run()
    assert states(study) == "failed" and len(workers.orders) == 1
    assert "interrupted from outside" in study.row(0).about["reason"]


def test_out_of_memory_is_tried_again_with_smaller_batches(made: Callable[..., Any]) -> None:
    def short(study: Study, number: int) -> int:
        if study.row(number).about.get("out_of_memory", 0) == 2:
            return finished(study, number)
        study.put(number, out_of_memory=study.row(number).about.get("out_of_memory", 0) + 1)
        study.release(number)
        return AGAIN

    working, workers, study, _ = made("choice(1)", short, on_out_of_memory="halve")
    working.run()
    trials = [Trial.decode(order["trial"]) for _, order in workers.orders]
    assert [each.halvings for each in trials] == [0, 1, 2] and all(each.may_halve for each in trials)
    assert states(study) == "finished" and working.failures == 0


def test_a_config_that_is_refused_fails_its_trial_alone(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("13,14", finished)
    working.run()
    assert states(study) == "failed finished" and study.row(0).about["reason"] == "seed=13: unlucky"
    assert [number for number, _ in workers.orders] == [1]


def test_a_signal_is_passed_on_once_and_no_trial_begins_any_more(made: Callable[..., Any]) -> None:
    signals = Signals()

    def interrupted(study: Study, number: int) -> int | None:
        if signals.received is None:
            signals.received = signal.SIGINT
            return None
        return 130

    working, workers, study, _ = made("1,2", interrupted, signals=signals)
    working.run()
    assert workers.sent == [signal.SIGINT] and states(study) == "waiting waiting" and working.failures == 0


def test_a_second_signal_leaves_nothing_running(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.search.working._LAST_SECONDS", 0.01)

    def again(study: Study, number: int) -> int | None:
        if not workers.sent:
            raise KeyboardInterrupt
        return None

    working, workers, study, _ = made("1,2", again)
    with pytest.raises(KeyboardInterrupt):
        working.run()
    assert states(study) == "waiting waiting" and not workers.running


def test_what_a_process_that_is_gone_had_is_taken_up(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("1,2", finished)
    study.take(_gone_here(), max_trials=None)
    study.put(0, run_id="b" * 32)
    working.run()
    assert states(study) == "finished finished"
    assert Trial.decode(workers.orders[0][1]["trial"]).resume == "b" * 32


def test_a_trial_is_gone_when_all_its_processes_are(made: Callable[..., Any]) -> None:
    from src.tracking.vanished import this_process

    working, _, study, _ = made("choice(1)", finished)
    study.take(_gone_here(), max_trials=None)
    assert gone(working._work, study.row(0))
    study.put(0, worker=this_process())
    assert not gone(working._work, study.row(0))


def test_progress_is_read_where_it_is_written(tmp_path: Path) -> None:
    rows = [Row(0, "running", {}), Row(1, "running", {}), Row(2, "finished", {})]
    for number in (0, 2):
        (tmp_path / f"{number}.progress").write_text("12 60")
    assert progress(tmp_path, rows) == {0: (12, 60)}


def test_causes() -> None:
    assert cause(-15, None) == "killed by SIGTERM"
    assert cause(3, Path("x.log")) == "its process ended with exit code 3; what it said: x.log"


def _gone_here() -> str:
    """A process of this machine that has ended."""
    from src.tracking.vanished import this_process

    words = this_process().split()
    return " ".join([*words[:3], "1", "0.00"])
