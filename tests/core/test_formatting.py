"""Numbers, durations and keys as people read them."""

import math
import struct

import pytest

from src.core.formatting import (
    flatten_config,
    format_duration,
    format_number,
    format_params,
    shorten_float32,
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


@pytest.mark.parametrize("value", [0.605, 0.1, 1e-30, 1e-20, 1 / 3, 123.456, -0.7, 1e-45])
def test_a_float32_has_its_shortest_decimal(value: float) -> None:
    as_float32 = struct.unpack("f", struct.pack("f", value))[0]
    short = shorten_float32(as_float32)
    assert len(repr(short)) <= 15
    assert struct.unpack("f", struct.pack("f", short))[0] == as_float32
    if value == 0.605:
        assert short == 0.605


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 123456792.0, 0.0, -0.0, 1e300, 0.5, float("inf"), 1e-300]
)
def test_other_numbers_stay_as_they_are(value: float) -> None:
    assert repr(shorten_float32(value)) == repr(value)
    assert math.isnan(shorten_float32(math.nan))
