"""What `data.source.path` names: a file, a folder, a place in an archive, or a pattern of names."""

import re
from glob import glob
from pathlib import Path

from src.core.user_errors import UserError, did_you_mean, suggest
from src.data.reading.archives import enter_archive
from src.data.reading.fetched_files import fetch_source
from src.data.reading.file_names import PATH_KEY, abbreviate_names

_SIGNS = "*?["
# such as imdb or stanfordnlp/imdb: no ending, at most one slash
_HUB_NAME = re.compile(r"[A-Za-z][\w-]*(/[A-Za-z][\w-]*)?")


def find_path(typed: str) -> Path:
    """The file or folder that was typed, or the pattern, if files match it; UserError with the
    nearest name if there is none. What lies in an object storage is fetched.
    """
    if not typed.strip():
        raise UserError("is empty", key=PATH_KEY, expected="a file or a folder", colon=False)
    path = enter_archive(fetch_source(typed) if "://" in typed else Path(typed).expanduser())
    if not path.exists() and not list_matches(path):
        raise _missing_path_error(path, Path(typed).expanduser())
    return path


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern of names, such as logs/*.csv."""
    return any(sign in str(path) for sign in _SIGNS) and not path.exists()


def list_matches(path: Path) -> list[Path]:
    """The files that match a pattern, without hidden ones; none where a path is no pattern."""
    if not is_pattern(path):
        return []
    found = sorted(map(Path, glob(str(path), recursive=True)))
    return [one for one in found if one.is_file()]


def find_pattern_folder(path: Path) -> Path:
    """The innermost folder of a pattern in whose name no sign of it stands."""
    return next(one for one in path.parents if not any(sign in str(one) for sign in _SIGNS))


def _missing_path_error(path: Path, typed: Path) -> UserError:
    """The error for a missing path, with the nearest name in its deepest folder that exists."""
    if is_pattern(path):
        folder = next(parent for parent in typed.parents if parent.is_dir())
        names = [entry.name for entry in sorted(folder.iterdir())]
        there = f"there: {abbreviate_names(names)}" if names else "the folder is empty"
        return UserError(f"no file in {folder} matches", key=PATH_KEY, value=typed, hint=there)
    parent_folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    step = path.absolute().relative_to(parent_folder).parts[0]
    names = [entry.name for entry in parent_folder.iterdir()]
    if (near := suggest(step, names)) is not None:
        hint = did_you_mean(near)
    else:
        hint = f"there: {abbreviate_names(sorted(names))}" if names else "the folder is empty"
    if _HUB_NAME.fullmatch(str(typed)):
        hint += f"; a data set of the hub is data.source.path=null data.source.hub={typed}"
    return UserError(
        f"there is no '{step}' in {parent_folder}", key=PATH_KEY, value=typed, hint=hint
    )
