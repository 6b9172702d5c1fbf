"""A config as MLflow parameters, under the dotted keys that a person would type. Nothing is ever cut short."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from src.tracking.redaction import hidden_value

MOST_PARAM_CHARACTERS, MOST_TAG_CHARACTERS = 6000, 8000  # what MLflow takes


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys; a list stays one value, written as Hydra reads it: `[1,2]`."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = typed(value)
    return flat


def typed(value: Any) -> str:
    """A value as one would type it in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{typed(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(typed, value)) + "]"
    return str(value)


def fit_params(params: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters that MLflow takes, and the whole text of those too long for it by the artifact that holds them."""
    shown = {key: hidden_value(key, value) for key, value in flatten(params).items()}
    return _fit(shown, MOST_PARAM_CHARACTERS, "params")


def fit_tags(tags: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The same for tags."""
    shown = {key: hidden_value(key, value) for key, value in tags.items()}
    return _fit(shown, MOST_TAG_CHARACTERS, "tags")


def _fit(texts: Mapping[str, str], most: int, folder: str) -> tuple[dict[str, str], dict[str, str]]:
    short: dict[str, str] = {}
    files: dict[str, str] = {}
    for key, text in texts.items():
        name = key_for_store(key)
        if len(text) > most:
            file = f"{folder}/{name.replace('/', '.')}.txt"
            files[file] = text
            text = f"({len(text)} characters: artifact {file})"
        short[name] = text
    return short, files


@functools.lru_cache(maxsize=10_000)  # asked for each metric of each step
def key_for_store(key: str) -> str:
    """`key` in the characters that MLflow takes in names of parameters and metrics."""
    return re.sub(r"[^\w\-. :/]", "_", key, flags=re.ASCII)
