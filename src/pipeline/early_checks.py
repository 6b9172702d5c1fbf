"""What can be checked outside the config before seconds are spent on importing torch."""

from typing import TYPE_CHECKING

from src.core.user_errors import UserError, UserErrors, split_errors

if TYPE_CHECKING:
    from src.data.data_config import DataConfig
    from src.training.trainer import Training


def check_without_torch(data_config: "DataConfig", training: "Training") -> None:
    """Raise UserErrors for the path and the columns of the data and for the device, which are
    mistaken most often.
    """
    errors: list[UserError] = []
    for check in (data_config.check_source, training.check_device_files):
        try:
            check()
        except UserError as error:
            errors += split_errors(error)
    if errors:
        raise UserErrors(errors)
