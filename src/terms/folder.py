"""Whether a Hugging Face folder is whole, as far as its files' beginnings tell: in milliseconds, before a run opens."""

import json
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from src.terms.fault import Fault, suggestion

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model",
    "tokenizer.model",
)  # fmt: skip
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


def check_name(name_or_path: str, key: str) -> Path | None:
    """The folder that is meant; None where it is a name on the hub. Raises Fault where it is a folder and not there."""
    if not name_or_path.strip():
        raise Fault(f"{key} is empty: expected a folder, or a name on the hub")
    if name_or_path.startswith("run:"):
        raise Fault(f"{key}={name_or_path} stands for an earlier run, which is named by init_from=RUN_ID")
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise Fault(f"{key}={name_or_path}: a file; expected the folder that it lies in")
    if not (name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1):
        return None
    there = next(each for each in folder.absolute().parents if each.is_dir())
    step = folder.absolute().relative_to(there).parts[0]
    hint = suggestion(step, [each.name for each in there.iterdir() if each.is_dir()])
    raise Fault(
        f"{key}: there is no folder {name_or_path}" + (f"; in {there}: {hint}" if hint.startswith("did") else "")
    )


def check_folder(folder: Path, families: Collection[str], key: str) -> dict[str, Any]:
    """What config.json says. Raises Fault where the folder cannot hold an encoder of one of these families, whatever a
    library makes of it.
    """
    if not (folder / "config.json").is_file():
        raise Fault(f"{key}: {folder} holds no config.json, so it is no Hugging Face folder")
    config = _object(folder / "config.json", key)
    family = config.get("model_type")
    if family not in families:
        if "auto_map" in config:
            raise Fault(
                f"{folder} cannot be opened without running the Python code that it brings (auto_map), which this "
                f"program never does; name one of a family that transformers knows itself ({key})"
            )
        found = "names no model_type" if family is None else f"encoders of the family '{family}' are not supported"
        raise Fault(f"{folder / 'config.json'}: {found}; {suggestion(family, families)} ({key})")
    if (folder / "tokenizer.json").is_file():
        model = _object(folder / "tokenizer.json", key).get("model")
        if not isinstance(model, dict) or not model.get("vocab"):
            raise Fault(f"{folder / 'tokenizer.json'}: there is no vocabulary in it (model.vocab) ({key})")
    for file in _weights(folder, key):
        _check_weights(file, key)
    return config


def check_tokenizer(folder: Path, key: str) -> None:
    """Raise Fault where no tokenizer lies there: without a vocabulary transformers would make one of special tokens."""
    if not any((folder / each).is_file() for each in _VOCABULARIES):
        raise Fault(
            f"{key}: {folder} holds no tokenizer; expected tokenizer.json, or one of {', '.join(_VOCABULARIES[1:])}"
        )


def _object(file: Path, key: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise Fault(f"{file}: not valid JSON ({reason}) ({key})") from error
    if not isinstance(found, dict):
        raise Fault(f"{file}: a JSON {type(found).__name__}; expected an object ({key})")
    return found


def _weights(folder: Path, key: str) -> list[Path]:
    """The files of weights whose beginnings can be judged; of pickles none."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).is_file():
        parts = sorted({str(each) for each in _object(folder / _INDEX, key).get("weight_map", {}).values()})
        if absent := [each for each in parts if not (folder / each).is_file()]:
            raise Fault(f"{folder} lacks {absent[0]}, one of {len(parts)} files of weights that {_INDEX} names ({key})")
        return [folder / each for each in parts]
    if not any((folder / each).is_file() for each in _PICKLES):
        found = ", ".join(sorted(each.name for each in folder.iterdir()))
        raise Fault(f"{folder} holds no weights: expected {_WEIGHTS}; found {found} ({key})")
    return []


def _check_weights(file: Path, key: str) -> None:
    """The header of a safetensors file says where its last tensor ends: 8 bytes of length, JSON, tensors."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if start == b"version ":
            raise Fault(
                f"{file}: a pointer of Git LFS and not the weights themselves; fetch them: git lfs pull ({key})"
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        try:
            if not 2 <= length <= _LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(stream.read(length)) if 8 + length <= size else None
            ends = [each["data_offsets"][1] for name, each in (header or {}).items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Fault(f"{file}: no safetensors file ({size:,} bytes, begins with {start!r}) ({key})") from error
    expected = 8 + length + max(ends, default=0)
    if header is None or size < expected:
        more = "more than " if header is None else ""
        raise Fault(f"{file}: cut off at {size:,} bytes, there should be {more}{expected:,}; copy it again ({key})")
