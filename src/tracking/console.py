"""A copy of what a run prints, as readable text: without colours and rewritten progress bars."""

import os
import re
import sys
import threading
from pathlib import Path
from typing import IO, Any

from src.core.redaction import redact_text

# what a bar leaves that moves the cursor: an empty line, or a state that may not be its last
_UNFINISHED_BAR = re.compile(r"\s*$|[^|]*\b\d{1,2}%\||[^|]*\|\s*\|?\s*\d+/\?|[^|]*\d+\w+ \[\d+:\d+")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class ConsoleCapture:
    """Copies what Python writes to stdout and stderr into a file while it is entered.

    The `write` methods of the streams are replaced and the streams stay, so log handlers made
    earlier are copied too, and a terminal is still one. Of a line that is rewritten with carriage
    returns only the last state is kept, and of a progress bar only that of its end. Output of child
    processes and native code is not copied.

    Args:
        append: keep the file's earlier content.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self.path = path
        self._file_mode = "a" if append else "w"
        self._owner_pid = os.getpid()
        # a signal handler may print while its own thread is printing
        self._lock = threading.RLock()
        self._streams: list[Any] = []
        self._original_writes: list[Any] = []
        # by stream, the line not ended yet
        self._partial_lines: list[str] = []
        self._file: IO[str] | None = None

    def __enter__(self) -> "ConsoleCapture":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(
            self.path, self._file_mode, encoding="utf-8", errors="replace", buffering=1
        )
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "__dict__") and stream not in self._streams:
                self._capture_stream(stream)
        return self

    def __exit__(self, *_: object) -> None:
        for stream, write in zip(self._streams, self._original_writes, strict=True):
            stream.write = write
        with self._lock:
            for line in filter(None, self._partial_lines):
                self._write_line(line)
            self._partial_lines = [""] * len(self._streams)
            if self._file is not None:
                self._file.close()
                self._file = None

    def _capture_stream(self, stream: Any) -> None:
        index, write = len(self._streams), stream.write
        self._streams.append(stream)
        self._original_writes.append(write)
        self._partial_lines.append("")

        def write_and_copy(text: str) -> Any:
            result = write(text)
            # a forked process must not wait for a lock that nobody will release
            if os.getpid() == self._owner_pid:
                self._buffer_text(index, text)
            return result

        stream.write = write_and_copy

    def _buffer_text(self, index: int, text: str) -> None:
        with self._lock:
            *lines, rest = (self._partial_lines[index] + text).replace("\r\n", "\n").split("\n")
            for line in lines:
                self._write_line(line)
            # A progress bar may rewrite its line for hours: forget what it has overwritten, except
            # for a carriage return at the end, which may belong to a line break.
            start = rest.rfind("\r", 0, len(rest) - 1)
            self._partial_lines[index] = rest[max(start, 0) :]

    def _write_line(self, line: str) -> None:
        if self._file is None:
            return
        is_rewritten = "\r" in line or "\x1b[A" in line
        last_state = _ANSI.sub("", line.rstrip("\r").rsplit("\r", 1)[-1])
        if is_rewritten:
            last_state = last_state.rstrip()
            if _UNFINISHED_BAR.match(last_state):
                return
        try:
            self._file.write(redact_text(last_state) + "\n")
        except OSError:
            # a full disk must not end the program that prints
            self._file = None
