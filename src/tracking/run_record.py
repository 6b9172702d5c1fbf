"""The record of one run: parameters, tags, metrics, artifacts, and a true final status."""

import atexit
import functools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.pictures import save_figure
from src.core.printing import print_line
from src.core.redaction import redact_source, redact_text, redact_yaml
from src.core.retry import describe_error
from src.core.run_ending import RunEnding, SignalHandler, classify_ending, format_traceback
from src.tracking import environment, mlflow_format, run_start
from src.tracking.console import ConsoleCapture
from src.tracking.liveness import Heartbeat
from src.tracking.outbox import validate_artifact_path
from src.tracking.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.logger import RunLogger
    from src.tracking.run_start import OpenedRun
    from src.tracking.store import Store
    from src.tracking.uploader import Uploader

# tells the other ranks of a distributed run, which ours starts, the id of the run
_RUN_ID_VARIABLE = "PALIMPSEST_RUN_ID"
# How long the end of a run waits for a store that takes nothing; shorter after a signal, since a
# scheduler soon follows with SIGKILL.
_PATIENCE_SECONDS, _HASTY_SECONDS = 10.0, 4.0


class RunRecord:
    """A run in the store while it is entered; it writes the run's status, files and numbers.

    However the block ends, the run says so: FINISHED; FAILED with the error; KILLED when a person
    or the system ended it. SIGTERM leaves the block as `TerminatedBySignal`, Ctrl-C as
    KeyboardInterrupt, even where Lightning has made it a SystemExit. Everything is written to the
    run's outbox on this machine's disk first and sent to the store from there, so that no failure
    of the tracking ends or slows a run. In the other ranks of a distributed run all methods do
    nothing.

    Args:
        params: the config; nested mappings become dotted keys.
        parent: the id of the run that this one belongs to, such as a sweep.
        init_from: the id of the run whose encoder this one begins from, or its first digits.
        forked_from: the id of the run whose checkpoint this one begins from, or its first digits.
        resume: an earlier run that goes on. Its name, parameters and config stay as they are, and
            its metrics go on after the last steps that the store has of them.
    """

    def __init__(
        self,
        *,
        store: "Store",
        name: str,
        kind: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        config_yaml: str = "",
        parent: str | None = None,
        init_from: str | None = None,
        forked_from: str | None = None,
        resume: "RunInfo | None" = None,
    ) -> None:
        mlflow_format.check_key_lengths(params)
        self.name = redact_text(name) if resume is None else resume.name
        self.kind = kind
        self.run_id = self.ui_link = ""
        # the optimizer steps before those that metrics are logged at, of earlier phases
        self.first_step = 0
        self.signals = SignalHandler()
        self._store = store
        self._params = params
        self._tags = {key: str(value) for key, value in (tags or {}).items()}
        self._config_yaml = config_yaml
        self._parent = parent
        sources = {"init_from": init_from, "forked_from": forked_from} if resume is None else {}
        self._source_ids = {tag: run_id for tag, run_id in sources.items() if run_id}
        self._resumed_run = resume
        self._opened: OpenedRun | None = None
        self._outcome: RunEnding | None = None
        # closed once the status is written
        self._run_stack = ExitStack()
        # closed before that: heartbeat and system metrics
        self._background_stack = ExitStack()
        self._write_buffer: WriteBuffer | None = None
        self._uploader: Uploader | None = None
        self._console: ConsoleCapture | None = None
        self._has_warned = False
        self._note = ""
        self._datasets: dict[str, str] = {}
        self._tables: list[dict[str, str]] = []

    def __enter__(self) -> "RunRecord":
        if environment.read_global_rank() > 0:
            self.run_id = os.environ.get(_RUN_ID_VARIABLE, "")
            return self
        is_resumed = self._resumed_run is not None
        session, sources = run_start.resolve_source_runs(
            self._store, self._source_ids, resume=is_resumed
        )
        code = environment.read_code_state(Path(self._store.root))
        links = {tag: session.link_run(run_id) for tag, run_id in sources.items() if session}
        run_tags = run_start.build_run_tags(
            self.kind, self.name, self._parent, code, links, is_resumed=is_resumed
        )
        self._note = run_tags.get("mlflow.note.content", "")
        tags, long_tags = mlflow_format.split_long_tags(run_tags | sources | self._tags)
        self._run_stack.enter_context(self.signals)
        try:
            if self._resumed_run is None:
                opened = run_start.start_new_run(self._store, session, self.name, tags)
            else:
                assert session is not None
                opened = run_start.resume_run(session, self._resumed_run, tags)
        except BaseException:
            self._run_stack.close()
            raise
        self._opened = opened
        self.run_id = os.environ[_RUN_ID_VARIABLE] = opened.run_id
        self.ui_link = opened.ui_link
        self._write_buffer = WriteBuffer(opened.outbox, last_logged_steps=opened.last_logged_steps)
        self._write_buffer.start()
        atexit.register(self._close_at_exit)
        try:
            self._log_description(code, long_tags)
            for tag, source in sources.items():
                self._write_buffer.add_entry("link", {"source": source, "tag": tag})
            # from here on a run that is killed can be resumed
            self._write_buffer.flush_to_disk()
            self._start_background(opened, self._write_buffer)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._write_buffer is None or self._opened is None:
            return
        self.signals.begin_closing()
        if error is not None:
            self._attach_run_id(error)
        ending = classify_ending(error, self.signals.received_signal)
        if ending.status == "FINISHED" and self._outcome is not None:
            ending = self._outcome
        try:
            self._log_ending(error, ending)
        finally:
            # also if a second Ctrl-C cut the rest short
            self._write_buffer.add_entry(
                "status", {"status": ending.status, "ended_at": int(time.time() * 1000)}
            )
            self._write_buffer.close()
            try:
                self._await_delivery(self._opened.outbox.folder)
            finally:
                self._run_stack.close()
                atexit.unregister(self._close_at_exit)
                os.environ.pop(_RUN_ID_VARIABLE, None)
        leaving = self.signals.exception_to_raise(error)
        if leaving is not None:
            raise self._attach_run_id(leaving) from error

    @property
    def logger(self) -> "RunLogger":
        """For Lightning's Trainer."""
        from src.tracking.logger import RunLogger

        return RunLogger(
            record_metrics=self.log_metrics, experiment=self._store.experiment, run_id=self.run_id
        )

    @property
    def latest_metrics(self) -> dict[str, float]:
        """The newest value of each metric; those of a run that goes on are included."""
        if self._write_buffer is None:
            return {}
        earlier = self._resumed_run.metrics if self._resumed_run is not None else {}
        return earlier | self._write_buffer.latest_values

    def set_outcome(self, status: Literal["FAILED", "KILLED"], *, reason: str) -> None:
        """Set the final status of a run unless it ends with an exception, as for a pruned trial."""
        self._outcome = RunEnding(status, reason)

    def log_metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record values at an optimizer step; the keys are `<stage>/<quantity>`."""
        if self._write_buffer is not None:
            self._write_buffer.add_metrics(values, self.first_step + step)

    def set_tag(self, key: str, value: object) -> None:
        """Set a tag; a text that is too long for MLflow becomes an artifact."""
        tags, files = mlflow_format.split_long_tags({key: str(value)})
        self._add_entry("tags", {"tags": tags})
        for artifact, text in files.items():
            self.log_text(text, artifact)

    def describe_result(self, result: str) -> None:
        """Put the result of a new run above its description in the UI."""
        if self._note:
            note = f"{mlflow_format.escape_markdown(result)}\n\n{self._note}"
            self.set_tag("mlflow.note.content", note)

    def log_text(
        self, content: str, artifact: str, *, redact: Callable[[str], str] = redact_text
    ) -> None:
        """Write a text without its secrets as an artifact, such as `report/summary.md`."""
        self.log_bytes(redact(content).encode("utf-8", "backslashreplace"), artifact)

    def log_bytes(self, content: bytes, artifact: str) -> None:
        """`content` as the artifact file `artifact`, such as `report/history.png`."""
        self._write_artifact(artifact, lambda path: path.write_bytes(content))

    def log_file(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """Keep a file under its own name in an artifact folder (None: at the top)."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file to keep at {path}")
        self._stage_artifact(Path(path), Path(folder or "") / Path(path).name)

    def log_folder(self, path: str | os.PathLike[str], folder: str) -> None:
        """Keep everything in a folder as the artifact folder `folder`."""
        if not Path(path).is_dir():
            raise NotADirectoryError(f"no folder to keep at {path}")
        self._stage_artifact(Path(path), Path(folder))

    def register_model(self, name: str, aliases: Sequence[str]) -> None:
        """Have the model become a version of a registered model once the store has its files."""
        self._add_entry("register", {"name": name, "aliases": list(aliases)})

    def mirror_folder(self, folder: str | os.PathLike[str], artifact: str) -> None:
        """Have the artifact folder `artifact` hold exactly the files that `folder` holds now.

        The files are linked at once, so they may be deleted or replaced afterwards but not changed
        in place. Names that begin with a dot, or end in `.partial` or `.lock`, are skipped.
        """
        if self._opened is None:
            return
        target = validate_artifact_path(artifact).as_posix()
        try:
            self._add_entry("mirror", self._opened.outbox.stage_mirror(Path(folder), target))
        except OSError as error:
            self._warn_once(f"{artifact} not mirrored", error)

    def flush_to_disk(self) -> None:
        """Return once all that was recorded is on the disk, where a power failure leaves it."""
        if self._write_buffer is not None:
            self._write_buffer.flush_to_disk()

    def skip_logged_steps(self) -> None:
        """Training goes back to an earlier step: metrics recorded so far are not recorded again."""
        if self._write_buffer is not None:
            self._write_buffer.skip_logged_steps()

    def log_table(self, columns: Mapping[str, Sequence[Any]], artifact: str) -> None:
        """Keep columns of equal length as a table that the UI shows, in `artifact` (.json).

        Dots in column names become slashes, since the UI shows a column with a dot as empty.
        """
        if not artifact.endswith(".json"):
            raise ValueError(f"a table is kept as .json, not as {artifact}")
        self.log_bytes(mlflow_format.table_to_json(columns).encode(), artifact)
        if (entry := {"path": artifact, "type": "table"}) not in self._tables:
            self._tables.append(entry)
        self._add_entry("tags", {"tags": {"mlflow.loggedArtifacts": json.dumps(self._tables)}})

    def log_figure(self, figure: Any, artifact: str) -> None:
        """Keep a matplotlib figure as a picture, in `artifact` (.png)."""
        self._write_artifact(artifact, functools.partial(save_figure, figure))

    def log_dataset(
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
        """Record a data set that the run reads.

        `schema` holds the type of each column, `profile` whatever else is known. The digests of all
        splits are the tag `data.fingerprint`: equal tags mean equal data.
        """
        content = mlflow_format.build_dataset_entry(
            name, digest, rows, redact_text(source), schema or {}, profile or {}
        )
        self._add_entry("dataset", {"split": split, "dataset": content})
        self._datasets[split] = digest
        fingerprint = " ".join(f"{split}={digest}" for split, digest in self._datasets.items())
        self.set_tag("data.fingerprint", fingerprint)

    def _start_background(self, opened: "OpenedRun", write_buffer: WriteBuffer) -> None:
        """Start delivery, the copy of the console, the heartbeat and system metrics."""
        client = None
        if opened.session is not None:
            from src.tracking.uploader import Uploader

            client, trains = opened.session.client, self.kind != "search"
            self._uploader = Uploader(opened.session, opened.outbox.folder, own_process=trains)
            self._uploader.start()
        self._console = self._run_stack.enter_context(
            ConsoleCapture(opened.console_path, append=self._resumed_run is not None)
        )
        heartbeat = Heartbeat(self.run_id, self._store.runs_folder, self.set_tag, client)
        self._background_stack.enter_context(heartbeat)
        if self._store.system_metrics:
            from src.tracking.system_metrics import SystemMetricsSampler

            sampler = SystemMetricsSampler(write_buffer, opened.first_system_step)
            self._background_stack.enter_context(sampler)

    def _log_description(self, code: environment.GitState | None, texts: dict[str, str]) -> None:
        """Record all that is known before the work begins; a run that goes on keeps its config."""
        folder = ""
        if self._resumed_run is None:
            if self._config_yaml:
                self.log_text(self._config_yaml, "config.yaml", redact=redact_yaml)
            params, long_params = mlflow_format.split_long_params(self._params)
            self._add_entry("params", {"params": params})
            texts = texts | long_params
        else:
            folder = f"resumed/{int(self._resumed_run.tags.get('resumed', '0')) + 1}/"
        for artifact, text in texts.items():
            self.log_text(text, artifact)
        self.log_text(environment.describe_environment(), f"{folder}environment.txt")
        if code is not None and code.is_dirty:
            self.log_text(code.patch, f"{folder}changes.patch", redact=redact_source)

    def _log_ending(self, error: BaseException | None, ending: RunEnding) -> None:
        """Record all that is known at the end, except for the status."""
        assert self._write_buffer is not None
        self._background_stack.close()
        self._write_buffer.flush_to_disk()
        if values := self._write_buffer.first_non_finite:
            self.set_tag("non_finite", "; ".join(f"{key} {values[key]}" for key in values))
        if ending.reason is not None:
            self.set_tag("failure.reason", ending.reason)
        if isinstance(error, Exception):
            self.log_text(format_traceback(error), "traceback.txt")
        if self._console is not None:
            self._console.__exit__()

    def _await_delivery(self, folder: Path) -> None:
        """Wait until the store has everything, though not for ever; print where the rest is."""
        patience = _PATIENCE_SECONDS if self.signals.received_signal is None else _HASTY_SECONDS
        if self._uploader is None:
            where = f"run {self.run_id} is kept in {folder}; send it"
        elif self._uploader.close(patience):
            return
        else:
            where = f"not all of this run could reach the store; the rest waits in {folder} "
            where += "and is sent when the store is next opened, or by"
        command = self._store.build_sync_command(self.run_id)
        print_line(f"tracking: {where}: {command}", to_stderr=self._uploader is not None)

    def _add_entry(self, kind: str, content: Mapping[str, Any]) -> None:
        if self._write_buffer is not None:
            self._write_buffer.add_entry(kind, content)

    def _stage_artifact(self, source: Path, artifact: Path) -> None:
        """Keep a file or folder as an artifact. Raises OSError if the disk does not take it."""
        if self._opened is not None:
            staged = self._opened.outbox.stage_artifact(source)
            target = validate_artifact_path(artifact).as_posix()
            self._add_entry("artifact", {"place": staged, "artifact": target})

    def _write_artifact(self, artifact: str, write: Callable[[Path], object]) -> None:
        """Keep as an artifact the file that `write` writes; on a full disk it is left out."""
        target = validate_artifact_path(artifact)
        if self._opened is None:
            return
        try:
            path = self._opened.outbox.create_staging_path(target.name)
            write(path)
        except OSError as error:
            self._warn_once(f"{artifact} lost", error)
            return
        staged = path.relative_to(self._opened.outbox.folder).as_posix()
        self._add_entry("artifact", {"place": staged, "artifact": target.as_posix()})

    def _warn_once(self, failure: str, error: OSError) -> None:
        if not self._has_warned:
            print_line(f"tracking: {failure} ({describe_error(error)})", to_stderr=True)
        self._has_warned = True

    def _attach_run_id(self, error: BaseException) -> BaseException:
        """Note the run's id on the exception that ends it, for `run_id_of_error`."""
        error._palimpsest_run = self.run_id  # type: ignore[attr-defined]
        return error

    def _close_at_exit(self) -> None:
        self._outcome = RunEnding("FAILED", "the process ended while the run was open")
        self.__exit__(None, None, None)
