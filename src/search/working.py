"""The loop of a sweep in one process: trials taken, begun, watched, and judged when they have ended."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from src.search.lost import cause, gone, take_back
from src.search.outage import Outage, in_words
from src.search.parent import limits, most_trials, tokens
from src.search.rows import Row
from src.search.trial import AGAIN, UNTOLD, Trial
from src.search.words import several
from src.terms.fault import Fault
from src.tracking.redaction import hidden
from src.tracking.vanished import this_process

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
_MOST_TAKES = 3  # of a trial that something else than this sweep keeps ending
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
        self._outage = Outage(live.line)
        self._ended: list[Ended] = []  # that are not judged yet
        self._looked_at = float("-inf")
        self._stopped = False
        self._vanished: dict[str, str] = {}  # runs that trials have left as RUNNING, and why these have failed
        self.failures = 0
        self.reason: str | None = None  # why no more trials begin, where that is no good end

    def run(self) -> None:
        """Work until nothing is left to do, the budget is used up, too much has failed or a signal has come."""
        try:
            while self._turn():
                self._ended += self._workers.wait(_TABLE_SECONDS)
        except BaseException:
            self._drop()
            raise

    def _turn(self) -> bool:
        """Whether to go on. Trials run also while nobody can be told of them."""
        stopping = self._signals().received
        if stopping is not None:
            self._stop(stopping)
        begins = stopping is None and self.reason is None
        try:
            more = self._attend(begins)
        except Exception as error:
            self._outage.met(error)
            return stopping is None or bool(self._workers.running)
        self._outage.over()
        return more

    def _attend(self, begins: bool) -> bool:
        """Judge what has ended, begin what can be begun, show how it stands; whether there is more to do."""
        while self._ended:
            self._judge(self._ended[0])
            self._free.append(self._slots.pop(self._ended.pop(0).number))
        if self._vanished:
            self._work.store.close_vanished()
            for run_id, reason in self._vanished.items():
                if run_id and reason:
                    self._work.store.fail(run_id, reason)
            self._vanished = {}
        self._look()
        if begins and self.reason is None:
            self._begin()
        rows = self._work.study.rows()
        show(self._work, rows, self._live, self._parent())
        if self._workers.running or not begins or self.reason is not None:
            return bool(self._workers.running)
        return any(row.state == "running" for row in rows) or self._may_begin(rows)

    def _look(self) -> None:
        """Now and then take back what a process that is gone has left, and what could not be begun."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_SECONDS:
            take_back(self._work, lambda row: self._is_adrift(row) or gone(self._work, row))
            self._looked_at = now

    def _is_adrift(self, row: Row) -> bool:
        """Whether a trial was taken here and has no process, since the storage did not answer in the midst of it."""
        return row.about.get("owner") == self._me and row.number not in self._slots

    def _may_begin(self, rows: list[Row]) -> bool:
        work = self._work
        return not spent(work.search, rows, worked(work, self._parent())) and unfinished(work.search, work.space, rows)

    def _begin(self) -> None:
        work = self._work
        while self._free and not spent(work.search, work.study.rows(), worked(work, self._parent())):
            row = work.study.take(self._me, max_trials=most_trials(work.search, work.space))
            if row is None:
                return
            if row.number in self._slots:  # it has released itself, and its process is about to end
                work.study.release(row.number)
                return
            try:
                config = self._config(row, self._free[0])
            except Fault as fault:
                work.study.tell(row.number, "failed", reason=hidden(str(fault)))
                self._count_failure()
                continue
            order = self._order(row, config, self._free[0])
            self._slots[row.number] = self._free.pop(0)
            self._workers.start(row.number, order)

    def _config(self, row: Row, slot: "Slot") -> dict[str, Any]:
        config = self._work.trials.config(self._work.space.overrides(row.params))
        if slot.threads is not None and config["trainer"].get("threads") is None:
            config["trainer"]["threads"] = slot.threads
        return config

    def _order(self, row: Row, config: Mapping[str, Any], slot: "Slot") -> dict[str, Any]:
        work = self._work
        work.study.put(row.number, takes=int(row.about.get("takes", 0)) + 1)
        return {
            "trial": trial_of(work, row).encode(),
            "config": config,
            "arguments": work.trials.arguments(work.space.overrides(row.params)),
            "environment": slot.environment,
            "log": str(work.folder / f"{row.number}.log"),
        }

    def _judge(self, ended: "Ended") -> None:
        """What has become of a trial whose process has ended. Another process may have taken it since."""
        study = self._work.study
        stopping = self._signals().received is not None
        with self._work.storage.lock():
            row = study.row(ended.number)
            mine = row.state == "running" and row.about.get("owner") == self._me
            failed = row.state == "failed"
            if mine and (stopping or ended.code == UNTOLD):
                study.release(ended.number)
                self._vanished.setdefault("", "")
            elif mine:
                reason = cause(ended.code, self._work.folder / f"{ended.number}.log")
                failed = study.tell(ended.number, "failed", reason=reason)
                self._vanished[str(row.about.get("run_id", ""))] = reason
            elif row.state == "waiting" and not stopping and ended.code != AGAIN:
                often = int(row.about.get("takes", 0)) - int(row.about.get("out_of_memory", 0))
                if often >= _MOST_TAKES:  # else it goes on from its checkpoint
                    reason = f"interrupted from outside, {often} times"
                    failed = study.tell(ended.number, "failed", reason=reason)
        if failed:
            self._count_failure()

    def _count_failure(self) -> None:
        self.failures += 1
        most = self._work.search.max_failures
        if self.failures > most and self.reason is None:
            self.reason = f"{several(self.failures, 'failed trial')}, more than search.max_failures={most}"
            self._live.line(f"{self.reason}: no new ones begin")

    def _stop(self, signum: int) -> None:
        """Tell every trial once."""
        self.reason = self.reason or f"stopped by {signal.Signals(signum).name}"
        if not self._stopped:
            self._stopped = True
            self._workers.send(signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)

    def _drop(self) -> None:
        """End everything now, and leave what can go on later in good order."""
        self._workers.send(signal.SIGTERM)  # a second one, for those that were told before: ends without a checkpoint
        until = time.monotonic() + _LAST_SECONDS
        while self._workers.running and time.monotonic() < until:
            self._workers.wait(0.2)
        self._workers.kill()
        try:
            for row in self._work.study.rows():
                if row.state == "running" and row.about.get("owner") == self._me:
                    self._work.study.release(row.number)
            self._work.store.close_vanished()
        except Exception as error:  # what ends the sweep is another error
            self._live.line(f"search: {in_words(error)}; what says that it runs is put right by the next call")


def show(work: Work, rows: list[Row], live: "Live", parent: "Parent | None") -> None:
    """How everything stands: on the terminal, and in the sweep's run where this process owns it."""
    if parent is not None:
        parent.refresh(rows, state="RUNNING")
    drawn = [row for row in rows if row.params or not work.space.keys]  # the others are being asked for
    live.update(drawn, progress(work.folder, rows), limits(work.search, work.space, rows, worked(work, parent)))


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
        owner=str(row.about.get("owner", "")),
        way_on=way_on(work.store, work.study.name, work.search.storage),
    )


def way_on(store: "Store", sweep: str, storage: str | None) -> str:
    """The command that goes on with a sweep."""
    from src.tracking.again import sweep_command

    return sweep_command(sweep, root=store.root, uri=store.uri, storage=storage)


def _shown(key: str, value: object) -> str:
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def _lost_run(work: Work, row: Row) -> str | None:
    """The run of a trial that was killed between the creation of its run and the note of it."""
    if not row.about.get("takes"):
        return None
    found = work.store.runs(f"tags.`search.sweep` = '{work.study.name}' AND tags.`search.trial` = '{row.number}'")
    return found[0].id if found else None


def worked(work: Work, parent: "Parent | None") -> float:
    """Seconds for which the sweep was worked at, in all."""
    return parent.seconds if parent is not None else float(work.study.about.get("seconds", 0))


def spent(search: "Search", rows: Sequence[Row], seconds: float) -> bool:
    """Whether hours or tokens are used up; a budget of trials is kept by the study."""
    return (search.max_hours is not None and seconds >= search.max_hours * 3600) or (
        search.max_tokens is not None and tokens(rows) >= search.max_tokens
    )


def unfinished(search: "Search", space: "Space", rows: Sequence[Row]) -> bool:
    """Whether `Study.take` would give a trial: one that was interrupted, or a new one where budget is left."""
    most = most_trials(search, space)
    begun = sum(not row.replaced and (row.state != "waiting" or row.started_at is not None) for row in rows)
    return most is None or begun < most or any(row.state == "waiting" and row.started_at is not None for row in rows)


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
