"""Which files of a folder belong to which split, and how they are to be read. Looks at names only, never into files."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from src.data.decoding import File
from src.terms.fault import Fault, suggestion

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
FORMATS = "csv, tsv, jsonl, parquet, text, folders, label_first"
UNLABELLED = "unsup"  # what aclImdb calls the folder of its reviews without a label: a folder, but not a class
_NOT_DATA = {"readme", "license", "licence", "sha256sums", "md5sums"}


class Layout(NamedTuple):
    """The files of each split in reading order, and the one format all of them have."""

    format: str
    files: dict[str, tuple[File, ...]]


def lay_out(path: Path, format: str, names: Mapping[str, str], labelled: bool) -> Layout:
    """The layout of a file or folder; `names` says what our splits are called there.

    A lone file is "train". In a folder a split is a sub-folder of its name, or the files that carry the name:
    "train.csv", "train-00000-of-00001.parquet", "stsa.binary.train"; where one is called exactly so, the others of the
    split are left alone. The files stand in the folder itself or in one sub-folder. Where no file carries the name of a
    split, a single file is "train", and so are all files of plain text. Sub-folders of text files are classes
    (`folders`) where they stand inside a split's folder, or where there are two or more and no other data.
    """
    if path.is_file():
        found = _format(path) if format == "auto" else format
        if found is None:
            raise Fault(
                f"data.source.path={path}: what kind of file is this? data.source.format=NAME, one of {FORMATS}"
            )
        if found == "folders":
            raise Fault(f"data.source.format=folders: {path} is a file; expected a folder of one folder per class")
        return Layout(found, {"train": (File(path, path.name),)} if "train" in names else {})
    if format == "folders" or (format == "auto" and _has_classes(path, names)):
        return Layout("folders", _classes(path, names, labelled))
    return _by_name(path, format, names)


def _format(path: Path) -> str | None:
    """What the name's ending says, with or without `.gz`; None where it says nothing."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix != ".gz"]
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def _stem(path: Path) -> str:
    """The name without its data endings: "train" of "train.csv.gz", but all of "stsa.binary.train"."""
    name = path.name.removesuffix(".gz")
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))


def _texts(folder: Path) -> Iterable[Path]:
    return (each for each in folder.iterdir() if each.is_file() and _format(each) == "text")


def _has_classes(folder: Path, names: Mapping[str, str]) -> bool:
    parts = [folder / name for name in names.values() if (folder / name).is_dir()]
    if parts:
        return any(any(_texts(each)) for part in parts for each in _folders(part))
    return not _data(folder, "auto") and sum(any(_texts(each)) for each in _folders(folder)) > 1


def _classes(folder: Path, names: Mapping[str, str], labelled: bool) -> dict[str, tuple[File, ...]]:
    """One folder per class, inside the splits' folders, or right here where there are none: then all is "train"."""
    parts = {split: folder / name for split, name in names.items() if (folder / name).is_dir()}
    if not parts and "train" in names:
        parts = {"train": folder}
    files = {
        split: tuple(
            File(path, str(path.relative_to(folder)), each.name if labelled else None)
            for each in _folders(part)
            if not (labelled and each.name == UNLABELLED)
            for path in sorted(_texts(each))
        )
        for split, part in parts.items()
    }
    if parts and not any(files.values()):
        raise Fault(
            f"data.source.path={folder}: no folders of .txt files here; data.source.format=folders expects some"
        )
    return {split: each for split, each in files.items() if each}


def _data(folder: Path, format: str) -> list[Path]:
    """The readable files: by their ending; for a named format any file, where none has an ending of that format."""
    every = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    if format == "auto":
        return [each for each in every if _format(each)]
    return [each for each in every if _format(each) == format] or [
        each for each in every if each.name.split(".")[0].lower() not in _NOT_DATA
    ]


def _by_name(folder: Path, format: str, names: Mapping[str, str]) -> Layout:
    inner = [(each, _data(each, format)) for each in _folders(folder)]
    pools = [(folder, _data(folder, format)), *((each, files) for each, files in inner if files)]
    if not any(files for _, files in pools):
        raise Fault(_unreadable(folder, format))
    parts: dict[str, list[Path]] = {}
    for split, name in names.items():
        own = _data(folder / name, format) if (folder / name).is_dir() else []
        if found := own or _carrying(folder, name, pools):
            parts[split] = found
    if not parts and "train" in names:
        parts["train"] = _nameless(folder, format, pools)
    _refuse_doubles(parts)
    kinds = sorted({_format(each) or "" if format == "auto" else format for found in parts.values() for each in found})
    if len(kinds) > 1:
        raise Fault(
            f"data.source.path={folder}: files of several formats; data.source.format=NAME, one of {', '.join(kinds)}"
        )
    files = {
        split: tuple(File(each, str(each.relative_to(folder))) for each in found) for split, found in parts.items()
    }
    return Layout(kinds[0] if kinds else format, files)


def _carrying(folder: Path, name: str, pools: list[tuple[Path, list[Path]]]) -> list[Path]:
    """The files that carry a split's name: those of the folder itself, else those of its only sub-folder with some."""
    part = re.compile(rf"(^|[._-]){re.escape(name)}([._-]|$)")
    matching = [(where, [each for each in files if part.search(_stem(each))]) for where, files in pools]
    matching = [(where, files) for where, files in matching if files]
    if not matching:
        return []
    if matching[0][0] != folder and len(matching) > 1:
        rivals = ", ".join(str(where) for where, _ in matching)
        raise Fault(f"data.source.path={folder}: '{name}' stands in several folders; name one of them: {rivals}")
    files = matching[0][1]
    return [each for each in files if _stem(each) == name] or files


def _nameless(folder: Path, format: str, pools: list[tuple[Path, list[Path]]]) -> list[Path]:
    filled = [files for _, files in pools if files]
    text = all((_format(each) if format == "auto" else format) == "text" for each in filled[0])
    if len(filled) == 1 and (len(filled[0]) == 1 or text):
        return filled[0]
    found = [str(each.relative_to(folder)) for files in filled for each in files]
    raise Fault(
        f"data.source.path={folder}: no file carries the name of a split; found {_some(found)}; "
        "say which is which: data.source.train=NAME, or give one file: data.source.path=FILE"
    )


def _refuse_doubles(parts: Mapping[str, list[Path]]) -> None:
    """No row may be read twice: no file in two splits, no file beside its own packed copy."""
    seen: dict[str, str] = {}
    for split, found in parts.items():
        for path in found:
            plain = str(path).removesuffix(".gz")
            if plain in seen:
                other = f"in both {seen[plain]} and {split}" if seen[plain] != split else "packed and unpacked"
                raise Fault(f"data.source.path: {plain} is there {other}; its rows would be read twice")
            seen[plain] = split


def _unreadable(folder: Path, format: str) -> str:
    found = [each.name + "/" * each.is_dir() for each in sorted(folder.iterdir())]
    if not found:
        return f"data.source.path={folder}: the folder is empty"
    expected = f"expected {', '.join(SUFFIXES)}, each also with .gz" if format == "auto" else f"expected {format}"
    return (
        f"data.source.path={folder}: no readable file; {expected}; found {_some(found)}; "
        f"where names end otherwise: data.source.format=NAME, one of {FORMATS}"
    )


def missing(path: Path) -> Fault:
    """The fault of a path that is not there, with the nearest name in the deepest folder that is."""
    there = next(each for each in path.absolute().parents if each.is_dir())
    step = path.absolute().relative_to(there).parts[0]
    names = [each.name for each in there.iterdir()]
    hint = suggestion(step, names)
    ending = hint if hint.startswith("did") else f"there: {_some(sorted(names))}" if names else "the folder is empty"
    return Fault(f"data.source.path={path}: there is no '{step}' in {there}; {ending}")


def _some(names: list[str]) -> str:
    """Names for a message, ten at most."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
