"""Imports, and the end of the program, without garbage collection; and signals that come before there is a run.

Importing torch, Lightning and MLflow makes hardly any garbage, but a million objects that live as long as the process.
Walking them again and again costs a sixth of the processor time until the first training step, and a third of that of
a config error.
"""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def program() -> Iterator[None]:
    """A whole program: nothing is collected until it says `imported`, nor when the interpreter ends.

    At the end the system takes everything back anyway.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the program at once, with the shell's exit codes (130, 143) and without a traceback.

    Until a run takes them over (src/tracking/ending.py) nothing has been done that could be lost.
    """
    before = {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, _end)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(signum: int, _: FrameType | None) -> None:
    os._exit(128 + signum)


def imported() -> None:
    """Collect again, from here on only what is made from now on: modules live as long as the process.

    Does nothing where the collector runs already, so a second run in one process does not keep the first one alive.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Not collecting while libraries are imported late, in the middle of a program."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
