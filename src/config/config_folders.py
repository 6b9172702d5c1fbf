"""Config folders beside conf/: those of `--config-dir`, and of `hydra.searchpath`.

They become one override, `hydra.searchpath=[...]`, so that one run, several and the search for
mistakes see the same options.
"""

from collections.abc import Sequence
from pathlib import Path

from src.config.groups import list_added_folders, set_config_folders
from src.config.written_numbers import check_written_numbers
from src.core.user_errors import UserError

_FLAGS = ("--config-dir", "-cd")
_KEY = "hydra.searchpath"


def take_config_folders(arguments: Sequence[str]) -> list[str]:
    """Return a command line with its config folders as one override, and have their options known.

    Raises:
        UserError: a folder is not there, or a file that is chosen has a number in it that YAML
            reads as another one.
    """
    rest: list[str] = []
    folders: list[Path] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in _FLAGS:
            folders.append(_find_folder(value if equals else next(words, ""), name))
        elif name.lstrip("+") == _KEY and "://" not in value and "${" not in value:
            paths = [part.strip(" '\"") for part in value.strip(" []'\"").split(",")]
            folders += [_find_folder(path, _KEY) for path in paths if path]
        else:
            rest.append(word)
    set_config_folders(folders)
    check_written_numbers(rest)
    return [*rest, *searchpath_overrides()]


def searchpath_overrides() -> list[str]:
    """The override with which Hydra knows the added folders; none if there are none."""
    folders = list_added_folders()
    return [f"{_KEY}=[{','.join(map(_quote, folders))}]"] if folders else []


def _find_folder(text: str, key: str) -> Path:
    if not text:
        raise UserError("names no folder", key=key, expected="a folder of configs", colon=False)
    folder = Path(text).expanduser().resolve()
    if not folder.is_dir():
        raise UserError("there is no such folder", key=key, value=text, hint=f"looked for {folder}")
    return folder


def _quote(folder: Path) -> str:
    escaped = str(folder).replace("'", "\\'")
    return f"'{escaped}'"
