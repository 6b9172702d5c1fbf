"""Which learning rate: `python -m src.lr_range [lowest=1e-7] [highest=1] [steps=100] OVERRIDES`.

The rate rises exponentially over a short training of its own run, until the loss diverges. The
curve is recorded, and the rate is suggested at which the loss falls most steeply. OVERRIDES are
those of src.run: `python -m src.lr_range +experiment=imdb`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/lr_range.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.user_errors import UserError
from src.pipeline.lr_range_run import LrRangeSettings, run_lr_range

_DEFAULTS = {"lowest": "1e-7", "highest": "1", "steps": "100"}
_FEWEST_STEPS = 20


def main(arguments: Sequence[str]) -> int:
    """Make the range test; returns the exit code."""
    return run_command_line(arguments, _handle_arguments, help_text=__doc__, option_names={})


def _handle_arguments(arguments: Sequence[str]) -> int:
    from src.config.allowed_targets import take_allowed
    from src.config.compose import register_resolvers
    from src.config.compose_run import compose_run
    from src.config.config_folders import take_config_folders
    from src.config.overrides import is_multirun
    from src.pipeline.resume_hint import report_error
    from src.pipeline.run import read_task_schema

    own = [argument for argument in arguments if argument.partition("=")[0] in _DEFAULTS]
    settings = parse_settings(own)
    typed = [argument for argument in arguments if argument not in own]
    overrides = take_config_folders(take_allowed(typed))
    if flags := [override for override in overrides if override.startswith("-")]:
        hint = "python -m src.run -m makes several runs, and the range test is one"
        raise UserError(f"there is no option {flags[0]}", hint=hint if is_multirun(flags) else None)
    register_resolvers()
    config = compose_run(overrides, read_task_schema())
    try:
        run_lr_range(config, settings, typed)
    except UserError:
        raise
    except Exception as error:
        return report_error(error)
    return 0


def parse_settings(arguments: Sequence[str]) -> LrRangeSettings:
    """The settings that were typed. Raises UserError for values that make no curve."""
    values = parse_key_values(arguments, _DEFAULTS)
    numbers: dict[str, float] = {}
    for key, value in values.items():
        try:
            numbers[key] = int(value) if key == "steps" else float(value)
        except ValueError as error:
            expected = "a whole number" if key == "steps" else "a number"
            raise UserError(key=key, expected=expected, found=repr(value)) from error
    if numbers["steps"] < _FEWEST_STEPS:
        raise UserError(key="steps", value=values["steps"], expected=f"at least {_FEWEST_STEPS}")
    if not 0 < numbers["lowest"] < numbers["highest"] <= 1:
        raise UserError(
            f"lowest={values['lowest']} highest={values['highest']}: expected rates above 0 and at "
            "most 1, the lowest first"
        )
    return LrRangeSettings(numbers["lowest"], numbers["highest"], int(numbers["steps"]))


if __name__ == "__main__":
    with startup.run_without_gc(), startup.exit_on_signals():
        sys.exit(main(sys.argv[1:]))
