"""A home folder as it is written for a shell: `tracking.root=~/project`.

A shell leaves `~` alone where a dot stands in the key, and Hydra's grammar refuses it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

# a value that needs no quotes of its own, and is no list
_HOME_PATTERN = re.compile(r"(\+*[\w./]+)=(sqlite:///)?(~\w*(?:/[^'\"\[\]{}(),$\\]*)?)")


def expand_home_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, in which a value that begins with a home folder has its
    whole path, in the quotes that Hydra wants.
    """
    return [_expand_home_folder(argument) for argument in arguments]


def _expand_home_folder(argument: str) -> str:
    match = _HOME_PATTERN.fullmatch(argument)
    if match is None:
        return argument
    key, scheme, path = match.groups()
    try:
        return f'{key}="{scheme or ""}{Path(path).expanduser()}"'
    except RuntimeError:
        # a user whom this machine does not know
        return argument
