"""Trials by a launcher of Hydra's: jobs of SLURM (submitit), or one after the other in this very process (basic).

Each job tells the study itself how it has ended, so it need not be told here; what is left are jobs that died.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from src.search.lost import gone, take_back
from src.search.outage import Outage, in_words
from src.search.parent import most_trials
from src.search.rows import Row
from src.search.trial import VARIABLE
from src.search.words import several
from src.search.working import Work, show, spent, trial_of, unfinished, worked
from src.tracking.vanished import this_process

if TYPE_CHECKING:
    from src.search.live import Live
    from src.search.parent import Parent

_LOOK_SECONDS = 2.0


def launched(work: Work, live: "Live", parent: "Callable[[], Parent | None]") -> tuple[int, str | None]:
    """Run trials in batches until nothing is left to do; the number that failed, and why no more begin.

    A batch is `search.jobs` trials; else one where trials run in this very process, depend on each other's values, or
    use up a budget of time or tokens; else all that there are. What ends a sweep is looked at between batches.
    """
    failures, outage = 0, Outage(live.line)
    while True:
        outage.insist(lambda: take_back(work, lambda each: gone(work, each)))
        rows = outage.insist(lambda: _shown(work, live, parent))
        most = work.search.max_failures
        if failures > most:
            return failures, f"{several(failures, 'failed trial')}, more than search.max_failures={most}"
        batch: list[Row] = []
        if not spent(work.search, rows, worked(work, parent())) and unfinished(work.search, work.space, rows):
            batch = list(_taken(work))
        if batch:
            with _watched(work, live, parent):
                words = _launch(work, batch)
                failures += sum(_ended(work, row.number, words, outage) == "failed" for row in batch)
        elif any(row.state == "running" for row in rows):  # by another process, or by jobs that an earlier call left
            time.sleep(_LOOK_SECONDS)
        else:
            return failures, None


def _shown(work: Work, live: "Live", parent: "Callable[[], Parent | None]") -> list[Row]:
    rows = work.study.rows()
    show(work, rows, live, parent())
    return rows


def _taken(work: Work) -> Iterator[Row]:
    search = work.search
    limited = search.max_hours is not None or search.max_tokens is not None
    alone = work.trials.launcher is None or search.sampler.learns or limited
    taken = 0
    while taken < (search.jobs or 1) or not (search.jobs or alone):
        row = work.study.take(this_process(), max_trials=most_trials(search, work.space))
        if row is None:
            return
        taken += 1
        yield row


def _launch(work: Work, batch: list[Row]) -> str | None:
    """What the launcher itself complained of."""
    jobs = []
    for row in batch:
        work.study.put(row.number, takes=int(row.about.get("takes", 0)) + 1)
        jobs.append((work.space.overrides(row.params), {VARIABLE: trial_of(work, row).encode()}))
    try:
        work.trials.launch(jobs, batch[0].number, work.folder)
    except Exception as error:  # of one job; the others go on
        return in_words(error)
    except BaseException:
        if work.trials.launcher is None:  # jobs of a scheduler go on, trials in this very process do not
            for row in batch:
                if _is_ours(work.study.row(row.number)):
                    work.study.release(row.number)
        raise
    return None


def _ended(work: Work, number: int, words: str | None, outage: Outage) -> str:
    """The state in which a trial has ended, where need be waited for, or told for a job that is gone."""

    def look() -> str:
        row = work.study.row(number)
        begun = row.about.get("worker") not in (None, this_process())
        if not _is_ours(row) or (begun and not gone(work, row)):
            return "" if _is_ours(row) else row.state
        work.store.close_vanished()
        work.study.tell(number, "failed", reason=f"its job has ended without a word; {words or work.folder}")
        return "failed"

    while not (state := outage.insist(look)):
        time.sleep(_LOOK_SECONDS)
    return state


def _is_ours(row: Row) -> bool:
    """Whether a trial runs, and this process answers for it."""
    return row.state == "running" and row.about.get("owner") == this_process()


@contextmanager
def _watched(work: Work, live: "Live", parent: "Callable[[], Parent | None]") -> Iterator[None]:
    """The table and the sweep's run are kept up to date by a thread, while the launcher has the main one."""
    ended, outage = threading.Event(), Outage(live.line)

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                _shown(work, live, parent)
            except Exception as error:
                outage.met(error)
            else:
                outage.over()

    thread = threading.Thread(target=watch, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
