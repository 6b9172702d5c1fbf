"""Trials by a launcher of Hydra's: jobs of a cluster (submitit), or one after the other in this
very process (basic).

Each job tells the study itself how it has ended; what is left to do here is to find jobs that ended
without telling.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from src.core.processes import get_process_identity
from src.core.retry import OutageHandler, describe_error
from src.search.run.scheduler import MAX_ATTEMPTS, explain_failures, outage_errors
from src.search.run.sweep_context import SweepContext
from src.search.run.trial_spec import TRIAL_VARIABLE
from src.search.trials import TrialRecord

if TYPE_CHECKING:
    from src.search.run.slurm_queue import JobEnd, JobQueue
    from src.search.view.progress import ProgressDisplay
    from src.search.view.sweep_reporter import SweepReporter

_POLL_SECONDS = 2.0


def run_with_launcher(
    context: SweepContext,
    display: "ProgressDisplay",
    get_reporter: "Callable[[], SweepReporter | None]",
) -> tuple[int, str | None]:
    """Run trials in batches until nothing is left to do.

    A batch has `search.jobs` trials. Without that key it has one trial if trials run in this very
    process, learn from each other's values or use up a budget of time or tokens, else all trials
    that there are. Budget and failures are looked at between batches.

    Returns:
        The number of trials that failed, and why no more begin, unless all are done.
    """
    failures, outage = 0, OutageHandler(display.print_line, outage_errors())
    while True:
        outage.retry_until_ok(lambda: context.release_abandoned(context.is_abandoned))
        trials = outage.retry_until_ok(lambda: _publish_trials(context, display, get_reporter))
        if failures > context.search.max_failures:
            return failures, explain_failures(failures, context.search.max_failures)
        batch: list[TrialRecord] = []
        if context.has_work_left(trials, get_reporter()):
            batch = list(_claim_batch(context))
        if batch:
            with _publish_in_background(context, display, get_reporter):
                complaint, ends = _launch_batch(context, batch)
                failures += sum(
                    _await_final_state(context, trial.number, complaint, outage, end) == "failed"
                    for trial, end in zip(batch, ends, strict=True)
                )
        elif any(trial.state == "running" for trial in trials):
            # by another process, or by jobs that an earlier call left
            time.sleep(_POLL_SECONDS)
        else:
            return failures, None


def _publish_trials(
    context: SweepContext,
    display: "ProgressDisplay",
    get_reporter: "Callable[[], SweepReporter | None]",
) -> list[TrialRecord]:
    trials = context.study.load_trials()
    context.publish_progress(trials, display, get_reporter())
    return trials


def _claim_batch(context: SweepContext) -> Iterator[TrialRecord]:
    search = context.search
    is_limited = search.max_hours is not None or search.max_tokens is not None
    is_in_process = context.composer.launcher_target is None
    one_by_one = is_in_process or search.sampler.is_adaptive or is_limited
    size = search.jobs or (1 if one_by_one else None)
    claimed = 0
    while size is None or claimed < size:
        trial = context.claim_trial()
        if trial is None:
            return
        claimed += 1
        yield trial


def _launch_batch(
    context: SweepContext, batch: list[TrialRecord]
) -> tuple[str | None, "Sequence[JobEnd | None]"]:
    """Run a batch to its end.

    Returns:
        What the launcher itself complained of, and how the job of each trial has ended, where a
        scheduler tells.
    """
    jobs = [
        (
            context.space.format_overrides(trial.params),
            {TRIAL_VARIABLE: context.begin_attempt(trial).to_base64()},
        )
        for trial in batch
    ]
    complaint: str | None = None
    ends: Sequence[JobEnd | None] = [None] * len(batch)
    with _watch_scheduler(context) as queue:
        try:
            context.composer.launch_batch(jobs, batch[0].number, context.folder)
        except Exception as error:
            # of one job; the others go on
            complaint = describe_error(error)
        except BaseException:
            # jobs of a cluster go on, trials in this very process do not
            if context.composer.launcher_target is None:
                for trial in batch:
                    if _is_running_here(context.study.load_trial(trial.number)):
                        context.study.release_trial(trial.number)
            raise
        if queue is not None:
            ends = queue.wait_for_end()
    return complaint, ends


def _watch_scheduler(context: SweepContext) -> "AbstractContextManager[JobQueue | None]":
    if not context.composer.uses_slurm:
        return nullcontext()
    from src.search.run.slurm_queue import watch_queue

    return watch_queue()


def _await_final_state(
    context: SweepContext,
    number: int,
    complaint: str | None,
    outage: OutageHandler,
    end: "JobEnd | None" = None,
) -> str:
    """Wait for a trial to end and return its last state; one whose job is gone fails, or goes on in
    another job if a scheduler took the place of this one.

    Args:
        complaint: of the launcher.
        end: of the trial's job; None where no scheduler tells.
    """

    def read_state() -> str:
        trial = context.study.load_trial(number)
        if trial.state == "waiting" and end is not None and end.is_cancelled:
            # by a person, who does not want it to come back
            context.study.end_trial(number, "failed", reason=f"its job {end.job} was cancelled")
            return "failed"
        if not _is_running_here(trial):
            return trial.state
        if end is None and _is_job_alive(context, trial):
            return ""
        context.store.close_vanished_runs()
        reason = f"its job has ended without a word; {end or complaint or context.folder}"
        run_id = str(trial.attributes.get("run_id", ""))
        if end is not None and run_id and context.store.find_run(run_id).status == "RUNNING":
            # nobody can look at a process of another machine
            context.store.mark_ended(run_id, "FAILED", reason)
        attempts = int(trial.attributes.get("takes", 0))
        if end is not None and end.is_interrupted and attempts < MAX_ATTEMPTS:
            context.study.release_trial(number)
            return "waiting"
        context.study.end_trial(number, "failed", reason=reason)
        return "failed"

    while not (state := outage.retry_until_ok(read_state)):
        time.sleep(_POLL_SECONDS)
    return state


def _is_job_alive(context: SweepContext, trial: TrialRecord) -> bool:
    """Say whether the job of a trial has begun and not vanished; this process is no sign of it."""
    if trial.attributes.get("worker") in (None, get_process_identity()):
        return False
    alone = {name: value for name, value in trial.attributes.items() if name != "owner"}
    return not context.is_abandoned(replace(trial, attributes=alone))


def _is_running_here(trial: TrialRecord) -> bool:
    """Say whether a trial runs and this process answers for it."""
    return trial.state == "running" and trial.attributes.get("owner") == get_process_identity()


@contextmanager
def _publish_in_background(
    context: SweepContext,
    display: "ProgressDisplay",
    get_reporter: "Callable[[], SweepReporter | None]",
) -> Iterator[None]:
    """Keep the table and the sweep's run up to date while the launcher has the main thread."""
    ended, outage = threading.Event(), OutageHandler(display.print_line, outage_errors())

    def publish() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                _publish_trials(context, display, get_reporter)
            except Exception as error:
                outage.on_failure(error)
            else:
                outage.on_success()

    thread = threading.Thread(target=publish, name="publishing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
