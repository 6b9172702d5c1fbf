"""Composes a command line into Hydra's config objects, and turns these into plain Python values.

It also carries out `init_from=ID`, which puts the encoder and the tokenizer of an earlier run into
a config.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationToMissingValueError,
    OmegaConfBaseException,
)

from src.config.allowed_targets import check_hydra_section, update_moved_targets
from src.config.build_nodes import Schema
from src.config.compose_phases import compose_phases
from src.config.groups import (
    find_doubled_group,
    find_dropped_option,
    find_listed_options,
    list_groups,
    options_with_key,
    options_without_key,
)
from src.config.hydra_composition import apply_overrides
from src.config.overrides import is_multirun, needs_multirun_error, search_overrides
from src.config.phases import PHASES_KEY
from src.config.presets import apply_preset
from src.config.replaced_options import drop_replaced_values
from src.config.suggestions import closest_key
from src.core.files import CONF, PROJECT_ROOT
from src.core.mlflow_environment import read_experiment_name, read_tracking_uri
from src.core.user_errors import UserError


def register_resolvers() -> None:
    """Register what conf/ may refer to: `${project_root:}`, the folder of this project, and the
    store that the environment names, `${mlflow_tracking_uri:}` (null, or what stands behind the
    colon, if it names none) and `${mlflow_experiment_name:}`.
    """
    resolvers: dict[str, Callable[..., str | None]] = {
        "project_root": lambda: str(PROJECT_ROOT),
        "mlflow_tracking_uri": _read_store_address,
        "mlflow_experiment_name": read_experiment_name,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _read_store_address(otherwise: str | None = None) -> str | None:
    return read_tracking_uri() or otherwise


def prefix_optional_inputs(arguments: Sequence[str], task: Schema) -> list[str]:
    """Return a command line as Hydra expects it.

    Optional inputs of the task (`init_from=ID`) are absent from the config, so Hydra accepts them
    only with `++` before them, and a preset only with `+`. This adds it, so that users need not
    type it.
    """
    optional = tuple(
        f"{name}{mark}"
        for name, parameter in task.parameters.items()
        if not parameter.required and name != "preset"
        for mark in "=."
    )
    return [
        f"++{_quote_run_id(argument)}"
        if argument.startswith(optional)
        else f"+{argument}"
        if argument.startswith("preset=")
        else argument
        for argument in arguments
    ]


def is_resume(arguments: Sequence[str]) -> bool:
    """True if a command line goes on with an earlier run (`resume=ID`, `fork=true`). Nothing is
    composed then.
    """
    return any(argument.lstrip("+").startswith(("resume=", "fork=")) for argument in arguments)


def _quote_run_id(override: str) -> str:
    """Put a run id into quotes if Hydra would read it as a number: digits alone, or with one `e`
    among them. A tag is a text as well, such as the version 1.10. What stands below another input,
    such as `report.mistakes=0` or a value of a phase, may be a number.
    """
    key, _, value = override.partition("=")
    is_tag = key.startswith("tags.")
    pattern = r"[+-]?[\d._]+(e[+-]?\d+)?" if is_tag else r"\d+(e\d+)?"
    is_number = re.fullmatch(pattern, value) is not None
    return f"{key}='{value}'" if is_number and (is_tag or "." not in key) else override


def run_composed_once(overrides: Sequence[str], task: Callable[[DictConfig], object]) -> bool:
    """Do one run as `hydra.main` does it, but compose its config only once.

    `hydra.main` composes every config a first time only to find out whether it is a multirun. That
    takes as long as everything that happens here before `task` is called. The search is not
    composed either, since a single run has none.

    Returns:
        False, with nothing done, if the config asks for several runs.
    """
    if is_multirun(overrides):
        return False
    if mistaken := search_overrides(overrides):
        raise ValueError(str(needs_multirun_error(mistaken[0])))
    if doubled := find_doubled_group(overrides):
        raise ValueError(f"{doubled}: this group is chosen twice")
    for listed in filter(None, map(find_listed_options, overrides)):
        raise ValueError(str(listed))
    if dropped := find_dropped_option(overrides):
        raise ValueError(str(dropped))
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="run"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        compose_overrides, value_overrides = _split_overrides(overrides)
        mode: dict[str, Any] = {"run_mode": RunMode.RUN, "with_log_configuration": True}
        try:
            config = hydra.compose_config("config", [*compose_overrides, "~search"], **mode)
        except HydraException as error:
            if "'search" not in str(error):
                raise
            # The experiment has defaults below `search`, which must be composed for them.
            config = hydra.compose_config("config", compose_overrides, **mode)
        apply_overrides(config, value_overrides)
        config.hydra.overrides.task = [
            override for override in overrides if not override.lstrip("+~").startswith("hydra.")
        ]
        check_hydra_section(OmegaConf.to_container(config.hydra), config.hydra.overrides.hydra)  # type: ignore[arg-type]
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
    # Reading the value raises what the task raised.
    _ = done.return_value
    return True


def _split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Override]]:
    """The overrides that Hydra needs for composing, and the values that can be set afterwards.

    If one of them cannot be parsed, all are left to Hydra, which reports the mistake.
    """
    compose_overrides: list[str] = []
    value_overrides: list[Override] = []
    for text in overrides:
        try:
            parsed = OverridesParser.create().parse_override(text)
        except HydraException:
            return list(overrides), []
        simple = (
            not parsed.is_sweep_override()
            and parsed.package is None
            and parsed.key_or_group not in list_groups()
        )
        if simple and not parsed.is_hydra_override():
            value_overrides.append(parsed)
        else:
            compose_overrides.append(text)
    return compose_overrides, value_overrides


def to_plain_config(config: DictConfig, typed: Sequence[str] = ()) -> dict[str, Any]:
    """The config of a run as plain values, with interpolations resolved, with the values of its
    preset except for keys that were typed, and without those of options that typed ones replace.

    The node `search` is left out, since a run may lack what only a search refers to. A required
    value that is still missing stays `???`. A value that cannot be resolved is replaced by a
    `UserError`, which `validate_config` reports together with all other mistakes. That error is
    empty if the value refers to something that is reported itself.

    Args:
        typed: the overrides that made the config.
    """
    if config.get(PHASES_KEY) is not None:
        return compose_phases(config, typed, to_plain_config)
    config = apply_preset(drop_replaced_values(config, typed), typed)
    explained: set[str] = set()
    return {
        str(key): _resolve_top_level(config, key, explained) for key in config if key != "search"
    }


def resolve_node(config: DictConfig, key: str) -> Any:
    """The plain value of one key of the top level, `search` included; see `to_plain_config`."""
    return _resolve_top_level(config, key, set())


def _resolve_top_level(config: DictConfig, key: Any, explained: set[str]) -> Any:
    try:
        value = config[key]
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        plain = _resolve_value(config, key, explained)
    return update_moved_targets(plain)


def _resolve_value(parent: DictConfig | ListConfig, key: Any, explained: set[str]) -> Any:
    """The plain value of a key, or a `UserError` if it cannot be resolved.

    Args:
        explained: the nodes that earlier values referred into in vain. Only the first such value
            is explained; the errors of the others are empty.
    """
    try:
        if not OmegaConf.is_interpolation(parent, key) and OmegaConf.is_missing(parent, key):
            return "???"
        value = parent[key]
    except InterpolationToMissingValueError:
        return UserError("")
    except OmegaConfBaseException as error:
        reason, node = _explain_unresolved(parent, key, error)
        unresolved = UserError("" if node in explained else reason)
        explained.add(node)
        return unresolved
    if isinstance(value, DictConfig):
        return {str(child): _resolve_value(value, child, explained) for child in value}
    if isinstance(value, ListConfig):
        return [_resolve_value(value, index, explained) for index in range(len(value))]
    return value


def _explain_unresolved(
    parent: DictConfig | ListConfig, key: Any, error: OmegaConfBaseException
) -> tuple[str, str]:
    """The reason why a value cannot be resolved, and the node that it refers to or stands in."""
    text = OmegaConf.to_container(parent, resolve=False)[key]  # type: ignore[index]
    full_key = str(parent._get_full_key(key))
    if not isinstance(error, InterpolationKeyError):
        reason = re.sub(
            r'^\w+ raised while resolving interpolation: "?(.*?)"?$',
            r"\1",
            str(error).splitlines()[0],
        )
        return f"{text} cannot be resolved: {reason}", full_key
    reference = str(text)[str(text).find("${") + 2 : str(text).find("}")]
    node = reference.rpartition(".")[0] or reference
    hint = ""
    if with_reference := options_with_key(reference):
        overrides = filter(None, (with_reference, options_without_key(full_key)))
        hint = f"; {' or '.join(overrides)} helps"
    else:
        present = OmegaConf.to_container(parent._get_root(), resolve=False)
        nearest_key = closest_key(reference, present)
        if nearest_key and nearest_key != full_key:
            hint = f"; did you mean '{nearest_key}'?"
    return f"takes its value from {reference}, and there is no such key{hint}", node


def typed_overrides() -> list[str]:
    """The overrides of the command line, or an empty list if Hydra did not start the program."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    # as typed: a value may refer to another key
    typed: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return list(typed)


def apply_init_from(
    run_id: str, model: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The nodes `model` and `data` with the encoder and the tokenizer of an earlier run.

    Both are written `run:ID`. Raises UserError if the nodes make a fresh encoder or tokenizer.
    """
    if "name_or_path" not in model["encoder"] or "name_or_path" not in data["tokenizer"]:
        named = (
            ", and name the run by its id, since the latest is another one tomorrow: "
            "python -m src.runs lists them"
        )
        raise UserError(
            f"init_from={run_id} brings an encoder and its tokenizer, but the config makes fresh "
            "ones; add model/encoder=pretrained data/tokenizer=pretrained"
            f"{named if run_id == 'latest' else ''}"
        )
    origin = {"name_or_path": f"run:{run_id}"}
    return (
        {**model, "encoder": {**model["encoder"], **origin}},
        {**data, "tokenizer": {**data["tokenizer"], **origin}},
    )
