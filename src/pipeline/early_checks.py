"""What can be checked outside the config before seconds are spent on importing torch."""

from collections.abc import Mapping
from typing import Any

from src.config.build_nodes import build_node
from src.core.user_errors import UserError, UserErrors, split_errors


def check_without_torch(config: Mapping[str, Any]) -> None:
    """Raise UserErrors for the path and the columns of the data and for the device, which are
    mistaken most often.
    """
    errors: list[UserError] = []
    for check in (
        build_node(config["data"]).source.check,
        build_node(config["trainer"]).check_device_files,
    ):
        try:
            check()
        except UserError as error:
            errors += split_errors(error)
    if errors:
        raise UserErrors(errors)
