"""A search over recorded trainings: the sampler and the pruner are asked as in a real sweep, and a
trial's validations are those of a recorded training with nearly its rate.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.recorded_curves import HIGHEST, LOWEST, Curve
from src.search.optuna_algorithms import OptunaAdapter
from src.search.pruners import PROGRESS, SearchPruner
from src.search.samplers import SearchSampler

RATE = "model.optim.lr"
_SPACE = {RATE: FloatDistribution(LOWEST, HIGHEST, log=True)}


class Outcome(NamedTuple):
    """How a search ended: optimizer steps of all trials together, the trials that were given up,
    and the best one of the finished ones.
    """

    steps: int
    pruned: int
    best: Curve


@dataclass
class _Running:
    number: int
    trial_id: int
    curve: Curve
    started_at: int
    validations: int = field(default=0)

    @property
    def steps(self) -> int:
        """Optimizer steps made until the newest validation."""
        return self.curve.steps[self.validations - 1] if self.validations else 0

    @property
    def next_report_at(self) -> int:
        """When the next validation comes, on a clock of optimizer steps."""
        return self.started_at + self.curve.steps[self.validations]


class ReplayedSearch:
    """One search.

    Args:
        mode: `min` or `max`, whether a lower or a higher value is better.
        curves: of the task.
        seed: of the sampler; it also decides which of equally near trainings a trial has.
        jobs: trials at a time, each as fast as the others.
    """

    def __init__(
        self,
        mode: str,
        curves: Sequence[Curve],
        sampler: SearchSampler,
        pruner: SearchPruner | None,
        *,
        seed: int,
        jobs: int = 1,
    ) -> None:
        self._curves, self._sampler = curves, sampler
        self._sign = 1 if mode == "max" else -1
        self._draw = random.Random(seed)
        self._jobs = jobs
        self._storage = InMemoryStorage()
        study = optuna.create_study(
            storage=self._storage,
            study_name="replayed",
            direction="maximize" if mode == "max" else "minimize",
        )
        self._study_id = study._study_id
        self._adapter = OptunaAdapter(self._storage, "replayed", pruner)
        self._used: dict[int, int] = {}

    def run(self, trials: int) -> Outcome:
        """Search with so many trials."""
        running = [self._begin(0) for _ in range(min(self._jobs, trials))]
        begun, steps, finished = len(running), 0, []
        while running:
            trial = min(running, key=lambda trial: (trial.next_report_at, trial.number))
            now = trial.next_report_at
            state = self._validate(trial)
            if state is None:
                continue
            steps += trial.steps
            if state == TrialState.COMPLETE:
                finished.append(trial.curve)
            running.remove(trial)
            if begun < trials:
                running.append(self._begin(now))
                begun += 1
        # the earliest of equals, as a sweep has it
        best = max(finished, key=lambda curve: self._sign * curve.best)
        return Outcome(steps, trials - len(finished), best)

    def _begin(self, now: int) -> _Running:
        trial_id = self._storage.create_new_trial(self._study_id)
        number = self._storage.get_trial(trial_id).number
        self._adapter.suggest_params(number, self._sampler, _SPACE)
        trial = self._storage.get_trial(trial_id)
        return _Running(number, trial_id, self._choose_curve(trial), now)

    def _choose_curve(self, trial: FrozenTrial) -> Curve:
        """The training with the nearest rate; of several, one that was chosen least so far."""
        rate = trial.params[RATE]
        nearest = min(max(a / rate, rate / a) for a in {curve.rate for curve in self._curves})
        places = [
            place
            for place, curve in enumerate(self._curves)
            if max(curve.rate / rate, rate / curve.rate) == nearest
        ]
        self._draw.shuffle(places)
        place = min(places, key=lambda place: self._used.get(place, 0))
        self._used[place] = self._used.get(place, 0) + 1
        return self._curves[place]

    def _validate(self, trial: _Running) -> TrialState | None:
        """Report the next validation; how the trial has ended, None: it goes on."""
        curve = trial.curve
        value = curve.values[trial.validations]
        trial.validations += 1
        self._storage.set_trial_intermediate_value(trial.trial_id, trial.validations, value)
        progress = trial.steps / curve.steps[-1]
        self._storage.set_trial_user_attr(trial.trial_id, PROGRESS, progress)
        is_pruned = self._adapter.should_prune(trial.trial_id)
        if trial.validations == len(curve.values):
            self._storage.set_trial_state_values(trial.trial_id, TrialState.COMPLETE, [curve.best])
            return TrialState.COMPLETE
        if is_pruned:
            self._storage.set_trial_state_values(trial.trial_id, TrialState.PRUNED, [value])
            return TrialState.PRUNED
        return None
