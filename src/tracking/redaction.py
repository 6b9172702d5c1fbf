"""What must never reach a store that others read: passwords and tokens, starred out by the name they stand under."""

import re
from collections.abc import Iterable

# `hf_token` and `password` are secrets; `max_tokens`, `tokenizer` and `mask_token` are the daily words of this field.
_SECRET = re.compile(
    r"(?:(?:^|\.)token"
    r"|(?:^|[._-])(?:hf|hub|auth|api|access|refresh|bearer|secret)[_-]token"
    r"|(?:password|passwd|secret|credentials?)"
    r"|(?:^|[._-])(?:api|access|private)[_-]?key)$",
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """`text` with the passwords of its addresses starred out."""
    return re.sub(r"(\w+://[^\s:/@]*):[^\s/@]+@", r"\1:***@", text)


def is_secret(key: str) -> bool:
    """Whether a dotted key names something that only its owner may read."""
    return _SECRET.search(key) is not None


def hidden_value(key: str, value: str) -> str:
    return "***" if is_secret(key) and value not in ("", "null") else hidden(value)


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
    """A YAML text with the values of secret keys starred out, line by line."""

    def line(match: re.Match[str]) -> str:
        return f"{match[1]}{match[2]}: {hidden_value(match[2], match[3])}"

    return re.sub(r"^([ \t-]*)([\w.-]+): +(\S.*)$", line, text, flags=re.MULTILINE)
