"""Attributes of the classes that nodes of a config name, read without building anything."""

from typing import Any

from src.config.allowed_targets import import_target
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError


def read_class_attribute(config: Any, node: str, name: str) -> Any:
    """An attribute of the class that a node names; None if the class or the attribute does not
    exist.
    """
    target = get_by_path(config, f"{node}._target_")
    try:
        return getattr(import_target(target), name, None) if isinstance(target, str) else None
    except UserError:
        return None
