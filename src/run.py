"""The command that composes a config and runs it: `python -m src.run --help` says how.

With `-m` it makes a run of each combination of values, or a search. What a run does is in
`src/pipeline/run.py`.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/run.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.core import startup
from src.core.checkout import check_checkout
from src.core.files import CONF
from src.core.printing import print_line
from src.core.user_errors import UserError, UserErrors

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from src.config.build_nodes import Schema
    from src.config.override_errors import SearchCheck
    from src.pipeline.run_parts import RunOutcome


# A config or something else is printed, and nothing is run.
_PRINTING_FLAGS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}


def run_rank(**config: Any) -> "RunOutcome":
    """Run a config as one of several ranks; the run may be that of a search's trial."""
    from src.pipeline.run import run
    from src.search.run.trial_hooks import TrialHooks
    from src.search.run.trial_spec import current_trial

    trial = current_trial()
    # the first rank alone reports to the study
    return run(**config, hooks=None if trial is None else TrialHooks(trial, study=None))


def main(cfg: "DictConfig") -> "RunOutcome | int":
    """Hydra's task function: check the composed config and run it. If this process works for a
    trial, run that and return its exit code.
    """
    from src.config.compose import to_plain_config, typed_overrides
    from src.config.validate_config import validate_config
    from src.pipeline.resume_hint import print_resume_hint, report_error
    from src.pipeline.run import read_task_schema, run
    from src.search.run.trial import run_trial
    from src.search.run.trial_spec import current_trial

    try:
        config = to_plain_config(cfg, typed_overrides())
        # one job of Hydra's launchers
        if current_trial() is not None:
            return run_trial(run, config)
        validate_config(config, read_task_schema())
        return run(**config)
    except Exception as error:
        # an exception would pass through Hydra, which adds a line of its own
        sys.exit(report_error(error))
    except (KeyboardInterrupt, SystemExit) as error:
        print_resume_hint(error, "KILLED")
        raise


def print_config(cfg: "DictConfig") -> None:
    """Print the config that a run would have, with the values of its preset, and without those that
    a typed option replaces. Mistakes in values are shown as they are; one that cannot be resolved
    has no value to show, and is told as a run tells it.
    """
    from omegaconf import OmegaConf

    from src.config.compose import to_plain_config, typed_overrides
    from src.config.validate_config import validate_config
    from src.core.nested_config import iter_leaves
    from src.pipeline.resume_hint import report_error
    from src.pipeline.run import read_task_schema

    config = to_plain_config(cfg, typed_overrides())
    try:
        if any(isinstance(value, UserError) for _, value in iter_leaves(config)):
            validate_config(config, read_task_schema())
        print(OmegaConf.to_yaml(OmegaConf.create(config)), end="")
    except UserError as error:
        # an exception would pass through Hydra, which adds a line of its own
        sys.exit(report_error(error))


def resume_from_command_line(arguments: Sequence[str], task: "Schema") -> int:
    """Go on with an earlier run, or fork it, as `resume=ID` asks, with its own config instead of
    conf/. Returns the exit code.
    """
    from src.pipeline.resume_hint import print_resume_hint, report_error
    from src.pipeline.resume_run import resume_run

    try:
        resume_run(arguments, task)
    except Exception as error:
        return report_error(error)
    except (KeyboardInterrupt, SystemExit) as error:
        print_resume_hint(error, "KILLED")
        raise
    return 0


def compose_and_run(arguments: Sequence[str], task: "Schema") -> int:
    """Compose the config that a command line asks for and run it, or make several runs with `-m`.
    Returns the exit code.
    """
    from src.config.allowed_targets import allowed_overrides
    from src.config.compose import prefix_optional_inputs, run_composed_once
    from src.config.config_folders import take_config_folders
    from src.config.hydra_composition import COMPOSE_ERRORS
    from src.config.overrides import (
        describe_repeated_keys,
        is_multirun,
        put_flags_last,
        take_config_request,
    )

    if not arguments:
        from src.pipeline.announcement import DEMO_TEXT

        print_line(DEMO_TEXT)
    try:
        arguments = take_config_folders(arguments)
    except UserError as error:
        print_line(f"error: {error}", to_stderr=True)
        return 2
    for note in describe_repeated_keys(arguments):
        print_line(note, to_stderr=True)
    flags = {argument for argument in arguments if argument.startswith("-")}
    many = is_multirun(arguments)
    find_search_errors: SearchCheck | None = None
    if many:
        from src.search.run.search_check import find_search_errors
    try:
        if flags or many:
            # before the first trial, and before Hydra makes a folder
            _check_command_line(arguments, task, find_search_errors)
        if many and flags <= {"-m", "--multirun"}:
            from src.search.run.multirun import run_multirun

            overrides = [argument for argument in arguments if argument not in flags]
            return run_multirun(overrides, task, main)
        overrides = prefix_optional_inputs(arguments, task)
        # the run records the command with the packages that it allows
        sys.argv[1:] = [*allowed_overrides(), *overrides]
        asked = take_config_request(overrides)
        if asked is not None:
            is_done = run_composed_once(asked, print_config)
        else:
            is_done = not flags and run_composed_once(overrides, main)
        if not is_done:
            import hydra

            sys.argv[1:] = put_flags_last(overrides)
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(main)()
    except COMPOSE_ERRORS as error:
        from src.config.override_errors import explain_compose_error

        explained = explain_compose_error(arguments, error, task, find_search_errors)
        print_line(f"error: {explained}", to_stderr=True)
        return 2
    except UserError as error:
        print_line(f"error: {error}", to_stderr=True)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # of a search: `main` reports the error of a run itself
        from src.pipeline.resume_hint import report_error

        return report_error(error)
    return 0


def _check_command_line(
    arguments: Sequence[str], task: "Schema", find_search_errors: "SearchCheck | None"
) -> None:
    """Raise UserErrors for wrong flags and, of several runs, for anything else that is wrong.

    Args:
        find_search_errors: given for several runs, which are a search.
    """
    from src.config.flag_errors import find_flag_errors
    from src.config.override_errors import find_override_errors

    errors = find_flag_errors(arguments, task)
    if not errors and find_search_errors is not None:
        errors = find_override_errors(arguments, task, find_search_errors=find_search_errors)
    if errors:
        raise UserErrors(errors)


def run_program() -> None:
    """The program. Help and version come before every import that takes time."""
    arguments = sys.argv[1:]
    # one more process of a run, started by its first
    if arguments[:1] == ["--rank"]:
        from src.training.rank_process import run_as_rank

        run_as_rank(run_rank)
    if {"--help", "-h"} & set(arguments):
        from src.config.command_line import format_help_text

        print_line(format_help_text())
        return
    if "--version" in arguments:
        from src import __version__

        print_line(f"palimpsest {__version__}")
        return
    from src.config.allowed_targets import take_allowed
    from src.config.compose import is_resume, register_resolvers
    from src.config.home_folder import expand_home_folders
    from src.pipeline.run import read_task_schema

    try:
        check_checkout()
    except UserError as error:
        print_line(f"error: {error}", to_stderr=True)
        sys.exit(2)
    arguments = take_allowed(expand_home_folders(arguments))
    # exceptions come here instead of being printed and turned into exit code 1
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_resolvers()
    task = read_task_schema()
    if "resume=job" in arguments:
        from src.pipeline.job_run import resolve_job_run

        try:
            arguments = resolve_job_run(arguments, task)
        except UserError as error:
            print_line(f"error: {error}", to_stderr=True)
            sys.exit(2)
    flags = {argument.partition("=")[0] for argument in arguments}
    with startup.end_when_unread() if flags & _PRINTING_FLAGS else contextlib.nullcontext():
        sys.exit(
            resume_from_command_line(arguments, task)
            if is_resume(arguments)
            else compose_and_run(arguments, task)
        )


if __name__ == "__main__":
    with startup.run_without_gc(), startup.exit_on_signals():
        run_program()
