"""What is told of a folder in which there is no file that is read."""

from collections.abc import Sequence
from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.archives import is_archive
from src.data.reading.class_files import is_part_folder, may_be_class_files
from src.data.reading.decoding import InputFile
from src.data.reading.file_names import (
    FORMAT_BY_SUFFIX,
    FORMAT_NAMES,
    PATH_KEY,
    abbreviate_names,
    find_split_folder,
    infer_format,
    is_readme,
    list_folders,
)
from src.data.reading.format_guesses import format_option, guess_format
from src.data.reading.other_kinds import find_kind_error
from src.data.reading.packed_files import PACKED_SUFFIXES


def find_no_data_error(folder: Path, format: str, deeper: Sequence[Path]) -> UserError:
    """The error of a folder in which no file can be read, nor in its sub-folders.

    Args:
        deeper: the folders of class folders further inside.
    """
    found = [entry.name + "/" * entry.is_dir() for entry in sorted(folder.iterdir())]
    if not found:
        return UserError("the folder is empty", key=PATH_KEY, value=folder)
    expected = (
        f"expected {', '.join(FORMAT_BY_SUFFIX)}, each also with {', '.join(PACKED_SUFFIXES)}"
        if format == "auto"
        else f"expected {format}"
    )
    inside = [
        entry for entry in sorted(folder.iterdir()) if entry.is_file() and not is_readme(entry)
    ]
    archives = [entry for entry in inside if is_archive(entry)]
    if archives:
        return UserError(
            f"no readable file; found {abbreviate_names(found)}",
            key=PATH_KEY,
            value=folder,
            hint=f"an archive is read where it is named itself: {{key}}={archives[0]}",
        )
    if deeper:
        # never a test set for training
        first = next((one for one in deeper if "train" in one.name.casefold()), deeper[0])
        hint = f"name one of them: {{key}}={first}"
        if all(one.parent == folder and not is_part_folder(one) for one in deeper):
            hint += "; data.source.format=folders where these are the classes"
        return UserError(
            f"several folders of class folders: {abbreviate_names(list(map(str, deeper)))}",
            key=PATH_KEY,
            value=folder,
            hint=hint,
        )
    kinds = [find_kind_error(entry, PATH_KEY, is_typed=format != "auto") for entry in inside]
    if kinds and (first_kind := kinds[0]) is not None and None not in kinds:
        return first_kind
    if (deep := _find_deep_error(folder, format)) is not None:
        return deep
    hint = f"where names end otherwise: data.source.format=NAME, one of {FORMAT_NAMES}"
    if not inside and len(lone := list_folders(folder)) == 1:
        hint = f"perhaps the data lie further inside: {{key}}={lone[0]}; {hint}"
    if format == "auto" and (guess := _guess_format(inside)):
        hint = f"{guess} where they are what they look like; {hint}"
    elif may_be_class_files(folder):
        hint = "data.source.format=class_files where every file holds the texts of a class; " + hint
    return UserError(
        f"no readable file; {expected}; found {abbreviate_names(found)}",
        key=PATH_KEY,
        value=folder,
        hint=hint,
    )


def _find_deep_error(folder: Path, format: str) -> UserError | None:
    """The error of a folder whose files lie further inside than is looked: how a pattern names
    those of the first such folder, with what they are where that is known. None if there are none.
    """
    below = (one for one in sorted(folder.rglob("[!._]*")) if one.is_file() and not is_readme(one))
    first = next((one for one in below if len(one.relative_to(folder).parts) > 2), None)
    if first is None:
        return None
    kind = find_kind_error(first, PATH_KEY, is_typed=format != "auto")
    is_lone = len(list_folders(folder)) == 1
    if kind is None and (is_lone or (format == "auto" and infer_format(first) is None)):
        return None
    top = folder / first.relative_to(folder).parts[0]
    # a split's own folder, where there is one
    top = next(
        (own for one in ("train", "training") if (own := find_split_folder(folder, one))), top
    )
    pattern = f"'{{key}}=\"{top / '**' / f'*{first.suffix}'}\"'"
    return UserError(
        f"the data lie further inside, such as {first.relative_to(folder)}",
        key=PATH_KEY,
        value=folder,
        hint=f"{pattern} names them all"
        + ("" if kind is None else f"; {kind.problem}; {kind.hint}"),
    )


def _guess_format(files: Sequence[Path]) -> str:
    """The option for the format that the first lines of files show; empty if they show none."""
    texts = [file for file in files if not file.name.startswith(".") and not is_readme(file)]
    found: list[dict[str, str]] = []
    for file in texts[:3]:
        try:
            found.append(guess_format(InputFile(file, file.name), ("utf-8", "latin-1")))
        except UserError:
            return ""
    alike = bool(found) and all(one == found[0] for one in found)
    return " ".join(format_option(*one) for one in found[0].items()) if alike else ""
