"""Names, parameters, tags, notes, tables and data sets in the forms that MLflow and its UI take.

Parameters have the dotted keys that a person would type. Nothing is ever cut off: a value that is
too long for MLflow becomes an artifact. The name of a run says what was run and what was changed.
"""

import functools
import html
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from src.core.formatting import flatten_config, shorten_keys
from src.core.redaction import redact_value
from src.core.user_errors import UserError

# limits of MLflow
MAX_PARAM_CHARACTERS, MAX_TAG_CHARACTERS = 6000, 8000
MAX_KEY_CHARACTERS = 250
_MAX_DIGEST_CHARACTERS = 36
# what the UI's list of runs shows of a name
MAX_NAME_CHARACTERS = 100


def check_key_lengths(params: Mapping[str, Any]) -> None:
    """Raise UserError for a key of a config that is too long to be a parameter's name."""
    for key in flatten_config(params):
        if (length := len(to_mlflow_key(key))) > MAX_KEY_CHARACTERS:
            raise UserError(
                f"this key has {length} characters, and a run's parameters have names of at most "
                f"{MAX_KEY_CHARACTERS}",
                key=key,
                hint="shorten its last part",
            )


def split_long_params(params: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Split a config into parameters for MLflow and texts that are too long for it.

    Returns:
        The parameters, in which a long one refers to its artifact; and the whole text by artifact.
    """
    return _split_long_values(flatten_config(params), MAX_PARAM_CHARACTERS, "params")


def split_long_tags(tags: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split tags as `split_long_params` does parameters."""
    return _split_long_values(tags, MAX_TAG_CHARACTERS, "tags")


def _split_long_values(
    texts: Mapping[str, str], max_characters: int, folder: str
) -> tuple[dict[str, str], dict[str, str]]:
    short: dict[str, str] = {}
    files: dict[str, str] = {}
    names = _name_apart(texts)
    for key, text in texts.items():
        name, text = names[key], escape_unstorable(redact_value(key, text))
        if len(text) > max_characters:
            file = f"{folder}/{name.replace('/', '.')}.txt"
            files[file] = text
            text = f"({len(text)} characters: artifact {file})"
        short[name] = text
    return short, files


def _name_apart(keys: Iterable[str]) -> dict[str, str]:
    """Names for keys in MLflow, another one for each: of `C++` and `C##`, both of which would be
    `C__`, the second is `C__ 2`.
    """
    names = {key: key for key in keys if to_mlflow_key(key) == key}
    taken = set(names)
    for key in keys:
        if key not in names:
            name = wanted = to_mlflow_key(key)
            number = 1
            while name in taken:
                number += 1
                name = f"{wanted} {number}"
            names[key] = name
            taken.add(name)
    return names


def escape_unstorable(text: str) -> str:
    r"""Write what not every store takes as an escape: NUL as `\x00`, half a character as `\udce9`.

    The latter come from names of files that are not UTF-8.
    """
    text = text.replace("\0", r"\x00")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# cached, since it is called for each metric of each step
@functools.lru_cache(maxsize=10_000)
def to_mlflow_key(key: str) -> str:
    """Replace the characters that MLflow does not take in names of parameters and metrics; letters
    of all scripts it takes.
    """
    return re.sub(r"[^\w\-. :/]", "_", key)


def build_run_name(experiment: str, overrides: Sequence[str]) -> str:
    """Return a name such as `imdb lr=3e-05 seed=2` for the overrides `model.optim.lr=3e-05 seed=2`.

    Changes that do not fit are counted at its end: `+3`.
    """
    changes = [change for override in overrides if (change := _parse_change(override))]
    keys = shorten_keys([key for key, _ in changes])
    words = [experiment or "run"] + [
        f"{keys[key]}={value}" if value else f"no-{keys[key]}" for key, value in changes
    ]
    name = words[0][:MAX_NAME_CHARACTERS]
    for index, word in enumerate(words[1:], start=1):
        if len(name) + 1 + len(word) > MAX_NAME_CHARACTERS - 4:
            return f"{name} +{len(words) - index}"
        name = f"{name} {word}"
    return name


def _parse_change(override: str) -> tuple[str, str] | None:
    """Return key and value of an override; None if it is the name already or does not change the
    result of a run.
    """
    key, _, value = override.partition("=")
    removed = key.startswith("~")
    key = key.lstrip("+~").partition("@")[0]
    if key in ("experiment", "name") or key.split(".")[0] in ("hydra", "tracking"):
        return None
    if value.count("/") > 1:
        # the end of a path tells it from others
        value = f"…/{value.rstrip('/').rpartition('/')[2]}"
    # blanks behind the signs of lists and maps say nothing
    short = re.sub(r"([\[{,:])\s+", r"\1", " ".join(value.strip("'\"").split()))
    return key, "" if removed else short or "''"


def restore_infinity(value: float) -> float:
    """Return the infinity for which MLflow has stored the largest number there is."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def measure_seconds(status: str, started: int, ended: int | None) -> float | None:
    """The seconds between a run's start and end, in milliseconds; None while it runs, and where a
    clock that was set back has it end before its start.
    """
    if ended is None or status == "RUNNING" or ended < started:
        return None
    return (ended - started) / 1000


def quote_for_filter(text: str, name: str) -> str:
    """A text as MLflow's filters take it, which know no escapes. Raises UserError for one that
    holds both kinds of quotation marks; `name` says what it is.
    """
    if "'" in text and '"' in text:
        raise UserError(f"{text!r}: both kinds of quotation marks cannot be searched for ({name})")
    return f'"{text}"' if "'" in text else f"'{text}'"


def table_to_json(columns: Mapping[str, Sequence[Any]]) -> str:
    """Return columns of equal length as MLflow's table file (pandas' "split" orientation)."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of a table differ in length: {lengths}")
    names = [name.replace(".", "/") for name in columns]
    rows = zip(*columns.values(), strict=True)
    return json.dumps(
        {"columns": names, "data": [[_to_json_value(value) for value in row] for row in rows]}
    )


def build_dataset_entry(
    name: str,
    digest: str,
    rows: int,
    source: str,
    schema: Mapping[str, str],
    profile: Mapping[str, Any],
) -> dict[str, str]:
    """Return the arguments of MLflow's `Dataset` entity; the profile holds the whole digest."""
    source_type, address = _parse_dataset_source(escape_unstorable(source))
    columns = [{"name": name, "type": kind, "required": True} for name, kind in schema.items()]
    return {
        "name": escape_unstorable(name),
        "digest": digest[:_MAX_DIGEST_CHARACTERS],
        "source_type": source_type,
        "source": json.dumps(address),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps({"num_rows": rows, "digest": digest, **profile}, default=str),
    }


def escape_markdown(text: str) -> str:
    """Return a line of Markdown that shows a text as it is, without mark-up or HTML of its own."""
    return re.sub(r"([\\`*\[\]!|#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def format_code_block(text: str) -> str:
    """Return a Markdown block of code, fenced by more backticks than the text holds in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _parse_dataset_source(source: str) -> tuple[str, dict[str, str]]:
    if source.startswith(("http://", "https://")):
        return "http", {"url": source}
    if source.startswith("hf://"):
        return "hf", {"path": source.removeprefix("hf://")}
    return "local", {"uri": source}


def _to_json_value(value: Any) -> Any:
    """Convert a NumPy or torch number to Python's; a float that is not finite becomes None."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_local_path(uri: str) -> Path | None:
    """Return the folder that an artifact URI means on this machine; None if it is elsewhere."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(uri) if parsed.scheme == "" else None
