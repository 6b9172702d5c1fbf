"""Samplers choose the points of a sweep: all of a grid, at random, evenly spread, or learned from
earlier trials.

A sampler that is not adaptive computes point n of a space from n and its seed alone, so a sweep has
the same points however often it is interrupted and however many processes work at it.
"""

import math
import random
import warnings
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from src.core.formatting import ParamValue
from src.core.validation import PositiveInt, Seed, validate_init
from src.search.space import Dimension, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

# A larger grid is a mistake more often than it is meant.
MAX_GRID_POINTS = 10_000


@validate_init
@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of the listed values, in the order of Hydra's own multirun: the last key
    varies fastest.
    """

    name: ClassVar[str] = "grid"
    is_adaptive: ClassVar[bool] = False
    # A grid comes to an end.
    is_unbounded: ClassVar[bool] = False

    def sample_point(self, space: SearchSpace, index: int) -> dict[str, ParamValue]:
        return space.grid_point(index)

    def find_incompatibilities(self, space: SearchSpace, objectives: int) -> list[str]:
        """Messages why this sampler cannot search a space; none where it can."""
        messages = [
            f"{dimension.key}={dimension.text}: a grid takes every listed value, and an interval "
            "lists none; search/sampler=tpe search.max_trials=20 draws from it"
            for dimension in space.dimensions
            if not dimension.choices
        ]
        if space.grid_size is not None and space.grid_size > MAX_GRID_POINTS:
            sizes = " x ".join(str(len(dimension.choices)) for dimension in space.dimensions)
            messages.append(
                f"a grid of {sizes} = {space.grid_size} trials: expected at most "
                f"{MAX_GRID_POINTS}; search/sampler=random search.max_trials=20 takes some of them"
            )
        return messages


@validate_init
@dataclass(frozen=True, kw_only=True)
class Random:
    """Each point at random, independent of all others; a function of (seed, index) alone.

    Args:
        seed: of the points.
    """

    name: ClassVar[str] = "random"
    is_adaptive: ClassVar[bool] = False
    is_unbounded: ClassVar[bool] = True
    seed: Seed = 1

    def sample_point(self, space: SearchSpace, index: int) -> dict[str, ParamValue]:
        draw = random.Random(f"{self.seed} {index}")
        return {
            dimension.key: interpolate_value(dimension, draw.random())
            for dimension in space.dimensions
        }

    def find_incompatibilities(self, space: SearchSpace, objectives: int) -> list[str]:
        """Messages why this sampler cannot search a space; none where it can."""
        return _find_log_ranges(space)


@validate_init
@dataclass(frozen=True, kw_only=True)
class QuasiRandom:
    """Points that cover the space evenly: a scrambled Sobol sequence (Sobol 1967, Owen 1998).

    A point is a function of (seed, index) alone. Of the first 2, 4, 8, ... points, one lies in each
    of as many equal parts of every key, which random points do not achieve.

    Args:
        seed: of the points.
    """

    name: ClassVar[str] = "quasi-random"
    is_adaptive: ClassVar[bool] = False
    is_unbounded: ClassVar[bool] = True
    seed: Seed = 1

    def sample_point(self, space: SearchSpace, index: int) -> dict[str, ParamValue]:
        sequence = _build_sobol_sequence(len(space.dimensions), self.seed).reset()
        if index:
            sequence.fast_forward(index)
        fractions = sequence.random(1)[0].tolist()
        return {
            dimension.key: interpolate_value(dimension, fraction)
            for dimension, fraction in zip(space.dimensions, fractions, strict=True)
        }

    def find_incompatibilities(self, space: SearchSpace, objectives: int) -> list[str]:
        """Messages why this sampler cannot search a space; none where it can."""
        return _find_log_ranges(space)


@validate_init
@dataclass(frozen=True, kw_only=True)
class TPE:
    """Points where good trials are dense and bad ones are not (tree-structured Parzen estimators,
    Bergstra et al. 2011).

    Args:
        seed: of the points.
        startup_trials: points are random until so many trials have finished or were pruned.
        multivariate: model all keys together, so that good combinations are found.
    """

    name: ClassVar[str] = "TPE"
    is_adaptive: ClassVar[bool] = True
    is_unbounded: ClassVar[bool] = True
    seed: Seed = 1
    startup_trials: PositiveInt = 10
    multivariate: bool = True

    def build(self, seed: int) -> "BaseSampler":
        """Optuna's sampler. Running trials count as bad ones, so that trials at the same time
        differ.

        Args:
            seed: already mixed with the number of the trial.
        """
        from optuna.samplers import TPESampler

        # Optuna 4 calls two of these arguments experimental.
        with warnings.catch_warnings(action="ignore"):
            return TPESampler(
                seed=seed,
                n_startup_trials=self.startup_trials,
                multivariate=self.multivariate,
                constant_liar=True,
            )

    def find_incompatibilities(self, space: SearchSpace, objectives: int) -> list[str]:
        """Messages why this sampler cannot search a space; none where it can."""
        return _find_log_ranges(space)


@validate_init
@dataclass(frozen=True, kw_only=True)
class CMAES:
    """Points of a normal distribution whose mean and covariance follow the good trials (CMA-ES,
    Hansen 2016).

    For several keys that are numbers, one metric, and a budget of a hundred trials or more.

    Args:
        seed: of the points.
        startup_trials: points are random until so many trials have finished.
    """

    name: ClassVar[str] = "CMA-ES"
    is_adaptive: ClassVar[bool] = True
    is_unbounded: ClassVar[bool] = True
    seed: Seed = 1
    startup_trials: PositiveInt = 1

    def build(self, seed: int) -> "BaseSampler":
        """Optuna's sampler; `seed` is already mixed with the number of the trial."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(
            seed=seed, n_startup_trials=self.startup_trials, warn_independent_sampling=False
        )

    def find_incompatibilities(self, space: SearchSpace, objectives: int) -> list[str]:
        """Messages why this sampler cannot search a space; none where it can."""
        hint = "search/sampler=tpe can do it"
        messages = [
            f"{dimension.key}={dimension.text}: CMA-ES moves through numbers, and these are "
            f"choices; {hint}"
            for dimension in space.dimensions
            if dimension.kind == "choice"
        ]
        if len(space.dimensions) == 1 and not messages:
            messages.append(
                f"{space.keys[0]} is the only key that varies, and CMA-ES needs two or more; {hint}"
            )
        if objectives > 1:
            messages.append(
                f"CMA-ES looks at one metric, and search.monitor has {objectives}; {hint}"
            )
        return messages + _find_log_ranges(space)


SearchSampler = Grid | Random | QuasiRandom | TPE | CMAES


def build_distributions(space: SearchSpace, sampler: Any) -> "dict[str, BaseDistribution]":
    """Optuna's distribution of each key: the listed values of a grid or a choice, else an interval
    of numbers, with the step of a range.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    distributions: dict[str, BaseDistribution] = {}
    for dimension in space.dimensions:
        key, low, high, step = dimension.key, dimension.low, dimension.high, dimension.step
        if dimension.kind == "choice" or isinstance(sampler, Grid):
            distributions[key] = CategoricalDistribution(dimension.values)
            continue
        assert low is not None and high is not None
        if dimension.kind == "int":
            distributions[key] = IntDistribution(
                int(low), int(high), log=dimension.log, step=int(step or 1)
            )
        else:
            distributions[key] = FloatDistribution(low, high, log=dimension.log, step=step)
    return distributions


def interpolate_value(dimension: Dimension, fraction: float) -> ParamValue:
    """The value that lies at `fraction` (from 0, below 1) of the way through the values of a key,
    on its own scale.
    """
    if dimension.kind == "choice":
        return dimension.choices[int(fraction * len(dimension.choices))]
    return _interpolate_number(dimension, fraction)


def _interpolate_number(dimension: Dimension, fraction: float) -> int | float:
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None and high is not None
    if dimension.kind == "int":
        # Each whole number has the space from 0.5 below it to 0.5 above it.
        if dimension.log:
            least, most = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(least + fraction * (most - least))), int(low)), int(high))
        count = (int(high) - int(low)) // int(step or 1) + 1
        return int(low) + min(int(fraction * count), count - 1) * int(step or 1)
    # In decimal arithmetic, so that three steps of 0.1 from 0 give 0.3.
    if step is not None:
        count = len(dimension.choices)
        return float(
            Decimal(repr(low)) + min(int(fraction * count), count - 1) * Decimal(repr(step))
        )
    if dimension.log:
        least, most = math.log(low), math.log(high)
        return min(max(math.exp(least + fraction * (most - least)), low), high)
    return min(low + fraction * (high - low), high)


def _find_log_ranges(space: SearchSpace) -> list[str]:
    """Messages about ranges with the tag `log`, whose equal steps contradict it."""
    return [
        f"{dimension.key}={dimension.text}: log does not go with a range, whose steps are equal; "
        "tag(log, interval(START,STOP)) has none"
        for dimension in space.dimensions
        if dimension.log and dimension.step is not None
    ]


@cache
def _build_sobol_sequence(keys: int, seed: int) -> Any:
    from scipy.stats import qmc

    return qmc.Sobol(keys, scramble=True, rng=seed)
