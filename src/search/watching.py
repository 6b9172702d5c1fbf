"""What a run does more where it is a trial: it tells the study how it stands, and ends where the study says so."""

import contextlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.search.outage import in_words
from src.search.rows import Row
from src.search.trial import Trial, current
from src.terms.fault import Fault
from src.tracking.vanished import this_process

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.search.study import Study
    from src.tracking.lookup import RunInfo
    from src.tracking.record import RunRecord
    from src.training.checkpoints import Ties

End = Literal["finished", "pruned", "failed"]
PATIENCE_SECONDS = 120.0  # for a study that does not answer to be told of a trial's end
_PROGRESS_SECONDS = 1.0  # between two notes of where the training is
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}
_present: "list[Watch]" = []  # of the trial that this process is conducting


class Unwatched:
    """The place that a `Watch` has in a trial, in a run that is none: nothing happens."""

    shown: Sequence[str] | None = None  # what stands in the run's name instead of what was typed
    parent: str | None = None
    way_on: str | None = None  # the command to be typed where the run ends early
    tags: Mapping[str, str] = {}
    pruned: str | None = None  # why the trial was given up, in words

    def begin(self, record: "RunRecord") -> None:
        """The run has its id from here on."""

    def build(self, folder: Path, ties: "Ties | None" = None) -> "list[Callback]":
        """What looks at the training, asked for like the nodes of `callbacks`; made anew for each Trainer."""
        return []

    def end(self, best: str | None, measured: Mapping[str, float]) -> None:
        """All has been measured. `best` is the checkpoint that was tested, `measured` the newest value by metric."""

    def give_up(self) -> None:
        """The training has ended early, as `pruned` says."""


class Watch(Unwatched):
    """A trial's run as its study sees it.

    No failure of the study's storage ends a training: it is said once, and what could not be reported is reported with
    the next validation.

    Args:
        study: None in the processes of the other ranks, which only hear what the first decides.
        pruner: its name, for messages.
    """

    def __init__(self, trial: Trial, study: "Study | None", *, pruner: str | None = None) -> None:
        self.trial = trial
        self._pruner = pruner
        self.study = study
        self.shown = trial.shown
        self.parent = trial.parent
        self.way_on = trial.way_on
        self.tags = {"search.trial": str(trial.number), "search.sweep": trial.parent}
        self.halved: str | None = None  # what was halved for want of memory
        self.run_id = ""
        self.steps = 0  # optimizer steps since the run's beginning
        self.tokens = 0.0  # of a run that had ended before; else its record knows
        self.values: list[float] = []  # of a trial that has finished, one for each monitored metric
        self._record: RunRecord | None = None
        self._unsent: dict[int, float] = {}  # by validation
        self._complained = False
        self._noted_at = 0.0

    # -- for the run ------------------------------------------------------------------------------------------------

    def begin(self, record: "RunRecord") -> None:
        self._record, self.run_id = record, record.run_id
        if self.halved is not None:
            record.tag("halved", self.halved)
        self.note(run_id=record.run_id)

    def build(self, folder: Path, ties: "Ties | None" = None) -> "list[Callback]":
        return [_watching(self)]

    def end(self, best: str | None, measured: Mapping[str, float]) -> None:
        """Decide the trial's values: of the validation whose checkpoint is `best`, else the newest of the run.

        Raises Fault where a monitored metric was never measured, or is not finite.
        """
        assert self._record is not None
        known = {**self._record.latest, **measured}
        if best is not None:
            from src.training.checkpoints import about

            known |= about(Path(best))["metrics"]
        if missing := [key for key in self.trial.monitors if key not in known]:
            raise Fault(absent(missing, known))
        self.values = [float(known[key]) for key in self.trial.monitors]
        found = dict(zip(self.trial.monitors, self.values, strict=True))
        if odd := [f"{key} is {value}" for key, value in found.items() if not math.isfinite(value)]:
            raise Fault(f"{', '.join(odd)}: with that a trial cannot be compared (search.monitor)")
        self._write(found)

    def give_up(self) -> None:
        """The run's end where the trial is pruned: KILLED, with the last value of each monitored metric."""
        assert self._record is not None and self.pruned is not None
        latest = self._record.latest
        self._write({key: latest[key] for key in self.trial.monitors if key in latest})
        self._record.tag("search.pruned", self.pruned)
        self._record.outcome("KILLED", reason=self.pruned)

    def _write(self, values: Mapping[str, float]) -> None:
        """Keep with the run what the study will be told, so that it can be told later; metrics compare in the UI."""
        assert self._record is not None
        self._record.tag("search.values", json.dumps(values))
        self._record.metrics({f"search/{key}": value for key, value in values.items()}, step=self.steps)

    # -- for the training -------------------------------------------------------------------------------------------

    def validated(self, validation: int, step: int, measured: Mapping[str, float], *, over: bool) -> str | None:
        """Report a validation; why the trial is to be given up, or None.

        Args:
            over: nothing of the training is left: the pruner sees the value, but would spare no work any more.
        """
        key = self.trial.monitors[0]
        if key.startswith("val/") and key not in measured:
            raise Fault(absent([key], measured))
        if self.study is None or key not in measured:
            return None
        value = float(measured[key])
        self._unsent[validation] = value
        try:
            self._send()
            if self._pruner is None or not self.study.prunes(self.trial.number) or over:
                return None
            why = judgement(self._pruner, value, validation, self.trial, self.study.rows())
        except Exception as error:  # whatever a driver of a database raises
            self._complain(error)
            return None
        return f"pruned after validation {validation} (optimizer step {step}): {why}"

    def stepped(self, step: int, total: int) -> None:
        """Let the sweep's table know where the training is, once a second at most."""
        self.steps = step
        now = time.monotonic()
        if self.study is None or now - self._noted_at < _PROGRESS_SECONDS:
            return
        self._noted_at = now
        file = self.trial.progress_file
        draft = file.with_name(f"{file.name}.partial")
        with contextlib.suppress(OSError):
            draft.write_text(f"{step} {total}", encoding="utf-8")
            os.replace(draft, file)

    # -- for the trial ----------------------------------------------------------------------------------------------

    def enter(self) -> bool:
        """Say that this process works at the trial; False where it is another's, who took its owner for gone."""
        trial, worker = self.trial, this_process()
        if self.study is None or not trial.owner:
            self.note(worker=worker)
            return True
        try:
            return self.study.enter(trial.number, owner=trial.owner, worker=worker)
        except Exception as error:
            self._complain(error)
            return True

    def note(self, **about: Any) -> None:
        """Write something down about the trial, where the study takes it now."""
        if self.study is None:
            return
        try:
            self.study.put(self.trial.number, **about)
        except Exception as error:
            self._complain(error)

    def take_over(self, run: "RunInfo") -> bool:
        """Make an earlier run's end the trial's; False where it has not come to one."""
        pruned = run.tags.get("search.pruned") if run.status == "KILLED" else None
        if "search.values" not in run.tags or (run.status != "FINISHED" and pruned is None):
            return False
        known = json.loads(run.tags["search.values"])
        self.run_id, self.pruned = run.id, pruned
        self.steps, self.tokens = run.last_step or 0, run.metrics.get("train/tokens", 0.0)
        self.values = [known[key] for key in self.trial.monitors if key in known]
        return True

    def tell(
        self, state: End, values: Sequence[float] | None = None, *, reason: str = "", memory: bool = False
    ) -> bool:
        """Tell how the trial has ended; False where the study could not be told."""
        study, number = self.study, self.trial.number
        assert study is not None
        tokens = self._record.latest.get("train/tokens", self.tokens) if self._record is not None else self.tokens
        known = {"run_id": self.run_id, "reason": reason, "memory": memory, "halvings": self.trial.halvings}
        about = {key: value for key, value in known.items() if value} | {"steps": self.steps, "tokens": int(tokens)}
        return self.insist(self._send, "it was validated") and self.insist(
            lambda: study.tell(number, state, values, **about), f"it has {state}"
        )

    def release(self, **about: Any) -> None:
        """Let the trial wait to be taken again."""
        study, number = self.study, self.trial.number
        assert study is not None
        if about:
            self.insist(lambda: study.put(number, **about), "where it stands")
        self.insist(lambda: study.release(number, worker=this_process()), "it waits to go on")

    def insist(self, act: Callable[[], object], what: str) -> bool:
        """Try for `PATIENCE_SECONDS`; say and return False where it could not be done."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                act()
                return True
            except Exception as error:
                if time.monotonic() >= until:
                    print(
                        f"search: the study could not be told of trial {self.trial.number} that {what} "
                        f"({in_words(error)}); the sweep finds it out when it goes on",
                        file=sys.stderr,
                    )
                    return False
                self._complain(error)
                time.sleep(1.0)

    def _send(self) -> None:
        assert self.study is not None
        for validation, value in sorted(self._unsent.items()):
            self.study.report(self.trial.number, validation, value)
            del self._unsent[validation]

    def _complain(self, error: Exception) -> None:
        """The first failure; training goes on, so that there is no end of them to tell of."""
        if not self._complained:
            print(f"search: the study does not answer now ({in_words(error)})", file=sys.stderr)
        self._complained = True


@contextlib.contextmanager
def present(watch: Watch) -> Iterator[None]:
    """The run of this process is this trial's until the end of the `with`."""
    _present.append(watch)
    try:
        yield
    finally:
        _present.remove(watch)


def watching() -> Unwatched:
    """The watch over the run that is about to begin."""
    if _present:
        return _present[-1]
    trial = current()
    return Unwatched() if trial is None else Watch(trial, None)


def absent(keys: Sequence[str], known: Mapping[str, float]) -> str:
    """The message about monitored metrics that were not measured."""
    found = ", ".join(sorted(key for key in known if key.startswith(("train/", "val/", "test/")))) or "none"
    return f"{', '.join(keys)} was never measured, and the search looks at it (search.monitor); there were: {found}"


def judgement(pruner: str, value: float, validation: int, trial: Trial, rows: Sequence[Row]) -> str:
    """Why a pruner gives a trial up, with its value at a validation and what the others had there."""
    key, mode = trial.monitors[0], trial.modes[0]
    others = [row for row in rows if row.number != trial.number and validation in row.reports]
    own = next((row.reports for row in rows if row.number == trial.number), {})
    said = f"{key} {value:.4g}"
    if pruner == "median":
        best = (min if mode == "min" else max)([value, *own.values()])
        if best != value:
            said += f" (its best so far: {best:.4g})"
        there = [row.reports[validation] for row in others if row.state == "finished"]
        if not there:
            return said
        many = f"{len(there)} trial{'s' if len(there) > 1 else ''}"
        return f"{said}, the median of {many} there is {statistics.median(there):.4g}"
    there = [row.reports[validation] for row in others]
    better = sum(each < value if mode == "min" else each > value for each in there)
    place = better + 1
    suffix = "th" if place % 100 in (11, 12, 13) else _ORDINALS.get(place % 10, "th")
    return f"{said}, the {place}{suffix} best of {len(there) + 1} trials there ({pruner})"


def _watching(watch: Watch) -> "Callback":
    """Reports each validation, and stops the training on all ranks where the first says so.

    How many validations there were goes into checkpoints, so that a trial that goes on counts on. Not as a callback's
    state: Lightning warns of one that has nobody to take it, when the run is resumed outside of its sweep.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.trainer.states import TrainerFn

    class Watching(Callback):
        def __init__(self) -> None:
            self._validations = 0

        def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
            checkpoint["trial"] = {"validations": self._validations, "pruned": watch.pruned}

        def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
            known = checkpoint.get("trial", {})
            self._validations, watch.pruned = known.get("validations", 0), known.get("pruned")

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            watch.stepped(trainer.global_step, getattr(pl_module, "total_steps", -1))

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            watch.stepped(trainer.global_step, getattr(pl_module, "total_steps", -1))

        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
                return
            self._validations += 1
            measured = {key: float(value) for key, value in trainer.callback_metrics.items()}
            step = trainer.global_step
            over = step >= getattr(pl_module, "total_steps", sys.maxsize)
            watch.pruned = watch.validated(self._validations, step, measured, over=over)
            if trainer.world_size > 1 and watch.trial.pruner is not None:
                watch.pruned = trainer.strategy.broadcast(watch.pruned)
            if watch.pruned is not None:
                trainer.should_stop = True

    return Watching()
