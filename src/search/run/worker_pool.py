"""The processes of trials: started, waited for, sent signals, and ended with all they have started.

Each trial is a copy of the standard library's fork server, which has imported everything that a run
needs (src/search/run/preload.py): imports cost seconds, a copy milliseconds. With
`search.warm=false`, and on systems where such a process cannot be forked safely, each trial is a
fresh process.

A trial leads a session of its own, so Ctrl-C in a terminal reaches the coordinator alone, which
decides what becomes of its trials. When the coordinator ends, however it ends, its trials get
SIGTERM, and after a grace period SIGKILL.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection, forkserver, resource_tracker, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

from src.core import startup
from src.core.processes import call_when_parent_ends, end_process_group, name_places
from src.search.run.trial_spec import TRIAL_VARIABLE

# from SIGTERM to SIGKILL
GRACE_SECONDS = 30.0
# for helpers of a trial that has ended, to end by themselves
_HELPER_GRACE_SECONDS = 1.0
# between two looks at what does not wake the coordinator by itself
_POLL_SECONDS = 0.1
# blocked in a new process until it is ready for them
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TrialJob(NamedTuple):
    """What a trial's process needs.

    Args:
        trial: the trial's spec, as its environment variable.
        config: of the run, in plain values.
        log: file to whose end the output of the process goes.
        environment: variables of this trial.
        arguments: what stands in the command line of its run.
    """

    trial: str
    config: Mapping[str, Any]
    log: str
    environment: Mapping[str, str]
    arguments: Sequence[str] = ()


class ProcessExit(NamedTuple):
    """A trial's process that has ended, with all its helpers.

    Args:
        number: of the trial.
        code: exit code; negative: ended by that signal.
        reason: why, where more is known than the code tells.
        is_lost: the machine or what watched the process there is gone, and nobody has seen how it
            ended.
    """

    number: int
    code: int
    reason: str = ""
    is_lost: bool = False


def run_trial_job(job: TrialJob) -> int:
    """Run a trial in this process; returns its exit code."""
    from src.pipeline.run import run
    from src.search.run.trial import run_trial

    # the run's command line is that of a run by itself
    sys.argv[1:] = job.arguments
    return run_trial(run, job.config)


class WorkerPool:
    """Starts trials in processes while it is entered, and ends what still runs when it is left.

    The fork server imports in the background from the beginning, so that the coordinator can
    prepare the sweep meanwhile.

    Args:
        warm: trials are copies of the fork server; else fresh processes.
        preload: the module that the fork server imports.
        task: runs a trial in its process and returns the exit code; a function of a module.

    Attributes:
        running: process id by trial; 0 for a trial that waits for the imports.
    """

    def __init__(
        self,
        *,
        warm: bool = True,
        preload: str = "src.search.run.preload",
        task: Callable[[TrialJob], int] = run_trial_job,
    ) -> None:
        self.running: dict[int, int] = {}
        # only Linux forks a process with these libraries safely
        self._is_warm = warm and sys.platform == "linux"
        method = "forkserver" if self._is_warm else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._preload = preload
        self._task = task
        self._server: psutil.Process | None = None
        self._warm_up = threading.Thread()
        self._is_server_broken = False
        self._queue: dict[int, TrialJob] = {}
        self._processes: dict[int, BaseProcess] = {}
        # trials whose fork server was killed: nobody learns their exit codes
        self._orphans: dict[int, psutil.Process] = {}
        self._exits: list[ProcessExit] = []

    def __enter__(self) -> "WorkerPool":
        if self._is_warm:
            self._start_server()
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGTERM)
        self._wait_until_idle(GRACE_SECONDS)
        self.kill_all()
        self._wait_until_idle(GRACE_SECONDS)
        self._stop_server()

    def start_trial(self, number: int, job: TrialJob) -> None:
        """Start a trial, as soon as the imports are done."""
        self.running[number] = 0
        self._queue[number] = job
        self._start_queued()

    def wait_until_warm(self) -> None:
        """Wait until the first trial could start at once."""
        if self._warm_up.ident is not None:
            self._warm_up.join()

    def wait_for_exits(self, seconds: float) -> list[ProcessExit]:
        """Wait until a trial's process has ended, for so long at most; returns those that have."""
        deadline = time.monotonic() + seconds
        while True:
            self._start_queued()
            self._collect_exits()
            left = deadline - time.monotonic()
            if self._exits or left <= 0:
                break
            sentinels = [process.sentinel for process in self._processes.values()]
            connection.wait(sentinels, min(left, _POLL_SECONDS))
        exits, self._exits = self._exits, []
        for ended in exits:
            self.running.pop(ended.number, None)
        return exits

    def send_signal(self, signum: int, number: int | None = None) -> None:
        """Send a signal that ends to one trial or to all; one that has not begun never begins."""
        for trial in list(self.running) if number is None else [number]:
            if self._queue.pop(trial, None) is not None:
                self._exits.append(ProcessExit(trial, -signum))
            elif process_id := self.running.get(trial):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signum)

    def kill_all(self) -> None:
        """Kill all trials now, with their helpers; `wait_for_exits` tells which these were."""
        self.send_signal(signal.SIGKILL)
        for process_id in filter(None, self.running.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process_id, signal.SIGKILL)

    def adjust_slots(self, free: Sequence[object], used: int) -> None:
        """This machine stays as it is."""

    def _wait_until_idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            self.wait_for_exits(_POLL_SECONDS)

    def _start_server(self) -> None:
        """Start the fork server; a thread waits for its imports."""
        # started here, since starting it unblocks signals
        resource_tracker.ensure_running()
        forkserver.set_forkserver_preload([self._preload])
        with _inherited_by_children():
            forkserver.ensure_running()
        # the library names its server nowhere else
        self._server = psutil.Process(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
        self._is_server_broken = False
        self._warm_up = threading.Thread(target=self._await_imports, name="warm-up", daemon=True)
        self._warm_up.start()

    def _await_imports(self) -> None:
        """Start a first copy, which succeeds once the imports are done, and check that they are."""
        try:
            probe = self._context.Process(target=importlib.import_module, args=(self._preload,))
            probe.start()
            probe.join()
            self._is_server_broken = probe.exitcode != 0
        except (OSError, EOFError):
            # it has ended, and said why
            self._is_server_broken = True

    def _stop_server(self) -> None:
        """End the fork server, which without trials has nothing to lose."""
        if self._server is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            self._server.kill()
        self._warm_up.join()
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
        self._server = None

    def _start_queued(self) -> None:
        """Start what waits once the imports are done; begin them again if the server was lost."""
        if not self._queue or self._warm_up.is_alive():
            return
        if self._is_server_broken:
            self._stop_server()
            self._exits += [ProcessExit(number, 1) for number in self._queue]
            self._queue.clear()
            self._is_server_broken = False
        elif self._is_warm and not (self._server and _is_running(self._server)):
            self._start_server()
        else:
            while self._queue:
                number = next(iter(self._queue))
                self._start_process(number, self._queue.pop(number))

    def _start_process(self, number: int, job: TrialJob) -> None:
        process = self._context.Process(target=_run_job, args=(self._task, job))
        try:
            with _inherited_by_children():
                process.start()
                # before a signal's handler may raise
                self._processes[number] = process
                self.running[number] = process.pid
        except (OSError, EOFError):
            # no memory, too many processes: this trial fails, others go on
            traceback.print_exc()
            self._exits.append(ProcessExit(number, 1))

    def _collect_exits(self) -> None:
        for number, process in list(self._processes.items()):
            code, process_id = process.exitcode, self.running[number]
            if code is None:
                continue
            # 255 also says that the fork server has ended, so that nobody knows the exit code
            if code != 255 or not self._adopt_orphan(number, process_id):
                end_process_group(process_id, grace_seconds=_HELPER_GRACE_SECONDS, signum=0)
                self._exits.append(ProcessExit(number, code))
            del self._processes[number]
            process.close()
        for number, orphan in list(self._orphans.items()):
            if not _is_running(orphan):
                del self._orphans[number]
                end_process_group(orphan.pid)
                self._exits.append(ProcessExit(number, -signal.SIGKILL))

    def _adopt_orphan(self, number: int, process_id: int) -> bool:
        """Watch a trial whose fork server is gone to its end, which is asked for; False if it has
        ended already.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan = psutil.Process(process_id)
            if _is_running(orphan):
                orphan.terminate()
                self._orphans[number] = orphan
                return True
        return False


def _is_running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def _inherited_by_children() -> Iterator[None]:
    """Children started inside find our modules from any working folder, and have the signals that
    end blocked.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    places = name_places()
    before = {name: os.environ.get(name) for name in places}
    os.environ.update(places)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run_job(task: Callable[[TrialJob], int], job: TrialJob) -> NoReturn:
    """Be a trial's process: its own session, output, environment, signals and random states."""
    os.setsid()
    log = Path(job.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    # somebody may follow the file
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update(job.environment)
    os.environ[TRIAL_VARIABLE] = job.trial
    call_when_parent_ends(_end_with_coordinator)
    # a shell that starts programs in the background has them ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    # those that were sent meanwhile come now
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END_SIGNALS)
    _reset_forked_state(job.environment.get("OMP_NUM_THREADS"))
    code = 1
    try:
        with startup.run_without_gc(), startup.exit_on_signals():
            code = task(job)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    # ends data workers and helpers of multiprocessing; other exit handlers would take down what
    # the copies share
    util._exit_function()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with_coordinator() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _reset_forked_state(threads: str | None) -> None:
    """Give a copy its own random states and number of threads.

    Python's `random` sees to itself. OpenMP reads its variable when it is loaded, which was before
    the copy was made.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed()
    if torch is not None:
        torch.default_generator.seed()
        if threads is not None:
            torch.set_num_threads(int(threads))
