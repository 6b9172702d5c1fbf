"""The console command: `palimpsest [COMMAND] ...`; without one of the commands it makes a run."""

import importlib
import os
import sys

from palimpsest.code_path import CODE_ROOT

_COMMANDS = ("keys", "look", "plan", "predict", "quickstart", "runs", "sync", "ui")


def main() -> None:
    """Run the command that was typed, and end the process with its exit code."""
    if not sys.path or sys.path[0] != str(CODE_ROOT):
        sys.path.insert(0, str(CODE_ROOT))
    from src.core.command_names import CONSOLE_VARIABLE
    from src.core.processes import name_places

    os.environ.update(name_places())
    os.environ[CONSOLE_VARIABLE] = "1"
    # for a package of the user's own
    sys.path.append(os.getcwd())
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in (*_COMMANDS, "run"):
        del sys.argv[1]
    from src.core import startup

    with startup.run_without_gc():
        if name in _COMMANDS:
            sys.exit(importlib.import_module(f"src.{name}").main(sys.argv[1:]))
        from src.run import run_program

        with startup.exit_on_signals():
            run_program()


if __name__ == "__main__":
    main()
