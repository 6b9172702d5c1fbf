"""What a run would need, without making it: `python -m src.plan +experiment=sst2`.

It takes what src.run takes and prints parameters, rows, steps, memory, disk and time, measured by
a few real steps, the largest batch among them. With -m it does so for the first and the last
trial, and tells the number of trials and the time of all. Nothing is recorded. What was read and
tokenised stays in the cache, where the run finds it.

-m                        plan a sweep or a search
KEY=VALUE, GROUP=CHOICE   as for src.run
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/plan.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.core import startup
from src.core.checkout import check_checkout
from src.core.formatting import format_duration, format_quantity
from src.core.printing import print_line, print_wrapped
from src.core.user_errors import UserError

_FLAGS = ("-m", "--multirun")


def main(arguments: Sequence[str]) -> int:
    """Print the plan; returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        print_line(__doc__)
        return 0
    from src.config.allowed_targets import take_allowed
    from src.config.compose import is_resume, register_resolvers
    from src.config.compose_run import compose_run
    from src.config.config_folders import take_config_folders
    from src.config.home_folder import expand_home_folders
    from src.pipeline.resume_hint import report_error
    from src.pipeline.run import read_task_schema

    try:
        check_checkout()
        if is_resume(arguments):
            raise UserError("a plan is of a run that begins; resume= and fork= go on with one")
        words = take_config_folders(take_allowed(expand_home_folders(arguments)))
        overrides = [word for word in words if word not in _FLAGS]
        if unknown := [word for word in overrides if word.startswith("-")]:
            raise UserError(f"there is no option {unknown[0]}", expected="-m or none")
        register_resolvers()
        task = read_task_schema()
        if overrides == words:
            _print_run_plan(compose_run(overrides, task))
        else:
            _print_sweep_plan(overrides, task)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report_error(error)
    return 0


def _print_run_plan(config: dict[str, Any]) -> float:
    """Print what a run needs, and each of its phases by itself; returns its time in seconds."""
    from src.config.phases import PHASES_KEY, expand_phases
    from src.pipeline.plan import plan_run

    phases = expand_phases(config) if config.get(PHASES_KEY) else {"": config}
    seconds = 0.0
    for name, phase in phases.items():
        if name:
            print_line(f"phase {name}, as a run of its own")
        plan = plan_run(phase, is_followed=bool(name) and name != list(phases)[-1])
        for line in plan.describe():
            print_wrapped(line)
        # the program starts once
        seconds += plan.total_seconds - (plan.start_seconds if seconds else 0.0)
    if len(phases) > 1:
        print_line(f"all {len(phases)} phases: {format_duration(seconds)}")
    return seconds


def _print_sweep_plan(overrides: Sequence[str], task: Any) -> None:
    from src.search.run.sweep_plan import plan_sweep

    sweep = plan_sweep(overrides, task)
    seconds = []
    for text, config in sweep.examples.items():
        print_line(f"trial {text}")
        seconds.append(_print_run_plan(config))
    mean = sum(seconds) / len(seconds)
    if sweep.trials is None:
        print_wrapped(
            f"search: no limit of trials; one takes {format_duration(mean)}, {sweep.jobs} at a time"
        )
        return
    total = mean * math.ceil(sweep.trials / sweep.jobs)
    limit = "" if sweep.max_hours is None else f", and begins none after {sweep.max_hours:g} h"
    print_wrapped(
        f"search: {format_quantity(sweep.trials, 'trial')} at most, {sweep.jobs} at a time: "
        f"{format_duration(total)} if they take {format_duration(mean)} as the mean of these"
        f"{limit}"
    )


if __name__ == "__main__":
    with startup.run_without_gc(), startup.exit_on_signals():
        sys.exit(main(sys.argv[1:]))
