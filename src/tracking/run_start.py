"""The start of a run: a new one in a store, an earlier one that goes on, or one without a store."""

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.core.processes import get_process_identity
from src.core.startup import pause_gc
from src.core.user_errors import UserError
from src.tracking import environment, outbox
from src.tracking.mlflow_format import escape_markdown, escape_unstorable, format_code_block
from src.tracking.outbox import Outbox

if TYPE_CHECKING:
    from src.tracking.client import StoreSession
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store

_SYSTEM_PREFIX = "system/"
# for the outbox that an earlier process left; another process may be delivering it
_DELIVERY_SECONDS = 20.0
# each attempt has waited 20 seconds for SQLite's lock
_MAX_LOCKED_TRIES = 5
_MAX_NOTE_CHARACTERS = 8000


class OpenedRun(NamedTuple):
    """A run that can be written to."""

    run_id: str
    # None if no store is asked
    session: "StoreSession | None"
    outbox: Outbox
    # where its page in the UI is, for a person
    ui_link: str
    # the copy of what is printed
    console_path: Path
    # by metric, the last step that the store has
    last_logged_steps: Mapping[str, int]
    # the step at which system metrics go on
    first_system_step: int


def resolve_source_runs(
    store: "Store", source_ids: Mapping[str, str], *, resume: bool
) -> "tuple[StoreSession | None, dict[str, str]]":
    """Open the store and look up the runs that a new one begins from.

    Args:
        source_ids: by tag (`init_from`, `forked_from`), the id of a run or its first digits.

    Returns:
        The session, None if the store is offline; and by tag, the full ids.
    """
    if store.offline:
        if resume or source_ids:
            raise UserError(
                "tracking=offline knows no earlier runs, so it takes neither init_from nor resume "
                "nor fork: leave it out, or first send the earlier run to a store: "
                f"{store.build_sync_command()}"
            )
        return None, {}
    session = store.open()
    with pause_gc():
        from src.tracking.earlier_runs import find_run
    return session, {tag: find_run(session, run_id, tag).id for tag, run_id in source_ids.items()}


def start_new_run(
    store: "Store", session: "StoreSession | None", name: str, tags: Mapping[str, str]
) -> OpenedRun:
    """Begin a new run: created in the store, or without one under an id of our own."""
    now, name = int(time.time() * 1000), escape_unstorable(name)
    metadata = _build_outbox_metadata(store, name, now)
    if session is None:
        run_id = uuid.uuid4().hex
        metadata["create"] = {"name": name, "tags": dict(tags), "started_at": now}
        box = Outbox(store.runs_folder, run_id, metadata)
        return OpenedRun(run_id, None, box, "", box.folder / outbox.CONSOLE_FILE, {}, 0)
    run_id, artifact_uri = _create_run(session, name, tags, now)
    box = Outbox(store.runs_folder, run_id, metadata)
    console = _resolve_console_path(artifact_uri, box)
    return OpenedRun(run_id, session, box, session.describe_ui_page(run_id), console, {}, 0)


def resume_run(session: "StoreSession", run: "RunInfo", tags: Mapping[str, str]) -> OpenedRun:
    """Have an earlier run go on, once all that it wrote is in the store; its status is RUNNING.

    Raises:
        UserError: another process writes or delivers the run, or the store fails.
    """
    from src.tracking.delivery import STORE_ERRORS
    from src.tracking.earlier_runs import find_run

    store, client = session.store, session.client
    try:
        _deliver_earlier_outbox(session, run.id)
        # looked up again, since its last steps are known only now
        run = find_run(session, run.id, "resume")
        for key, value in {**tags, **_build_resume_tags(run, tags.get("command", ""))}.items():
            client.set_tag(run.id, key, value)
        if "failure.reason" in run.tags:
            client.delete_tag(run.id, "failure.reason")
        client.update_run(run.id, status="RUNNING")
    except STORE_ERRORS as error:
        raise UserError(f"run {run.id} cannot go on in {store.tracking_uri}: {error}") from error
    metadata = _build_outbox_metadata(store, run.name, int(time.time() * 1000))
    box = Outbox(store.runs_folder, run.id, metadata)
    console = _resolve_console_path(run.artifact_uri, box)
    if console.parent == box.folder:
        # there is none if the run ended before it had printed anything
        with suppress(*STORE_ERRORS):
            client.download_artifacts(run.id, outbox.CONSOLE_FILE, str(box.folder))
    last_system_step = max(
        (step for key, step in run.last_steps.items() if key.startswith(_SYSTEM_PREFIX)), default=-1
    )
    link = session.describe_ui_page(run.id)
    return OpenedRun(run.id, session, box, link, console, run.last_steps, last_system_step + 1)


def _deliver_earlier_outbox(session: "StoreSession", run_id: str) -> None:
    """Deliver and remove what an earlier process of a run left in its outbox."""
    from src.tracking.delivery import deliver_outbox

    folder = outbox.resolve_outbox_folder(session.store.runs_folder, run_id)
    deadline = time.monotonic() + _DELIVERY_SECONDS
    while outbox.read_outbox_metadata(folder):
        if deliver_outbox(session, folder).is_complete:
            break
        if time.monotonic() >= deadline:
            raise UserError(
                f"run {run_id} cannot go on: another process still writes it or delivers it from "
                f"{folder}"
            )
        time.sleep(0.2)
    # a kill in the middle of its removal may have left a part of it
    outbox.remove_outbox(folder)


def _build_outbox_metadata(store: "Store", name: str, now: int) -> dict[str, object]:
    """Return what must be known of a run to deliver its outbox; `now` is in milliseconds."""
    return {
        "process": get_process_identity(),
        "name": name,
        "started_at": now,
        "uri": outbox.redact_uri(store.uri),
        "offline": store.offline,
        "experiment": store.experiment,
    }


def _build_resume_tags(run: "RunInfo", command: str) -> dict[str, str]:
    """Return the tags of a run that goes on: how often it did, and in its note how it had ended and
    by which command it goes on.
    """
    ended = run.status
    if "failure.reason" in run.tags:
        ended += f": {run.tags['failure.reason']}"
    note = (
        f"{run.tags.get('mlflow.note.content', '')}\n\n{escape_markdown(ended)}; resumed "
        f"by\n\n{format_code_block(command)}"
    )
    return {
        "resumed": str(int(run.tags.get("resumed", "0")) + 1),
        "mlflow.note.content": note[-_MAX_NOTE_CHARACTERS:],
    }


def _create_run(
    session: "StoreSession", name: str, tags: Mapping[str, str], now: int
) -> tuple[str, str]:
    """Create a run in the store; return its id and the address of its artifacts."""
    from src.tracking.delivery import STORE_ERRORS

    for tries_left in reversed(range(_MAX_LOCKED_TRIES)):
        try:
            run = session.client.create_run(session.experiment_id, now, dict(tags), name)
            return run.info.run_id, run.info.artifact_uri
        except STORE_ERRORS as error:
            if tries_left and "database is locked" in str(error):
                continue
            reason = " ".join(str(error).split())
            raise UserError(
                f"no run can be created in {session.store.tracking_uri}: {reason}"
            ) from error
    raise AssertionError("unreachable")


def _resolve_console_path(artifact_uri: str, box: Outbox) -> Path:
    """Return where the console is copied to: among the run's artifacts if these are plain files, so
    that it can be read meanwhile and survives a SIGKILL.
    """
    folder = Path(artifact_uri) if os.path.isabs(artifact_uri) else box.folder
    return folder / outbox.CONSOLE_FILE


def build_run_tags(
    kind: str,
    name: str,
    parent: str | None,
    code: environment.GitState | None,
    source_links: Mapping[str, str],
    *,
    is_resumed: bool,
) -> dict[str, str]:
    """Return the tags of a new run, or those that change when a run goes on (`is_resumed`).

    Args:
        source_links: in Markdown, by tag, the runs that it begins from.
    """
    command = environment.format_command_line()
    tags = {"command": command, "process": get_process_identity()}
    if is_resumed:
        return tags
    note = [f"**{escape_markdown(kind)}**: {escape_markdown(name)}", format_code_block(command)]
    note += [f"{tag}: {link}" for tag, link in source_links.items()]
    tags |= {
        "kind": kind,
        "mlflow.user": environment.get_user_name(),
        "mlflow.source.name": command.partition(" -m ")[2].partition(" ")[0] or command,
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": "\n\n".join(note),
    }
    if code is not None:
        tags |= {"commit": code.commit, "branch": code.branch, "dirty": str(code.is_dirty).lower()}
        tags |= {"mlflow.source.git.commit": code.commit, "mlflow.source.git.branch": code.branch}
    if parent is not None:
        tags["mlflow.parentRunId"] = parent
    return tags
