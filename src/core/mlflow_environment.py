"""The store that MLflow's own environment variables name: what is typed comes before it.

MLflow writes the address of the store in use into its variable; `keep_mlflow_environment` undoes
that, so that the variable always says what the user has set.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

TRACKING_URI = "MLFLOW_TRACKING_URI"
EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
DEFAULT_EXPERIMENT = "palimpsest"
# MLflow's fluent interface reads them; a run here is always a new one of a named experiment
_UNUSED = ("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_EXPERIMENT_ID")


def read_tracking_uri() -> str | None:
    """The address of a store from the environment; None if there is none, or it is empty."""
    address = os.environ.get(TRACKING_URI)
    return expand_home(address) if address else None


def choose_tracking_uri(typed: str | None) -> str | None:
    """The address of the store that a command asks: what was typed, of which `null` is the SQLite
    file of the project, as in a config; the environment's if nothing was.
    """
    if not typed:
        return read_tracking_uri()
    return None if typed.casefold() == "null" else typed


def expand_home(address: str) -> str:
    """The address of a store, or a folder, in which `~` is the user's home folder."""
    scheme, path = (
        ("sqlite:///", address[10:]) if address.startswith("sqlite:///~") else ("", address)
    )
    return scheme + os.path.expanduser(path)


def read_experiment_name() -> str:
    """The experiment from the environment, or the default one."""
    return os.environ.get(EXPERIMENT_NAME) or DEFAULT_EXPERIMENT


def list_unused_variables() -> list[str]:
    """The variables of MLflow that are set and have no effect here."""
    return [name for name in _UNUSED if os.environ.get(name)]


@contextmanager
def keep_mlflow_environment() -> Iterator[None]:
    """Context manager after which the address in the environment is what it was before."""
    before = os.environ.get(TRACKING_URI)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TRACKING_URI, None)
        else:
            os.environ[TRACKING_URI] = before
