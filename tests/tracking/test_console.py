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


def test_console_holds_no_debris_of_bars_that_move_the_cursor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As tqdm writes a bar below another one."""
    from tqdm import tqdm

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    with ConsoleCapture(tmp_path / "console.log"):
        options = {"file": sys.stdout, "ncols": 60, "mininterval": 0}
        for _ in tqdm(range(3), desc="Epoch 0", position=0, **options):
            for _ in tqdm(range(2), desc="Validation", position=1, leave=False, **options):
                pass
            for _ in tqdm(iter(range(2)), desc="Unknown", position=1, leave=False, **options):
                pass
        print("a line | of one's own, 50% | 1/?")
    lines = (tmp_path / "console.log").read_text().splitlines()
    assert [line[:13] for line in lines if "100%" in line][-1] == "Epoch 0: 100%"
    assert lines[-1] == "a line | of one's own, 50% | 1/?"
    for line in lines[:-1]:
        assert "100%" in line, lines


def test_a_line_that_is_printed_beside_a_bar_stands_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tqdm import tqdm

    from src.core.printing import print_line

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ConsoleCapture(tmp_path / "console.log"):
        bar = tqdm(bar_format="{desc}", file=sys.stderr)
        bar.set_description_str("step 1 of 3")
        print_line("a message")
        bar.set_description_str("step 3 of 3")
        bar.close()
    assert (tmp_path / "console.log").read_text() == "a message\nstep 3 of 3\n"
