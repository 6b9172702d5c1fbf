"""What Optuna decides: the next point of a sampler that learns, whether a trial is pruned, which key matters."""

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

_FEWEST = 4  # finished trials from which importance is told
_BEST = 5  # trials whose common traits make a key important, at least; half of them where there are not ten


class Judge:
    """A study as Optuna's samplers, pruners and evaluators want to see it."""

    def __init__(self, storage: BaseStorage, name: str, pruner: Any) -> None:
        self._storage, self._name = storage, name
        with _quiet():
            self._pruner = None if pruner is None else pruner.build()

    def ask(self, trial: int, sampler: Any, space: Mapping[str, BaseDistribution]) -> None:
        """Write down the parameters that a trial has not yet.

        The sampler is made anew with a seed of its own and asked for all of them, so a trial whose asking was cut short
        gets what it would have got. All earlier trials are its experience, also under Hyperband, where Optuna's own
        `ask` would show it those of one bracket: too few to learn from in sweeps of tens of trials.
        """
        with _quiet():
            study = self._study()
            this = next(each for each in study.get_trials(deepcopy=False) if each._trial_id == trial)
            asked = sampler.build(_mixed(sampler.seed, this.number))
            asked.before_trial(study, this)
            related = asked.infer_relative_search_space(study, this)
            together = asked.sample_relative(study, this, related)
            for key, distribution in space.items():
                if distribution.single():
                    value = _only(distribution)
                elif key in together:
                    value = together[key]
                else:
                    value = asked.sample_independent(study, this, key, distribution)
                if key not in this.params:
                    self._storage.set_trial_param(trial, key, distribution.to_internal_repr(value), distribution)

    def prunes(self, trial: int) -> bool:
        if self._pruner is None:
            return False
        with _quiet():
            this = self._storage.get_trial(trial)
            return this.state == TrialState.RUNNING and bool(self._pruner.prune(self._study(), this))

    def importance(self) -> dict[str, float]:
        """By PED-ANOVA (Watanabe et al. 2023), which draws nothing at random: what the best trials have in common.

        The best are a tenth, but five where that is fewer: of twenty trials two say little of what they share.
        """
        study = self._study()
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        varied = [key for key in (finished[0].params if finished else ()) if len({t.params[key] for t in finished}) > 1]
        if len(finished) < _FEWEST or len(varied) < 2 or len({trial.values[0] for trial in finished}) < 2:
            return {}
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # a second: scikit-learn

        named = inspect.signature(PedAnovaImportanceEvaluator).parameters
        quantile = "target_quantile" if "target_quantile" in named else "baseline_quantile"  # the latter in Optuna 4
        options: dict[str, Any] = {quantile: max(0.1, min(0.5, _BEST / len(finished)))}
        sign = 1 if study.directions[0] == StudyDirection.MINIMIZE else -1  # the least is best to it
        with _quiet():
            found = get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(**options),
                params=varied,
                target=lambda trial: sign * trial.values[0],
                normalize=False,
            )
        whole = sum(found.values())
        return {key: share / whole for key, share in found.items()} if whole > 0 and math.isfinite(whole) else {}

    def _study(self) -> optuna.Study:
        """Made anew each time: a study object remembers the trials as they were when it was first asked."""
        sampler = optuna.samplers.RandomSampler(seed=0)  # never asked
        return optuna.load_study(study_name=self._name, storage=self._storage, sampler=sampler, pruner=self._pruner)


def _mixed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest())


def _only(distribution: BaseDistribution) -> Any:
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings: what is used here may be experimental to it, and its hints name its own arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
