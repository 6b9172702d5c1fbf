"""A trial is given up when it is worse than the others, not before it was said to be, nor while it
becomes better.
"""

import math

import optuna
import pytest
from omegaconf import OmegaConf

from src.config.build_nodes import build_node
from src.search.pruners import (
    PROGRESS,
    Halving,
    Hyperband,
    Median,
    Percentile,
    SearchPruner,
    find_first_judged,
    has_stalled,
)
from tests.conftest import CONF

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


@pytest.mark.parametrize(
    ("validation", "progress", "warmup_validations", "share", "first"),
    [
        (1, 1 / 12, 0, 0.25, 3),  # 3 of 12 are a quarter
        (7, 7 / 12, 0, 0.25, 3),
        (1, 1 / 12, 0, 0.15, 2),  # 1.8
        (1, 1 / 3, 0, 0.15, 1),
        (2, 0.5, 4, 0.15, 5),
        (2, 0.5, 0, 0.0, 1),
        (9, 0.0, 1, 0.5, 2),  # it is not known how much is done
    ],
)
def test_the_first_validation_that_is_judged(
    validation: int, progress: float, warmup_validations: int, share: float, first: int
) -> None:
    found = find_first_judged(
        validation, progress, warmup_validations=warmup_validations, warmup_share=share
    )
    assert found == first


def _end_of_last(
    pruner: SearchPruner, others: list[list[float]], values: list[float], *, mode: str = "maximize"
) -> int | None:
    """After which validation the last trial is given up; `others` went to their ends before it."""
    study = optuna.create_study(direction=mode, study_name="of this name")

    def walk(values: list[float], *, may_end: bool) -> int | None:
        trial = study.ask()
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


def _shipped(name: str) -> SearchPruner:
    """The pruner of a file in conf/search/pruner/."""
    config = OmegaConf.load(CONF / "search" / "pruner" / f"{name}.yaml")
    return build_node(OmegaConf.to_container(config))  # type: ignore[no-any-return, arg-type]


PRUNERS = ("percentile", "median", "halving", "hyperband")


@pytest.mark.parametrize("name", PRUNERS)
def test_as_shipped_neither_ties_nor_slow_starts_end_a_trial(name: str) -> None:
    pruner = _shipped(name)
    at_chance = [[0.5] * 8] * 6
    assert _end_of_last(pruner, at_chance, [0.5] * 8) is None
    assert _end_of_last(pruner, at_chance, [0.5] * 8, mode="minimize") is None
    learned = [[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8]] * 6
    # the first of eight validations is behind an eighth of the training
    assert _end_of_last(pruner, learned, [0.4, 0.6, 0.8, 0.8, 0.9, 0.9, 0.9, 0.9]) is None


@pytest.mark.parametrize("name", ["percentile", "median", "halving"])
def test_as_shipped_a_worse_trial_ends_at_the_first_validation_that_is_judged(name: str) -> None:
    learned = [[0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8]] * 6
    assert _end_of_last(_shipped(name), learned, [0.5] * 8) == 2
    # as a loss it is the better one
    assert _end_of_last(_shipped(name), learned, [0.5] * 8, mode="minimize") is None


def test_the_percentile_is_of_finished_trials() -> None:
    # at the second validation 0.1, 0.2, ..., 0.9: a quarter of them is at 0.7 or better
    others = [[0.5, rank / 10, 0.5, 0.5] for rank in range(1, 10)]
    assert _end_of_last(Percentile(), others, [0.5, 0.7, 0.5, 0.5]) is None
    assert _end_of_last(Percentile(warmup_share=0.5), others, [0.5, 0.69, 0.5, 0.5]) == 2
    # the best value so far counts
    assert _end_of_last(Percentile(), others, [0.8, 0.1, 0.1, 0.1]) is None
    assert _end_of_last(Percentile(percentile=50), others, [0.5, 0.55, 0.5, 0.5]) is None
    assert _end_of_last(Percentile(startup_trials=10), others, [0.1] * 4) is None


def test_halving_has_its_rungs_behind_the_warmup() -> None:
    pruner = Halving(warmup_share=0.25, factor=2)
    others = [[0.1, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.9]] * 6
    # of eight validations the second, the fourth and the eighth
    assert _end_of_last(pruner, others, [0.0, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]) == 2
    assert _end_of_last(pruner, others, [0.0, 0.6, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6]) == 4
    assert _end_of_last(pruner, others, [0.0, 0.6, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5]) == 8


def test_pruning_without_the_new_keys_judges_as_it_did() -> None:
    assert _end_of_last(Median(), [[0.5] * 8] * 6, [0.499] * 8) == 1
