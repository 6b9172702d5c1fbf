"""Faults that a person can mend: one complete message each, shown without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class Fault(Exception):
    """Something a person wrote, named or provided is wrong.

    The message is complete by itself: what is wrong, what was expected, what was found and which key to change.
    Raised before the run opens it ends the program with exit code 2 and leaves nothing behind; raised later it becomes
    the reason of a FAILED run.
    """


class Faults(Fault):
    """Several faults of one config, reported together."""

    def __init__(self, faults: Iterable[Fault | str]) -> None:
        self.faults = [str(fault) for fault in faults]
        super().__init__("\n".join(self.faults))


def suggestion(name: object, names: Iterable[object]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or all of them where none is near."""
    valid = sorted(str(each) for each in names)
    folded = {each.casefold(): each for each in valid}
    near = get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    return f"valid: {', '.join(valid)}" if valid else "there is none to choose from"
