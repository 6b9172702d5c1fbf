"""Printing for the user, without secrets and without control characters."""

import contextlib
import os
import shutil
import sys
import textwrap
from typing import Any, TextIO

from src.core.command_names import name_commands
from src.core.redaction import redact_for_terminal

_WIDTH = 80
# of tables, on terminals that are wider too, where lines would be hard to follow
_MAX_TABLE_WIDTH = 100


def _clear_bars(stream: TextIO) -> contextlib.AbstractContextManager[object]:
    """Take progress bars off the terminal's line while something else is written to it."""
    tqdm: Any = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if not getattr(tqdm, "_instances", None):
        return contextlib.nullcontext()
    bars: contextlib.AbstractContextManager[object] = tqdm.external_write_mode(file=stream)
    return bars


def print_line(message: object = "", *, to_stderr: bool = False) -> None:
    """Print a message on lines of its own, with its secrets starred out.

    Does nothing once nobody reads any more (`| head`, a closed terminal): what is printed later
    goes nowhere, and the program goes on.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        with _clear_bars(stream):
            print(name_commands(redact_for_terminal(message)), file=stream, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        return


def get_table_width() -> int:
    """The columns that a table may take: 80 to 100, as the terminal has them."""
    columns = shutil.get_terminal_size((_MAX_TABLE_WIDTH, 24)).columns
    return min(max(columns, _WIDTH), _MAX_TABLE_WIDTH)


def print_wrapped(text: str) -> None:
    """Print a line, wrapped at 80 columns between words; paths and addresses stay whole."""
    lines = textwrap.wrap(
        text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    for line in lines:
        print_line(line)
