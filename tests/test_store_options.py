"""The store that every command asks: what its environment names, or `null` for the project's."""

import importlib
from pathlib import Path

import pytest

from src.core.files import PROJECT_ROOT

# What is typed before the store, and what says that the project's own was asked.
COMMANDS = {
    "runs": (["abcdef12"], "no run has been kept yet"),
    "rerun": (["abcdef12"], "no run has been kept yet"),
    "compare": (["abcdef12"], "there is no such run"),
    "leaderboard": (["abcdef12"], "there is no such run"),
    "predict": (["run=abcdef12", "text=fine"], "no run has been kept yet"),
    "explain": (["run=abcdef12", "text=fine"], "no run has been kept yet"),
    "audit": (["run=abcdef12", "membership=true"], "no run has been kept yet"),
    "export": (["run=abcdef12", "format=mlflow", "output=exported"], "no run has been kept yet"),
}
FLAGS = ("runs", "rerun", "compare", "leaderboard")


def _type(program: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert importlib.import_module(f"src.{program}").main(words) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("program", COMMANDS)
def test_the_remedy_for_a_server_that_is_away(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    words, answer = COMMANDS[program]
    root = ["--root", str(tmp_path)] if program in FLAGS else [f"root={tmp_path}"]
    remedy = "--uri=null" if program in FLAGS else "uri=null"
    said = _type(program, [*words, *root], capsys)
    assert "127.0.0.1:9: no server answers there" in said
    assert said.endswith(f"or use the store in mlruns/mlflow.db, by {remedy}\n")
    assert answer in _type(program, [*words, *root, remedy], capsys)
    if program in FLAGS:
        assert answer in _type(program, [*words, *root, "--uri", "null"], capsys)


def test_commands_that_serve_and_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    # the store is checked before the port
    assert "port=x" in _type("ui", ["uri=null", f"root={tmp_path}", "port=x"], capsys)
    sync = importlib.import_module("src.sync")
    assert sync.main(["--to", "null", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"nothing waits in {tmp_path / 'mlruns/outbox'}\n"


def test_all_commands_that_take_a_store_are_tried() -> None:
    reads = {
        path.stem
        for path in (PROJECT_ROOT / "src").glob("*.py")
        if "choose_tracking_uri(" in path.read_text(encoding="utf-8")
        or "add_store_flags()" in path.read_text(encoding="utf-8")
    }
    assert reads == {*COMMANDS, "ui"}
