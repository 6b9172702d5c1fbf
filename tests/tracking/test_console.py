"""The copy of the console in a file."""

import io
import sys
from pathlib import Path

import pytest

from src.tracking.console import ConsoleCapture


def write_and_copy(monkeypatch: pytest.MonkeyPatch, path: Path, *texts: str) -> tuple[str, str]:
    """Write texts to stdout; return what the copy and the terminal then hold."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    with ConsoleCapture(path):
        for text in texts:
            sys.stdout.write(text)
    sys.stdout.write("after")
    terminal.seek(0)
    return path.read_text(), terminal.read()


def test_console_keeps_last_states_and_no_colours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = (
        "\x1b[31mred\x1b[0m\n",
        *(f"\r{done}%" for done in range(101)),
        "\nwindows\r\n",
        "\x1b[Aopen ",
        "end",
    )
    copy, terminal = write_and_copy(monkeypatch, tmp_path / "console.log", *texts)
    assert copy == "red\n100%\nwindows\nopen end\n"
    assert terminal == "".join(texts) + "after"


def test_console_holds_one_state_of_a_long_bar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    console = ConsoleCapture(tmp_path / "console.log")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with console:
        for done in range(10_000):
            print(f"\r{done:06d}", end="")
        assert max(map(len, console._partial_lines)) < 20
    assert (tmp_path / "console.log").read_text() == "009999\n"


def test_console_hides_passwords_and_hears_older_handlers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import logging

    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("older")
    logger.addHandler(handler)
    with ConsoleCapture(tmp_path / "console.log"):
        logger.warning("postgresql://me:word@host/db")
    logger.removeHandler(handler)
    assert (tmp_path / "console.log").read_text() == "postgresql://me:***@host/db\n"
