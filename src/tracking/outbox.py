"""The folder in which a run's writes wait for the store: `mlruns/outbox/<run id>`.

    run.json     who writes here, and for which store
    *.jsonl      the journal
    files/N/     files that the journal's entries name; hard links where the disk allows it
    console.log  what the run printed, where its artifacts are not plain files
    delivered    the place in the journal up to which the store has everything
    lock         held by whoever delivers

Nothing here knows MLflow.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.terms.fault import Fault
from src.tracking import journal
from src.tracking.journal import Journal, Position
from src.tracking.redaction import hidden

CONSOLE = "console.log"
_UNFINISHED = (".partial", ".lock")  # what a mirrored folder holds besides its files


class Outbox:
    """What one run writes, on its way to the disk. Any thread may call; entries keep the order of the calls.

    `about` describes the run to those who deliver: `process`, and for a run that no store knows yet, `create`.
    """

    def __init__(self, runs_folder: Path, run_id: str, about: Mapping[str, Any]) -> None:
        self.folder = folder_of(runs_folder, run_id)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._mirrored: dict[str, dict[str, tuple[object, str]]] = {}  # artifact: file's name: identity, staged place
        self.folder.mkdir(parents=True)
        _put(self.folder / "run.json", dict(about))
        self._journal = Journal(self.folder)

    def append(self, entries: list[dict[str, Any]]) -> None:
        with self._lock:
            self._journal.append(entries)
        for entry in entries:  # not sooner: whoever delivers must find the former files, or the entry about later ones
            for place in entry.get("dropped", ()):
                with suppress(FileNotFoundError):
                    (self.folder / place).unlink()

    def sync(self) -> None:
        with self._lock:
            self._journal.sync()

    def close(self) -> None:
        """The last line is on the disk: whoever has delivered everything may remove the folder."""
        with self._lock:
            self._journal.append([{"kind": "end"}])
            self._journal.sync()
            self._journal.close()

    def stage(self, source: Path) -> str:
        """Keep a file or folder, by hard links where the disk allows it; returns its place below the outbox."""
        target = self._fresh() / source.name
        keep(source, target)
        return target.relative_to(self.folder).as_posix()

    def fresh(self, name: str) -> Path:
        """A path below the outbox, in a new folder of its own, for a file that is yet to be written."""
        return self._fresh() / name

    def mirror(self, folder: Path, artifact: str) -> dict[str, Any]:
        """The entry that makes artifact folder `artifact` hold exactly the files that `folder` holds now.

        Only what is new since the last call is staged. Of what vanished since then, and may never have reached the
        store, nothing is kept once the entry stands in the journal.
        """
        before = self._mirrored.get(artifact, {})
        now: dict[str, tuple[object, str]] = {}
        add: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.is_symlink() or path.name.startswith(".") or path.suffix in _UNFINISHED:
                continue
            facts = path.stat()
            identity = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if path.name in before and before[path.name][0] == identity:
                now[path.name] = before[path.name]
            else:
                add[path.name] = self.stage(path)
                now[path.name] = (identity, add[path.name])
        self._mirrored[artifact] = now
        kept = {place for _, place in now.values()}
        dropped = sorted(place for _, place in before.values() if place not in kept)
        return {"kind": "mirror", "artifact": artifact, "add": add, "keep": sorted(now), "dropped": dropped}

    def _fresh(self) -> Path:
        place = self.folder / "files" / str(next(self._numbers))
        place.mkdir(parents=True)
        return place


def keep(source: Path, target: Path) -> None:
    """Have at `target` what is at `source`: by hard links, or by copies where the disk is another."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)  # it may be sent again
    else:
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    """A second name for a file, put into place whole; what stood there before is replaced."""
    draft = f"{target}.part"
    with suppress(FileNotFoundError):
        os.unlink(draft)
    try:
        os.link(source, draft)
    except OSError:
        shutil.copy2(source, draft)
    os.replace(draft, target)
    with suppress(FileNotFoundError):  # where both names are one file already, `replace` does nothing
        os.unlink(draft)


def folder_of(runs_folder: Path, run_id: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise Fault(f"{run_id!r} is no run id: expected 32 hexadecimal digits")
    return runs_folder / "outbox" / run_id


def waiting(runs_folder: Path) -> list[Path]:
    """The folders of all runs that wait, in the order in which they were begun: a parent stands before its children."""
    found = [path.parent for path in (runs_folder / "outbox").glob("*/run.json")]
    return sorted(
        (each for each in found if re.fullmatch(r"[0-9a-f]{32}", each.name)),
        key=lambda each: (about(each).get("started_at", 0), each.name),
    )


def about(folder: Path) -> dict[str, Any]:
    """What `Outbox` was told of its run; empty where the file is gone or unreadable."""
    return _get(folder / "run.json")


def last_write(folder: Path) -> float:
    """When the journal was last written to, in seconds since 1970."""
    return max((path.stat().st_mtime for path in folder.glob("*.jsonl")), default=0.0)


def delivered(folder: Path) -> Position:
    """Up to where the store has everything. After a power failure perhaps less than that: all is then sent again."""
    found = _get(folder / "delivered")
    return Position(int(found.get("segment", 1)), int(found.get("offset", 0)))


def mark(folder: Path, position: Position) -> None:
    _put(folder / "delivered", position._asdict())
    journal.forget(folder, position)


def staged(folder: Path, place: str) -> Path:
    """The file that an entry names. Raises Fault where it would lie outside: a folder may come from another machine."""
    path = folder / place
    parts = Path(place).parts
    if parts[:1] != ("files",) or ".." in parts or not path.resolve().is_relative_to(folder.resolve()):
        raise Fault(f"{folder}: the journal names {place!r}, which is not one of the folder's own files")
    return path


def inside(artifact: str | os.PathLike[str]) -> Path:
    """The path of an artifact, which lies inside its run. Raises ValueError for any other."""
    path = Path(artifact)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
        raise ValueError(f"an artifact lies inside its run, not at {artifact}")
    return path


def refuse_links(folder: Path) -> None:
    """Raise Fault where an outbox holds a symbolic link: ours never do, and one from elsewhere could lead outside."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            raise Fault(f"{path} is a symbolic link, which an outbox never holds; remove it to deliver the rest")


@contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Whether this is the only one who delivers from `folder` now; false too where the folder is gone."""
    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(file).st_nlink > 0
        except BlockingIOError:
            mine = False
        yield mine
    finally:
        os.close(file)


def remove(folder: Path) -> None:
    """Remove a folder that was delivered whole. Its description goes first: what is left after a kill is no run."""
    with suppress(FileNotFoundError):
        (folder / "run.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)


def place_of(uri: str | None) -> str | None:
    """A store's address as an outbox may hold it: passwords starred out."""
    return None if uri is None else hidden(uri)


def _put(path: Path, content: dict[str, Any]) -> None:
    """Write a small file whole or not at all."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    os.replace(draft, path)


def _get(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
