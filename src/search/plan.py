"""What a search is: how points are chosen and trials given up, what is best, and how much may be spent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from src.search.pruners import Pruner
from src.search.samplers import Sampler
from src.terms.bounds import Count, Positive, Whole, checked
from src.terms.fault import Fault, Faults

Mode = Literal["min", "max"]


@checked
@dataclass(frozen=True, kw_only=True)
class Search:
    """What `conf/search/` describes. Every budget is a total of the sweep, however often it is taken up again.

    Args:
        sampler: how points are chosen.
        pruner: when a trial is given up before its end; null: never.
        space: what varies where the command line says nothing of it: key -> values, as they would be typed.
        monitor: the metric by which trials compare, `val/loss` for example; several: the Pareto front of them.
        mode: whether less or more of it is better; one for each metric.
        max_trials: how many trials; those that failed and were begun again count once.
        max_hours: wall time of all calls together, after which no trial begins.
        max_tokens: that all trials together have been trained on, after which no trial begins.
        max_failures: how many trials of one call may fail; after one more no trial begins.
        retry_failed: begin the failed trials of an earlier call again.
        on_out_of_memory: `halve` tries again with half the batch and twice the accumulation.
        launcher: `local` runs each trial in a process of its own on this machine, `hydra` gives them to hydra/launcher;
            null: local, unless hydra/launcher names another than basic.
        jobs: trials at a time; null: one for each GPU, else one.
        warm: new processes come from one that has imported everything already.
        storage: the address of Optuna's storage; null: a SQLite file, mlruns/search.db.
        report_seconds: between two pictures of the sweep in its parent run.
    """

    sampler: Sampler
    monitor: str | list[str]
    mode: Mode | list[Mode]
    space: Mapping[str, str]
    pruner: Pruner | None = None
    max_trials: Count | None = None
    max_hours: Positive | None = None
    max_tokens: Count | None = None
    max_failures: Whole = 3
    retry_failed: bool = False
    on_out_of_memory: Literal["fail", "halve"] = "fail"
    launcher: Literal["local", "hydra"] | None = None
    jobs: Count | None = None
    warm: bool = True
    storage: str | None = None
    report_seconds: Positive = 30

    @property
    def monitors(self) -> list[str]:
        """The metrics, also of one."""
        return [self.monitor] if isinstance(self.monitor, str) else list(self.monitor)

    @property
    def modes(self) -> list[str]:
        """The direction of each metric."""
        return [self.mode] if isinstance(self.mode, str) else list(self.mode)

    def __post_init__(self) -> None:
        names, faults = ", ".join(self.monitors), []
        if not self.monitors:
            faults.append("search.monitor is empty: expected the metric by which trials compare, as val/loss")
        if len(set(self.monitors)) < len(self.monitors):
            faults.append(f"search.monitor={names}: a metric stands there twice")
        if len(self.monitors) != len(self.modes):
            faults.append(
                f"search.mode has {len(self.modes)} ({', '.join(self.modes)}) for {len(self.monitors)} in "
                f"search.monitor ({names}); expected one for each"
            )
        if self.pruner is not None and len(self.monitors) > 1:
            faults.append(
                f"search.monitor={names}: a trial is given up by one metric; search.pruner=null gives up none"
            )
        elif self.pruner is not None and self.monitors and not self.monitors[0].startswith("val/"):
            faults.append(
                f"search.monitor={names}: a trial is given up by what validation measures, as val/loss; "
                "search.pruner=null gives up none"
            )
        if self.sampler.draws and self.max_trials is self.max_hours is self.max_tokens is None:
            faults.append(
                f"search.sampler is {self.sampler.name}, which has no end: expected search.max_trials=20, "
                "search.max_hours or search.max_tokens"
            )
        if faults:
            raise Faults([Fault(each) for each in faults])
