"""Send what waits on this machine to the store: `python -m src.sync [RUN_ID ...] [--to URI]`.

Runs wait in mlruns/outbox where their store was away, and where they were kept with
tracking=offline. Each goes to the store that it was begun for; a run kept offline goes to --to, or
to mlruns/mlflow.db. A run of another machine is sent in the same way, once its folder has been
copied from mlruns/outbox there to mlruns/outbox here.

RUN_ID       only this run: its id, or the first 6 or more digits of it (default: all that wait)
--to URI     the store: sqlite:///FILE, postgresql://..., http(s)://..., null for mlruns/mlflow.db
--root FOLDER  a project other than this one

May be typed at any time, also while runs go on and while another sync is at work: nothing is sent
twice.
Exit codes: 0 all that could be waiting has been sent; 1 something still waits; 2 a mistake in what
was typed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/sync.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import FlagParser, run_command_line
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import read_tracking_uri
from src.core.printing import print_line
from src.core.redaction import REDACTED
from src.core.user_errors import UserError, format_suggestion
from src.tracking import outbox
from src.tracking.store import Store

_FLAGS = ("--to", "--root", "--help")
_OPTION_NAMES = {"tracking.uri": "--to", "tracking.root": "--root"}


def main(arguments: Sequence[str]) -> int:
    """Send what was options for; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = _parse_arguments(arguments)
    here = Store(root=options.root, uri=options.to)
    if (here.uri or "").casefold() == "null":
        here = Store(root=here.root, uri=Store(root=here.root).tracking_uri)
    here.check()
    if here.uri is None and read_tracking_uri() is not None:
        print_line(
            f"runs begun without a store go to {read_tracking_uri()} (MLFLOW_TRACKING_URI)",
            to_stderr=True,
        )
    waiting = _select_runs(here, options.runs)
    if not waiting:
        print_line(f"nothing waits in {here.runs_folder / 'outbox'}")
        return 0
    return _deliver_runs(here, waiting)


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = FlagParser("python -m src.sync", _FLAGS)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--to")
    parser.add_argument("--root", default=str(PROJECT_ROOT))
    return parser.parse(arguments)


def _select_runs(here: Store, wanted: Sequence[str]) -> list[Path]:
    """The folders of the runs that are options for, a parent before its children."""
    waiting = outbox.list_pending_outboxes(here.runs_folder)
    if not wanted:
        return waiting
    names = [folder.name for folder in waiting]
    chosen = set()
    for typed in wanted:
        beginning = typed.strip().lower()
        found = [name for name in names if name.startswith(beginning) and len(beginning) >= 6]
        if len(found) != 1:
            problem = f"begins {len(found)} runs" if found else "names no run that waits"
            raise UserError(
                f"{typed!r} {problem} in {here.runs_folder / 'outbox'}",
                hint=format_suggestion(typed, names),
            )
        chosen.add(found[0])
    return [folder for folder in waiting if folder.name in chosen]


def _deliver_runs(here: Store, waiting: Sequence[Path]) -> int:
    from src.tracking.client import connect_to_store
    from src.tracking.delivery import DELIVERY_ERRORS, deliver_outbox

    code = 0
    for folder in waiting:
        try:
            store = _resolve_store(here, folder)
            session = connect_to_store(store)
            done = deliver_outbox(session, folder)
        except DELIVERY_ERRORS as error:
            if isinstance(error, UserError):
                error = error.with_renamed_keys(_OPTION_NAMES)
            print_line(f"run {folder.name} still waits: {error}", to_stderr=True)
            code = 1
            continue
        if done.is_busy:
            print_line(f"run {folder.name} is being sent by another process")
        else:
            rest = "" if done.is_complete else "; it goes on"
            if done.run_id != folder.name:
                rest += f"; there it is run {done.run_id}"
            print_line(
                f"run {folder.name}: {done.sent_count} writes sent to {store.tracking_uri}{rest}"
            )
            print_line(f"see: {session.describe_ui_page(done.run_id)}")
    return code


def _resolve_store(here: Store, folder: Path) -> Store:
    """The store that a run was begun for; that which was typed, where it was."""
    about = outbox.read_outbox_metadata(folder)
    experiment = str(about.get("experiment", here.experiment))
    uri = here.uri or about.get("uri")
    if uri is None and about.get("offline"):
        uri = read_tracking_uri()
    if uri is not None and REDACTED in uri:
        raise UserError(
            f"its store is {uri}, and passwords are not kept: name the store with --to URI"
        )
    return Store(root=here.root, uri=uri, experiment=experiment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
