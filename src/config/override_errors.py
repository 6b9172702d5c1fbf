"""Finds all mistakes in the overrides of a command line. Hydra by itself stops at the first one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.allowed_targets import check_hydra_section
from src.config.build_nodes import Schema
from src.config.compose import (
    prefix_optional_inputs,
    to_plain_config,
)
from src.config.groups import find_dropped_option, list_groups
from src.config.hydra_composition import COMPOSE_ERRORS, OverrideError
from src.config.hydra_errors import explain_library_error
from src.config.listed_values import (
    explain_several_values,
    find_annotation,
    find_mistaken_values,
)
from src.config.overrides import (
    find_sweep_error,
    flatten_search_space,
    is_multirun,
    is_sweep_id_override,
    iter_config_variants,
    iter_group_variants,
    needs_multirun_error,
    parse_override,
    parse_sweep_id,
    search_overrides,
)
from src.config.parse_failures import find_spaced_overrides
from src.config.sorted_overrides import SortedOverrides
from src.config.suggestions import ABSENT_KEY, unknown_key_error
from src.config.validate_config import validate_config
from src.config.value_errors import find_thousands_error
from src.config.value_overrides import apply_value_overrides
from src.core.files import CONF
from src.core.user_errors import UserError, UserErrors
from src.core.validation import takes_whole_numbers

# Flags that show something instead of starting a run.
_INSPECTION_FLAGS = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
_FLAGS_WITH_VALUE = {
    "--cfg",
    "-c",
    "--package",
    "-p",
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--config-dir",
    "-cd",
}


class SearchCheck(Protocol):
    """Finds what is wrong with the search of a command line with `-m`.

    Args:
        config: composed with the first value of every key that varies.
        typed: the overrides that can be parsed and have values.
        trials: the same config as plain values, and a copy for each other value of a key that
            varies.
        may_be_empty: True if it is no mistake that nothing varies.
    """

    def __call__(
        self,
        config: DictConfig,
        typed: Sequence[str],
        trials: Sequence[Mapping[str, Any]],
        *,
        may_be_empty: bool,
    ) -> list[UserError]: ...


def explain_compose_error(
    arguments: Sequence[str],
    refusal: Exception,
    task: Schema,
    find_search_errors: SearchCheck | None = None,
) -> UserErrors:
    """All mistakes in a command line that Hydra could not compose.

    Args:
        arguments: what was typed after the program's name.
        refusal: the exception that Hydra raised. It is reported if no mistake is found.
        task: the schema of the composed config.
        find_search_errors: checks the search; None where there can be none.
    """
    composed = refusal.config if isinstance(refusal, OverrideError) else None
    try:
        errors = find_override_errors(arguments, task, composed, find_search_errors)
    except Exception:
        # A failure of this search for mistakes must not hide what Hydra said.
        errors = []
    return UserErrors(errors or [explain_library_error(refusal)])


def find_override_errors(
    arguments: Sequence[str],
    task: Schema,
    composed: DictConfig | None = None,
    find_search_errors: SearchCheck | None = None,
) -> list[UserError]:
    """The mistakes in the overrides of a command line. With `-m` these include the mistakes of each
    value that a key may take, and those of the search.

    Args:
        arguments: what was typed after the program's name.
        task: the schema of the composed config.
        composed: the config that the options of its groups make, if it is known already.
        find_search_errors: checks the search
            (`src.search.run.search_check.find_search_errors`); None leaves that out.
    """
    many = is_multirun(arguments)
    overrides = _sort_overrides(arguments, task, many=many)
    experiments = [text for text in overrides.group_overrides if text.startswith("+experiment=")]
    if len(experiments) > 1:
        error = UserError(
            "a run takes one experiment",
            where=" and ".join(experiments),
            hint="with -m several make several runs",
        )
        return [*overrides.errors, error]
    # Everything else depends on the experiment.
    if "experiment" in overrides.unresolved_keys:
        return [*overrides.errors, *_find_mistaken_lists(overrides, {}, task)]
    base = _try_compose(overrides.group_overrides) if composed is None else composed
    if many and isinstance(base, DictConfig):
        varied_by_file = _parse_search_space(base, overrides.valid_texts)
        for override in varied_by_file:
            overrides.add_override(override)
        if varied_by_file:
            base = _try_compose(overrides.group_overrides)
    if isinstance(base, Exception):
        mistaken = _find_mistaken_lists(overrides, {}, task)
        return [*overrides.errors, *mistaken, explain_library_error(base)]
    errors, config = apply_value_overrides(overrides.value_overrides, base, many=many)
    with open_dict(config):
        hydra_section: Any = OmegaConf.to_container(config.pop("hydra", DictConfig({})))
    try:
        check_hydra_section(
            hydra_section,
            [str(override.input_line) for override in overrides.value_overrides],
        )
    except UserError as error:
        errors.append(error)
    trials = [to_plain_config(config, overrides.valid_texts)]
    mistaken = _find_mistaken_lists(overrides, trials[0], task)
    errors += mistaken
    if many:
        variants, errors = _compose_variants(config, overrides, errors)
        trials += variants
    reported = {error.key for error in errors if error.key}
    reported |= {key for error in mistaken for key in error.about}
    for trial in trials:
        try:
            validate_config(trial, task, overrides.valid_texts)
        except UserErrors as refused:
            # a key that was typed wrongly is not missing besides
            errors += [
                error
                for error in refused.errors
                if error.key not in reported and not _is_of_guess(error, overrides)
            ]
    if many:
        errors = _explain_integer_bounds(errors, overrides.value_overrides)
        errors = _add_search_errors(
            errors, arguments, config, overrides, trials, find_search_errors
        )
    return [
        *overrides.errors,
        *(error for error in errors if not _depends_on_any(error, overrides.unresolved_keys)),
    ]


def _find_mistaken_lists(
    overrides: SortedOverrides, config: Mapping[str, Any], task: Schema
) -> list[UserError]:
    """The errors of several values where one run is asked for, or one number is meant."""

    errors = []
    for override in overrides.several_values:
        key = override.key_or_group
        may_be_new = not config or override.is_add() or override.is_force_add()
        unknown = None
        if not may_be_new and key not in list_groups() and not key.startswith("hydra"):
            unknown = unknown_key_error(key, config)
        annotation = find_annotation(key, config, task)
        errors.append(unknown or explain_several_values(override, annotation))
    for override in overrides.value_overrides:
        annotation = find_annotation(override.key_or_group, config, task)
        if override.is_sweep_override():
            mistaken = find_mistaken_values(override, annotation)
        else:
            mistaken = find_thousands_error(override, annotation)
        errors += [mistaken] if mistaken else []
    return errors


def _sort_overrides(arguments: Sequence[str], task: Schema, *, many: bool) -> SortedOverrides:
    """Sort the overrides of a command line by their purpose, and find the mistakes of each."""
    spaced, words = find_spaced_overrides(_drop_flags(arguments))
    overrides = SortedOverrides(errors=spaced)
    for typed in words:
        if many and is_sweep_id_override(typed):
            continue
        if not many and search_overrides([typed]):
            overrides.errors.append(needs_multirun_error(typed))
        elif typed.startswith("="):
            overrides.errors.append(
                UserError(
                    f"'{typed}' has no key",
                    expected="KEY=VALUE, without spaces around the equals sign",
                )
            )
        else:
            overrides.parse_and_add(typed, prefix_optional_inputs([typed], task)[0], many=many)
    if dropped := find_dropped_option(words):
        overrides.errors.append(dropped)
    return overrides


def _compose_variants(
    config: DictConfig, overrides: SortedOverrides, errors: Sequence[UserError]
) -> tuple[list[dict[str, Any]], list[UserError]]:
    """Copies of the config, one for each further value of each key that has several, and the errors
    of all: those of the config, and those of the values that Hydra refuses. One of a key that only
    some options of a group have says of which it is.
    """
    variants = [
        to_plain_config(variant, overrides.valid_texts)
        for variant in iter_config_variants(overrides.value_overrides, config)
    ]
    first = overrides.group_overrides
    all_errors = list(errors)
    for group_overrides in iter_group_variants(overrides.valid_texts, first):
        base = _try_compose(group_overrides)
        if isinstance(base, Exception):
            all_errors.append(explain_library_error(base))
            continue
        refused, variant = apply_value_overrides(overrides.value_overrides, base, many=True)
        pairs = zip(first, group_overrides, strict=True)
        options = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        all_errors = _name_options(all_errors, refused, options)
        with open_dict(variant):
            variant.pop("hydra", None)
        variants.append(to_plain_config(variant, overrides.valid_texts))
    return variants, all_errors


def _name_options(
    before: Sequence[UserError], refused: Sequence[UserError], options: tuple[str, str]
) -> list[UserError]:
    """The errors of configs before and with another option of a group, without those that are there
    already. A key that only one of both lacks is absent with that option.
    """
    absent, lacking = (
        {one.key for one in errors if _is_absent_key(one)} for errors in (before, refused)
    )
    named = [
        _name_option(one, options[0]) if _is_absent_key(one) and one.key not in lacking else one
        for one in before
    ]
    added = [
        _name_option(one, options[1]) if _is_absent_key(one) else one
        for one in refused
        if not _is_absent_key(one) or one.key not in absent
    ]
    return named + added


def _is_absent_key(error: UserError) -> bool:
    return error.problem == ABSENT_KEY


def _name_option(error: UserError, option: str) -> UserError:
    named = copy.copy(error)
    named.problem = f"{error.problem} with {option.lstrip('+')}"
    return named


def _add_search_errors(
    trial_errors: Sequence[UserError],
    arguments: Sequence[str],
    config: DictConfig,
    overrides: SortedOverrides,
    trials: Sequence[Mapping[str, Any]],
    find_search_errors: SearchCheck | None,
) -> list[UserError]:
    """The errors of a sweep's trials together with those of `sweep=` and of its search."""
    errors: list[UserError] = []
    sweep = None
    try:
        sweep = parse_sweep_id(arguments)
    except UserErrors as refused:
        errors += refused.errors
    errors += trial_errors
    # An earlier sweep has a space and a search of its own.
    is_earlier = sweep not in (None, "new")
    is_inspection = any(text.partition("=")[0] in _INSPECTION_FLAGS for text in arguments)
    if find_search_errors is not None and (overrides.valid_texts or not is_earlier):
        errors += find_search_errors(
            config,
            overrides.valid_texts,
            trials,
            may_be_empty=bool(is_inspection or is_earlier or overrides.errors or errors),
        )
    return errors


def _explain_integer_bounds(
    errors: Sequence[UserError], overrides: Sequence[Override]
) -> list[UserError]:
    """The errors, of which those that refuse the ends of an interval because its key takes whole
    numbers are replaced by one that says how to write it.
    """
    intervals = [
        parse_override(str(override.input_line))
        for override in overrides
        if override.is_interval_sweep()
    ]
    better = {
        interval.key: UserError(
            f"{interval.key} is a whole number",
            where=interval.line,
            hint=f"int(interval({interval.low:g},{interval.high:g})) draws such",
        )
        for interval in intervals
        if isinstance(interval.low, float)
    }
    return [
        better[error.key]
        if error.key in better and takes_whole_numbers(error.annotation)
        else error
        for error in errors
    ]


def _drop_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments that are neither flags nor the value of a flag."""
    return [
        argument
        for argument, before in zip(arguments, ["", *arguments], strict=False)
        if not argument.startswith("-") and before not in _FLAGS_WITH_VALUE
    ]


def _is_of_guess(error: UserError, overrides: SortedOverrides) -> bool:
    """Whether an error is of an option that stands in for a mistyped one, and of no typed key."""
    typed = [override.key_or_group for override in overrides.value_overrides]
    return _depends_on_any(error, overrides.guessed_groups) and not set(typed) & set(error.keys)


def _depends_on_any(error: UserError, groups: Sequence[str]) -> bool:
    return any(f"{key}.".startswith(f"{group}.") for key in error.keys for group in groups)


def _try_compose(overrides: Sequence[str]) -> DictConfig | Exception:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose("config", list(overrides), return_hydra_config=True)
    except COMPOSE_ERRORS as error:
        return error


def _parse_search_space(base: DictConfig, typed: Sequence[str]) -> list[Override]:
    """The overrides in the search space of the config, except those of keys that were typed, and
    those that cannot be parsed.
    """
    keys = {parse_override(text).key for text in typed}
    overrides = []
    for key, text in flatten_search_space(base).items():
        try:
            override = OverridesParser.create().parse_override(f"{key}={text}")
        except HydraException:
            continue
        varies = override.is_sweep_override() and not find_sweep_error(override)
        if varies and override.get_key_element().lstrip("+~") not in keys:
            overrides.append(override)
    return overrides
