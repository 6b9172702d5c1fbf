"""What a value that a key does not take may stand for, as other programs write it: `1k`, `10%`,
`2 epochs`, `1h`, `00:10:00`, `yes`, `none`, -1 for no limit.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

# The seconds in a unit of time, by the words for it.
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
# 1k is 1000: rows, tokens and steps are counted in tens.
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
_NAMED_UNIT = re.compile(r"_(seconds|minutes|hours|days)$")
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z%]+)", re.IGNORECASE)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)\s*([a-z]+)\s*)+", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d\d):(\d\d)")
_RATIO = re.compile(r"(\d+)\s*/\s*(\d+)")
# The things that keys count; `2 epochs` is 2.
_COUNTED = re.compile(
    r"(epoch|step|token|row|sample|example|batch|layer|label|class|trial|run|worker|gpu|device|"
    r"core|thread|head|fold|word)(es|s)?",
    re.IGNORECASE,
)

_TRUE_WORDS = ("yes", "y", "on", "true", "t", "1", "enable", "enabled")
_FALSE_WORDS = ("no", "n", "off", "false", "f", "0", "disable", "disabled")
_NOTHING_WORDS = ("none", "null", "nil", "nan", "no", "off", "false", "never", "disabled", "-1")
_NO_LIMIT_WORDS = ("inf", ".inf", "infinity", "infinite", "unlimited", "all", "max")
# What other programs call a choice of ours, by our name.
_SAME_CHOICES = {
    "fp32": ("32", "32-true", "float32", "full", "single", "float", "fp64", "64"),
    "bf16": (
        *("16", "16-mixed", "16-true", "bf16-mixed", "bf16-true", "bfloat16", "fp16", "float16"),
        *("half", "mixed", "amp"),
    ),
    "gpu": ("cuda",),
    "max": ("maximize", "maximise", "higher", "greater", "up"),
    "min": ("minimize", "minimise", "lower", "less", "down"),
    "head": ("right", "longest_first", "only_first", "true", "end"),
    "tail": ("left", "start"),
    "head_tail": ("middle", "both"),
    "constant": ("constant_with_warmup", "none", "fixed"),
    "cosine": ("cosine_with_restarts", "cosineannealinglr", "cosine_annealing"),
    "linear": ("linear_with_warmup", "polynomial", "decay"),
    "balanced": ("true", "auto", "balance", "inverse"),
    "mean": ("average", "avg"),
    "encoder": ("true", "all", "body", "backbone"),
}


def list_meant_values(value: Any, key: str | None) -> Iterator[Any]:
    """The values that a refused one may stand for, the likeliest first. Which of them its key takes
    is for the caller to see.

    Args:
        key: the dotted key, whose name may have a unit (`trainer.max_minutes`).
    """
    word = str(value).strip().lower()
    if isinstance(value, int) and not isinstance(value, bool) and value in (0, 1):
        yield bool(value)
    if isinstance(value, str):
        yield from _read_numbers(value.strip(), _NAMED_UNIT.search(key or ""))
        if word in _TRUE_WORDS:
            yield True
        if word in _FALSE_WORDS:
            yield False
    if word in (*_NOTHING_WORDS, *_NO_LIMIT_WORDS, ""):
        yield "nothing"
        yield None
    if word in (*_NO_LIMIT_WORDS, "-1"):
        yield "auto"
    for choice, words in _SAME_CHOICES.items():
        if word in words:
            yield choice


def _read_numbers(text: str, unit: re.Match[str] | None) -> Iterator[int | float]:
    """The numbers that a text may stand for.

    Args:
        unit: the unit of time in the key's name; None if there is none.
    """
    if unit is not None and (seconds := _read_seconds(text)) is not None:
        yield _shorten(seconds / _SECONDS[unit[1]])
    if (ratio := _RATIO.fullmatch(text)) and int(ratio[2]):
        yield float(f"{int(ratio[1]) / int(ratio[2]):.6g}")
    quantity = _QUANTITY.fullmatch(text)
    if quantity is not None:
        number, word = float(quantity[1]), quantity[2].lower()
        if word == "%":
            yield float(f"{number / 100:.6g}")
        elif word in _SCALES:
            yield _shorten(number * _SCALES[word])
        elif _COUNTED.fullmatch(word):
            yield _shorten(number)
    for convert in (int, float):
        # a sign behind it, as at the end of a sentence
        yield from _convert(convert, text.rstrip(".,;"))


def _read_seconds(text: str) -> float | None:
    """The seconds of `90s`, `1h 30m`, `00:10:00` or `01:00:10:00` (days first, as Lightning writes
    them); None of other texts.
    """
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text, re.IGNORECASE)
    if any(word.lower() not in _SECONDS for _, word in parts):
        return None
    return sum(float(number) * _SECONDS[word.lower()] for number, word in parts)


def _convert(convert: Callable[[str], int | float], text: str) -> Iterator[int | float]:
    try:
        yield convert(text)
    except ValueError:
        return


def _shorten(number: float) -> int | float:
    return int(number) if number.is_integer() else float(f"{number:.6g}")
