"""What the processes of one sweep work with, and what all ways of running its trials share."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.processes import get_process_identity, is_process_gone
from src.search.budget import is_budget_exhausted, measure_budget, resolve_max_trials
from src.search.run.trial_spec import TrialSpec
from src.search.run.worker_pool import GRACE_SECONDS
from src.search.trials import TrialRecord
from src.tracking.liveness import check_liveness

if TYPE_CHECKING:
    from src.search.run.find_sweep import SweepRequest
    from src.search.run.multirun import TrialComposer
    from src.search.search_config import Search
    from src.search.space import SearchSpace
    from src.search.sweep_study import SweepStorage, SweepStudy
    from src.search.view.progress import ProgressDisplay
    from src.search.view.sweep_reporter import SweepReporter
    from src.tracking.store import Store

# attempts to halve the batch of one trial
_MAX_HALVINGS = 4
# without a sign of life, after which a trial of another machine counts as gone
_MAX_SILENT_SECONDS = 900.0
# between the end of a run of another machine and that of its trial
_RUN_ENDED_GRACE_SECONDS = 120.0


class SweepContext(NamedTuple):
    """The parts of one sweep.

    Args:
        composer: makes the config of each trial.
        folder: of the sweep's files: logs and progress of its trials.
    """

    request: "SweepRequest"
    search: "Search"
    space: "SearchSpace"
    composer: "TrialComposer"
    store: "Store"
    storage: "SweepStorage"
    study: "SweepStudy"
    folder: Path

    @property
    def resume_command(self) -> str:
        """The command that goes on with the sweep."""
        return build_sweep_resume_command(self.store, self.study.name, self.search.storage)

    def claim_trial(self) -> TrialRecord | None:
        """Take the next trial for this process; None if there is none within `max_trials`."""
        most = resolve_max_trials(self.search, self.space)
        return self.study.claim_trial(get_process_identity(), max_trials=most)

    def active_seconds(self, reporter: "SweepReporter | None") -> float:
        """Seconds for which the sweep was worked on, over all its calls."""
        if reporter is not None:
            return reporter.active_seconds
        return float(self.study.attributes.get("seconds", 0))

    def has_work_left(
        self, trials: Sequence[TrialRecord], reporter: "SweepReporter | None"
    ) -> bool:
        """Say whether another trial may be started: trials are left, and budget is."""
        seconds = self.active_seconds(reporter)
        return not is_budget_exhausted(self.search, trials, seconds) and has_remaining_trials(
            self.search, self.space, trials
        )

    def publish_progress(
        self,
        trials: list[TrialRecord],
        display: "ProgressDisplay",
        reporter: "SweepReporter | None",
    ) -> None:
        """Show how the trials stand: on the terminal, and in the sweep's run.

        Args:
            reporter: of the sweep's run; None if another process owns it.
        """
        if reporter is not None:
            reporter.update_report(trials, state="RUNNING")
        # a trial without parameters is just being asked for
        shown = [trial for trial in trials if trial.params or not self.space.keys]
        seconds = self.active_seconds(reporter)
        limits = measure_budget(self.search, self.space, trials, seconds)
        display.update_trials(shown, read_progress(self.folder, trials), limits)

    def begin_attempt(self, trial: TrialRecord) -> TrialSpec:
        """Count an attempt at a trial; returns what its process must know."""
        attempts = int(trial.attributes.get("takes", 0))
        self.study.set_trial_attributes(trial.number, takes=attempts + 1)
        halvings = int(trial.attributes.get("out_of_memory", 0))
        return TrialSpec(
            address=self.storage.address,
            folder=str(self.folder),
            study=self.study.name,
            number=trial.number,
            parent=self.study.name,
            monitors=self.search.monitors,
            modes=self.search.modes,
            pruner=self.request.search.get("pruner"),
            shown_overrides=[_shorten_override(key, trial.params[key]) for key in trial.params],
            resume=self.find_run_id(trial) if attempts or trial.attributes.get("run_id") else None,
            halvings=halvings,
            may_halve=self.search.on_out_of_memory == "halve" and halvings < _MAX_HALVINGS,
            full_precision=bool(trial.attributes.get("non_finite")),
            owner=str(trial.attributes.get("owner", "")),
            resume_command=self.resume_command,
        )

    def find_run_id(self, trial: TrialRecord) -> str | None:
        """The run of a trial, also if its process was killed after it had created the run and
        before it had told the study; None if there is none.
        """
        if run_id := trial.attributes.get("run_id"):
            return str(run_id)
        runs = self.store.search_runs(
            f"tags.`search.sweep` = '{self.study.name}' AND tags.`search.trial` = '{trial.number}'"
        )
        return runs[0].id if runs else None

    def release_abandoned(self, is_lost: Callable[[TrialRecord], bool]) -> None:
        """Release each running trial for which `is_lost` holds, so that it can be taken again.

        `is_lost` is asked while the storage is not locked, since a store may answer slowly.
        """
        holders = {
            trial.number: _current_holders(trial)
            for trial in self.study.load_trials()
            if trial.state == "running" and is_lost(trial)
        }
        if holders:
            self.study.release_running_trials(
                lambda trial: holders.get(trial.number) == _current_holders(trial)
            )

    def may_report(self, number: int, lost_at: float) -> bool:
        """Say whether a trial may yet tell the study how it ends, though what watched its process
        is gone: the process ends by itself within the grace period.

        Args:
            lost_at: when that was noticed, by the monotonic clock.
        """
        trial = self.study.load_trial(number)
        if trial.state != "running":
            return False
        worker = str(trial.attributes.get("worker") or "")
        if worker and _is_of_this_host(worker):
            return not is_process_gone(worker)
        return time.monotonic() - lost_at < GRACE_SECONDS

    def is_abandoned(self, trial: TrialRecord) -> bool:
        """Say whether no process works on a running trial any more."""
        names = [str(trial.attributes.get(name) or "") for name in ("owner", "worker")]
        processes = [identity for identity in names if identity]
        if all(map(is_process_gone, processes)):
            return True
        if any(_is_of_this_host(known) and not is_process_gone(known) for known in processes):
            return False
        # it is on another machine, and only its run tells
        run_id = trial.attributes.get("run_id")
        if not run_id:
            started_at = trial.started_at
            return started_at is not None and time.time() - started_at > _MAX_SILENT_SECONDS
        run = self.store.find_run(str(run_id))
        if run.status == "RUNNING":
            liveness = check_liveness(run.id, run.tags, self.store.runs_folder)
            seen_at = liveness.last_seen_at
            is_silent = seen_at is None or time.time() - seen_at > _MAX_SILENT_SECONDS
            return not liveness.is_alive and is_silent
        ended_at = run.ended_at
        return ended_at is not None and time.time() - ended_at / 1000 > _RUN_ENDED_GRACE_SECONDS


def build_sweep_resume_command(store: "Store", sweep: str, storage: str | None) -> str:
    """The command that goes on with a sweep."""
    from src.pipeline.resume_hint import build_sweep_command

    return build_sweep_command(sweep, root=store.root, uri=store.uri, storage=storage)


def has_remaining_trials(
    search: "Search", space: "SearchSpace", trials: Sequence[TrialRecord]
) -> bool:
    """Say whether `SweepStudy.claim_trial` would give a trial: an interrupted one, or a new one."""
    most = resolve_max_trials(search, space)
    begun = [trial for trial in trials if trial.started_at is not None or trial.state != "waiting"]
    if most is None or sum(not trial.is_replaced for trial in begun) < most:
        return True
    return any(trial.state == "waiting" for trial in begun)


def read_progress(folder: Path, trials: Sequence[TrialRecord]) -> dict[int, tuple[int, int]]:
    """By running trial, its optimizer step and its last one, as trials write them about once a
    second.
    """
    progress = {}
    for trial in trials:
        if trial.state == "running":
            try:
                step, total = (folder / f"{trial.number}.progress").read_text().split()
                progress[trial.number] = int(step), int(total)
            except (OSError, ValueError):
                # it has not begun to train
                continue
    return progress


def _shorten_override(key: str, value: object) -> str:
    return f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"


def _current_holders(trial: TrialRecord) -> tuple[Any, ...]:
    return tuple(trial.attributes.get(name) for name in ("owner", "worker", "takes"))


def _is_of_this_host(identity: str) -> bool:
    return identity.split()[:1] == get_process_identity().split()[:1]
