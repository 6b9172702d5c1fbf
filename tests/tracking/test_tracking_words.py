"""Small pure things: names of runs, keys of parameters, secrets, and what a console says."""

import io
import sys
import types
from importlib import machinery
from pathlib import Path

import pytest

from src.tracking.console import Console
from src.tracking.journal import Position, read
from src.tracking.naming import MOST_CHARACTERS, run_name
from src.tracking.outbox import Outbox
from src.tracking.params import fit_params, flatten
from src.tracking.redaction import hidden, hidden_arguments, hidden_yaml, is_secret
from src.tracking.sender import Sender
from src.tracking.system import Sampler


@pytest.mark.parametrize(
    ("experiment", "overrides", "name"),
    [
        ("imdb", [], "imdb"),
        ("imdb", ["+experiment=imdb", "model.optim.lr=3e-05", "seed=2"], "imdb lr=3e-05 seed=2"),
        ("imdb", ["model.optim.lr=1", "model.head.lr=2", "seed=0"], "imdb optim.lr=1 head.lr=2 seed=0"),
        ("imdb", ["hydra.verbose=true", "tracking.uri=http://x"], "imdb"),
        (
            "imdb",
            ["model/encoder=small", "++x.y=[1, 2]", "~callbacks"],
            "imdb model/encoder=small y=[1,2] no-callbacks",
        ),
        ("", ["data='a b'", "name="], "run data=ab name=''"),
        ("imdb", ["seed=1", "model.seed=2"], "imdb seed=1 model.seed=2"),
    ],
)
def test_run_names(experiment: str, overrides: list[str], name: str) -> None:
    assert run_name(experiment, overrides) == name


def test_a_long_name_ends_at_a_word() -> None:
    name = run_name("imdb", [f"group.key_number_{number}=value" for number in range(20)])
    assert len(name) <= MOST_CHARACTERS and name.endswith("=value +16")


def test_flatten() -> None:
    config = {"a": {"b": 1, "c": {}, "d": None}, "e": [1, {"f": True}], "g": 3e-05, "h": "text"}
    assert flatten(config) == {
        "a.b": "1",
        "a.c": "{}",
        "a.d": "null",
        "e": "[1,{f:true}]",
        "g": "3e-05",
        "h": "text",
    }


def test_keys_that_mlflow_does_not_take() -> None:
    assert fit_params({"a@b": 1, "c/d": 2}) == ({"a_b": "1", "c/d": "2"}, {})


@pytest.mark.parametrize("key", ["hub.token", "HF_TOKEN", "a.hf_token", "db_password", "x.api_key", "client_secret"])
def test_secret_keys(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["max_tokens", "tokenizer", "mask_token", "data.tokens", "key", "monkey", "tokens"])
def test_ordinary_keys(key: str) -> None:
    assert not is_secret(key)


def test_secrets_on_a_command_line_and_in_yaml() -> None:
    words = ["+hub.token=abc", "--password", "abc", "uri=http://me:abc@host/x", "max_tokens=5", "--verbose"]
    assert hidden_arguments(words) == [
        "+hub.token=***",
        "--password",
        "***",
        "uri=http://me:***@host/x",
        "max_tokens=5",
        "--verbose",
    ]
    assert hidden_yaml("hub:\n  token: abc\n  other: null\nl:\n- api_key: x\n") == (
        "hub:\n  token: '***'\n  other: null\nl:\n- api_key: '***'\n"
    )
    assert hidden("sqlite:////a/b.db http://host:80/x") == "sqlite:////a/b.db http://host:80/x"


def heard(monkeypatch: pytest.MonkeyPatch, path: Path, *texts: str) -> tuple[str, str]:
    """What the copy and the terminal hold after `texts` were written to stdout."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    monkeypatch.setattr(sys, "stdout", terminal)
    with Console(path):
        for text in texts:
            sys.stdout.write(text)
    sys.stdout.write("after")
    terminal.seek(0)
    return path.read_text(), terminal.read()


def test_console_keeps_last_states_and_no_colours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = ("\x1b[31mred\x1b[0m\n", *(f"\r{done}%" for done in range(101)), "\nwindows\r\n", "\x1b[Aopen ", "end")
    copy, terminal = heard(monkeypatch, tmp_path / "console.log", *texts)
    assert copy == "red\n100%\nwindows\nopen end\n"
    assert terminal == "".join(texts) + "after"


def test_console_holds_one_state_of_a_long_bar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    console = Console(tmp_path / "console.log")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with console:
        for done in range(10_000):
            print(f"\r{done:06d}", end="")
        assert max(map(len, console._lines)) < 20
    assert (tmp_path / "console.log").read_text() == "009999\n"


def test_console_hides_passwords_and_hears_older_handlers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import logging

    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("older")
    logger.addHandler(handler)
    with Console(tmp_path / "console.log"):
        logger.warning("postgresql://me:word@host/db")
    logger.removeHandler(handler)
    assert (tmp_path / "console.log").read_text() == "postgresql://me:***@host/db\n"


def test_gpus_are_sampled_where_there_is_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nvml(types.ModuleType):
        NVMLError = RuntimeError

        def nvmlInit(self) -> None: ...

        def nvmlDeviceGetCount(self) -> int:
            return 1

        def nvmlDeviceGetHandleByIndex(self, place: int) -> str:
            return f"gpu {place}"

        def nvmlDeviceGetUtilizationRates(self, _: str) -> types.SimpleNamespace:
            return types.SimpleNamespace(gpu=40)

        def nvmlDeviceGetMemoryInfo(self, _: str) -> types.SimpleNamespace:
            return types.SimpleNamespace(used=3_000_000_000)

    fake = Nvml("pynvml")
    fake.__spec__ = machinery.ModuleSpec("pynvml", None)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    box = Outbox(tmp_path, "a" * 32, {})
    sender = Sender(box)
    with Sampler(sender, 7):
        pass
    sender.close()
    [taken, step] = next((each["values"], each["step"]) for each, _ in read(box.folder, Position()) if each)
    assert step == 7
    assert taken["system/gpu_0_percent"] == 40 and taken["system/gpu_0_memory_gigabytes"] == 3
