"""The runs of the store, as plain text: `python -m src.runs [RUN_ID] [OPTIONS]`.

RUN_ID            one run in detail, with the command that resumes it: its id or 6 digits of it,
                  its name, or `latest`
--status STATUS   only RUNNING, FINISHED, FAILED or KILLED ones
--kind KIND       only pretrain, finetune, ... ones
--tag KEY=VALUE   only those with this tag; may be given several times
--sort METRIC     the best by METRIC first, such as test/accuracy or val/loss
--limit N         the newest N, or the best N (default 20)
--ids             only their ids, one a line, for scripts
--json            the same as JSON
--repair          mark runs whose process is gone as KILLED, and deliver what waits in mlruns/outbox
--uri URI         a store other than mlruns/mlflow.db; --experiment NAME, --root FOLDER as in the \
config (tracking)

Exit codes: 0; 1 where something still waits after --repair; 2 for a mistake in what was typed.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/runs.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import STORE_OPTION_NAMES, FlagParser, run_command_line
from src.core.json_text import format_json
from src.core.printing import print_line
from src.core.user_errors import UserError, did_you_mean, format_suggestion
from src.tracking.foreign_run_names import explain_run_word
from src.tracking.metric_names import TEST_METRICS
from src.tracking.store import Store

if TYPE_CHECKING:
    from src.tracking.run_summaries import RunSummary

_STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_FLAGS = (
    "--status",
    "--kind",
    "--tag",
    "--sort",
    "--limit",
    "--ids",
    "--json",
    "--repair",
    "--uri",
    "--experiment",
    "--root",
)


def main(arguments: Sequence[str]) -> int:
    """Answer a command line; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=STORE_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = _parse_arguments(arguments)
    store = Store(root=options.root, uri=options.uri, experiment=options.experiment)
    store.check()
    store.announce_environment()
    if store.sqlite_file is not None and not store.sqlite_file.exists() and options.run is None:
        if options.json:
            print_line("[]")
        else:
            # a script that asks for ids gets none
            line = f"no run has been kept yet in {store.sqlite_file}"
            print_line(line, to_stderr=options.ids)
        return 0
    if options.repair:
        return _repair_store(store, options.json)
    if options.run is not None:
        _show_run(store, options.run, options.json)
        return 0
    # what was mended on the way is no part of the answer
    with contextlib.redirect_stdout(sys.stderr):
        store.check_experiment()
        store.open()
    _list_runs(store, options)
    return 0


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = FlagParser("python -m src.runs", _FLAGS)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--status")
    parser.add_argument("--kind")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--sort")
    parser.add_argument("--limit", default="20")
    for flag in ("--ids", "--json", "--repair"):
        parser.add_argument(flag, action="store_true")
    parser.add_store_flags()
    for argument in arguments:
        if argument.startswith("--") and argument.strip("-").upper() in _STATUSES:
            meant = f"--status {argument.strip('-')}"
            raise UserError(f"there is no option {argument}", hint=did_you_mean(meant))
    explain_action(arguments)
    options = parser.parse(arguments)
    if options.status is not None and options.status.upper() not in _STATUSES:
        raise UserError(
            f"--status {options.status}: {format_suggestion(options.status.upper(), _STATUSES)}"
        )
    options.status = options.status and options.status.upper()
    if not (
        options.limit.isascii() and options.limit.isdigit() and 1 <= int(options.limit) <= 50_000
    ):
        raise UserError(key=f"--limit {options.limit}", expected="a whole number from 1 to 50000")
    for tag in options.tag:
        if "=" not in tag:
            raise UserError(key=f"--tag {tag}", expected="KEY=VALUE")
    if options.run in ("list", "ls", "all"):
        raise UserError(
            f"{options.run!r} is not the id of a run", hint="python -m src.runs alone lists them"
        )
    if f"--{options.run}" in _FLAGS:
        raise UserError(
            f"{options.run!r} is not the id of a run", hint=did_you_mean(f"--{options.run}")
        )
    if options.repair and options.run is not None:
        raise UserError(f"--repair looks at all runs: leave {options.run!r} out")
    return options


def explain_action(arguments: Sequence[str]) -> None:
    """Raise UserError for a verb where a run is expected, as other programs take one."""
    action = arguments[0].lstrip("-") if arguments else ""
    if action.partition("=")[0] in ("delete", "rm", "remove", "del"):
        raise UserError(
            f"'{arguments[0]}' is not the id of a run",
            hint="runs are deleted in the UI (python -m src.ui), from where they can be restored",
        )
    # a word alone may be the name of a run
    is_name = len(arguments) == 1 and arguments[0].isalpha()
    is_flag = action != "" and arguments[0].partition("=")[0] in _FLAGS
    if action and not is_name and not is_flag and (answer := explain_run_word(action)):
        raise UserError(f"'{arguments[0]}' is not the id of a run", hint=answer)
    if action in ("show", "get", "info", "view", "describe") and arguments[1:]:
        raise UserError(
            f"'{arguments[0]}' is not the id of a run",
            hint=did_you_mean(f"python -m src.runs {arguments[1]}"),
        )


def _list_runs(store: Store, options: argparse.Namespace) -> None:
    from src.tracking.run_summaries import list_run_summaries

    tags = dict(tag.split("=", 1) for tag in options.tag)
    runs = list_run_summaries(
        store,
        status=options.status,
        kind=options.kind,
        tags=tags,
        limit=int(options.limit),
        sort=options.sort,
    )
    if options.ids:
        for run in runs:
            print_line(run.id)
    elif options.json:
        print_line(format_json([asdict(run) for run in runs]))
    else:
        place = store.sqlite_file or store.uri
        print_line(f"runs of experiment {store.experiment} in {place}", to_stderr=True)
        if runs:
            _print_table(runs, options.sort)
        else:
            print_line("no run is like that")


def _print_table(runs: "Sequence[RunSummary]", sort: str | None) -> None:
    rows = [("ID", "STATUS", "KIND", "STARTED", "LENGTH", "STEP", "METRIC", "TEST", "NAME")]
    for run in runs:
        step = "" if run.step is None else str(run.step)
        times = _format_time(run.started_at), _format_duration(run.elapsed_seconds)
        results = _format_metric(run), _format_test(run, sort)
        rows.append((run.id[:8], run.status, run.kind, *times, step, *results, run.name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for place, row in enumerate(rows):
        print_line(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
        if place and (more := runs[place - 1].reason or runs[place - 1].alive):
            print_line(f"{'':10}{more}")


def _format_metric(run: "RunSummary") -> str:
    if run.last is None:
        return ""
    if run.best_trial is not None:
        number = "trial" if run.best_trial.isdigit() else "trials"
        return f"{run.metric} {run.best:.4g} ({number} {run.best_trial})"
    if run.best is None:
        return f"{run.metric} {run.last:.4g} (never a number)"
    return f"{run.metric} {run.last:.4g} (best {run.best:.4g} at {run.best_step})"


def _format_test(run: "RunSummary", sort: str | None = None) -> str:
    """The most telling of what a run's test measured, or that by which the list is sorted."""
    names = (sort, *(f"test/{name}" for name in TEST_METRICS), *run.test)
    name = next((name for name in names if name in run.test), None)
    return "" if name is None else f"{name} {run.test[name]:.4g}"


def _show_run(store: Store, run_id: str, as_json: bool) -> None:
    """One run, in detail."""
    with contextlib.redirect_stdout(sys.stderr):
        found = store.find_run(run_id, key="RUN_ID")
    from src.pipeline.resume import find_run_checkpoint, is_untrained
    from src.pipeline.resume_hint import BEGIN_AGAIN, build_resume_command
    from src.tracking.run_summaries import summarize_run

    run = summarize_run(store, found)
    folder = store.runs_folder / "checkpoints" / found.tags.get("local_id", run.id)
    kept = [_shorten_path(file) for file in sorted(folder.glob("*.ckpt"))]
    resume = begin_again = None
    if run.status in ("FAILED", "KILLED"):
        sweep = run.id if run.kind == "search" else None
        resume = build_resume_command(run.id, root=store.root, uri=store.uri, sweep=sweep)
        may_begin_again = run.status == "FAILED" and sweep is None and not kept
        if may_begin_again and is_untrained(found, find_run_checkpoint(store, found)):
            begin_again = f"{resume} fork=true"
    if as_json:
        shown: dict[str, Any] = asdict(run) | {
            "checkpoints": kept,
            "resume": resume,
            "begin_again": begin_again,
            "tags": found.tags,
        }
        print_line(format_json(shown | {"params": found.params, "metrics": found.metrics}))
        return
    details = {
        "run": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "reason": run.reason,
        "alive": run.alive,
        "started": _format_time(run.started_at),
        "length": _format_duration(run.elapsed_seconds),
        "last step": run.step,
        "metric": _format_metric(run),
        "best trial": run.best_run_id and f"{run.best_trial}: run {run.best_run_id}",
        "test": "  ".join(f"{name} {value:.4g}" for name, value in run.test.items()),
        "typed": found.tags.get("command"),
        "from": found.tags.get("init_from") or found.tags.get("forked_from"),
        "resumed": found.tags.get("resumed"),
        "checkpoints": " ".join(kept),
        "files": found.artifact_uri,
        "page": run.page,
        "resume": resume,
    }
    for name, value in details.items():
        if value not in (None, ""):
            print_line(f"{name + ':':<13}{value}")
    if begin_again is not None:
        print_line(f"{BEGIN_AGAIN}: {begin_again}")


def _shorten_path(file: Path) -> str:
    """A path that opens from here, short where the file lies below."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _repair_store(store: Store, as_json: bool) -> int:
    from src.tracking.run_summaries import repair_store

    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        done = repair_store(store)
    if as_json:
        print_line(format_json(asdict(done)))
    else:
        for line in done.delivered:
            print_line(line)
        waiting = (
            f"; of {done.waiting} writes still wait: {store.build_sync_command()}"
            if done.waiting
            else ""
        )
        print_line(f"{len(done.closed)} runs were dead and are KILLED now{waiting}")
    return 1 if done.waiting else 0


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _format_duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
