"""Tells what a folder is that was named as a Hugging Face folder and is none: an adapter, or a
folder around such folders.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from src.core.user_errors import UserError

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
# How deep such a folder may lie: FOLDER/snapshots/REVISION in the cache of the hub.
_DEPTH = 2


def explain_missing_config(folder: Path, key: str) -> UserError:
    """The error of a folder without config.json.

    Args:
        key: the config key that names it.
    """
    problem = f"{key}: {folder} holds no config.json, so it is no Hugging Face folder"
    if (folder / _ADAPTER).is_file():
        return _explain_adapter(folder, key)
    inner = sorted(_find_folders_with(_CONFIG, folder, _DEPTH), key=_sort_key)
    if not inner and (adapters := sorted(_find_folders_with(_ADAPTER, folder, 1), key=_sort_key)):
        return _explain_adapter(adapters[-1], key)
    if not inner:
        return UserError(problem)
    others = f", one of {len(inner)} in it," if len(inner) > 1 else ""
    return UserError(problem, hint=f"{key}={inner[-1]}{others} does")


def _explain_adapter(folder: Path, key: str) -> UserError:
    """The error of a folder as the library PEFT writes it: changes of another encoder's weights."""
    try:
        base = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
        name = base["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        name = None
    of, hint = "another encoder", ""
    if isinstance(name, str) and name.strip():
        of, hint = name, f", or give the encoder alone: {key}={name}"
    return UserError(
        f"{key}: {folder} holds an adapter of {of} ({_ADAPTER}) and no encoder",
        hint="merge the two first, with merge_and_unload() and save_pretrained(FOLDER) of "
        f"peft{hint}",
    )


def _find_folders_with(name: str, folder: Path, depth: int) -> Iterator[Path]:
    """The folders below one that hold a file of this name, down to a depth."""
    try:
        children = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return
    for child in children:
        # pooling layers of sentence-transformers have a config.json too
        if (child / name).is_file() and (name != _CONFIG or _names_family(child / name)):
            yield child
        elif depth > 1:
            yield from _find_folders_with(name, child, depth - 1)


def _names_family(config: Path) -> bool:
    try:
        return "model_type" in json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, TypeError, OSError):
        return False


def _sort_key(folder: Path) -> tuple[int, str]:
    """The newest checkpoint last: checkpoint-12 after checkpoint-6."""
    number = re.search(r"\d+$", folder.name)
    is_step = folder.name.startswith("checkpoint") and number is not None
    return int(number[0]) if is_step and number else -1, str(folder)
