"""Numbers, durations and keys as people read them."""

import pytest

from src.core.formatting import (
    flatten_config,
    format_duration,
    format_number,
    format_params,
    shorten_keys,
    truncate_end,
    truncate_middle,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (12, "12 s"),
        (99.6, "2 min"),
        (180, "3 min"),
        (7800, "2 h 10 min"),
        (3590, "1 h"),
        (273600, "3 d 4 h"),
        (None, "–"),
        (float("inf"), "–"),
        (-1, "0.0 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.2e-05, "3.2e-05"),
        (0.498, "0.498"),
        (12345.6, "12,346"),
        (7, "7"),
        (1e12, "1e+12"),
        (None, "–"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_short_keys_params_and_truncation() -> None:
    assert shorten_keys(["a.b.lr", "a.c.lr", "seed"]) == {
        "a.b.lr": "b.lr",
        "a.c.lr": "c.lr",
        "seed": "seed",
    }
    assert (
        format_params({"model.optim.lr": 1.23456e-5, "data.text": "a\nb"}) == "lr=1.23e-05 text=a b"
    )
    assert truncate_middle("constant_with_warmup", 13) == "cons…h_warmup"
    assert truncate_end("constant_with_warmup", 13) == "constant_wit…"
    assert truncate_end("constant", 8) == "constant"


def test_flatten() -> None:
    config = {"a": {"b": 1, "c": {}, "d": None}, "e": [1, {"f": True}], "g": 3e-05, "h": "text"}
    assert flatten_config(config) == {
        "a.b": "1",
        "a.c": "{}",
        "a.d": "null",
        "e": "[1,{f:true}]",
        "g": "3e-05",
        "h": "text",
    }
