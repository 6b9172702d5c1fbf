"""Where a training begins: with nothing, where its own run stopped, or, as a fork, where another run stood."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.terms.fault import Fault
from src.tracking.redaction import spoken
from src.training.checkpoints import Found, about, find

if TYPE_CHECKING:
    from src.tracking.lookup import RunInfo
    from src.tracking.store import Store

_LIGHTNINGS = {"fp32": "32-true", "bf16": "bf16-mixed"}  # names of an arithmetic
Judge = Callable[[str, str], tuple[Mapping[str, str], list[str]]]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a run takes over from an earlier one; of one that begins with nothing every field is empty.

    Until the end of a `with` no other process can go on with the same run.

    Args:
        asked: the id as it was given, for messages.
        earlier: the run that goes on, or that a fork begins from.
        fork: whether it is the latter.
        checkpoint: the newest whole one of the earlier run.
        step: the optimizer steps in it.
        foreign: whether another run wrote it: schedule and hyper-parameters are then those of the config.
        first: whether this is the first rank.
        arithmetic: Lightning's name for the precision that the earlier run has found, and the reason in words.
        changed: keys that differ from the earlier run's config, with their values.
        remarks: what must be said.
        tags: of the run from now on.
        held: closed at the end.
    """

    asked: str = ""
    earlier: "RunInfo | None" = None
    fork: bool = False
    checkpoint: Path | None = None
    step: int = 0
    foreign: bool = False
    first: bool = True
    arithmetic: tuple[str, str] | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "Beginning":
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()

    @property
    def resumed(self) -> "RunInfo | None":
        """The run that goes on."""
        return None if self.fork else self.earlier

    @property
    def forked_from(self) -> str | None:
        return self.earlier.id if self.earlier is not None and self.fork else None

    def check_data(self, digests: Mapping[str, str]) -> None:
        """Refuse data that have changed since: to go on in them would repeat rows, or skip some.

        Args:
            digests: of each split, as the earlier run has written them into its tag `data.fingerprint`.
        """
        if self.earlier is None:
            return
        noted = self.earlier.tags.get("data.fingerprint", "").split()
        before = {split: digest for split, _, digest in (each.partition("=") for each in noted)}
        other = [
            f"{split} (digest {digest}, now {digests.get(split, 'absent')})"
            for split, digest in before.items()
            if digests.get(split) != digest
        ]
        if other:
            raise Fault(
                f"resume={self.asked}: the data are not those with which run {self.earlier.id} began: "
                f"{', '.join(other)}; going on would repeat rows or skip some. Put the data back, or begin a new run "
                f"(init_from={self.asked} takes its encoder)"
            )

    def note(self, tag: Callable[[str, object], None]) -> None:
        """Say and keep what is to be known of this beginning."""
        if self.earlier is None:
            return
        whence = f"run {self.earlier.id}" if self.fork else "it"
        if self.checkpoint is None:
            print(f"resumed: {whence} has no checkpoint yet, so it begins again", flush=True)
        else:
            print(
                f"{'forked from ' + whence if self.fork else 'resumed'} at optimizer step {self.step} "
                f"({self.checkpoint.name})",
                flush=True,
            )
        for each in self.remarks:
            print(f"note: {spoken(each)}", file=sys.stderr)
        for key, value in self.tags.items():
            tag(key, value)

    def place(self, folder: Path) -> Path | None:
        """The checkpoint to begin from; for a fork the first rank puts it into the folder of the fork's own.

        So a fork that is killed before it writes one goes on from there, whatever has become of the earlier run's.
        """
        if self.checkpoint is None or not self.fork or not self.first:
            return self.checkpoint
        own = folder / self.checkpoint.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.checkpoint, own)
        except OSError:  # another disk, or one that knows no links
            draft = own.with_name(f"{own.name}.partial")
            shutil.copyfile(self.checkpoint, draft)
            os.replace(draft, own)
        return own


def begin(store: "Store", *, resume: str | None, fork: bool, first: bool, judge: Judge) -> Beginning:
    """Look up the run to go on with, and hold it.

    Args:
        store: that has it.
        resume: its id, or None to begin with nothing.
        fork: begin a new run from it instead.
        first: whether this process is the first rank; the others neither hold the run nor ask whether it lives.
        judge: given the run's id and its stored config, the changed keys that are no matter (with their new values)
            and what must be said of them; raises Fault for other changes.

    Raises:
        Fault: there is no such run, it has finished, it is still running, or another process goes on with it.
    """
    if resume is None:
        if fork:
            raise Fault("fork=true goes with resume=ID, the run that the new one begins from")
        return Beginning()
    with contextlib.ExitStack() as held:
        run = store.find(resume, key="resume")
        if first and not fork:
            held.enter_context(_alone(store.runs_folder / "checkpoints" / f"{run.id}.lock", resume))
            run = store.find(run.id, key="resume")  # as it is now that nobody else changes it
            _must_be_over(store, run, resume)
        changed, remarks = judge(run.id, store.config(run.id, key="resume"))
        made = _beginning(store, run, resume, fork, first, changed, remarks)
        return replace(made, held=held.pop_all())
    raise AssertionError("an exit stack swallows nothing")


def _beginning(
    store: "Store",
    run: "RunInfo",
    asked: str,
    fork: bool,
    first: bool,
    changed: Mapping[str, str],
    remarks: Sequence[str],
) -> Beginning:
    found = _found(store, run)
    tags = {}
    if changed and not fork:
        tags["resumed.changes"] = " ".join(f"{key}={value}" for key, value in changed.items())
    if found.remarks:
        tags["checkpoint_error"] = "; ".join(found.remarks)
    now = _commit(store)
    if now is not None and not fork and now != run.tags.get("commit"):
        tags["resumed.commit"] = now
    known: dict[str, Any] = {}
    if found.path is not None:
        try:
            known = about(found.path)
        except ValueError as error:  # by a version of this program that did not say whose a checkpoint was
            raise Fault(f"resume={asked}: nothing can go on from its last checkpoint: {error}") from error
    elif fork:
        reason = "; ".join(found.remarks) or "none was written"
        raise Fault(f"resume={asked} fork=true: run {run} has no whole checkpoint to begin from ({reason})")
    return Beginning(
        asked=asked,
        earlier=run,
        fork=fork,
        checkpoint=found.path,
        step=known.get("step", 0),
        foreign=fork or known.get("run_id", run.id) not in (run.id, run.tags.get("local_id")),
        first=first,
        arithmetic=_arithmetic(run, changed),
        changed=changed,
        remarks=[*remarks, *found.remarks, *_code(run, now)],
        tags=tags,
    )


def _found(store: "Store", run: "RunInfo") -> Found:
    """The newest whole checkpoint of a run: on this machine, else among its artifacts."""
    folder = store.runs_folder / "checkpoints" / run.id
    before_sync = folder.with_name(run.tags.get("local_id", run.id))  # where a run that was offline has kept them
    found = find(before_sync if before_sync.is_dir() and not folder.is_dir() else folder)
    if found.path is None and store.fetch(run.id, "checkpoints", folder):
        found = find(folder)
    return found


def _must_be_over(store: "Store", run: "RunInfo", asked: str) -> None:
    if run.status == "FINISHED":
        raise Fault(
            f"resume={asked}: run {run} has finished, there is nothing left to do; fork=true begins a new run where it "
            "ended (with trainer.max_epochs or trainer.max_steps for more of it)"
        )
    if run.status != "RUNNING":
        return
    from src.tracking.vanished import pulse

    sign = pulse(run.id, run.tags, store.runs_folder)
    if sign.alive:
        raise Fault(
            f"resume={asked}: run {run} is still running: {sign.words}. Wait for it or end it; fork=true begins a new "
            "run from its last checkpoint meanwhile"
        )


@contextlib.contextmanager
def _alone(path: Path, asked: str) -> Iterator[None]:
    """Hold a file while the run goes on; the system lets go of it when this process ends, however it ends."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise Fault(f"resume={asked}: another process is going on with this run already; only one can") from error
    try:
        yield
    finally:
        lock.release()


def _arithmetic(run: "RunInfo", changed: Mapping[str, str]) -> tuple[str, str] | None:
    """The precision that the run has settled on: measured again, it might be another one."""
    reason = run.tags.get("precision", "")
    name = _LIGHTNINGS.get(reason.partition(":")[0])
    return None if name is None or "trainer.precision" in changed else (name, reason)


def _commit(store: "Store") -> str | None:
    from src.tracking.surroundings import code

    found = code(Path(store.root))
    return found.commit if found is not None else None


def _code(run: "RunInfo", now: str | None) -> list[str]:
    before = run.tags.get("commit")
    if before is None or now is None or before == now:
        return []
    return [f"the code has changed since the run began: commit {before[:8]} then, {now[:8]} now"]
