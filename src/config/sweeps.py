"""What a multirun would make of the overrides of a command line: their values, and what it would stumble over."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src.config.choices import choices, groups
from src.terms.fault import Fault, Faults

if TYPE_CHECKING:
    from src.search.plan import Search

MOST_LOOKED_AT = 100  # values of one key, that are checked before the first run: some 20 ms each
MOST_COMPOSED = 10  # choices of one group, that are composed before the first run: some 150 ms each
MOST_LISTED = 10_000  # values of one key
FLAGS = ("-m", "--multirun")
_ASKS = re.compile(r"\+*(sweep=|search(=|[./@]))")  # what is for a search alone


class Typed(NamedTuple):
    """An override in plain values.

    `line` is the whole of it and `text` what stands behind its equals sign, both as typed; `values` of a choice or a
    range are as each would be typed alone, `low` and `high` its bounds, both of them possible.
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


def understood(line: str) -> Typed:
    """An override as plain values; Fault where it cannot be read, or no run could be made of it."""
    try:
        override = OverridesParser.create().parse_override(line)
    except HydraException as error:
        raise Fault(unreadable(line)) from error
    return _plain(override)


def unreadable(text: str) -> str:
    """Why an override cannot be read."""
    if "=" not in text:
        return f"'{text}' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces want quotes)"
    key, _, value = text.partition("=")
    if value.endswith(",") or "()" in value:
        return f"'{text}' cannot be read: a value is missing in the list"
    if "interval(" in value:
        return f"'{text}' cannot be read: expected two numbers, as in {key}=interval(0,1) or tag(log, interval(1e-6,1))"
    return f"'{text}' cannot be read: a value with special characters wants quotes, as in '{key}=\"a, b\"'"


def refusal(override: Override) -> str | None:
    """Why no run could be made of an override with several values; None where some can."""
    try:
        _plain(override)
    except Fault as fault:
        return str(fault)
    return None


def values(override: Override) -> list[str]:
    """The values, each as it would be typed alone; of an interval its two ends."""
    found = _plain(override)
    if found.kind == "interval":
        return [repr(found.low), repr(found.high)]
    return [*found.values[: MOST_LOOKED_AT - 1], *found.values[MOST_LOOKED_AT - 1 :][-1:]]  # of a range both ends


def of_group(override: Override, options: Sequence[str]) -> list[str]:
    """The choices that an override of a group names."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(list(options)) or [str(override.input_line).partition("=")[2]]
    given: list[object] = [*value] if isinstance(value, list) else [*values(override)] or [value]
    return ["null" if each is None else str(each) for each in given]


def variants(overrides: Sequence[Override], config: DictConfig) -> Iterator[DictConfig]:
    """The config with each further value of each key that has several, one at a time; with both ends of an interval."""
    for override in overrides:
        key = override.key_or_group
        further = values(override)[0 if override.is_interval_sweep() else 1 :]
        for text in further if OmegaConf.select(config, key) is not None else ():
            variant = config.copy()
            OmegaConf.update(variant, key, OverridesParser.create().parse_override(f"{key}={text}").value())
            yield variant


def other_choices(lines: Sequence[str], sound: Sequence[str]) -> Iterator[list[str]]:
    """The choices of groups, with each further one of each group that has several in the place of its first.

    Args:
        lines: all overrides that were typed.
        sound: what was typed for groups, with the first choice of each.
    """
    for found in map(understood, lines):
        if found.kind != "choice" or found.key not in groups():
            continue
        start = f"{found.prefix}{found.key}="
        known = [each for each in found.values if each in choices(found.key)]
        for choice in known[1:MOST_COMPOSED]:
            yield [f"{start}{choice}" if each.startswith(start) else each for each in sound]


def several(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for several runs."""
    return any(each in FLAGS or each.lstrip("+") == "hydra.mode=MULTIRUN" for each in arguments)


def of_search(arguments: Sequence[str]) -> list[str]:
    """What a command line has to say of a search, which goes with several runs alone."""
    return [each for each in arguments if _ASKS.match(each)]


def alone(argument: str) -> str:
    """The message about something of a search, typed for one run."""
    return f"{argument}: a search makes several runs, which -m asks for (python -m src.run -m ...)"


def sweep_of(arguments: Sequence[str]) -> str | None:
    """The sweep that a command line names: its id or the beginning of it, or `new`; None where it names none.

    Raises:
        Faults: it is named twice, or by something that is neither.
    """
    given = [each.partition("=")[2].strip("'\"") for each in arguments if names_sweep(each)]
    faults = [
        f"sweep={each}: expected new, or the id of a sweep: the first 6 or more hexadecimal digits of it"
        for each in given
        if not re.fullmatch(r"new|[0-9a-f]{6,32}", each)
    ]
    if len(given) > 1:
        faults.append(f"sweep= is given twice: {', '.join(given)}")
    if faults:
        raise Faults(faults)
    return given[0] if given else None


def without_sweep(arguments: Sequence[str]) -> list[str]:
    """The arguments that Hydra is to see."""
    return [each for each in arguments if not names_sweep(each)]


def searched(config: DictConfig) -> "Search":
    """The search of a composed config, built.

    Raises:
        Faults: values that cannot be resolved, and what the constructors refuse.
    """
    from src.config.build import build
    from src.config.changes import leaves
    from src.config.check import check
    from src.config.compose import resolved
    from src.config.signature import Parameter, Signature

    node = resolved(config, "search")
    for key, example in (("monitor", "val/loss"), ("mode", "min")):
        if isinstance(node.get(key), Fault):
            origin = OmegaConf.to_container(config.search, resolve=False)[key]  # type: ignore[call-overload,index]
            node[key] = Fault(f"taken from {origin}, which is not there; give it, as search.{key}={example}")
    check({"search": node}, Signature({"search": Parameter(Any, required=True)}, open=False))
    node["space"] = dict(leaves("", node["space"]))  # a file may write model: {optim: {lr: ...}}
    search: Search = build(node)
    return search


def names_sweep(argument: str) -> bool:
    return argument.lstrip("+").startswith("sweep=")


def _plain(override: Override) -> Typed:
    line = str(override.input_line)
    mark = override.get_key_element()
    key = mark.lstrip("+~")
    found = Typed(key, mark.removesuffix(key), line, line.partition("=")[2])
    if not override.is_sweep_override():
        return found
    if found.prefix == "~":
        raise Fault(f"{line}: what is taken away has no values to choose from")
    value: Any = override.value()
    tags = frozenset(map(str, value.tags)) if isinstance(value, Sweep) else frozenset()
    if isinstance(value, IntervalSweep):
        written = re.search(r"interval\(([^()]*)\)", line)
        bounds = [float(each.partition("=")[2] or each) for each in written[1].split(",")] if written else []
        if isinstance(value.start, int) and any(each != int(each) for each in bounds):
            raise Fault(f"{line}: expected whole numbers as the bounds of whole numbers")
        return found._replace(kind="interval", low=value.start, high=value.end, tags=tags)
    texts = _listed(override, line)
    if not texts:
        raise Fault(f"{line}: no value lies in it, so that there would be no run")
    if twice := [each for each, count in Counter(texts).items() if count > 1]:
        raise Fault(f"{line}: {', '.join(twice[:3])} is listed twice, and would be run twice")
    if len(texts) > MOST_LISTED:
        raise Fault(f"{line}: expected at most {MOST_LISTED} values of one key; interval(START,STOP) lists none")
    if not isinstance(value, RangeSweep):
        return found._replace(kind="choice", values=texts, tags=tags)
    number = int if isinstance(value.range(), range) else float
    start, step = Decimal(repr(value.start)), Decimal(repr(value.step))  # as typed: 0.1 three times is 0.3
    low, high = sorted(number(each) for each in (start, start + (len(texts) - 1) * step))
    return found._replace(kind="range", values=texts, low=low, high=high, step=number(abs(step)), tags=tags)


def _listed(override: Override, line: str) -> tuple[str, ...]:
    """The listed values. A shuffled list has one order for good, since a sweep that goes on has to find it again."""
    value: Any = override.value()
    if isinstance(value, Glob):
        return tuple(value.filter(choices(override.key_or_group)))
    try:
        given = value.list if isinstance(value, ChoiceSweep) else value.range()
        texts = [Override._get_value_element_as_str(each) for each in islice(iter(given), MOST_LISTED + 1)]
    except (HydraException, ValueError) as error:  # of whole numbers, and of others
        raise Fault(f"{line}: the step of a range must not be 0") from error
    if value.shuffle:
        random.Random(line).shuffle(texts)
    return tuple(texts)
