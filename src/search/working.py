"""The loop of a sweep in one process: trials taken, begun, watched, and judged when they have ended."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from src.search.parent import limits, most_trials, tokens
from src.search.rows import Row
from src.search.trial import AGAIN, Trial
from src.terms.fault import Fault
from src.tracking.vanished import is_gone, this_process

if TYPE_CHECKING:
    from src.search.identity import Asked
    from src.search.live import Live
    from src.search.parent import Parent
    from src.search.plan import Search
    from src.search.slots import Slot
    from src.search.space import Space
    from src.search.study import Storage, Study
    from src.search.workers import Ended, Workers
    from src.tracking.ending import Signals
    from src.tracking.store import Store

_MOST_HALVINGS = 4
_LOOK_SECONDS = 5.0  # between two looks at what other processes do
_TABLE_SECONDS = 0.5
_LAST_SECONDS = 5.0  # for trials to end after a second Ctrl-C


class Trials(Protocol):
    """How configs are made of overrides (src/config/multirun.py)."""

    @property
    def launcher(self) -> str | None: ...
    def base(self) -> dict[str, Any]: ...
    def config(self, overrides: list[str]) -> dict[str, Any]: ...
    def arguments(self, overrides: list[str]) -> list[str]: ...
    def launch(self, batch: Sequence[tuple[Sequence[str], Mapping[str, str]]], first: int, folder: Path) -> None: ...


class Work(NamedTuple):
    """What the processes of one sweep work with."""

    asked: "Asked"
    search: "Search"
    space: "Space"
    trials: Trials
    store: "Store"
    storage: "Storage"
    study: "Study"
    folder: Path  # of the sweep's files: logs and progress of its trials


class Working:
    """One process's share of a sweep.

    Args:
        work: the sweep.
        workers: entered.
        slots: what each trial gets of the machine; as many run at a time.
        live: entered.
        signals: entered; a first signal is only noted.
        parent: gives the sweep's run where this process owns it; asked now and then, since an owner may vanish.
    """

    def __init__(
        self,
        work: Work,
        *,
        workers: "Workers",
        slots: "list[Slot]",
        live: "Live",
        signals: "Callable[[], Signals]",
        parent: "Callable[[], Parent | None]",
    ) -> None:
        self._work = work
        self._workers = workers
        self._free = list(slots)
        self._slots: dict[int, Slot] = {}
        self._live = live
        self._signals = signals
        self._parent = parent
        self._me = this_process()
        self._looked_at = 0.0
        self.failures = 0
        self.reason: str | None = None  # why no more trials begin, where that is no good end

    def run(self) -> None:
        """Work until nothing is left to do, the budget is used up, too much has failed or a signal has come."""
        try:
            self._look()  # what a process that is gone has left comes first
            while self._turn():
                pass
        except BaseException:
            self._drop()
            raise

    def _turn(self) -> bool:
        stopping = self._signals().received
        if stopping is None and self.reason is None:
            self._begin()
        elif stopping is not None:
            self._stop(stopping)
        rows = self._look()
        others = [row for row in rows if row.state == "running" and row.number not in self._workers.running]
        if not self._workers.running and (stopping is not None or self.reason is not None or not others):
            return stopping is None and self.reason is None and self._may_begin(rows)
        for ended in self._workers.wait(_TABLE_SECONDS):
            self._judge(ended)
        return True

    def _look(self) -> list[Row]:
        """Show how everything stands; now and then take back what a process that is gone has left."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            self._work.study.release_gone(lambda row: gone(self._work, row))
        rows = self._work.study.rows()
        show(self._work, rows, self._live, self._parent())
        return rows

    def _may_begin(self, rows: list[Row]) -> bool:
        return not spent(self._work, rows, self._parent()) and unfinished(self._work, rows)

    def _begin(self) -> None:
        work = self._work
        while self._free and not spent(work, work.study.rows(), self._parent()):
            row = work.study.take(self._me, max_trials=most_trials(work.search, work.space))
            if row is None:
                return
            try:
                order = self._order(row, self._free[0])
            except Fault as fault:
                work.study.tell(row.number, "failed", reason=str(fault))
                self._count_failure()
                continue
            self._workers.start(row.number, order)
            self._slots[row.number] = self._free.pop(0)

    def _order(self, row: Row, slot: "Slot") -> dict[str, Any]:
        work = self._work
        overrides = work.space.overrides(row.params)
        config = work.trials.config(overrides)
        if slot.threads is not None and config["trainer"].get("threads") is None:
            config["trainer"]["threads"] = slot.threads
        work.study.put(row.number, takes=int(row.about.get("takes", 0)) + 1)
        return {
            "trial": trial_of(work, row).encode(),
            "config": config,
            "arguments": work.trials.arguments(overrides),
            "environment": slot.environment,
            "log": str(work.folder / f"{row.number}.log"),
        }

    def _judge(self, ended: "Ended") -> None:
        """What has become of a trial whose process has ended."""
        study = self._work.study
        self._free.append(self._slots.pop(ended.number))
        row = study.row(ended.number)
        stopping = self._signals().received is not None
        if row.state == "failed":
            self._count_failure()
        elif row.state == "running" and stopping:
            study.release(ended.number)
        elif row.state == "running":
            study.tell(ended.number, "failed", reason=cause(ended.code, self._work.folder / f"{ended.number}.log"))
            self._count_failure()
            self._work.store.close_vanished()
        elif row.state == "waiting" and not stopping and ended.code != AGAIN:
            study.tell(ended.number, "failed", reason=f"interrupted from outside ({cause(ended.code, None)})")
            self._count_failure()

    def _count_failure(self) -> None:
        self.failures += 1
        most = self._work.search.max_failures
        if self.failures > most and self.reason is None:
            self.reason = f"{self.failures} trials have failed, more than search.max_failures={most}"
            self._live.line(f"{self.reason}: no new ones begin")

    def _stop(self, signum: int) -> None:
        """Tell every trial once."""
        if self.reason is None:
            self.reason = f"stopped by {signal.Signals(signum).name}"
            self._workers.send(signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)

    def _drop(self) -> None:
        """End everything now, and leave what can go on later in good order."""
        mine = list(self._workers.running)
        self._workers.send(signal.SIGTERM)  # a second one, for those that were told before: ends without a checkpoint
        until = time.monotonic() + _LAST_SECONDS
        while self._workers.running and time.monotonic() < until:
            self._workers.wait(0.2)
        self._workers.kill()
        for number in mine:
            if self._work.study.row(number).state == "running":
                self._work.study.release(number)
        self._work.store.close_vanished()


def show(work: Work, rows: list[Row], live: "Live", parent: "Parent | None") -> None:
    """How everything stands: on the terminal, and in the sweep's run where this process owns it."""
    if parent is not None:
        parent.refresh(rows, state="RUNNING")
    seconds = parent.seconds if parent is not None else float(work.study.about.get("seconds", 0))
    drawn = [row for row in rows if row.params or not work.space.keys]  # the others are being asked for
    live.update(drawn, progress(work.folder, rows), limits(work.search, work.space, rows, seconds))


def trial_of(work: Work, row: Row) -> Trial:
    """What the process of a trial must know of it."""
    halvings = int(row.about.get("out_of_memory", 0))
    return Trial(
        address=work.storage.address,
        folder=str(work.folder),
        study=work.study.name,
        number=row.number,
        parent=work.study.name,
        monitors=work.search.monitors,
        modes=work.search.modes,
        pruner=work.asked.search.get("pruner"),
        shown=[_shown(key, value) for key, value in row.params.items()],
        resume=row.about.get("run_id") or _lost_run(work, row),
        halvings=halvings,
        may_halve=work.search.on_out_of_memory == "halve" and halvings < _MOST_HALVINGS,
    )


def _shown(key: str, value: object) -> str:
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def _lost_run(work: Work, row: Row) -> str | None:
    """The run of a trial that was killed between the creation of its run and the note of it."""
    if not row.about.get("takes"):
        return None
    found = work.store.runs(f"tags.`search.sweep` = '{work.study.name}' AND tags.`search.trial` = '{row.number}'")
    return found[0].id if found else None


def spent(work: Work, rows: list[Row], parent: "Parent | None") -> bool:
    """Whether hours or tokens are used up; a budget of trials is kept by the study."""
    search = work.search
    seconds = parent.seconds if parent is not None else float(work.study.about.get("seconds", 0))
    return (search.max_hours is not None and seconds >= search.max_hours * 3600) or (
        search.max_tokens is not None and tokens(rows) >= search.max_tokens
    )


def unfinished(work: Work, rows: list[Row]) -> bool:
    """Whether there are trials left to begin."""
    counting = [row for row in rows if not row.replaced]
    most = most_trials(work.search, work.space)
    return any(row.state == "waiting" for row in counting) or most is None or len(counting) < most


def gone(work: Work, row: Row) -> bool:
    """Whether nobody works at a running trial any more."""
    processes = [str(row.about.get(name) or "") for name in ("owner", "worker")]
    known = [each for each in processes if each]
    if all(is_gone(each) for each in known):
        return True
    if any(not _elsewhere(each) and not is_gone(each) for each in known):
        return False
    run_id = row.about.get("run_id")  # on another machine; its run is KILLED when it has given no sign of life for long
    if not run_id:
        return row.started_at is not None and time.time() - row.started_at > 900
    run = work.store.find(str(run_id))
    return run.status != "RUNNING" and run.ended_at is not None and time.time() - run.ended_at / 1000 > 120


def _elsewhere(process: str) -> bool:
    return process.split()[:1] != this_process().split()[:1]


def cause(code: int, log: Path | None) -> str:
    """Why a process has ended that has not said so itself."""
    if code == -signal.SIGKILL:
        words = "killed by SIGKILL (the system does so where memory has run out)"
    elif code < 0:
        words = f"killed by {signal.Signals(-code).name}"
    else:
        words = f"its process ended with exit code {code}"
    return words if log is None else f"{words}; what it said: {log}"


def progress(folder: Path, rows: list[Row]) -> dict[int, tuple[int, int]]:
    """Of running trials the optimizer step and the last one, as they write it down about once a second."""
    found = {}
    for row in rows:
        if row.state == "running":
            try:
                step, total = (folder / f"{row.number}.progress").read_text().split()
                found[row.number] = int(step), int(total)
            except (OSError, ValueError):
                continue  # it has not begun to train
    return found
