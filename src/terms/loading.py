"""Opening what lies on the hub or in a folder: quickly, safely, and with a message that helps where that fails."""

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from src.terms.fault import Fault

T = TypeVar("T")
PATIENCE_SECONDS = 5


def from_hub_or_folder(load: Callable[..., T], name_or_path: str, *, key: str, **arguments: Any) -> T:
    """`load(name_or_path)`, from the folder where it is one and else from the hub or its cache.

    Code that lies there (`auto_map` in config.json) is never run: what cannot be opened without it is refused, and
    where transformers knows the family itself, its own code is taken. Weights in pickles are read as tensors alone.

    Args:
        key: the config key that names it, for the message.

    Raises:
        Fault: the folder holds nothing usable, or the hub cannot be reached; it names both ways out.
    """
    folder = Path(name_or_path).expanduser()
    local = folder.is_dir()
    place = str(folder) if local else name_or_path
    offline = local or not _reachable()
    try:
        return load(place, local_files_only=offline, trust_remote_code=False, **arguments)
    except MemoryError:
        raise
    except Exception as error:  # over a broken file the libraries raise whatever they like
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise Fault(
                f"{place} cannot be opened without running the Python code that it brings (auto_map), which this "
                f"program never does; name one of a family that transformers knows itself ({key})"
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            raise Fault(
                f"{place}: its weights are a pickle that holds more than tensors, or no pickle at all; it could run "
                f"code, so it is refused; convert it to safetensors where it comes from ({key})"
            ) from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if local:
            raise Fault(f"{folder} could not be opened as a Hugging Face folder: {reason} ({key})") from error
        if "connect to" in reason:  # whatever its client says of it
            reason = "it does not answer, and the local cache does not have it"
        raise Fault(
            f"'{name_or_path}' is no folder here, and the hub could not provide it: {reason}\n"
            "Two ways out: connect to the hub (or set HF_HOME to a cache that has it), or name a local folder that "
            f"holds config.json, weights and tokenizer: {key}=FOLDER"
        ) from error


@functools.cache
def _reachable() -> bool:
    """Whether the hub answers at all. Asked once: its client would try six times, for half a minute, at each file."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_SECONDS)
    except Exception:  # HF_HUB_OFFLINE is set, or an error of whichever HTTP client the hub's library has today
        return False
    return True
