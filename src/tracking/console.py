"""What a run printed, as a text one can read: the terminal stays as it is, the copy has no bars and no colours."""

import os
import re
import sys
import threading
from pathlib import Path
from typing import IO, Any

from src.tracking.redaction import hidden

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Console:
    """Copies what Python writes to stdout and stderr into a file while it is entered.

    The streams' `write` is shadowed, the streams stay: log handlers made earlier are heard too, and a terminal is still
    one. Of a line that was rewritten with carriage returns only its last state is kept. What programs started by this
    one print, and native code, is not heard. With `append` the file's earlier content stays.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self.path = path
        self._mode = "a" if append else "w"
        self._owner = os.getpid()
        self._lock = threading.RLock()  # a signal handler may print while its own thread is printing
        self._streams: list[Any] = []
        self._writes: list[Any] = []
        self._lines: list[str] = []  # by stream, the line not ended yet
        self._file: IO[str] | None = None

    def __enter__(self) -> "Console":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, self._mode, encoding="utf-8", errors="replace", buffering=1)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "__dict__") and stream not in self._streams:
                self._listen(stream)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, write in zip(self._streams, self._writes, strict=True):
            stream.write = write
        with self._lock:
            for place, line in enumerate(self._lines):
                if line:
                    self._put(_last_state(line))
                self._lines[place] = ""
            if self._file is not None:
                self._file.close()
                self._file = None

    def _listen(self, stream: Any) -> None:
        place, write = len(self._streams), stream.write
        self._streams.append(stream)
        self._writes.append(write)
        self._lines.append("")

        def heard(text: str) -> Any:
            written = write(text)
            if os.getpid() == self._owner:  # a forked process must not wait for a lock that nobody will free
                self._hear(place, text)
            return written

        stream.write = heard

    def _hear(self, place: int, text: str) -> None:
        with self._lock:
            *ended, line = (self._lines[place] + text).replace("\r\n", "\n").split("\n")
            for each in ended:
                self._put(_last_state(each))
            # A bar rewrites its line for hours: forget what it has overwritten, but not a return that may end the line.
            start = line.rfind("\r", 0, len(line) - 1)
            self._lines[place] = line[start + 1 :]

    def _put(self, line: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(hidden(_ANSI.sub("", line)) + "\n")
        except OSError:  # a full disk must not end the program that prints
            self._file = None


def _last_state(line: str) -> str:
    return line.rstrip("\r").rsplit("\r", 1)[-1]
