"""Which files of a folder belong to which split, and in which format; decided by names alone."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.archives import is_archive
from src.data.reading.class_files import (
    find_class_files,
    find_class_folders,
    find_deeper_class_folders,
    has_class_folders,
)
from src.data.reading.data_path import find_pattern_folder, is_pattern, list_matches
from src.data.reading.decoding import InputFile
from src.data.reading.file_names import (
    FORMAT_NAMES,
    PATH_KEY,
    SPLIT_ALIASES,
    SplitFiles,
    abbreviate_names,
    find_split_folder,
    infer_format,
    is_readme,
    list_data_files,
    list_folders,
    strip_data_suffixes,
)
from src.data.reading.foreign_folders import find_folder_error, find_saved_set_error
from src.data.reading.known_layouts import detect_layout
from src.data.reading.no_data_errors import find_no_data_error
from src.data.reading.other_kinds import find_kind_error
from src.data.reading.packed_files import strip_packed_suffix
from src.data.reading.parallel_files import find_parallel_files
from src.data.reading.parted_tables import check_unnamed_tables

# Parts of one table, as Spark, Hadoop and others name them.
_PART_NAME = re.compile(r"(part|shard|chunk)[-_.]?([rm][-_])?\d+", re.IGNORECASE)


def find_split_files(
    path: Path, format: str, names: Mapping[str, str], labelled: bool
) -> SplitFiles:
    """Find the files of each split at a path.

    A lone file is "train". In a folder a split is a sub-folder of its name, or the files that carry
    the name: "train.csv", "train-00000-of-00001.parquet", "stsa.binary.train"; where one is called
    exactly so, capitals aside, the others of the split are left alone. The files stand in the
    folder itself or in one sub-folder. Where no file carries the name of a split, a single file is
    "train", and so are all files of plain text. `src/data/reading/class_files.py` finds the
    folders or files of classes.

    Args:
        format: a name of `FORMAT_NAMES`, or "auto" to tell it from the files' suffixes.
        names: the source's name of each split, by ours.
        labelled: whether folders are read as labels; "unsup" is then left out.

    Raises:
        UserError: nothing to read, several formats, or names that fit in more than one way.
    """
    if is_pattern(path) and format not in ("folders", "class_files", "parallel"):
        return _find_matching_files(path, format, names)
    if path.is_file():
        if (error := find_kind_error(path, PATH_KEY, is_typed=format != "auto")) is not None:
            raise error
        format_name = infer_format(path) if format == "auto" else format
        if format_name is None:
            raise _unknown_format_error(path)
        if format_name in ("folders", "class_files", "parallel"):
            what = "folder" if format_name == "folders" else "file"
            raise UserError(
                f"data.source.format={format_name}: {path} is a file; expected a folder of one "
                f"{what} per class"
            )
        return SplitFiles(
            format_name, {"train": (InputFile(path, path.name),)} if "train" in names else {}
        )
    if format == "class_files":
        return find_class_files(path, names, labelled)
    if format == "folders" or (format == "auto" and has_class_folders(path, names)):
        return find_class_folders(path, names, labelled)
    if format in ("auto", "parallel"):
        sure = format == "parallel"
        layout = find_parallel_files(path, names, labelled, sure=sure)
        if layout is not None:
            return layout
        if sure and "train" not in names:
            return SplitFiles(format, {})
        if sure:
            raise UserError(
                "no file of texts that has a file of labels beside it",
                key=PATH_KEY,
                value=path,
                hint="data.source.format=parallel expects names such as train.text, train.labels",
            )
    return _find_files_by_name(path, format, names, labelled)


def _unknown_format_error(path: Path) -> UserError:
    if (error := find_kind_error(path, PATH_KEY, is_typed=False)) is not None:
        return error
    if (layout := detect_layout(InputFile(path, path.name))) is not None:
        return UserError(f"this is {layout}", key=PATH_KEY, value=path)
    return UserError(
        f"what kind of file is this? data.source.format=NAME, one of {FORMAT_NAMES}",
        key=PATH_KEY,
        value=path,
    )


def _find_files_by_name(
    folder: Path, format: str, names: Mapping[str, str], labelled: bool
) -> SplitFiles:
    if format == "auto" and (error := find_saved_set_error(folder)) is not None:
        raise error
    inner = [(child, list_data_files(child, format)) for child in list_folders(folder)]
    pools = [
        (folder, list_data_files(folder, format)),
        *((child, files) for child, files in inner if files),
    ]
    if not any(files for _, files in pools):
        deeper = find_deeper_class_folders(folder, names) if format == "auto" else []
        if len(deeper) == 1:
            return find_class_folders(deeper[0], names, labelled)
        raise find_no_data_error(folder, format, deeper)
    parts: dict[str, list[Path]] = {}
    for split, name in names.items():
        own = find_split_folder(folder, name)
        folder_files = [] if own is None else list_data_files(own, format)
        if files := folder_files or _match_split_name(folder, name, pools):
            parts[split] = files
    if not parts and "train" in names:
        parts["train"] = _assume_train_files(folder, format, pools)
    # beside such files others without a known ending may be data as well
    taken = {file for files in parts.values() for file in files}
    any_ending = any(infer_format(file) is None for file in taken)
    beside = {folder, *(file.parent for file in taken)}
    # folders of splits that hold files of unknown endings, as where another file names their labels
    split_names = {*names.values(), *chain(*SPLIT_ALIASES.values())}
    beside |= {
        one
        for one in list_folders(folder)
        # or of annotations beside one of texts
        if one.name.casefold() in split_names or folder not in {file.parent for file in taken}
    }
    others = [
        file
        for where in (folder, *list_folders(folder))
        for file in sorted(where.iterdir())
        if file not in taken and _may_be_data(file, any_ending)
    ]
    rest = [
        file
        for where in sorted(beside)
        for file in sorted(where.iterdir())
        if file.is_file() and not file.name.startswith(".") and not is_readme(file)
        if file not in taken and file not in others
    ]
    return _build_layout(folder, format, parts, others)._replace(
        other_kinds=tuple(str(file.relative_to(folder)) for file in rest)
    )


def _find_matching_files(path: Path, format: str, names: Mapping[str, str]) -> SplitFiles:
    """The files that match a pattern: of the splits that their names say, or all of train where
    none says one.
    """
    folder, files = find_pattern_folder(path), list_matches(path)
    files = [file for file in files if not is_readme(file)] or files
    if format == "auto":
        files = [file for file in files if infer_format(file) is not None] or files
    found = {
        split: _match_split_name(folder, name, [(folder, files)]) for split, name in names.items()
    }
    if not any(found.values()):
        # then the folders that the pattern leads through say it
        found = {
            split: [one for one in files if name.casefold() in _list_folder_names(folder, one)]
            for split, name in names.items()
        }
    parts = {split: named for split, named in found.items() if named}
    if not parts and "train" in names:
        parts = {"train": files}
    if format == "auto" and infer_format(files[0]) is None:
        raise _unknown_format_error(files[0])
    taken = {file for named in parts.values() for file in named}
    return _build_layout(folder, format, parts, [one for one in files if one not in taken])


def _list_folder_names(folder: Path, file: Path) -> list[str]:
    """The names of the folders between a folder and a file in it, in small letters."""
    return [name.casefold() for name in file.relative_to(folder).parts[:-1]]


def _build_layout(
    folder: Path, format: str, parts: Mapping[str, list[Path]], others: Sequence[Path]
) -> SplitFiles:
    """The files of each split with the format that they all have.

    Args:
        others: what may be data and is not read.
    """
    _check_no_duplicates(parts)
    kinds = sorted(
        {
            infer_format(file) or "" if format == "auto" else format
            for files in parts.values()
            for file in files
        }
    )
    if len(kinds) > 1:
        raise UserError(
            "files of several formats",
            key=PATH_KEY,
            value=folder,
            hint=f"data.source.format=NAME, one of {', '.join(kinds)}",
        )
    input_files = {
        split: tuple(InputFile(file, str(file.relative_to(folder))) for file in files)
        for split, files in parts.items()
    }
    passed_over = tuple(str(file.relative_to(folder)) for file in others)
    return SplitFiles(kinds[0] if kinds else format, input_files, passed_over=passed_over)


def _may_be_data(file: Path, any_ending: bool) -> bool:
    """Whether a file that is not read should be told of."""
    if file.name.startswith(".") or is_readme(file) or not file.is_file():
        return False
    return any_ending or infer_format(file) is not None or is_archive(file)


def _match_split_name(folder: Path, name: str, pools: list[tuple[Path, list[Path]]]) -> list[Path]:
    """The files whose names contain a split's name: in the folder, else in its only sub-folder
    that has some.
    """
    # a file may be named as it is listed
    own = [[one for one in files if one.name.casefold() == name.casefold()] for _, files in pools]
    if len(named := [one for files in own for one in files]) == 1:
        return named
    part = re.compile(rf"(^|[._-]){re.escape(name)}([._-]|$)", re.IGNORECASE)
    matching = [
        (where, [file for file in files if part.search(strip_data_suffixes(file))])
        for where, files in pools
    ]
    matching = [(where, files) for where, files in matching if files]
    if not matching:
        return []
    if matching[0][0] != folder and len(matching) > 1:
        rivals = ", ".join(str(where) for where, _ in matching)
        pattern = folder / "*" / f"*{matching[0][1][0].suffix}"
        raise UserError(
            f"'{name}' stands in several folders",
            key=PATH_KEY,
            value=folder,
            hint=f"name one of them: {rivals}, or all: '{{key}}=\"{pattern}\"', with "
            "data.source.format=class_files where every folder is a class",
        )
    files = matching[0][1]
    for spelling in (str, str.casefold):
        exact = [one for one in files if spelling(strip_data_suffixes(one)) == spelling(name)]
        if exact:
            return exact
    return files


def _assume_train_files(
    folder: Path, format: str, pools: list[tuple[Path, list[Path]]]
) -> list[Path]:
    filled = [files for _, files in pools if files]
    found = [str(file.relative_to(folder)) for files in filled for file in files]
    if (error := find_folder_error(folder, filled)) is not None:
        raise error
    text = all((infer_format(file) if format == "auto" else format) == "text" for file in filled[0])
    if len(filled) == 1 and (len(filled[0]) == 1 or text):
        return filled[0]
    if len(filled) == 1 and all(_PART_NAME.match(file.name) for file in filled[0]):
        return filled[0]
    if len(filled) == 1 and format == "auto":
        check_unnamed_tables(filled[0])
    deep = len(filled) > 1
    pattern = folder.joinpath(*["*"] * deep, f"*{filled[-1][0].suffix}")
    others = (
        f", or all for train: '{{key}}=\"{pattern}\"'; data.source.format=class_files where every "
        "file holds the rows of one class"
    )
    raise UserError(
        f"no file carries the name of a split; found {abbreviate_names(found)}",
        key=PATH_KEY,
        value=folder,
        hint="say which is which: data.source.train=NAME, or give one file: {key}=FILE" + others,
    )


def _check_no_duplicates(parts: Mapping[str, list[Path]]) -> None:
    """Raise UserError for a file in two splits, or beside its own packed copy."""
    split_by_name: dict[str, str] = {}
    for split, files in parts.items():
        for path in files:
            plain = strip_packed_suffix(str(path))
            if plain in split_by_name:
                other = (
                    f"in both {split_by_name[plain]} and {split}"
                    if split_by_name[plain] != split
                    else "packed and unpacked"
                )
                raise UserError(
                    f"{plain} is there {other}", key=PATH_KEY, hint="its rows would be read twice"
                )
            split_by_name[plain] = split
