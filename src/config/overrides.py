"""Parses the overrides of a command line and lists the values of each."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src.config.groups import list_groups, list_options
from src.config.parse_failures import explain_parse_failure
from src.config.search_distributions import format_search
from src.core.nested_config import get_by_path, iter_leaves
from src.core.user_errors import UserError, UserErrors

# Values of one key that are checked before the first run. Each takes some 20 ms.
MAX_CHECKED_VALUES = 100
# Options of one group that are composed before the first run. Each takes some 150 ms.
MAX_COMPOSED_OPTIONS = 10
# Values that one key may list.
MAX_LISTED_VALUES = 10_000
MULTIRUN_FLAGS = ("-m", "--multirun")
# Matches overrides that only a search may have.
_SEARCH_OVERRIDE_PATTERN = re.compile(r"\+*(sweep=|search(=|[./@]))")


class ParsedOverride(NamedTuple):
    """An override as plain values.

    Attributes:
        key: the dotted key.
        prefix: `+`, `++` or `~`, or empty.
        line: the whole override as typed.
        text: the text behind the equals sign, as typed.
        kind: `one` value, a `choice` of listed values, a `range` or an `interval`.
        values: the values of a choice or a range, each as it would be typed alone.
        low, high: the smallest and the largest value of a range or an interval.
        step: the distance between the values of a range.
        tags: the tags, as in `tag(log, ...)`.
    """

    key: str
    prefix: str
    line: str
    text: str
    kind: Literal["one", "choice", "range", "interval"] = "one"
    values: tuple[str, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    tags: frozenset[str] = frozenset()


def parse_override(line: str) -> ParsedOverride:
    """Parse an override. Raises UserError if it cannot be parsed, or if no run could be made of
    it.
    """
    try:
        override = OverridesParser.create().parse_override(line)
    except HydraException as error:
        raise explain_parse_failure(line) from error
    return _to_parsed_override(override)


def find_sweep_error(override: Override) -> UserError | None:
    """The error of an override with several values of which no run could be made; None if it is
    fine.
    """
    try:
        _to_parsed_override(override)
    except UserError as error:
        return error
    return None


def expand_values(override: Override) -> list[str]:
    """The values to check, each as it would be typed alone: the two ends of an interval, else at
    most `MAX_CHECKED_VALUES` of those listed, with the last one.
    """
    parsed = _to_parsed_override(override)
    if parsed.kind == "interval":
        return [repr(parsed.low), repr(parsed.high)]
    return [
        *parsed.values[: MAX_CHECKED_VALUES - 1],
        *parsed.values[MAX_CHECKED_VALUES - 1 :][-1:],
    ]


def selected_options(override: Override, options: Sequence[str]) -> list[str]:
    """The options that an override of a group names."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(list(options)) or [str(override.input_line).partition("=")[2]]
    names: list[object] = (
        [*value] if isinstance(value, list) else [*expand_values(override)] or [value]
    )
    return ["null" if name is None else str(name) for name in names]


def iter_config_variants(overrides: Sequence[Override], config: DictConfig) -> Iterator[DictConfig]:
    """Copies of a config that holds the first value of every key: one copy for each further value
    of each key, and for both ends of an interval.
    """
    for override in overrides:
        key = override.key_or_group
        further = expand_values(override)[0 if override.is_interval_sweep() else 1 :]
        for text in further if OmegaConf.select(config, key) is not None else ():
            variant = config.copy()
            OmegaConf.update(
                variant, key, OverridesParser.create().parse_override(f"{key}={text}").value()
            )
            yield variant


def iter_group_variants(
    lines: Sequence[str], group_overrides: Sequence[str]
) -> Iterator[list[str]]:
    """The overrides of groups, repeated for each further option of a group that lists several.

    Args:
        lines: all overrides that were typed.
        group_overrides: the overrides of groups, with the first option of each.
    """
    for parsed in map(parse_override, lines):
        if parsed.kind != "choice" or parsed.key not in list_groups():
            continue
        start = f"{parsed.prefix}{parsed.key}="
        known = [option for option in parsed.values if option in list_options(parsed.key)]
        for option in known[1:MAX_COMPOSED_OPTIONS]:
            yield [
                f"{start}{option}" if override.startswith(start) else override
                for override in group_overrides
            ]


def is_multirun(arguments: Sequence[str]) -> bool:
    """True if a command line asks for several runs."""
    return any(
        argument in MULTIRUN_FLAGS or argument.lstrip("+") == "hydra.mode=MULTIRUN"
        for argument in arguments
    )


def put_flags_last(arguments: Sequence[str]) -> list[str]:
    """The overrides, then the flags with their values: Hydra's parser refuses them intermixed."""
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    return [*overrides, *(word for word in arguments if word not in overrides)]


def take_config_request(arguments: Sequence[str]) -> list[str] | None:
    """The overrides of a command that asks for its config and nothing else (`--cfg job`); None of
    any other, and of a search, whose config is more than that of a run.
    """
    overrides = [word for word in arguments if "=" in word and not word.startswith("-")]
    flags = [word for word in arguments if word not in overrides and word != "--resolve"]
    asks = flags in (["--cfg", "job"], ["-c", "job"], ["--cfg=job"], ["-c=job"])
    return overrides if asks and not search_overrides(overrides) else None


def describe_repeated_keys(arguments: Sequence[str]) -> list[str]:
    """A sentence about each key that is typed with several values, of which Hydra takes the last
    without a word.
    """
    typed: dict[str, list[str]] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not key.startswith(("-", "~")):
            typed.setdefault(key.lstrip("+"), []).append(value)
    return [
        f"note: {key} is typed {len(values)} times; the last counts, {key}={values[-1]}"
        for key, values in typed.items()
        if len(set(values)) > 1
    ]


def search_overrides(arguments: Sequence[str]) -> list[str]:
    """The overrides that only a search may have (`search.*`, `sweep=`); they need `-m`."""
    return [argument for argument in arguments if _SEARCH_OVERRIDE_PATTERN.match(argument)]


def needs_multirun_error(argument: str) -> UserError:
    """The error of an override of the search that is typed for a single run."""
    return UserError(
        "a search makes several runs, which -m asks for (python -m src.run -m ...)", where=argument
    )


def parse_sweep_id(arguments: Sequence[str]) -> str | None:
    """The sweep that a command line names: its id or the beginning of it, or `new`; None if it
    names none.

    Raises:
        UserErrors: it is named twice, or in another way than these.
    """
    sweeps = [
        argument.partition("=")[2].strip("'\"")
        for argument in arguments
        if is_sweep_id_override(argument)
    ]
    errors = [
        UserError(
            key="sweep",
            value=sweep,
            expected="new, or the id of a sweep: the first 6 or more hexadecimal digits of it",
            hint="the same command without sweep= goes on with its own sweep, and `python -m "
            "src.runs --kind search` lists all",
        )
        for sweep in sweeps
        if not re.fullmatch(r"new|[0-9a-f]{6,32}", sweep)
    ]
    if len(sweeps) > 1:
        errors.append(UserError(f"sweep= is given twice: {', '.join(sweeps)}"))
    if errors:
        raise UserErrors(errors)
    return sweeps[0] if sweeps else None


def drop_sweep_id(arguments: Sequence[str]) -> list[str]:
    """The arguments without `sweep=`, which Hydra does not know."""
    return [argument for argument in arguments if not is_sweep_id_override(argument)]


def flatten_search_space(config: DictConfig) -> dict[str, Any]:
    """The space of a composed config's search by dotted key; empty if it has none."""
    space = get_by_path(OmegaConf.to_container(config, resolve=False), "search.space")
    return dict(iter_leaves(space)) if isinstance(space, Mapping) else {}


def is_sweep_id_override(argument: str) -> bool:
    return argument.lstrip("+").startswith("sweep=")


def _to_parsed_override(override: Override) -> ParsedOverride:
    line = str(override.input_line)
    mark = override.get_key_element()
    key = mark.lstrip("+~")
    parsed = ParsedOverride(key, mark.removesuffix(key), line, line.partition("=")[2])
    if not override.is_sweep_override():
        return parsed
    if parsed.prefix == "~":
        raise UserError("what is taken away has no values to choose from", where=line)
    value: Any = override.value()
    tags = frozenset(map(str, value.tags)) if isinstance(value, Sweep) else frozenset()
    if isinstance(value, IntervalSweep):
        written = re.search(r"interval\(([^()]*)\)", line)
        bounds = (
            [float(bound.partition("=")[2] or bound) for bound in written[1].split(",")]
            if written
            else []
        )
        if isinstance(value.start, int) and any(bound != int(bound) for bound in bounds):
            raise UserError(where=line, expected="whole numbers as the bounds of whole numbers")
        return parsed._replace(kind="interval", low=value.start, high=value.end, tags=tags)
    texts = _enumerate_values(override, line)
    if not texts:
        raise UserError("no value lies in it, so that there would be no run", where=line)
    if twice := [text for text, count in Counter(texts).items() if count > 1]:
        listed = ", ".join(twice[:3])
        raise UserError(f"{listed} is listed twice, and would be run twice", where=line)
    if len(texts) > MAX_LISTED_VALUES:
        expected = f"at most {MAX_LISTED_VALUES} values of one key"
        raise UserError(where=line, expected=expected, hint="interval(START,STOP) lists none")
    if not isinstance(value, RangeSweep):
        return parsed._replace(kind="choice", values=texts, tags=tags)
    if len(texts) == 1 and {type(value.start), type(value.stop)} != {int}:
        ends = (float(value.start or 0), float(value.stop or 0))
        raise UserError(
            f"only {texts[0]} lies in it, since its step is {value.step}",
            where=line,
            expected="range(START,STOP,STEP)",
            hint=format_search(key, *ends, log=min(ends) > 0 and max(ends) >= 10 * min(ends)),
        )
    number = int if isinstance(value.range(), range) else float
    # Decimal numbers, so that three times 0.1 is 0.3.
    start, step = Decimal(repr(value.start)), Decimal(repr(value.step))
    low, high = sorted(number(bound) for bound in (start, start + (len(texts) - 1) * step))
    return parsed._replace(
        kind="range", values=texts, low=low, high=high, step=number(abs(step)), tags=tags
    )


def _enumerate_values(override: Override, line: str) -> tuple[str, ...]:
    """The listed values. A shuffled list always has the same order, since a sweep that goes on must
    find its values in that order again.
    """
    value: Any = override.value()
    if isinstance(value, Glob):
        return tuple(value.filter(list_options(override.key_or_group)))
    try:
        values = value.list if isinstance(value, ChoiceSweep) else value.range()
        texts = [
            Override._get_value_element_as_str(element)
            for element in islice(iter(values), MAX_LISTED_VALUES + 1)
        ]
    # ValueError is raised for whole numbers, HydraException for others.
    except (HydraException, ValueError) as error:
        raise UserError("the step of a range must not be 0", where=line) from error
    if value.shuffle:
        random.Random(line).shuffle(texts)
    return tuple(texts)
