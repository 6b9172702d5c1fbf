"""Has Hydra compose a config, and changes the values of one as Hydra does."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.core.files import CONF

# The exceptions that Hydra raises when it cannot compose. RecursionError is among them because
# Hydra recurses for ever when an option is built on itself.
COMPOSE_ERRORS = (
    HydraException,
    OmegaConfBaseException,
    ValueError,
    YAMLError,
    RecursionError,
)


class OverrideError(ValueError):
    """A value does not fit into the config.

    Attributes:
        config: the config as it was before the overrides were applied.
    """

    def __init__(self, refusal: Exception, config: DictConfig) -> None:
        super().__init__(str(refusal))
        self.config = config


def apply_overrides(config: DictConfig, values: Sequence[Override]) -> None:
    """Change values of a composed config as Hydra does. Raises OverrideError for the first value
    that is refused.
    """
    # A refused value may have changed the config in part, so the error gets this copy.
    before = config.copy()
    try:
        for override in values:
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except COMPOSE_ERRORS as error:
        raise OverrideError(error, before) from error.__cause__


def compose_with_search(overrides: Sequence[str]) -> DictConfig:
    """The config that overrides make, with the node `search`, which is no part of a run. Nothing
    is checked.
    """
    # a program of the user's may be inside of Hydra
    hydra_before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            return compose("config", list(overrides))
    finally:
        GlobalHydra.instance().hydra = hydra_before
