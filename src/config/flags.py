"""Flags on the command line. Hydra would answer a wrong one with its usage, and take `--experiment=imdb` for a flag of
its own that begins so."""

from argparse import Action
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from src.config.choices import groups
from src.config.nearest import offered
from src.config.resuming import OWN
from src.config.signature import Signature
from src.config.sweeps import alone, of_search, several
from src.terms.fault import suggestion


def wrong_flags(arguments: Sequence[str], task: Signature) -> list[str]:
    """What is wrong with the flags of a command line.

    Args:
        arguments: what was typed after the program's name.
        task: the signature of the task function, whose inputs are values and no flags.
    """
    known = get_args_parser()._option_string_actions
    faults = []
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if not flag.startswith("-"):
            continue
        if flag not in known:
            faults.append(f"{flag}: there is no such flag; {_meant(flag, value, task, list(known))}")
        elif message := _value_fault(known[flag], value if equals else next(iter(arguments[place + 1 :]), "")):
            faults.append(f"{flag}: {message}")
    if not several(arguments) and not {"--cfg", "-c"} & {each.partition("=")[0] for each in arguments}:
        faults += map(alone, of_search(arguments))
    return faults


def _value_fault(action: Action, value: str) -> str | None:
    """What is wrong with the value of a flag that is there."""
    allowed = f"one of {', '.join(action.choices)}" if action.choices else "a value"
    if action.nargs == 0 or (action.nargs == "?" and not value):
        return None
    if not value or value.startswith("-"):
        return f"expected {allowed} behind it"
    if action.choices and value not in action.choices:
        return f"expected {allowed}, found '{value}'"
    return None


def _meant(flag: str, value: str, task: Signature, flags: Sequence[str]) -> str:
    name = flag.lstrip("-").replace("-", "_")
    value = value or "VALUE"
    if name == "experiment":
        return f"did you mean '+experiment={value}'?"
    if name in (*task.parameters, *OWN, "sweep") or name.replace(".", "/") in groups():
        return f"did you mean '{name}={value}'?"
    if found := offered(name):
        return f"did you mean '{found}={value}'?"
    hint = suggestion(flag, [each for each in flags if each.startswith("--")])
    return hint if hint.startswith("did") else "values are written without dashes, as KEY=VALUE"
