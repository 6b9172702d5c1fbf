"""What a multirun would make of one override: its values, and what Hydra would stumble over halfway."""

from collections.abc import Iterator, Sequence
from itertools import islice

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

MOST_VALUES = 1000  # of one key, that are looked at before the first run


def refusal(override: Override) -> str | None:
    """Why no run could be made of an override with several values; None where some can."""
    text = override.input_line
    if override.is_interval_sweep():
        return f"{text}: an interval has no end of values; list some, as KEY=a,b, or take range(START,STOP,STEP)"
    if not _listed(override):
        return None
    try:
        return None if values(override) else f"{text}: no value lies in it, so that there would be no run"
    except (HydraException, ValueError):  # of whole numbers, and of others
        return f"{text}: the step of a range must not be 0"


def values(override: Override) -> list[str]:
    """The values, each as it would be typed alone; none of a glob, which only Hydra can resolve."""
    return list(islice(override.sweep_string_iterator(), MOST_VALUES)) if _listed(override) else []


def of_group(override: Override, options: Sequence[str]) -> list[str]:
    """The choices that an override of a group names."""
    value = override.value()
    if isinstance(value, Glob):
        return value.filter(list(options)) or [str(override.input_line).partition("=")[2]]
    given: list[object] = [*value] if isinstance(value, list) else [*values(override)] or [value]
    return ["null" if each is None else str(each) for each in given]


def variants(overrides: Sequence[Override], config: DictConfig) -> Iterator[DictConfig]:
    """The config with each further value of each key that has several, one at a time."""
    for override in overrides:
        key = override.key_or_group
        for text in values(override)[1:] if OmegaConf.select(config, key) is not None else ():
            variant = config.copy()
            OmegaConf.update(variant, key, OverridesParser.create().parse_override(f"{key}={text}").value())
            yield variant


def _listed(override: Override) -> bool:
    return override.is_discrete_sweep() and override.value_type is not ValueType.GLOB_CHOICE_SWEEP
