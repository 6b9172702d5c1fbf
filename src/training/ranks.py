"""The processes of a run on several devices: the first starts the others, watches them, and ends with them.

Under torchrun, SLURM, LSF or MPI all processes are there already, and this file starts none. Else the first process
(rank 0) starts one more for each further device: `python -m src.run --rank R`, which takes the composed config from its
standard input (following.py). No command line is run again, so a multirun, the quickstart and a test all work alike.
"""

import contextlib
import json
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
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, NamedTuple

from src.terms.fault import Fault
from src.tracking.redaction import spoken
from src.training.following import BLAME_SECONDS, LostRank, die, is_broken, testify, witness

START_SECONDS = 600.0  # at least, for all ranks to import, read the data and meet, on however busy a machine
GRACE_SECONDS = 10.0  # for the main thread to end by itself when a rank has died; then the process is ended
_LEAVE_SECONDS = 60.0  # for the other ranks to end when the work is done
_WORLD = "PALIMPSEST_RANKS"  # set in the ranks that a first one has started: how many there are
_ROOT = Path(__file__).resolve().parents[2]


class Place(NamedTuple):
    """Where this process stands: its rank of `size` on all machines, its local rank of `local_size` on this one."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launched: bool = False  # by something else than this program: torchrun, SLURM, LSF, MPI


def find_place(devices: int, num_nodes: int) -> Place:
    """This process among the ranks of a run on `devices` of each of `num_nodes` machines."""
    if _WORLD in os.environ:
        rank = int(os.environ["RANK"])
        return Place(rank, int(os.environ[_WORLD]), rank, int(os.environ[_WORLD]))
    from src.training.distributed import launched_by

    size = devices * num_nodes
    found = launched_by(size)
    if found is None:
        if num_nodes > 1:
            raise Fault(
                f"trainer.num_nodes={num_nodes}: on several machines a run is started by srun or torchrun, on each "
                f"with: torchrun --nnodes={num_nodes} --nproc-per-node={devices} -m src.run ..."
            )
        return Place(0, size, 0, size)
    name, environment = found
    if environment.world_size() != size:
        raise Fault(
            f"{name} has started {environment.world_size()} processes, but trainer.devices={devices} times "
            f"trainer.num_nodes={num_nodes} is {size}; trainer.devices is for each machine"
        )
    rank, local_rank = environment.global_rank(), environment.local_rank()
    return Place(rank, size, local_rank, devices, launched=True)


class Ranks:
    """The other processes of a run while it is entered; nothing at all where there is one device.

    Every way in which a rank can end ends all. Where another rank dies, `LostRank` is raised in the main thread of the
    first; where that thread does not come back within `GRACE_SECONDS` (it waits for the dead one inside a library),
    `give_up` is called from another thread and the process ends. Where the first rank ends, however it ends, the
    others see their standard input close, and end too.

    Args:
        place: of this process.
        threads: of each rank that is started here.
        give_up: records that the run has failed; called just before the process is ended by force.
        first_gone: records that too, in rank 1, where the first is gone without a word.
        timeout_seconds: how long a rank waits for one that does not answer, once training has begun.
        command: the program that is started for each other rank, with `--rank R` added: it must `follow`.
    """

    def __init__(
        self,
        place: Place,
        *,
        threads: int,
        give_up: Callable[[BaseException], None],
        first_gone: Callable[[], object] = lambda: None,
        timeout_seconds: float = START_SECONDS,
        command: Sequence[str] = (sys.executable, "-m", "src.run"),
    ) -> None:
        self.place = place
        self.port = int(os.environ.get("MASTER_PORT", 0))
        self.threads = threads
        self.timeout_seconds = timeout_seconds
        self.start_seconds = max(START_SECONDS, timeout_seconds)
        self.begun = False  # whether training has: until then the ranks wait for each other for `start_seconds`
        self._give_up = give_up
        self._first_gone = first_gone
        self._command = command
        self._others: dict[int, subprocess.Popen[bytes]] = {}
        self._logs: dict[int, IO[bytes]] = {}
        self._lost: LostRank | None = None
        self._closing = threading.Event()
        self._main = threading.get_ident()
        self._before: Any = None  # the handler of SIGUSR1

    def __enter__(self) -> "Ranks":
        place = self.place
        if place.rank == 1:
            witness(self._first_gone)
        if place.size == 1 or place.rank > 0 or place.launched:
            return self
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGUSR1, self._interrupt)
        try:
            for rank in range(1, place.size):
                self._start(rank)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.place.size == 1:
            return
        if error is not None:
            self.fail(error)
        else:
            self._closing.set()
            if not self.place.launched:  # else the next trial of a multirun meets in the same group
                _leave_group(broken=False)
            self._end(_LEAVE_SECONDS)
        if self._before is not None:
            signal.signal(signal.SIGUSR1, self._before)
        if self._lost is not None and self._lost is not error:
            raise self._lost from error

    def go(self, config: Mapping[str, Any], **known: str | None) -> None:
        """Let the other ranks begin: with the config, and with what the first has found out (`told` gives it them)."""
        if not self._others:
            return
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        line = json.dumps({"config": config, "port": self.port, **known}).encode() + b"\n"
        for rank, process in self._others.items():
            assert process.stdin is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
            except OSError as error:
                raise self._death(rank) from error

    def fail(self, error: BaseException) -> None:
        """End all ranks because of an exception in this one. Only the first rank comes back from here."""
        silence = self._silence(error)
        if self.place.rank > 0:
            if self.place.launched and is_broken(error) and silence is None:
                time.sleep(BLAME_SECONDS)  # till the process at the other end, perhaps the first, is seen to be gone
                testify()
            die(silence or error)
        if self._closing.is_set():
            return
        self._closing.set()
        if self._lost is None and isinstance(error, RuntimeError):  # what a broken connection is reported as
            if silence is not None:
                self._lost = silence
            elif not self.place.launched:
                self._lost = self._find_death(BLAME_SECONDS)
            elif is_broken(error):
                self._lost = LostRank(f"another of {self.place.size} ranks is gone; the launcher may say why")
        self._end(0)
        _leave_group(broken=True)

    def _silence(self, error: BaseException) -> LostRank | None:
        """In words what a library says of a rank that does not answer; None where it is not that."""
        words = str(error)
        if not isinstance(error, RuntimeError) or "DataLoader" in words or not re.search("[Tt]imed ?out", words):
            return None
        size = self.place.size
        who = f"rank {1 - self.place.rank} of 2" if size == 2 else f"one of {size} ranks"
        if self.begun:
            silence = LostRank(f"{who} did not answer for {self.timeout_seconds:g} s (trainer.rank_timeout_seconds)")
        else:
            silence = LostRank(f"{who} was not ready to train within {self.start_seconds:g} s")
        silence.__cause__ = error
        return silence

    def _start(self, rank: int) -> None:
        names = {"RANK": rank, "LOCAL_RANK": rank, _WORLD: self.place.size}
        environment = {"OMP_NUM_THREADS": str(self.threads), **os.environ}  # a person's own number stays
        environment |= {name: str(value) for name, value in names.items()}
        # Started from any folder, where relative paths in the config mean the same as in the first rank.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        log = self._logs[rank] = tempfile.TemporaryFile()  # noqa: SIM115  # read when the rank has died
        self._others[rank] = subprocess.Popen(
            [*self._command, "--rank", str(rank)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C goes to the first rank, which ends the others
        )

    def _watch(self) -> None:
        while not self._closing.wait(0.1):
            self._lost = self._find_death(0)
            if self._lost is None:
                continue
            if self._before is not None:
                signal.pthread_kill(self._main, signal.SIGUSR1)
            if self._closing.wait(GRACE_SECONDS):
                return
            self._kill()
            print(f"error: {self._lost}; rank 0 did not answer for {GRACE_SECONDS:g} s", file=sys.stderr, flush=True)
            try:
                self._give_up(self._lost)
            finally:  # whatever came of it: the main thread may never come back
                os._exit(1)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._lost is not None and not self._closing.is_set():
            raise self._lost
        if self._lost is None and callable(self._before):  # it was sent from outside
            self._before(signum, frame)

    def _find_death(self, patience: float) -> LostRank | None:
        """The rank that died first, as far as can be told: one that was killed, else one that failed."""
        until = time.monotonic() + patience
        while True:
            codes = {rank: process.poll() for rank, process in self._others.items()}
            dead = [rank for rank, code in codes.items() if code not in (None, 0)]
            if dead:
                return self._death(min(dead, key=lambda rank: (codes[rank] or 0, rank)))  # signals are negative
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)

    def _death(self, rank: int) -> LostRank:
        process = self._others[rank]
        code = process.wait(BLAME_SECONDS)
        lines = self._said(rank)
        if code < 0:
            reason = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                reason += " (the system does so where memory has run out)"
        else:
            reason = f"failed: {lines[-1]}" if lines else f"ended with exit code {code}"
        if lines:
            print("\n".join(f"rank {rank}: {line}" for line in lines[-30:]), file=sys.stderr)
        return LostRank(f"rank {rank} of {self.place.size} (process {process.pid}) {reason}")

    def _said(self, rank: int) -> list[str]:
        log = self._logs[rank]
        log.seek(0)
        return [spoken(line) for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]

    def _end(self, patience: float) -> None:
        """Wait so long for the other ranks, then end them."""
        until = time.monotonic() + patience
        for process in self._others.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        self._kill()
        for process in self._others.values():
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        for log in self._logs.values():
            log.close()

    def _kill(self) -> None:
        """Of each rank its whole session: its loaders' workers too."""
        for process in self._others.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _leave_group(*, broken: bool) -> None:
    """Take this process out of the group; what would wait for another rank later (a barrier) then does not."""
    if "torch.distributed" not in sys.modules:
        return
    import torch.distributed as dist
    from torch.distributed import distributed_c10d

    if not (dist.is_available() and dist.is_initialized()):
        return
    abort = getattr(distributed_c10d, "_abort_process_group", None)
    if broken and abort is not None and dist.get_backend() == "nccl":
        abort()  # destroying would wait for kernels that wait for a rank that is gone
    else:
        dist.destroy_process_group()
