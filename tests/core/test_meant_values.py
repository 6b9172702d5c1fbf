"""A value as other programs write it is answered with the one that the key takes."""

from typing import Annotated, Any, Literal

import pytest

from src.core.validation import Bound, Fraction, PositiveInt, Seed, find_violation, is_valid_value

_Choice = Literal["nothing", "embeddings", "encoder"] | int
_Minutes = Annotated[float, Bound(above=0)] | None


@pytest.mark.parametrize(
    ("annotation", "key", "value", "meant"),
    [
        (PositiveInt, "max_steps", "1k", "1000"),
        (PositiveInt, "max_steps", "1.5M", "1500000"),
        (PositiveInt, "max_epochs", "2 epochs", "2"),
        (Fraction, "warmup_fraction", "10%", "0.1"),
        (Fraction, "warmup_fraction", "1/4", "0.25"),
        (float, "lr", "2e-5.", "2e-05"),
        (_Minutes, "max_minutes", "10m", "10"),
        (_Minutes, "max_minutes", "1h", "60"),
        (_Minutes, "max_minutes", "1h 30m", "90"),
        (_Minutes, "max_minutes", "30s", "0.5"),
        (_Minutes, "max_minutes", "00:10:00", "10"),
        (_Minutes, "max_minutes", "01:00:00:00", "1440"),
        (PositiveInt, "rank_timeout_seconds", "5 min", "300"),
        (bool, "deterministic", "yes", "true"),
        (bool, "deterministic", "off", "false"),
        (bool, "deterministic", 1, "true"),
        (bool, "deterministic", 0, "false"),
        (_Choice, "freeze", "none", "nothing"),
        (_Choice, "freeze", None, "nothing"),
        (_Choice, "freeze", False, "nothing"),
        (_Choice, "freeze", True, "encoder"),
        (PositiveInt | None, "max_steps", -1, "null"),
        (PositiveInt | None, "max_steps", "none", "null"),
        (PositiveInt | Literal["auto"], "devices", -1, "auto"),
        (Literal["auto", "fp32", "bf16"], "precision", "16-mixed", "bf16"),
        (Literal["auto", "fp32", "bf16"], "precision", 32, "fp32"),
        (Literal["min", "max"], "mode", "minimize", "min"),
    ],
)
def test_what_was_meant_is_proposed(annotation: Any, key: str, value: Any, meant: str) -> None:
    error = find_violation(annotation, value, f"trainer.{key}")
    assert error is not None
    assert error.hint in (f"did you mean {meant}?", f"did you mean '{meant}'?")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (PositiveInt, "some"),
        (PositiveInt, "3 apples"),
        (PositiveInt, -1),
        (str, None),
        # an hour of what
        (PositiveInt, "1h"),
        (Fraction, "200%"),
    ],
)
def test_nothing_is_proposed_that_the_key_does_not_take(annotation: Any, value: Any) -> None:
    error = find_violation(annotation, value, "trainer.max_steps")
    assert error is not None
    assert error.hint is None


def test_seeds_are_those_that_numpy_takes() -> None:
    assert is_valid_value(Seed, 2**32 - 1)
    assert not is_valid_value(Seed, 2**32)
