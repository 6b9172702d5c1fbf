"""When a trial is given up: it does worse than others did after as many validations.

Validations count (1, 2, 3, ...), not optimizer steps, so that trials with other batch sizes compare.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.terms.bounds import Bound, Count, Whole, checked

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Factor = Annotated[int, Bound(least=2)]


@checked
@dataclass(frozen=True, kw_only=True)
class Median:
    """Gives up a trial whose best value so far is worse than the median of what others had after as many validations.

    Args:
        startup_trials: that must have finished before any is given up.
        warmup_validations: of each trial, that are not judged.
        patience: a trial is given up only when it has not become better for so many validations; null: at once.
    """

    name: ClassVar[str] = "median"
    startup_trials: Whole = 5
    warmup_validations: Whole = 0
    patience: Count | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import MedianPruner

        theirs = MedianPruner(n_startup_trials=0, n_warmup_steps=self.warmup_validations + 1)
        return _held(theirs, self.startup_trials, self.patience)


@checked
@dataclass(frozen=True, kw_only=True)
class Halving:
    """Lets one in `factor` go on at each rung (asynchronous successive halving, Li et al. 2018).

    The first rung is after `warmup_validations` + 1 validations, each further one after `factor` times as many.

    Args:
        startup_trials: that must have finished before any is given up.
        patience: a trial is given up only when it has not become better for so many validations; null: at once.
    """

    name: ClassVar[str] = "halving"
    factor: Factor = 3
    startup_trials: Whole = 1
    warmup_validations: Whole = 0
    patience: Count | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import SuccessiveHalvingPruner

        theirs = SuccessiveHalvingPruner(min_resource=self.warmup_validations + 1, reduction_factor=self.factor)
        return _held(theirs, self.startup_trials, self.patience)


@checked
@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Successive halving in several brackets, each of which begins later than the one before it (Li et al. 2016).

    Args:
        validations: of a trial that is not given up; null: as many as the longest that has finished had. Until one
            has, none is given up.
        startup_trials: that must have finished before any is given up.
        warmup_validations: of each trial, that are not judged.
        patience: a trial is given up only when it has not become better for so many validations; null: at once.
    """

    name: ClassVar[str] = "hyperband"
    factor: Factor = 3
    validations: Count | None = None
    startup_trials: Whole = 1
    warmup_validations: Whole = 0
    patience: Count | None = None

    def build(self) -> "BasePruner":
        from optuna.pruners import HyperbandPruner

        theirs = HyperbandPruner(
            min_resource=self.warmup_validations + 1,
            max_resource="auto" if self.validations is None else self.validations,
            reduction_factor=self.factor,
        )
        return _held(theirs, self.startup_trials, self.patience)


Pruner = Median | Halving | Hyperband


def stalled(reports: Mapping[int, float], patience: int, *, maximised: bool) -> bool:
    """Whether the last `patience` of a trial's reports brought nothing better than those before them."""
    values = [reports[each] if maximised else -reports[each] for each in sorted(reports)]
    known = [-math.inf if math.isnan(each) else each for each in values]
    return len(known) > patience and max(known[-patience:]) <= max(known[:-patience])


def _held(theirs: "BasePruner", startup_trials: int, patience: int | None) -> "BasePruner":
    """A pruner of Optuna's that does not act at first, nor while a trial still becomes better.

    It is asked in any case: those with rungs write down who came to one, and who did is compared with later.
    """
    from optuna.pruners import BasePruner
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    class Held(BasePruner):
        def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # where all values are NaN
                worse = theirs.prune(study, trial)
            if not worse:
                return False
            finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if len(finished) < startup_trials:
                return False
            maximised = study.direction == StudyDirection.MAXIMIZE
            return patience is None or stalled(trial.intermediate_values, patience, maximised=maximised)

    return Held()
