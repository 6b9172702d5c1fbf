"""Names of runs, and keys and texts of parameters."""

import pytest

from src.tracking.mlflow_format import (
    MAX_NAME_CHARACTERS,
    build_run_name,
    split_long_params,
)


@pytest.mark.parametrize(
    ("experiment", "overrides", "name"),
    [
        ("imdb", [], "imdb"),
        ("imdb", ["+experiment=imdb", "model.optim.lr=3e-05", "seed=2"], "imdb lr=3e-05 seed=2"),
        (
            "imdb",
            ["model.optim.lr=1", "model.head.lr=2", "seed=0"],
            "imdb optim.lr=1 head.lr=2 seed=0",
        ),
        ("imdb", ["hydra.verbose=true", "tracking.uri=http://x"], "imdb"),
        (
            "imdb",
            ["model/encoder=small", "++x.y=[1, 2]", "~callbacks"],
            "imdb model/encoder=small y=[1,2] no-callbacks",
        ),
        ("", ["data='a b'", "name="], "run data=ab"),
        ("imdb", ["seed=1", "model.seed=2"], "imdb seed=1 model.seed=2"),
    ],
)
def test_run_names(experiment: str, overrides: list[str], name: str) -> None:
    assert build_run_name(experiment, overrides) == name


def test_a_long_name_ends_at_a_word() -> None:
    name = build_run_name("imdb", [f"group.key_number_{number}=value" for number in range(20)])
    assert len(name) <= MAX_NAME_CHARACTERS and name.endswith("=value +16")


def test_keys_that_mlflow_does_not_take() -> None:
    assert split_long_params({"a@b": 1, "c/d": 2}) == ({"a_b": "1", "c/d": "2"}, {})


def test_a_name_that_was_given_stands_once() -> None:
    assert build_run_name("mine", ["name=mine", "seed=2"]) == "mine seed=2"
