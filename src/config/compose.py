"""From a command line to Hydra's config objects, and from these to plain Python values."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, InterpolationToMissingValueError, OmegaConfBaseException
from yaml import YAMLError

from src.config.choices import CONF, groups, having, without
from src.config.nearest import meant
from src.config.signature import Signature
from src.config.sweeps import alone, of_search, several
from src.config.targets import refuse_hydra
from src.terms.fault import Fault

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = (  # what Hydra raises where it cannot compose; it recurses for ever where a choice is built on itself
    HydraException, OmegaConfBaseException, ValueError, YAMLError, RecursionError,
)  # fmt: skip


class Unfit(ValueError):
    """A value that does not fit into the config; `config` is what the choices of groups have made."""

    def __init__(self, refusal: Exception, config: DictConfig) -> None:
        super().__init__(str(refusal))
        self.config = config


def register() -> None:
    """Make `${project_root:}` known: the folder of this project, wherever the program was started."""
    OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)


def added(arguments: Sequence[str], task: Signature) -> list[str]:
    """A command line as Hydra wants it.

    Optional inputs of the task (`init_from=ID`) are absent from the config, so Hydra wants them added; people need not
    know.
    """
    optional = tuple(f"{name}{mark}" for name, each in task.parameters.items() if not each.required for mark in "=.")
    return [f"++{_as_text(each)}" if each.startswith(optional) else each for each in arguments]


def resuming(arguments: Sequence[str]) -> bool:
    """Whether a command line goes on with an earlier run (`resume=ID`, `fork=true`), which composes nothing."""
    return any(each.lstrip("+").startswith(("resume=", "fork=")) for each in arguments)


def _as_text(override: str) -> str:
    """A run id of digits alone, or with one e among them, is no number: Hydra takes it for text in quotes."""
    key, _, value = override.partition("=")
    return f"{key}='{value}'" if re.fullmatch(r"\d+(e\d+)?", value) else override


def started(overrides: Sequence[str], task: Callable[[DictConfig], object]) -> bool:
    """Do one run as `hydra.main` does it, but composed once; False, with nothing done, where the config asks for many.

    `hydra.main` composes every config a first time only to learn from it whether it is a multirun, which costs as long
    as all that happens here before `task`. Nor is a search composed, which one run has not.
    """
    if several(overrides):
        return False
    if mistaken := of_search(overrides):
        raise ValueError(alone(mistaken[0]))
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="run"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        chosen, values = _divided(overrides)
        how: dict[str, Any] = {"run_mode": RunMode.RUN, "with_log_configuration": True}
        try:
            config = hydra.compose_config("config", [*chosen, "~search"], **how)
        except HydraException as error:
            if "'search" not in str(error):
                raise
            config = hydra.compose_config("config", chosen, **how)  # an experiment has defaults below `search`
        lay_on(config, values)
        config.hydra.overrides.task = [each for each in overrides if not each.lstrip("+~").startswith("hydra.")]
        refuse_hydra(OmegaConf.to_container(config.hydra), config.hydra.overrides.hydra)  # type: ignore[arg-type]
        if config.hydra.mode == RunMode.MULTIRUN:
            return False
        config.hydra.mode = RunMode.RUN
        callbacks = Callbacks(config)
        callbacks.on_run_start(config=config, config_name="config")
        done = run_job(
            task_function=task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=callbacks),
        )
        callbacks.on_run_end(config=config, config_name="config", job_return=done)
    _ = done.return_value  # raises what the task raised
    return True


def _divided(overrides: Sequence[str]) -> tuple[list[str], list[Override]]:
    """What Hydra must know to compose, and the values that can be laid on afterwards. Unreadable ones are Hydra's."""
    chosen: list[str] = []
    values: list[Override] = []
    for text in overrides:
        try:
            parsed = OverridesParser.create().parse_override(text)
        except HydraException:
            return list(overrides), []
        simple = not parsed.is_sweep_override() and parsed.package is None and parsed.key_or_group not in groups()
        if simple and not parsed.is_hydra_override():
            values.append(parsed)
        else:
            chosen.append(text)
    return chosen, values


def lay_on(config: DictConfig, values: Sequence[Override]) -> None:
    """Change values of a composed config as Hydra does; raises Unfit at the first that it refuses."""
    before = config.copy()  # a value that is refused may have left a trace
    try:
        for each in values:
            ConfigLoaderImpl._apply_overrides_to_config([each], config)
    except REFUSALS as error:
        raise Unfit(error, before) from error.__cause__


def plain(config: DictConfig) -> dict[str, Any]:
    """The config of a run as plain values, interpolations resolved.

    The node `search` is no part of it: a run need not have what only a search refers to. What must still be given
    stays `???`. Where a value cannot be resolved there stands a `Fault` in its place, for `check` to report with all
    the others; an empty one where what it refers to is reported itself.
    """
    explained: set[str] = set()
    return {str(key): _whole(config, key, explained) for key in config if key != "search"}


def resolved(config: DictConfig, key: str) -> Any:
    """The value of one key of the top level, as `plain` gives those of all others."""
    return _whole(config, key, set())


def _whole(config: DictConfig, key: Any, explained: set[str]) -> Any:
    try:
        value = config[key]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return _resolved(config, key, explained)


def _resolved(parent: DictConfig | ListConfig, key: Any, explained: set[str]) -> Any:
    """The value of a key. Of several that refer into one node in vain, the first is `explained`."""
    try:
        if not OmegaConf.is_interpolation(parent, key) and OmegaConf.is_missing(parent, key):
            return "???"
        value = parent[key]
    except InterpolationToMissingValueError:
        return Fault("")
    except OmegaConfBaseException as error:
        reason, node = _unresolved(parent, key, error)
        fault = Fault("" if node in explained else reason)
        explained.add(node)
        return fault
    if isinstance(value, DictConfig):
        return {str(each): _resolved(value, each, explained) for each in value}
    if isinstance(value, ListConfig):
        return [_resolved(value, place, explained) for place in range(len(value))]
    return value


def _unresolved(parent: DictConfig | ListConfig, key: Any, error: OmegaConfBaseException) -> tuple[str, str]:
    """Why a value cannot be resolved, and the node that it refers into or stands in."""
    text = OmegaConf.to_container(parent, resolve=False)[key]  # type: ignore[index]
    here = str(parent._get_full_key(key))
    if not isinstance(error, InterpolationKeyError):
        reason = re.sub(r'^\w+ raised while resolving interpolation: "?(.*?)"?$', r"\1", str(error).splitlines()[0])
        return f"{text} cannot be resolved: {reason}", here
    wanted = str(text)[str(text).find("${") + 2 : str(text).find("}")]
    node = wanted.rpartition(".")[0] or wanted
    ways = [each for each in (having(wanted), without(here)) if each] if having(wanted) else []
    hint = "; " + " or ".join(ways) + " helps" if ways else ""
    near = "" if ways else meant(wanted, OmegaConf.to_container(parent._get_root(), resolve=False))
    if near and near != here:
        hint = f"; did you mean '{near}'?"
    return f"takes its value from {wanted}, and there is no such key{hint}", node
