"""A run's name: what was run and what was changed, in as few words as tell it apart. Never random."""

import re
from collections import Counter
from collections.abc import Sequence

MOST_CHARACTERS = 100  # what the UI's list of runs shows without opening one


def run_name(experiment: str, overrides: Sequence[str]) -> str:
    """`imdb lr=3e-05 seed=2` for experiment `imdb` and overrides `model.optim.lr=3e-05 seed=2`."""
    changes = [change for override in overrides if (change := _change(override))]
    keys = _short_keys([key for key, _ in changes])
    words = [experiment or "run"] + [f"{keys[key]}={value}" if value else f"no-{keys[key]}" for key, value in changes]
    name = words[0][:MOST_CHARACTERS]
    for place, word in enumerate(words[1:], start=1):
        if len(name) + 1 + len(word) > MOST_CHARACTERS - 4:
            return f"{name} +{len(words) - place}"  # the count of changes that found no room
        name = f"{name} {word}"
    return name


def _change(override: str) -> tuple[str, str] | None:
    """Key and value of an override; None for one that is the name already, or that changes nothing in the result."""
    key, _, value = override.partition("=")
    removed = key.startswith("~")
    key = key.lstrip("+~").partition("@")[0]
    if key == "experiment" or key.split(".")[0] in ("hydra", "tracking"):
        return None
    if value.count("/") > 1:
        value = f"…/{value.rstrip('/').rpartition('/')[2]}"  # of a path, what tells it from its neighbours
    return key, "" if removed else re.sub(r"\s+", "", value.strip("'\"")) or "''"


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key by its last part, or by as many last parts as tell it from the others."""
    distinct = set(keys)
    short: dict[str, str] = {}
    for depth in range(1, 1 + max((key.count(".") + 1 for key in keys), default=0)):
        tails = {key: ".".join(key.split(".")[-depth:]) for key in distinct}
        seen = Counter(tails.values())
        short |= {key: tail for key, tail in tails.items() if seen[tail] == 1 and key not in short}
    return {key: short.get(key, key) for key in distinct}
