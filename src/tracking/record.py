"""One tracked run, from its first parameter to its honest end."""

import atexit
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from src.tracking import description, opening, surroundings
from src.tracking.console import Console
from src.tracking.content import dataset_entry, table_json
from src.tracking.ending import Ending, Signals, judge, story
from src.tracking.heartbeat import Heartbeat
from src.tracking.outbox import inside
from src.tracking.params import fit_params, fit_tags, key_for_store
from src.tracking.place import Place
from src.tracking.redaction import hidden, hidden_yaml
from src.tracking.sender import Sender

if TYPE_CHECKING:
    from src.tracking.logger import RunLogger
    from src.tracking.lookup import RunInfo
    from src.tracking.opening import Opened
    from src.tracking.passage import Passage

_RUN_ID = "PALIMPSEST_RUN_ID"  # how the other ranks of a distributed run, started by ours, learn its id
# How long the end of a run waits for a store that takes nothing; shorter where a scheduler is about to send SIGKILL.
_PATIENCE_SECONDS, _HASTY_SECONDS = 10.0, 4.0


class RunRecord:
    """A run in the store while it is entered: the owner of its status, its files and its numbers.

    However the block ends, the run says so: FINISHED; FAILED with the error; KILLED when a person or the system ended
    it. SIGTERM leaves the block as `Terminated`, Ctrl-C as KeyboardInterrupt, also where Lightning made it SystemExit.
    Everything goes to the run's outbox on this machine's disk first, and from there to the store: no failure to track
    ever ends or slows a run. In the other ranks of a distributed run everything here does nothing.
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
        forked_from: str | None,
        resume: "RunInfo | None",
    ) -> None:
        self.name = hidden(name) if resume is None else resume.name
        self.kind = kind
        self.run_id = ""
        self.link = ""  # of the run's page, below the UI's address
        self.signals = Signals()
        self._store = store
        self._params = params
        self._tags = tags
        self._config_yaml = config_yaml
        self._parent = parent
        self._sources = {"init_from": init_from, "forked_from": forked_from}
        self._resume = resume
        self._opened: Opened | None = None
        self._outcome: Ending | None = None
        self._parts = ExitStack()  # open until the status is written
        self._beside = ExitStack()  # closed first: heartbeat, sampler
        self._sender: Sender | None = None
        self._passage: Passage | None = None
        self._console: Console | None = None
        self._complained = False
        self._datasets: dict[str, str] = {}
        self._tables: list[dict[str, str]] = []

    def __enter__(self) -> "RunRecord":
        if surroundings.rank() > 0:
            self.run_id = os.environ.get(_RUN_ID, "")
            return self
        earlier = {} if self._resume is not None else {tag: each for tag, each in self._sources.items() if each}
        session, sources = opening.look_up(self._store, earlier, resume=self._resume is not None)
        code = surroundings.code(Path(self._store.root))
        known = description.tags(self.kind, self.name, self._parent, code, again=self._resume is not None)
        tags, long_tags = fit_tags(known | sources | {key: str(value) for key, value in self._tags.items()})
        self._parts.enter_context(self.signals)
        try:
            if self._resume is None:
                opened = opening.begin(self._store, session, self.name, tags)
            else:
                assert session is not None
                opened = opening.again(session, self._resume, tags)
        except BaseException:
            self._parts.close()
            raise
        self._opened = opened
        self.run_id = os.environ[_RUN_ID] = opened.run_id
        self.link = opened.link
        self._sender = Sender(opened.outbox, floors=opened.floors)
        atexit.register(self._abandoned)
        try:
            self._describe(code, long_tags)
            for tag, source in sources.items():
                self._sender.write("link", {"source": source, "tag": tag})
            self._sender.persist()  # from here on a run that is killed can be resumed
            self._listen(opened)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sender is None or self._opened is None:
            return
        self.signals.close()
        if error is not None:
            self._sign(error)
        ending = judge(error, self.signals.received)
        if ending.status == "FINISHED" and self._outcome is not None:
            ending = self._outcome
        try:
            self._finish(error, ending)
        finally:  # even where a second Ctrl-C cut the rest short
            self._sender.write("status", {"status": ending.status, "ended_at": int(time.time() * 1000)})
            self._sender.close()
            try:
                self._arrive()
            finally:
                self._parts.close()
                atexit.unregister(self._abandoned)
                os.environ.pop(_RUN_ID, None)
        leaving = self.signals.leaving(error)
        if leaving is not None:
            raise self._sign(leaving) from error

    @property
    def logger(self) -> "RunLogger":
        """For Lightning's Trainer."""
        from src.tracking.logger import RunLogger

        return RunLogger(sender=self._sender, experiment=self._store.experiment, run_id=self.run_id)

    @property
    def latest(self) -> dict[str, float]:
        """The newest value of each metric, also of those from before the run went on; none in the other ranks."""
        earlier = self._resume.metrics if self._resume is not None else {}
        return {**earlier, **self._sender.latest} if self._sender is not None else {}

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
        self._stage(artifact, lambda path: path.write_text(content, encoding="utf-8"))

    def file(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """A file, under its own name, into an artifact folder (None: the top)."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file to keep at {path}")
        self._keep(Path(path), Path(folder or "") / Path(path).name)

    def folder(self, path: str | os.PathLike[str], folder: str) -> None:
        """Everything in a folder, as the artifact folder `folder`."""
        if not Path(path).is_dir():
            raise NotADirectoryError(f"no folder to keep at {path}")
        self._keep(Path(path), Path(folder))

    def mirror(self, folder: str | os.PathLike[str], artifact: str) -> None:
        """Have the artifact folder `artifact` hold exactly the files that `folder` holds now, a little later.

        The files are linked at once, so `folder` may change or lose them; they must not be altered in place. Files in
        `folder` whose names begin with a dot, or end in `.partial` or `.lock`, are passed over.
        """
        if self._opened is None:
            return
        try:
            entry = self._opened.outbox.mirror(Path(folder), inside(artifact).as_posix())
        except OSError as error:
            self._complain(f"{artifact} not mirrored", error)
            return
        self._write("mirror", entry)

    def persist(self) -> None:
        """Return when everything recorded so far is on this machine's disk: neither SIGKILL nor power loss takes it."""
        if self._sender is not None:
            self._sender.persist()

    def repeated(self) -> None:
        """Training goes back to an earlier step in this process: metrics recorded already are not recorded again."""
        if self._sender is not None:
            self._sender.repeated()

    def table(self, columns: Mapping[str, Sequence[Any]], artifact: str) -> None:
        """Columns of one length as a table that the UI shows, in `artifact` (.json).

        Dots in column names become slashes: the UI shows a column with a dot as empty.
        """
        if not artifact.endswith(".json"):
            raise ValueError(f"a table is kept as .json, not as {artifact}")
        self.text(table_json(columns), artifact)
        if (entry := {"path": artifact, "type": "table"}) not in self._tables:
            self._tables.append(entry)
        self._write("tags", {"tags": {"mlflow.loggedArtifacts": json.dumps(self._tables)}})

    def figure(self, figure: Any, artifact: str) -> None:
        """A matplotlib figure as a picture; the suffix of `artifact` says of which kind."""
        self._stage(artifact, lambda path: figure.savefig(path, dpi=150, bbox_inches="tight"))

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
        content = dataset_entry(name, digest, rows, hidden(source), schema or {}, profile or {})
        self._write("dataset", {"split": split, "dataset": content})
        self._datasets[split] = digest
        self.tag("data.fingerprint", " ".join(f"{split}={digest}" for split, digest in self._datasets.items()))

    def _listen(self, opened: "Opened") -> None:
        """Start what runs beside the run: its way to the store, the console's copy, the heartbeat, the sampler."""
        assert self._sender is not None
        if opened.session is not None:
            from src.tracking.passage import Passage

            self._passage = Passage(opened.session, opened.outbox.folder)
        self._console = self._parts.enter_context(Console(opened.console, append=self._resume is not None))
        client = opened.session.client if opened.session is not None else None
        self._beside.enter_context(
            Heartbeat(run_id=self.run_id, runs_folder=self._store.runs_folder, tag=self.tag, client=client)
        )
        if self._store.system_metrics:
            from src.tracking.system import Sampler

            self._beside.enter_context(Sampler(self._sender, opened.system_step))

    def _describe(self, code: surroundings.Code | None, long_tags: Mapping[str, str]) -> None:
        """Everything that is known before the work begins. A run that goes on keeps what it said when it began."""
        folder = ""
        if self._resume is None:
            if self._config_yaml:
                self.text(hidden_yaml(self._config_yaml), "config.yaml")
            params, long_params = fit_params(self._params)
            self._write("params", {"params": params})
            for artifact, text in long_params.items():
                self.text(text, artifact)
        else:
            folder = f"resumed/{int(self._resume.tags.get('resumed', '0')) + 1}/"
        for artifact, text in long_tags.items():
            self.text(text, artifact)
        self.text(surroundings.environment(), f"{folder}environment.txt")
        if code is not None and code.dirty:
            self.text(code.patch, f"{folder}changes.patch")

    def _finish(self, error: BaseException | None, ending: Ending) -> None:
        """Everything that is known at the end, but for the status."""
        self._beside.close()
        if self._sender is None:
            return
        self._sender.persist()
        if self._sender.non_finite:
            self.tag("non_finite", "; ".join(f"{key} {first}" for key, first in self._sender.non_finite.items()))
        if ending.reason is not None:
            self.tag("failure.reason", hidden(ending.reason))
        if isinstance(error, Exception):
            self.text(hidden(story(error)), "traceback.txt")
        if self._console is not None:
            self._console.__exit__()

    def _arrive(self) -> None:
        """Wait, not for ever, until the store has everything; say where the rest is."""
        assert self._opened is not None
        folder = self._opened.outbox.folder
        if self._passage is None:
            print(f"tracking: run {self.run_id} is kept in {folder}; send it: python -m src.sync {self.run_id}")
        elif not self._passage.close(_PATIENCE_SECONDS if self.signals.received is None else _HASTY_SECONDS):
            print(
                f"tracking: not all of this run could reach the store; the rest waits in {folder} and is sent when the "
                f"store is next opened, or by: python -m src.sync {self.run_id}",
                file=sys.stderr,
            )

    def _write(self, kind: str, content: Mapping[str, Any]) -> None:
        if self._sender is not None:
            self._sender.write(kind, content)

    def _keep(self, source: Path, artifact: Path) -> None:
        """Have `source` become an artifact. Raises OSError where this machine's disk does not take it."""
        if self._opened is not None:
            place = self._opened.outbox.stage(source)
            self._write("artifact", {"place": place, "artifact": inside(artifact).as_posix()})

    def _stage(self, artifact: str, write: Callable[[Path], object]) -> None:
        """What `write` writes to a path becomes the artifact. A full disk costs the artifact only."""
        target = inside(artifact)
        if self._opened is None:
            return
        box = self._opened.outbox
        try:
            path = box.fresh(target.name)
            write(path)
        except OSError as error:
            self._complain(f"{artifact} lost", error)
            return
        self._write("artifact", {"place": path.relative_to(box.folder).as_posix(), "artifact": target.as_posix()})

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
