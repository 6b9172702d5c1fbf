"""A trial is given up when it is worse than the others, not before it was said to be, nor while it
becomes better.
"""

import math

import optuna
import pytest

from src.search.pruners import (
    PROGRESS,
    VALIDATION_ROWS,
    Halving,
    Hyperband,
    Median,
    SearchPruner,
    estimate_standard_error,
    has_stalled,
)

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


SHIPPED = {"warmup_share": 0.25, "tolerance": 1.0}


@pytest.mark.parametrize(
    ("value", "rows", "maximised", "error"),
    [
        (0.5, 400, True, 0.025),  # sqrt(0.25 / 400)
        (0.9, 100, True, 0.03),  # sqrt(0.09 / 100)
        (1.0, 100, True, 0.01),  # that of one row
        (0.7, 100, False, 0.07),
        (3.0, 900, False, 0.1),
        (math.nan, 100, True, 0.0),
        (0.5, 0, True, 0.0),
    ],
)
def test_the_standard_error(value: float, rows: int, maximised: bool, error: float) -> None:
    assert estimate_standard_error(value, rows, maximised=maximised) == pytest.approx(error)


def _end_of_one(
    pruner: SearchPruner, others: list[list[float]], values: list[float], *, rows: int = 400
) -> int | None:
    """After which validation an accuracy as `values` is given up; `others` went to their end."""
    study = optuna.create_study(direction="maximize", study_name="of this name")

    def walk(values: list[float], *, may_end: bool) -> int | None:
        trial = study.ask()
        trial.set_user_attr(VALIDATION_ROWS, rows)
        for validation, value in enumerate(values, start=1):
            trial.report(value, validation)
            trial.set_user_attr(PROGRESS, validation / len(values))
            asked = study._storage.get_trial(trial._trial_id)
            if pruner.build().prune(study, asked) and may_end:
                return validation
        study.tell(trial, values[-1])
        return None

    for curve in others:
        walk(curve, may_end=False)
    return walk(values, may_end=True)


@pytest.mark.parametrize(
    "pruner",
    [
        Median(startup_trials=5, **SHIPPED),
        Halving(**SHIPPED),
        Hyperband(validations=8, **SHIPPED),
    ],
    ids=lambda pruner: pruner.name,
)
def test_as_shipped_neither_ties_nor_noise_nor_slow_starts_end_a_trial(
    pruner: SearchPruner,
) -> None:
    at_chance = [[0.5] * 8] * 6
    assert _end_of_one(pruner, at_chance, [0.5] * 8) is None
    # 0.5 of 400 rows has a standard error of 0.025
    assert _end_of_one(pruner, at_chance, [0.48] * 8) is None
    learned = [[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8]] * 6
    # a quarter of the training is not judged, whatever was measured there
    assert _end_of_one(pruner, learned, [0.4, 0.4, 0.8, 0.8, 0.9, 0.9, 0.9, 0.9]) is None


def test_as_shipped_a_clearly_worse_trial_ends_behind_the_first_quarter() -> None:
    # 0.7 of 400 rows has a standard error of 0.023
    learned = [[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8]] * 6
    assert _end_of_one(Median(startup_trials=5, **SHIPPED), learned, [0.5] * 8) == 3
    assert _end_of_one(Halving(**SHIPPED), learned, [0.5] * 8) == 3
    # 0.7 of 25 rows has one of 0.092, 0.8 one of 0.08: only 0.73 behind 0.8 is within it
    few = Median(startup_trials=5, **SHIPPED)
    assert (
        _end_of_one(few, learned, [0.5, 0.5, 0.62, 0.73, 0.73, 0.73, 0.73, 0.73], rows=25) is None
    )
    assert _end_of_one(few, learned, [0.5, 0.5, 0.62, 0.71, 0.71, 0.71, 0.71, 0.71], rows=25) == 4


def test_pruning_without_the_new_keys_judges_as_it_did() -> None:
    assert _end_of_one(Median(), [[0.5] * 8] * 6, [0.499] * 8) == 1
