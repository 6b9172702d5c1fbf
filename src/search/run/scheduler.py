"""The loop of a sweep in one process: trials taken, started in processes of their own, watched, and
judged when they have ended.
"""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from src.core.formatting import format_quantity
from src.core.processes import get_process_identity
from src.core.retry import OutageHandler, describe_error
from src.core.user_errors import UserError
from src.search.budget import is_budget_exhausted
from src.search.run.sweep_context import SweepContext
from src.search.run.trial import EXIT_NOT_REPORTED, EXIT_RETRY_CHANGED
from src.search.run.worker_pool import TrialJob
from src.search.trials import TrialRecord

if TYPE_CHECKING:
    from src.core.run_ending import SignalHandler
    from src.search.run.devices import DeviceSlot
    from src.search.run.trial_workers import TrialWorkers
    from src.search.run.worker_pool import ProcessExit
    from src.search.view.progress import ProgressDisplay
    from src.search.view.sweep_reporter import SweepReporter


# of a trial that something else than this sweep keeps ending
MAX_ATTEMPTS = 3
# of one trial, which may be what its nodes die of
_MAX_LOST_NODES = 10
# between two looks at what other processes do
_POLL_SECONDS = 5.0
_REFRESH_SECONDS = 0.5
# for trials to end after a second Ctrl-C
_KILL_GRACE_SECONDS = 5.0


def outage_errors() -> tuple[type[Exception], ...]:
    """The ways in which the storage of searches, the store of runs and the disk fail."""
    from src.search.storage import STORAGE_ERRORS
    from src.tracking.delivery import DELIVERY_ERRORS

    return *DELIVERY_ERRORS, *STORAGE_ERRORS


class _DeadRun(NamedTuple):
    status: Literal["FAILED", "KILLED"]
    reason: str


class TrialScheduler:
    """One process's share of a sweep.

    Args:
        workers, display: entered.
        slots: what each trial gets of the machine; as many trials run at a time. The workers may
            change their number.
        signals: gives the entered handler; a first signal is only noted.
        get_reporter: gives the reporter of the sweep's run if this process owns the run. Asked
            again and again, since another owner may vanish.

    Attributes:
        failures: trials that have failed.
        stop_reason: why no more trials begin, unless all are done.
    """

    def __init__(
        self,
        context: SweepContext,
        *,
        workers: "TrialWorkers",
        slots: "list[DeviceSlot]",
        display: "ProgressDisplay",
        signals: "Callable[[], SignalHandler]",
        get_reporter: "Callable[[], SweepReporter | None]",
    ) -> None:
        self._context = context
        self._workers = workers
        self._free_slots = list(slots)
        self._slots_by_trial: dict[int, DeviceSlot] = {}
        self._display = display
        self._signals = signals
        self._get_reporter = get_reporter
        self._own_process = get_process_identity()
        self._outage = OutageHandler(display.print_line, outage_errors())
        # that are not judged yet
        self._pending_exits: list[ProcessExit] = []
        self._polled_at = float("-inf")
        self._is_stopping = False
        # runs that trials have left as RUNNING, and how these ended
        self._dead_runs: dict[str, _DeadRun] = {}
        # trials whose nodes are gone and that may yet report, and when that was noticed
        self._lost_at: dict[int, float] = {}
        self.failures = 0
        self.stop_reason: str | None = None

    def run(self) -> None:
        """Work until nothing is left to do, the budget is used up, too much has failed or a signal
        has come.
        """
        try:
            while self._run_iteration():
                self._pending_exits += self._workers.wait_for_exits(_REFRESH_SECONDS)
        except BaseException:
            self._terminate_trials()
            raise

    def _run_iteration(self) -> bool:
        """Schedule once; returns whether to go on. Trials run on if a storage does not answer."""
        stopping = self._signals().received_signal
        if stopping is not None:
            self._stop_trials(stopping)
        try:
            go_on = self._schedule_trials(stopping is None and self.stop_reason is None)
        except Exception as error:
            self._outage.on_failure(error)
            return stopping is None or bool(self._workers.running)
        self._outage.on_success()
        return go_on

    def _schedule_trials(self, may_start: bool) -> bool:
        """Judge what has ended, start what can be started, and show how it stands; returns whether
        there is more to do.
        """
        for ended in list(self._pending_exits):
            if not (ended.is_lost and self._may_report(ended.number)):
                self._handle_exit(ended)
                self._pending_exits.remove(ended)
                self._free_slots.append(self._slots_by_trial.pop(ended.number))
        self._close_dead_runs()
        self._release_abandoned()
        if may_start and self.stop_reason is None:
            self._start_trials()
        trials = self._context.study.load_trials()
        reporter = self._get_reporter()
        self._context.publish_progress(trials, self._display, reporter)
        unjudged = bool(self._workers.running or self._pending_exits)
        if unjudged or not may_start or self.stop_reason is not None:
            return unjudged
        is_running = any(trial.state == "running" for trial in trials)
        return is_running or self._context.has_work_left(trials, reporter)

    def _close_dead_runs(self) -> None:
        if not self._dead_runs:
            return
        store = self._context.store
        store.close_vanished_runs()
        for run_id, (status, reason) in self._dead_runs.items():
            # one that was killed may have ended by itself, as its trial may have said meanwhile
            if run_id and (status == "FAILED" or store.find_run(run_id).status == "RUNNING"):
                store.mark_ended(run_id, status, reason)
        self._dead_runs = {}

    def _release_abandoned(self) -> None:
        """Every few seconds, release the trials whose processes are gone, and those that were taken
        here and never started because the storage stopped answering.
        """
        now = time.monotonic()
        if now - self._polled_at > _POLL_SECONDS:
            self._context.release_abandoned(
                lambda trial: (
                    (self._is_own(trial) and trial.number not in self._slots_by_trial)
                    or self._context.is_abandoned(trial)
                )
            )
            self._polled_at = now

    def _is_own(self, trial: TrialRecord) -> bool:
        return bool(trial.attributes.get("owner") == self._own_process)

    def _start_trials(self) -> None:
        context = self._context
        change = self._workers.adjust_slots(self._free_slots, used=len(self._slots_by_trial))
        if change is not None:
            self._display.print_line(change)
        seconds = context.active_seconds(self._get_reporter())
        if self._free_slots and is_budget_exhausted(
            context.search, context.study.load_trials(), seconds
        ):
            return
        while self._free_slots:
            trial = context.claim_trial()
            if trial is None:
                return
            # it has released itself, and its process is about to end
            if trial.number in self._slots_by_trial:
                context.study.release_trial(trial.number)
                return
            slot = self._free_slots[0]
            overrides = context.space.format_overrides(trial.params)
            try:
                config = context.composer.compose_trial(overrides)
            except UserError as error:
                context.study.end_trial(trial.number, "failed", reason=str(error))
                self._count_failure()
                continue
            if slot.threads is not None and config["trainer"].get("threads") is None:
                config["trainer"]["threads"] = slot.threads
            job = TrialJob(
                trial=context.begin_attempt(trial).to_base64(),
                config=config,
                log=str(self._log_file(trial.number)),
                environment=slot.environment,
                arguments=context.composer.trial_arguments(overrides),
            )
            self._slots_by_trial[trial.number] = self._free_slots.pop(0)
            self._workers.start_trial(trial.number, job)

    def _log_file(self, number: int) -> Path:
        return self._context.folder / f"{number}.log"

    def _handle_exit(self, ended: "ProcessExit") -> None:
        """Decide what becomes of a trial whose process has ended, unless another process has taken
        the trial since.
        """
        study = self._context.study
        is_stopping = self._signals().received_signal is not None
        with self._context.storage.acquire_lock():
            trial = study.load_trial(ended.number)
            is_mine = trial.state == "running" and self._is_own(trial)
            has_failed = trial.state == "failed"
            if ended.is_lost and (is_mine or trial.state == "waiting"):
                has_failed = self._handle_loss(trial, ended.reason)
            elif is_mine and (is_stopping or ended.code == EXIT_NOT_REPORTED):
                study.release_trial(ended.number)
                self._dead_runs.setdefault("", _DeadRun("KILLED", ""))
            elif is_mine:
                reason = ended.reason or explain_exit(ended.code, self._log_file(ended.number))
                has_failed = study.end_trial(ended.number, "failed", reason=reason)
                run_id = str(trial.attributes.get("run_id", ""))
                self._dead_runs[run_id] = _DeadRun("FAILED", reason)
            elif trial.state == "waiting" and not is_stopping and ended.code != EXIT_RETRY_CHANGED:
                # it goes on from its checkpoint, but not for ever
                interruptions = _count_interruptions(trial.attributes)
                if interruptions >= MAX_ATTEMPTS:
                    reason = f"interrupted from outside, {interruptions} times"
                    has_failed = study.end_trial(ended.number, "failed", reason=reason)
        if has_failed:
            self._count_failure()

    def _may_report(self, number: int) -> bool:
        """Say whether a trial whose node is gone may yet tell the study how it ends."""
        lost_at = self._lost_at.setdefault(number, time.monotonic())
        return self._context.may_report(number, lost_at)

    def _handle_loss(self, trial: TrialRecord, reason: str) -> bool:
        """Let a trial whose node is gone go on elsewhere, but not for ever; returns whether it has
        failed. Its run is closed first, so that it can be resumed.
        """
        self._lost_at.pop(trial.number, None)
        study, number = self._context.study, trial.number
        losses = int(trial.attributes.get("lost_nodes", 0)) + 1
        study.set_trial_attributes(number, lost_nodes=losses)
        run_id = self._context.find_run_id(trial) or ""
        if losses > _MAX_LOST_NODES:
            reason = f"the nodes of {losses} attempts were lost, the last by {reason}"
            self._dead_runs[run_id] = _DeadRun("FAILED", reason)
            return study.end_trial(number, "failed", reason=reason)
        self._dead_runs[run_id] = _DeadRun("KILLED", f"its node was lost ({reason})")
        study.release_trial(number)
        self._display.print_line(f"trial {number}: its node was lost ({reason}); it waits to go on")
        return False

    def _count_failure(self) -> None:
        self.failures += 1
        most = self._context.search.max_failures
        if self.failures > most and self.stop_reason is None:
            self.stop_reason = explain_failures(self.failures, most)
            self._display.print_line(f"{self.stop_reason}: no new ones begin")

    def _stop_trials(self, signum: int) -> None:
        """Pass a signal on to every trial, once."""
        self.stop_reason = self.stop_reason or f"stopped by {signal.Signals(signum).name}"
        if not self._is_stopping:
            self._is_stopping = True
            self._workers.send_signal(signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)

    def _terminate_trials(self) -> None:
        """End all trials now, and leave those that can go on later in good order."""
        # a second signal for those that were told before: they end without a checkpoint
        self._workers.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _KILL_GRACE_SECONDS
        while self._workers.running and time.monotonic() < deadline:
            self._workers.wait_for_exits(0.2)
        self._workers.kill_all()
        study = self._context.study
        try:
            for trial in study.load_trials():
                if trial.state == "running" and self._is_own(trial):
                    study.release_trial(trial.number)
            self._context.store.close_vanished_runs()
        except Exception as error:
            # what ends the sweep is another error
            self._display.print_line(
                f"search: {describe_error(error)}; what says that it runs is put right by the "
                "next call"
            )


def _count_interruptions(attributes: Mapping[str, Any]) -> int:
    others = ("out_of_memory", "non_finite", "lost_nodes")
    return int(attributes.get("takes", 0)) - sum(int(attributes.get(name, 0)) for name in others)


def explain_failures(failures: int, most: int) -> str:
    """Why a sweep with that many failed trials starts no more."""
    return f"{format_quantity(failures, 'failed trial')}, more than search.max_failures={most}"


def explain_exit(code: int, log: Path | None) -> str:
    """Why a process has ended that has not said so itself."""
    if code == -signal.SIGKILL:
        reason = "killed by SIGKILL (the system does so where memory has run out)"
    elif code < 0:
        reason = f"killed by {signal.Signals(-code).name}"
    else:
        reason = f"its process ended with exit code {code}"
    return reason if log is None else f"{reason}; what it said: {log}"
