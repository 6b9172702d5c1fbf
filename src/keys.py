"""The keys of the config: `python -m src.keys [WORD ...]`.

Lists every key with what it takes, its default and its meaning; with words only the keys in whose
name or meaning all of them occur. docs/keys.md holds the whole list.
"""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/keys.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import run_command_line
from src.config.foreign_keys import explain_foreign_key, find_same_key
from src.config.key_reference import ConfigKey, format_key_reference, list_key_sections
from src.core.printing import print_line
from src.core.user_errors import UserError

_WIDTH = 80
_MARKDOWN = "--markdown"


def main(arguments: Sequence[str]) -> int:
    """Print the keys; returns the exit code."""
    return run_command_line(arguments, _handle_arguments, help_text=__doc__, option_names={})


def _handle_arguments(arguments: Sequence[str]) -> int:
    sections = list_key_sections()
    if list(arguments) == [_MARKDOWN]:
        print_line(format_key_reference(sections).rstrip("\n"))
        return 0
    words = [word.lower() for word in arguments]
    found = [key for section in sections for key in section.keys if _has_words(key, words)]
    if not found and len(words) == 1 and (same := find_same_key(words[0])):
        found = [key for section in sections for key in section.keys if key.key == same]
    if not found:
        answer = explain_foreign_key(words[0]) if len(words) == 1 else None
        raise UserError(
            f"no key has {' and '.join(arguments)} in its name or meaning",
            hint=answer or "a shorter word may be in some",
        )
    # the key itself and those below it, then those that only tell of it
    for key in sorted(found, key=lambda one: not f"{one.key}.".startswith(f"{'.'.join(words)}.")):
        print_line("\n".join(_format_key(key)))
    return 0


def _has_words(key: ConfigKey, words: Sequence[str]) -> bool:
    text = f"{key.key} {key.meaning}".lower()
    return all(word in text for word in words)


def _format_key(key: ConfigKey) -> list[str]:
    default = f" (default: {key.default})" if key.default else ""
    meaning = textwrap.wrap(key.meaning, _WIDTH - 4)
    return [f"{key.key}={default}", *(f"    {line}" for line in [key.type, *meaning])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
