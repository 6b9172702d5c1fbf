"""A sweep's study: the only door to Optuna's storage. What a trial is, who has it, and what came of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.search.rows import Row
from src.terms.fault import Fault, suggestion
from src.tracking.redaction import hidden

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from src.search.reading import Census
    from src.search.space import Space

_ENDS = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
_AT_ONCE = 100  # points of a grid that are made while others wait: about a second
_DIRECTIONS = {"min": "MINIMIZE", "max": "MAXIMIZE"}


class Storage:
    """The database of all searches.

    Args:
        address: as SQLAlchemy writes it; None: a SQLite file `search.db` in the folder.
        folder: where that file lies.
        must_exist: a database that is missing is a mistake, not made.
    """

    def __init__(self, address: str | None, folder: Path, *, must_exist: bool = False) -> None:
        from optuna.storages import get_storage

        from src.search.database import opened

        file = f"sqlite:///{folder.absolute() / 'search.db'}"
        self.rdb, self._lock, self.address = opened(file if address is None else address, must_exist=must_exist)
        self.cached = get_storage(self.rdb)  # keeps finished trials, which never change, for samplers and pruners

    def lock(self) -> AbstractContextManager[None]:
        """Exclusive among all processes that use the storage; a thread may take it again."""
        return self._lock.held()

    def close(self) -> None:
        """Give the connections back."""
        self.rdb.engine.dispose()

    def studies(self) -> list[tuple[str, dict[str, Any]]]:
        """Names, and what was noted of each, newest first."""
        found = sorted(self.rdb.get_all_studies(), key=lambda each: -each._study_id)
        return [(each.study_name, _noted(each.user_attrs)) for each in found if "about" in each.user_attrs]

    def create(self, name: str, modes: Sequence[str], about: Mapping[str, Any]) -> None:
        """Add a study; nothing changes where it is there. One whose making was cut short is not listed, and mended."""
        from optuna.study import StudyDirection

        with self.lock():
            known = {each.study_name: each for each in self.rdb.get_all_studies()}
            if name not in known:
                study = self.rdb.create_new_study([StudyDirection[_DIRECTIONS[mode]] for mode in modes], name)
            elif "about" not in known[name].user_attrs:
                study = known[name]._study_id
            else:
                return
            self.rdb.set_study_user_attr(study, "about", dict(about))

    def open(self, name: str, *, space: "Space | None" = None, sampler: Any = None, pruner: Any = None) -> "Study":
        """A study by its name; the space and the sampler are for who makes trials, the pruner for who judges them."""
        return Study(self, name, space, sampler, pruner)


class Study:
    """One sweep as the storage knows it; `Storage.open` gives it."""

    def __init__(self, storage: Storage, name: str, space: "Space | None", sampler: Any, pruner: Any) -> None:
        from src.search.judging import Judge

        self.name = name
        self._storage, self._rdb = storage, storage.rdb
        self._space, self._sampler = space, sampler
        try:
            self._id = self._rdb.get_study_id_from_name(name)
        except KeyError:
            names = [each for each, _ in storage.studies()]
            place = hidden(storage.address)
            raise Fault(f"there is no sweep {name} in {place}; {suggestion(name, names)}") from None
        self.modes = ["min" if each.name == "MINIMIZE" else "max" for each in self._rdb.get_study_directions(self._id)]
        if pruner is not None and len(self.modes) > 1:
            raise Fault(
                f"search.pruner: {pruner.name} judges by one metric, and search.monitor names {len(self.modes)}; "
                "expected search.pruner=null, or one metric"
            )
        self._judge = Judge(storage.cached, name, pruner)
        self._keys: dict[int, int] = {}  # a trial's key in the storage by its number
        self._reported: set[int] = set()
        self._ended: dict[int, Row] = {}  # trials that have ended never change; reading a thousand takes 0.2 s

    @property
    def about(self) -> dict[str, Any]:
        """What was noted of the sweep, by whomever."""
        return _noted(self._rdb.get_study_user_attrs(self._id))

    def note(self, key: str, value: Any) -> None:
        """Keep a JSON value with the sweep."""
        self._rdb.set_study_user_attr(self._id, key, value)

    def prepare(self, *, retry_failed: bool) -> None:
        """Make the points of a grid that are missing and, where asked, a new trial for each failed one."""
        space, sampler = self._plan()
        more = sampler.name == "grid"
        while more:  # in parts, so that others who want the lock have it in between
            with self._storage.lock():
                there = self._census().points
                for index in range(there, end := min(there + _AT_ONCE, space.size or 0)):
                    self._add(sampler.point(space, index), "WAITING", point=index, complete=True)
            more = end < (space.size or 0)
        if retry_failed:
            with self._storage.lock():
                for row in self.rows():
                    if row.state == "failed" and not row.replaced:
                        point = row.about.get("point")
                        self._add(row.params, "WAITING", point=point, complete=True, retry_of=row.number)

    def take(self, owner: str, *, max_trials: int | None) -> Row | None:
        """Claim the lowest waiting trial, or make one, as long as fewer than `max_trials` were ever begun.

        A trial that was interrupted has begun already and is always to be had; a failed one and its repetition count
        as one. None: there is nothing left to begin.

        Args:
            owner: the process that answers for the trial, as `src.tracking.vanished.this_process` names it.
        """
        space, sampler = self._plan()
        with self._storage.lock():
            now = self._census()
            more = max_trials is None or now.begun < max_trials
            waiting = [each for each in (now.left, now.fresh if more else None) if each is not None]
            if waiting:
                return self._claim(min(waiting), owner)
            if not more or (sampler.name == "grid" and now.points >= (space.size or 0)):
                return None
            if sampler.learns:  # it answers only for a trial that is there: one that is complete a moment later
                number = self._numbered(self._add({}, "RUNNING", owner=owner, point=now.points))
                self._complete(number)
                return self.row(number)
            params = sampler.point(space, now.points)
            return self.row(self._numbered(self._add(params, "RUNNING", owner=owner, point=now.points, complete=True)))

    def rows(self) -> list[Row]:
        """All trials by number."""
        from src.search.reading import rows_of

        rows = rows_of(self._rdb, self._id, known=self._ended)
        self._ended = {row.number: row for row in rows if row.state in _ENDS}
        return rows

    def row(self, number: int) -> Row:
        from src.search.reading import rows_of

        return rows_of(self._rdb, self._id, number)[0]

    def put(self, number: int, **about: Any) -> bool:
        """Write JSON values down with a trial; False where it has ended already: then nothing changes."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for key, value in about.items():
                self._rdb.set_trial_user_attr(self._key(number), key, value)
        except UpdateFinishedTrialError:
            return False
        return True

    def report(self, number: int, validation: int, value: float) -> bool:
        """The first metric at a validation (1, 2, ...); False where the trial has ended already.

        A trial that goes on from before its newest reports, or from its beginning, makes those after its first new one
        forgotten: to a pruner they would be the newest.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        from src.search.reading import forget_reports_after

        try:
            self._rdb.set_trial_intermediate_value(self._key(number), validation, float(value))
        except UpdateFinishedTrialError:
            return False
        if number not in self._reported:
            forget_reports_after(self._rdb, self._key(number), validation)
            self._reported.add(number)
        return True

    def enter(self, number: int, *, owner: str, worker: str) -> bool:
        """Begin to work at a trial that `owner` took, as the process `worker`; False where it is another's by now."""
        with self._storage.lock():
            row = self.row(number)
            ours = row.state == "running" and row.about.get("owner") == owner
            return ours and self.put(number, worker=worker)

    def prunes(self, number: int) -> bool:
        """Whether the pruner ends a running trial after its newest report."""
        return self._judge.prunes(self._key(number))

    def tell(
        self,
        number: int,
        state: Literal["finished", "pruned", "failed"],
        values: Sequence[float] | None = None,
        **about: Any,
    ) -> bool:
        """End a trial; False where it has ended already: then nothing changes.

        A finished trial has a finite value of every metric; where one is not finite, the trial has failed and says so.
        """
        from optuna.trial import TrialState

        if (state == "finished") != (values is not None) or len(values or self.modes) != len(self.modes):
            raise ValueError(f"a {state} trial of {len(self.modes)} metrics cannot end with the values {values}")
        if state == "pruned" and len(self.modes) > 1:
            raise ValueError("a trial of several metrics cannot be pruned: no one of them decides")
        if values is not None and not all(map(math.isfinite, values)):
            found = ", ".join(f"{value:g}" for value in values)
            state, values, about = (
                "failed",
                None,
                about | {"reason": f"expected finite values at its end, found {found}"},
            )
        with self._storage.lock():
            trial = self._rdb.get_trial(self._key(number))
            if trial.state.is_finished():
                return False
            if state == "pruned" and trial.last_step is not None:
                last = trial.intermediate_values[trial.last_step]
                values = [last] if math.isfinite(last) else None
            self.put(number, **about)
            return self._rdb.set_trial_state_values(
                self._key(number), TrialState[_ENDS[state]], None if values is None else [*map(float, values)]
            )

    def release(self, number: int, *, worker: str | None = None) -> bool:
        """Let an interrupted trial wait for whoever takes it next; False where it was not running.

        Args:
            worker: the process that lets go of it: nothing changes where another one works at it by now.
        """
        from optuna.trial import TrialState

        with self._storage.lock():
            row = self.row(number)
            if row.state != "running" or (worker is not None and row.about.get("worker", worker) != worker):
                return False
            if "complete" not in row.about:
                self._complete(number)
            self._rdb.set_trial_state_values(self._key(number), TrialState.WAITING)
            return self.put(number, owner="", worker="")

    def release_gone(self, gone: Callable[[Row], bool]) -> list[int]:
        """Release every running trial of which `gone` says that its processes are."""
        with self._storage.lock():
            return [
                row.number for row in self.rows() if row.state == "running" and gone(row) and self.release(row.number)
            ]

    def best(self) -> list[Row]:
        """Of one metric the best finished trial, the earliest of equals; of several the Pareto front, by number."""
        finished = [(row, self._losses(row)) for row in self.rows() if row.state == "finished"]
        if len(self.modes) == 1:
            return [min(finished, key=lambda each: each[1])[0]] if finished else []
        return [row for row, losses in finished if not any(_dominates(other, losses) for _, other in finished)]

    def importance(self) -> dict[str, float]:
        """The share of each key in what decides the first metric, the greatest first; {} where it cannot be told."""
        return self._judge.importance()

    def _plan(self) -> tuple["Space", Any]:
        if self._space is None or self._sampler is None:
            raise ValueError("a study that makes trials is opened with a space and a sampler")
        return self._space, self._sampler

    def _census(self) -> "Census":
        from src.search.reading import census

        return census(self._rdb, self._id)

    def _add(self, params: Mapping[str, Any], state: Literal["WAITING", "RUNNING"], **about: Any) -> int:
        """A new trial, in one transaction; its key in the storage."""
        from optuna.trial import TrialState, create_trial

        template = create_trial(
            state=TrialState[state],
            params=dict(params),
            distributions={key: self._distributions[key] for key in params},
            user_attrs={key: value for key, value in about.items() if value is not None},
        )
        return self._storage.cached.create_new_trial(self._id, template)

    def _complete(self, number: int) -> None:
        """Give a trial of a learning sampler its parameters: the same whenever it is done, as long as no trial ends."""
        self._judge.ask(self._key(number), self._plan()[1], self._distributions)
        self.put(number, complete=True)

    @cached_property
    def _distributions(self) -> "dict[str, BaseDistribution]":
        from src.search.samplers import distributions

        return distributions(*self._plan())

    def _numbered(self, key: int) -> int:
        number = self._rdb.get_trial(key).number
        self._keys[number] = key
        return number

    def _claim(self, number: int, owner: str) -> Row:
        """Begin a waiting trial. The owner comes first: one that runs without an owner would never be released."""
        from optuna.trial import TrialState

        stale = {"reason": ""} if "reason" in self.row(number).about else {}
        self.put(number, owner=owner, **stale)
        self._rdb.set_trial_state_values(self._key(number), TrialState.RUNNING)
        return self.row(number)

    def _key(self, number: int) -> int:
        if number not in self._keys:
            self._keys[number] = self._rdb.get_trial_id_from_study_id_trial_number(self._id, number)
        return self._keys[number]

    def _losses(self, row: Row) -> tuple[float, ...]:
        return tuple(
            value if mode == "min" else -value for value, mode in zip(row.values or (), self.modes, strict=True)
        )


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _noted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a study was made with, and what was noted since."""
    return attributes.get("about", {}) | {key: value for key, value in attributes.items() if key != "about"}
