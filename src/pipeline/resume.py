"""Where a run begins: fresh, where it stopped before, or as a fork where another run stood."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.allowed_changes import EarlierRun
from src.core.files import atomic_write
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.training.checkpoint_files import (
    CheckpointLookup,
    find_newest_checkpoint,
    read_checkpoint_description,
)

if TYPE_CHECKING:
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store

# By our names for a precision.
_LIGHTNING_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
CompareConfig = Callable[[EarlierRun, str], tuple[Mapping[str, str], list[str]]]


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """What a run takes over from an earlier one; the fields of a fresh run are empty.

    As a context manager it keeps other processes from resuming the same run until its end.

    Attributes:
        requested_id: the id as it was typed, for messages.
        source_run: the run that is resumed or forked.
        is_fork: True if it is forked.
        checkpoint: the newest whole one of that run.
        step: the optimizer steps in it.
        phase: where the run stands in its phases, in words; empty where it has none.
        earlier: what messages need to know of the source run.
        is_foreign_checkpoint: another run wrote it, so the config decides about rates and schedule.
        is_first_rank: this is the first of the run's processes.
        precision: Lightning's name for the precision that the source run settled on, and the
            reason.
        changed_keys: config keys that differ from the source run, with their new values.
        remarks: to be printed.
        tags: to be set on the run.
        exit_stack: closed at the end.
    """

    requested_id: str = ""
    source_run: "RunInfo | None" = None
    is_fork: bool = False
    checkpoint: Path | None = None
    step: int = 0
    phase: str = ""
    earlier: EarlierRun | None = None
    is_foreign_checkpoint: bool = False
    is_first_rank: bool = True
    precision: tuple[str, str] | None = None
    changed_keys: Mapping[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)
    exit_stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "ResumePoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.exit_stack.close()

    @property
    def resumed_run(self) -> "RunInfo | None":
        """The run that goes on."""
        return None if self.is_fork else self.source_run

    @property
    def forked_from(self) -> str | None:
        return self.source_run.id if self.source_run is not None and self.is_fork else None

    @property
    def is_untrained(self) -> bool:
        """True if nothing has been trained that the run could go on with."""
        return self.source_run is None or (
            self.checkpoint is None and self.earlier is not None and self.earlier.is_untrained
        )

    def check_data_digests(self, digests: Mapping[str, str]) -> None:
        """Raise UserError if the data have changed since: training would repeat or skip rows.

        Args:
            digests: of each split, as the source run has them in its tag `data.fingerprint`.
        """
        # nothing was learnt from the earlier data
        if (
            self.source_run is None
            or self.earlier is None
            or (self.is_fork and self.checkpoint is None)
        ):
            return
        changed = find_changed_splits(self.source_run, digests)
        if changed:
            raise UserError(
                f"resume={self.requested_id}: the data are not those with which run "
                f"{self.source_run.id} began: {', '.join(changed)}; going on would repeat rows or "
                "skip some. Put the data back, or begin a new run "
                f"({self.earlier.describe_new_run()})"
            )

    def announce_and_tag(self, set_tag: Callable[[str, object], None]) -> None:
        """Print where the run begins and what there is to remark; tag the run."""
        if self.source_run is None:
            return
        source = f"run {self.source_run.id}" if self.is_fork else "it"
        if self.checkpoint is None and self.is_fork:
            print_line(f"a new run with the config of {source}, which ended without a checkpoint")
        elif self.checkpoint is None and self.phase:
            print_line(f"resumed at the beginning of {self.phase}")
        elif self.checkpoint is None:
            print_line(f"resumed: {source} has no checkpoint yet, so it begins again")
        else:
            print_line(
                f"{'forked from ' + source if self.is_fork else 'resumed'} at optimizer step "
                f"{self.step} "
                f"{f'of {self.phase} ' if self.phase else ''}({self.checkpoint.name})"
            )
        for remark in self.remarks:
            print_line(f"note: {remark}", to_stderr=True)
        for key, value in self.tags.items():
            set_tag(key, value)

    def stage_checkpoint(self, folder: Path) -> Path | None:
        """Return the checkpoint to begin from.

        For a fork the first rank puts it into the fork's own folder. A fork that is killed before
        it writes a checkpoint goes on from there, whatever has become of the source run.
        """
        if self.checkpoint is None or not self.is_fork or not self.is_first_rank:
            return self.checkpoint
        own = folder / self.checkpoint.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.checkpoint, own)
        except OSError:
            # It is on another disk, or the file system has no links.
            with atomic_write(own) as partial:
                shutil.copyfile(self.checkpoint, partial)
        return own


def resolve_resume_point(
    store: "Store",
    *,
    resume: str | None,
    fork: bool,
    is_first_rank: bool,
    compare_config: CompareConfig,
) -> ResumePoint:
    """Look up the run to resume or fork, and lock it if it is to be resumed.

    Args:
        store: has the run.
        resume: its id; None: a fresh run.
        fork: begin a new run from it instead.
        is_first_rank: only the first of the run's processes locks it and checks that it has ended.
        compare_config: called with the run and its stored config, it returns the changed keys that
            are allowed, with their new values, and remarks about them. It raises UserError for
            other changes.

    Raises:
        UserError: there is no such run, it has finished, it is still running, or another process
            is resuming it.
    """
    if resume is None:
        if fork:
            raise UserError("fork=true goes with resume=ID, the run that the new one begins from")
        return ResumePoint()
    with contextlib.ExitStack() as exit_stack:
        run = store.find_run(resume, key="resume")
        if is_first_rank and not fork:
            exit_stack.enter_context(
                _exclusive_lock(store.runs_folder / "checkpoints" / f"{run.id}.lock", resume)
            )
            # Read again, now that nobody else changes it.
            run = store.find_run(run.id, key="resume")
            _require_ended_run(store, run, resume)
        stored_config = store.load_config_yaml(run.id, key="resume")
        lookup = find_run_checkpoint(store, run)
        earlier = EarlierRun(
            run.id,
            is_untrained=is_untrained(run, lookup),
            has_encoder=store.has_model_folder(run.id),
            command=run.tags.get("command", ""),
            ranks=_read_ranks(run),
        )
        changed, remarks = compare_config(earlier, stored_config)
        point = ResumePoint(
            requested_id=resume,
            source_run=run,
            is_fork=fork,
            checkpoint=lookup.path,
            earlier=earlier,
            is_first_rank=is_first_rank,
            changed_keys=changed,
            remarks=[*remarks, *lookup.remarks],
        )
        point = _complete_resume_point(point, run, earlier, lookup, _current_commit(store))
        return replace(point, exit_stack=exit_stack.pop_all())
    raise AssertionError("an exit stack swallows nothing")


def _complete_resume_point(
    point: ResumePoint,
    run: "RunInfo",
    earlier: EarlierRun,
    lookup: CheckpointLookup,
    commit: str | None,
) -> ResumePoint:
    """A resume point with what its checkpoint and its run's tags say.

    Raises:
        UserError: nothing can go on from there.
    """
    fork, typed, changed = point.is_fork, point.requested_id, point.changed_keys
    tags = {}
    if changed and not fork:
        tags["resumed.changes"] = " ".join(f"{key}={value}" for key, value in changed.items())
    if lookup.remarks:
        tags["checkpoint_error"] = "; ".join(lookup.remarks)
    if commit is not None and not fork and commit != run.tags.get("commit"):
        tags["resumed.commit"] = commit
    description: dict[str, Any] = {}
    if lookup.path is not None:
        try:
            description = read_checkpoint_description(lookup.path)
        except ValueError as error:
            # A version of this program wrote it that did not say whose a checkpoint was.
            raise UserError(
                f"resume={typed}: nothing can go on from its last checkpoint: {error}"
            ) from error
    elif fork and not earlier.is_untrained:
        raise _no_fork_error(typed, run, earlier, lookup)
    begins_afresh = fork and lookup.path is None
    return replace(
        point,
        step=description.get("step", 0),
        is_foreign_checkpoint=fork
        or description.get("run_id", run.id) not in (run.id, run.tags.get("local_id")),
        precision=None if begins_afresh else _stored_precision(run, changed),
        remarks=[*point.remarks, *_code_change_remarks(run, commit)],
        tags=tags,
    )


def _no_fork_error(
    typed: str, run: "RunInfo", earlier: EarlierRun, lookup: CheckpointLookup
) -> UserError:
    """The error of a fork of a run that has no checkpoint, though it was trained."""
    if _has_phases(run):
        return UserError(
            f"resume={typed} fork=true: run {run} has phases, through which no fork goes; "
            f"resume={typed} goes on with it, and init_from={typed} takes its encoder once it has "
            "finished"
        )
    reason = "; ".join(lookup.remarks) or (
        "none was written yet" if run.status == "RUNNING" else "none is left"
    )
    hint = None
    if earlier.has_encoder:
        hint = earlier.describe_new_run()
    elif run.status != "RUNNING":
        hint = f"resume={typed} trains it again from its beginning"
    return UserError(
        f"resume={typed} fork=true: run {run} has no whole checkpoint to begin from ({reason})",
        hint=hint,
    )


def is_untrained(run: "RunInfo", lookup: CheckpointLookup) -> bool:
    """True if a run has ended without a checkpoint, so that nothing can be taken over but its
    config.
    """
    if run.status not in ("FAILED", "KILLED") or lookup.path is not None or lookup.remarks:
        return False
    # settled where training begins; the checkpoints of phases are not looked for here
    return "precision" not in run.tags or not _has_phases(run)


def _has_phases(run: "RunInfo") -> bool:
    return any(key.startswith("phases.") for key in run.params)


def find_changed_splits(run: "RunInfo", digests: Mapping[str, str]) -> list[str]:
    """The splits whose rows are not those with which a run began, with both digests.

    Args:
        digests: of each split, as the run has them in its tag `data.fingerprint`; those of other
            phases are not compared.
    """
    fingerprint = run.tags.get("data.fingerprint", "").split()
    before = {split: digest for split, _, digest in (entry.partition("=") for entry in fingerprint)}
    phases = {split.rpartition("/")[0] for split in digests}
    return [
        f"{split} (digest {digest}, now {digests.get(split, 'absent')})"
        for split, digest in before.items()
        if digests.get(split) != digest and split.rpartition("/")[0] in phases
    ]


def _read_ranks(run: "RunInfo") -> int | None:
    """The processes of a run when it was last under way; None: an early version began it."""
    from src.tracking.liveness import RANKS_TAG

    ranks = run.tags.get(RANKS_TAG, "")
    return int(ranks) if ranks.isdigit() else None


def find_run_checkpoint(store: "Store", run: "RunInfo") -> CheckpointLookup:
    """Find the newest whole checkpoint of a run, on this machine or else among its artifacts."""
    folder = store.runs_folder / "checkpoints" / run.id
    # A run that was offline kept them there.
    before_sync = folder.with_name(run.tags.get("local_id", run.id))
    lookup = find_newest_checkpoint(
        before_sync if before_sync.is_dir() and not folder.is_dir() else folder
    )
    if lookup.path is None and store.fetch_artifacts(run.id, "checkpoints", folder):
        lookup = find_newest_checkpoint(folder)
    return lookup


def _require_ended_run(store: "Store", run: "RunInfo", requested_id: str) -> None:
    if run.status == "FINISHED":
        raise UserError(
            f"resume={requested_id}: run {run} has finished, there is nothing left to do; "
            "fork=true begins a new run where it "
            "ended (with trainer.max_epochs or trainer.max_steps for more of it)"
        )
    if run.status != "RUNNING":
        return
    from src.tracking.liveness import check_liveness

    liveness = check_liveness(run.id, run.tags, store.runs_folder)
    if liveness.is_alive:
        raise UserError(
            f"resume={requested_id}: run {run} is still running: {liveness.explanation}. "
            "Wait for it or end it; fork=true begins a new run from its last checkpoint meanwhile"
        )


@contextlib.contextmanager
def _exclusive_lock(path: Path, requested_id: str) -> Iterator[None]:
    """Hold a lock file; the system releases it when this process ends, however it ends."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"resume={requested_id}: another process is going on with this run already; only one "
            "can"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _stored_precision(run: "RunInfo", changed: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the precision that the run settled on; measured again, it might be another one."""
    reason = run.tags.get("precision", "")
    name = _LIGHTNING_PRECISIONS.get(reason.partition(":")[0])
    return None if name is None or "trainer.precision" in changed else (name, reason)


def _current_commit(store: "Store") -> str | None:
    from src.tracking.environment import read_code_state

    state = read_code_state(Path(store.root))
    return state.commit if state is not None else None


def _code_change_remarks(run: "RunInfo", current_commit: str | None) -> list[str]:
    before = run.tags.get("commit")
    if before is None or current_commit is None or before == current_commit:
        return []
    return [
        f"the code has changed since the run began: commit {before[:8]} then, "
        f"{current_commit[:8]} now"
    ]
