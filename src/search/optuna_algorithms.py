"""A study as Optuna's algorithms see it: they suggest parameters, prune, and rank keys."""

import hashlib
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

# Fewer finished trials tell nothing of the importance of keys.
_MIN_FINISHED_TRIALS = 4
# So many trials at least count as the best ones, or half of all where there are not ten.
_MIN_BEST_TRIALS = 5


class OptunaAdapter:
    """Calls Optuna's samplers, pruners and evaluators on a study.

    Args:
        name: of the study in the storage.
        pruner: a `SearchPruner`; None prunes nothing.
    """

    def __init__(self, storage: BaseStorage, name: str, pruner: Any) -> None:
        self._storage, self._study_name = storage, name
        with _suppress_warnings():
            self._pruner = None if pruner is None else pruner.build()

    def suggest_params(
        self, number: int, sampler: Any, space: Mapping[str, BaseDistribution]
    ) -> None:
        """Write the parameters that a trial does not have yet.

        The sampler is built anew with a seed of its own and asked for every parameter, so a trial
        whose asking was interrupted gets what it would have got. The sampler sees all earlier
        trials, under Hyperband too: Optuna's own `ask` would show it those of one bracket, which
        are too few to learn from in sweeps of tens of trials.
        """
        with _suppress_warnings():
            study = self._load_study()
            trial = study.get_trials(deepcopy=False)[number]
            optuna_sampler = sampler.build(_mix_seed(sampler.seed, number))
            optuna_sampler.before_trial(study, trial)
            relative_space = optuna_sampler.infer_relative_search_space(study, trial)
            relative_params = optuna_sampler.sample_relative(study, trial, relative_space)
            for key, distribution in space.items():
                if distribution.single():
                    value = _single_value(distribution)
                elif key in relative_params:
                    value = relative_params[key]
                else:
                    value = optuna_sampler.sample_independent(study, trial, key, distribution)
                if key not in trial.params:
                    self._storage.set_trial_param(
                        trial._trial_id, key, distribution.to_internal_repr(value), distribution
                    )

    def should_prune(self, trial_id: int) -> bool:
        """Ask the pruner whether a running trial is to end; False where there is no pruner."""
        if self._pruner is None:
            return False
        with _suppress_warnings():
            trial = self._storage.get_trial(trial_id)
            return trial.state == TrialState.RUNNING and bool(
                self._pruner.prune(self._load_study(), trial)
            )

    def compute_importance(self) -> dict[str, float]:
        """The importance of each key for the first metric; shares of 1, the greatest first.

        PED-ANOVA (Watanabe et al. 2023) compares the best trials with all others and draws nothing
        at random. The best are a tenth of the trials, but at least five: two of twenty would say
        little about what they have in common.

        Returns:
            {} where nothing can be said: fewer than four finished trials, fewer than two keys that
            vary, or equal values everywhere.
        """
        study = self._load_study()
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        varied = [
            key
            for key in (finished[0].params if finished else ())
            if len({trial.params[key] for trial in finished}) > 1
        ]
        if (
            len(finished) < _MIN_FINISHED_TRIALS
            or len(varied) < 2
            or len({trial.values[0] for trial in finished}) < 2
        ):
            return {}
        # It imports scikit-learn, which takes a second.
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        parameters = inspect.signature(PedAnovaImportanceEvaluator).parameters
        # The second is its name in Optuna 4.
        quantile = "target_quantile" if "target_quantile" in parameters else "baseline_quantile"
        options: dict[str, Any] = {quantile: max(0.1, min(0.5, _MIN_BEST_TRIALS / len(finished)))}
        # The evaluator takes the lowest target for the best.
        sign = 1 if study.directions[0] == StudyDirection.MINIMIZE else -1
        with _suppress_warnings():
            importances = get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(**options),
                params=varied,
                target=lambda trial: sign * trial.values[0],
                normalize=False,
            )
        total = sum(importances.values())
        if total <= 0 or not math.isfinite(total):
            return {}
        return {key: importance / total for key, importance in importances.items()}

    def _load_study(self) -> optuna.Study:
        """A new study object: one that has been asked remembers the trials as they were then."""
        return optuna.load_study(
            study_name=self._study_name,
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never asked
            pruner=self._pruner,
        )


def _mix_seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest())


def _single_value(distribution: BaseDistribution) -> Any:
    return (
        distribution.choices[0]
        if isinstance(distribution, CategoricalDistribution)
        else distribution.low  # type: ignore[attr-defined]
    )


@contextmanager
def _suppress_warnings() -> Iterator[None]:
    """Hide Optuna's warnings: it calls parts of what is used here experimental, and its hints name
    its own arguments.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
