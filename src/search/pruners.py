"""Pruners end a trial early if it does worse than others did after as many validations.

They count validations (1, 2, 3, ...), not optimizer steps, so that trials with different batch
sizes compare.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.validation import Bound, NonNegativeInt, PositiveInt, validate_init

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

ReductionFactor = Annotated[int, Bound(least=2)]


@validate_init
@dataclass(frozen=True, kw_only=True)
class Median:
    """Prunes a trial whose best value so far is worse than the median of the values that other
    trials had after as many validations.

    Args:
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
    """

    name: ClassVar[str] = "median"
    startup_trials: NonNegativeInt = 5
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import MedianPruner

        pruner = MedianPruner(n_startup_trials=0, n_warmup_steps=self.warmup_validations + 1)
        return _delay_pruning(pruner, self.startup_trials, self.patience)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Halving:
    """Lets the best one in `factor` trials go on at each rung (asynchronous successive halving, Li
    et al. 2018).

    The first rung is after `warmup_validations` + 1 validations, each further one after `factor`
    times as many.

    Args:
        startup_trials: how many trials must have finished before any is pruned.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
    """

    name: ClassVar[str] = "halving"
    factor: ReductionFactor = 3
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import SuccessiveHalvingPruner

        pruner = SuccessiveHalvingPruner(
            min_resource=self.warmup_validations + 1, reduction_factor=self.factor
        )
        return _delay_pruning(pruner, self.startup_trials, self.patience)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Successive halving in several brackets; each bracket has its first rung later than the one
    before it (Li et al. 2016).

    Args:
        validations: how many a trial has that is not pruned; null: as many as the longest finished
            trial had, and none is pruned until one has finished.
        startup_trials: how many trials must have finished before any is pruned.
        warmup_validations: how many first validations of each trial are not judged.
        patience: prune a trial only if it has not improved for so many validations; null: at once.
    """

    name: ClassVar[str] = "hyperband"
    factor: ReductionFactor = 3
    validations: PositiveInt | None = None
    startup_trials: NonNegativeInt = 1
    warmup_validations: NonNegativeInt = 0
    patience: PositiveInt | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import HyperbandPruner

        pruner = HyperbandPruner(
            min_resource=self.warmup_validations + 1,
            max_resource="auto" if self.validations is None else self.validations,
            reduction_factor=self.factor,
        )
        return _delay_pruning(pruner, self.startup_trials, self.patience)


SearchPruner = Median | Halving | Hyperband


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


def _delay_pruning(
    optuna_pruner: "BasePruner", startup_trials: int, patience: int | None
) -> "BasePruner":
    """An Optuna pruner that prunes nothing at first, nor while a trial still improves.

    The inner pruner is asked in any case: those with rungs write down which trials have reached
    one, and compare later trials with these.
    """
    from optuna.pruners import BasePruner
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    class DelayedPruner(BasePruner):
        def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
            # NumPy warns where all values are NaN.
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
                is_worse = optuna_pruner.prune(study, trial)
            if not is_worse:
                return False
            finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if len(finished) < startup_trials:
                return False
            maximised = study.direction == StudyDirection.MAXIMIZE
            return patience is None or has_stalled(
                trial.intermediate_values, patience, maximised=maximised
            )

    return DelayedPruner()
