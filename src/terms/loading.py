"""Opening what lies on the hub or in a folder: quickly, safely, and with a message that helps where it cannot be had."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from src.terms.fault import Fault

T = TypeVar("T")


def from_hub_or_folder(load: Callable[..., T], name_or_path: str, *, key: str, **arguments: Any) -> T:
    """`load(name_or_path)`, from the folder where it is one and else from the hub or its cache.

    Args:
        key: the config key that names it, for the message.

    Raises:
        Fault: the folder holds nothing usable, or the hub cannot be reached; it names both ways out.
    """
    folder = Path(name_or_path).expanduser()
    local = folder.is_dir()
    place = str(folder) if local else name_or_path
    # One try, few seconds: a hub that does not answer must not hold a person up for minutes.
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    try:
        return load(place, local_files_only=local, trust_remote_code=False, **arguments)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if local:
            raise Fault(f"{folder} could not be opened as a Hugging Face folder: {reason} ({key})") from error
        raise Fault(
            f"'{name_or_path}' is no folder here, and the hub could not provide it: {reason}\n"
            "Two ways out: connect to the hub (or set HF_HOME to a cache that has it), or name a local folder that "
            f"holds config.json, weights and tokenizer: {key}=FOLDER"
        ) from error
