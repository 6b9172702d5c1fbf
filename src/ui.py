"""Look at the runs: `python -m src.ui [port=5000] [uri=sqlite:///FILE] [experiment=palimpsest]`.

Serves MLflow's UI on the project's own store, which a bare `mlflow ui` would not find, until Ctrl-C.
"""

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from src.config.options import options, retold
from src.terms.fault import Fault
from src.tracking.ending import Terminated
from src.tracking.redaction import hidden, spoken
from src.tracking.store import Store

ROOT = Path(__file__).resolve().parents[1]
_OPTIONS = {"tracking.uri": "uri", "tracking.experiment": "experiment"}
_DEFAULTS = {"port": "5000", "uri": "", "experiment": "palimpsest"}


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 after Ctrl-C, 2 for a fault."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        chosen = options(arguments, _DEFAULTS)
        store = Store(root=str(ROOT), uri=chosen["uri"] or None, experiment=chosen["experiment"])
        store.check()
        _serve(store, _port(chosen["port"]))
    except Fault as fault:
        print(f"error: {spoken(retold(fault, _OPTIONS))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
    return 0


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise Fault(f"port={text}: expected a whole number from 1 to 65535")
    return int(text)


def _serve(store: Store, wanted: int) -> None:
    from src.tracking.server import await_health, free_port, runs_page, serve

    if store.database is None:
        if not store.address.startswith("http"):
            raise Fault(f"uri={store.uri} is served by the one who keeps it; this command serves SQLite files only")
        print(f"{hidden(store.address).rstrip('/')}/{store.session().link()}")
        return
    signal.signal(signal.SIGTERM, _terminate)
    started_at = time.monotonic()
    port = free_port(wanted)
    if port != wanted:
        print(f"port {wanted} is taken; {port} is used")
    page = runs_page(store)
    with serve(store, port) as server:
        await_health(server, store, port)
        print(f"http://127.0.0.1:{port}/{page}  (up after {time.monotonic() - started_at:.1f} s; Ctrl-C ends it)")
        sys.stdout.flush()
        server.wait()
    raise Fault(f"MLflow's UI ended by itself; see {store.runs_folder / 'ui.log'}")


def _terminate(signum: int, _: object) -> None:
    raise Terminated(signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
