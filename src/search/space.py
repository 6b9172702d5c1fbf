"""The search space: keys with listed values, a range or an interval, written in Hydra's grammar."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from src.core.formatting import ParamValue
from src.core.user_errors import UserError, UserErrors

if TYPE_CHECKING:
    from src.config.overrides import ParsedOverride

# Keys that belong to the sweep and not to its trials; `resume` and `fork` are about one run.
_SWEEP_LEVEL_GROUPS = ("search", "sweep", "tracking", "hydra", "name", "resume", "fork")


@dataclass(frozen=True)
class Dimension:
    """A key that varies.

    Args:
        key: as typed, without its prefix: model.optim.lr, model/optim, experiment.
        kind: `choice` has texts; `float` and `int` have numbers, of an interval or of a range.
        text: the part after the equals sign, as typed.
        choices: the listed values, or those of a range, in their order, each as it would be typed
            alone; empty for an interval.
        low, high: the smallest and the largest number; both are possible values.
        step: between two numbers of a range, above 0.
        log: has the tag `log`: numbers are drawn and shown on a logarithmic scale; choices are
            only shown so.
        prefix: '', '+' or '++', as typed.
    """

    key: str
    kind: Literal["choice", "float", "int"]
    text: str
    choices: tuple[str, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    prefix: str = ""

    @property
    def values(self) -> tuple[ParamValue, ...]:
        """The listed values; () for an interval."""
        if self.kind == "choice":
            return self.choices
        number = int if self.kind == "int" else float
        return tuple(number(text) for text in self.choices)

    def format_override(self, value: ParamValue) -> str:
        """The key with one value as an override of Hydra's: `model.optim.lr=3.2e-05`."""
        return f"{self.prefix}{self.key}={value if isinstance(value, str) else repr(value)}"


@dataclass(frozen=True)
class SearchSpace:
    """Every key that varies, in the order in which they were given."""

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> list[str]:
        return [dimension.key for dimension in self.dimensions]

    @property
    def grid_size(self) -> int | None:
        """The number of points of the grid; None where a key has an interval."""
        if not all(dimension.choices for dimension in self.dimensions):
            return None
        return math.prod(len(dimension.choices) for dimension in self.dimensions)

    @cached_property
    def _values_by_dimension(self) -> tuple[tuple[ParamValue, ...], ...]:
        return tuple(dimension.values for dimension in self.dimensions)

    def first_point(self) -> dict[str, ParamValue]:
        """The first listed value of every key, or the low end of its interval."""
        point: dict[str, ParamValue] = {}
        for dimension in self.dimensions:
            first = dimension.values[0] if dimension.values else dimension.low
            assert first is not None
            point[dimension.key] = first
        return point

    def grid_point(self, index: int) -> dict[str, ParamValue]:
        """A point of the grid; the last key varies fastest, as in Hydra's own multirun."""
        if self.grid_size is None or not 0 <= index < self.grid_size:
            raise IndexError(f"the grid has {self.grid_size} points, and no point {index}")
        point: dict[str, ParamValue] = {}
        for key, values in zip(
            reversed(self.keys), reversed(self._values_by_dimension), strict=True
        ):
            index, position = divmod(index, len(values))
            point[key] = values[position]
        return {key: point[key] for key in self.keys}

    def format_overrides(self, params: Mapping[str, ParamValue]) -> list[str]:
        """The overrides that one trial would be typed with, in the order of the keys."""
        return [dimension.format_override(params[dimension.key]) for dimension in self.dimensions]

    def to_plain_dict(self) -> dict[str, str]:
        """Each key, with its prefix, and the part after its equals sign."""
        return {
            f"{dimension.prefix}{dimension.key}": dimension.text for dimension in self.dimensions
        }


def parse_space(
    overrides: Sequence[str], config_space: Mapping[str, str]
) -> tuple[SearchSpace, list[str]]:
    """The space of a sweep, and the overrides that all of its trials have in common, as typed.

    A key that was typed replaces the one of `search.space`: with one value it is fixed, with
    several it varies over these.

    Args:
        overrides: of the command line, those of `hydra` and `search` among them.
        config_space: `search.space` of the config, by key.

    Raises:
        UserErrors: everything that cannot be searched.
    """
    from src.config.overrides import parse_override

    errors: list[UserError | str] = []
    typed: dict[str, list[ParsedOverride]] = {}
    fixed: list[str] = []
    for text in overrides:
        try:
            override = parse_override(text)
        except UserError as error:
            errors.append(error)
            continue
        typed.setdefault(override.key, []).append(override)
        if override.kind == "one":
            fixed.append(text)
    for key, same_key in typed.items():
        if len(same_key) > 1 and any(override.kind != "one" for override in same_key):
            lines = " and ".join(override.line for override in same_key)
            errors.append(f"{key} is given twice: {lines}")
    varying: dict[str, ParsedOverride] = {}
    for key, text in config_space.items():
        try:
            override = _parse_config_entry(key, text)
        except UserError as error:
            errors.append(f"search.space: {error}")
            continue
        if override.key in varying:
            errors.append(
                f"search.space: {override.key} is given twice: {varying[override.key].line} and "
                f"{override.line}"
            )
        if override.key not in typed or typed[override.key][-1].kind != "one":
            varying[override.key] = override
    varying |= {key: last for key, (*_, last) in typed.items() if last.kind != "one"}
    dimensions: list[Dimension] = []
    for override in varying.values():
        try:
            dimensions.append(_build_dimension(override))
        except UserError as error:
            errors.append(error)
    if errors:
        raise UserErrors(errors)
    return SearchSpace(tuple(dimensions)), fixed


def _parse_config_entry(key: str, text: Any) -> "ParsedOverride":
    from src.config.overrides import parse_override

    if not isinstance(text, str):
        raise UserError(
            f"{key}: expected a text like those on the command line ('1,2,3', 'interval(0,1)'), "
            f"found {text!r}"
        )
    override = parse_override(f"{key}={text}")
    if override.kind == "one":
        raise UserError(
            f"{override.line} is one value: expected several (a,b,c), a range or an interval"
        )
    return override


def _build_dimension(override: "ParsedOverride") -> Dimension:
    """Raises UserError for a key that cannot vary or values that cannot be drawn from."""
    key, line, text = override.key, override.line, override.text
    if key.replace("/", ".").partition(".")[0] in _SWEEP_LEVEL_GROUPS:
        raise UserError(
            f"{line}: {key} is the same in all trials of a sweep, so it takes one value"
        )
    log = "log" in override.tags
    if override.kind == "choice":
        return Dimension(
            key, "choice", text, choices=override.values, log=log, prefix=override.prefix
        )
    if override.kind == "interval" and (unknown := sorted(override.tags - {"log"})):
        raise UserError(
            f"{line}: the tag '{unknown[0]}' means nothing here; log is the one that does"
        )
    low, high = override.low, override.high
    step = override.step if override.kind == "range" else None
    assert low is not None and high is not None
    if override.kind == "interval" and not -math.inf < low < high < math.inf:
        raise UserError(f"{line}: expected a first bound below the second, found {low} and {high}")
    if log and low <= 0:
        raise UserError(
            f"{line}: on a logarithmic scale all numbers are above 0, and this begins with {low}"
        )
    is_whole = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    return Dimension(
        key,
        "int" if is_whole else "float",
        text,
        override.values,
        low,
        high,
        step,
        log,
        override.prefix,
    )
