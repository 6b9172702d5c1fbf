"""The config of a search: sampler, pruner, metric and budget."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from src.core.user_errors import UserError, UserErrors
from src.core.validation import NonNegativeInt, PositiveFloat, PositiveInt, validate_init
from src.search.pruners import SearchPruner
from src.search.samplers import SearchSampler

MetricMode = Literal["min", "max"]


# user names and passwords have no place in it
_ADDRESS_PATTERN = re.compile(r"auto|local|(ray://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")


@validate_init
@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """The node `search.ray`: where `search.launcher=ray` runs trials.

    Args:
        address: `auto`: the cluster that runs on this machine or that RAY_ADDRESS names; `local`:
            a cluster of this machine alone, for as long as the sweep; else HOST:PORT, or
            ray://HOST:PORT from a machine that is no node of it.
        cores: of each process of a trial; a trial has one for each of `trainer.devices`.
    """

    address: str = "auto"
    cores: PositiveInt = 1

    def __post_init__(self) -> None:
        if not _ADDRESS_PATTERN.fullmatch(self.address):
            raise UserError(
                key="search.ray.address",
                value=self.address,
                expected="auto, local, HOST:PORT or ray://HOST:PORT",
            )


@validate_init
@dataclass(frozen=True, kw_only=True)
class Search:
    """The node `search`. Every budget is a total of the sweep, however often it is resumed.

    Args:
        sampler: how points are chosen.
        pruner: which trials end early; null: none.
        space: the keys that vary unless the command line says otherwise: key -> values, as they
            would be typed.
        monitor: the metric by which trials compare, `val/loss` for example; several metrics are
            compared by their Pareto front.
        mode: whether a lower (`min`) or a higher (`max`) value is better; one for each metric.
        max_trials: a failed trial and its repetition count once.
        max_hours: wall time of all calls together, after which no trial begins.
        max_tokens: training tokens of all trials together, after which no trial begins.
        max_failures: failed trials of one call, above which no trial begins.
        retry_failed: begin the failed trials of earlier calls again.
        on_out_of_memory: `halve` tries again with half the batch and twice the accumulation.
        launcher: `local` runs each trial in a process of its own on this machine, `ray` on a
            cluster of several, `hydra` gives trials to hydra/launcher; null: local, unless
            hydra/launcher is another than basic.
        ray: the cluster of `launcher=ray`.
        jobs: trials at a time; null: one for each GPU, else one; on Ray as many as find room.
        warm: fork the processes of trials from one that has imported everything.
        storage: the address of Optuna's storage; null: a SQLite file, mlruns/search.db.
        report_seconds: seconds between two updates of the report in the sweep's run.
    """

    sampler: SearchSampler
    monitor: str | list[str]
    mode: MetricMode | list[MetricMode]
    space: Mapping[str, Any]
    pruner: SearchPruner | None = None
    max_trials: PositiveInt | None = None
    max_hours: PositiveFloat | None = None
    max_tokens: PositiveInt | None = None
    max_failures: NonNegativeInt = 3
    retry_failed: bool = False
    on_out_of_memory: Literal["fail", "halve"] = "fail"
    launcher: Literal["local", "ray", "hydra"] | None = None
    ray: RayCluster = RayCluster()
    jobs: PositiveInt | None = None
    warm: bool = True
    storage: str | None = None
    report_seconds: PositiveFloat = 30

    @property
    def monitors(self) -> list[str]:
        """The metrics as a list."""
        return [self.monitor] if isinstance(self.monitor, str) else list(self.monitor)

    @property
    def modes(self) -> list[str]:
        """The mode of each metric as a list."""
        return [self.mode] if isinstance(self.mode, str) else list(self.mode)

    def __post_init__(self) -> None:
        names = ", ".join(self.monitors)
        errors: list[UserError] = []

        def add_error(message: str, *keys: str) -> None:
            errors.append(UserError(message, about=keys))

        if not self.monitors:
            add_error(
                "search.monitor is empty: expected the metric by which trials compare, as val/loss",
                "search.monitor",
            )
        if len(set(self.monitors)) < len(self.monitors):
            add_error(f"search.monitor={names}: a metric stands there twice", "search.monitor")
        if len(self.monitors) != len(self.modes):
            add_error(
                f"search.mode has {len(self.modes)} ({', '.join(self.modes)}) for "
                f"{len(self.monitors)} in search.monitor ({names}); expected one for each",
                "search.mode",
                "search.monitor",
            )
        if self.pruner is not None and len(self.monitors) > 1:
            add_error(
                f"search.monitor={names}: a trial is given up by one metric; search.pruner=null "
                "gives up none",
                "search.monitor",
                "search.pruner",
            )
        elif self.pruner is not None and self.monitors and not self.monitors[0].startswith("val/"):
            add_error(
                f"search.monitor={names}: a trial is given up by what validation measures, as "
                "val/loss; search.pruner=null gives up none",
                "search.monitor",
                "search.pruner",
            )
        if (
            self.sampler.is_unbounded
            and self.max_trials is self.max_hours is self.max_tokens is None
        ):
            add_error(
                f"search.sampler is {self.sampler.name}, which has no end: expected "
                "search.max_trials=20, search.max_hours or search.max_tokens",
                "search.sampler",
            )
        if errors:
            raise UserErrors(errors)
