"""A trial of a sweep in a process of its own: run it, and tell the study how it ended."""

import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.terms.fault import Fault
from src.tracking.redaction import hidden

if TYPE_CHECKING:
    from src.run import Outcome
    from src.search.watching import Watch
    from src.tracking.lookup import RunInfo
    from src.tracking.store import Store

VARIABLE = "PALIMPSEST_TRIAL"  # in the environment of a trial's process, and of the other ranks of its run
AGAIN = 75  # exit code (EX_TEMPFAIL): memory ran out, and the trial waits to be tried with smaller batches
UNTOLD = 74  # exit code (EX_IOERR): the trial has come to its end, of which its run knows and the study does not


@dataclass(frozen=True)
class Trial:
    """Which trial a process is, in plain values.

    Args:
        address: of the storage that has the study.
        folder: of the sweep's files.
        study: its name.
        number: of the trial in it.
        parent: id of the sweep's run.
        monitors: metrics that the sweep looks at; the first is the one that it prunes by.
        modes: `min` or `max` for each of them.
        pruner: its config node; None prunes nothing.
        shown: overrides, as they are to stand in the run's name.
        resume: id of the run with which the trial goes on.
        halvings: how often the batch is to be halved, and the accumulation doubled.
        way_on: the command that goes on with the sweep.
        may_halve: whether it is to be tried again with one more halving where memory runs out.
        owner: the process that has taken it, as the study knows it; empty: nobody asks.
    """

    address: str
    folder: str
    study: str
    number: int
    parent: str
    monitors: list[str]
    modes: list[str]
    pruner: dict[str, Any] | None = None
    shown: list[str] | None = None
    resume: str | None = None
    halvings: int = 0
    may_halve: bool = False
    way_on: str | None = None
    owner: str = ""

    def encode(self) -> str:
        """For the environment: letters, digits, `-` and `_` alone, which pass through an override of Hydra's too."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Trial":
        return cls(**json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))

    @property
    def progress_file(self) -> Path:
        """Holds "STEP TOTAL" while the trial runs."""
        return Path(self.folder) / f"{self.number}.progress"


def current() -> Trial | None:
    """The trial that this process is, or that the run is of which it is a rank; None where it is no trial."""
    text = os.environ.get(VARIABLE)
    return None if not text else Trial.decode(text)


def conduct(run: "Callable[..., Outcome]", config: Mapping[str, Any]) -> int:
    """Run the current trial and tell the study how it ended; an interrupted one waits there to go on.

    Returns:
        The exit code: 0 finished or pruned, 1 failed, 2 a person's mistake before there was a run, 75 out of memory and
        to be tried again with smaller batches, 74 where the study could not be told of a good end, 128 and the signal's
        number where it was interrupted.
    """
    from src.config.build import build
    from src.search.study import Storage
    from src.search.watching import Watch, present
    from src.tracking.surroundings import rank
    from src.training.parting import complain

    trial = current()
    if trial is None:
        raise RuntimeError(f"{VARIABLE} is not set, so this process is no trial")
    if rank() > 0:  # started by srun or torchrun: the first of them tells
        run(**_smaller(config, trial)[0], resume=trial.resume)
        return 0
    try:
        pruner = build(trial.pruner) if trial.pruner is not None else None
        study = Storage(trial.address, Path(trial.folder), must_exist=True).open(trial.study, pruner=pruner)
    except Exception as error:  # whoever has started this process sees that it ended without a word to the study
        return complain(error)
    watch = Watch(trial, study, pruner=pruner.name if pruner is not None else None)
    if not watch.enter():
        print(f"trial {trial.number} is another process's by now: nothing is done here", file=sys.stderr)
        return 1
    with present(watch):
        try:
            config, watch.halved = _smaller(config, trial)
            _attempt(run, config, trial, watch)
        except BaseException as error:
            return _broken(error, config, trial, watch)
    if watch.pruned is not None:
        print(f"trial {trial.number} {watch.pruned}", flush=True)
        return 0 if watch.tell("pruned", reason=watch.pruned) else UNTOLD
    return 0 if watch.tell("finished", watch.values) else UNTOLD


def _attempt(run: "Callable[..., Outcome]", config: Mapping[str, Any], trial: Trial, watch: "Watch") -> None:
    """Run the trial to its end: from where its earlier run stopped, else from the beginning."""
    from src.config.build import build
    from src.tracking.ending import recorded

    store = build(config["tracking"])
    earlier = _earlier(store, trial)
    if earlier is None:
        run(**config)
        return
    if watch.take_over(earlier):  # it had ended, but its process was gone before it could tell
        return
    try:
        run(**config, resume=earlier.id)
    except Fault as fault:
        if recorded(fault) is not None:  # the run had gone on already
            raise
        print(f"trial {trial.number} begins again, as its run {earlier.id} cannot go on: {fault}", file=sys.stderr)
        _abandon(store, earlier.id)
        run(**config)


def _earlier(store: "Store", trial: Trial) -> "RunInfo | None":
    """The run with which the trial goes on; None where it begins."""
    if trial.resume is None:
        return None
    try:
        return store.find(trial.resume, key="resume")
    except Fault as fault:
        print(f"trial {trial.number} begins again: {fault}", file=sys.stderr)
        return None


def _abandon(store: "Store", run_id: str) -> None:
    """A run stays as it ended, but is its trial's no longer."""
    tags = store.find(run_id).tags
    if "search.trial" in tags:
        store.tag(run_id, "search.abandoned", tags["search.trial"])
        store.client().delete_tag(run_id, "search.trial")


def _smaller(config: Mapping[str, Any], trial: Trial) -> tuple[Mapping[str, Any], str | None]:
    """The config with as many halvings as the trial asks for, each said; and what its run is to say of them."""
    from src.search.halving import halved

    said: list[str] = []
    for number in range(trial.halvings):
        found = halved(config)
        if found is None:
            raise Fault(f"after {number} of {trial.halvings} halvings data.batching cannot be halved once more")
        config, words = found
        print(f"trial {trial.number} with less memory: {words}", flush=True)
        said.append(words)
    return config, "; then ".join(said) or None


def _broken(error: BaseException, config: Mapping[str, Any], trial: Trial, watch: "Watch") -> int:
    """Say and tell how an exception has ended the trial. The exit code."""
    from src.config.build import build
    from src.search.halving import halved, out_of_memory
    from src.tracking.ending import Terminated, judge
    from src.training.parting import complain, part

    ending = judge(error)
    if ending.status == "KILLED":
        part(error, "KILLED")
        watch.release()
        return error.code if isinstance(error, Terminated) and isinstance(error.code, int) else 130
    if isinstance(error, Exception):
        code = complain(error)
    else:
        part(error, "FAILED")
        code = 1
    memory = out_of_memory(error)
    if memory and trial.may_halve and halved(config) is not None:
        print(f"trial {trial.number} will be tried again with half of that at a time", file=sys.stderr)
        if watch.run_id:
            watch.insist(lambda: _abandon(build(config["tracking"]), watch.run_id), "its run is its own no longer")
        watch.release(out_of_memory=trial.halvings + 1, run_id="")
        return AGAIN
    reason = str(error) if isinstance(error, Fault) else ending.reason or ""
    watch.tell("failed", reason=hidden(reason), memory=memory)
    return code
