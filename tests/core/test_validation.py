"""What a value may be: hand-written truths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from omegaconf import OmegaConf

from src.core.user_errors import UserErrors
from src.core.validation import (
    Bound,
    Fraction,
    NonNegativeInt,
    PositiveInt,
    describe_annotation,
    find_violation,
    is_valid_value,
    validate_init,
)

RATE = Annotated[float, Bound(above=0, most=1)]
SCHEDULE = Literal["linear", "cosine"]


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (float, 1, True),
        (float, 1e-5, True),
        (float, 10**400, True),
        (float, "1e-5", False),
        (float, float("nan"), False),
        (float, float("inf"), False),
        (float, True, False),
        (int, 3, True),
        (int, 3.0, False),
        (int, False, False),
        (str, "", True),
        (str, 3, False),
        (bool, True, True),
        (bool, 1, False),
        (RATE, 0, False),
        (RATE, 1, True),
        (RATE, 1.0001, False),
        (Fraction, 0, True),
        (Fraction, -0.1, False),
        (PositiveInt, 0, False),
        (NonNegativeInt, 0, True),
        (PositiveInt | None, None, True),
        (PositiveInt | None, 0, False),
        (SCHEDULE, "linear", True),
        (SCHEDULE, "Linear", False),
        (Literal[1], True, False),
        (SCHEDULE | NonNegativeInt, 2, True),
        (SCHEDULE | NonNegativeInt, "two", False),
        (list[str], ["a"], True),
        (list[str], ["a", 1], False),
        (list[str], "a", False),
        (dict[str, str], {}, True),
        (dict[str, str], [], False),
        # a type of another library accepts anything
        (Path, 3, True),
        (Any, None, True),
    ],
)
def test_accepts(annotation: Any, value: Any, fits: bool) -> None:
    assert is_valid_value(annotation, value) is fits
    assert (find_violation(annotation, value) is None) is fits


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (RATE, "a number above 0 and at most 1"),
        (Annotated[float, Bound(least=0, below=1)], "a number at least 0 and below 1"),
        (PositiveInt | None, "a whole number at least 1 or null"),
        (SCHEDULE, "one of linear, cosine"),
        (SCHEDULE | NonNegativeInt, "one of linear, cosine or a whole number at least 0"),
        (list[str] | None, "a list or null"),
        (dict[str, int], "a mapping to a whole number"),
        (dict[str, Any], "a mapping"),
        (bool, "true or false"),
    ],
)
def test_expectation_in_words(annotation: Any, words: str) -> None:
    assert describe_annotation(annotation) == words


def test_a_wrong_entry_of_a_list_is_named() -> None:
    names = list[str | float] | None
    assert find_violation(names, [0, "good", 1.5]) is None
    assert str(find_violation(names, [False, True])) == (
        "expected a list in which every entry is a text or a number, found false; YAML reads yes, "
        "no, on, off, true and false as true or false unless they stand in quotes, such as "
        "['no', 'yes']"
    )


def test_a_problem_says_both_and_suggests_the_nearest_word() -> None:
    assert str(find_violation(RATE, 0)) == "expected a number above 0 and at most 1, found 0"
    assert (
        str(find_violation(SCHEDULE, "linearr"))
        == "expected one of linear, cosine, found 'linearr'; did you mean 'linear'?"
    )
    assert (
        str(find_violation(SCHEDULE | None, "cosin"))
        == "expected one of linear, cosine or null, found 'cosin'; did you mean 'cosine'?"
    )
    assert str(find_violation(SCHEDULE, "zzz")) == "expected one of linear, cosine, found 'zzz'"


@validate_init
@dataclass(frozen=True, kw_only=True)
class Rates:
    lr: RATE
    layers: PositiveInt = 2
    note: "str | None" = None


def test_checked_refuses_all_bad_arguments_at_once() -> None:
    assert Rates(lr=0.5) == Rates(lr=0.5, layers=2, note=None)
    with pytest.raises(UserErrors) as caught:
        Rates(lr=2, layers=0, note=3)  # type: ignore[arg-type]
    assert caught.value.messages == [
        "Rates.lr: expected a number above 0 and at most 1, found 2",
        "Rates.layers: expected a whole number at least 1, found 0",
        "Rates.note: expected a text or null, found 3",
    ]
    with pytest.raises(TypeError, match="missing a required argument: 'lr'"):
        Rates()  # type: ignore[call-arg]


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1e4", "1.0e-4", "+1e-3", "5e-05"])
def test_numbers_without_a_dot_are_numbers_in_files_and_on_the_command_line(
    text: str, composed: Any
) -> None:
    """YAML 1.1 reads 1e-4 as a text; OmegaConf and Hydra do not."""
    assert OmegaConf.create(f"lr: {text}").lr == float(text)
    lr = composed(f"model.optim.lr={text}")["model"]["optim"]["lr"]
    assert (lr, type(lr)) == (float(text), float)


def test_numbers_of_the_config_files_are_numbers(composed: Any) -> None:
    assert composed("model=masked_lm", "data=generated_text")["model"]["optim"]["lr"] == 0.001
    assert composed()["model"]["optim"]["eps"] == 1e-8
