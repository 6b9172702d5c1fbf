"""A program's last words: what went wrong, what is left of the run, and the command that goes on with it."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from src.terms.fault import Fault
from src.terms.world import diagnose, message
from src.tracking.ending import recorded
from src.tracking.redaction import spoken
from src.training.checkpoints import listed


class Left(NamedTuple):
    """What a run would leave: the folder of its checkpoints, and the command that goes on with it."""

    checkpoints: Path
    command: str


_left: dict[str, Left] = {}  # by the id of each run of this process


def remember(run_id: str, left: Left) -> None:
    """Know what to say should the run end early."""
    _left[run_id] = left


def complain(error: Exception) -> int:
    """Say what went wrong, as shortly as it allows; returns the exit code: 2 for a person's mistake, else 1."""
    import traceback

    run_id = recorded(error)  # the run that it ended, where one had begun
    if not isinstance(error, Fault) and diagnose(error) is None:  # a mistake of this program
        print(spoken("".join(traceback.format_exception(error))), file=sys.stderr)
    said = str(error) if isinstance(error, Fault) else message(error)
    print(f"error: {spoken(said)}", file=sys.stderr)
    part(error, "FAILED")
    return 2 if isinstance(error, Fault) and run_id is None else 1


def part(error: BaseException, status: str) -> None:
    """Say what is left of the run that an exception has ended, where it was in one, and how to go on with it."""
    run_id = recorded(error)
    if run_id is None:
        return
    left = _left.get(run_id)
    kept = listed(left.checkpoints) if left is not None else []
    print(f"run {run_id} {status}{f'; last checkpoint: {os.path.relpath(kept[0])}' if kept else ''}", file=sys.stderr)
    if left is not None:
        print(f"resume: {left.command}", file=sys.stderr, flush=True)
