"""What the command line does, as functions: errors are raised, and nothing ends the process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import palimpsest.code_path  # noqa: F401 - src is found from here on
from src.core.user_errors import UserError
from src.pipeline.hooks import NoHooks
from src.pipeline.run_parts import RunOutcome

__all__ = ["RunOutcome", "UserError", "compose", "resume", "run"]


class ComposedConfig(dict[str, Any]):
    """The config of a run as plain values, which may be changed before the run.

    Attributes:
        overrides: what it was composed from; the name of the run shows them.
    """

    overrides: tuple[str, ...] = ()


def compose(*overrides: str, config_dir: str | Path | None = None) -> ComposedConfig:
    """The config of one run.

    Args:
        overrides: what a command line has: `"+experiment=imdb"`, `"model.optim.lr=3e-5"`.
        config_dir: a folder of configs of one's own beside the program's.

    Raises:
        UserError: all mistakes in the overrides.
    """
    from src.config.allowed_targets import take_allowed
    from src.config.compose import register_resolvers
    from src.config.compose_run import compose_run
    from src.config.config_folders import take_config_folders
    from src.config.home_folder import expand_home_folders
    from src.pipeline.run import read_task_schema

    if wrong := [word for word in overrides if not isinstance(word, str)]:
        raise UserError(
            f"{wrong[0]!r} is no override", expected="texts one by one, as compose(*overrides)"
        )
    register_resolvers()
    words = take_allowed(expand_home_folders(overrides))
    folders = [f"--config-dir={config_dir}"] if config_dir is not None else []
    config = ComposedConfig(
        compose_run(take_config_folders([*words, *folders]), read_task_schema())
    )
    config.overrides = tuple(words)
    return config


def run(config: Mapping[str, Any]) -> RunOutcome:
    """Train, evaluate and record; returns the finished run with the latest value of every metric.

    Raises:
        UserError: something in the config or the data must be changed. Other errors are those of a
            run that has begun; it ends as FAILED.
    """
    from src.config.validate_config import validate_config
    from src.pipeline import run as pipeline
    from src.pipeline.resume_hint import print_resume_hint

    if not isinstance(config, Mapping):
        raise UserError(
            f"{config!r} is no config",
            expected='one that is composed, as run(compose("KEY=VALUE"))',
        )
    hooks = NoHooks()
    hooks.shown_overrides = getattr(config, "overrides", None)
    validate_config(dict(config), pipeline.read_task_schema())
    try:
        return pipeline.run(**config, hooks=hooks)
    except BaseException as error:
        print_resume_hint(error, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def resume(run_id: str, *overrides: str, fork: bool = False) -> RunOutcome:
    """Go on with an earlier run, as it was configured.

    Args:
        run_id: its id, or the first 6 or more digits of it.
        overrides: keys that shall differ, such as `"trainer.max_epochs=5"`.
        fork: begin a new run where that one stands, and leave it as it is.

    Raises:
        UserError: there is no such run, or it cannot go on like this.
    """
    from src.config.allowed_targets import take_allowed
    from src.config.compose import register_resolvers
    from src.pipeline.resume_hint import print_resume_hint
    from src.pipeline.resume_run import resume_run
    from src.pipeline.run import read_task_schema

    register_resolvers()
    words = [f"resume={run_id}", *(["fork=true"] if fork else []), *take_allowed(overrides)]
    try:
        return resume_run(words, read_task_schema())
    except BaseException as error:
        print_resume_hint(error, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
