"""`resume=job`: the same command begins a run, and goes on with it when its job is started again.

The job is torchrun's (`--rdzv-id`), which starts all processes again when one has failed, and with
another number of them when a machine has gone or come. A run is found by its tag `job`.
"""

import os
import re
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from src.config.build_nodes import Schema, build_node
from src.config.resume import parse_resume_request
from src.core.printing import print_line
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.tracking.store import Store

RESUME_JOB = "resume=job"
JOB_TAG = "job"
# until a process of another machine counts as dead (src/tracking/liveness.py), and a little more
_MAX_WAIT_SECONDS = 400.0
_POLL_SECONDS = 5.0
# the processes meet here once more, so it must stay open
_meeting_places: list[Any] = []


def resolve_job_run(arguments: Sequence[str], task: Schema) -> list[str]:
    """The command line in which `resume=job` has become `resume=ID`, or, where the job has no run
    yet, is left out and the run is tagged with the job. All processes of the job get the same.

    Of a run that goes on the config is its own: beside its id, only where its store is stays.

    Raises:
        UserError: this process belongs to no job that has a name.
    """
    job = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    if job in ("", "none"):
        raise UserError(
            f"{RESUME_JOB} goes on with the run of a job, and this process is of none: "
            "torchrun --rdzv-id=NAME gives it one"
        )
    others = [argument for argument in arguments if argument != RESUME_JOB]
    places = [word for word in others if re.match(r"[+~]*tracking\b", word)]
    run_id = _agree_on_run(job, places, task)
    return [f"resume={run_id}", *places] if run_id else [*others, f"tags.{JOB_TAG}={job}"]


def _agree_on_run(job: str, places: Sequence[str], task: Schema) -> str:
    """The id of the job's run, "" if it has none: the first process looks it up for all."""
    meeting, key = None, f"run of {os.environ['WORLD_SIZE']}"
    if os.environ["WORLD_SIZE"] != "1":
        from torch.distributed.rendezvous import rendezvous

        meeting, rank, _ = next(iter(rendezvous("env://", timeout=timedelta(minutes=15))))
        _meeting_places.append(meeting)
        if rank > 0:
            return str(meeting.get(key).decode())
    store: Store = build_node(parse_resume_request((RESUME_JOB, *places), task).tracking)
    store.check()
    run_id = _find_ended_run(store, job)
    if meeting is not None:
        meeting.set(key, run_id)
    return run_id


def _find_ended_run(store: "Store", job: str) -> str:
    """The id of the job's run, once its processes are known to be gone; "" if there is none."""
    from src.tracking.liveness import check_liveness

    found = store.search_runs(f"tags.{JOB_TAG} = '{job}'", limit=1)
    if not found:
        return ""
    [run] = found
    begun_at = time.monotonic()
    while run.status == "RUNNING":
        liveness = check_liveness(run.id, run.tags, store.runs_folder)
        if not liveness.is_alive or time.monotonic() - begun_at > _MAX_WAIT_SECONDS:
            break
        print_line(f"run {run.id} may still be running ({liveness.explanation}): waiting for it")
        time.sleep(_POLL_SECONDS)
        run = store.find_run(run.id, key="resume")
    return run.id
