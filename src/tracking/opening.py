"""How a run begins: new in a store, again in a store, or with no store at all."""

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.terms.fault import Fault
from src.terms.startup import importing
from src.tracking import outbox
from src.tracking.content import note_code, note_text
from src.tracking.outbox import Outbox
from src.tracking.place import Place
from src.tracking.redaction import hidden
from src.tracking.vanished import this_process

if TYPE_CHECKING:
    from src.tracking.lookup import RunInfo
    from src.tracking.session import Session

_SYSTEM = "system/"
_DELIVER_SECONDS = 20.0  # for what the run wrote before; a courier may still be at it
_LOCKED_TRIES = 5  # each of which has waited 20 seconds for SQLite's lock


class Opened(NamedTuple):
    """A run that can be written to.

    `session` is None where no store is asked. `floors` are the last steps by metric that the store has of a run that
    goes on; `system_step` is where its system metrics go on. `console` is where the copy of what is printed stands.
    """

    run_id: str
    session: "Session | None"
    outbox: Outbox
    link: str
    console: Path
    floors: Mapping[str, int]
    system_step: int


def look_up(place: Place, earlier: Mapping[str, str], *, resume: bool) -> tuple["Session | None", dict[str, str]]:
    """The open store (None where none is asked), and the whole ids of the earlier runs that tags are to name."""
    if place.offline:
        if resume or earlier:
            raise Fault(
                "tracking=offline knows no earlier runs, so it takes neither init_from nor resume nor fork: "
                "leave it out, or first send the earlier run to a store: python -m src.sync"
            )
        return None, {}
    with importing():
        from src.tracking.lookup import find
        from src.tracking.session import session

    opened = session(place)
    return opened, {tag: find(opened, run_id, tag).id for tag, run_id in earlier.items()}


def begin(place: Place, session: "Session | None", name: str, tags: Mapping[str, str]) -> Opened:
    """A new run: created in the store, or under an id of our own where there is none."""
    now = int(time.time() * 1000)
    about = _about(place, name, now)
    if session is None:
        run_id = uuid.uuid4().hex
        create = {"name": name, "tags": dict(tags), "started_at": now}
        box = Outbox(place.runs_folder, run_id, about | {"create": create})
        return Opened(run_id, None, box, "", box.folder / outbox.CONSOLE, {}, 0)
    run_id, artifact_uri = _created(session, name, tags, now)
    box = Outbox(place.runs_folder, run_id, about)
    return Opened(run_id, session, box, session.link(run_id), _console(artifact_uri, box), {}, 0)


def again(session: "Session", run: "RunInfo", tags: dict[str, str]) -> Opened:
    """An earlier run goes on: RUNNING, with everything that it had written before in the store."""
    from src.tracking.delivery import WORLD, deliver
    from src.tracking.lookup import find

    old = outbox.folder_of(session.store.runs_folder, run.id)
    deadline = time.monotonic() + _DELIVER_SECONDS
    try:
        while outbox.about(old) and not deliver(session, old).whole and time.monotonic() < deadline:
            time.sleep(0.2)
        if outbox.about(old):
            raise Fault(f"run {run.id} cannot go on: another process still writes it or delivers it from {old}")
        outbox.remove(old)  # what a kill may have left of it
        run = find(session, run.id, "resume")  # its last steps are known only now
        client = session.client
        for key, value in (tags | _history(run, tags.get("command", ""))).items():
            client.set_tag(run.id, key, value)
        if "failure.reason" in run.tags:
            client.delete_tag(run.id, "failure.reason")
        client.update_run(run.id, status="RUNNING")
    except WORLD as error:
        raise Fault(f"run {run.id} cannot go on in {hidden(session.store.address)}: {hidden(str(error))}") from error
    box = Outbox(session.store.runs_folder, run.id, _about(session.store, run.name, int(time.time() * 1000)))
    console = _console(run.artifact_uri, box)
    if console.parent == box.folder:
        with suppress(*WORLD):  # a run that ended before it had printed anything has none
            client.download_artifacts(run.id, outbox.CONSOLE, str(box.folder))
    system = max((step for key, step in run.steps.items() if key.startswith(_SYSTEM)), default=-1)
    return Opened(run.id, session, box, session.link(run.id), console, run.steps, system + 1)


def _about(place: Place, name: str, now: int) -> dict[str, object]:
    """What those who deliver must know of the run."""
    return {
        "process": this_process(),
        "name": name,
        "started_at": now,
        "uri": outbox.place_of(place.uri),
        "experiment": place.experiment,
    }


def _history(run: "RunInfo", command: str) -> dict[str, str]:
    """The tags that say that a run goes on: how often, and in its note how it had ended and by which command."""
    ended = f"{run.status}: {run.tags['failure.reason']}" if "failure.reason" in run.tags else run.status
    note = f"{run.tags.get('mlflow.note.content', '')}\n\n{note_text(ended)}; resumed by\n\n{note_code(command)}"
    return {"resumed": str(int(run.tags.get("resumed", "0")) + 1), "mlflow.note.content": note[-8000:]}


def _created(session: "Session", name: str, tags: Mapping[str, str], now: int) -> tuple[str, str]:
    from src.tracking.delivery import WORLD

    for left in reversed(range(_LOCKED_TRIES)):
        try:
            run = session.client.create_run(session.experiment_id, now, dict(tags), name)
            return run.info.run_id, run.info.artifact_uri
        except WORLD as error:
            if left and "database is locked" in str(error):
                continue
            reason = hidden(" ".join(str(error).split()))
            raise Fault(f"no run can be created in {hidden(session.store.address)}: {reason}") from error
    raise AssertionError("unreachable")


def _console(artifact_uri: str, box: Outbox) -> Path:
    """In place where artifacts are plain files: to be read meanwhile, and to outlive a SIGKILL."""
    folder = Path(artifact_uri) if os.path.isabs(artifact_uri) else box.folder
    return folder / outbox.CONSOLE
