"""A trial is given up when it is worse than the others, not before it was said to be, nor while it
becomes better.
"""

import math

import optuna
import pytest

from src.search.pruners import Halving, Hyperband, Median, SearchPruner, has_stalled

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _ends(
    pruner: SearchPruner,
    values: list[float],
    *,
    others: int = 3,
    mode: str = "minimize",
    lasting: int = 9,
) -> int | None:
    """After which validation a trial is given up, with `others` finished that were at 0.5
    throughout; None: never.
    """
    study = optuna.create_study(direction=mode, study_name="of this name")

    def walk(values: list[float]) -> int | None:
        trial = study.ask()
        for validation, value in enumerate(values, start=1):
            trial.report(value, validation)
            # a new one, as in a new process
            if pruner.build().prune(study, study._storage.get_trial(trial._trial_id)):
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return validation
        study.tell(trial, values[-1])
        return None

    for _ in range(others):
        walk([0.5] * lasting)
    return walk(values)


def test_the_median() -> None:
    worse = [0.9] * 9
    assert _ends(Median(startup_trials=3), worse) == 1
    assert _ends(Median(startup_trials=4), worse) is None
    assert _ends(Median(startup_trials=3, warmup_validations=2), worse) == 3
    assert _ends(Median(startup_trials=3), [0.4] * 9) is None
    assert _ends(Median(startup_trials=3), [0.4] * 9, mode="maximize") == 1
    assert _ends(Median(startup_trials=3), [0.9, 0.8, 0.4, 0.9]) == 1
    assert _ends(Median(startup_trials=3), [math.nan] * 9) == 1
    assert _ends(Median(startup_trials=0), worse, others=0) is None


def test_patience_waits_while_a_trial_becomes_better() -> None:
    pruner = Median(startup_trials=3, patience=2)
    assert _ends(pruner, [0.9, 0.8, 0.7, 0.6, 0.6, 0.6]) == 6
    assert _ends(pruner, [0.9, 0.9, 0.9]) == 3
    assert _ends(pruner, [0.9 - step / 100 for step in range(9)]) is None


@pytest.mark.parametrize("maximised", [True, False])
def test_stalled(maximised: bool) -> None:
    sign = 1 if maximised else -1
    reports = {
        validation: sign * value for validation, value in {2: 0.5, 1: 0.1, 3: 0.5, 4: 0.4}.items()
    }
    assert has_stalled(reports, 2, maximised=maximised)
    assert not has_stalled(reports, 3, maximised=maximised)
    assert not has_stalled(reports, 4, maximised=maximised)
    assert has_stalled({1: sign * 0.5, 2: math.nan}, 1, maximised=maximised)


def test_halving_lets_one_in_three_go_on() -> None:
    worse, better = [0.9] * 9, [0.4] * 9
    assert _ends(Halving(), worse) == 1
    assert _ends(Halving(), better) is None
    assert _ends(Halving(warmup_validations=1), worse) == 2
    assert _ends(Halving(), [0.4, 0.4, 0.9, 0.9]) == 3
    assert _ends(Halving(factor=2), [0.4, 0.9]) == 2
    assert _ends(Halving(startup_trials=4), worse) is None


def test_hyperband_has_halving_in_brackets() -> None:
    ends = {_ends(Hyperband(validations=9), [0.9] * 9, others=2 + more) for more in range(24)}
    # None: alone in its bracket
    assert ends <= {1, 3, 9, None} and len(ends) >= 3
    assert _ends(Hyperband(), [0.9] * 9, others=0) is None
