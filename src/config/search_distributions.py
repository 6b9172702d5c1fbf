"""Explains what Optuna, Ray, NumPy and others draw numbers from (`loguniform(1e-5,1e-3)`), as a
search here draws them.
"""

import math
import re
import shlex

# Whether the numbers are drawn on a logarithmic scale, and whether they are whole ones.
_DISTRIBUTIONS = {
    **dict.fromkeys(("uniform", "quniform", "linspace", "float", "suggest_float"), (False, False)),
    **dict.fromkeys(("suggest_uniform", "arange", "lin", "interval", "between"), (False, False)),
    **dict.fromkeys(("log", "loguniform", "log_uniform", "qloguniform", "ln"), (True, False)),
    **dict.fromkeys(("log10", "geomspace", "suggest_loguniform", "loginterval"), (True, False)),
    **dict.fromkeys(("logspace", "log_interval", "log_uniform_values"), (True, False)),
    **dict.fromkeys(("int", "randint", "qrandint", "integers", "suggest_int"), (False, True)),
    **dict.fromkeys(("int_uniform", "randrange", "rand_int", "uniform_int"), (False, True)),
    **dict.fromkeys(("lograndint", "qlograndint", "logint", "log_int"), (True, True)),
}
_BELL_CURVES = ("normal", "qnormal", "gauss", "truncnorm", "lognormal", "randn")
# The bounds of these are exponents of ten.
_EXPONENTS = ("logspace",)
_CALL = re.compile(r"(?:\w+\.)*(\w+)\((.*)\)")
_LOG_ARGUMENT = re.compile(r"log\s*=\s*(true|false|1|0)", re.IGNORECASE)


def explain_distribution(key: str, value: str) -> str | None:
    """How a search draws from what another program calls `value`; None if that is no distribution
    of numbers.
    """
    call = _CALL.fullmatch(value)
    if call is not None and call[1] in _BELL_CURVES:
        return f"all values are as likely here: {_format_override(key, 'interval(LOW,HIGH)')}"
    if call is None or call[1] not in _DISTRIBUTIONS:
        return None
    log, whole = _DISTRIBUTIONS[call[1]]
    if asked := _LOG_ARGUMENT.search(call[2]):
        log = asked[1].lower() in ("true", "1")
    numbers = re.findall(r"(?<![\w.=])[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", call[2])[:2]
    if len(numbers) < 2:
        return None
    low, high = numbers
    if call[1] in _EXPONENTS:
        low, high = (f"1e{exponent}" for exponent in numbers)
    if log and float(low) <= 0:
        log = False
    if not -math.inf < float(low) < float(high) < math.inf:
        return None
    interval = f"interval({low},{high})"
    interval = f"int({interval})" if whole else interval
    return _format_override(key, f"tag(log, {interval})" if log else interval)


def format_search(key: str, low: float, high: float, *, log: bool) -> str:
    """How a search draws from all numbers between two."""
    interval = f"interval({low:g},{high:g})"
    return _format_override(key, f"tag(log, {interval})" if log else interval)


def _format_override(key: str, drawn: str) -> str:
    typed = shlex.quote(f"{key}={drawn}")
    return f"a search draws from it by -m search/sampler=tpe search.max_trials=20 {typed}"
