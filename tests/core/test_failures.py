"""Which failures are the world's, and what a person is told of them."""

import errno
from pathlib import Path

import pytest

from src.core import failures
from src.core.failures import (
    ErrorContext,
    NonFiniteLoss,
    OomKillCount,
    diagnose_failure,
    format_error,
)
from src.core.user_errors import UserError


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


CUDA = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB of "
    "which 1.2 GiB is free. "
    "If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate "
    "800000000000 bytes. Error code 12 (Cannot allocate memory)"
)
LESS = "less at a time needs less: a lower data.batching.batch_size"


@pytest.mark.parametrize(
    ("error", "begins", "says"),
    [
        (
            MemoryError("Unable to allocate 3 GiB"),
            "out of memory (Unable to allocate 3 GiB): ",
            LESS,
        ),
        (MemoryError(), "out of memory (MemoryError): ", LESS),
        (
            OutOfMemoryError(CUDA),
            "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.",
            LESS,
        ),
        (RuntimeError(CPU), "out of memory (DefaultCPUAllocator: can't allocate memory", LESS),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"),
            "out of memory (CUDA error",
            LESS,
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory ([Errno 12]", LESS),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "the disk is full", "'/x/y'"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "the disk is full or cannot be written to",
            "free some",
        ),
        (
            RuntimeError(
                "[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing "
                "file data/2: "
                "file write failed"
            ),
            "the disk is full",
            "failed writing file data/2",
        ),
        (
            RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. "),
            "a data worker (process 77) was killed (Killed); the system does so where memory has "
            "run out: ",
            "data.num_workers=0",
        ),
        (
            RuntimeError("DataLoader worker (pid 77) is killed by signal: Segmentation fault. "),
            "a data worker (process 77) was killed (Segmentation fault): ",
            "data.num_workers=0",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 77, 78) exited unexpectedly"),
            "a data worker (process 77, 78) ended unexpectedly: ",
            "data.num_workers=0",
        ),
        (
            RuntimeError("DataLoader timed out after 600 seconds"),
            "a data worker gave no batch for 600 seconds: ",
            "data.num_workers=0",
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
                "dataloader's "
                "workers are out of shared memory."
            ),
            "data worker (process 7) had no shared memory",
            "shm-size",
        ),
        (
            MemoryError(
                "Caught MemoryError in DataLoader worker process 1.\nOriginal Traceback (most "
                "recent call last):\n"
                "  File x\nMemoryError: too large\n"
            ),
            "data worker 1 failed: too large; ",
            "data.num_workers=0",
        ),
        (
            RuntimeError("CUDA error: unspecified launch failure"),
            "the GPU has failed",
            "nvidia-smi",
        ),
        (ConnectionResetError("reset"), "ConnectionResetError: reset", ""),
        (
            NonFiniteLoss("the loss is nan at step 3"),
            "NonFiniteLoss: the loss is nan at step 3",
            "",
        ),
    ],
)
def test_failures_of_the_world(error: BaseException, begins: str, says: str) -> None:
    failure = diagnose_failure(error)
    assert failure is not None
    found = failure.message
    assert found.startswith(begins) and says in found and "\n" not in found
    assert format_error(error) == found


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        ZeroDivisionError("division by zero"),
        RuntimeError("shape mismatch"),
        KeyError("x"),
        RuntimeError("CUDA error: device-side assert triggered"),
        UserError("data.path: out of memory, disk is full"),
        ValueError(
            "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback: ValueError: x"
        ),
    ],
    ids=str,
)
def test_mistakes_of_the_program_are_not(error: BaseException) -> None:
    assert diagnose_failure(error) is None


def test_a_reason_says_where_the_work_stood() -> None:
    with pytest.raises(ValueError) as caught, ErrorContext({}) as standing:
        standing.progress_note = "training itself was complete (optimizer step 3)"
        raise ValueError("no\n rows")
    assert (
        format_error(caught.value)
        == "ValueError: no rows; training itself was complete (optimizer step 3)"
    )
    assert format_error(KeyError()) == "KeyError"


def test_a_lack_of_memory_says_what_was_asked_for() -> None:
    config = {
        "data": {"batching": {"batch_size": 64, "batch_tokens": None}},
        "model": {"gradient_checkpointing": False},
    }
    with pytest.raises(MemoryError) as caught, ErrorContext(config):
        raise MemoryError("Unable to allocate 3 GiB")
    said = format_error(caught.value)
    assert said.startswith("out of memory (Unable to allocate 3 GiB): less at a time")
    assert said.endswith("; now data.batching.batch_size=64 model.gradient_checkpointing=false")


def test_the_system_counts_whom_it_ended_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    monkeypatch.setattr(failures, "_counter_files", lambda: iter((tmp_path / "none", events)))
    before = OomKillCount.read_current()
    assert before == (str(events), 2) and before.count_new_kills() == 0
    events.write_text("oom_kill 3\n")
    assert before.count_new_kills() == 1
    events.unlink()
    assert before.count_new_kills() == 0 and OomKillCount.read_current() is None
