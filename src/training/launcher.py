"""The processes of a run on several devices, as the first of them (rank 0) sees them.

Under torchrun, SLURM, LSF or MPI all processes are there already, and none is started here. Else
the first one starts one more for each further device: `python -m src.run --rank R`, which takes the
composed config from its standard input (src/training/rank_process.py). No command line is run
again, so a multirun, the quickstart and a test all work alike.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from src.core.printing import print_line
from src.core.processes import end_process_group, send_order, start_helper
from src.core.redaction import redact_for_terminal
from src.core.user_errors import UserError
from src.training.rank_process import (
    DISCONNECT_GRACE_SECONDS,
    LostRank,
    exit_rank,
    is_connection_error,
    leave_process_group,
    on_lost_first_rank,
    report_lost_first_rank,
)

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment

# At least, for all ranks to import, read the data and meet, on however busy a machine.
START_TIMEOUT_SECONDS = 600.0
# For the main thread to end by itself when a rank has died; then the process is ended.
GRACE_SECONDS = 10.0
# For the other ranks to end when the work is done.
_EXIT_TIMEOUT_SECONDS = 60.0
# Set in the ranks that a first one has started: how many ranks there are.
_WORLD_SIZE_VARIABLE = "PALIMPSEST_RANKS"


class RankInfo(NamedTuple):
    """Which of the processes of a run this one is, on all machines and on its own (`local`)."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    # By torchrun, SLURM, LSF or MPI, not by this program.
    is_launched_externally: bool = False


def find_rank_info(devices: int, num_nodes: int | Literal["auto"]) -> RankInfo:
    """Return which rank this process is in a run on `devices` of each of `num_nodes` machines.

    Args:
        num_nodes: `auto`: as many as a launcher has begun on; without one, this machine alone.

    Raises UserError where a launcher has started another number of processes, or none on several
    machines.
    """
    if _WORLD_SIZE_VARIABLE in os.environ:
        rank, size = int(os.environ["RANK"]), int(os.environ[_WORLD_SIZE_VARIABLE])
        return RankInfo(rank, size, rank, size)
    is_open, num_nodes = num_nodes == "auto", 1 if num_nodes == "auto" else num_nodes
    size = devices * num_nodes
    # of one process it would not be asked
    detected = detect_cluster_environment(max(size, 2) if is_open else size)
    if is_open and detected is not None:
        size = devices * max(1, detected[1].world_size() // devices)
    if detected is None:
        if num_nodes > 1:
            raise UserError(
                f"trainer.num_nodes={num_nodes}: on several machines a run is started by srun or "
                "torchrun, on each "
                f"with: torchrun --nnodes={num_nodes} --nproc-per-node={devices} -m src.run ..."
            )
        return RankInfo(0, size, 0, size)
    launcher, environment = detected
    if environment.world_size() != size:
        raise UserError(
            f"{launcher} has started {environment.world_size()} processes, but "
            f"trainer.devices={devices} times trainer.num_nodes="
            f"{'auto' if is_open else num_nodes} is {size}; trainer.devices is for each machine"
        )
    rank, local_rank = environment.global_rank(), environment.local_rank()
    return RankInfo(rank, size, local_rank, devices, is_launched_externally=True)


def detect_cluster_environment(world_size: int) -> "tuple[str, ClusterEnvironment] | None":
    """Return the launcher that has started this process as one of `world_size`, with its name.

    The tests and their order are Lightning's own.
    """
    from lightning.fabric.plugins.environments import (
        LSFEnvironment,
        MPIEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    # torchrun comes first, since it is also used inside SLURM.
    if TorchElasticEnvironment.detect():
        return "torchrun", TorchElasticEnvironment()
    for name, environment in (
        ("SLURM", SLURMEnvironment),
        ("LSF", LSFEnvironment),
        ("MPI", MPIEnvironment),
    ):
        if not environment.detect():
            continue
        if world_size == 1:
            # One of several tasks of a job that know nothing of each other.
            return None
        try:
            # A run is resumed by its id, not by a file that SLURM's requeuing leaves behind.
            options: dict[str, Any] = {"auto_requeue": False} if name == "SLURM" else {}
            detected: ClusterEnvironment = environment(**options)
        except RuntimeError as error:
            # SLURM wants --ntasks-per-node.
            raise UserError(f"{name}: {error}") from error
        return (name, detected) if detected.world_size() > 1 else None
    return None


class RankLauncher:
    """Starts the other ranks of a run when entered, watches them, and ends them when left.

    With one device it does nothing. Every way in which a rank can end ends all of them. If another
    rank dies, `LostRank` is raised in the main thread of the first one. If that thread does not
    come back within `GRACE_SECONDS`, since it waits for the dead rank inside a library,
    `on_rank_failure` is called from another thread and the process ends. If the first rank ends,
    however it ends, the others see their standard input close and end too.

    Args:
        rank_info: of this process.
        threads_per_rank: of torch on a CPU, for each rank that is started here.
        on_rank_failure: records that the run has failed; called just before the process is ended
            by force.
        on_first_rank_lost: records that in rank 1, if the first rank ends without reporting.
        timeout_seconds: how long a rank waits for one that does not answer, once training has
            begun.
        command: the program that is started for each other rank, with `--rank R` added. It must
            call `run_as_rank`.

    Attributes:
        port: at which the ranks meet.
        start_seconds: how long ranks wait for each other before training has begun.
        has_training_begun: set by `RankFailureCallback`.
    """

    def __init__(
        self,
        rank_info: RankInfo,
        *,
        threads_per_rank: int,
        on_rank_failure: Callable[[BaseException], None],
        on_first_rank_lost: Callable[[], object] = lambda: None,
        timeout_seconds: float = START_TIMEOUT_SECONDS,
        command: Sequence[str] = (sys.executable, "-m", "src.run"),
    ) -> None:
        self.rank_info = rank_info
        self.port = int(os.environ.get("MASTER_PORT", 0))
        self.threads_per_rank = threads_per_rank
        self.timeout_seconds = timeout_seconds
        self.start_seconds = max(START_TIMEOUT_SECONDS, timeout_seconds)
        self.has_training_begun = False
        self._on_rank_failure = on_rank_failure
        self._on_first_rank_lost = on_first_rank_lost
        self._command = command
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._has_sent_config = False
        self._logs: dict[int, IO[bytes]] = {}
        self._lost_rank: LostRank | None = None
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None
        self._main_thread_id = threading.get_ident()
        # Of SIGUSR1, with which the watching thread interrupts the main thread.
        self._previous_handler: Any = None

    def __enter__(self) -> "RankLauncher":
        info = self.rank_info
        if info.rank == 1:
            on_lost_first_rank(self._on_first_rank_lost)
        if info.world_size == 1 or info.rank > 0 or info.is_launched_externally:
            return self
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGUSR1, self._raise_lost_rank)
        try:
            for rank in range(1, info.world_size):
                self._start_rank(rank)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        self._watcher = threading.Thread(target=self._watch_ranks, name="ranks", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.rank_info.world_size == 1:
            return
        if error is not None:
            self.end_all_ranks(error)
        else:
            self._closing.set()
            # Else the next trial of a multirun would meet in the same process group.
            if not self.rank_info.is_launched_externally:
                leave_process_group(broken=False)
            self._join_ranks(_EXIT_TIMEOUT_SECONDS)
        if self._watcher is not None:
            # its signal would end this process once the handler is gone
            self._watcher.join()
        if self._previous_handler is not None:
            signal.signal(signal.SIGUSR1, self._previous_handler)
        if self._lost_rank is not None and self._lost_rank is not error:
            raise self._lost_rank from error

    def _start_rank(self, rank: int) -> None:
        # Read when the rank has died.
        log = self._logs[rank] = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            _WORLD_SIZE_VARIABLE: str(self.rank_info.world_size),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(self.threads_per_rank)),
        }
        self._processes[rank] = start_helper(
            [*self._command, "--rank", str(rank)], environment=environment, stdout=log, stderr=log
        )

    def send_config(self, config: Mapping[str, Any], **known: str | None) -> None:
        """Let the other ranks begin; in a later training of this run they have begun already.

        Args:
            config: of the run.
            known: what the first rank has found out; `get_from_first_rank` returns it in them.
        """
        if not self._processes or self._has_sent_config:
            return
        self._has_sent_config = True
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for rank, process in self._processes.items():
            try:
                send_order(process, {"config": config, "port": self.port, **known})
            except OSError as error:
                raise self._lost_rank_error(rank) from error

    def end_all_ranks(self, error: BaseException) -> None:
        """End all ranks because of an exception in this one. Only the first rank returns."""
        timeout = self._timeout_error(error)
        info = self.rank_info
        if info.rank > 0:
            if info.is_launched_externally and is_connection_error(error) and timeout is None:
                # The process at the other end, perhaps the first, has to be seen to be gone.
                time.sleep(DISCONNECT_GRACE_SECONDS)
                report_lost_first_rank()
            exit_rank(timeout or error)
        if self._closing.is_set():
            return
        self._closing.set()
        # A lost rank is reported by libraries as a broken connection.
        if self._lost_rank is None and isinstance(error, RuntimeError):
            if timeout is not None:
                self._lost_rank = timeout
            elif not info.is_launched_externally:
                self._lost_rank = self._find_lost_rank(DISCONNECT_GRACE_SECONDS)
            elif is_connection_error(error):
                self._lost_rank = LostRank(
                    f"another of {info.world_size} ranks is gone; the launcher may say why"
                )
        self._join_ranks(0)
        leave_process_group(broken=True)

    def _timeout_error(self, error: BaseException) -> LostRank | None:
        """Return a clear error for a library's timeout of a collective; None for other errors."""
        text = str(error)
        is_timeout = re.search("[Tt]imed ?out", text) and "DataLoader" not in text
        if not isinstance(error, RuntimeError) or not is_timeout:
            return None
        info = self.rank_info
        others = f"one of {info.world_size} ranks"
        who = f"rank {1 - info.rank} of 2" if info.world_size == 2 else others
        lost = LostRank(
            f"{who} did not answer for {self.timeout_seconds:g} s (trainer.rank_timeout_seconds)"
            if self.has_training_begun
            else f"{who} was not ready to train within {self.start_seconds:g} s"
        )
        lost.__cause__ = error
        return lost

    # -- watching

    def _watch_ranks(self) -> None:
        while not self._closing.wait(0.1):
            self._lost_rank = self._find_lost_rank(0)
            if self._lost_rank is None:
                continue
            if self._previous_handler is not None:
                signal.pthread_kill(self._main_thread_id, signal.SIGUSR1)
            if self._closing.wait(GRACE_SECONDS):
                return
            self._kill_ranks()
            print_line(
                f"error: {self._lost_rank}; rank 0 did not answer for {GRACE_SECONDS:g} s",
                to_stderr=True,
            )
            try:
                self._on_rank_failure(self._lost_rank)
            finally:
                # The main thread may never come back.
                os._exit(1)

    def _raise_lost_rank(self, signum: int, frame: FrameType | None) -> None:
        if self._lost_rank is not None and not self._closing.is_set():
            raise self._lost_rank
        # The signal was sent from outside.
        if self._lost_rank is None and callable(self._previous_handler):
            self._previous_handler(signum, frame)

    def _find_lost_rank(self, wait_seconds: float) -> LostRank | None:
        """Return an error for the rank that died first; None if none dies within the time.

        Of several that are dead it is one that was killed, else one that failed.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            codes = {rank: process.poll() for rank, process in self._processes.items()}
            # Killed by a signal: the code is negative.
            dead = sorted((code, rank) for rank, code in codes.items() if code)
            if dead:
                return self._lost_rank_error(dead[0][1])
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)

    def _lost_rank_error(self, rank: int) -> LostRank:
        process = self._processes[rank]
        code = process.wait(DISCONNECT_GRACE_SECONDS)
        lines = self._read_log_lines(rank)
        if code < 0:
            reason = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                reason += " (the system does so where memory has run out)"
        else:
            reason = f"failed: {lines[-1]}" if lines else f"ended with exit code {code}"
        if lines:
            print_line("\n".join(f"rank {rank}: {line}" for line in lines[-30:]), to_stderr=True)
        return LostRank(
            f"rank {rank} of {self.rank_info.world_size} (process {process.pid}) {reason}"
        )

    def _read_log_lines(self, rank: int) -> list[str]:
        log = self._logs[rank]
        log.seek(0)
        lines = log.read().decode("utf-8", "replace").splitlines()
        return [redact_for_terminal(line) for line in lines if line.strip()]

    # -- ending

    def _join_ranks(self, wait_seconds: float) -> None:
        """Wait so long for the other ranks, then end them."""
        deadline = time.monotonic() + wait_seconds
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self._kill_ranks()
        for process in self._processes.values():
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        if self._watcher is not None:
            # It reads the logs of a rank that it sees dead, also of one that was ended here.
            self._watcher.join()
        for log in self._logs.values():
            log.close()

    def _kill_ranks(self) -> None:
        """Kill each rank with the worker processes of its data loaders."""
        for process in self._processes.values():
            end_process_group(process)
