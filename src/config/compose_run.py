"""Composes and checks the config of one run, from overrides as a command line has them."""

from collections.abc import Sequence
from typing import Any

from src.config.build_nodes import Schema
from src.config.compose import prefix_optional_inputs, to_plain_config
from src.config.groups import find_doubled_group, find_dropped_option, find_listed_options
from src.config.hydra_composition import COMPOSE_ERRORS, compose_with_search
from src.config.override_errors import explain_compose_error
from src.config.overrides import needs_multirun_error, search_overrides
from src.config.validate_config import validate_config
from src.core.user_errors import UserError


def compose_run(overrides: Sequence[str], task: Schema) -> dict[str, Any]:
    """The config of a run as plain values.

    Args:
        overrides: `+experiment=imdb`, `model.optim.lr=3e-5`; no flags.
        task: the schema of the composed config.

    Raises:
        UserError: all mistakes in the overrides.
    """
    if flags := [override for override in overrides if override.startswith("-")]:
        raise UserError("flags belong to the command line", where=flags[0])
    if mistaken := search_overrides(overrides):
        raise needs_multirun_error(mistaken[0])
    if doubled := find_doubled_group(overrides):
        raise UserError("this group is chosen twice", where=doubled)
    for listed in filter(None, map(find_listed_options, overrides)):
        raise listed
    if dropped := find_dropped_option(overrides):
        raise dropped
    try:
        prefixed = prefix_optional_inputs(overrides, task)
        config = to_plain_config(compose_with_search(prefixed), prefixed)
    except COMPOSE_ERRORS as error:
        raise explain_compose_error(overrides, error, task) from error
    validate_config(config, task, prefixed)
    return config
