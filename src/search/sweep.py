"""A sweep, from its beginning or where it stopped to its end: `python -m src.run -m ...` (docs/search.md).

Its state is in Optuna's storage (src/search/study.py). Its record is a run of kind `search` whose id is its own; trials
are runs nested in that one. Several processes may work on one sweep: the first owns its run, the others help.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from src.search import words
from src.search.identity import Asked, find
from src.search.live import Live, say
from src.search.outage import Outage, in_words
from src.search.parent import Parent, record_of
from src.search.rows import Row
from src.search.standing import census
from src.search.working import Trials, Work, Working, show, spent, unfinished, way_on, worked
from src.terms.fault import Fault
from src.terms.startup import importing
from src.tracking.ending import judge
from src.tracking.redaction import spoken
from src.tracking.vanished import is_gone, pulse, this_process

if TYPE_CHECKING:
    from src.search.plan import Search
    from src.search.slots import Slot
    from src.search.space import Space
    from src.search.study import Storage, Study
    from src.search.workers import Workers
    from src.tracking.ending import Signals
    from src.tracking.lookup import RunInfo
    from src.tracking.record import RunRecord
    from src.tracking.store import Store

_GRACE_SECONDS = 90.0  # after a first signal, for trials to end after their step and write a checkpoint
_LOOK_SECONDS = 5.0  # between two looks whether the process that owns the sweep's run is still there


class Sweep:
    """One call of a sweep.

    Args:
        asked: what was typed, and what it means.
        search: as built.
        node: as composed.
        base: the config of a trial in which nothing of the space is set.
        store: where its runs are kept.
    """

    def __init__(
        self,
        asked: Asked,
        *,
        search: "Search",
        node: Mapping[str, Any],
        space: "Space",
        base: Mapping[str, Any],
        trials: Trials,
        store: "Store",
    ) -> None:
        self._asked = asked
        self._search = search
        self._node = node
        self._space = space
        self._base = base
        self._trials = trials
        self._store = store
        self._record: RunRecord | None = None
        self._parent: Parent | None = None
        self._signals: Signals | None = None
        self._looked_at = 0.0
        self._complained = False

    def run(self) -> int:
        """The exit code: 0, or 1 where a trial has failed. A signal leaves as its exception."""
        from src.search.study import Storage
        from src.search.workers import Workers

        if self._store.offline:
            raise Fault(
                "tracking=offline keeps single runs; a search needs a store (tracking=local, or tracking.uri=...)"
            )
        free = self._slots() if self._local() else []
        with ExitStack() as stack:
            # What a trial needs is imported beside what this process needs.
            workers = stack.enter_context(Workers(warm=self._search.warm)) if free else None
            storage = Storage(self._search.storage, self._store.runs_folder)
            found = find(storage, self._asked)
            if found is not None and (over := self._over(storage, found)) is not None:
                return over
            self._foretell()
            with importing():
                import src.tracking.record  # noqa: F401
            study = self._open(storage, stack)
            work = Work(
                asked=self._asked,
                search=self._search,
                space=self._space,
                trials=self._trials,
                store=self._store,
                storage=storage,
                study=study,
                folder=self._store.runs_folder / "sweeps" / study.name,
            )
            work.folder.mkdir(parents=True, exist_ok=True)
            code = self._work(work, workers, free, stack)
        leaving = self._signals.leaving(None) if self._signals is not None else None
        if leaving is not None:  # where this process owns the sweep's run, that has raised it
            raise leaving
        return code

    def _local(self) -> bool:
        """Whether trials run in processes of this one, and not by a launcher of Hydra's."""
        return self._search.launcher == "local" or (self._search.launcher is None and self._trials.launcher is None)

    def _slots(self) -> "list[Slot]":
        from src.search.slots import slots

        trainer = self._base["trainer"]
        return slots(self._search.jobs, trainer.get("devices", 1), trainer.get("accelerator", "auto"))

    def _work(self, work: Work, workers: "Workers | None", free: "list[Slot]", stack: ExitStack) -> int:
        keys, search = self._space.keys, self._search
        failures, reason = 0, None
        try:
            with Live(search.monitors, search.modes, keys, name=f"sweep {work.study.name[:8]}") as live:
                show(work, work.study.rows(), live, None)
                if workers is not None:
                    working = Working(
                        work,
                        workers=workers,
                        slots=free,
                        live=live,
                        signals=self._received,
                        parent=lambda: self._owner(work, stack),
                    )
                    working.run()
                    show(work, work.study.rows(), live, None)
                    failures, reason = working.failures, working.reason
                else:
                    from src.search.launching import launched

                    self._received().patient = False  # this thread waits inside the launcher
                    failures, reason = launched(work, live, lambda: self._owner(work, stack))
        finally:
            self._end(work, reason)
        return 1 if failures else 0

    def _received(self) -> "Signals":
        assert self._signals is not None
        return self._signals

    def _open(self, storage: "Storage", stack: ExitStack) -> "Study":
        """The sweep's study, made where it is new; the sweep's run, where no living process owns it."""
        with storage.lock():
            name = find(storage, self._asked)  # now that nobody else can begin the same one
            if name is None:
                self._enter(stack, None)
                assert self._record is not None
                name = self._record.run_id
                from src.tracking.surroundings import command

                about = self._asked.about | {"command": command(), "began_at": time.time(), "owner": this_process()}
                storage.create(name, self._search.modes, about)
            study = storage.open(name, space=self._space, sampler=self._search.sampler, pruner=self._search.pruner)
            if self._record is None:
                self._own_or_help(study, stack)
            else:
                self._parent = self._made(study)
        study.prepare(retry_failed=self._search.retry_failed)
        return study

    def _own_or_help(self, study: "Study", stack: ExitStack) -> None:
        """Own the run of an earlier process, or help the living one that does. The storage is locked."""
        info = self._store.find(study.name, key="sweep")
        owner = str(study.about.get("owner", ""))
        if (
            info.status == "RUNNING"
            and owner not in ("", this_process())  # of this one where taking over was cut short
            and not is_gone(owner)
            and pulse(info.id, info.tags, self._store.runs_folder).alive
        ):
            if self._signals is None:
                from src.tracking.ending import Signals

                self._signals = stack.enter_context(Signals())
                self._signals.patient, self._signals.grace_seconds = True, _GRACE_SECONDS
                say(f"sweep {study.name[:8]}: process {owner.split()[3]} of {owner.split()[0]} has it; this one helps")
            return
        if self._record is None:
            self._enter(stack, info)
        study.note("owner", this_process())
        self._parent = self._made(study)

    def _enter(self, stack: ExitStack, info: "RunInfo | None") -> None:
        record = record_of(
            self._store,
            self._asked,
            name=str(self._base.get("name", "run")),
            search=self._node,
            tags=self._base.get("tags"),
            resume=info,
        )
        self._record = stack.enter_context(record)
        self._signals = record.signals
        self._signals.patient, self._signals.grace_seconds = True, _GRACE_SECONDS
        word = "goes on" if info is not None else "begins"
        say(f"sweep {record.run_id} {word}: {spoken(record.name)}")

    def _made(self, study: "Study") -> Parent:
        assert self._record is not None
        return Parent(
            self._record,
            store=self._store,
            study=study,
            search=self._search,
            space=self._space,
            way_on=self._way_on(study.name),
        )

    def _owner(self, work: Work, stack: ExitStack) -> Parent | None:
        """The sweep's run where this process owns it; taken over where the process that had it is gone.

        A process that is about to end takes nothing over. One that cannot helps on, and tries again.
        """
        now = time.monotonic()
        if self._parent is not None or self._received().received is not None or now - self._looked_at <= _LOOK_SECONDS:
            return self._parent
        self._looked_at = now
        owner = str(work.study.about.get("owner", ""))
        if not owner or owner == this_process() or is_gone(owner):
            try:
                with work.storage.lock():
                    self._store.close_vanished()
                    self._own_or_help(work.study, stack)
            except Exception as error:
                if not self._complained:
                    say(f"search: the sweep's run cannot be taken over now ({in_words(error)})", aside=True)
                self._complained = True
        return self._parent

    def _end(self, work: Work, reason: str | None) -> None:
        """The last words of this process; whatever it ends by, a storage that does not answer is not the reason."""
        error = sys.exc_info()[1]
        if error is None and self._received().received is None:
            Outage(lambda line: say(line, aside=True)).insist(lambda: self._say_last(work, reason, None))
            return
        try:
            self._say_last(work, reason, error)
        except Exception as another:
            say(f"search: the sweep's last words are lost ({in_words(another)})", aside=True)

    def _say_last(self, work: Work, reason: str | None, error: BaseException | None) -> None:
        """On the terminal, and in the sweep's run where this process is its owner."""
        received = self._received().received
        rows = work.study.rows()
        if error is None and reason is None and rows and all(row.state == "failed" for row in rows):
            reason = "every trial has failed"
        if self._parent is not None and self._record is not None:
            if received is not None:
                reason = judge(self._received().leaving(None)).reason
                self._record.outcome("KILLED", reason=str(reason))
            elif error is None and reason is not None:
                self._record.outcome("FAILED", reason=reason)
        left = unfinished(self._search, self._space, rows) or any(row.state == "running" for row in rows)
        over = error is None and received is None and reason is None
        state: str = "FINISHED" if over else judge(error).status if error is not None else "FAILED"
        state = "KILLED" if received is not None else state
        if self._parent is None:  # another process has the sweep, whatever has become of this one
            state = "RUNNING" if left else "FINISHED"
        else:
            self._parent.refresh(rows, state=state, reason=reason, last=True)
            work.study.note("owner", "")
        say(self.summary(work.study, rows, state))
        used_up = self._used_up(rows, worked(work, self._parent))
        if left and over and used_up:
            say(f"{used_up}; more of it goes on: {self._way_on(work.study.name)}")
        elif left and not over:
            say(f"go on: {self._way_on(work.study.name)}", aside=True)
        if failed := sum(row.state == "failed" and not row.replaced for row in rows):
            again = f"{self._way_on(work.study.name)} search.retry_failed=true"
            say(f"{words.several(failed, 'failed trial')}; once more: {again}", aside=True)

    def _used_up(self, rows: list[Row], seconds: float) -> str:
        """Which budget of time or tokens ends the sweep; nothing where none does."""
        if not spent(self._search, rows, seconds):
            return ""
        if self._search.max_hours is not None and seconds >= self._search.max_hours * 3600:
            return f"search.max_hours={self._search.max_hours:g} is used up"
        return f"search.max_tokens={self._search.max_tokens} is used up"

    def summary(self, study: "Study", rows: list[Row], state: str) -> str:
        """One line: how many trials of each kind, the best, how to look."""
        told = census(rows)
        look = f"see: make ui ({self._store.session().link(study.name)})"
        return "; ".join(filter(None, (f"sweep {study.name} {state}  {told}", self._best(study), look)))

    def _best(self, study: "Study") -> str:
        found = study.best()
        if not found:
            return ""
        if len(found) > 1:
            return f"on the front: trials {', '.join(str(row.number) for row in found)}"
        row = found[0]
        named = zip(self._search.monitors, row.values or (), strict=False)
        values = "  ".join(f"{key} {words.number(value)}" for key, value in named)
        run = str(row.about.get("run_id", ""))[:8]
        return f"best: trial {row.number}, {values} ({words.setting(row.params)}), run {run}"

    def _foretell(self) -> None:
        """What can be said before the libraries are there, which takes seconds."""
        from src.search.parent import most_trials

        most = most_trials(self._search, self._space)
        count = words.several(most, "trial") if most is not None else "trials"
        kept = self._base.get("callbacks", {}).get("checkpoint") or {}
        say(f"{count} of {', '.join(self._space.keys)} ({self._search.sampler.name}); starting", aside=True)
        first = self._search.monitors[0]
        if kept.get("keep") and kept.get("monitor") not in (None, first):
            say(
                f"note: trials compare by {first} at the validation whose checkpoint is best by {kept['monitor']} "
                f"(callbacks.checkpoint.monitor), and are pruned by {first} as it comes",
                aside=True,
            )

    def _over(self, storage: "Storage", name: str) -> int | None:
        """The exit code where nothing is left to do, which is then said; else None."""
        study = storage.open(name, space=self._space, sampler=self._search.sampler, pruner=self._search.pruner)
        rows = study.rows()
        failed = [row.number for row in rows if row.state == "failed" and not row.replaced]
        used_up = spent(self._search, rows, float(study.about.get("seconds", 0)))
        left = unfinished(self._search, self._space, rows) and not used_up
        if left or any(row.state == "running" for row in rows) or (failed and self._search.retry_failed):
            return None
        say(self.summary(study, rows, "is over:"))
        again = f"search.retry_failed=true runs the {len(failed)} that failed again, " if failed else ""
        limit = "search.max_hours or search.max_tokens" if used_up else "search.max_trials"
        more = f"a higher {limit} goes on, " if used_up or self._search.sampler.draws else ""
        say(f"the same command has been run to its end: {again}{more}sweep=new begins another")
        return 1 if failed else 0

    def _way_on(self, sweep: str) -> str:
        return way_on(self._store, sweep, self._search.storage)
