"""Imports, and the end of the program, without garbage collection.

Importing torch, Lightning and MLflow makes hardly any garbage, but a million objects that live as long as the process.
Walking them again and again costs a sixth of the processor time until the first training step, and a third of that of
a config error.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
