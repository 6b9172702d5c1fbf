"""The command that shows the runs."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from src import ui
from src.core.user_errors import UserError
from src.tracking.store import Store
from src.tracking.ui_server import find_free_port

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("5000", "'5000' is not an option: expected key=value, with one of port, uri, experiment"),
        ("prt=1", "prt=1: there is no option 'prt'; did you mean 'port'?"),
        ("port=high", "port=high: expected a whole number from 1 to 65535"),
        ("port=70000", "port=70000: expected a whole number from 1 to 65535"),
        ("uri=postgresql://host/db", "uri=postgresql://host/db is served by the one who keeps it"),
        ("uri=mlruns", "uri=mlruns is not the address of a store"),
    ],
)
def test_faults_end_with_2(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.main([argument]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.main(["--help"]) == 0
    assert "python -m src.ui [port=5000]" in capsys.readouterr().out


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < find_free_port(port) < port + 100


def test_ports_of_others() -> None:
    with pytest.raises(UserError, match="this port and the 99 after it are taken"):
        find_free_port(70000)


def test_the_ui_shows_the_experiment_and_leaves_nothing_behind(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    make_store(tmp_path)
    code = f"""
import signal
from src import ui
from src.tracking.store import Store
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    ui._serve_ui(Store(root={str(tmp_path)!r}), 5050)
except KeyboardInterrupt:
    print("ended")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1].startswith(("port", "tracking")):
            lines.append(process.stdout.readline())
        address, _, path = lines[-1].split()[0].partition("#")
        with urllib.request.urlopen(f"{address}health", timeout=10) as answer:
            assert answer.status == 200
        assert path == (
            "/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=palimpsest"
        )
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "ended\n"
    children = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout
    assert os.fspath(tmp_path) not in children
