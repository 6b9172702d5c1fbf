"""Rules of `register` and `register_alias`: names that the registry takes, and models that it can
hold.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from src.config.class_attributes import read_class_attribute
from src.core.nested_config import get_by_path
from src.core.registered_names import find_alias_problem, find_name_problem
from src.core.user_errors import UserError

# whose models are none of MLflow's
_REFUSED_HEADS = ("causal_lm", "denoising", "replaced_tokens")
_KEY, _ALIAS_KEY = "register", "register_alias"


def find_registration_errors(config: Mapping[str, Any]) -> Iterator[UserError]:
    """The errors of the names under which a run's model is to be registered."""
    name, alias = get_by_path(config, _KEY), get_by_path(config, _ALIAS_KEY)
    if isinstance(name, str):
        if (problem := find_name_problem(name)) is not None:
            yield UserError(problem, key=_KEY, value=name, colon=False)
        head = read_class_attribute(config, "model.objective", "head")
        if head in _REFUSED_HEADS:
            yield UserError(f"a model for {head} is no model of MLflow", key=_KEY, value=name)
    if isinstance(alias, str):
        if (problem := find_alias_problem(alias)) is not None:
            yield UserError(problem, key=_ALIAS_KEY, value=alias, colon=False)
        if name is None:
            yield UserError("goes with register=NAME", key=_ALIAS_KEY, value=alias, colon=False)
