"""How the points of a sweep are chosen: all of them, by chance, evenly, or from what earlier trials have shown."""

import math
import random
import warnings
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from src.search.rows import Value
from src.search.space import Dimension, Space
from src.terms.bounds import Count, Whole, checked

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

MOST_POINTS = 10_000  # of a grid: each becomes a row of the storage before the first trial


@checked
@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of the listed values, in the order of Hydra's own multirun: the last key varies fastest."""

    name: ClassVar[str] = "grid"
    learns: ClassVar[bool] = False
    draws: ClassVar[bool] = False  # its points are listed, and come to an end

    def point(self, space: Space, index: int) -> dict[str, Value]:
        return space.point(index)

    def refusals(self, space: Space, objectives: int) -> list[str]:
        """Why this sampler cannot search a space, in words; nothing where it can."""
        found = [
            f"{each.key}={each.text}: a grid takes every listed value, and an interval lists none; "
            "search/sampler=tpe search.max_trials=20 draws from it"
            for each in space.dimensions
            if not each.choices
        ]
        if space.size is not None and space.size > MOST_POINTS:
            found.append(
                f"a grid of {' x '.join(str(len(each.choices)) for each in space.dimensions)} = {space.size} trials: "
                f"expected at most {MOST_POINTS}; search/sampler=random search.max_trials=20 takes some of them"
            )
        return found


@checked
@dataclass(frozen=True, kw_only=True)
class Random:
    """Each trial by chance, independent of all others. A trial is a function of (seed, index) alone."""

    name: ClassVar[str] = "random"
    learns: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    seed: Whole = 1

    def point(self, space: Space, index: int) -> dict[str, Value]:
        draw = random.Random(f"{self.seed} {index}")
        return {each.key: placed(each, draw.random()) for each in space.dimensions}

    def refusals(self, space: Space, objectives: int) -> list[str]:
        """Why this sampler cannot search a space, in words; nothing where it can."""
        return _uneven(space)


@checked
@dataclass(frozen=True, kw_only=True)
class QuasiRandom:
    """Evenly over the whole space: the points of a scrambled Sobol sequence (Sobol 1967, Owen 1998).

    A trial is a function of (seed, index) alone. The first 2, 4, 8, ... points divide every key into as many parts of
    equal size with one point in each, which chance does not.
    """

    name: ClassVar[str] = "quasi-random"
    learns: ClassVar[bool] = False
    draws: ClassVar[bool] = True
    seed: Whole = 1

    def point(self, space: Space, index: int) -> dict[str, Value]:
        shares = _sobol(len(space.dimensions), self.seed, index)
        return {each.key: placed(each, share) for each, share in zip(space.dimensions, shares, strict=True)}

    def refusals(self, space: Space, objectives: int) -> list[str]:
        """Why this sampler cannot search a space, in words; nothing where it can."""
        return _uneven(space)


@checked
@dataclass(frozen=True, kw_only=True)
class TPE:
    """Where good trials are dense and bad ones are not (tree-structured Parzen estimators, Bergstra et al. 2011).

    Args:
        startup_trials: finished or pruned ones, before which points are drawn by chance.
        multivariate: keys are looked at together, so that what goes well together is found.
    """

    name: ClassVar[str] = "TPE"
    learns: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    seed: Whole = 1
    startup_trials: Count = 10
    multivariate: bool = True

    def build(self, seed: int) -> "BaseSampler":
        """Optuna's sampler. Trials that are running count as bad ones, so that those at the same time differ.

        Args:
            seed: already mixed with the number of the trial.
        """
        from optuna.samplers import TPESampler

        with warnings.catch_warnings(action="ignore"):  # Optuna 4 calls two of these experimental
            return TPESampler(
                seed=seed,
                n_startup_trials=self.startup_trials,
                multivariate=self.multivariate,
                constant_liar=True,
            )

    def refusals(self, space: Space, objectives: int) -> list[str]:
        """Why this sampler cannot search a space, in words; nothing where it can."""
        return _uneven(space)


@checked
@dataclass(frozen=True, kw_only=True)
class CMAES:
    """A normal distribution that moves to where trials are good and takes their shape (Hansen 2016).

    For several keys that are numbers, one metric, and a budget of a hundred trials or more.

    Args:
        startup_trials: finished ones, before which points are drawn by chance.
    """

    name: ClassVar[str] = "CMA-ES"
    learns: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    seed: Whole = 1
    startup_trials: Count = 1

    def build(self, seed: int) -> "BaseSampler":
        """Optuna's sampler; `seed` is already mixed with the number of the trial."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=seed, n_startup_trials=self.startup_trials, warn_independent_sampling=False)

    def refusals(self, space: Space, objectives: int) -> list[str]:
        """Why this sampler cannot search a space, in words; nothing where it can."""
        hint = "search/sampler=tpe can do it"
        found = [
            f"{each.key}={each.text}: CMA-ES moves through numbers, and these are choices; {hint}"
            for each in space.dimensions
            if each.kind == "choice"
        ]
        if len(space.dimensions) == 1 and not found:
            found.append(f"{space.keys[0]} is the only key that varies, and CMA-ES needs two or more; {hint}")
        if objectives > 1:
            found.append(f"CMA-ES looks at one metric, and search.monitor has {objectives}; {hint}")
        return found + _uneven(space)


Sampler = Grid | Random | QuasiRandom | TPE | CMAES


def distributions(space: Space, sampler: Any) -> "dict[str, BaseDistribution]":
    """What Optuna's storage is to know of each key.

    The values of a grid are listed as they are; elsewhere a range is a number with a step.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for each in space.dimensions:
        if each.kind == "choice" or isinstance(sampler, Grid):
            found[each.key] = CategoricalDistribution(each.values)
        elif each.kind == "int":
            assert each.low is not None and each.high is not None
            found[each.key] = IntDistribution(int(each.low), int(each.high), log=each.log, step=int(each.step or 1))
        else:
            assert each.low is not None and each.high is not None
            found[each.key] = FloatDistribution(each.low, each.high, log=each.log, step=each.step)
    return found


def placed(dimension: Dimension, share: float) -> Value:
    """The value that lies `share` of the way (from 0, below 1) through a key's values; on its own scale."""
    if dimension.kind == "choice":
        return dimension.choices[int(share * len(dimension.choices))]
    return _number(dimension, share)


def _number(dimension: Dimension, share: float) -> int | float:
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None and high is not None
    if dimension.kind == "int":
        if dimension.log:  # each whole number takes the room from half before it to half behind it
            least, most = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(least + share * (most - least))), int(low)), int(high))
        count = (int(high) - int(low)) // int(step or 1) + 1
        return int(low) + min(int(share * count), count - 1) * int(step or 1)
    if step is not None:  # in decimals, as they were typed: 0.1 three times is 0.3
        count = len(dimension.choices)
        return float(Decimal(repr(low)) + min(int(share * count), count - 1) * Decimal(repr(step)))
    if dimension.log:
        least, most = math.log(low), math.log(high)
        return min(max(math.exp(least + share * (most - least)), low), high)
    return min(low + share * (high - low), high)


def _uneven(space: Space) -> list[str]:
    """Steps of equal size do not go with a logarithmic scale."""
    return [
        f"{each.key}={each.text}: log does not go with a range, whose steps are equal; "
        "tag(log, interval(START,STOP)) has none"
        for each in space.dimensions
        if each.log and each.step is not None
    ]


def _sobol(keys: int, seed: int, index: int) -> list[float]:
    sequence = _sequence(keys, seed).reset()
    if index:
        sequence.fast_forward(index)
    return sequence.random(1)[0].tolist()


@cache
def _sequence(keys: int, seed: int) -> Any:
    from scipy.stats import qmc

    return qmc.Sobol(keys, scramble=True, rng=seed)
