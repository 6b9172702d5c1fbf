"""Look at the runs: `python -m src.ui [port=5000] [uri=sqlite:///FILE] [experiment=palimpsest] \
[root=FOLDER]`.

Serves MLflow's UI on the project's own store, which a bare `mlflow ui` would not find, until
Ctrl-C.
"""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/ui.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.run_ending import TerminatedBySignal
from src.core.user_errors import UserError
from src.tracking.store import Store

_OPTION_NAMES = {
    "tracking.uri": "uri",
    "tracking.experiment": "experiment",
    "tracking.root": "root",
}


def main(arguments: Sequence[str]) -> int:
    """Serve the UI until Ctrl-C; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    defaults = {"port": "5000", "uri": "", "experiment": read_experiment_name(), "root": ""}
    options = parse_key_values(arguments, defaults)
    store = Store(
        root=options["root"] or str(PROJECT_ROOT),
        uri=choose_tracking_uri(options["uri"]),
        experiment=options["experiment"],
    )
    try:
        store.check()
        store.announce_environment()
        port = _parse_port(options["port"])
        store.check_experiment()
        _serve_ui(store, port)
    except KeyboardInterrupt:
        print_line()
    return 0


def _parse_port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise UserError(key="port", value=text, expected="a whole number from 1 to 65535")
    return int(text)


def _serve_ui(store: Store, wanted: int) -> None:
    from src.tracking.ui_server import (
        find_free_port,
        resolve_runs_page,
        serve_ui,
        wait_until_healthy,
    )

    if store.sqlite_file is None:
        if not store.tracking_uri.startswith("http"):
            raise UserError(
                f"uri={store.uri} is served by the one who keeps it; this command serves SQLite "
                "files only"
            )
        print_line(f"{store.tracking_uri.rstrip('/')}/{store.open().build_ui_link()}")
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    started_at = time.monotonic()
    port = find_free_port(wanted)
    if port != wanted:
        print_line(f"port {wanted} is taken; {port} is used")
    page = resolve_runs_page(store)
    with serve_ui(store, port) as server:
        wait_until_healthy(server, store, port)
        print_line(
            f"http://127.0.0.1:{port}/{page}  (up after {time.monotonic() - started_at:.1f} s; "
            "Ctrl-C ends it)"
        )
        sys.stdout.flush()
        server.wait()
    raise UserError(f"MLflow's UI ended by itself; see {store.runs_folder / 'ui.log'}")


def _raise_terminated(signum: int, _: object) -> None:
    raise TerminatedBySignal(signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
