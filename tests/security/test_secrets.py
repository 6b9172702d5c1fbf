"""Passwords and tokens stay where they are: planted everywhere, then looked for in all that was
written and printed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from src import run as program
from src.core.redaction import (
    redact_arguments,
    redact_for_terminal,
    redact_source,
    redact_text,
    redact_yaml,
)
from src.model.module import EncoderModule
from src.tracking import environment

# None of them is written out here as a whole, so that the patch of a change to this file holds none
# either.
ENVIRONMENT = {
    name: f"planted-{number}-Zq7!x/{number}"
    for number, name in enumerate(
        [
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_TRACKING_TOKEN",
            "PGPASSWORD",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "WANDB_API_KEY",
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "AZURE_CLIENT_SECRET",
            "DB_PASS",
            "MYSQL_PWD",
            "OUR_SIGNING_KEY",
            "SSH_PASSPHRASE",
        ]
    )
}
IN_ADDRESS = "planted@in:an/address"
TYPED = "planted-on-the-command-line"
ALL = [*ENVIRONMENT.values(), IN_ADDRESS, quote(IN_ADDRESS, safe=""), TYPED]


@pytest.fixture
def project(tmp_path: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOME_DATABASE", f"postgresql://me:{quote(IN_ADDRESS, safe='')}@host/db")
    (tmp_path / "mlruns").mkdir()
    shutil.copy(blank_database, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture
def typed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Type a command line after `python -m src.run`; gives its exit code and everything that it
    printed.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")

    def type_(*words: str) -> tuple[int, str]:
        small = (
            "+experiment=quickstart_scratch",
            "data.source.train=40",
            "data.source.validation=20",
            "data.source.test=20",
            "trainer.max_epochs=1",
            "trainer.accelerator=cpu",
            "trainer.precision=fp32",
            "callbacks.progress.style=off",
            "tracking.system_metrics=false",
            f"tracking.root={project}",
            f"data.cache={project}/.cache",
        )
        monkeypatch.setattr(sys, "argv", ["run", *small, *words])
        with pytest.raises(SystemExit) as caught:
            program.run_program()
        said = capfd.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    yield type_
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


def found_in(place: Path) -> list[tuple[str, str]]:
    """Each planted secret that a file below `place` holds."""
    contents = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert contents
    return [
        (str(path), each)
        for path, content in contents.items()
        for each in ALL
        if each.encode() in content
    ]


def spilt(text: str) -> list[str]:
    return [each for each in ALL if each in text]


def test_a_whole_run_and_a_failing_one_spill_nothing(
    typed: Callable[..., tuple[int, str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "name='see ${oc.env:HF_TOKEN}'",
        f"+tags={{hub.token:{TYPED},note:'${{oc.env:DB_PASS}}',api_key:'${{oc.env:OUR_SIGNING_KEY}}'}}",
        f"+tags.where='postgresql://me:{IN_ADDRESS}@host/db?password={TYPED}'",
    )
    code, said = typed(*words)
    assert code == 0 and "FINISHED" in said, said
    assert not spilt(said)
    everything = " ".join(
        [*ENVIRONMENT.values(), f"token='{TYPED}'", f"http://me:{IN_ADDRESS}@host"]
    )

    def fail(*_: object) -> None:
        print(f"about to fail with {everything}")
        raise RuntimeError(f"the server said: {everything}")

    monkeypatch.setattr(EncoderModule, "set_dataset_info", fail)
    # its journal stays
    code, said = typed(*words, "tracking=offline")
    assert code == 1 and "RuntimeError: the server said: ***" in said, said
    # a terminal shows what a program prints
    assert not spilt(said.replace(f"about to fail with {everything}", ""))
    assert not found_in(project)
    outbox = project / "mlruns" / "outbox"
    [console], [config] = outbox.rglob("console.log"), outbox.rglob("config.yaml")
    assert "about to fail with ***" in console.read_text()
    assert "hub.token: '***'" in config.read_text() and "name: see ***" in config.read_text()
    assert "see ***" in "".join(path.read_text() for path in outbox.rglob("*.jsonl"))


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://me:{IN_ADDRESS}@127.0.0.1:1/db",
        f"http://me:{TYPED}@127.0.0.1:9/",
        f"htpp://me:{TYPED}@host/db",
        f"file://me:{IN_ADDRESS}@host/db",
        f"'http://127.0.0.1:9/?token={TYPED}'",
    ],
)
def test_stores_that_are_refused_are_named_without_passwords(
    typed: Callable[..., tuple[int, str]], project: Path, uri: str
) -> None:
    code, said = typed(f"tracking.uri={uri}")
    assert code == 2 and "tracking.uri=" in said, said
    assert not spilt(said)
    assert not found_in(project)


def test_command_lines_that_are_refused_are_quoted_without_secrets(
    typed: Callable[..., tuple[int, str]],
) -> None:
    for words in (
        [f"+hub.token={TYPED}"],
        [f"seed={ENVIRONMENT['HF_TOKEN']}"],
        [f"api_key={TYPED}"],
        [f"+tags.password=[{TYPED}"],
        ["-m", f"+hub.token={TYPED},{TYPED}x", "seed=1,x"],
    ):
        code, said = typed(*words)
        assert code == 2, said
        assert not spilt(said), said


def test_the_patch_of_a_project_holds_no_secrets(project: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *identity, *words], cwd=project, check=True, capture_output=True)

    file = project / "code.py"
    file.write_text("token = None\n")
    git("init", "-q")
    git("add", "code.py")
    git("commit", "-q", "-m", "x")
    file.write_text("token = given\nload(password=given)\n")
    honest = environment.read_git_state(project)
    assert (
        honest is not None
        and "+load(password=given)" in honest.patch
        and "starred" not in honest.patch
    )
    lines = [
        f'api_key = "{TYPED}"',
        f"push('https://{TYPED}@host/x.git')",
        *ENVIRONMENT.values(),
        "ghp_" + "a" * 36,
    ]
    file.write_text("\n".join(lines))
    code = environment.read_git_state(project)
    assert code is not None and not spilt(code.patch) and "ghp_" not in code.patch
    assert code.patch.startswith(
        "# secrets are starred out, so this patch does not apply as it is\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql+psycopg2://u:p/x@h/db, next", "postgresql+psycopg2://u:***@h/db, next"),
        ("https://abc@github.com/x", "https://***@github.com/x"),
        ("http://h/x?token=abc&max_tokens=5&sig=aa", "http://h/x?token=***&max_tokens=5&sig=***"),
        ("host=h password=abc user=u", "host=h password=*** user=u"),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': 'Basic ***'}"),
        ('{"token": "abc", "tokens": "5"}', '{"token": "***", "tokens": "5"}'),
        ("x hf_" + "a" * 30 + " y", "x *** y"),
        # and what is none
        ("token=5 of 9", "token=*** of 9"),
        ("mask_token=[MASK] tokens=5 max_tokens=9", "mask_token=[MASK] tokens=5 max_tokens=9"),
        ("sqlite:////a/b.db http://host:80/x", "sqlite:////a/b.db http://host:80/x"),
        ("Basic understanding of bearer tokens", "Basic understanding of bearer tokens"),
        ("val/loss 0.25 at step=5, me@host", "val/loss 0.25 at step=5, me@host"),
    ],
)
def test_what_is_taken_for_a_secret(text: str, shown: str) -> None:
    assert redact_text(text) == shown
    assert redact_text(shown) == shown


def test_values_of_variables_are_found_whole_and_in_every_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "won der\nland and more")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    assert redact_text("land and more! land%20and%20more") == "***! ***"
    assert redact_text(repr("won der\nland and more")) == "'***'"
    assert (
        redact_text(f"abc islands and moreover {tmp_path}")
        == f"abc islands and moreover {tmp_path}"
    )


def test_yaml_of_any_form_and_words_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "a:\n  token: |-\n    x\n    y\n  l:\n  - api_key: zz\n    password: [1, 2]\n  n: "
        "null\n  token_count: 5\n"
    )
    assert redact_yaml(text) == (
        "a:\n  token: '***'\n  l:\n  - api_key: '***'\n    password: '***'\n  n: null\n  "
        "token_count: 5\n"
    )
    assert redact_arguments(["+a={token:b c,d:1}", "--api-key", "abc", "x.password=[1,2]"]) == [
        "+a={token:***,d:1}",
        "--api-key",
        "***",
        "x.password=***",
    ]
    assert redact_source("load(token=token, key='token')") == "load(token=token, key='token')"


def test_a_message_cannot_command_the_terminal() -> None:
    assert (
        redact_for_terminal("file \x1b]52;c;aaa\x07\r\n\tx\x9b")
        == "file \\x1b]52;c;aaa\\x07\\r\n\tx\\x9b"
    )
