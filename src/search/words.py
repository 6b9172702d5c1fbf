"""Numbers, durations and settings of trials as a person reads them."""

import math
from collections.abc import Mapping, Sequence

from src.search.rows import Value

NOTHING = "–"  # where a number is not known yet
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def number(value: float | None, digits: int = 3) -> str:
    """`0.498`, `3.2e-05`, `12,345`: of what stands behind the point no more than `digits` digits in all."""
    if value is None:
        return NOTHING
    if not math.isfinite(value) or abs(value) >= 1e9:
        return f"{value:.{digits}g}"
    if isinstance(value, int) or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def amount(value: float) -> str:
    """A count that may be large: `480`, `12,000`, `1.2 M`."""
    for scale, sign in _SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {sign}"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
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


def plain(value: Value, digits: int = 3) -> str:
    """A parameter's value: what was typed as it was typed, a float that was drawn in `digits` digits."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return "".join(each if each.isprintable() else " " for each in str(value))


def setting(params: Mapping[str, Value], keys: Sequence[str] | None = None) -> str:
    """`lr=3.2e-05 weight_decay=0.01`, in the order of `keys`, the space's, or as they come."""
    names = short(list(params) if keys is None else keys)
    return " ".join(f"{name}={plain(params[key])}" for key, name in names.items() if key in params)


def short(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key by its last part, or by as many last parts as tell it from the others."""
    names = {}
    for key in keys:
        parts, others = key.split("."), [other.split(".") for other in set(keys) - {key}]
        depth = 1
        while depth < len(parts) and any(other[-depth:] == parts[-depth:] for other in others):
            depth += 1
        names[key] = ".".join(parts[-depth:])
    return names


def cut(text: str, most: int) -> str:
    """`text` in at most so many characters. Its end tells it from its neighbours more often than its beginning."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = (most - 1) // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
