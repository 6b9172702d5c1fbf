"""Points are where they are said to be, and the same wherever they are asked for."""

import math
import random
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from src.search.samplers import (
    CMAES,
    MAX_GRID_POINTS,
    TPE,
    Grid,
    QuasiRandom,
    Random,
    build_distributions,
    interpolate_value,
)
from src.search.space import Dimension, SearchSpace, parse_space

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _space(*typed: str) -> SearchSpace:
    return parse_space(typed, {})[0]


MIXED = _space(
    "a=tag(log,interval(1e-6,1e-3))",
    "b=int(interval(1,4))",
    "c=x,y,z",
    "d=range(0,1,0.1)",
    "e=tag(log,int(interval(1,100)))",
)


@pytest.mark.parametrize("sampler", [Random(seed=3), QuasiRandom(seed=3)])
def test_a_point_is_a_function_of_seed_and_index(sampler: Random | QuasiRandom) -> None:
    points = [sampler.sample_point(MIXED, index) for index in range(64)]
    state = random.getstate()
    assert [sampler.sample_point(MIXED, index) for index in reversed(range(64))] == points[::-1]
    assert random.getstate() == state
    assert type(sampler)(seed=4).sample_point(MIXED, 0) != points[0]
    for key, distribution in build_distributions(MIXED, sampler).items():
        assert all(
            distribution._contains(distribution.to_internal_repr(point[key])) for point in points
        )
        assert len({point[key] for point in points}) >= 3


def test_quasi_random_points_are_even() -> None:
    """Of 8 points one lies in each eighth, on the scale of its key."""
    space = _space(
        "a=interval(2,10)", "b=tag(log,interval(1,256))", "c=int(interval(1,8))", "d=range(0,8)"
    )
    points = [QuasiRandom().sample_point(space, index) for index in range(8)]
    assert sorted(int(float(point["a"]) - 2) for point in points) == list(range(8))
    assert sorted(int(math.log2(float(point["b"]))) for point in points) == list(range(8))
    assert sorted(int(point["c"]) for point in points) == list(range(1, 9))
    assert sorted(int(point["d"]) for point in points) == list(range(8))


def test_where_a_share_lies() -> None:
    assert interpolate_value(Dimension("a", "choice", "", choices=("x", "y")), 0.49) == "x"
    assert interpolate_value(Dimension("a", "choice", "", choices=("x", "y")), 0.5) == "y"
    assert interpolate_value(Dimension("a", "float", "", low=1, high=3), 0.25) == 1.5
    assert interpolate_value(
        Dimension("a", "float", "", low=1e-6, high=1e-2, log=True), 0.5
    ) == pytest.approx(1e-4)
    assert interpolate_value(Dimension("a", "int", "", low=1, high=4), 0.999) == 4
    assert interpolate_value(Dimension("a", "int", "", low=1, high=4, log=True), 0.0) == 1
    (tenths,) = _space("a=range(0,1,0.1)").dimensions
    assert [interpolate_value(tenths, tenth / 10) for tenth in range(10)] == [
        tenth / 10 for tenth in range(10)
    ]


def test_what_the_storage_knows_of_a_key() -> None:
    assert build_distributions(MIXED, TPE()) == {
        "a": FloatDistribution(1e-6, 1e-3, log=True),
        "b": IntDistribution(1, 4),
        "c": CategoricalDistribution(("x", "y", "z")),
        "d": FloatDistribution(0.0, 0.9, step=0.1),
        "e": IntDistribution(1, 100, log=True),
    }
    listed = _space("a=range(0.1,0.35,0.1)", "b=range(4)", "c=tag(log,range(1,3))")
    assert build_distributions(listed, Grid()) == {
        "a": CategoricalDistribution((0.1, 0.2, 0.30000000000000004)),
        "b": CategoricalDistribution((0, 1, 2, 3)),
        "c": CategoricalDistribution((1, 2)),
    }


@pytest.mark.parametrize(
    "typed", ["a=range(0.1,0.4,0.1)", "a=range(0.5,0,-0.05)", "a=range(3,4)", "a=range(10,0,-3)"]
)
def test_every_drawn_value_of_a_range_is_one_of_its_own(typed: str) -> None:
    space = _space(typed)
    distribution = build_distributions(space, Random())["a"]
    for index in range(30):
        value: Any = Random().sample_point(space, index)["a"]
        assert min(abs(value - float(choice)) for choice in space.dimensions[0].choices) < 1e-9
        assert distribution._contains(distribution.to_internal_repr(value))


@pytest.mark.parametrize(
    "sampler", [TPE(startup_trials=3), TPE(startup_trials=3, multivariate=False), CMAES()]
)
def test_samplers_that_learn_find_the_better_half(sampler: TPE | CMAES) -> None:
    """Each trial by a sampler of its own, as in a sweep of several processes; twice the same."""
    space = _space("a=interval(0,1)", "b=int(interval(0,100))")

    def searched() -> list[Mapping[str, Any]]:
        study = optuna.create_study()
        for number in range(30):
            study.sampler = sampler.build(100 + number)
            trial = study.ask(build_distributions(space, sampler))
            study.tell(trial, (trial.params["a"] - 0.2) ** 2 + (trial.params["b"] / 100 - 0.2) ** 2)
        return [trial.params for trial in study.trials]

    found = searched()
    assert found == searched()
    assert sum(params["a"] < 0.5 for params in found[-10:]) >= 7


def test_trials_at_the_same_time_differ() -> None:
    with warnings.catch_warnings(action="error"):
        sampler = TPE(startup_trials=1).build(1)
    study = optuna.create_study(sampler=sampler)
    space = build_distributions(_space("a=interval(0,1)"), TPE())
    study.tell(study.ask(space), 1.0)
    assert len({study.ask(space).params["a"] for _ in range(5)}) == 5


def test_what_a_sampler_cannot_do() -> None:
    numbers, choices = (
        _space("a=interval(0,1)", "b=interval(0,1)"),
        _space("a=interval(0,1)", "m=x,y"),
    )
    assert Grid().find_incompatibilities(choices, 1) == [
        "a=interval(0,1): a grid takes every listed value, and an interval lists none; "
        "search/sampler=tpe search.max_trials=20 draws from it"
    ]
    assert CMAES().find_incompatibilities(choices, 2) == [
        "m=x,y: CMA-ES moves through numbers, and these are choices; search/sampler=tpe can do it",
        "CMA-ES looks at one metric, and search.monitor has 2; search/sampler=tpe can do it",
    ]
    assert CMAES().find_incompatibilities(_space("a=interval(0,1)"), 1) == [
        "a is the only key that varies, and CMA-ES needs two or more; search/sampler=tpe can do it"
    ]
    for sampler in (Random(), QuasiRandom(), TPE()):
        assert sampler.find_incompatibilities(choices, 2) == []
        assert sampler.find_incompatibilities(_space("a=tag(log,range(1,5))"), 1) == [
            "a=tag(log,range(1,5)): log does not go with a range, whose steps are equal; "
            "tag(log, interval(START,STOP)) has none"
        ]
    assert CMAES().find_incompatibilities(numbers, 1) == []
    assert Grid().find_incompatibilities(_space("a=tag(log,range(1,5))"), 3) == []
    (message,) = Grid().find_incompatibilities(_space("a=range(200)", "b=range(51)"), 1)
    assert message.startswith(
        f"a grid of 200 x 51 = 10200 trials: expected at most {MAX_GRID_POINTS}; "
    )
