"""From the outbox to the store: in order, in batches, each write as often as needed and with the effect of once.

What the store has taken is marked after each request. Between the store's commit and the mark lies a gap: whoever
delivers may be killed in it, or a server in the middle of its answer. Everything after the mark is then sent again, and
nothing is doubled, because each kind of write is idempotent in MLflow: a point's primary key is the whole point (run,
key, time, step, value), a parameter of the same value is passed over, a tag and a status are set to what they are, a
data set is found by name and digest, a file is put where it stands.
"""

import math
import posixpath
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlparse

from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from src.terms.fault import Fault
from src.tracking import journal, lineage, offline, outbox, vanished
from src.tracking.session import Session

# How the world fails: no disk, no network (requests' errors are OSErrors), a store that refuses.
WORLD = (MlflowException, OSError)
TROUBLE = (*WORLD, Fault)  # and how an outbox fails that comes from elsewhere

_MOST_POINTS, _MOST_OTHERS = 1000, 100  # what MLflow takes in one request
_SILENT_SECONDS = 900.0
_Write = dict[str, Any]
T = TypeVar("T")


class Delivered(NamedTuple):
    """What one passage did: how many entries it sent, and whether that was all that there will ever be.

    `busy` says that another process was at it.
    """

    entries: int
    whole: bool
    busy: bool = False


def deliver(session: Session, folder: Path, *, go_on: Callable[[], bool] = lambda: True) -> Delivered:
    """Pass on what an outbox holds, until it is empty or `go_on` says no. Removes the folder once all is delivered.

    Returns at once where somebody else is at it. Raises one of `WORLD` where the store fails: what it had taken by
    then is marked. A run that no store knows yet is created first, under an id that the store chooses.
    """
    with outbox.only_one(folder) as mine:
        if not mine or not outbox.about(folder):
            return Delivered(0, False, busy=True)
        parcel = _Parcel(session, folder)
        ended = parcel.send(go_on)
        if ended:
            parcel.finish()
            outbox.remove(folder)
        return Delivered(parcel.sent, ended)


class _Parcel:
    """One outbox on its way."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.sent = 0
        self._session = session
        self._client = session.client
        self._folder = folder
        self._run_id = offline.settle(session, folder)
        self._artifact_uri = ""
        self._points: list[Metric] = []

    def send(self, go_on: Callable[[], bool]) -> bool:
        """Send everything behind the mark; true where nothing can follow it."""
        over = _is_over(self._folder)  # asked before reading: what is written meanwhile must not be missed
        start = outbox.delivered(self._folder)
        position, unread, ended = start, 0, False
        for entry, behind in journal.read(self._folder, start):
            if entry is None:
                print(f"tracking: {self._folder}: a line before {behind} cannot be read", file=sys.stderr)
                continue
            if entry["kind"] == "end":
                ended = True
                break  # before the mark: whoever comes after a kill must find it again
            position, unread = behind, unread + 1
            if entry["kind"] == "points":
                self._points += _metrics(entry)
                if len(self._points) < _MOST_POINTS:
                    continue
            self._flush()
            if entry["kind"] != "points":
                self._try(lambda entry=entry: self._write(entry), entry)  # type: ignore[misc]
            outbox.mark(self._folder, position)
            self.sent, unread = self.sent + unread, 0
            if not go_on():
                return False
        if unread:
            self._flush()
            outbox.mark(self._folder, position)
            self.sent += unread
        return ended or over

    def finish(self) -> None:
        """What stands in the folder and in no entry."""
        console = self._folder / outbox.CONSOLE
        if console.exists():
            self._put(console, outbox.CONSOLE)
        refused = self._folder / "refused.txt"
        if refused.exists():
            count = sum(not line.startswith(" ") for line in refused.read_text(encoding="utf-8").splitlines())
            self._client.set_tag(self._run_id, "tracking.refused", f"{count} (artifact tracking/refused.txt)")
            self._put(refused, "tracking/refused.txt")

    def _flush(self) -> None:
        while self._points:
            some, self._points = self._points[:_MOST_POINTS], self._points[_MOST_POINTS:]
            try:
                self._log(some)
            except BaseException:
                self._points = []
                raise

    def _log(self, points: Sequence[Metric]) -> None:
        """Send points; of those among which the store finds a bad one only that one stays behind."""
        try:
            self._client.log_batch(self._run_id, metrics=points)
        except MlflowException as error:
            if not self._is_refused(error):
                raise
            if len(points) == 1:
                self._refuse(f"{points[0].key}={points[0].value} at step {points[0].step}", error)
                return
            self._log(points[: len(points) // 2])
            self._log(points[len(points) // 2 :])

    def _try(self, write: Callable[[], None], entry: _Write) -> None:
        try:
            write()
        except MlflowException as error:
            if not self._is_refused(error):
                raise
            self._refuse(str(entry)[:2000], error)

    def _write(self, entry: _Write) -> None:
        match entry["kind"]:
            case "params":
                for some in _batches(list(entry["params"].items())):
                    self._client.log_batch(self._run_id, params=[Param(*each) for each in some])
            case "tags":
                tags = offline.mapped(self._session, entry["tags"]) if offline.is_local(self._folder) else entry["tags"]
                for some in _batches(list(tags.items())):
                    self._client.log_batch(self._run_id, tags=[RunTag(*each) for each in some])
            case "dataset":
                context = InputTag("mlflow.data.context", entry["split"])
                self._client.log_inputs(self._run_id, [DatasetInput(Dataset(**entry["dataset"]), [context])])
            case "artifact":
                source = outbox.staged(self._folder, entry["place"])
                if source.exists():  # else it was delivered before the mark could be written
                    self._put(source, entry["artifact"])
                    _drop(source)
            case "mirror":
                self._mirror(entry["artifact"], entry["add"], entry["keep"])
            case "link":
                lineage.link_back(self._client, entry["source"], entry["tag"])
            case "status":
                self._client.set_terminated(self._run_id, entry["status"], entry["ended_at"])
            case unknown:
                raise Fault(f"{self._folder}: the journal holds an unknown kind of write: {unknown!r}")

    def _mirror(self, artifact: str, add: dict[str, str], wanted: Sequence[str]) -> None:
        for name, place in add.items():
            source = outbox.staged(self._folder, place)
            try:
                self._put(source, posixpath.join(artifact, name))
            except FileNotFoundError:  # it vanished before its turn came: a later entry says what stands there now
                if source.exists():
                    raise
                continue
        for path in self._listed(artifact):
            if posixpath.basename(path) not in wanted:
                self._delete(path)
        for place in add.values():
            _drop(outbox.staged(self._folder, place))

    def _put(self, source: Path, artifact: str) -> None:
        """Have a file or folder stand at `artifact`; where artifacts are plain files it gets a second name."""
        target = self._local(artifact)
        if target is not None:
            outbox.keep(source, target)
        elif source.is_dir():
            self._client.log_artifacts(self._run_id, str(source), artifact)
        else:
            folder, name = posixpath.split(artifact)
            if name != source.name:
                raise Fault(f"{self._folder}: the journal names {source.name!r} for artifact {artifact!r}")
            self._client.log_artifact(self._run_id, str(source), folder or None)

    def _listed(self, artifact: str) -> list[str]:
        return [each.path for each in self._client.list_artifacts(self._run_id, artifact) if not each.is_dir]

    def _delete(self, artifact: str) -> None:
        target = self._local(artifact)
        if target is not None:
            target.unlink(missing_ok=True)
        else:
            place = get_artifact_repository(self._uri(), tracking_uri=self._session.store.address)
            place.delete_artifacts(artifact)  # type: ignore[no-untyped-call,unused-ignore]

    def _uri(self) -> str:
        self._artifact_uri = self._artifact_uri or self._client.get_run(self._run_id).info.artifact_uri
        return self._artifact_uri

    def _local(self, artifact: str) -> Path | None:
        """Where an artifact lies on this machine; None where the store keeps it elsewhere."""
        try:
            path = outbox.inside(artifact)
        except ValueError as error:  # a folder may come from another machine
            raise Fault(f"{self._folder}: {error}") from error
        folder = local_path(self._uri())
        return None if folder is None else folder / path

    def _is_refused(self, error: MlflowException) -> bool:
        """Whether the store will never take this write. A run in the bin is not that: it may be restored."""
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            return False
        run = self._client.get_run(self._run_id)
        return bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)

    def _refuse(self, what: str, error: MlflowException) -> None:
        """Set aside what the store does not take, so that the rest can follow; nothing is dropped in silence."""
        reason = " ".join(str(error).split())[:500]
        print(f"tracking: the store refuses {what[:200]} ({reason[:200]})", file=sys.stderr)
        with open(self._folder / "refused.txt", "a", encoding="utf-8") as file:
            file.write(f"{what}\n    {reason}\n")


def local_path(uri: str) -> Path | None:
    """The folder that an artifact URI means on this machine; None where it means another place."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(uri) if parsed.scheme == "" else None


def deliver_all(session: Session, only: Sequence[str] = (), *, local: bool = False) -> list[str]:
    """Pass on what waits on this machine for this store; `only` these runs, where ids are given.

    `local` runs, kept with no server at all, are created in the store; else they are left where they are. Returns one
    line about each run: what was delivered, or why it still waits. Nothing here ends a program.
    """
    said = []
    for folder in outbox.waiting(session.store.runs_folder):
        if (only and folder.name not in only) or not _is_for(session, folder, local):
            continue
        try:
            outbox.refuse_links(folder)
            done = deliver(session, folder)
        except TROUBLE as error:
            said.append(f"run {folder.name} still waits in {folder} ({' '.join(str(error).split())[:200]})")
            continue
        if done.whole:
            said.append(f"{done.entries} writes of run {folder.name} have reached the store")
    return said


def _is_for(session: Session, folder: Path, local: bool) -> bool:
    if offline.is_local(folder):
        return local
    return bool(outbox.about(folder).get("uri") == outbox.place_of(session.store.uri))


def _is_over(folder: Path) -> bool:
    """Whether nothing more will be written here, though no last line says so.

    A process of another machine cannot be seen; its heartbeat comes every minute, so a long silence is its end.
    """
    process = str(outbox.about(folder).get("process", ""))
    if not vanished.pulse(folder.name, {"process": process}, folder.parents[1]).alive:
        return True
    elsewhere = process.split(" ")[0] != vanished.this_process().split(" ")[0]
    return elsewhere and time.time() - outbox.last_write(folder) > _SILENT_SECONDS


def _metrics(entry: _Write) -> Iterator[Metric]:
    for key, value in entry["values"].items():
        yield Metric(key, math.nan if value is None else value, entry["when"], entry["step"])


def _drop(source: Path) -> None:
    """Remove a staged file that the store has; a folder's files go with the outbox."""
    if source.is_file():
        source.unlink(missing_ok=True)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _MOST_OTHERS] for start in range(0, len(items), _MOST_OTHERS))
