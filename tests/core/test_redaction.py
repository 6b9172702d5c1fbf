"""Secrets: which keys name them, and how texts are printed without them."""

import pytest

from src.core.redaction import (
    is_secret_key,
    redact_arguments,
    redact_for_terminal,
    redact_text,
    redact_yaml,
)


@pytest.mark.parametrize(
    "key", ["hub.token", "HF_TOKEN", "a.hf_token", "db_password", "x.api_key", "client_secret"]
)
def test_secret_keys(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["max_tokens", "tokenizer", "mask_token", "data.tokens", "key", "monkey", "tokens"]
)
def test_ordinary_keys(key: str) -> None:
    assert not is_secret_key(key)


def test_secrets_on_a_command_line_and_in_yaml() -> None:
    words = [
        "+hub.token=abc",
        "--password",
        "abc",
        "uri=http://me:abc@host/x",
        "max_tokens=5",
        "--verbose",
    ]
    assert redact_arguments(words) == [
        "+hub.token=***",
        "--password",
        "***",
        "uri=http://me:***@host/x",
        "max_tokens=5",
        "--verbose",
    ]
    assert redact_yaml("hub:\n  token: abc\n  other: null\nl:\n- api_key: x\n") == (
        "hub:\n  token: '***'\n  other: null\nl:\n- api_key: '***'\n"
    )
    assert redact_text("sqlite:////a/b.db http://host:80/x") == "sqlite:////a/b.db http://host:80/x"


def test_what_a_terminal_cannot_show_is_an_escape() -> None:
    assert redact_for_terminal("a\x1b[2J \udce9t\xe9") == "a\\x1b[2J \\udce9t\xe9"
