"""Names of runs, and keys and texts of parameters."""

import pytest

from src.core.user_errors import UserError
from src.tracking.mlflow_format import (
    MAX_NAME_CHARACTERS,
    build_run_name,
    check_key_lengths,
    split_long_params,
    split_long_tags,
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
        ("", ["data='a b'", "name="], "run data=a b"),
        (
            "pairs",
            ['data.source.text="#1  String"', "x.y={a: 1, b: c d}"],
            "pairs text=#1 String y={a:1,b:c d}",
        ),
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


def test_a_key_that_is_too_long_for_a_parameter_is_refused() -> None:
    check_key_lengths({"tags": {"k" * 245: "x"}})
    with pytest.raises(UserError, match=r"this key has 252 characters.* at most 250") as caught:
        check_key_lengths({"seed": 1, "tags": {"k" * 247: "x"}})
    assert caught.value.key == "tags." + "k" * 247


def test_what_not_every_store_takes_is_written_as_an_escape() -> None:
    assert split_long_params({"a": "x\0y", "b": "\udce9"}) == ({"a": r"x\x00y", "b": r"\udce9"}, {})
    assert split_long_tags({"a": "\0"}) == ({"a": r"\x00"}, {})


def test_keys_that_names_cannot_tell_apart_have_names_of_their_own() -> None:
    labels = {"C++": "1", "C##": "2", "C__": "3", "é": "4", "北": "5"}
    params, _ = split_long_params({"data": {"label_map": labels}})
    assert params == {
        "data.label_map.C__": "3",
        "data.label_map.C__ 2": "1",
        "data.label_map.C__ 3": "2",
        "data.label_map.é": "4",
        "data.label_map.北": "5",
    }
    tags, _ = split_long_tags({"Größe": "x", "Grösse": "y"})
    assert tags == {"Größe": "x", "Grösse": "y"}
