"""Numbers, durations, dotted keys and settings as people read them."""

import math
import shlex
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from src.core.nested_config import iter_leaves

ParamValue = str | int | float

_FLOAT32 = struct.Struct("f")
_LARGEST_FLOAT32 = 3.4e38
# stands where a number is not known yet
MISSING_VALUE_TEXT = "–"


def format_number(value: float | None, digits: int = 3) -> str:
    """A number such as `0.498`, `3.2e-05` or `12,345`.

    Fractions have `digits` significant digits; the digits before the point are never rounded away.
    """
    if value is None:
        return MISSING_VALUE_TEXT
    if not math.isfinite(value) or abs(value) >= 1e9:
        return f"{value:.{digits}g}"
    if isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def shorten_float32(value: float) -> float:
    """The shortest decimal of a number that was computed in fp32: 0.605 for 0.6050000190734863.

    A number that no fp32 value equals stays as it is, and so does a whole one.
    """
    if value.is_integer() or not math.isfinite(value) or abs(value) > _LARGEST_FLOAT32:
        return value
    if _FLOAT32.unpack(_FLOAT32.pack(value))[0] != value:
        return value
    # 9 digits tell every fp32 value from its neighbours
    decimals = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next(
        (short for short in decimals if _FLOAT32.unpack(_FLOAT32.pack(short))[0] == value), value
    )


def format_count(value: float) -> str:
    """A count that may be large: `480`, `12,000`, `1.2 M`."""
    for scale, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {letter}"
    return f"{value:,.0f}"


def format_duration(seconds: float | None) -> str:
    """A duration in its two largest units: `0.4 s`, `12 s`, `3 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING_VALUE_TEXT
    seconds = max(seconds, 0.0)
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def format_value(value: ParamValue, digits: int = 3) -> str:
    """A parameter's value: a float in `digits` significant digits, anything else as typed."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def format_params(params: Mapping[str, ParamValue], keys: Sequence[str] | None = None) -> str:
    """Parameters as `lr=3.2e-05 weight_decay=0.01`, in the order of `keys` or as they come.

    Args:
        keys: dotted keys, all of which are told apart by the short names.
    """
    names = shorten_keys(list(params) if keys is None else keys)
    return " ".join(
        f"{name}={format_value(params[key])}" for key, name in names.items() if key in params
    )


def shorten_keys(keys: Sequence[str]) -> dict[str, str]:
    """Name each dotted key by its last part, or by as many last parts as make it unique."""
    names = {}
    for key in keys:
        parts, others = key.split("."), [other.split(".") for other in set(keys) - {key}]
        depth = 1
        while depth < len(parts) and any(other[-depth:] == parts[-depth:] for other in others):
            depth += 1
        names[key] = ".".join(parts[-depth:])
    return names


def truncate_end(text: str, max_length: int) -> str:
    """Cut `text` to `max_length` characters, of which the last is then an ellipsis."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def truncate_middle(text: str, max_length: int) -> str:
    """Write `text` on one line of at most `max_length` characters, an ellipsis in its middle.

    Two thirds are kept of the end, by which similar names differ more often.
    """
    text = " ".join(text.split())
    if len(text) <= max_length:
        return text
    head = (max_length - 1) // 3
    return f"{text[:head]}…{text[len(text) - (max_length - 1 - head) :]}"


def format_quantity(count: int, noun: str) -> str:
    """A count with its noun: `1 trial`, `2 trials`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def flatten_config(config: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested mappings to dotted keys; a list stays one value (`[1,2]`)."""
    return {key: to_override_text(value) for key, value in iter_leaves(config)}


def to_override_text(value: Any) -> str:
    """Return a value as a person would type it in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        items = (f"{key}:{to_override_text(item)}" for key, item in value.items())
        return "{" + ",".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_override_text, value)) + "]"
    return str(value)


def format_python_command(program: str) -> str:
    """The command that runs a program of one line, quoted for a shell. In double quotes where these
    change nothing, since the single ones around paths are easier to read inside.
    """
    is_plain = not set(program) & set('"$`\\!')
    return f'python -c "{program}"' if is_plain else f"python -c {shlex.quote(program)}"
