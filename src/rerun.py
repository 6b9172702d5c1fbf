"""Repeats a run: `python -m src.rerun RUN_ID [OPTIONS]`.

The config of the run, as it was stored, is run again as a new run with the tag rerun_of. What is
other than then is said first: commit, uncommitted changes, versions, machine. At the end every
value of every metric, the saved weights and the digests of the data are compared with the first
run's. On a CPU with the same code, versions, threads and data they are equal to the last bit.

RUN_ID            an id, its first 6 or more digits, the name of a run, or latest
--differences     only say what is other than then; train nothing
--json            the answer as JSON, on standard output; all else on standard error
--uri URI         a store other than mlruns/mlflow.db; --experiment NAME, --root FOLDER as in the \
config (tracking)

Exit codes: 0 equal; 1 not equal, or the run failed; 2 a mistake in what was typed.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/rerun.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import STORE_OPTION_NAMES, FlagParser, run_command_line
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.tracking.store import Store

if TYPE_CHECKING:
    from src.tracking.earlier_runs import RunInfo

_FLAGS = ("--differences", "--json", "--uri", "--experiment", "--root")


def main(arguments: Sequence[str]) -> int:
    """Answer a command line; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=STORE_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    from src.pipeline.resume_hint import report_error

    options = _parse_arguments(arguments)
    store = Store(root=options.root, uri=options.uri, experiment=options.experiment)
    store.check()
    store.announce_environment()
    # with --json, standard output has the answer alone
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        found = store.find_run(options.run, key="RUN_ID")
        differences = _describe_differences(store, found)
        answer: dict[str, Any] = {"run": found.id, "differences": differences}
        if not options.differences:
            try:
                answer |= _run_and_compare(store, found)
            except UserError:
                raise
            except Exception as error:
                return report_error(error)
    if options.json:
        print_line(json.dumps(answer, indent=2))
    return 0 if answer.get("equal", True) else 1


def _describe_differences(store: Store, found: "RunInfo") -> list[str]:
    """Print and return what is other than when the run began."""
    from src.pipeline.rerun import (
        check_can_rerun,
        describe_run_again,
        list_differences,
        take_thread_count,
    )

    check_can_rerun(found)
    threads = take_thread_count(store.load_artifact_text(found.id, "environment.txt") or "")
    # the description of the environment tells torch's threads only once torch is imported
    import torch  # noqa: F401

    differences = list_differences(store, found)
    for line in describe_run_again(store, found, differences):
        print_line(line)
    if threads is not None:
        print_line(threads)
    return differences


def _run_and_compare(store: Store, found: "RunInfo") -> dict[str, Any]:
    """Run it again and print the verdict; returns it as plain values."""
    from src.pipeline.rerun import compare_runs, load_config, make_rerun_hooks
    from src.pipeline.run import run

    outcome = run(**load_config(store, found), hooks=make_rerun_hooks(found.id))
    compared = compare_runs(store, store.find_run(found.id), store.find_run(outcome.run_id))
    for line in compared.describe():
        print_line(line)
    return {"rerun": outcome.run_id, "equal": compared.is_equal, **compared._asdict()}


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = FlagParser("python -m src.rerun", _FLAGS)
    parser.add_argument("run", nargs="?")
    parser.add_argument("others", nargs="*")
    for flag in ("--differences", "--json"):
        parser.add_argument(flag, action="store_true")
    parser.add_store_flags()
    options = parser.parse(arguments)
    if options.run is None:
        raise UserError(
            "which run shall be repeated is not said",
            expected="python -m src.rerun RUN_ID",
            hint="python -m src.runs lists them",
        )
    # as it is typed behind src.predict
    options.run = options.run.removeprefix("run=")
    if options.others:
        raise UserError(
            f"a rerun changes nothing, and {options.others[0]} would",
            hint=f"python -m src.runs {options.run} shows what was typed, to type it again with "
            "that",
        )
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
