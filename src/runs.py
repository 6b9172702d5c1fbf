"""The runs of the store, as plain text: `python -m src.runs [RUN_ID] [OPTIONS]`.

RUN_ID            one run in detail, with the command that resumes it
--status STATUS   only RUNNING, FINISHED, FAILED or KILLED ones
--kind KIND       only pretrain, finetune, ... ones
--tag KEY=VALUE   only those with this tag; may be given several times
--limit N         the newest N (default 20)
--ids             only their ids, one a line, for scripts
--json            the same as JSON
--repair          mark runs whose process is gone as KILLED, and deliver what waits in mlruns/outbox
--uri URI         a store other than mlruns/mlflow.db; --experiment NAME, --root FOLDER as in the config (tracking)

Exit codes: 0; 1 where something still waits after --repair; 2 for a mistake in what was typed.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.options import Flags, answered
from src.terms.fault import Fault, suggestion
from src.tracking.redaction import spoken
from src.tracking.store import Store

if TYPE_CHECKING:
    from src.tracking.listing import Listed

ROOT = Path(__file__).resolve().parents[1]
_STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
_FLAGS = ("--status", "--kind", "--tag", "--limit", "--ids", "--json", "--repair", "--uri", "--experiment", "--root")
_OPTIONS = {"tracking.uri": "--uri", "tracking.experiment": "--experiment", "tracking.root": "--root"}


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    try:
        return answered(arguments, _answered, about=__doc__, called=_OPTIONS)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answered(arguments: Sequence[str]) -> int:
    asked = _read(arguments)
    store = Store(root=asked.root, uri=asked.uri, experiment=asked.experiment)
    store.check()
    code = _answer(store, asked)
    sys.stdout.flush()
    return code


def _answer(store: Store, asked: argparse.Namespace) -> int:
    if store.database is not None and not store.database.exists() and asked.run is None:
        print("[]" if asked.json else f"no run has been kept yet in {store.database}")
        return 0
    if asked.repair:
        return _repair(store, asked.json)
    if asked.run is not None:
        _show(store, asked.run, asked.json)
        return 0
    with contextlib.redirect_stdout(sys.stderr):  # what was mended on the way is no part of the answer
        store.open()
    _list(store, asked)
    return 0


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Flags("python -m src.runs")
    parser.add_argument("run", nargs="?")
    parser.add_argument("--status")
    parser.add_argument("--kind")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--limit", default="20")
    for flag in ("--ids", "--json", "--repair"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--uri")
    parser.add_argument("--experiment", default="palimpsest")
    parser.add_argument("--root", default=str(ROOT))
    for each in arguments:
        if each.startswith("-") and (flag := each.partition("=")[0]) not in _FLAGS:
            raise Fault(f"there is no option {flag}; {suggestion(flag, _FLAGS)}")
    asked = parser.parse_args(arguments)
    if asked.status is not None and asked.status.upper() not in _STATUSES:
        raise Fault(f"--status {asked.status}: {suggestion(asked.status.upper(), _STATUSES)}")
    asked.status = asked.status and asked.status.upper()
    if not (asked.limit.isascii() and asked.limit.isdigit() and 1 <= int(asked.limit) <= 50_000):
        raise Fault(f"--limit {asked.limit}: expected a whole number from 1 to 50000")
    for each in asked.tag:
        if "=" not in each:
            raise Fault(f"--tag {each}: expected KEY=VALUE")
    if asked.repair and asked.run is not None:
        raise Fault(f"--repair looks at all runs: leave {asked.run!r} out")
    return asked


def _list(store: Store, asked: argparse.Namespace) -> None:
    from src.tracking.listing import listed

    tags = dict(each.split("=", 1) for each in asked.tag)
    runs = listed(store, status=asked.status, kind=asked.kind, tags=tags, limit=int(asked.limit))
    if asked.ids:
        print("".join(f"{run.id}\n" for run in runs), end="")
    elif asked.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
    elif not runs:
        print("no run is like that")
    else:
        _table(runs)


def _table(runs: "Sequence[Listed]") -> None:
    rows = [("ID", "STATUS", "KIND", "STARTED", "LENGTH", "STEP", "METRIC", "NAME")]
    for run in runs:
        step = "" if run.step is None else str(run.step)
        times = _when(run.started_at), _length(run.elapsed_seconds)
        rows.append((run.id[:8], run.status, run.kind, *times, step, _metric(run), run.name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for place, row in enumerate(rows):
        print(spoken("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()))
        if place and (more := runs[place - 1].reason or runs[place - 1].alive):
            print(f"{'':10}{spoken(more)}")


def _metric(run: "Listed") -> str:
    if run.best is None or run.last is None:
        return ""
    return f"{run.metric} {run.last:.4g} (best {run.best:.4g} at {run.best_step})"


def _show(store: Store, run_id: str, as_json: bool) -> None:
    """One run, in detail."""
    with contextlib.redirect_stdout(sys.stderr):
        found = store.find(run_id, key="RUN_ID")
    from src.tracking.again import command
    from src.tracking.listing import one

    run = one(store, found)
    folder = store.runs_folder / "checkpoints" / found.tags.get("local_id", run.id)
    kept = [os.path.relpath(each, store.root) for each in sorted(folder.glob("*.ckpt"))]
    resume = None
    if run.status in ("FAILED", "KILLED"):
        sweep = run.id if run.kind == "search" else None
        resume = command(run.id, root=store.root, uri=store.uri, sweep=sweep)
    if as_json:
        shown: dict[str, Any] = asdict(run) | {"checkpoints": kept, "resume": resume, "tags": found.tags}
        print(json.dumps(shown | {"params": found.params, "metrics": found.metrics}, indent=2))
        return
    details = {
        "run": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "reason": run.reason,
        "alive": run.alive,
        "started": _when(run.started_at),
        "length": _length(run.elapsed_seconds),
        "last step": run.step,
        "metric": _metric(run),
        "typed": found.tags.get("command"),
        "from": found.tags.get("init_from") or found.tags.get("forked_from"),
        "resumed": found.tags.get("resumed"),
        "checkpoints": " ".join(kept),
        "files": found.artifact_uri,
        "resume": resume,
    }
    for name, value in details.items():
        if value not in (None, ""):
            print(f"{name + ':':<13}{spoken(value)}")


def _repair(store: Store, as_json: bool) -> int:
    from src.tracking.listing import repair

    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        done = repair(store)
    if as_json:
        print(json.dumps(asdict(done), indent=2))
    else:
        for line in done.delivered:
            print(line)
        waiting = f"; of {done.waiting} writes still wait: python -m src.sync" if done.waiting else ""
        print(f"{len(done.closed)} runs were dead and are KILLED now{waiting}")
    return 1 if done.waiting else 0


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _length(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
