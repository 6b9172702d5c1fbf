"""Composes overrides by Hydra alone: nothing is checked or resolved."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from src.core.files import CONF


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
