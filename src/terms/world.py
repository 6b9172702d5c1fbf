"""Failures of the world: no memory, no space, a process that was killed. One message each, which says what to do.

Everything else that a program raises is a mistake in it, and is shown with its traceback.
"""

import errno
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.terms.fault import Fault

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_SPACE_WORDS = (
    r"No space left on device|Disk quota exceeded|database or disk is full|PytorchStreamWriter failed writing"
)
_NO_MEMORY_WORDS = (
    r"can't allocate memory|Cannot allocate memory|out of memory|not enough memory|CU(BLAS|DNN|SPARSE)_STATUS_ALLOC"
)
_LOST_GPU_WORDS = (
    r"CUDA error: (unspecified launch failure|uncorrectable ECC|unknown error|driver shutting down|hardware stack error"
    r"|.*fallen off the bus|device.*(unavailable|lost|removed))|NVML.*GPU is lost"
)
_SIZES = (
    "data.batching.batch_size", "data.batching.batch_tokens", "data.batching.row_tokens", "data.batching.max_tokens",
    "trainer.accumulate_grad_batches", "model.gradient_checkpointing",
)  # fmt: skip
_REMEDIES = {
    "memory": (
        "less at a time needs less: a lower data.batching.batch_size or data.batching.batch_tokens (trainer."
        "accumulate_grad_batches makes up for it), or model.gradient_checkpointing=true"
    ),
    "space": "free some, or keep runs elsewhere (tracking.root)",
    "worker": "data.num_workers=0 makes batches in the training process itself",
    "shared": "data.num_workers=0 needs none; in a container, --shm-size gives more",
}


class NonFiniteLoss(ArithmeticError):
    """The loss or a gradient is not a number or infinite; raised before the update, so that the weights are still good.

    Args:
        step: optimizer steps made when it was noticed.
        places: (epoch, place in the epoch's plan) of the batches that it may come from: one where the loss is not
            finite, all of the update where a gradient is not; none where it was noticed later, as on a GPU.
    """

    def __init__(self, message: str, step: int = 0, places: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(message)
        self.step = step
        self.places = list(places)


class LostProcess(RuntimeError):
    """A process that worked for this one has ended before its work was done.

    Args:
        what: it did, in a word.
        signals: that processes of its kind were ended by; none where they ended by themselves.
        remedy: what to do about it.
    """

    def __init__(self, what: str, signals: Sequence[int], remedy: str) -> None:
        number = next((each for each in signals if each != signal.SIGTERM), None)  # what ends the others of a pool
        how = "ended unexpectedly" if number is None else f"was killed (signal {number})"
        if number == signal.SIGKILL:
            how += "; the system does so where memory has run out"
        super().__init__(f"a {what} process {how}: {remedy}")


class Standing:
    """Where a run's work stands: an exception that passes while this is entered is given it as a note.

    Where memory has run out, the sizes in the run's `config` that decide how much is needed are noted too.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.words = ""
        self._config = config

    def __enter__(self) -> "Standing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        if _is_memory(error) and (sizes := _sizes(self._config)):
            error.add_note(f"now {sizes}")
        if self.words:
            error.add_note(self.words)


def _sizes(config: Mapping[str, Any]) -> str:
    found = []
    for name in _SIZES:
        value: Any = config
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found.append(f"{name}={str(value).lower()}")
    return " ".join(found)


def message(error: BaseException) -> str:
    """An exception in one line for a person, with its notes."""
    words = " ".join(str(error).split())
    said = diagnose(error)
    if said is None:
        said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return "; ".join([said, *getattr(error, "__notes__", [])])


def diagnose(error: BaseException) -> str | None:
    """What has failed outside of this program, in one line that says what to do; None where it is none of that."""
    words = " ".join(str(error).split())
    name = type(error).__name__
    if isinstance(error, Fault):
        return None
    worker = _lost_worker(error, words)
    if worker is not None:
        return worker
    if isinstance(error, NonFiniteLoss):
        return f"{name}: {words}"
    if isinstance(error, LostProcess):
        return words
    if (isinstance(error, OSError) and error.errno in _NO_SPACE) or re.search(_NO_SPACE_WORDS, words):
        return f"the disk is full or cannot be written to ({_short(words)}): {_REMEDIES['space']}"
    if _is_memory(error):
        return f"out of memory ({_short(words) or name}): {_REMEDIES['memory']}"
    if isinstance(error, RuntimeError) and re.search(_LOST_GPU_WORDS, words):
        return f"the GPU has failed ({_short(words)}): nvidia-smi and the system's log may say why"
    if isinstance(error, OSError):
        return f"{name}: {words}" if words else name
    return None


def _is_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and re.search(_NO_MEMORY_WORDS, str(error)) is not None)
    )


def _lost_worker(error: BaseException, words: str) -> str | None:
    """What torch's DataLoader says of a worker process that was killed, or failed in a way that is the world's."""
    if not isinstance(error, RuntimeError):
        caught = re.match(r"Caught (\w+) in DataLoader worker process (\d+)\. .*?\1: (.*)", words)
        if caught and isinstance(error, MemoryError | OSError):
            return f"data worker {caught[2]} failed: {_short(caught[3])}; {_REMEDIES['worker']}"
        return None
    found = re.search(
        r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)", words
    )
    if found is None:
        return None
    if found[2] == "Bus error":
        return f"data worker (process {found[1]}) had no shared memory left (/dev/shm): {_REMEDIES['shared']}"
    how = f"was killed ({found[2]})" if found[2] else "ended unexpectedly"
    if found[2] == "Killed":
        how += "; the system does so where memory has run out"
    return f"a data worker (process {found[1]}) {how}: {_REMEDIES['worker']}"


def _short(words: str) -> str:
    """The first 200 characters at most; a list of memory statistics says nothing here."""
    words = re.sub(r"^\[enforce fail at \S+\] [^.]*\. ", "", words)
    words = re.split(r" Exception raised from | If reserved but unallocated ", words)[0]
    return words if len(words) <= 200 else f"{words[:199]}…"


class Kills(NamedTuple):
    """How often the system has ended a process here because memory had run out; `place` is the file that says so."""

    place: str
    number: int

    @classmethod
    def now(cls) -> "Kills | None":
        """Of this process's control group, else of the machine; None where the system does not tell."""
        for place in _counters():
            number = _count(place)
            if number is not None:
                return cls(str(place), number)
        return None

    def since(self) -> int:
        """How many more there are by now."""
        return max(0, (_count(Path(self.place)) or 0) - self.number)


def _counters() -> Iterator[Path]:
    """Control groups (version 2, then 1) as seen from the machine and from within a container, then the machine."""
    try:
        lines = Path("/proc/self/cgroup").read_text().split()
    except OSError:
        return
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controllers == "memory":
            base, file = (root, "memory.events") if controllers == "" else (root / "memory", "memory.oom_control")
            yield base / path.strip("/") / file
            yield base / file
    yield Path("/proc/vmstat")


def _count(place: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", place.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1])
