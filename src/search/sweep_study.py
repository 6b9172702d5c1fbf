"""The study of a sweep: the only door to Optuna's storage.

A study says what each trial of a sweep is, which process works at it, and how it has ended.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.redaction import redact_text
from src.core.user_errors import UserError, format_suggestion
from src.search.trials import TrialRecord, select_best_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from src.search.space import SearchSpace

_OPTUNA_END_STATES = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class SweepStorage:
    """The database of all sweeps.

    Args:
        address: a URL of SQLAlchemy's; None: the SQLite file `search.db` in the folder.
        folder: where that file lies.
        must_exist: a database that is missing is the user's error and is not created.
    """

    def __init__(self, address: str | None, folder: Path, *, must_exist: bool = False) -> None:
        from src.search.storage import TrialStorage, open_storage

        default_address = f"sqlite:///{folder.absolute() / 'search.db'}"
        self.rdb, self._lock, self.address = open_storage(
            default_address if address is None else address, must_exist=must_exist
        )
        self.optuna_storage = TrialStorage(self.rdb)

    def acquire_lock(self) -> AbstractContextManager[None]:
        """Exclude all other processes and threads that use the storage; a thread may nest it."""
        return self._lock.acquire()

    def close(self) -> None:
        """Close the connections to the database."""
        self.rdb.engine.dispose()

    def list_studies(self) -> list[tuple[str, dict[str, Any]]]:
        """The name and the attributes of every study, the newest first."""
        studies = sorted(self.rdb.get_all_studies(), key=lambda study: -study._study_id)
        return [
            (study.study_name, _merge_attributes(study.user_attrs))
            for study in studies
            if "about" in study.user_attrs
        ]

    def create_study(self, name: str, modes: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Create a study with these attributes; one that exists stays as it is.

        A study whose creation was interrupted has no attributes. It is not listed, and completed
        here.

        Args:
            modes: of each monitored metric, `min` or `max`.
        """
        import optuna

        with self.acquire_lock():
            study = optuna.create_study(
                storage=self.optuna_storage,
                sampler=optuna.samplers.RandomSampler(),  # never asked
                study_name=name,
                directions=["minimize" if mode == "min" else "maximize" for mode in modes],
                load_if_exists=True,
            )
            if "about" not in study.user_attrs:
                study.set_user_attr("about", dict(attributes))

    def open_study(
        self,
        name: str,
        *,
        space: "SearchSpace | None" = None,
        sampler: Any = None,
        pruner: Any = None,
    ) -> "SweepStudy":
        """Open a study by its name.

        Args:
            space, sampler: needed to create trials.
            pruner: needed to decide which trials are pruned.
        """
        return SweepStudy(self, name, space, sampler, pruner)


class SweepStudy:
    """One sweep as the storage knows it, opened by `SweepStorage.open_study`."""

    def __init__(
        self,
        storage: SweepStorage,
        name: str,
        space: "SearchSpace | None",
        sampler: Any,
        pruner: Any,
    ) -> None:
        from src.search.optuna_algorithms import OptunaAdapter

        self.name = name
        self._storage, self._optuna_storage = storage, storage.optuna_storage
        self._space, self._sampler = space, sampler
        try:
            self._study_id = self._optuna_storage.get_study_id_from_name(name)
        except KeyError:
            names = [known_name for known_name, _ in storage.list_studies()]
            raise UserError(
                f"there is no sweep {name} in {storage.address}; {format_suggestion(name, names)}"
            ) from None
        directions = self._optuna_storage.get_study_directions(self._study_id)
        self.modes = [direction.name.lower().removesuffix("imize") for direction in directions]
        if pruner is not None and len(self.modes) > 1:
            raise UserError(
                f"search.pruner: {pruner.name} judges by one metric, and search.monitor names "
                f"{len(self.modes)}; expected search.pruner=null, or one metric"
            )
        self._optuna_adapter = OptunaAdapter(self._optuna_storage, name, pruner)

    @property
    def attributes(self) -> dict[str, Any]:
        """Everything that was noted of the sweep, at its creation and later."""
        return _merge_attributes(self._optuna_storage.get_study_user_attrs(self._study_id))

    def set_attribute(self, key: str, value: Any) -> None:
        """Keep a JSON value with the sweep."""
        self._optuna_storage.set_study_user_attr(self._study_id, key, value)

    def requeue_failed_trials(self) -> None:
        """Create a waiting trial with the same parameters for each failed one that has none yet."""
        with self._storage.acquire_lock():
            for trial in self.load_trials():
                if trial.state == "failed" and not trial.is_replaced:
                    self._create_trial(
                        trial.params,
                        "WAITING",
                        point=trial.attributes.get("point"),
                        complete=True,
                        retry_of=trial.number,
                    )

    def claim_trial(self, owner: str, *, max_trials: int | None) -> TrialRecord | None:
        """Begin the lowest waiting trial, or a new one at the sampler's next point.

        Points are numbered: trial by trial the next one, whether the sampler lists, computes or
        learns them. A trial that repeats a failed one has the point of that one.

        Args:
            owner: the process that answers for the trial, as
                `src.core.processes.get_process_identity` names it.
            max_trials: no further trial begins when so many have begun. A failed trial and its
                repetition count once. One that was interrupted has begun, so it may always go on.

        Returns:
            The trial, running; None where nothing is left to begin.
        """
        space, sampler = self._require_space_and_sampler()
        with self._storage.acquire_lock():
            trials = self.load_trials()
            begun = sum(trial.has_begun and not trial.is_replaced for trial in trials)
            may_begin = max_trials is None or begun < max_trials
            for trial in trials:
                if trial.state == "waiting" and (may_begin or trial.has_begun):
                    return self._start_waiting_trial(trial, owner)
            point = sum("retry_of" not in trial.attributes for trial in trials)
            if not may_begin or (not sampler.is_unbounded and point >= (space.grid_size or 0)):
                return None
            if not sampler.is_adaptive:
                params = sampler.sample_point(space, point)
                return self._create_trial(
                    params, "RUNNING", owner=owner, point=point, complete=True
                )
            # The trial comes first, its parameters are written one by one: `complete` is set last.
            number = self._create_trial({}, "RUNNING", owner=owner, point=point).number
            self._suggest_missing_params(number)
            return self.load_trial(number)

    def load_trials(self) -> list[TrialRecord]:
        """All trials by number. Those that have ended are read from the database once."""
        trials = self._optuna_storage.get_all_trials(self._study_id, deepcopy=False)
        replacements = {
            trial.user_attrs["retry_of"]: trial.number
            for trial in trials
            if "retry_of" in trial.user_attrs
        }
        return [TrialRecord.from_optuna(trial, replacements.get(trial.number)) for trial in trials]

    def load_trial(self, number: int) -> TrialRecord:
        """One trial, without reading the others."""
        trial = self._optuna_storage.get_trial(self._trial_id(number))
        if trial.state.name == "FAIL":
            # Only the other trials tell whether one of them has replaced it.
            return self.load_trials()[number]
        return TrialRecord.from_optuna(trial)

    def set_trial_attributes(self, number: int, **attributes: Any) -> bool:
        """Keep JSON values with a trial, the secrets in texts starred out; False, and nothing
        changes, where it has ended.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            for key, value in attributes.items():
                shown = redact_text(value) if isinstance(value, str) else value
                self._optuna_storage.set_trial_user_attr(self._trial_id(number), key, shown)
        except UpdateFinishedTrialError:
            return False
        return True

    def report_value(self, number: int, validation: int, value: float) -> bool:
        """Report the first monitored metric; False, and nothing changes, where the trial has ended.

        A trial that has gone back behind earlier reports forgets those of later validations, see
        `TrialStorage`.

        Args:
            validation: 1, 2, ... from the beginning of the trial.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            self._optuna_storage.set_trial_intermediate_value(
                self._trial_id(number), validation, float(value)
            )
        except UpdateFinishedTrialError:
            return False
        return True

    def register_worker(self, number: int, *, owner: str, worker: str) -> bool:
        """Register the process `worker` as the one that works at a trial which `owner` has claimed;
        False where another process has taken the trial over.
        """
        with self._storage.acquire_lock():
            trial = self.load_trial(number)
            is_ours = trial.state == "running" and trial.attributes.get("owner") == owner
            return is_ours and self.set_trial_attributes(number, worker=worker)

    def should_prune(self, number: int) -> bool:
        """Ask the pruner whether a running trial is to end after its newest report."""
        return self._optuna_adapter.should_prune(self._trial_id(number))

    def end_trial(
        self,
        number: int,
        state: Literal["finished", "pruned", "failed"],
        values: Sequence[float] | None = None,
        **attributes: Any,
    ) -> bool:
        """End a trial; False, and nothing changes, where it has ended already.

        Args:
            values: of a finished trial, one for each monitored metric. If one of them is not
                finite, the trial ends as failed, with that as its reason.
            attributes: JSON values to keep with the trial.
        """
        from optuna.trial import TrialState

        if (state == "finished") != (values is not None) or len(values or self.modes) != len(
            self.modes
        ):
            raise ValueError(
                f"a {state} trial of {len(self.modes)} metrics cannot end with the values {values}"
            )
        if state == "pruned" and len(self.modes) > 1:
            raise ValueError("a trial of several metrics cannot be pruned: no one of them decides")
        if values is not None and not all(map(math.isfinite, values)):
            listed = ", ".join(f"{value:g}" for value in values)
            attributes["reason"] = f"expected finite values at its end, found {listed}"
            state, values = "failed", None
        with self._storage.acquire_lock():
            trial_id = self._trial_id(number)
            trial = self._optuna_storage.get_trial(trial_id)
            if trial.state.is_finished():
                return False
            if state == "pruned" and trial.last_step is not None:
                newest = trial.intermediate_values[trial.last_step]
                values = [newest] if math.isfinite(newest) else None
            self.set_trial_attributes(number, **attributes)
            return self._optuna_storage.set_trial_state_values(
                trial_id,
                TrialState[_OPTUNA_END_STATES[state]],
                None if values is None else [*map(float, values)],
            )

    def release_trial(self, number: int, *, worker: str | None = None) -> bool:
        """Let an interrupted trial wait for the next process that claims it; False where it was not
        running.

        Args:
            worker: the process that releases it. Nothing changes, and False is returned, where
                another one works at the trial by now.
        """
        from optuna.trial import TrialState

        with self._storage.acquire_lock():
            trial = self.load_trial(number)
            if trial.state != "running" or (
                worker is not None and trial.attributes.get("worker", worker) != worker
            ):
                return False
            if "complete" not in trial.attributes:
                self._suggest_missing_params(number)
            self._optuna_storage.set_trial_state_values(self._trial_id(number), TrialState.WAITING)
            return self.set_trial_attributes(number, owner="", worker="")

    def release_running_trials(self, is_abandoned: Callable[[TrialRecord], bool]) -> list[int]:
        """Release each running trial whose processes have ended, as `is_abandoned(trial)` says;
        their numbers.
        """
        with self._storage.acquire_lock():
            return [
                trial.number
                for trial in self.load_trials()
                if trial.state == "running"
                and is_abandoned(trial)
                and self.release_trial(trial.number)
            ]

    def load_best_trials(self) -> list[TrialRecord]:
        """Of one metric the best finished trial, of several the Pareto front, by number."""
        best = select_best_trials(self.load_trials(), self.modes)
        return sorted(best, key=lambda trial: trial.number)

    def compute_importance(self) -> dict[str, float]:
        """The share of each key in what decides the first metric, the greatest first; {} where too
        few trials have finished to tell.
        """
        return self._optuna_adapter.compute_importance()

    def _require_space_and_sampler(self) -> tuple["SearchSpace", Any]:
        if self._space is None or self._sampler is None:
            raise ValueError("a study that makes trials is opened with a space and a sampler")
        return self._space, self._sampler

    def _trial_id(self, number: int) -> int:
        return self._optuna_storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _create_trial(
        self, params: Mapping[str, Any], state: Literal["WAITING", "RUNNING"], **attributes: Any
    ) -> TrialRecord:
        """Create a trial with all that belongs to it, in one transaction."""
        from optuna.trial import TrialState, create_trial

        template = create_trial(
            state=TrialState[state],
            params=dict(params),
            distributions={key: self._distributions[key] for key in params},
            user_attrs={key: value for key, value in attributes.items() if value is not None},
        )
        trial_id = self._optuna_storage.create_new_trial(self._study_id, template)
        return TrialRecord.from_optuna(self._optuna_storage.get_trial(trial_id))

    def _suggest_missing_params(self, number: int) -> None:
        """Give a trial of an adaptive sampler its parameters: the same however often this is
        interrupted, as long as no other trial ends meanwhile.
        """
        _, sampler = self._require_space_and_sampler()
        self._optuna_adapter.suggest_params(number, sampler, self._distributions)
        self.set_trial_attributes(number, complete=True)

    @cached_property
    def _distributions(self) -> "dict[str, BaseDistribution]":
        from src.search.samplers import build_distributions

        return build_distributions(*self._require_space_and_sampler())

    def _start_waiting_trial(self, trial: TrialRecord, owner: str) -> TrialRecord:
        """Begin a waiting trial. The owner is written first: a running trial without one would
        never be released.
        """
        from optuna.trial import TrialState

        stale = {"reason": ""} if "reason" in trial.attributes else {}
        self.set_trial_attributes(trial.number, owner=owner, **stale)
        self._optuna_storage.set_trial_state_values(
            self._trial_id(trial.number), TrialState.RUNNING
        )
        return self.load_trial(trial.number)


def _merge_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes a study was created with, and those that were set later."""
    return attributes.get("about", {}) | {
        key: value for key, value in attributes.items() if key != "about"
    }
