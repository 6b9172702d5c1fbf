"""The overrides of a command line, each read and put where it belongs, and what is wrong with it by itself."""

import re
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from src.config import sweeps
from src.config.check import OPTIONAL
from src.config.choices import choices, groups
from src.terms.fault import suggestion


@dataclass
class Sorted:
    """Overrides by what is to be done with them.

    Args:
        faults: what is wrong with some of them.
        readable: those that mean something, as Hydra wants them.
        sound: groups as typed, of several choices with the first; or as they were probably meant.
        values: all others.
        unknown: groups whose choice nobody can guess.
    """

    faults: list[str] = field(default_factory=list)
    readable: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def read(self, typed: str, text: str, *, many: bool) -> None:
        """Sort an override, `typed` by a person and given as `text` to Hydra."""
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            self.faults.append(sweeps.unreadable(typed))
            return
        if override.is_sweep_override() and not many:
            self.faults.append(
                f"{text}: several values make several runs, which -m asks for (python -m src.run -m ...)"
                + (
                    ""
                    if "(" in text
                    else f"; one list is written {override.get_key_element()}=[{text.partition('=')[2]}]"
                )
            )
            return
        refused = sweeps.refusal(override)
        if refused and not (override.value_type is ValueType.GLOB_CHOICE_SWEEP and override.key_or_group in groups()):
            self.faults.append(refused)
            return
        self.readable += [] if refused else [text]
        self.sort(override)

    def sort(self, override: Override) -> None:
        group = override.key_or_group
        if group.startswith("hydra/"):
            self.sound += [] if override.is_sweep_override() else [str(override.input_line)]
        elif group in groups() and not override.is_delete() and not isinstance(override.value(), dict):
            wrong, meant = _group(override)
            self.faults += wrong
            self.sound += meant
            self.unknown += [] if meant else [group.replace("/", ".")]
        else:
            self.values.append(override)


def _group(override: Override) -> tuple[list[str], list[str]]:
    """What is wrong with a choice, and the override that was probably meant; none where nobody can tell."""
    group = override.key_or_group
    options = choices(group)
    messages: list[str] = []
    near = None
    for choice in sweeps.of_group(override, options):
        hint = "" if choice in options else suggestion(choice, options)
        guess = re.fullmatch(r"did you mean '(.*)'\?", hint)
        near = near or (choice if not hint else guess.group(1) if guess else None)
        if choice == "null" and group in OPTIONAL:
            hint = f"{group.replace('/', '.')}=null leaves it out"
        if hint:
            messages.append(f"{group}={choice}: there is no such choice; {hint}")
    shown = override.input_line.lstrip("+").partition("=")[2] if override.input_line else near
    if not messages and group == "experiment" and not override.is_add():
        messages.append(f"experiment={shown}: an experiment is added on top, as +experiment={shown}")
    if not messages and group != "experiment" and override.is_add():
        messages.append(f"+{group}={shown}: this group has a default that is replaced, as {group}={shown}")
    return messages, [] if near is None else [f"{'+' * (group == 'experiment')}{group}={near}"]
