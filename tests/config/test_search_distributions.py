"""What other programs draw numbers from is answered with what is drawn from here; that works."""

import shlex

import pytest

from src.config.override_errors import find_override_errors
from src.config.search_distributions import explain_distribution
from src.pipeline.run import read_task_schema
from src.search.run.search_check import find_search_errors

LOG, LINEAR = "tag(log, interval(1e-5,1e-3))", "interval(1e-5,1e-3)"


@pytest.mark.parametrize(
    ("key", "value", "drawn"),
    [
        ("model.optim.lr", "log(1e-5,1e-3)", LOG),
        ("model.optim.lr", "loguniform(1e-5, 1e-3)", LOG),
        ("model.optim.lr", "log_interval(1e-5,1e-3)", LOG),
        ("model.optim.lr", "log(interval(1e-5,1e-3))", LOG),
        ("model.optim.lr", "interval(1e-5,1e-3,log=true)", LOG),
        ("model.optim.lr", "tune.loguniform(1e-5,1e-3)", LOG),
        ("model.optim.lr", "hp.loguniform('lr',1e-5,1e-3)", LOG),
        ("model.optim.lr", "trial.suggest_float('lr',1e-5,1e-3,log=True)", LOG),
        ("model.optim.lr", "np.geomspace(1e-5,1e-3,10)", LOG),
        ("model.optim.lr", "logspace(-5,-3,10)", LOG),
        ("model.optim.lr", "np.logspace(-5,-3,10)", LOG),
        ("model.optim.lr", "uniform(1e-5,1e-3)", LINEAR),
        ("model.optim.lr", "linspace(1e-5,1e-3,10)", LINEAR),
        ("trainer.max_steps", "randint(1,10)", "int(interval(1,10))"),
        ("trainer.max_steps", "suggest_int(1,10)", "int(interval(1,10))"),
        ("trainer.max_steps", "lograndint(1,10)", "tag(log, int(interval(1,10)))"),
    ],
)
def test_a_distribution(key: str, value: str, drawn: str) -> None:
    [error] = find_override_errors(["-m", f"{key}={value}"], read_task_schema())
    proposed = "-m search/sampler=tpe search.max_trials=20 " + shlex.quote(f"{key}={drawn}")
    assert str(error) == (f"'{key}={value}' cannot be read; a search draws from it by {proposed}")
    typed = shlex.split(proposed)
    assert not find_override_errors(
        typed, read_task_schema(), find_search_errors=find_search_errors
    )


@pytest.mark.parametrize("value", ["log(1)", "log(x,y)", "uniform(3,1)", "relu(1,2)", "log", "1,2"])
def test_what_is_none(value: str) -> None:
    assert explain_distribution("model.optim.lr", value) is None


def test_a_bell_curve() -> None:
    answer = explain_distribution("model.optim.lr", "normal(0,1)")
    assert answer is not None and answer.startswith("all values are as likely here: ")
