"""Limits of values, written into the signature: `lr: Annotated[float, Bound(above=0, most=1)]`.

The same annotations are read when a config is checked (`src/config/validate_config.py`) and by
`@validate_init` when the object is built, so that a constructor called from Python refuses the same
values.
"""

import functools
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from src.core.meant_values import list_meant_values
from src.core.user_errors import UserError, UserErrors, did_you_mean, suggest


@dataclass(frozen=True)
class Bound:
    """Limits of a number; a bound that is None does not limit."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def is_satisfied_by(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        words = {"above": "above", "least": "at least", "below": "below", "most": "at most"}
        parts = [
            f"{words[name]} {limit}" for name, limit in vars(self).items() if limit is not None
        ]
        return " and ".join(parts)


Fraction = Annotated[float, Bound(least=0, most=1)]
PositiveFloat = Annotated[float, Bound(above=0)]
NonNegativeFloat = Annotated[float, Bound(least=0)]
PositiveInt = Annotated[int, Bound(least=1)]
NonNegativeInt = Annotated[int, Bound(least=0)]
# numpy takes no larger ones
Seed = Annotated[int, Bound(least=0, most=2**32 - 1)]

_TYPE_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
}


def describe_annotation(annotation: Any) -> str:
    """An annotation in words: "a number at least 0 and at most 1", "one of linear, cosine"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{describe_annotation(arguments[0])} {arguments[1]}"
    if origin is Literal:
        return "one of " * (len(arguments) > 1) + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        options = [describe_annotation(option) for option in arguments if option is not type(None)]
        return " or ".join(options) + (" or null" if type(None) in arguments else "")
    if origin in (list, Sequence, tuple):
        return "a list"
    if origin in (dict, Mapping):
        values = arguments[1] if arguments else Any
        return "a mapping" if values is Any else f"a mapping to {describe_annotation(values)}"
    return _TYPE_WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def is_valid_value(annotation: Any, value: Any) -> bool:
    """True if `annotation` allows `value`. An annotation of another library's type allows
    anything.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_valid_value(arguments[0], value) and arguments[1].is_satisfied_by(value)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return any(is_valid_value(option, value) for option in arguments)
    if origin in (list, Sequence, tuple):
        return isinstance(value, list | tuple) and (
            not arguments or all(is_valid_value(arguments[0], item) for item in value)
        )
    if origin in (dict, Mapping):
        # keys are text in any case: YAML reads some of them as numbers
        return isinstance(value, Mapping) and (
            not arguments or all(is_valid_value(arguments[1], item) for item in value.values())
        )
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and -math.inf < value < math.inf
        )
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (str, bool):
        return isinstance(value, annotation)
    return True


def find_violation(annotation: Any, value: Any, key: str | None = None) -> UserError | None:
    """The error of a value that `annotation` excludes, about `key`; None for a valid one."""
    if is_valid_value(annotation, value):
        return None
    if (entry_annotation := _find_entry_annotation(annotation)) and isinstance(value, list | tuple):
        return _make_entry_error(entry_annotation, value, annotation, key)
    hint = None
    if isinstance(value, str) and (near := suggest(value, _list_choices(annotation))) is not None:
        hint = did_you_mean(near)
    if hint is None and (meant := _find_meant(annotation, value, key)):
        hint = f"did you mean {meant}?"
    return UserError(
        key=key,
        expected=describe_annotation(annotation),
        found=repr(value),
        hint=hint,
        annotation=annotation,
    )


def _find_meant(annotation: Any, value: Any, key: str | None) -> str | None:
    """The valid value that a refused one stands for, as it is typed; None if there is none."""
    for meant in (*reversed(_suggest_conversions(value)), *list_meant_values(value, key)):
        if isinstance(meant, str) and meant not in _list_choices(annotation):
            continue
        if is_valid_value(annotation, meant):
            return "null" if meant is None else str(meant).lower()
    return None


def _find_entry_annotation(annotation: Any) -> Any:
    """What the entries of a list must be, if `annotation` allows one and says so; else None."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (list, Sequence, tuple):
        return arguments[0] if arguments else None
    if origin in (Union, types.UnionType):
        return next(filter(None, map(_find_entry_annotation, arguments)), None)
    return None


def _make_entry_error(
    entry_annotation: Any, values: Sequence[Any], annotation: Any, key: str | None
) -> UserError:
    """The error of a list in which an entry is none that the annotation allows."""
    wrong = next(entry for entry in values if not is_valid_value(entry_annotation, entry))
    hint = None
    if isinstance(wrong, bool) and is_valid_value(entry_annotation, ""):
        hint = (
            "YAML reads yes, no, on, off, true and false as true or false unless they stand in "
            "quotes, such as ['no', 'yes']"
        )
    return UserError(
        key=key,
        expected=f"a list in which every entry is {describe_annotation(entry_annotation)}",
        found=_describe_entry(wrong),
        hint=hint,
        annotation=annotation,
    )


def _describe_entry(entry: Any) -> str:
    if isinstance(entry, UserError):
        return "an entry that could not be read"
    return str(entry).lower() if isinstance(entry, bool) else repr(entry)


def takes_whole_numbers(annotation: Any) -> bool:
    """True if the numbers that `annotation` allows are whole ones."""
    origin = get_origin(annotation)
    if origin is Annotated or origin in (Union, types.UnionType):
        return takes_whole_numbers(get_args(annotation)[0])
    return annotation is int


def _suggest_conversions(value: Any) -> list[Any]:
    """The numbers that a value may stand for: a text without its quotes, a float such as 2.0
    without its fraction.
    """
    if isinstance(value, float):
        return [int(value)] if value.is_integer() else []
    if not isinstance(value, str):
        return []
    # 10 000 and 10'000, as they are written in Europe
    text = re.sub(r"(?<=\d)[\s'](?=\d{3})", "", value)
    for convert in (int, float):
        try:
            return [convert(text)]
        except ValueError:
            continue
    return [number for _, number in read_comma_numbers(text)]


def read_comma_numbers(text: str) -> list[tuple[str, int | float]]:
    """The numbers that a text with commas may stand for, without them, and their values: a comma in
    place of the point (`0,001`), or one before three digits (`10,000`).
    """
    numbers: list[tuple[str, int | float]] = []
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", text):
        numbers.append((whole := text.replace(",", ""), int(whole)))
    if re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", text):
        numbers.append((decimal := text.replace(",", "."), float(decimal)))
    return numbers


def _list_choices(annotation: Any) -> list[Any]:
    """The values of the `Literal` in an annotation; empty if it has none."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return [word for option in get_args(annotation) for word in _list_choices(option)]
    return []


ClassT = TypeVar("ClassT", bound=type)
_VALIDATED: set[type] = set()


def validate_init(cls: ClassT) -> ClassT:
    """Class decorator: the constructor raises `UserErrors` that names all arguments which its own
    annotations exclude.
    """
    build: Callable[..., None] = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(build)

    @functools.wraps(build)
    def checking(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        hints = get_type_hints(build, include_extras=True)
        errors = [
            error
            for name, value in bound.arguments.items()
            if name in hints
            and (error := find_violation(hints[name], value, f"{cls.__name__}.{name}"))
        ]
        if errors:
            raise UserErrors(errors)
        build(self, *args, **kwargs)

    cls.__init__ = checking  # type: ignore[misc]
    _VALIDATED.add(cls)
    return cls


def is_validated(cls: type) -> bool:
    """Whether a class itself, not one that it inherits from, is decorated with `validate_init`."""
    return cls in _VALIDATED
