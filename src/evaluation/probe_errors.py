"""The errors of the rows of a probe, which are read as those of `data` but have other keys."""

from src.core.user_errors import UserError, split_errors

PROBE_KEY = "callbacks.probe"


def name_probe_keys(error: UserError) -> UserError:
    """An error about a source of data, with the keys that the source of the probe has."""
    lines = [str(one) for one in split_errors(error)]
    return UserError("\n".join(lines).replace("data.source.", f"{PROBE_KEY}.source."))
