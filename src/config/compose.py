"""From Hydra's config objects to plain Python values."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from src.terms.fault import Fault

ROOT = Path(__file__).resolve().parents[2]


def register() -> None:
    """Make `${project_root:}` known: the folder of this project, wherever the program was started."""
    OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain values, interpolations resolved; what must still be given stays `???`."""
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except InterpolationToMissingValueError as error:
        missing = sorted(OmegaConf.missing_keys(config))
        raise Fault("\n".join(f"{key}: must be given, as {key}=VALUE" for key in missing)) from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise Fault(f"{key}: {str(error).splitlines()[0]}") from error
