"""Applies the overrides of values one by one, and finds those that name absent keys or that Hydra
refuses.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from src.config.hydra_composition import COMPOSE_ERRORS, apply_overrides
from src.config.hydra_errors import explain_library_error
from src.config.overrides import expand_values
from src.config.suggestions import ABSENT_KEY, unknown_key_error
from src.core.user_errors import UserError


def apply_value_overrides(
    values: Sequence[Override], base: DictConfig, *, many: bool
) -> tuple[list[UserError], DictConfig]:
    """The errors of overrides that name absent keys or that Hydra refuses, and the config that the
    other overrides make of `base`.
    """
    present = _list_present(base, many=many)
    removed: list[str] = []
    missing: list[UserError] = []
    errors: list[UserError] = []
    config = base
    for override in values:
        must_exist = (
            not override.is_add()
            and not override.is_force_add()
            and not override.key_or_group.startswith("hydra")
        )
        typed = str(override.input_line)
        if must_exist and (unknown := unknown_key_error(override.key_or_group, present, typed)):
            if any(override.key_or_group.startswith(f"{node}.") for node in removed):
                hint = f"what ~ has taken away is added anew, as +{typed}"
                unknown = UserError(ABSENT_KEY, key=override.key_or_group, hint=hint)
            missing.append(unknown)
            continue
        if (
            override.is_add()
            and not unknown_key_error(override.key_or_group, present)
            and not isinstance(override.value(), dict)
        ):
            plain_text = typed.lstrip("+")
            errors.append(
                UserError(
                    f"the key is there already and is changed without +, as {plain_text}",
                    where=f"+{plain_text}",
                    about=(override.key_or_group,),
                )
            )
            continue
        for text in _first_value_text(override):
            changed = config.copy()
            try:
                apply_overrides(changed, [OverridesParser.create().parse_override(text)])
                config = changed
            except COMPOSE_ERRORS as error:
                errors.append(explain_library_error(error))
        if override.is_delete():
            removed.append(override.key_or_group)
        if override.is_delete() or override.is_add():
            present = _list_present(config, many=many)
    return missing + errors, config


def _list_present(config: DictConfig, *, many: bool) -> dict[str, Any]:
    """The keys that may be changed, and suggested for a wrong one."""
    present = OmegaConf.to_container(config, resolve=False)
    assert isinstance(present, dict)
    present.pop("hydra", None)
    if many:
        present["search"].pop("space", None)
    else:
        present.pop("search", None)
    return present  # type: ignore[return-value]


def _first_value_text(override: Override) -> list[str]:
    """The override as typed, with the first of several values; empty for an interval."""
    if override.is_interval_sweep():
        return []
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in expand_values(override)[:1]]
