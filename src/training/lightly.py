"""Importing Lightning without a second of SciPy that nothing here uses."""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

_NAME = "scipy.signal"


class _Later(ModuleType):
    """Stands in for `scipy.signal` while Lightning is imported; asked for anything but one name, it is the real one.

    torchmetrics 1.9 imports `scipy.signal` (1.1 s) only to see whether it has the name `hamming`, for the sake of
    another package, and gives it one where it has none.
    """

    hamming: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(_real(), name)


def import_lightning() -> None:
    """`import lightning.pytorch`; `scipy.signal` is left as it was, to be imported by whoever wants it."""
    stands_in = _NAME not in sys.modules and importlib.util.find_spec("scipy") is not None
    if stands_in:
        sys.modules[_NAME] = _Later(_NAME)
    try:
        importlib.import_module("lightning.pytorch")
    finally:
        if stands_in and isinstance(sys.modules.get(_NAME), _Later):
            del sys.modules[_NAME]


def _real() -> ModuleType:
    if isinstance(sys.modules.get(_NAME), _Later):
        del sys.modules[_NAME]
    return importlib.import_module(_NAME)
