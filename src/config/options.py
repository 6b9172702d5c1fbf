"""The command line of the small commands: `key=value`, as typed (Hydra's grammar would trip over a text's commas), and
`--flags` of those that list and send."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from src.terms.fault import Fault, suggestion
from src.tracking.redaction import spoken


class Flags(argparse.ArgumentParser):
    """Takes flags as typed, without abbreviations; what is wrong with them is a Fault."""

    def __init__(self, program: str) -> None:
        super().__init__(prog=program, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Fault(f"{message} ({self.prog} --help)")


def answered(
    arguments: Sequence[str],
    answer: Callable[[Sequence[str]], int],
    *,
    about: str | None,
    called: Mapping[str, str],
) -> int:
    """The exit code of a small command: its answer's, 2 for a person's mistake, 130 for Ctrl-C.

    Args:
        about: printed for --help.
        called: what the keys are called here that a Fault of the parts below may name.
    """
    if {"-h", "--help"} & set(arguments):
        print(about)
        return 0
    try:
        return answer(arguments)
    except Fault as fault:
        print(f"error: {spoken(retold(fault, called))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def options(arguments: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The values of `defaults`, replaced by what was typed."""
    found, given = dict(defaults), set()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise Fault(f"{argument!r} is not an option: expected key=value, with one of {', '.join(defaults)}")
        if key not in found:
            raise Fault(f"{key}={value}: there is no option '{key}'; {suggestion(key, defaults)}")
        if key in given:
            raise Fault(f"{key} is given twice: {found[key]} and {value}")
        found[key] = value
        given.add(key)
    return found


def retold(fault: Fault, options: Mapping[str, str]) -> Fault:
    """A fault of the parts that a small command is made of, with each of their keys called as its own option is."""
    told = str(fault)
    for key, option in options.items():
        told = told.replace(key, option)
    return Fault(told)
