"""Delivery of an outbox to the store: in order, in batches, each write as often as needed and with
the effect of one.

What the store has taken is noted in the outbox after each request. Whoever delivers may be killed
between the store's commit and the note, or the server may end in the middle of its answer. What
follows the note is then sent again and nothing is doubled, because each kind of write is idempotent
in MLflow: the primary key of a point is the whole point (run, key, time, step, value), a parameter
with the same value is ignored, a tag and a status are set to what they are, a data set is found by
name and digest, a file replaces itself, and a run's model is registered under a name once.

What the store will never take is set aside alone: one parameter of many, one point of a thousand.
"""

import functools
import math
import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from src.core.printing import print_line
from src.core.processes import identify_machine
from src.core.user_errors import UserError
from src.tracking import outbox
from src.tracking.liveness import check_liveness
from src.tracking.mlflow_format import to_local_path
from src.tracking.offline_runs import create_offline_run, map_run_id_tags
from src.tracking.registered_model import register_delivered_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from src.tracking.client import StoreSession

# how the world fails: the disk, the network (errors of requests are OSErrors), or the store
STORE_ERRORS = (MlflowException, OSError)
# A UserError is raised for an outbox that was copied here from elsewhere.
DELIVERY_ERRORS = (*STORE_ERRORS, UserError)
# the tag of a run that names its source, and the tag of the source that names such runs
BACK_LINK_TAGS = {"init_from": "used_by", "forked_from": "forks"}
_MAX_LINKED_IDS = 200
# what MLflow takes in one request
_MAX_POINTS, _MAX_OTHERS = 1000, 100
_SILENCE_LIMIT_SECONDS = 900.0
_Entry = dict[str, Any]


class DeliveryResult(NamedTuple):
    """The result of one delivery."""

    # entries that the store took
    sent_count: int
    # the run has ended, and everything has been delivered
    is_complete: bool
    # nothing was done: another process delivers this outbox, or it is gone
    is_busy: bool = False
    # of the run in the store, which gives a run that began offline a new one
    run_id: str = ""


def deliver_pending_outboxes(session: "StoreSession") -> list[str]:
    """Deliver the outboxes of this machine that were begun for this store.

    Returns one line for each of them that was delivered or still waits; errors of the store are
    such lines too. Runs kept offline stay where they are.
    """
    lines = []
    uri = outbox.redact_uri(session.store.uri)
    for folder in outbox.list_pending_outboxes(session.store.runs_folder):
        metadata = outbox.read_outbox_metadata(folder)
        if "create" in metadata or metadata.get("uri") != uri:
            continue
        try:
            outbox.reject_symlinks(folder)
            result = deliver_outbox(session, folder)
        except DELIVERY_ERRORS as error:
            reason = " ".join(str(error).split())[:200]
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                reason += "; if the run was deleted for good, delete this folder too"
            lines.append(f"run {folder.name} still waits in {folder} ({reason})")
            continue
        if result.is_complete:
            lines.append(f"{result.sent_count} writes of run {folder.name} have reached the store")
    return lines


def deliver_outbox(
    session: "StoreSession", folder: Path, *, should_continue: Callable[[], bool] = lambda: True
) -> DeliveryResult:
    """Deliver what an outbox holds; a run that began offline is created in the store first.

    The folder is removed once the run has ended and everything is delivered.

    Args:
        should_continue: asked after each request; False ends the delivery early.

    Raises:
        One of DELIVERY_ERRORS; what the store has taken by then is noted.
    """
    with outbox.delivery_lock(folder) as is_ours:
        metadata = outbox.read_outbox_metadata(folder)
        if not is_ours or not metadata:
            return DeliveryResult(0, False, is_busy=True)
        run_id = folder.name
        if "create" in metadata:
            run_id = create_offline_run(session, folder, metadata["create"])
        upload = _OutboxUpload(session, folder, run_id, is_offline="create" in metadata)
        is_complete = upload.send_entries(should_continue)
        if is_complete:
            upload.send_final_files()
            outbox.remove_outbox(folder)
        return DeliveryResult(upload.sent_count, is_complete, run_id=run_id)


def write_back_link(client: "MlflowClient", source_id: str, tag: str) -> None:
    """Write the ids of all runs whose `tag` names a source into the source's tag `used_by` or
    `forks`.

    They are searched anew each time, so two runs that begin at once cannot lose each other's id.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.{tag} = '{source_id}'", max_results=1000)
    ids = [run.info.run_id for run in runs]
    more = f" and {len(ids) - _MAX_LINKED_IDS} earlier" if len(ids) > _MAX_LINKED_IDS else ""
    client.set_tag(source_id, BACK_LINK_TAGS[tag], " ".join(ids[:_MAX_LINKED_IDS]) + more)


class _OutboxUpload:
    """The delivery of one outbox to one run of the store."""

    def __init__(
        self, session: "StoreSession", folder: Path, run_id: str, *, is_offline: bool
    ) -> None:
        self.sent_count = 0
        self._session = session
        self._client = session.client
        self._folder = folder
        self._run_id = run_id
        self._is_offline = is_offline
        self._pending_points: list[Metric] = []
        self._pending_tags: dict[str, str] = {}

    def send_entries(self, should_continue: Callable[[], bool]) -> bool:
        """Send every entry that is not delivered yet; True if no other can follow."""
        # asked before the entries are read: none that is written meanwhile may be missed
        is_over = _is_run_over(self._folder)
        position = outbox.read_delivered_position(self._folder)
        unsent_count, has_ended = 0, False
        for entry, next_position in outbox.read_entries(self._folder, position):
            if entry is None:
                problem = f"a line before {next_position} cannot be read"
                print_line(f"tracking: {self._folder}: {problem}", to_stderr=True)
                continue
            if entry["kind"] == "end":
                # not marked as delivered, so that a delivery after a kill finds it again
                has_ended = True
                break
            kind, position, unsent_count = entry["kind"], next_position, unsent_count + 1
            # sent a second time after a kill, such a write does nothing
            may_wait = kind == "tags" or (kind == "artifact" and self._local_folder is not None)
            if kind == "points":
                self._pending_points += [
                    Metric(key, _to_stored_value(value), entry["when"], entry["step"])
                    for key, value in entry["values"].items()
                ]
                may_wait = len(self._pending_points) < _MAX_POINTS
            elif kind == "tags":
                self._pending_tags |= entry["tags"]
            else:
                if not may_wait:
                    self._flush_pending()
                self._write_or_refuse(entry)
                may_wait = may_wait and should_continue()
            if may_wait:
                continue
            self._flush_pending()
            outbox.mark_delivered(self._folder, position)
            self.sent_count, unsent_count = self.sent_count + unsent_count, 0
            if not should_continue():
                return False
        if unsent_count:
            self._flush_pending()
            outbox.mark_delivered(self._folder, position)
            self.sent_count += unsent_count
        return has_ended or is_over

    def send_final_files(self) -> None:
        """Send the files of the folder that no entry names."""
        console = self._folder / outbox.CONSOLE_FILE
        if console.exists():
            self._upload_artifact(console, outbox.CONSOLE_FILE)
        refused = self._folder / "refused.txt"
        if refused.exists():
            lines = refused.read_text(encoding="utf-8").splitlines()
            count = sum(not line.startswith(" ") for line in lines)
            text = f"{count} (artifact tracking/refused.txt)"
            self._client.set_tag(self._run_id, "tracking.refused", text)
            self._upload_artifact(refused, "tracking/refused.txt")

    def _flush_pending(self) -> None:
        """Send the points and tags that have waited for others, in one request each."""
        points, self._pending_points = self._pending_points, []
        for batch in _split_batches(points, _MAX_POINTS):
            self._log_points(batch)
        tags, self._pending_tags = self._pending_tags, {}
        if tags:
            self._write_or_refuse({"kind": "tags", "tags": tags})

    def _log_points(self, points: Sequence[Metric]) -> None:
        """Send points; if the store refuses one of them, all others are sent."""
        try:
            self._client.log_batch(self._run_id, metrics=points)
        except MlflowException as error:
            if not self._is_refused(error):
                raise
            if len(points) == 1:
                [point] = points
                self._record_refusal(f"{point.key}={point.value} at step {point.step}", error)
                return
            self._log_points(points[: len(points) // 2])
            self._log_points(points[len(points) // 2 :])

    def _write_or_refuse(self, entry: _Entry) -> None:
        """Send an entry; of parameters and tags, all that the store does not refuse."""
        try:
            self._write_entry(entry)
        except MlflowException as error:
            if not self._is_refused(error):
                raise
            if halves := _halve_entry(entry):
                for half in halves:
                    self._write_or_refuse(half)
            else:
                self._record_refusal(_describe_entry(entry), error)

    def _write_entry(self, entry: _Entry) -> None:
        match entry["kind"]:
            case "params":
                for batch in _split_batches(list(entry["params"].items()), _MAX_OTHERS):
                    self._client.log_batch(self._run_id, params=[Param(*item) for item in batch])
            case "tags":
                tags = entry["tags"]
                if self._is_offline:
                    tags = map_run_id_tags(self._session, tags)
                for batch in _split_batches(list(tags.items()), _MAX_OTHERS):
                    self._client.log_batch(self._run_id, tags=[RunTag(*item) for item in batch])
            case "dataset":
                context = InputTag("mlflow.data.context", entry["split"])
                dataset = DatasetInput(Dataset(**entry["dataset"]), [context])
                self._client.log_inputs(self._run_id, [dataset])
            case "artifact":
                source = outbox.resolve_staged_path(self._folder, entry["place"])
                # it is missing if it was delivered before that could be marked
                if source.exists():
                    self._upload_artifact(source, entry["artifact"])
                    _delete_staged_file(source)
            case "mirror":
                self._mirror_folder(entry["artifact"], entry["add"], entry["keep"])
            case "link":
                write_back_link(self._client, entry["source"], entry["tag"])
            case "register":
                names = entry["name"], entry["aliases"]
                register_delivered_model(self._client, self._run_id, *names)
            case "status":
                self._client.set_terminated(self._run_id, entry["status"], entry["ended_at"])
            case unknown:
                raise UserError(
                    f"{self._folder}: the journal holds an unknown kind of write: {unknown!r}"
                )

    def _mirror_folder(self, artifact: str, add: dict[str, str], wanted: Sequence[str]) -> None:
        sources = {
            name: outbox.resolve_staged_path(self._folder, path) for name, path in add.items()
        }
        for name, source in sources.items():
            try:
                self._upload_artifact(source, posixpath.join(artifact, name))
            except FileNotFoundError:
                # a later entry dropped the file and says which files there are now
                if source.exists():
                    raise
        for file in self._client.list_artifacts(self._run_id, artifact):
            if not file.is_dir and posixpath.basename(file.path) not in wanted:
                self._delete_artifact(file.path)
        for source in sources.values():
            _delete_staged_file(source)

    def _upload_artifact(self, source: Path, artifact: str) -> None:
        """Store a file or folder as `artifact`; by a hard link where artifacts are plain files."""
        target = self._find_local_artifact(artifact)
        if target is not None:
            outbox.link_or_copy(source, target)
        elif source.is_dir():
            self._client.log_artifacts(self._run_id, str(source), artifact)
        else:
            folder, name = posixpath.split(artifact)
            if name != source.name:
                raise UserError(
                    f"{self._folder}: the journal names {source.name!r} for artifact {artifact!r}"
                )
            self._client.log_artifact(self._run_id, str(source), folder or None)

    def _delete_artifact(self, artifact: str) -> None:
        target = self._find_local_artifact(artifact)
        if target is not None:
            target.unlink(missing_ok=True)
        else:
            address = self._session.store.tracking_uri
            repository = get_artifact_repository(self._artifact_uri, tracking_uri=address)
            repository.delete_artifacts(artifact)  # type: ignore[no-untyped-call,unused-ignore]

    def _find_local_artifact(self, artifact: str) -> Path | None:
        """Return where an artifact lies on this machine; None if the store keeps it elsewhere."""
        try:
            path = outbox.validate_artifact_path(artifact)
        except ValueError as error:
            # the outbox may come from another machine
            raise UserError(f"{self._folder}: {error}") from error
        return None if self._local_folder is None else self._local_folder / path

    @functools.cached_property
    def _local_folder(self) -> Path | None:
        return to_local_path(self._artifact_uri)

    @functools.cached_property
    def _artifact_uri(self) -> str:
        return str(self._client.get_run(self._run_id).info.artifact_uri)

    def _is_refused(self, error: MlflowException) -> bool:
        """Say whether the store will never take a write. From the UI's bin, a run may come back."""
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            return False
        run = self._client.get_run(self._run_id)
        return bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)

    def _record_refusal(self, write: str, error: MlflowException) -> None:
        """Note a write that the store does not take, so that the others can follow."""
        reason = " ".join(str(error).split())[:500]
        print_line(f"tracking: the store refuses {write[:200]} ({reason[:200]})", to_stderr=True)
        with open(self._folder / "refused.txt", "a", encoding="utf-8") as file:
            file.write(f"{write}\n    {reason}\n")


def _is_run_over(folder: Path) -> bool:
    """Say whether a run will write nothing more, though no last entry says so.

    A process of another machine cannot be seen; since it writes a heartbeat every minute, a long
    silence means that it has ended.
    """
    process = str(outbox.read_outbox_metadata(folder).get("process", ""))
    if not check_liveness(folder.name, {"process": process}, folder.parents[1]).is_alive:
        return True
    if process.split(" ")[0] == identify_machine()[0]:
        return False
    return time.time() - outbox.read_last_write_time(folder) > _SILENCE_LIMIT_SECONDS


def _to_stored_value(value: float | None) -> float:
    """Return NaN for what is no finite number: MLflow shows it as such and leaves it out of charts.

    An infinity it would store as 1.8e308, beside which every other point of a chart is flat. The
    run's tag `non_finite` says which it was.
    """
    return value if value is not None and math.isfinite(value) else math.nan


def _halve_entry(entry: _Entry) -> list[_Entry]:
    """Return two entries that hold half of the parameters or tags; empty if there are not two."""
    kind = entry["kind"]
    if kind not in ("params", "tags") or len(entry[kind]) < 2:
        return []
    items = list(entry[kind].items())
    middle = len(items) // 2
    return [{"kind": kind, kind: dict(half)} for half in (items[:middle], items[middle:])]


def _describe_entry(entry: _Entry) -> str:
    names = {"params": "parameter", "tags": "tag"}
    if (name := names.get(entry["kind"])) is None:
        return str(entry)[:2000]
    return "; ".join(f"{name} {key}={value}" for key, value in entry[entry["kind"]].items())[:2000]


def _delete_staged_file(source: Path) -> None:
    """Delete a staged file that the store has; the files of a folder go with the outbox."""
    if source.is_file():
        source.unlink(missing_ok=True)


def _split_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
