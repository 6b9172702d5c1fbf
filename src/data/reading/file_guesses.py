"""The options by which files are read at all, guessed from names and contents: encoding, format."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.core.user_errors import UserError
from src.data.reading.archives import is_archive
from src.data.reading.class_files import ARTICLE_BEGIN, find_own_parts
from src.data.reading.data_files import find_split_files
from src.data.reading.data_path import find_path, list_matches
from src.data.reading.decoding import InputFile, guess_encoding, read_text_lines
from src.data.reading.file_formats import BINARY_FORMATS
from src.data.reading.file_names import PATH_KEY, SPLIT_ALIASES, infer_format, is_readme
from src.data.reading.format_guesses import guess_format
from src.data.reading.other_kinds import find_kind_error
from src.data.reading.parallel_files import find_label_file_errors

# So many files are looked at.
_MOST_FILES = 200
# Tables of classes are few.
_MOST_CLASSES = 20
# A file with such an ending is one text.
_DOCUMENT_SUFFIXES = (".md", ".markdown", ".rst", ".tex", ".text", ".log")


def guess_file_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a source without which its files cannot be read, or would be read as lines of
    text though they are something else.

    Args:
        options: of a `Source`, among them `path`; what is there is not guessed.
    """
    path = find_path(options["path"])
    files = _list_files(path)
    found: dict[str, Any] = {}
    if "encoding" not in options:
        found = _guess_encodings(files)
    if options.get("format", "auto") != "auto":
        return found
    written = {**options, **found}.get("encoding", "utf-8")
    encodings = list(written) if isinstance(written, list | tuple) else [written]
    added = _guess_format(path, files, encodings)
    known = options.keys() - {"path"}
    return found | {key: value for key, value in added.items() if key not in known}


def _list_files(path: Path) -> list[InputFile]:
    """The files at a path that may be text, for a look at them."""
    if path.is_file():
        found = [path]
    elif not (found := list_matches(path)):
        found = sorted(one for one in path.rglob("[!.]*") if one.is_file())
    # those that are read are rarely the first by name
    found = found[:: max(1, len(found) // _MOST_FILES)]
    return [
        InputFile(one, one.name)
        for one in found
        if infer_format(one) not in BINARY_FORMATS
        and not is_archive(one)
        and (one == path or not is_readme(one))
    ]


def _guess_encodings(files: Sequence[InputFile]) -> dict[str, Any]:
    others = {file.name: guess_encoding(file) for file in files}
    names = list(dict.fromkeys(name for name in others.values() if name is not None))
    if len(names) != 1:
        return {}
    only = all(name is not None for name in others.values())
    return {"encoding": names[0] if only else ["utf-8", names[0]]}


def _guess_format(
    path: Path, files: Sequence[InputFile], encodings: Sequence[str]
) -> dict[str, str]:
    if _hold_articles(files):
        return _read_articles(path, files)
    if path.is_dir():
        try:
            layout = find_split_files(path, "auto", _name_splits(), False)
        except UserError:
            if structured := _find_structured_format(files):
                return {"format": structured}
            inside = [file for file in files if file.path.parent == path]
            if _are_class_tables(inside):
                return {"format": "class_files"}
            if not inside or any(infer_format(file.path) for file in inside):
                return {}
            return _guess_alike(inside, encodings) or _guess_documents(inside)
        if any(find_label_file_errors(layout, encodings)):
            # which reading tells
            return {}
        files = [file for part in layout.files.values() for file in part[:2]]
        known = layout.format
    elif any(find_kind_error(file.path, PATH_KEY, is_typed=False) for file in files[:1]):
        return {}
    else:
        known = infer_format(path) or "text"
    if known not in ("text", "csv", "tsv"):
        return {}
    found = _guess_alike(files, encodings)
    # a table without a header whose rows are words and their tags, with blank lines between
    return found if known == "text" or found == {"format": "conll"} else {}


def _hold_articles(files: Sequence[InputFile]) -> bool:
    """Whether all of the first files begin as WikiExtractor's do."""
    try:
        begins = [next(read_text_lines(file, "latin-1"), "") for file in files[:6]]
    except UserError:
        return False
    return bool(begins) and all(begin.startswith(ARTICLE_BEGIN) for begin in begins)


def _read_articles(path: Path, files: Sequence[InputFile]) -> dict[str, str]:
    """The options by which such files are texts: all files of folders in folders, which are no
    classes, by a pattern.
    """
    options = {"format": "text", "heading": f"^{ARTICLE_BEGIN}"}
    depths = {len(file.path.relative_to(path).parts) for file in files} if path.is_dir() else {1}
    if len(depths) == 1 and (depth := depths.pop()) > 1:
        # not all files are looked at: what their names have before a number
        begins = {re.split(r"\d", file.name)[0] for file in files}
        name = f"{begins.pop()}*" if len(begins) == 1 else "*"
        options["path"] = str(path.joinpath(*"*" * (depth - 1), name))
    return options


def _find_structured_format(files: Sequence[InputFile]) -> str | None:
    """The format of files beside which others hold the same as plain text; None if there are
    several, or no plain text.
    """
    kinds = {kind for file in files if (kind := infer_format(file.path)) is not None}
    others = kinds - {"text"}
    return others.pop() if len(kinds) == 2 and len(others) == 1 else None


def _are_class_tables(files: Sequence[InputFile]) -> bool:
    """Whether there are a few tables of one format whose first lines are the same header."""
    kinds = {infer_format(file.path) for file in files}
    if not 1 < len(files) <= _MOST_CLASSES or not kinds <= {"csv", "tsv"}:
        return False
    try:
        heads = {next(read_text_lines(file, "latin-1"), "") for file in files}
    except UserError:
        return False
    classes = find_own_parts([file.name for file in files])
    # part-1.csv, part-2.csv are parts of one table
    are_named = all(re.fullmatch(r"[^\W\d][^\d]*", one) for one in classes)
    return len(heads) == 1 and heads != {""} and are_named


def _name_splits() -> dict[str, str]:
    return {split: split for split in SPLIT_ALIASES}


def _guess_alike(files: Sequence[InputFile], encodings: Sequence[str]) -> dict[str, str]:
    """The format of files that all look alike."""
    first: dict[str, str] | None = None
    for file in files[:6]:
        try:
            found = guess_format(file, encodings)
        except UserError:
            return {}
        if first is not None and found != first:
            return {}
        first = found
    return first or {}


def _guess_documents(files: Sequence[InputFile]) -> dict[str, str]:
    if all(file.path.suffix.lower() in _DOCUMENT_SUFFIXES for file in files):
        return {"format": "text", "document": "file"}
    return {}
