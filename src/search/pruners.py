"""Pruners end a trial early if it does worse than others did after as many validations.

They count validations (1, 2, 3, ...), not optimizer steps, so that trials with different batch
sizes compare.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.validation import Bound, Fraction, NonNegativeInt, PositiveInt, validate_init

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# attribute of a trial: the share of its training that is done
PROGRESS = "progress"

ReductionFactor = Annotated[int, Bound(least=2)]
Percent = Annotated[float, Bound(above=0, below=100)]


@validate_init
@dataclass(frozen=True, kw_only=True)
class Percentile:
    """Prunes a trial unless its best value so far is among the best `percentile` per cent of the
    values that finished trials had after as many validations. Equal values are never worse.

    Args:
        percentile: 25 keeps a trial that is as good as the best quarter.
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, before which a trial is not judged.
    """

    name: ClassVar[str] = "percentile"
    percentile: Percent = 25.0
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import PercentilePruner

        return _delay_pruning(lambda _: PercentilePruner(self.percentile, n_startup_trials=0), self)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Median:
    """Prunes a trial whose best value so far is worse than the median of the values that finished
    trials had after as many validations. Equal values are never worse.

    Args:
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, before which a trial is not judged.
    """

    name: ClassVar[str] = "median"
    startup_trials: NonNegativeInt = 5
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import MedianPruner

        return _delay_pruning(lambda _: MedianPruner(n_startup_trials=0), self)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Halving:
    """Lets the best one in `factor` trials go on at each rung (asynchronous successive halving, Li
    et al. 2018). Equal values are never worse.

    The first rung is at the first validation that is judged, each further one after `factor` times
    as many validations.

    Args:
        factor: one in so many trials goes on at each rung.
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, before which a trial is not judged.
    """

    name: ClassVar[str] = "halving"
    factor: ReductionFactor = 3
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import SuccessiveHalvingPruner

        return _delay_pruning(
            lambda first: SuccessiveHalvingPruner(min_resource=first, reduction_factor=self.factor),
            self,
        )


@validate_init
@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Successive halving in several brackets; each bracket has its first rung later than the one
    before it (Li et al. 2016).

    Args:
        factor: one in so many trials goes on at each rung.
        validations: how many a trial has that is not pruned; null: as many as the longest finished
            trial had, and none is pruned until one has finished.
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
        warmup_share: of its training, before which a trial is not judged.
    """

    name: ClassVar[str] = "hyperband"
    factor: ReductionFactor = 3
    validations: PositiveInt | None = None
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None
    warmup_share: Fraction = 0.0

    def build(self) -> "BasePruner":
        from optuna.pruners import HyperbandPruner

        return _delay_pruning(
            lambda first: HyperbandPruner(
                min_resource=first,
                max_resource="auto" if self.validations is None else self.validations,
                reduction_factor=self.factor,
            ),
            self,
        )


SearchPruner = Percentile | Median | Halving | Hyperband


def has_stalled(reports: Mapping[int, float], patience: int, *, maximised: bool) -> bool:
    """Whether none of the last `patience` reports is better than all before them.

    Args:
        reports: values by validation; NaN is worse than any number.
        maximised: a higher value is better.
    """
    values = [reports[validation] for validation in sorted(reports)]
    scores = [
        -math.inf if math.isnan(value) else value if maximised else -value for value in values
    ]
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def find_first_judged(
    validation: int, progress: float, *, warmup_validations: int, warmup_share: float
) -> int:
    """The first validation that is judged: the first one behind `warmup_validations` at which at
    least `warmup_share` of the training is done.

    Args:
        validation: a validation of the trial, from 1.
        progress: the share of the training that was done then; validations are evenly spaced. 0 if
            unknown.
    """
    first = warmup_validations + 1
    if progress <= 0:
        return first
    # a quarter of 12 validations is 3, whatever is lost in the last digit
    return max(first, math.ceil(warmup_share * validation / progress - 1e-6))


def _delay_pruning(
    build_pruner: Callable[[int], "BasePruner"], config: "SearchPruner"
) -> "BasePruner":
    """An Optuna pruner that prunes nothing at first, nor while a trial still improves.

    The inner pruner is asked at every validation that is judged, also while it may not prune yet:
    those with rungs write down which trials have reached one, and compare later trials with these.

    Args:
        build_pruner: from the first validation that is judged, which is the first rung of those
            with rungs.
    """
    from optuna.pruners import BasePruner
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    # with what `auto` has found
    pruners: dict[int, BasePruner] = {}

    class DelayedPruner(BasePruner):
        def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
            validation = trial.last_step
            if validation is None:
                return False
            first = find_first_judged(
                validation,
                float(trial.user_attrs.get(PROGRESS, 0.0)),
                warmup_validations=config.warmup_validations,
                warmup_share=config.warmup_share,
            )
            if validation < first:
                return False
            if first not in pruners:
                pruners[first] = build_pruner(first)
            # NumPy warns where all values are NaN.
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                is_worse = pruners[first].prune(study, trial)
            if not is_worse:
                return False
            states = (TrialState.COMPLETE,)
            if len(study.get_trials(deepcopy=False, states=states)) < config.startup_trials:
                return False
            maximised = study.direction == StudyDirection.MAXIMIZE
            return config.patience is None or has_stalled(
                trial.intermediate_values, config.patience, maximised=maximised
            )

    return DelayedPruner()
