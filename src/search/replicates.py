"""Trials that repeat a setting: they differ in a seed or in the fold that is held out, and stand
together for one setting, with a mean and an interval.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from src.core.formatting import ParamValue, format_number, format_quantity
from src.evaluation.seed_groups import compute_mean_interval
from src.search.trials import SweepSnapshot, TrialRecord

# Keys whose values are no setting that one would choose: other random numbers, other rows held out.
REPLICATE_KEYS = ("seed", "data.seed", "data.split.seed", "data.split.fold")


class MeanValue(NamedTuple):
    """A metric over the trials of a setting.

    Attributes:
        trials: the number of trials that have it.
        deviation: the standard deviation of a single trial, with `trials - 1`; None for one trial.
        low, high: the interval of Student's t distribution that holds the mean with a probability
            of 95 %, if trials are independent and normal; None for one trial.
    """

    trials: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None

    @classmethod
    def from_values(cls, values: Sequence[float]) -> "MeanValue":
        """The mean of at least one finite value."""
        return cls(*compute_mean_interval(values))

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{format_number(self.mean, 4)} (one trial)"
        return (
            f"{format_number(self.mean, 4)} ({format_number(self.low, 4)} to "
            f"{format_number(self.high, 4)}, {format_quantity(self.trials, 'trial')})"
        )


class Setting(NamedTuple):
    """What trials that repeat each other have in common.

    Attributes:
        params: the values that they share.
        trials: those that have finished.
        metrics: by name; the metrics that the sweep goes by, and what the test split measured.
    """

    params: dict[str, ParamValue]
    trials: list[TrialRecord]
    metrics: dict[str, MeanValue]


def group_replicates(sweep: SweepSnapshot) -> list[Setting]:
    """The settings of a sweep, in the order of their first trials. Empty if no key of the sweep
    merely repeats a setting.
    """
    if not find_replicate_keys(sweep):
        return []
    varied = [key for key in sweep.keys if key not in REPLICATE_KEYS]
    groups: dict[tuple[ParamValue | None, ...], list[TrialRecord]] = {}
    for trial in sorted(sweep.rows, key=lambda trial: trial.number):
        if trial.state == "finished" and trial.values and not trial.is_replaced:
            groups.setdefault(tuple(trial.params.get(key) for key in varied), []).append(trial)
    return [
        Setting(
            {key: value for key, value in zip(varied, values, strict=True) if value is not None},
            trials,
            _measure(trials, sweep),
        )
        for values, trials in groups.items()
    ]


def find_replicate_keys(sweep: SweepSnapshot) -> list[str]:
    """The keys of a sweep that merely repeat a setting."""
    return [key for key in sweep.keys if key in REPLICATE_KEYS]


def select_best_setting(settings: Sequence[Setting], sweep: SweepSnapshot) -> Setting | None:
    """The setting with the best mean of the first metric; the first of equals. None if there is
    no setting.
    """
    monitor, sign = sweep.monitors[0], -1 if sweep.modes[0] == "max" else 1
    known = [setting for setting in settings if monitor in setting.metrics]
    return min(known, key=lambda setting: sign * setting.metrics[monitor].mean, default=None)


def describe_means(trials: Sequence[TrialRecord], monitors: Sequence[str]) -> str:
    """`mean val/accuracy 0.82 (0.77 to 0.87, 3 trials)`, if all trials repeat one setting; else an
    empty text.
    """
    finished = [trial for trial in trials if trial.state == "finished" and trial.values]
    if len(finished) < 2 or any(set(trial.params) - set(REPLICATE_KEYS) for trial in finished):
        return ""
    columns = zip(*(trial.values or () for trial in finished), strict=False)
    means = [
        f"mean {monitor} {MeanValue.from_values(values)}"
        for monitor, values in zip(monitors, columns, strict=False)
        if all(map(math.isfinite, values))
    ]
    return ", ".join(means)


def flatten_metrics(metrics: Mapping[str, MeanValue]) -> dict[str, float]:
    """Metrics of the sweep's run: `mean/NAME`, `sd/NAME`, `low/NAME` and `high/NAME`."""
    return {
        f"{prefix}/{name}": value
        for name, entry in metrics.items()
        for prefix, value in (
            ("mean", entry.mean),
            ("sd", entry.deviation),
            ("low", entry.low),
            ("high", entry.high),
        )
        if value is not None
    }


def build_setting_columns(settings: Sequence[Setting], sweep: SweepSnapshot) -> dict[str, list]:
    """Every setting as columns of equal length. Unknown values are None."""
    keys = [key for key in sweep.keys if key not in REPLICATE_KEYS]
    columns: dict[str, list] = {key: [item.params.get(key) for item in settings] for key in keys}
    columns["trials"] = [len(item.trials) for item in settings]
    for name in list_metrics(sweep):
        entries = [item.metrics.get(name) for item in settings]
        columns[f"{name} mean"] = [None if entry is None else entry.mean for entry in entries]
        columns[f"{name} sd"] = [None if entry is None else entry.deviation for entry in entries]
        columns[f"{name} low"] = [None if entry is None else entry.low for entry in entries]
        columns[f"{name} high"] = [None if entry is None else entry.high for entry in entries]
    return columns


def list_metrics(sweep: SweepSnapshot) -> list[str]:
    """The metrics that a setting is measured by."""
    return [*sweep.monitors, *([sweep.test_metric] if sweep.test_values else [])]


def read_values(trials: Sequence[TrialRecord], sweep: SweepSnapshot, metric: str) -> list[float]:
    """The finite values of a metric among the given finished trials, in their order."""
    if metric in sweep.monitors:
        index = list(sweep.monitors).index(metric)
        values = [trial.values[index] for trial in trials if trial.values]
    else:
        numbers = [trial.number for trial in trials]
        values = [sweep.test_values[number] for number in numbers if number in sweep.test_values]
    return [value for value in values if math.isfinite(value)]


def _measure(trials: Sequence[TrialRecord], sweep: SweepSnapshot) -> dict[str, MeanValue]:
    values = {name: read_values(trials, sweep, name) for name in list_metrics(sweep)}
    return {name: MeanValue.from_values(found) for name, found in values.items() if found}
