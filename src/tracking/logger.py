"""Lightning's logger: it passes metrics on. The status of the run belongs to `RunRecord`."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger

from src.tracking.write_buffer import WriteBuffer


class RunLogger(Logger):
    """Passes the metrics of a Trainer to the write buffer of a run (None in other ranks)."""

    def __init__(self, *, write_buffer: WriteBuffer | None, experiment: str, run_id: str) -> None:
        super().__init__()
        self._write_buffer = write_buffer
        self._experiment = experiment
        self._run_id = run_id

    @property
    def name(self) -> str:
        return self._experiment

    @property
    def version(self) -> str:
        return self._run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._write_buffer is not None:
            self._write_buffer.add_metrics(metrics, step or 0)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the record already holds the whole config."""

    def save(self) -> None:
        """Do nothing: Lightning calls this after every `log_metrics`, which defeats any buffer."""

    def finalize(self, status: str) -> None:
        """Do nothing: Lightning says "success" when `fit` ends, after which much can still fail."""
