"""What SLURM's queue says of the jobs of one batch.

submitit asks the accounting (`sacct`). Many clusters keep none, and there it waits for ever for a
job that was cancelled before it could say anything. The queue (`squeue`) is everywhere.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

# SLURM's own words, and one for a job that the queue has forgotten since it ended
_GONE = "GONE"
_FINAL_STATES = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
    _GONE,
}
# of these the trial is not to blame
_INTERRUPTED_STATES = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "TIMEOUT"}
_MAX_DELAY_SECONDS = 30
_POLL_SECONDS = 2.0


class JobEnd:
    """How a job has ended.

    Args:
        job: its number; in an array NUMBER_PLACE.
        state: as SLURM calls it; `GONE` where the queue has forgotten the job.
    """

    def __init__(self, job: str, state: str) -> None:
        self.job, self.state = job, state

    def __str__(self) -> str:
        if self.state == _GONE:
            return f"SLURM knows no job {self.job} any more, as after scancel before it began"
        return f"SLURM says of job {self.job}: {self.state}"

    @property
    def is_cancelled(self) -> bool:
        return self.state == "CANCELLED"

    @property
    def is_interrupted(self) -> bool:
        """Preempted, out of time, or its node is lost: what it does may go on in another job."""
        return self.state in _INTERRUPTED_STATES


class JobQueue(SlurmInfoWatcher):
    """In the place of submitit's watcher, which asks the accounting; of one batch."""

    def __init__(self) -> None:
        super().__init__(delay_s=_MAX_DELAY_SECONDS)

    def _make_command(self) -> list[str] | None:
        if not self._registered - self._finished:
            return None
        # those that have ended are listed for some minutes
        return ["squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i|%T"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        text = string if isinstance(string, str) else string.decode()
        states = dict(line.split("|", 1) for line in text.splitlines() if "|" in line)
        return {
            job: {"JobID": job, "State": states.get(job, _GONE).strip()}
            for job in self._registered - self._finished
        }

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        # submitit's takes a state that it does not know, such as CONFIGURING, for an end
        return self.get_state(job_id, mode) in _FINAL_STATES

    def wait_for_end(self) -> list[JobEnd]:
        """How the jobs have ended, in the order in which they were given to SLURM."""
        # an array is registered as a whole too
        parts = [job for job in self._registered if "_" in job] or list(self._registered)
        jobs = sorted(parts, key=lambda job: int(job.partition("_")[2] or 0))
        while True:
            # asked once for all
            self.update_if_long_enough("force")
            if all(self.is_done(job, mode="cache") for job in jobs):
                break
            time.sleep(_POLL_SECONDS)
        return [JobEnd(job, self.get_state(job, mode="cache")) for job in jobs]


@contextmanager
def watch_queue() -> Iterator[JobQueue]:
    """Let the jobs that submitit gives to SLURM meanwhile be looked for in its queue."""
    watcher, queue = SlurmJob.watcher, JobQueue()
    SlurmJob.watcher = queue
    try:
        yield queue
    finally:
        SlurmJob.watcher = watcher
