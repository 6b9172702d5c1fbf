"""Sorts the overrides of a command line into those that choose options of groups and those that set
values, and finds the mistakes that each has by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from src.config.foreign_keys import explain_pretrained
from src.config.foreign_options import explain_foreign_option, find_same_option
from src.config.groups import (
    ADDED_GROUPS,
    NULLABLE_GROUPS,
    find_listed_options,
    list_groups,
    list_options,
    load_option,
)
from src.config.overrides import find_sweep_error, selected_options
from src.config.parse_failures import explain_data_path, explain_parse_failure
from src.core.user_errors import UserError, did_you_mean, format_suggestion, suggest


@dataclass
class SortedOverrides:
    """Overrides, sorted into those that choose options of groups and those that set values.

    Args:
        errors: the mistakes of single overrides.
        valid_texts: the overrides that can be used, as Hydra expects them.
        group_overrides: the overrides of groups, with the first of several options, and with the
            nearest option in place of a misspelt one.
        value_overrides: all other overrides.
        several_values: overrides that list several values where one run is asked for.
        unresolved_keys: groups whose option is unknown and unlike any other, and the keys of
            overrides that cannot be parsed. What is wrong only because of them is not reported.
        guessed_groups: those whose option is unknown and like another, which stands in for it.
    """

    errors: list[UserError] = field(default_factory=list)
    valid_texts: list[str] = field(default_factory=list)
    group_overrides: list[str] = field(default_factory=list)
    value_overrides: list[Override] = field(default_factory=list)
    several_values: list[Override] = field(default_factory=list)
    unresolved_keys: list[str] = field(default_factory=list)
    guessed_groups: list[str] = field(default_factory=list)

    def parse_and_add(self, typed: str, text: str, *, many: bool) -> None:
        """Parse and sort an override.

        Args:
            typed: the override as the user typed it.
            text: the same override as Hydra expects it.
            many: several runs are asked for, so the override may list several values.
        """
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            self.errors.append(explain_parse_failure(typed))
            self.unresolved_keys.append(typed.partition("=")[0].lstrip("+"))
            return
        if override.is_sweep_override() and not many:
            self.several_values.append(override)
            return
        refused = find_sweep_error(override)
        if refused and not (
            override.value_type is ValueType.GLOB_CHOICE_SWEEP
            and override.key_or_group in list_groups()
        ):
            self.errors.append(refused)
            return
        self.valid_texts += [] if refused else [text]
        self.add_override(override)

    def add_override(self, override: Override) -> None:
        group = override.key_or_group
        if group == "hydra.searchpath":
            self.group_overrides.append(str(override.input_line))
        elif group.startswith("hydra/"):
            self.group_overrides += (
                [] if override.is_sweep_override() else [str(override.input_line)]
            )
        elif (
            group in list_groups()
            and not override.is_delete()
            and not isinstance(override.value(), dict)
        ):
            wrong, meant = _check_group_option(override)
            self.errors += wrong
            self.group_overrides += meant
            self.unresolved_keys += [] if meant else [group.replace("/", ".")]
            self.guessed_groups += [group.replace("/", ".")] if wrong and meant else []
        else:
            self.value_overrides.append(override)


def _check_group_option(override: Override) -> tuple[list[UserError], list[str]]:
    """The errors of an option, and the override that was probably meant; none if no option is like
    it.
    """
    group = override.key_or_group
    options = list_options(group)
    errors: list[UserError] = []
    meant = None
    for choice in selected_options(override, options):
        is_known = choice in options
        same = find_same_option(group, choice)
        below = None if is_known else _find_option_below(group, choice)
        answer = None if is_known else explain_foreign_option(group, choice)
        near = choice if is_known else same
        if near is None and below is None and answer is None:
            near = _find_near_option(group, choice, options)
        meant = meant or near
        if choice == "null" and group in NULLABLE_GROUPS:
            hint = f"{group.replace('/', '.')}=null leaves it out"
        elif is_known:
            continue
        elif answer is not None:
            hint = answer
        elif below is not None:
            hint = did_you_mean(below)
        elif group == "data" and (path := explain_data_path(choice)):
            hint = path
        elif group == "model" and near is None and set("-/") & set(choice):
            hint = f"{format_suggestion(choice, options)}; {explain_pretrained(choice)}"
        elif near is None and group == "model/encoder":
            hint = f"valid: {', '.join(options)}; {explain_pretrained(choice)}"
        else:
            hint = did_you_mean(near) if near else format_suggestion(choice, options)
        errors.append(UserError("there is no such choice", key=group, value=choice, hint=hint))
    if not errors and (error := find_listed_options(str(override.input_line))) is not None:
        errors.append(error)
    typed = override.input_line.lstrip("+").partition("=")[2] if override.input_line else meant
    if not errors and group == "experiment" and not override.is_add():
        errors.append(
            UserError(
                f"an experiment is added on top, as +experiment={typed}", key=group, value=typed
            )
        )
    if not errors and group not in ADDED_GROUPS and override.is_add():
        errors.append(
            UserError(
                f"this group has a default that is replaced, as {group}={typed}",
                key=f"+{group}",
                value=typed,
            )
        )
    return errors, [] if meant is None else [f"{'+' * (group in ADDED_GROUPS)}{group}={meant}"]


def _find_option_below(group: str, choice: str) -> str | None:
    """The override of a group below, which has an option of this name: `model/encoder=tiny` for
    `model=tiny`.
    """
    for below in sorted(list_groups()):
        option = find_same_option(below, choice) or choice
        if below.startswith(f"{group}/") and option in list_options(below):
            return f"{below}={option}"
    return None


def _find_near_option(group: str, choice: str, options: Sequence[str]) -> str | None:
    """The option that was probably meant; None if none is like it.

    Encoders have names of a family and a size: of two that are as like, the family counts first,
    and then the size (`bert_tiny` is `tiny`). Names of the hub have hyphens and slashes.
    """
    if group != "model/encoder":
        return suggest(choice, options)
    folded = choice.lower().replace("-", "_")
    if folded in options:
        return folded
    if set("-/") & set(choice):
        return None
    first, *others = folded.split("_")
    same_family = [
        option for option in options if "_" in option and first.startswith(option.split("_")[0])
    ]
    if same_family:
        return suggest(folded, same_family) or same_family[0]
    same_size = next((word for word in others if word in options), None)
    if same_size and load_option(group, same_size).get("family") == first:
        return same_size
    # another family is no slip of the pen: bert is not bart
    if others:
        options = [one for one in options if get_close_matches(first, [one.split("_")[0]], 1, 0.8)]
    return suggest(folded, options)
