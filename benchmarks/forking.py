"""Runs of `src.run` in copies of a process that has imported everything already: begun, watched and
killed.
"""

import functools
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PARTS = (
    "start-up",
    "data preparation",
    "set-up",
    "steps",
    "validation",
    "checkpoint writing",
    "test",
    "model saving",
    "end",
)
PATIENCE_SECONDS = 300.0


class Watch:
    """How often a forked run has entered each part, told by it as it goes; shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4 * (len(PARTS) + 1))

    def reset(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def enter(self, part: int) -> None:
        struct.pack_into("I", self._memory, 4 * part, self.turns(part) + 1)
        struct.pack_into("I", self._memory, 4 * len(PARTS), part)

    def turns(self, part: int) -> int:
        return int(struct.unpack_from("I", self._memory, 4 * part)[0])

    @property
    def part(self) -> int:
        return int(struct.unpack_from("I", self._memory, 4 * len(PARTS))[0])


def warm() -> None:
    """Import what a run imports, in one thread: forking with more would be asking for trouble."""
    import src.search.run.preload  # noqa: F401


def forked(arguments: Sequence[str], log: Path, watch: Watch, times: Path | None = None) -> int:
    """Begin `python -m src.run` in a copy of this process; its id. `times` takes the instants at
    which parts begin.
    """
    watch.reset()
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(log, "a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["src.run", *arguments]
        _observe(watch, times)
        from src.core import startup
        from src.run import run_program

        with startup.run_without_gc():
            run_program()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _observe(watch: Watch, times: Path | None) -> None:
    """Have this process tell which part of a run it is in. Nothing else about it changes."""
    from lightning.pytorch import Trainer

    from src.data.datamodule import TextDataModule
    from src.model.module import EncoderModule
    from src.pipeline import export
    from src.tracking.run_record import RunRecord
    from src.training import checkpoint_callback

    descriptor = (
        os.open(times, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if times is not None else None
    )

    def enter(part: str) -> None:
        watch.enter(PARTS.index(part))
        if descriptor is not None:
            os.write(descriptor, f"{PARTS.index(part)} {time.monotonic()}\n".encode())

    def within(owner: Any, name: str, part: str, after: str) -> None:
        method: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(method)
        def told(*arguments: Any, **named: Any) -> Any:
            enter(part)
            result = method(*arguments, **named)
            enter(after)
            return result

        setattr(owner, name, told)

    enter("start-up")
    within(TextDataModule, "prepare_data", "data preparation", "set-up")
    within(Trainer, "fit", "steps", "set-up")
    within(Trainer, "test", "test", "set-up")
    within(checkpoint_callback, "write_checkpoint", "checkpoint writing", "steps")
    within(export, "save_model", "model saving", "model saving")
    within(RunRecord, "_log_ending", "end", "end")
    begin, end = EncoderModule.on_validation_start, EncoderModule.on_validation_epoch_end

    def begun(self: EncoderModule) -> None:
        enter("validation")
        begin(self)

    def ended(self: EncoderModule) -> None:
        end(self)
        enter("steps")

    EncoderModule.on_validation_start = begun  # type: ignore[method-assign]
    EncoderModule.on_validation_epoch_end = ended  # type: ignore[method-assign]


def ending(child: int) -> int:
    """Wait for a process; its exit code, negative for a signal."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise RuntimeError(f"a run did not end within {PATIENCE_SECONDS:g} s")


def killed(child: int, due: Callable[[], bool], delay: float) -> bool:
    """Kill a process `delay` seconds after `due`; False where it ended before."""
    while not due():
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
