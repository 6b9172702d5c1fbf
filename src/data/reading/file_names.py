"""What the names of files say: formats, data and what lies beside them."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from src.data.reading.decoding import InputFile
from src.data.reading.other_kinds import name_kind
from src.data.reading.packed_files import strip_packed_suffix

FORMAT_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".txt": "text",
    # of WikiText
    ".tokens": "text",
    ".raw": "text",
    ".conll": "conll",
    ".conllu": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
PATH_KEY = "data.source.path"
FORMAT_NAMES = (
    "csv, tsv, jsonl, parquet, xlsx, text, folders, class_files, label_first, parallel, conll"
)
# Other common names of splits.
SPLIT_ALIASES = {
    # of CoNLL-2003: eng.testa, eng.testb; of SemEval: trial
    "validation": ("dev", "valid", "val", "devel", "development", "validate", "testa", "trial"),
    "train": ("training",),
    "test": ("testing", "testb"),
}
# what is a sample of train where another of them stands beside it
_SAMPLE_NAME = "trial"
_SPLIT_NAMES_HINT = (
    " (data.source.validation=NAME and data.source.test=NAME say what splits are called)"
)
# Of files beside data; of more it is said that there are some.
_SHOWN_ENDINGS = 4
_NON_DATA_NAMES = {"_SUCCESS", "_metadata", "_common_metadata"}
_NON_DATA_STEMS = {"readme", "license", "licence", "sha256sums", "md5sums"}


class SplitFiles(NamedTuple):
    """The files of each split in reading order, and the format that all of them have.

    Args:
        other_parts: what else a lone file holds that could be a split, by its name there.
        passed_over: what else lies there and is not read, in words.
        other_kinds: files beside those that are read, which are of no format that could be.
        other_names: the splits that are there under another common name, with that name.
    """

    format: str
    files: dict[str, tuple[InputFile, ...]]
    other_parts: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    other_names: tuple[tuple[str, str], ...] = ()
    other_kinds: tuple[str, ...] = ()

    def describe_unread(self) -> list[str]:
        """What lies there and is not read, or as something that it is not called, in sentences."""
        lines = [
            describe_other_name(split, name, self.files[split][0].name)
            for split, name in self.other_names
        ]
        if self.passed_over:
            named = "" if self.format in ("folders", "class_files") else _SPLIT_NAMES_HINT
            lines.append(f"not read: {abbreviate_names(list(self.passed_over))}{named}")
        lines += _describe_other_kinds(self.other_kinds)
        if self.other_parts:
            lines.append(f"not read: {abbreviate_names(list(self.other_parts))}")
        return lines


def _describe_other_kinds(names: Sequence[str]) -> list[str]:
    """That files are not read, in a sentence for those of every ending."""
    by_ending: dict[str, list[str]] = {}
    for name in names:
        by_ending.setdefault(Path(name).suffix.lower(), []).append(name)
    lines = []
    for ending, alike in list(by_ending.items())[:_SHOWN_ENDINGS]:
        shown = ", ".join(alike[:3]) + f", ... ({len(alike):,})" * (len(alike) > 3)
        kind = name_kind(ending)
        lines.append(f"not read: {shown}" + (f", {kind}" if kind else ""))
    if others := list(by_ending)[_SHOWN_ENDINGS:]:
        lines.append(f"not read: files with {len(others)} other endings, such as {others[0]!r}")
    return lines


def add_other_names(names: Mapping[str, str], there: Collection[str]) -> dict[str, str]:
    """The source's names of splits, of which those that are not there under our own name have their
    other common name, if just one of these is.

    Args:
        there: what the source has.
    """
    by_name = {name.casefold(): name for name in there}
    found = dict(names)
    for split, name in names.items():
        others = drop_sample_name(
            [by_name[alias] for alias in SPLIT_ALIASES[split] if alias in by_name]
        )
        if name == split and split not in by_name and len(others) == 1:
            found[split] = others[0]
    return found


def drop_sample_name(aliases: Sequence[str]) -> list[str]:
    """Other names under which a split is there, without trial if it is there under another one."""
    others = [alias for alias in aliases if alias.casefold() != _SAMPLE_NAME]
    return others or list(aliases)


def describe_other_name(split: str, name: str, where: str) -> str:
    """That a split is there under another common name, in a sentence."""
    leave = "" if split == "train" else "; null leaves it out"
    return f"note: {where} is {split}, by data.source.{split}={name}{leave}"


def infer_format(path: Path) -> str | None:
    """The format that a file's suffix names, packed or not; None for an unknown suffix."""
    return FORMAT_BY_SUFFIX.get(Path(strip_packed_suffix(path.name)).suffix.lower())


def strip_data_suffixes(path: Path) -> str:
    """The name without data suffixes: "train" of "train.csv.gz"; all of "stsa.binary.train"."""
    name = strip_packed_suffix(path.name)
    return (
        name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in FORMAT_BY_SUFFIX else name
    )


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones."""
    return sorted(
        child
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith((".", "__"))
    )


def find_split_folder(folder: Path, name: str) -> Path | None:
    """The sub-folder of a split, in upper or lower case; else the only one whose name ends so and
    begins as that of another split does: news-train beside news-test. None if there is none.
    """
    if (folder / name).is_dir():
        return folder / name
    folded = name.casefold()
    inner = {one.name.casefold(): one for one in list_folders(folder)}
    if folded in inner:
        return inner[folded]
    others = {*SPLIT_ALIASES, *chain(*SPLIT_ALIASES.values())} - {folded}
    found = []
    for own, path in inner.items():
        begin = own.removesuffix(folded)
        if begin == "split=":
            # a partition, as Hive and Spark name it
            return path
        is_part = begin != own and begin[-1:] in ("-", "_", ".")
        if is_part and any(f"{begin}{other}" in inner for other in others):
            found.append(path)
    return found[0] if len(found) == 1 else None


def list_data_files(folder: Path, format: str) -> list[Path]:
    """The files with a known suffix. For a named format, if none has its suffix: all files."""
    every = sorted(
        file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")
    )
    if format == "auto":
        return [
            file
            for file in every
            if (kind := infer_format(file)) and not (kind == "text" and is_readme(file))
        ]
    return [file for file in every if infer_format(file) == format] or [
        file for file in every if not is_readme(file)
    ]


def is_readme(file: Path) -> bool:
    """Whether a file's name says that it is about the data and no part of them, such as Spark's
    _SUCCESS.
    """
    return file.name in _NON_DATA_NAMES or not _NON_DATA_STEMS.isdisjoint(
        re.split("[^a-z0-9]+", file.name.lower())
    )


def abbreviate_names(names: list[str]) -> str:
    """A list of names for a message, ten at most."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
