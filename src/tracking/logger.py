"""Lightning's logger. It hands numbers on and owns nothing: the run's status belongs to the record."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger

from src.tracking.params import key_for_store
from src.tracking.sender import Sender


class RunLogger(Logger):
    """Metrics of a Trainer to the sender of a run. `sender` is None in the processes of the other ranks."""

    def __init__(self, *, sender: Sender | None, experiment: str, run_id: str) -> None:
        super().__init__()
        self._sender = sender
        self._experiment = experiment
        self._run_id = run_id

    @property
    def name(self) -> str:
        return self._experiment

    @property
    def version(self) -> str:
        return self._run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._sender is not None:
            self._sender.put({key_for_store(key): value for key, value in metrics.items()}, step or 0)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the record holds the whole config already, under the keys that a person types."""

    def save(self) -> None:
        """Nothing: Lightning calls this after every log, and a buffer flushed here would be none."""

    def finalize(self, status: str) -> None:
        """Nothing: Lightning says "success" when `fit` ends, and much can still fail after it."""
