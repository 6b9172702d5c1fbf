"""The command line of the small commands: `key=value`, as typed. (Hydra's grammar would trip over a text's commas.)"""

from collections.abc import Mapping, Sequence

from src.terms.fault import Fault, suggestion


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
