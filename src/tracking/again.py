"""How a person goes on with a run: the command, to be printed wherever one has ended early."""

import shlex
from pathlib import Path

from src.tracking.redaction import hidden

_ROOT = Path(__file__).resolve().parents[2]


def command(run_id: str, *, root: str, uri: str | None, offline: bool = False, sweep: str | None = None) -> str:
    """`python -m src.run resume=...`, with what is needed to find the store again where it is not the default.

    Args:
        root: the store's `tracking.root`.
        uri: its `tracking.uri`; a password in it is starred out, and must be typed again.
        sweep: the id of the sweep that the run is a trial of, or itself: it is the sweep that goes on.
        offline: the run is in no store yet; what sends it to one comes first, and says under which id.
    """
    if offline:
        return "python -m src.sync, and then python -m src.run resume=ID with the id that it has been given"
    if sweep is not None:
        return sweep_command(sweep, root=root, uri=uri)
    return shlex.join(["python", "-m", "src.run", f"resume={run_id[:8]}", *_where(root, uri)])


def sweep_command(sweep: str, *, root: str, uri: str | None, storage: str | None = None) -> str:
    """How a person goes on with a sweep: `python -m src.run -m sweep=...`; `storage` is its `search.storage`."""
    words = ["python", "-m", "src.run", "-m", f"sweep={sweep[:8]}", *_where(root, uri)]
    if storage is not None:
        words.append(f"search.storage={hidden(storage)}")
    return shlex.join(words)


def _where(root: str, uri: str | None) -> list[str]:
    """What finds a store again that is not the default."""
    words = []
    if Path(root) != _ROOT:
        words.append(f"tracking.root={root}")
    if uri is not None:
        words.append(f"tracking.uri={hidden(uri)}")
    return words
