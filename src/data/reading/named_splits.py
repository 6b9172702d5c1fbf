"""The splits of a source by the names that were given to them, or by others that are common."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.data_files import find_split_files
from src.data.reading.file_names import (
    SPLIT_ALIASES,
    SplitFiles,
    drop_sample_name,
    list_data_files,
    strip_data_suffixes,
)
from src.data.reading.json_shapes import split_parts


def check_named_splits(path: Path, layout: SplitFiles, names: Mapping[str, str]) -> None:
    """Raise UserError for a missing split that has a name of its own or a common other one."""
    if path.is_file() and not layout.other_parts:
        return
    for split, name in names.items():
        if split in layout.files:
            continue
        if name != split:
            there = (
                f"{path} holds {', '.join(layout.other_parts)}"
                if path.is_file()
                else f"no file and no folder in {path} is called so"
            )
            raise UserError(f"data.source.{split}={name}: {there}")
        for alias, found in _find_aliases(path, layout, split).items():
            raise UserError(
                f"data.source.{split}={name}: {path} has none, but {found}; "
                f"data.source.{split}={alias} takes it, data.source.{split}=null leaves it"
            )


def find_named_splits(
    path: Path, format: str, names: Mapping[str, str], labelled: bool, encodings: Sequence[str]
) -> SplitFiles:
    """The files of each split as `find_split_files` has them, and the splits in a lone JSON file.
    A split that is missing, and there under one other common name alone, has that name.
    """

    def find(names: Mapping[str, str]) -> SplitFiles:
        layout = find_split_files(path, format, names, labelled)
        is_lone = path.is_file() or [*layout.files] == ["train"]
        return split_parts(layout, names, encodings) if is_lone else layout

    others: dict[str, str] = {}
    try:
        layout = find(names)
    except UserError:
        others = _find_other_train(path, format, find, names)
        layout = find({**names, **others})
    for split, name in names.items() if layout.other_parts or not path.is_file() else ():
        if split not in layout.files and name == split:
            aliases = drop_sample_name(list(_find_aliases(path, layout, split)))
            others |= {split: aliases[0]} if len(aliases) == 1 else {}
    return find({**names, **others})._replace(other_names=tuple(others.items()))


def _find_other_train(
    path: Path,
    format: str,
    find: Callable[[Mapping[str, str]], SplitFiles],
    names: Mapping[str, str],
) -> dict[str, str]:
    """The other common name of train by which it is found; empty if there is none."""
    dated = list(_find_dated_names(path, format, "train"))
    others = [*SPLIT_ALIASES["train"], *(dated if len(dated) == 1 else ())]
    for alias in others if names.get("train") == "train" else ():
        try:
            if "train" in find({**names, "train": alias}).files:
                return {"train": alias}
        except UserError:
            continue
    return {}


def _find_aliases(path: Path, layout: SplitFiles, split: str) -> dict[str, str]:
    """What is there under other common names of a split, by the name to type."""
    aliases = SPLIT_ALIASES[split]
    if path.is_file():
        return {part: part for part in layout.other_parts if part.casefold() in aliases}
    by_alias = find_split_files(path, layout.format, {alias: alias for alias in aliases}, False)
    found = {alias: files[0].name for alias, files in by_alias.files.items()}
    return found or _find_dated_names(path, layout.format, split)


def _find_dated_names(path: Path, format: str, split: str) -> dict[str, str]:
    """The files whose names hold that of a split with a number before or behind it, as
    wnut17train.conll and test2016.tsv, by what is to be typed.
    """
    dated = re.compile(rf"(.*[\d._-])?{split}\d+([._-].*)?|.*\d{split}([\d._-].*)?", re.IGNORECASE)
    files = list_data_files(path, format) if path.is_dir() else []
    stems = {strip_data_suffixes(file): file.name for file in files}
    return {stem: name for stem, name in stems.items() if dated.fullmatch(stem)}
