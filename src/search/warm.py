"""The process that trials are copies of: it has imported torch, Lightning and MLflow once, and does nothing else.

    python -m src.search.warm [--cold | --once] [TASK]

Orders come as lines of JSON on its standard input, events go as such lines to its standard output; what libraries print
goes to its standard error. For each order it forks: importing costs seconds, a copy of what is imported milliseconds.
With `--cold` it imports nothing, and each order gets a fresh process (`--once`) instead of a copy. TASK is a module
with `prepare()`, called once, and `perform(order)`, called in each trial's process; the exit code is what it returns.

It leaves Ctrl-C and SIGTERM to its coordinator and ends with it: when its standard input closes, all trials get
SIGTERM, and `GRACE_SECONDS` later SIGKILL. Should it be killed itself, each trial sees that and does so to itself.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.terms import startup

GRACE_SECONDS = 30.0  # from SIGTERM to SIGKILL
_REST_SECONDS = 1.0  # for helpers of a trial that has ended, to end by themselves
_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SELF = "src.search.warm"
_IMPORTED = (  # late, in every copy, they would take four seconds
    "src.run", "src.config.build", "src.config.resuming", "src.data.datamodule", "src.evaluation.report",
    "src.model.module", "src.search.database", "src.search.study", "src.search.trial", "src.search.watching",
    "src.tracking.ahead", "src.training.beginning", "src.training.callbacks", "src.training.compiling",
    "src.training.distributed", "src.training.energy", "src.training.export", "src.training.fitting",
    "src.training.flops", "src.training.keeper", "src.training.meter", "src.training.obeying",
    "src.training.parting", "src.training.precision", "src.training.starting", "src.training.trainer",
    "lightning.pytorch", "matplotlib.backends.backend_agg", "PIL.Image", "transformers",
    "transformers.models.bert.modeling_bert", "transformers.models.modernbert.modeling_modernbert",
)  # fmt: skip
Order = Mapping[str, Any]


def prepare() -> None:
    """Import what a run imports, in one thread; neither CUDA nor a pool of threads is touched."""
    from src.training.memory import bound_kernels

    bound_kernels()  # the environment that torch finds when it is imported
    from src.training.noise import quiet

    quiet()  # before the libraries that it speaks to are imported
    for name in _IMPORTED:
        importlib.import_module(name)
    _made_ahead()
    from src.config.compose import register

    register()


def _made_ahead() -> None:
    """What libraries make when they are first used, and every copy would make again: tables, fonts."""
    import io

    from matplotlib.figure import Figure

    with contextlib.suppress(ImportError):  # it is transformers' own, and may be renamed
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        get_checkpoint_conversion_mapping("bert")  # a thousand regular expressions, at the first model that is saved
    figure = Figure(figsize=(1, 1))
    figure.subplots().set_title("0")
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")


def perform(order: Order) -> int:
    """One trial: `src.run.run` with the order's config."""
    import src.run
    from src.search.trial import conduct

    # The run's command line is that of a run by itself, and what it spawns imports src.run, not this file.
    sys.modules["__main__"] = src.run
    sys.argv = [str(src.run.__file__), *order.get("arguments", ())]
    return conduct(src.run.run, order["config"])


class Parent:
    """Takes orders until there are no more, and watches the trials to their ends.

    Args:
        orders, events: descriptors of the two pipes to the coordinator.
        task: name of the module.
        fork: trials are copies of this process; else fresh ones.
    """

    def __init__(self, orders: int, events: int, *, task: str, fork: bool) -> None:
        self._orders, self._events = orders, events
        self._name, self._fork = task, fork
        self._task: Any = None
        self._numbers: dict[int, int] = {}  # of the trials, by process id
        self._fresh: dict[int, subprocess.Popen[bytes]] = {}
        self._rest = b""  # an order that has not come whole
        self._seen, self._held = os.pipe()  # nothing is ever written: its closing says that this process is gone
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if self._fork:
            gc.disable()
            self._task = importlib.import_module(self._name)
            self._task.prepare()
            if threading.active_count() != 1:
                raise RuntimeError(f"forking from {threading.active_count()} threads: {threading.enumerate()}")
            gc.freeze()  # a copy would write to every page that it looks through
        self._tell(event="ready")
        until: float | None = None
        reading = [self._orders, self._woken]
        while until is None or self._numbers:
            patience = None if until is None else max(0.0, until - time.monotonic())
            readable, _, _ = select.select(reading, [], [], patience)
            if self._woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            if self._orders in readable and not self._listen():
                reading.remove(self._orders)
                self._signal(signal.SIGTERM)
                until = time.monotonic() + GRACE_SECONDS
            if until is not None and time.monotonic() >= until:
                for process in self._numbers:
                    _clear(process, 0)
                until = time.monotonic() + GRACE_SECONDS
            self._reap()

    def _listen(self) -> bool:
        """Do what has been ordered; False where the coordinator is gone."""
        read = os.read(self._orders, 65536)
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "signal" in order:
                self._signal(order["signal"], order["number"])
                continue
            try:
                process = self._copy(order) if self._fork else self._spawn(order, line)
                self._numbers[process] = order["number"]
            except OSError:  # no memory, too many processes: this trial fails, others go on
                traceback.print_exc()
                self._tell(event="ended", number=order["number"], code=1, peak_bytes=None)
        return bool(read)

    def _copy(self, order: Order) -> int:
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            self._tell(event="began", number=order["number"], process=os.getpid())  # before anybody can miss it
            for descriptor in (self._orders, self._events, self._held, self._woken, self._wake):
                os.close(descriptor)
            code = _act(order, self._task, self._seen)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _spawn(self, order: Order, line: bytes) -> int:
        command = [sys.executable, "-m", _SELF, "--once", self._name]
        environment = {**os.environ, **order["environment"]}
        fresh = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
        self._fresh[fresh.pid] = fresh
        self._tell(event="began", number=order["number"], process=fresh.pid)
        assert fresh.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            fresh.stdin.write(line + b"\n")
            fresh.stdin.flush()  # and stays open: its closing says that this process is gone
        return fresh.pid

    def _signal(self, signum: int, number: int | None = None) -> None:
        for process, each in self._numbers.items():
            if number in (None, each):
                os.kill(process, signum)  # until it is reaped its id is nobody else's

    def _reap(self) -> None:
        for process, number in list(self._numbers.items()):
            done, status, usage = os.wait4(process, os.WNOHANG)
            if not done:
                continue
            del self._numbers[process]
            code = os.waitstatus_to_exitcode(status)
            if fresh := self._fresh.pop(process, None):
                fresh.returncode = code
                if fresh.stdin is not None:
                    fresh.stdin.close()
            _clear(process, _REST_SECONDS)
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self._tell(event="ended", number=number, code=code, peak_bytes=peak)

    def _tell(self, **event: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more: the orders will end too
            os.write(self._events, json.dumps(event).encode() + b"\n")


def _clear(group: int, patience: float) -> None:
    """End a trial's process group: data workers, helpers; a courier and other ranks have sessions of their own.

    Those end by themselves when a pipe closes that none but the trial and these data workers hold.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):  # there is nobody left
        for signum in (0, signal.SIGKILL):
            until = time.monotonic() + (min(patience, 0.2) if signum else patience)
            os.killpg(group, signum)
            while time.monotonic() < until:
                os.killpg(group, 0)
                time.sleep(0.02)


def _act(order: Order, task: Any, lifeline: int) -> int:
    """Be a trial's process: its own streams, environment, signals, random states. The exit code."""
    log = Path(order["log"])
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a person may follow the file
    os.environ.update(order["environment"])
    os.environ["PALIMPSEST_TRIAL"] = order["trial"]

    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell has begun all this in background
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)  # what was sent meanwhile comes now

    _part_from_siblings(order["environment"].get("OMP_NUM_THREADS"))
    code = 1
    try:
        with startup.program(), startup.interruptible():
            code = task.perform(order)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    helpers: Any = sys.modules.get("multiprocessing.util")
    if helpers is not None:
        helpers._exit_function()  # as multiprocessing ends its own copies: what other copies share stays
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _part_from_siblings(threads: str | None) -> None:
    """What copies share although each should have its own; Python's `random` sees to itself.

    OpenMP reads its variable when it is loaded, which is long ago in a copy.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed()
    if torch is not None:
        torch.default_generator.seed()
        if threads is not None:
            torch.set_num_threads(int(threads))


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)  # comes back when the process that has begun this one is gone
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)  # not ignored: a trial that is just beginning must hear them
    options = {each for each in sys.argv[1:] if each.startswith("--")}
    task = next((each for each in sys.argv[1:] if each not in options), _SELF)
    orders, events = os.dup(0), os.dup(1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    if "--once" in options:
        os.close(events)
        with open(orders, closefd=False) as lines:
            order = json.loads(lines.readline())
        os._exit(_act(order, importlib.import_module(task), orders))
    Parent(orders, events, task=task, fork="--cold" not in options).run()
    os._exit(0)  # there is nothing to take down


if __name__ == "__main__":
    main()
