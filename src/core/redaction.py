"""Stars out passwords and tokens in texts that others may read: on a terminal, in a file, in a
store.

Four things count as secrets: a value under a secret's name (`hub.token: ...`, `password=...`), the
password in an address, the tokens of well-known services by their form, and the value of every
environment variable whose name says that it is secret, wherever that value appears.

Texts are redacted in the few places that print or store them (`core/printing.py`, the run record,
the console log, the study), not where a message is made.
"""

import functools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

REDACTED = "***"
# shorter values of environment variables are not searched for: they are part of ordinary words
MIN_SECRET_CHARACTERS = 6

# `hf_token` and `password` are secrets; `max_tokens`, `tokenizer` and `mask_token` are the daily
# words of this field.
_SECRET_KEY = re.compile(
    r"(?:(?:^|\.)token"
    r"|(?:^|[._-])(?:hf|hub|auth|api|access|refresh|bearer|secret|session|security|sas|job|bot|github|gitlab|gh)[_-]?token"
    r"|(?:password|passwd|passphrase|secret|credentials?)"
    r"|(?:^|[._-])pwd"
    r"|x-amz-signature|^sig"
    r"|(?:^|[._-])(?:api|access|private|secret|account)[_-]?key)$",
    re.IGNORECASE,
)
# An environment variable's name ends in such a word; none of them holds a mask token.
_SECRET_VARIABLE = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|_PASS|.PWD|CREDENTIALS?|_KEY|_KEY_ID)$",
    re.IGNORECASE,
)
_HARMLESS_VARIABLES = {"OLDPWD", "HOST_PWD"}
_KNOWN_TOKEN = re.compile(
    r"\b(?:hf_\w{16,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|sk-[\w-]{20,}"
    r"|xox[abopsr]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
_AUTH_HEADER = re.compile(
    r"(\bauthorization\W{1,4}(?:\w+\s+)?|\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE
)
# The bounded repetitions and the look-behinds keep a search linear, even in a patch that has
# megabytes on one line. A password may contain a slash.
_URL_PASSWORD = re.compile(r"(?<!\w)(\w+://[^\s:/@]{0,300}):(?:[^\s/]{0,300}@|[^\s@]{0,300}@)")
# a token without a user name, as in git's addresses
_URL_USER = re.compile(r"(?<!\w)(https?://)[^\s:/@?#]{1,300}@")
# a name and its value: in quotes, after an equals sign, and in braces as Hydra reads them
_QUOTED_PAIR = re.compile(
    r"(?<![\w.-])([\w.-]+)[\"']?\s{0,9}[:=]\s{0,9}([\"'])(?!\2)(?P<value>.{1,4000}?)\2"
)
_UNQUOTED_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)=(?P<value>[^\s\"'&,;)\]}]+)")
_BRACED_PAIR = re.compile(r"(?<=[{,])(\s{0,9}[\w.-]+)\s{0,9}:\s{0,9}(?P<value>[^,{}\[\]]+)")
# with half characters, which stand for the bytes of a file name that is not UTF-8
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def redact_text(text: str) -> str:
    """A text with its secrets starred out."""
    return _redact_pairs(_BRACED_PAIR, _redact_pairs(_UNQUOTED_PAIR, redact_source(text)))


def redact_for_terminal(message: object) -> str:
    """A message without secrets, and with control characters as escapes.

    A label or file name that the message quotes could otherwise command the terminal.
    """
    return _CONTROL_CHARACTER.sub(lambda found: repr(found[0])[1:-1], redact_text(str(message)))


def redact_source(text: str) -> str:
    """Program text with its secrets starred out. In it `password=given` names a variable, so only
    values in quotes are starred out.
    """
    known = _compile_secret_pattern(
        tuple(
            (name, value)
            for name, value in os.environ.items()
            if _is_secret_variable(name) or "://" in value
        )
    )
    text = known.sub(REDACTED, text) if known else text
    text = _AUTH_HEADER.sub(rf"\1{REDACTED}", _KNOWN_TOKEN.sub(REDACTED, text))
    return _redact_pairs(
        _QUOTED_PAIR, _URL_USER.sub(rf"\1{REDACTED}@", _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text))
    )


def _redact_pairs(pattern: re.Pattern[str], text: str) -> str:
    """A text with the values of secret names starred out, also within the values of other names."""

    def star(found: re.Match[str]) -> str:
        value = REDACTED if is_secret_key(found[1]) else _redact_pairs(pattern, found["value"])
        start, end = (place - found.start() for place in found.span("value"))
        return f"{found[0][:start]}{value}{found[0][end:]}"

    return pattern.sub(star, text)


@functools.lru_cache(maxsize=1024)
def _is_secret_variable(variable: str) -> bool:
    return _SECRET_VARIABLE.search(variable) is not None and variable not in _HARMLESS_VARIABLES


@functools.lru_cache(maxsize=8)
def _compile_secret_pattern(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """A pattern that finds the secret values of environment variables, also as written in an
    address or by Python's `repr`; None if there are none.
    """
    secrets: set[str] = set()
    for _, value in variables:
        if "://" in value:
            secrets |= {
                match[1] for match in re.finditer(r"://[^\s:/@]*:([^\s/]*|[^\s@]*)@", value)
            }
        elif not os.path.exists(value):
            secrets |= {value, *value.splitlines()}
    secrets |= {unquote(secret) for secret in secrets}
    ways = {
        way
        for secret in secrets
        for way in (secret.strip(), quote(secret, safe=""), repr(secret)[1:-1])
    }
    longest_first = sorted(
        (way for way in ways if len(way) >= MIN_SECRET_CHARACTERS), key=len, reverse=True
    )
    if not longest_first:
        return None
    return re.compile(
        rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9])"
    )


def is_secret_key(key: str) -> bool:
    """True if the value of a dotted key is a secret."""
    return _SECRET_KEY.search(key.strip()) is not None


def redact_value(key: str, value: str) -> str:
    return REDACTED if is_secret_key(key) and value not in ("", "null") else redact_text(value)


def redact_arguments(arguments: Iterable[str]) -> list[str]:
    """The words of a command line with their secrets starred out, by the key in `key=value` or the
    word before in `--key value`.
    """
    shown: list[str] = []
    before = ""
    for word in arguments:
        key, equals, value = word.partition("=")
        shown.append(
            f"{key}={redact_value(key.lstrip('+~-'), value)}"
            if equals
            else redact_value(before, word)
        )
        before = word.lstrip("-") if word.startswith("--") and not equals else ""
    return shown


def redact_yaml(text: str) -> str:
    """A YAML text with its secrets starred out; the value of a secret key may be of any type."""
    if any(is_secret_key(key) for key in re.findall(r"([\w.-]+)[\"']?:", text)):
        import yaml

        text = yaml.safe_dump(
            _redact_tree(yaml.safe_load(text)), sort_keys=False, allow_unicode=True
        )
    return redact_text(text)


def _redact_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if is_secret_key(str(key)) and child not in (None, "")
            else _redact_tree(child)
            for key, child in value.items()
        }
    return [_redact_tree(child) for child in value] if isinstance(value, list) else value
