"""Where the program and its runs lie, and files that are written whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.core.user_errors import UserError

# of `src` and `conf`
CODE_ROOT = Path(__file__).resolve().parents[2]
CONF = CODE_ROOT / "conf"
# `pip install .` puts both below the package `palimpsest`
IS_INSTALLED = not (CODE_ROOT / "pyproject.toml").exists()
ROOT_VARIABLE = "PALIMPSEST_ROOT"
# of `mlruns` and `.cache`: the checkout, or the folder in which an installed program is typed
PROJECT_ROOT = (
    Path(os.environ.get(ROOT_VARIABLE) or (Path.cwd() if IS_INSTALLED else CODE_ROOT))
    .expanduser()
    .resolve()
)
# of files that are being written; whoever copies a folder leaves them out
PARTIAL_SUFFIX = ".partial"


@contextlib.contextmanager
def atomic_write(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """Yield the file beside `path` to write to; it takes the name `path` when the block ends.

    At every moment there is under that name the former file, the new one whole, or none. Nothing is
    left behind when the block raises.

    Args:
        fsync: wait until the disk has the file and its name, so that they outlive a power failure.
    """
    partial = path.with_name(f"{path.name}{PARTIAL_SUFFIX}")
    try:
        yield partial
        if fsync:
            fsync_path(partial)
        os.replace(partial, path)
        if fsync:
            fsync_path(path.parent)
    finally:
        # also there after `replace` where both names are links to one file
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, fsync: bool = False) -> None:
    """Write a text as `atomic_write` does."""
    with atomic_write(path, fsync=fsync) as partial:
        partial.write_text(text, encoding="utf-8")


def check_output_file(flag: str, file: str | None) -> None:
    """Raise UserError where a file that was named behind a flag cannot be written."""
    if file is None:
        return
    path = Path(file)
    if path.is_dir():
        raise UserError("is a folder", key=f"{flag} {file}", expected="a file", colon=False)
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise UserError(
            f"there is no folder {path.absolute().parent} that this user may write to",
            key=f"{flag} {file}",
        )


def write_json(path: Path, content: Any, *, fsync: bool = False) -> None:
    """Write a JSON file as `atomic_write` does."""
    write_text(path, json.dumps(content), fsync=fsync)


def fsync_path(path: Path) -> None:
    """Have the disk hold the content of a file, or the names in a folder.

    Some systems do not let folders be synced; for these the latter does nothing.
    """
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Sync everything in a folder, and the folder itself last."""
    for path in sorted(folder.rglob("*"), reverse=True):
        fsync_path(path)
    fsync_path(folder)
