"""A sweep, from its beginning or where it stopped to its end: `python -m src.run -m ...`
(docs/search.md).

Its state is in Optuna's storage (src/search/sweep_study.py). Its record is a run of kind `search`,
whose id is the sweep's; trials are runs nested in that one. Several processes may work on one
sweep: the first owns the run, the others help.
"""

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from src.core.formatting import format_quantity
from src.core.printing import print_line
from src.core.processes import get_process_identity, is_process_gone
from src.core.retry import OutageHandler, describe_error
from src.core.run_ending import classify_ending
from src.core.startup import pause_gc
from src.core.user_errors import UserError
from src.search.budget import is_budget_exhausted
from src.search.run.find_sweep import SweepRequest, find_sweep, find_sweep_run
from src.search.run.scheduler import TrialScheduler, outage_errors
from src.search.run.sweep_context import (
    SweepContext,
    build_sweep_resume_command,
    has_remaining_trials,
)
from src.search.run.sweep_messages import (
    count_failed,
    describe_exhausted_budget,
    explain_completeness,
    format_summary,
    print_plan,
)
from src.search.trials import TrialRecord
from src.search.view.progress import ProgressDisplay
from src.search.view.sweep_reporter import SweepReporter, create_sweep_record
from src.tracking.liveness import check_liveness

if TYPE_CHECKING:
    from src.core.run_ending import SignalHandler
    from src.search.run.devices import DeviceSlot
    from src.search.run.multirun import TrialComposer
    from src.search.run.trial_workers import TrialWorkers
    from src.search.search_config import Search
    from src.search.space import SearchSpace
    from src.search.sweep_study import SweepStorage, SweepStudy
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

# after a first signal, for trials to end after their step and write a checkpoint
_STOP_GRACE_SECONDS = 90.0
# between two looks whether the process that owns the sweep's run is still there
_OWNERSHIP_POLL_SECONDS = 5.0


class Sweep:
    """One call of a sweep.

    Args:
        request: what was typed, and what it means.
        search: as built.
        base_config: of a trial in which nothing of the space is set.
        composer: makes the config of each trial.
        store: where runs are kept.
    """

    def __init__(
        self,
        request: SweepRequest,
        *,
        search: "Search",
        space: "SearchSpace",
        base_config: Mapping[str, Any],
        composer: "TrialComposer",
        store: "Store",
    ) -> None:
        self._request = request
        self._search = search
        self._space = space
        self._base_config = base_config
        self._composer = composer
        self._store = store
        # of the sweep's run, while this process owns it
        self._record: RunRecord | None = None
        self._reporter: SweepReporter | None = None
        self._signals: SignalHandler | None = None
        self._ownership_checked_at = 0.0
        self._has_warned = False

    def run(self) -> int:
        """Run the sweep; a signal leaves as its exception.

        Returns:
            The exit code: 0, or 1 if a trial has failed.
        """
        from src.search.run.trial_workers import enter_workers
        from src.search.sweep_study import SweepStorage

        if self._store.offline:
            raise UserError(
                "tracking=offline keeps single runs; a search needs a store (tracking=local, or "
                "tracking.uri=...)"
            )
        trainer, launcher = self._base_config["trainer"], self._composer.launcher_target
        with ExitStack() as stack:
            # what a trial needs is imported beside what this process needs
            workers, slots = enter_workers(self._search, trainer, launcher, stack)
            storage = SweepStorage(self._search.storage, self._store.runs_folder)
            name = find_sweep(storage, self._request)
            if name is not None:
                code = self._exit_code_if_complete(storage, name)
                if code is not None:
                    return code
            print_plan(self._search, self._space, self._base_config)
            with pause_gc():
                import src.tracking.run_record  # noqa: F401
            study = self._open_study(storage, stack)
            context = SweepContext(
                request=self._request,
                search=self._search,
                space=self._space,
                composer=self._composer,
                store=self._store,
                storage=storage,
                study=study,
                folder=self._store.runs_folder / "sweeps" / study.name,
            )
            context.folder.mkdir(parents=True, exist_ok=True)
            failures = self._run_trials(context, workers, slots, stack)
        leaving = self._signals.exception_to_raise(None) if self._signals is not None else None
        # if this process owns the sweep's run, leaving the run has raised it
        if leaving is not None:
            raise leaving
        return 1 if failures else 0

    def _run_trials(
        self,
        context: SweepContext,
        workers: "TrialWorkers | None",
        slots: "list[DeviceSlot]",
        stack: ExitStack,
    ) -> int:
        """Run trials until the sweep ends, and say how it ended; returns how many have failed."""

        def get_reporter() -> SweepReporter | None:
            return self._take_over_if_orphaned(context, stack)

        failures, reason = 0, None
        title = f"sweep {context.study.name[:8]}"
        monitors, modes = self._search.monitors, self._search.modes
        try:
            with ProgressDisplay(monitors, modes, self._space.keys, name=title) as display:
                context.publish_progress(context.study.load_trials(), display, None)
                if workers is not None:
                    scheduler = TrialScheduler(
                        context,
                        workers=workers,
                        slots=slots,
                        display=display,
                        signals=self._require_signals,
                        get_reporter=get_reporter,
                    )
                    scheduler.run()
                    context.publish_progress(context.study.load_trials(), display, None)
                    failures, reason = scheduler.failures, scheduler.stop_reason
                else:
                    from src.search.run.launcher_trials import run_with_launcher

                    # this thread waits inside the launcher
                    self._require_signals().may_finish_step = False
                    failures, reason = run_with_launcher(context, display, get_reporter)
        finally:
            self._finish_sweep(context, reason)
        return failures

    def _require_signals(self) -> "SignalHandler":
        assert self._signals is not None
        return self._signals

    def _open_study(self, storage: "SweepStorage", stack: ExitStack) -> "SweepStudy":
        """Open the sweep's study, made if it is new, and its run, if no living process owns it."""
        with storage.acquire_lock():
            # now that nobody else can begin the same one
            name = find_sweep(storage, self._request)
            if name is None:
                from src.tracking.environment import format_command_line

                name = self._enter_record(stack, None).run_id
                attributes = self._request.stored_attributes | {
                    "command": format_command_line(),
                    "began_at": time.time(),
                    "owner": get_process_identity(),
                }
                storage.create_study(name, self._search.modes, attributes)
            study = self._open_existing_study(storage, name)
            if self._record is None:
                self._claim_or_join(study, stack)
            else:
                self._reporter = self._build_reporter(study, self._record)
        if self._search.retry_failed:
            study.requeue_failed_trials()
        return study

    def _open_existing_study(self, storage: "SweepStorage", name: str) -> "SweepStudy":
        return storage.open_study(
            name, space=self._space, sampler=self._search.sampler, pruner=self._search.pruner
        )

    def _claim_or_join(self, study: "SweepStudy", stack: ExitStack) -> None:
        """With the storage locked: own the run of an earlier process, or help the living owner."""
        info = find_sweep_run(self._store, study.name, self._request)
        owner = str(study.attributes.get("owner", ""))
        if (
            info.status == "RUNNING"
            # this process itself if taking over was cut short
            and owner not in ("", get_process_identity())
            and not is_process_gone(owner)
            and check_liveness(info.id, info.tags, self._store.runs_folder).is_alive
        ):
            if self._signals is None:
                from src.core.run_ending import SignalHandler

                self._use_signals(stack.enter_context(SignalHandler()))
                host, _, _, process_id, _ = owner.split()
                print_line(
                    f"sweep {study.name[:8]}: process {process_id} of {host} has it; this one helps"
                )
            return
        record = self._record or self._enter_record(stack, info)
        study.set_attribute("owner", get_process_identity())
        self._reporter = self._build_reporter(study, record)

    def _enter_record(self, stack: ExitStack, info: "RunInfo | None") -> "RunRecord":
        record = create_sweep_record(
            self._store,
            name=str(self._base_config.get("name", "run")),
            overrides=self._request.overrides,
            space=self._request.space,
            search=self._request.search,
            config_yaml=self._request.config,
            tags=self._base_config.get("tags"),
            resume=info,
        )
        self._record = stack.enter_context(record)
        self._use_signals(record.signals)
        verb = "begins" if info is None else "goes on"
        print_line(f"sweep {record.run_id} {verb}: {record.name}")
        return record

    def _use_signals(self, signals: "SignalHandler") -> None:
        """Have a first signal only noted, so that trials can write their checkpoints."""
        signals.may_finish_step, signals.grace_seconds = True, _STOP_GRACE_SECONDS
        self._signals = signals

    def _build_reporter(self, study: "SweepStudy", record: "RunRecord") -> SweepReporter:
        return SweepReporter(
            record,
            store=self._store,
            study=study,
            search=self._search,
            space=self._space,
            resume_command=self._resume_command(study),
        )

    def _resume_command(self, study: "SweepStudy") -> str:
        return build_sweep_resume_command(self._store, study.name, self._search.storage)

    def _take_over_if_orphaned(
        self, context: SweepContext, stack: ExitStack
    ) -> SweepReporter | None:
        """The reporter of the sweep's run if this process owns the run, or can take it over.

        A process that is about to end takes nothing over; one that cannot now tries again later.
        """
        now = time.monotonic()
        if (
            self._reporter is not None
            or self._require_signals().received_signal is not None
            or now - self._ownership_checked_at <= _OWNERSHIP_POLL_SECONDS
        ):
            return self._reporter
        self._ownership_checked_at = now
        owner = str(context.study.attributes.get("owner", ""))
        if not owner or owner == get_process_identity() or is_process_gone(owner):
            try:
                with context.storage.acquire_lock():
                    self._store.close_vanished_runs()
                    self._claim_or_join(context.study, stack)
            except Exception as error:
                if not self._has_warned:
                    print_line(
                        "search: the sweep's run cannot be taken over now "
                        f"({describe_error(error)})",
                        to_stderr=True,
                    )
                self._has_warned = True
        return self._reporter

    def _finish_sweep(self, context: SweepContext, reason: str | None) -> None:
        """Report the outcome. A storage that does not answer never hides what ended the sweep."""
        error = sys.exc_info()[1]
        if error is None and self._require_signals().received_signal is None:
            OutageHandler(
                lambda line: print_line(line, to_stderr=True), outage_errors()
            ).retry_until_ok(lambda: self._report_outcome(context, reason, None))
            return
        try:
            self._report_outcome(context, reason, error)
        except Exception as another:
            print_line(
                f"search: the sweep's last words are lost ({describe_error(another)})",
                to_stderr=True,
            )

    def _report_outcome(
        self, context: SweepContext, reason: str | None, error: BaseException | None
    ) -> None:
        """Say how this call ended: on the terminal, and in the sweep's run if this process owns it.

        Args:
            reason: why no more trials began; None if all are done.
            error: what ends this process.
        """
        signals = self._require_signals()
        is_stopped = signals.received_signal is not None
        trials = context.study.load_trials()
        have_all_failed = bool(trials) and all(trial.state == "failed" for trial in trials)
        if error is None and reason is None and have_all_failed:
            reason = "every trial has failed"
        is_over = error is None and not is_stopped and reason is None
        state: str
        if is_stopped:
            state = "KILLED"
            reason = classify_ending(signals.exception_to_raise(None)).reason
        elif error is not None:
            state = classify_ending(error).status
        else:
            state = "FINISHED" if is_over else "FAILED"
        has_left = has_remaining_trials(self._search, self._space, trials) or any(
            trial.state == "running" for trial in trials
        )
        seconds = context.active_seconds(self._reporter)
        if self._reporter is not None and self._record is not None:
            if is_stopped:
                self._record.set_outcome("KILLED", reason=str(reason))
            elif error is None and reason is not None:
                self._record.set_outcome("FAILED", reason=reason)
            self._reporter.update_report(trials, state=state, reason=reason, is_final=True)
            context.study.set_attribute("owner", "")
        else:
            # another process has the sweep, whatever has become of this one
            state = "RUNNING" if has_left else "FINISHED"
        print_line(self._format_summary(context.study, trials, state))
        resume_command = self._resume_command(context.study)
        used_up = describe_exhausted_budget(self._search, trials, seconds)
        if has_left and is_over and used_up:
            print_line(f"{used_up}; more of it goes on: {resume_command}")
        elif has_left and not is_over:
            print_line(f"go on: {resume_command}", to_stderr=True)
        if failed := count_failed(trials):
            print_line(
                f"{format_quantity(failed, 'failed trial')}; once more: "
                f"{resume_command} search.retry_failed=true",
                to_stderr=True,
            )

    def _format_summary(self, study: "SweepStudy", trials: list[TrialRecord], state: str) -> str:
        monitors = self._search.monitors
        return format_summary(study, trials, state, monitors=monitors, store=self._store)

    def _exit_code_if_complete(self, storage: "SweepStorage", name: str) -> int | None:
        """Say that nothing is left to do and return the exit code; None if something is left."""
        study = self._open_existing_study(storage, name)
        trials = study.load_trials()
        failed = count_failed(trials)
        seconds = float(study.attributes.get("seconds", 0))
        is_exhausted = is_budget_exhausted(self._search, trials, seconds)
        has_left = has_remaining_trials(self._search, self._space, trials) and not is_exhausted
        is_running = any(trial.state == "running" for trial in trials)
        if has_left or is_running or (failed and self._search.retry_failed):
            return None
        print_line(self._format_summary(study, trials, "is over:"))
        print_line(explain_completeness(self._search, failed, is_exhausted=is_exhausted))
        return 1 if failed else 0
