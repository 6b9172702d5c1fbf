"""One tracked run, from its first parameter to its honest end."""

import atexit
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from src.terms.fault import Fault
from src.tracking import lineage, surroundings, vanished
from src.tracking.console import Console
from src.tracking.content import dataset_entry, table_json
from src.tracking.ending import Ending, Signals, Terminated, interruption, judge, story
from src.tracking.lookup import find
from src.tracking.outbox import WORLD, Outbox, write
from src.tracking.params import fit_params, fit_tags, key_for_store
from src.tracking.place import Place
from src.tracking.redaction import hidden, hidden_yaml
from src.tracking.sender import Point, Sender
from src.tracking.session import session as open_session

if TYPE_CHECKING:
    from src.tracking.logger import RunLogger

_LONG_SECONDS, _AWAY_SECONDS = 1.5, 60.0  # a store that let us wait so long in vain is then left alone so long
_RUN_ID = "PALIMPSEST_RUN_ID"  # how the other ranks of a distributed run, started by ours, learn its id


class RunRecord:
    """A run in the store while it is entered: the owner of its status, its files and its numbers.

    However the block ends, the run says so: FINISHED; FAILED with the error; KILLED when a person or the system ended
    it. SIGTERM leaves the block as `Terminated`, Ctrl-C as KeyboardInterrupt, also where Lightning made it SystemExit.
    What the store does not take waits in `mlruns/outbox`: no failure to track ever ends a run. In the other ranks of a
    distributed run everything here does nothing.
    """

    def __init__(
        self,
        *,
        store: Place,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        config_yaml: str,
        parent: str | None,
        init_from: str | None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.run_id = ""
        self.link = ""  # of the run's page, below the UI's address
        self._store = store
        self._params = params
        self._tags = tags
        self._config_yaml = config_yaml
        self._parent = parent
        self._init_from = init_from
        self._client: MlflowClient | None = None
        self._outcome: Ending | None = None
        self._signals = Signals()
        self._parts = ExitStack()  # open until the status is written
        self._beside = ExitStack()  # closed first: sampler, sender
        self._sender: Sender | None = None
        self._console: Console | None = None
        self._console_in_place = False
        self._source: str | None = None
        self._complained = False
        self._away_until = 0.0
        self._datasets: dict[str, str] = {}
        self._tables: list[dict[str, str]] = []

    def __enter__(self) -> "RunRecord":
        if _rank() > 0:
            self.run_id = os.environ.get(_RUN_ID, "")
            return self
        session = open_session(self._store)
        source = find(session, self._init_from, "init_from").id if self._init_from else None
        code = surroundings.code(Path(self._store.root))
        tags, long_tags = fit_tags(self._all_tags(code, source))
        self._parts.enter_context(self._signals)
        try:
            run = session.client.create_run(session.experiment_id, tags=tags, run_name=self.name)
        except MlflowException as error:
            self._parts.close()
            raise Fault(f"no run can be created in {hidden(self._store.address)}: {error}") from error
        self._client = session.client
        self.run_id = os.environ[_RUN_ID] = run.info.run_id
        self.link = session.link(self.run_id)
        self._source = source
        self._outbox = Outbox(self._store.runs_folder / "outbox", self.run_id)
        atexit.register(self._abandoned)
        try:
            self._listen(run.info.artifact_uri)
            self._describe(code, long_tags)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is None:
            return
        self._signals.closing = True
        if error is not None:
            self._sign(error)
        ending = judge(error, self._signals.received)
        if ending.status == "FINISHED" and self._outcome is not None:
            ending = self._outcome
        try:
            self._finish(error, ending)
        finally:  # even where a second Ctrl-C cut the rest short
            self._write("status", {"status": ending.status, "ended_at": int(time.time() * 1000)}, tries=3)
            self._parts.close()
            atexit.unregister(self._abandoned)
            os.environ.pop(_RUN_ID, None)
        if self._outbox.kept:
            print(
                f"tracking: {self._outbox.kept} writes of this run could not reach the store; they wait in "
                f"{self._outbox.path} and are sent when it is next opened",
                file=sys.stderr,
            )
        if self._signals.received is not None and not isinstance(error, Terminated):
            raise self._sign(Terminated(self._signals.received)) from error
        if isinstance(error, SystemExit) and interruption(error) is not None:
            raise self._sign(KeyboardInterrupt()) from None

    @property
    def logger(self) -> "RunLogger":
        """For Lightning's Trainer."""
        from src.tracking.logger import RunLogger

        return RunLogger(sender=self._sender, experiment=self._store.experiment, run_id=self.run_id)

    def outcome(self, status: Literal["FAILED", "KILLED"], *, reason: str) -> None:
        """An ending that raises nothing, such as a pruned trial's. An exception raised later still decides."""
        self._outcome = Ending(status, reason)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Numbers at an optimizer step, `<stage>/<quantity>`. They reach the store a little later, in order."""
        if self._sender is not None:
            self._sender.put({key_for_store(key): value for key, value in values.items()}, step)

    def tag(self, key: str, value: object) -> None:
        tags, files = fit_tags({key: str(value)})
        self._write("tags", {"tags": tags})
        for artifact, text in files.items():
            self.text(text, artifact)

    def text(self, content: str, artifact: str) -> None:
        """`content` as the artifact file `artifact`, such as `report/summary.md`."""
        with self._staged(artifact) as path:
            path.write_text(content, encoding="utf-8")

    def file(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """A file, under its own name, into an artifact folder (None: the top)."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file to keep at {path}")
        self._write("artifact", {"path": str(path), "folder": folder})

    def folder(self, path: str | os.PathLike[str], folder: str) -> None:
        """Everything in a folder, as the artifact folder `folder`."""
        if not Path(path).is_dir():
            raise NotADirectoryError(f"no folder to keep at {path}")
        self._write("artifact", {"path": str(path), "folder": folder})

    def table(self, columns: Mapping[str, Sequence[Any]], artifact: str) -> None:
        """Columns of one length as a table that the UI shows, in `artifact` (.json).

        Dots in column names become slashes: the UI shows a column with a dot as empty.
        """
        if not artifact.endswith(".json"):
            raise ValueError(f"a table is kept as .json, not as {artifact}")
        self.text(table_json(columns), artifact)
        self._tables.append({"path": artifact, "type": "table"})
        self._write("tags", {"tags": {"mlflow.loggedArtifacts": json.dumps(self._tables)}})

    def figure(self, figure: Any, artifact: str) -> None:
        """A matplotlib figure as a picture; the suffix of `artifact` says of which kind."""
        with self._staged(artifact) as path:
            figure.savefig(path, dpi=150, bbox_inches="tight")

    def dataset(
        self,
        *,
        name: str,
        digest: str,
        split: str,
        rows: int,
        source: str,
        schema: Mapping[str, str] | None = None,
        profile: Mapping[str, Any] | None = None,
    ) -> None:
        """A data set that the run reads. `schema` maps columns to types; `profile` holds whatever else is known.

        The digests of all splits together are the tag `data.fingerprint`: equal tags, equal data.
        """
        content = dataset_entry(name, digest, rows, source, schema or {}, profile or {})
        self._write("dataset", {"split": split, "dataset": content})
        self._datasets[split] = digest
        self.tag("data.fingerprint", " ".join(f"{split}={digest}" for split, digest in self._datasets.items()))

    def _all_tags(self, code: surroundings.Code | None, source: str | None) -> dict[str, str]:
        command = surroundings.command()
        tags = {
            "kind": self.kind,
            "command": command,
            "process": vanished.this_process(),
            "mlflow.user": surroundings.user(),
            "mlflow.source.name": command.partition(" -m ")[2].partition(" ")[0] or command,
            "mlflow.source.type": "LOCAL",
            "mlflow.note.content": f"**{self.kind}**: {self.name}\n\n```\n{command}\n```",
        }
        if code is not None:
            tags |= {"commit": code.commit, "branch": code.branch, "dirty": str(code.dirty).lower()}
            tags |= {"mlflow.source.git.commit": code.commit, "mlflow.source.git.branch": code.branch}
        if self._parent is not None:
            tags["mlflow.parentRunId"] = self._parent
        if source is not None:
            tags["init_from"] = source
        return tags | {key: str(value) for key, value in self._tags.items()}

    def _listen(self, artifact_uri: str) -> None:
        """Start what runs beside the run: the console's copy, the sender, the sampler."""
        # Where artifacts are plain files the copy is written in place: to be read meanwhile, and to outlive a SIGKILL.
        self._console_in_place = os.path.isabs(artifact_uri)
        place = artifact_uri if self._console_in_place else self._parts.enter_context(tempfile.TemporaryDirectory())
        self._console = self._parts.enter_context(Console(Path(place) / "console.log"))
        self._sender = Sender(self._send, self._keep_points, self._store.flush_seconds)
        self._beside.callback(self._sender.close)
        if self._store.system_metrics:
            from src.tracking.system import Sampler

            self._beside.enter_context(Sampler(self._sender))

    def _describe(self, code: surroundings.Code | None, long_tags: Mapping[str, str]) -> None:
        """Everything that is known before the work begins."""
        params, long_params = fit_params(self._params)
        self._write("params", {"params": params})
        for artifact, text in {**long_params, **long_tags}.items():
            self.text(text, artifact)
        if self._config_yaml:
            self.text(hidden_yaml(self._config_yaml), "config.yaml")
        self.text(surroundings.environment(), "environment.txt")
        if code is not None and code.dirty:
            self.text(code.patch, "changes.patch")
        self._link_back()

    def _finish(self, error: BaseException | None, ending: Ending) -> None:
        """Everything that is known at the end, but for the status."""
        self._beside.close()
        if self._sender is not None and self._sender.non_finite:
            self.tag("non_finite", "; ".join(f"{key} {first}" for key, first in self._sender.non_finite.items()))
        if ending.reason is not None:
            self.tag("failure.reason", hidden(ending.reason))
        if isinstance(error, Exception):
            self.text(hidden(story(error)), "traceback.txt")
        self._link_back()
        if self._console is not None:
            self._console.__exit__()
            if not self._console_in_place:
                self.file(self._console.path)

    def _link_back(self) -> None:
        if self._source is None or self._client is None:
            return
        with contextlib.suppress(*WORLD):  # the tag `init_from` is the truth, this only its mirror
            lineage.link_back(self._client, self._source)

    def _send(self, points: list[Point]) -> None:
        assert self._client is not None
        write(self._client, self.run_id, "metrics", {"points": points})

    def _keep_points(self, points: list[Point]) -> None:
        self._keep("metrics", {"points": points})

    def _write(self, kind: str, content: dict[str, Any], *, tries: int = 1) -> None:
        """Write now, or keep for later. Nothing that is the world's fault is raised."""
        if self._client is None:
            return
        started_at = time.monotonic()
        if started_at < self._away_until and kind != "status":
            self._keep(kind, content)
            return
        for left in reversed(range(tries)):
            try:
                write(self._client, self.run_id, kind, content)
                return
            except WORLD as error:
                if left:
                    time.sleep(0.5)
                    continue
                if time.monotonic() - started_at > _LONG_SECONDS:
                    self._away_until = time.monotonic() + _AWAY_SECONDS
                self._complain(f"{kind} not written", error)
                self._keep(kind, content)

    def _keep(self, kind: str, content: dict[str, Any]) -> None:
        try:
            self._outbox.keep(kind, content)
        except OSError as error:
            self._complain(f"{kind} lost", error)

    @contextlib.contextmanager
    def _staged(self, artifact: str) -> Iterator[Path]:
        """A path to write to; what stands there afterwards becomes the artifact."""
        if Path(artifact).is_absolute() or ".." in Path(artifact).parts:
            raise ValueError(f"an artifact lies inside its run, not at {artifact}")
        with tempfile.TemporaryDirectory() as stage:
            path = Path(stage) / Path(artifact).name
            yield path
            folder = Path(artifact).parent.as_posix()
            self._write("artifact", {"path": str(path), "folder": None if folder == "." else folder})

    def _complain(self, what: str, error: BaseException) -> None:
        """The first failure in full; the line at the end counts the rest."""
        if self._complained:
            return
        self._complained = True
        reason = hidden(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        print(f"tracking: {what} ({reason})", file=sys.stderr)

    def _sign(self, error: BaseException) -> BaseException:
        """The run's id on what ended it, for `ending.recorded`."""
        error._palimpsest_run = self.run_id  # type: ignore[attr-defined]
        return error

    def _abandoned(self) -> None:
        self._outcome = Ending("FAILED", "the process ended while the run was open")
        self.__exit__(None, None, None)


def _rank() -> int:
    """This process's place in a distributed run, as Lightning finds it before anything is set up."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
