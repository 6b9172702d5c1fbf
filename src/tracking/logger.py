"""Lightning's logger: it passes metrics on. The status of the run belongs to `RunRecord`."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch.loggers import Logger


class RunLogger(Logger):
    """Passes the metrics of a Trainer to `record_metrics` of a run, with their step."""

    def __init__(
        self, *, record_metrics: Callable[..., object], experiment: str, run_id: str
    ) -> None:
        super().__init__()
        self._record_metrics = record_metrics
        self._experiment = experiment
        self._run_id = run_id

    @property
    def name(self) -> str:
        return self._experiment

    @property
    def version(self) -> str:
        return self._run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._record_metrics(metrics, step=step or 0)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the record already holds the whole config."""

    def save(self) -> None:
        """Do nothing: Lightning calls this after every `log_metrics`, which defeats any buffer."""

    def finalize(self, status: str) -> None:
        """Do nothing: Lightning says "success" when `fit` ends, after which much can still fail."""
