"""Send what waits on this machine to the store: `python -m src.sync [RUN_ID ...] [--to URI]`.

Runs wait in mlruns/outbox where their store was away, and where they were kept with tracking=offline. Each goes to the
store that it was begun for; a run kept offline goes to --to, or to mlruns/mlflow.db. A run of another machine is sent
in the same way, once its folder has been copied from mlruns/outbox there to mlruns/outbox here.

RUN_ID       only this run: its id, or the first 6 or more digits of it (default: all that wait)
--to URI     the store: sqlite:///FILE, postgresql://..., http(s)://...
--root FOLDER  a project other than this one

May be typed at any time, also while runs go on and while another sync is at work: nothing is sent twice.
Exit codes: 0 all that could be waiting has been sent; 1 something still waits; 2 a mistake in what was typed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from src.config.options import Flags, answered
from src.terms.fault import Fault, suggestion
from src.tracking import outbox
from src.tracking.redaction import STARS, spoken
from src.tracking.store import Store

_FLAGS = ("--to", "--root", "--help")
_OPTIONS = {"tracking.uri": "--to", "tracking.root": "--root"}


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    return answered(arguments, _answer, about=__doc__, called=_OPTIONS)


def _answer(arguments: Sequence[str]) -> int:
    asked = _read(arguments)
    here = Store(root=asked.root, uri=asked.to)
    here.check()
    waiting = _chosen(here, asked.runs)
    if not waiting:
        print(f"nothing waits in {here.runs_folder / 'outbox'}")
        return 0
    return _send(here, waiting)


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Flags("python -m src.sync")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--to")
    parser.add_argument("--root", default=str(Path(__file__).resolve().parents[1]))
    for each in arguments:
        if each.startswith("-") and (flag := each.partition("=")[0]) not in _FLAGS:
            raise Fault(f"there is no option {flag}; {suggestion(flag, _FLAGS)}")
    return parser.parse_args(arguments)


def _chosen(here: Store, wanted: Sequence[str]) -> list[Path]:
    """The folders of the runs that are asked for, a parent before its children."""
    waiting = outbox.waiting(here.runs_folder)
    if not wanted:
        return waiting
    names = [folder.name for folder in waiting]
    chosen = set()
    for each in wanted:
        found = [name for name in names if name.startswith(each.strip().lower())] if len(each.strip()) >= 6 else []
        if len(found) != 1:
            what = f"begins {len(found)} runs" if found else "names no run that waits"
            raise Fault(f"{each!r} {what} in {here.runs_folder / 'outbox'}; {suggestion(each, names)}")
        chosen.add(found[0])
    return [folder for folder in waiting if folder.name in chosen]


def _send(here: Store, waiting: Sequence[Path]) -> int:
    from src.tracking.delivery import TROUBLE, deliver
    from src.tracking.session import connect

    code = 0
    for folder in waiting:
        try:
            store = _store_of(here, folder)
            done = deliver(connect(store), folder)
        except TROUBLE as error:
            print(f"run {folder.name} still waits: {spoken(error)}", file=sys.stderr)
            code = 1
            continue
        if done.busy:
            print(f"run {folder.name} is being sent by another process")
        else:
            rest = "" if done.whole else "; it goes on"
            print(f"run {folder.name}: {done.entries} writes sent to {outbox.place_of(store.address)}{rest}")
    return code


def _store_of(here: Store, folder: Path) -> Store:
    """The store that a run was begun for; that which was typed, where it was."""
    about = outbox.about(folder)
    experiment = str(about.get("experiment", here.experiment))
    uri = here.uri or about.get("uri")
    if uri is not None and STARS in uri:
        raise Fault(f"its store is {uri}, and passwords are not kept: name the store with --to URI")
    return Store(root=here.root, uri=uri, experiment=experiment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
