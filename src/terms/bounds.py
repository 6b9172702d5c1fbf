"""What a value may be, written into the signature: `lr: Annotated[float, Bound(above=0, most=1)]`.

The same annotations are read twice: from the source text before anything heavy is imported (`src/config/signature.py`)
and by `@checked` when the object is really built, so that a constructor called from Python refuses the same values.
"""

import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from src.terms.fault import Fault, Faults, suggestion


@dataclass(frozen=True)
class Bound:
    """Limits of a number; a bound that is None does not limit."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        words = {"above": "above", "least": "at least", "below": "below", "most": "at most"}
        parts = [f"{words[name]} {limit}" for name, limit in vars(self).items() if limit is not None]
        return " and ".join(parts)


Fraction = Annotated[float, Bound(least=0, most=1)]
Positive = Annotated[float, Bound(above=0)]
NonNegative = Annotated[float, Bound(least=0)]
Count = Annotated[int, Bound(least=1)]
Whole = Annotated[int, Bound(least=0)]

_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def expectation(annotation: Any) -> str:
    """An annotation in words: "a number at least 0 and at most 1", "one of linear, cosine"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{expectation(arguments[0])} {arguments[1]}"
    if origin is Literal:
        return "one of " * (len(arguments) > 1) + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        some = [expectation(each) for each in arguments if each is not type(None)]
        return " or ".join(some) + (" or null" if type(None) in arguments else "")
    if origin in (list, Sequence, tuple):
        return "a list"
    if origin in (dict, Mapping):
        return "a mapping"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def accepts(annotation: Any, value: Any) -> bool:
    """Whether `value` may stand where `annotation` is written. Types of other libraries accept anything."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return accepts(arguments[0], value) and arguments[1].holds(value)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return any(accepts(each, value) for each in arguments)
    if origin in (list, Sequence, tuple):
        return isinstance(value, list | tuple) and (not arguments or all(accepts(arguments[0], v) for v in value))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (str, bool):
        return isinstance(value, annotation)
    return True


def problem(annotation: Any, value: Any) -> str | None:
    """What is wrong with `value`, in words, or None."""
    if accepts(annotation, value):
        return None
    hint = suggestion(value, _choices(annotation)) if isinstance(value, str) else ""
    if not hint.startswith("did"):
        hint = next((f"did you mean {each}?" for each in _rewritten(value) if accepts(annotation, each)), "")
    return f"expected {expectation(annotation)}, found {value!r}" + (f"; {hint}" if hint else "")


def _rewritten(value: Any) -> list[Any]:
    """What a value would be without its quotes, or without its point and zeros."""
    if isinstance(value, float):
        return [int(value)] if value.is_integer() else []
    if not isinstance(value, str):
        return []
    try:
        return [int(value)]
    except ValueError:
        pass
    try:
        return [float(value)]
    except ValueError:
        return []


def _choices(annotation: Any) -> list[Any]:
    """The words that an annotation allows, where it lists some."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return [word for each in get_args(annotation) for word in _choices(each)]
    return []


C = TypeVar("C", bound=type)


def checked(cls: C) -> C:
    """Make a class refuse arguments that its own constructor's annotations exclude; all of them in one `Fault`."""
    build: Callable[..., None] = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(build)

    @functools.wraps(build)
    def checking(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        hints = get_type_hints(build, include_extras=True)
        faults = [
            Fault(f"{cls.__name__}.{name}: {found}")
            for name, value in bound.arguments.items()
            if name in hints and (found := problem(hints[name], value))
        ]
        if faults:
            raise Faults(faults)
        build(self, *args, **kwargs)

    cls.__init__ = checking  # type: ignore[misc]
    return cls
