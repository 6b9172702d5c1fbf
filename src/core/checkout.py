"""Which checkout is meant: the program of one must not run where that of another was typed."""

import os
import sys
from pathlib import Path

from src.core.command_names import CONSOLE_VARIABLE
from src.core.files import CODE_ROOT, IS_INSTALLED
from src.core.user_errors import UserError

# together they tell a checkout of this program from other projects that have a folder called src
_FILES = ("pyproject.toml", "conf/config.yaml", "src/pipeline/run.py")


def check_checkout() -> None:
    """Raise UserError if a file of another checkout was typed (`python src/run.py`), or if the
    working folder lies in another one than the program that Python has found.

    The console command belongs to no checkout, and is typed in all of them.
    """
    if IS_INSTALLED or CONSOLE_VARIABLE in os.environ:
        return
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and script is not None:
        typed = find_checkout(Path(script).resolve())
        if typed not in (None, CODE_ROOT):
            raise _explain(f"{script} was typed", typed)
    here = find_checkout(Path.cwd())
    if here not in (None, CODE_ROOT):
        raise _explain("the working folder lies in another checkout", here)


def find_checkout(place: Path) -> Path | None:
    """The checkout in which a file or folder lies; None if it lies in none."""
    return next(
        (
            folder
            for folder in (place, *place.parents)
            if all((folder / name).is_file() for name in _FILES)
        ),
        None,
    )


def _explain(reason: str, other: Path | None) -> UserError:
    return UserError(
        f"{reason}, but Python has found the program of {CODE_ROOT}",
        hint=f"python -m src.NAME in {other} runs the code there and keeps its runs there",
    )
