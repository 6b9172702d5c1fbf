"""Failures outside of this program: no memory, no disk space, a killed process, a lost GPU. Each is
told apart from a mistake in the program and gets one message that says what to do.

Every other exception is a mistake in the program and is shown with its traceback.
"""

import errno
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from src.core.nested_config import get_by_path
from src.core.user_errors import UserError

_NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_SPACE_PATTERN = (
    r"No space left on device|Disk quota exceeded|database or disk is "
    r"full|PytorchStreamWriter failed writing"
)
_NO_MEMORY_PATTERN = (
    r"can't allocate memory|Cannot allocate memory|out of memory|not enough "
    r"memory|CU(BLAS|DNN|SPARSE)_STATUS_ALLOC"
)
_LOST_GPU_PATTERN = (
    r"CUDA error: (unspecified launch failure|uncorrectable ECC|unknown error|driver shutting "
    r"down|hardware stack error"
    r"|.*fallen off the bus|device.*(unavailable|lost|removed))|NVML.*GPU is lost"
)
_MEMORY_KEYS = (
    "data.batching.batch_size",
    "data.batching.batch_tokens",
    "data.batching.row_tokens",
    "data.batching.max_tokens",
    "trainer.accumulate_grad_batches",
    "model.gradient_checkpointing",
)
_REMEDIES = {
    "memory": (
        "less at a time needs less: a lower data.batching.batch_size or "
        "data.batching.batch_tokens (trainer."
        "accumulate_grad_batches makes up for it), or model.gradient_checkpointing=true"
    ),
    "space": "free some, or keep runs elsewhere (tracking.root)",
    "worker": "data.num_workers=0 makes batches in the training process itself",
    "shared": "data.num_workers=0 needs none; in a container, --shm-size gives more",
}


class NonFiniteLoss(ArithmeticError):
    """The loss or a gradient is NaN or infinite. Raised before the update, so the weights are still
    good.

    Args:
        step: optimizer steps made when it was noticed.
        batch_positions: (epoch, position among the epoch's batches) of each batch that it may come
            from: one batch if the loss is not finite, all batches of the update if a gradient is
            not, none if it was noticed later, as on a GPU.
    """

    def __init__(
        self, message: str, step: int = 0, batch_positions: Sequence[tuple[int, int]] = ()
    ) -> None:
        super().__init__(message)
        self.step = step
        self.batch_positions = list(batch_positions)


class LostProcessError(RuntimeError):
    """A process that worked for this one has ended before its work was done.

    Args:
        what: the kind of process, in a word.
        signals: the signals that ended processes of its pool; empty if they exited by themselves.
        remedy: what to do about it.
    """

    def __init__(self, what: str, signals: Sequence[int], remedy: str) -> None:
        # SIGTERM is how a pool ends its other processes
        number = next((signum for signum in signals if signum != signal.SIGTERM), None)
        how = "ended unexpectedly" if number is None else f"was killed (signal {number})"
        if number == signal.SIGKILL:
            how += "; the system does so where memory has run out"
        super().__init__(f"a {what} process {how}: {remedy}")


class ErrorContext:
    """Adds notes to an exception that leaves the `with` block: how far the run had come
    (`progress_note`) and, if memory has run out, the sizes in `config` that memory depends on.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.progress_note = ""
        self._config = config

    def __enter__(self) -> "ErrorContext":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if not isinstance(error, Exception):
            return
        if _is_out_of_memory(error) and (sizes := _format_memory_settings(self._config)):
            error.add_note(f"now {sizes}")
        if self.progress_note:
            error.add_note(self.progress_note)


def _format_memory_settings(config: Mapping[str, Any]) -> str:
    found = []
    for name in _MEMORY_KEYS:
        if (value := get_by_path(config, name)) is not None:
            found.append(f"{name}={str(value).lower()}")
    return " ".join(found)


def format_error(error: BaseException) -> str:
    """An exception in one line for the user, with its notes."""
    failure = diagnose_failure(error)
    message = describe_exception(error) if failure is None else failure.message
    return "; ".join([message, *getattr(error, "__notes__", [])])


def describe_exception(error: BaseException) -> str:
    """The text of an exception in one line, behind its class; a UserError says enough by itself."""
    words = " ".join(str(error).split())
    if isinstance(error, UserError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class Failure(NamedTuple):
    """A failure outside of this program: its kind, and one line that says what to do about it."""

    kind: Literal["worker", "loss", "process", "disk", "memory", "gpu", "system"]
    message: str


def diagnose_failure(error: BaseException) -> Failure | None:
    """Which failure outside of this program an exception comes from; None for any other
    exception.
    """
    if isinstance(error, UserError):
        return None
    words = " ".join(str(error).split())
    worker = _diagnose_lost_worker(error, words)
    if worker is not None:
        return Failure("worker", worker)
    if isinstance(error, NonFiniteLoss):
        return Failure("loss", describe_exception(error))
    if isinstance(error, LostProcessError):
        return Failure("process", words)
    if (isinstance(error, OSError) and error.errno in _NO_SPACE_ERRNOS) or re.search(
        _NO_SPACE_PATTERN, words
    ):
        return Failure(
            "disk",
            f"the disk is full or cannot be written to ({_shorten_message(words)}): "
            f"{_REMEDIES['space']}",
        )
    if _is_out_of_memory(error):
        shown = _shorten_message(words) or type(error).__name__
        return Failure("memory", f"out of memory ({shown}): {_REMEDIES['memory']}")
    if isinstance(error, RuntimeError) and re.search(_LOST_GPU_PATTERN, words):
        return Failure(
            "gpu",
            f"the GPU has failed ({_shorten_message(words)}): nvidia-smi and the system's "
            "log may say why",
        )
    if isinstance(error, OSError):
        return Failure("system", describe_exception(error))
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (
            isinstance(error, RuntimeError)
            and re.search(_NO_MEMORY_PATTERN, str(error)) is not None
        )
    )


def _diagnose_lost_worker(error: BaseException, words: str) -> str | None:
    """The message about a worker process of torch's DataLoader that was killed, is stuck, or failed
    for want of memory or of a file; None for any other exception.
    """
    if not isinstance(error, RuntimeError):
        caught = re.match(r"Caught (\w+) in DataLoader worker process (\d+)\. .*?\1: (.*)", words)
        if caught and isinstance(error, MemoryError | OSError):
            return (
                f"data worker {caught[2]} failed: {_shorten_message(caught[3])}; "
                f"{_REMEDIES['worker']}"
            )
        return None
    if stuck := re.search(r"DataLoader timed out after (\d+) seconds", words):
        return f"a data worker gave no batch for {stuck[1]} seconds: {_REMEDIES['worker']}"
    found = re.search(
        r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited "
        r"unexpectedly)",
        words,
    )
    if found is None:
        return None
    if found[2] == "Bus error":
        return (
            f"data worker (process {found[1]}) had no shared memory left (/dev/shm): "
            f"{_REMEDIES['shared']}"
        )
    how = f"was killed ({found[2]})" if found[2] else "ended unexpectedly"
    if found[2] == "Killed":
        how += "; the system does so where memory has run out"
    return f"a data worker (process {found[1]}) {how}: {_REMEDIES['worker']}"


def _shorten_message(words: str) -> str:
    """A library's message in at most 200 characters, without its statistics of memory."""
    words = re.sub(r"^\[enforce fail at \S+\] [^.]*\. ", "", words)
    words = re.split(r" Exception raised from | If reserved but unallocated ", words)[0]
    return words if len(words) <= 200 else f"{words[:199]}…"


class OomKillCount(NamedTuple):
    """How often the system has killed a process because memory had run out, as counted in
    `counter_file`.
    """

    counter_file: str
    total: int

    @classmethod
    def read_current(cls) -> "OomKillCount | None":
        """The count of this process's control group, or else of the machine; None if the system
        does not count.
        """
        for file in _counter_files():
            number = _read_kill_count(file)
            if number is not None:
                return cls(str(file), number)
        return None

    def count_new_kills(self) -> int:
        """Kills since this count was read."""
        return max(0, (_read_kill_count(Path(self.counter_file)) or 0) - self.total)


def _counter_files() -> Iterator[Path]:
    """The files that may hold a count: of the control group (version 2, then 1), as seen from the
    machine and from within a container, and then of the machine.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().split()
    except OSError:
        return
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controllers == "memory":
            base, file = (
                (root, "memory.events")
                if controllers == ""
                else (root / "memory", "memory.oom_control")
            )
            yield base / path.strip("/") / file
            yield base / file
    yield Path("/proc/vmstat")


def _read_kill_count(file: Path) -> int | None:
    try:
        count = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if count is None else int(count[1])
