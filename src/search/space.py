"""What may vary in a sweep: keys, each with listed values, a range or an interval, in Hydra's grammar."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from src.search.rows import Value
from src.terms.fault import Fault, Faults

if TYPE_CHECKING:
    from src.config.sweeps import Typed

# What belongs to the sweep and not to its trials; `resume` and `fork` are about one run.
_NOT_OF_TRIALS = ("search", "sweep", "tracking", "hydra", "name", "resume", "fork")


@dataclass(frozen=True)
class Dimension:
    """A key that varies.

    Args:
        key: as typed, without its prefix: model.optim.lr, model/optim, experiment.
        kind: `choice` has texts; `float` and `int` have numbers, of an interval or of a range.
        text: what stands behind the equals sign, as typed.
        choices: the listed values in their order, each as it would be typed alone; also those of a range. Empty: an
            interval.
        low, high: the smallest and the largest number, both of them possible.
        step: between two numbers of a range, above 0.
        log: whether ratios count instead of differences, by its tag; of choices only where they are shown.
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
    def values(self) -> tuple[Value, ...]:
        """The listed values; none of an interval."""
        if self.kind == "choice":
            return self.choices
        number = int if self.kind == "int" else float
        return tuple(number(each) for each in self.choices)

    def override(self, value: Value) -> str:
        """The key with one value, as Hydra takes it: `model.optim.lr=3.2e-05`."""
        return f"{self.prefix}{self.key}={value if isinstance(value, str) else repr(value)}"


@dataclass(frozen=True)
class Space:
    """Every key that varies, in the order in which they were given."""

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> list[str]:
        return [each.key for each in self.dimensions]

    @property
    def size(self) -> int | None:
        """How many points the grid has; None where a key has an interval."""
        if not all(each.choices for each in self.dimensions):
            return None
        return math.prod(len(each.choices) for each in self.dimensions)

    @cached_property
    def _values(self) -> tuple[tuple[Value, ...], ...]:
        return tuple(each.values for each in self.dimensions)

    def point(self, index: int) -> dict[str, Value]:
        """A point of the grid; the last key varies fastest, as in Hydra's own multirun."""
        if self.size is None or not 0 <= index < self.size:
            raise IndexError(f"the grid has {self.size} points, and no point {index}")
        found: dict[str, Value] = {}
        for key, values in zip(reversed(self.keys), reversed(self._values), strict=True):
            index, place = divmod(index, len(values))
            found[key] = values[place]
        return {key: found[key] for key in self.keys}

    def overrides(self, params: Mapping[str, Value]) -> list[str]:
        """What would be typed for one trial, in the order of the keys."""
        return [each.override(params[each.key]) for each in self.dimensions]

    def plain(self) -> dict[str, str]:
        """Each key with what stands behind its equals sign."""
        return {f"{each.prefix}{each.key}": each.text for each in self.dimensions}


def read(typed: Sequence[str], listed: Mapping[str, str]) -> tuple[Space, list[str]]:
    """The space, and the overrides that all trials have in common, as typed.

    A key that was typed leaves the space of the file: with one value it is fixed, with several these take the place of
    the file's.

    Args:
        typed: the overrides of the command line, those of `hydra` and `search` among them.
        listed: `search.space` of the config, by key.

    Raises:
        Faults: everything that cannot be searched.
    """
    from src.config.sweeps import understood

    faults: list[str] = []
    given: dict[str, list[Typed]] = {}
    fixed: list[str] = []
    for text in typed:
        try:
            found = understood(text)
        except Fault as fault:
            faults.append(str(fault))
            continue
        given.setdefault(found.key, []).append(found)
        if found.kind == "one":
            fixed.append(text)
    for key, several in given.items():
        if len(several) > 1 and any(each.kind != "one" for each in several):
            faults.append(f"{key} is given twice: {' and '.join(each.line for each in several)}")
    chosen: dict[str, Typed] = {}
    for key, text in listed.items():
        try:
            found = _of_file(key, text)
        except Fault as fault:
            faults.append(f"search.space: {fault}")
            continue
        if found.key in chosen:
            faults.append(f"search.space: {found.key} is given twice: {chosen[found.key].line} and {found.line}")
        if found.key not in given or given[found.key][-1].kind != "one":
            chosen[found.key] = found
    chosen |= {key: several[-1] for key, several in given.items() if several[-1].kind != "one"}
    dimensions: list[Dimension] = []
    for found in chosen.values():
        try:
            dimensions.append(_dimension(found))
        except Fault as fault:
            faults.append(str(fault))
    if faults:
        raise Faults(faults)
    return Space(tuple(dimensions)), fixed


def _of_file(key: str, text: Any) -> "Typed":
    from src.config.sweeps import understood

    if not isinstance(text, str):
        raise Fault(f"{key}: expected a text like those on the command line ('1,2,3', 'interval(0,1)'), found {text!r}")
    found = understood(f"{key}={text}")
    if found.kind == "one":
        raise Fault(f"{found.line} is one value: expected several (a,b,c), a range or an interval")
    return found


def _dimension(found: "Typed") -> Dimension:
    """Raises Fault where nothing can be drawn from what was typed."""
    key, line = found.key, found.line
    head = key.replace("/", ".").partition(".")[0]
    if head in _NOT_OF_TRIALS:
        raise Fault(f"{line}: {key} is the same in all trials of a sweep, so it takes one value")
    log = "log" in found.tags
    if found.kind == "choice":
        return Dimension(key, "choice", found.text, choices=found.values, log=log, prefix=found.prefix)
    if found.kind == "interval" and (unknown := sorted(found.tags - {"log"})):
        raise Fault(f"{line}: the tag '{unknown[0]}' means nothing here; log is the one that does")
    low, high, step = found.low, found.high, None
    assert low is not None and high is not None
    if found.kind == "interval" and not -math.inf < low < high < math.inf:
        raise Fault(f"{line}: expected a first bound below the second, found {low} and {high}")
    if log and low <= 0:
        raise Fault(f"{line}: on a logarithmic scale all numbers are above 0, and this begins with {low}")
    if found.kind == "range":
        step = found.step
    whole = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    kind: Literal["int", "float"] = "int" if whole else "float"
    return Dimension(key, kind, found.text, found.values, low, high, step, log, found.prefix)
