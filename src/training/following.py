"""A rank that the first process of a run has started: what it is told, and how it ends when the first does."""

import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any, NoReturn

from src.tracking.redaction import spoken

BLAME_SECONDS = 2.0  # a broken connection is noticed before the death that broke it
_GONE_SECONDS = 5.0  # for a process to be gone once its files are closed
_WITNESS_SECONDS = 30.0  # for the store to take the ending of a run whose first rank is gone
_orders: dict[str, Any] = {}  # what the first rank told this one
_witness: list[Callable[[], object]] = []  # at most one
_first_left = threading.Event()


class LostRank(ChildProcessError):
    """Another process of this run has died, or does not answer."""


def follow(task: Callable[..., object]) -> NoReturn:
    """Be a rank that the first one has started: get ready, wait for the config, run it."""
    first = os.getppid()
    orders = os.fdopen(os.dup(0), "rb")
    from src.training.noise import quiet

    quiet()
    import transformers  # noqa: F401  # takes seconds, in which the first rank reads the data

    line = orders.readline()
    if not line:  # the first rank has failed before it began
        os._exit(0)
    _orders.update(json.loads(line))
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_orders["port"])}
    threading.Thread(target=_end_with, args=(first, orders), daemon=True).start()
    try:
        task(**_orders["config"])
    except BaseException as error:
        die(error)
    sys.stdout.flush()
    os._exit(0)


def told(name: str) -> str | None:
    """What the first rank told this one; None in the first, and where all ranks were started by something else."""
    return _orders.get(name)


def is_broken(error: BaseException) -> bool:
    """Whether an exception says that the connection to another rank is no more."""
    words = "gloo|NCCL|closed by peer|reset by peer|[Bb]roken pipe|[Cc]onnection (was )?(closed|reset|refused)"
    return isinstance(error, RuntimeError) and re.search(words, str(error)) is not None


def witness(first_gone: Callable[[], object]) -> None:
    """Have this rank call `first_gone` should the first be gone without a word."""
    _witness[:] = [first_gone]


def testify() -> None:
    """Say that the first rank is gone, where this one is to; not for ever, since the process ends next."""
    bound = threading.Timer(_WITNESS_SECONDS, os._exit, (1,))
    bound.daemon = True
    bound.start()
    for first_gone in _witness:
        try:
            first_gone()
        except Exception as failure:  # of a store that does not answer: whoever opens it next sees as much
            print(f"the run's end was not recorded ({type(failure).__name__})", file=sys.stderr)
    bound.cancel()


def die(error: BaseException) -> NoReturn:
    """End this process at once: its last words, and no exit handler that would wait for other ranks."""
    print(spoken("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"{type(error).__name__}: {spoken(' '.join(str(error).split()))[:500]}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if _orders and is_broken(error) and _first_left.wait(BLAME_SECONDS):
        threading.Event().wait()  # the thread that has noticed it ends the process
    os._exit(1)


def _end_with(first: int, orders: IO[bytes]) -> None:
    try:
        orders.read()  # comes back when the first rank is gone
        _first_left.set()
        if _is_gone(first):
            testify()
    finally:
        os._exit(1)


def _is_gone(first: int) -> bool:
    """Whether the process that has started this one ends now. Its files are closed a little earlier than that."""
    until = time.monotonic() + _GONE_SECONDS
    while os.getppid() == first and time.monotonic() < until:
        time.sleep(0.02)
    return os.getppid() != first
