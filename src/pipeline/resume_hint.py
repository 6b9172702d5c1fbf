"""What the user is told when a run ends early: what went wrong, what is left of the run, and the
command that goes on with it.
"""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.config.allowed_targets import allowed_overrides
from src.core.command_names import name_commands
from src.core.failures import diagnose_failure, format_error
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import read_tracking_uri
from src.core.printing import print_line
from src.core.redaction import redact_text
from src.core.run_ending import run_id_of_error
from src.core.user_errors import UserError
from src.tracking.store import Store
from src.training.checkpoint_files import list_checkpoints

if TYPE_CHECKING:
    from src.pipeline.run_parts import RunParts


# what stands before a command with fork=true
BEGIN_AGAIN = "begin again, with what shall differ behind it"


class ResumeHint(NamedTuple):
    """What is told of a run that ends early.

    Attributes:
        checkpoint_folder: the folder of its checkpoints.
        resume_command: the command that goes on with it.
        is_untrained: its training has not begun; as it is, it would end there again.
        can_begin_again: as long as it has no checkpoint, `fork=true` behind that command begins a
            new run, in which every key may be another.
    """

    checkpoint_folder: Path
    resume_command: str
    is_untrained: bool = False
    can_begin_again: bool = False


# by the id of each run of this process
_resume_hints: dict[str, ResumeHint] = {}


def store_resume_hint(run_id: str, hint: ResumeHint) -> None:
    """Store what to print if the run ends early."""
    _resume_hints[run_id] = hint


def note_resume_command(parts: "RunParts") -> None:
    """Keep what is told if a run that has been opened ends early."""
    record, store = parts.record, parts.store
    resume_command = parts.hooks.resume_command or build_resume_command(
        record.run_id, root=store.root, uri=store.uri, offline=store.offline
    )
    has_own_command = parts.hooks.resume_command is None and not store.offline
    untrained = has_own_command and parts.is_untrained
    hint = ResumeHint(
        parts.checkpoint_folder, resume_command, untrained, untrained and parts.phase is None
    )
    store_resume_hint(record.run_id, hint)


def note_training(run_id: str) -> None:
    """Note that the training of a run begins, from where on it may go on as it is."""
    if (hint := _resume_hints.get(run_id)) is not None:
        _resume_hints[run_id] = hint._replace(is_untrained=False)


def report_error(error: Exception) -> int:
    """Print an error, with its traceback only if it is a mistake in this program.

    Returns the exit code: 2 for a UserError before a run has begun, else 1.
    """
    import traceback

    # the run that it ended, where one had begun
    run_id = run_id_of_error(error)
    # a mistake of this program
    if not isinstance(error, UserError) and diagnose_failure(error) is None:
        print_line("".join(traceback.format_exception(error)), to_stderr=True)
    said = str(error) if isinstance(error, UserError) else format_error(error)
    print_line(f"error: {said}", to_stderr=True)
    print_resume_hint(error, "FAILED")
    return 2 if isinstance(error, UserError) and run_id is None else 1


def print_resume_hint(error: BaseException, status: str) -> None:
    """Print what is left of the run that an exception has ended, and how to go on with it; nothing
    if no run had begun.
    """
    run_id = run_id_of_error(error)
    if run_id is None:
        return
    left = _resume_hints.get(run_id)
    kept = list_checkpoints(left.checkpoint_folder) if left is not None else []
    print_line(
        f"run {run_id} {status}{f'; last checkpoint: {os.path.relpath(kept[0])}' if kept else ''}",
        to_stderr=True,
    )
    if left is None:
        return
    # as it is, it would fail again
    fails_again = left.is_untrained and isinstance(error, UserError)
    if fails_again or (left.can_begin_again and status == "FAILED" and not kept):
        print_line(f"{BEGIN_AGAIN}: {left.resume_command} fork=true", to_stderr=True)
    if not fails_again:
        print_line(f"resume: {left.resume_command}", to_stderr=True)


def build_resume_command(
    run_id: str, *, root: str, uri: str | None, offline: bool = False, sweep: str | None = None
) -> str:
    """`python -m src.run resume=...`, with what is needed to find the store again where it is not
    the default.

    Args:
        root: the store's `tracking.root`.
        uri: its `tracking.uri`; a password in it is starred out, and must be typed again.
        sweep: the id of the sweep that the run is a trial of, or itself: it is the sweep that goes
            on.
        offline: the run is in no store yet; what sends it to one comes first, and says under which
            id.
    """
    if offline:
        # src.sync sends it to the store of the environment
        words = ["resume=ID", *_build_store_overrides(root, uri or read_tracking_uri())]
        return name_commands(
            f"{Store(root=root).build_sync_command(run_id)}, and then "
            f"{shlex.join(['python', '-m', 'src.run', *words])} with the id that it has been given"
        )
    if sweep is not None:
        return build_sweep_command(sweep, root=root, uri=uri)
    words = [f"resume={run_id[:8]}", *_build_store_overrides(root, uri)]
    return name_commands(shlex.join(["python", "-m", "src.run", *words]))


def build_sweep_command(
    sweep: str, *, root: str, uri: str | None, storage: str | None = None
) -> str:
    """How a person goes on with a sweep: `python -m src.run -m sweep=...`; `storage` is its
    `search.storage`.
    """
    words = [
        "python",
        "-m",
        "src.run",
        "-m",
        f"sweep={sweep[:8]}",
        *_build_store_overrides(root, uri),
    ]
    if storage is not None:
        words.append(f"search.storage={redact_text(storage)}")
    return name_commands(shlex.join(words))


def _build_store_overrides(root: str, uri: str | None) -> list[str]:
    """What a command must repeat: the packages that are allowed, and a store that is not the
    default.
    """
    words = allowed_overrides()
    if Path(root) != PROJECT_ROOT:
        words.append(f"tracking.root={root}")
    # a password is left to the environment, where it came from
    if uri is not None and not (uri == read_tracking_uri() and redact_text(uri) != uri):
        words.append(f"tracking.uri={redact_text(uri)}")
    elif uri is None and read_tracking_uri() is not None:
        words.append("tracking.uri=null")
    return words
