"""How the commands are typed: `python -m src.NAME` in a checkout, `palimpsest [NAME]` where the
console command was typed or the program is installed.
"""

import os
import re

from src.core.files import IS_INSTALLED

COMMANDS = (
    "compare",
    "keys",
    "leaderboard",
    "look",
    "lr_range",
    "plan",
    "predict",
    "quickstart",
    "runs",
    "sync",
    "ui",
)
# set for a process that the console command began, and so for all that it starts
CONSOLE_VARIABLE = "PALIMPSEST_CONSOLE"
_COMMAND = re.compile(r"\bpython -m src\.(\w+)|\bmake (ui|quickstart)\b")


def name_commands(text: str) -> str:
    """A text in which the commands of a checkout have the names under which they are typed here."""
    if not IS_INSTALLED and CONSOLE_VARIABLE not in os.environ:
        return text
    return _COMMAND.sub(_to_console_command, text)


def _to_console_command(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return "palimpsest" if name == "run" else f"palimpsest {name}"
