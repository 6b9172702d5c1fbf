"""What must never reach a store, a file or a terminal that others read: passwords and tokens, starred out.

Known as a secret is what stands under a secret's name (`hub.token: ...`, `password=...`), the user part of an address,
what looks like the tokens of well-known services, and the value of every environment variable whose name says so,
wherever that value turns up.
"""

import functools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

STARS = "***"
SHORTEST = 6  # characters of a variable's value that is looked for: shorter ones are part of ordinary words

# `hf_token` and `password` are secrets; `max_tokens`, `tokenizer` and `mask_token` are the daily words of this field.
_SECRET = re.compile(
    r"(?:(?:^|\.)token"
    r"|(?:^|[._-])(?:hf|hub|auth|api|access|refresh|bearer|secret|session|security|sas|job|bot|github|gitlab|gh)[_-]?token"
    r"|(?:password|passwd|passphrase|secret|credentials?)"
    r"|(?:^|[._-])pwd"
    r"|x-amz-signature|^sig"
    r"|(?:^|[._-])(?:api|access|private|secret|account)[_-]?key)$",
    re.IGNORECASE,
)
# Variables of the environment say it more plainly, and none of them is a mask token.
_VARIABLE = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|_PASS|.PWD|CREDENTIALS?|_KEY|_KEY_ID)$", re.IGNORECASE
)
_HARMLESS = {"OLDPWD", "HOST_PWD"}
_TOKENS = re.compile(
    r"\b(?:hf_\w{16,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|sk-[\w-]{20,}"
    r"|xox[abopsr]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
_HEADER = re.compile(r"(\bauthorization\W{1,4}(?:\w+\s+)?|\bbearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
# Bounds and what must stand before a match keep a search linear, also on a patch with megabytes on one line.
_PASSWORD = re.compile(r"(?<!\w)(\w+://[^\s:/@]{0,300}):(?:[^\s/]{0,300}@|[^\s@]{0,300}@)")  # a slash may be in it
_USER = re.compile(r"(?<!\w)(https?://)[^\s:/@?#]{1,300}@")  # a token alone, as git's addresses have it
# A name and its value: in quotes, after an equals sign, and in braces as Hydra reads them.
_QUOTED = re.compile(r"(?<![\w.-])([\w.-]+)[\"']?\s{0,9}[:=]\s{0,9}([\"'])(?!\2)(?P<value>.{1,4000}?)\2")
_PLAIN = re.compile(r"(?<![\w.-])([\w.-]+)=(?P<value>[^\s\"'&,;)\]}]+)")
_IN_BRACES = re.compile(r"(?<=[{,])(\s{0,9}[\w.-]+)\s{0,9}:\s{0,9}(?P<value>[^,{}\[\]]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def hidden(text: str) -> str:
    """`text` with the secrets in it starred out."""
    return _starred(_IN_BRACES, _starred(_PLAIN, hidden_source(text)))


def spoken(message: object) -> str:
    """A message as a terminal may show it: no secrets, and control characters written out.

    It may quote a label or a file's name, and those come from elsewhere.
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], hidden(str(message)))


def hidden_source(text: str) -> str:
    """The same for program text, in which `password=given` names a variable: only what stands in quotes is a value."""
    known = _values_of(tuple(each for each in os.environ.items() if _names_secret(each[0]) or "://" in each[1]))
    text = known.sub(STARS, text) if known else text
    text = _HEADER.sub(rf"\1{STARS}", _TOKENS.sub(STARS, text))
    return _starred(_QUOTED, _USER.sub(rf"\1{STARS}@", _PASSWORD.sub(rf"\1:{STARS}@", text)))


def _starred(pattern: re.Pattern[str], text: str) -> str:
    """`text` with the values of secret names starred out; the value of another name may hold some in its turn."""

    def star(found: re.Match[str]) -> str:
        value = STARS if is_secret(found[1]) else _starred(pattern, found["value"])
        start, end = (place - found.start() for place in found.span("value"))
        return f"{found[0][:start]}{value}{found[0][end:]}"

    return pattern.sub(star, text)


@functools.lru_cache(maxsize=1024)
def _names_secret(variable: str) -> bool:
    return _VARIABLE.search(variable) is not None and variable not in _HARMLESS


@functools.lru_cache(maxsize=8)
def _values_of(variables: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """Finds the secrets among the values of variables, as they are and as addresses and Python's `repr` write them."""
    secrets: set[str] = set()
    for _, value in variables:
        if "://" in value:
            secrets |= {each[1] for each in re.finditer(r"://[^\s:/@]*:([^\s/]*|[^\s@]*)@", value)}
        elif not os.path.exists(value):
            secrets |= {value, *value.splitlines()}
    secrets |= {unquote(each) for each in secrets}
    ways = {way for each in secrets for way in (each.strip(), quote(each, safe=""), repr(each)[1:-1])}
    longest_first = sorted((each for each in ways if len(each) >= SHORTEST), key=len, reverse=True)
    if not longest_first:
        return None
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9])")


def is_secret(key: str) -> bool:
    """Whether a dotted key names something that only its owner may read."""
    return _SECRET.search(key.strip()) is not None


def hidden_value(key: str, value: str) -> str:
    return STARS if is_secret(key) and value not in ("", "null") else hidden(value)


def hidden_arguments(arguments: Iterable[str]) -> list[str]:
    """A command line's words; `key=value` is judged by its key, `--key value` by the word before."""
    shown: list[str] = []
    before = ""
    for word in arguments:
        key, equals, value = word.partition("=")
        shown.append(f"{key}={hidden_value(key.lstrip('+~-'), value)}" if equals else hidden_value(before, word))
        before = word.lstrip("-") if word.startswith("--") and not equals else ""
    return shown


def hidden_yaml(text: str) -> str:
    """A YAML text with the secrets in it starred out, of whatever form the values of secret keys are."""
    if any(is_secret(key) for key in re.findall(r"([\w.-]+)[\"']?:", text)):
        import yaml

        text = yaml.safe_dump(_hidden_tree(yaml.safe_load(text)), sort_keys=False, allow_unicode=True)
    return hidden(text)


def _hidden_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: STARS if is_secret(str(key)) and each not in (None, "") else _hidden_tree(each)
            for key, each in value.items()
        }
    return [_hidden_tree(each) for each in value] if isinstance(value, list) else value
