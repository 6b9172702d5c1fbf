"""The hooks of a run that is a trial (src/pipeline/hooks.py): they tell the study how it stands,
and end the run if the study says so.
"""

import contextlib
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.files import write_text
from src.core.printing import print_line
from src.core.processes import get_process_identity
from src.core.retry import describe_error, retry
from src.core.user_errors import UserError
from src.search.run.trial_spec import TrialSpec
from src.search.trials import TrialRecord

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.search.sweep_study import SweepStudy
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.run_record import RunRecord
    from src.training.checkpoint_files import CheckpointHooks

TrialEndState = Literal["finished", "pruned", "failed"]
# in which a study that does not answer is told of a trial's end again and again
STUDY_RETRY_SECONDS = 120.0
# between two notes of where the training is
_PROGRESS_INTERVAL_SECONDS = 1.0
_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


class TrialHooks:
    """The hooks of a trial's run.

    No failure of the study's storage ends a training: it is said once, and a value that could not
    be reported is reported with the next validation.

    Args:
        study: None in the other ranks of the run, which only hear what the first decides.
        pruner: name of the pruner, for messages; None prunes nothing.

    Attributes:
        halving_note: what of the batch was halved, for the run's tag.
        run_id: of the trial's run; empty before it is opened.
        steps: optimizer steps since the beginning of the run.
        values: of a finished trial, one for each monitored metric.
    """

    def __init__(
        self, trial: TrialSpec, study: "SweepStudy | None", *, pruner: str | None = None
    ) -> None:
        self.trial = trial
        self.study = study
        self._pruner_name = pruner
        self.shown_overrides = trial.shown_overrides
        self.parent_run_id = trial.parent
        self.resume_command = trial.resume_command
        self.pruned_reason: str | None = None
        self.tags = {"search.trial": str(trial.number), "search.sweep": trial.parent}
        self.halving_note: str | None = None
        self.run_id = ""
        self.steps = 0
        self.values: list[float] = []
        # trained by a run that had ended before; else the record knows
        self._adopted_tokens = 0.0
        self._record: RunRecord | None = None
        # by validation
        self._pending_reports: dict[int, float] = {}
        self._has_warned = False
        self._progress_written_at = 0.0

    def on_run_opened(self, record: "RunRecord") -> None:
        self._record, self.run_id = record, record.run_id
        if self.trial.full_precision:
            record.set_tag("retried_in_fp32", "a loss or gradient in bf16 was not finite")
        if self.halving_note is not None:
            record.set_tag("halved", self.halving_note)
        self._save_attributes(run_id=record.run_id)

    def build(self, folder: Path, hooks: "CheckpointHooks | None" = None) -> "list[Callback]":
        from src.search.run.trial_callback import build_callback

        return [build_callback(self)]

    def on_run_evaluated(self, best_checkpoint: str | None, metrics: Mapping[str, float]) -> None:
        """Decide the trial's values: those of the best checkpoint, else the latest of the run.

        Raises:
            UserError: a monitored metric was never measured, or is not finite.
        """
        assert self._record is not None
        known = {**self._record.latest_metrics, **metrics}
        if best_checkpoint is not None:
            from src.training.checkpoint_files import read_checkpoint_description

            known |= read_checkpoint_description(Path(best_checkpoint))["metrics"]
        if missing := [key for key in self.trial.monitors if key not in known]:
            raise UserError(missing_metrics_message(missing, known))
        values = {key: float(known[key]) for key in self.trial.monitors}
        infinite = [
            f"{key} is {value}" for key, value in values.items() if not math.isfinite(value)
        ]
        if infinite:
            raise UserError(
                f"{', '.join(infinite)}: with that a trial cannot be compared (search.monitor)"
            )
        self.values = list(values.values())
        self._record_values(values)

    def on_run_pruned(self) -> None:
        """End the run as KILLED, with the last value of each monitored metric."""
        assert self._record is not None and self.pruned_reason is not None
        latest = self._record.latest_metrics
        self._record_values({key: latest[key] for key in self.trial.monitors if key in latest})
        self._record.set_tag("search.pruned", self.pruned_reason)
        self._record.set_outcome("KILLED", reason=self.pruned_reason)

    def _record_values(self, values: Mapping[str, float]) -> None:
        """Keep with the run what the study will be told, in case it cannot be told now; as metrics,
        trials can be compared in the MLflow UI.
        """
        assert self._record is not None
        self._record.set_tag("search.values", json.dumps(values))
        metrics = {f"search/{key}": value for key, value in values.items()}
        self._record.log_metrics(metrics, step=self.steps)

    def report_validation(
        self,
        validation: int,
        step: int,
        metrics: Mapping[str, float],
        *,
        is_last: bool,
        **attributes: float,
    ) -> str | None:
        """Report a validation to the study; returns why the trial is pruned, or None.

        Args:
            validation: its number, from 1.
            step: optimizer steps made before it.
            is_last: nothing of the training is left, so that pruning would spare no work; the
                pruner sees the value all the same.
            attributes: what else the pruner looks at, by the names in `search.pruners`.
        """
        key = self.trial.monitors[0]
        if key.startswith("val/") and key not in metrics:
            raise UserError(missing_metrics_message([key], metrics))
        if self.study is None or key not in metrics:
            return None
        value = float(metrics[key])
        self._pending_reports[validation] = value
        try:
            self._send_reports()
            if attributes and self._pruner_name is not None:
                self.study.set_trial_attributes(self.trial.number, **attributes)
            if self._pruner_name is None or not self.study.should_prune(self.trial.number):
                return None
            if is_last:
                return None
            trials = self.study.load_trials()
        except Exception as error:
            # whatever a driver of a database raises
            self._warn_once(error)
            return None
        reason = explain_pruning(self._pruner_name, value, validation, self.trial, trials)
        return f"pruned after validation {validation} (optimizer step {step}): {reason}"

    def write_progress(self, step: int, total: int) -> None:
        """Note where the training is for the sweep's table, once a second at most."""
        self.steps = step
        now = time.monotonic()
        if self.study is None or now - self._progress_written_at < _PROGRESS_INTERVAL_SECONDS:
            return
        self._progress_written_at = now
        file = self.trial.progress_file
        with contextlib.suppress(OSError):
            write_text(file, f"{step} {total}")

    def register_worker(self) -> bool:
        """Register this process as the trial's worker. False if another process has taken the trial
        over, because it took this one's coordinator for gone.
        """
        trial, worker = self.trial, get_process_identity()
        if self.study is None or not trial.owner:
            self._save_attributes(worker=worker)
            return True
        try:
            return self.study.register_worker(trial.number, owner=trial.owner, worker=worker)
        except Exception as error:
            self._warn_once(error)
            return True

    def _save_attributes(self, **attributes: Any) -> None:
        """Note something about the trial, if the study takes it now."""
        if self.study is None:
            return
        try:
            self.study.set_trial_attributes(self.trial.number, **attributes)
        except Exception as error:
            self._warn_once(error)

    def adopt_run_result(self, run: "RunInfo") -> bool:
        """Make the end of an earlier run the trial's; False if that run has not come to an end."""
        pruned_reason = run.tags.get("search.pruned") if run.status == "KILLED" else None
        if "search.values" not in run.tags or (run.status != "FINISHED" and pruned_reason is None):
            return False
        values = json.loads(run.tags["search.values"])
        self.run_id, self.pruned_reason = run.id, pruned_reason
        self.steps = run.last_step or 0
        self._adopted_tokens = run.metrics.get("train/tokens", 0.0)
        self.values = [values[key] for key in self.trial.monitors if key in values]
        return True

    def report_end(
        self,
        state: TrialEndState,
        values: Sequence[float] | None = None,
        *,
        reason: str = "",
        out_of_memory: bool = False,
    ) -> bool:
        """Tell the study how the trial has ended; False if it could not be told."""
        study, number = self.study, self.trial.number
        assert study is not None
        tokens = self._adopted_tokens
        if self._record is not None:
            tokens = self._record.latest_metrics.get("train/tokens", tokens)
        optional = {
            "run_id": self.run_id,
            "reason": reason,
            "memory": out_of_memory,
            "halvings": self.trial.halvings,
        }
        attributes = {key: value for key, value in optional.items() if value}
        attributes |= {"steps": self.steps, "tokens": int(tokens)}
        return self.retry_until_told(
            self._send_reports, "it was validated"
        ) and self.retry_until_told(
            lambda: study.end_trial(number, state, values, **attributes), f"it has {state}"
        )

    def release_trial(self, **attributes: Any) -> None:
        """Let the trial wait to be taken again."""
        study, number = self.study, self.trial.number
        assert study is not None
        if attributes:
            self.retry_until_told(
                lambda: study.set_trial_attributes(number, **attributes), "where it stands"
            )
        self.retry_until_told(
            lambda: study.release_trial(number, worker=get_process_identity()), "it waits to go on"
        )

    def retry_until_told(self, tell: Callable[[], object], fact: str) -> bool:
        """Tell the study something, again and again for `STUDY_RETRY_SECONDS`.

        Args:
            tell: raises while the study cannot be told.
            fact: what it is told, for the message that it could not be; False is returned then.
        """
        try:
            retry(
                tell,
                errors=(Exception,),
                timeout_seconds=STUDY_RETRY_SECONDS,
                interval_seconds=1.0,
                on_failure=self._warn_once,
            )
        except Exception as error:
            print_line(
                f"search: the study could not be told of trial {self.trial.number} that {fact} "
                f"({describe_error(error)}); the sweep finds it out when it goes on",
                to_stderr=True,
            )
            return False
        return True

    def _send_reports(self) -> None:
        assert self.study is not None
        for validation, value in sorted(self._pending_reports.items()):
            self.study.report_value(self.trial.number, validation, value)
            del self._pending_reports[validation]

    def _warn_once(self, error: Exception) -> None:
        """Print the first failure only: training goes on, and more would follow."""
        if not self._has_warned:
            print_line(
                f"search: the study does not answer now ({describe_error(error)})", to_stderr=True
            )
        self._has_warned = True


def missing_metrics_message(keys: Sequence[str], metrics: Mapping[str, float]) -> str:
    """The message about monitored metrics that were not measured, with those that were."""
    stages = ("train/", "val/", "test/")
    measured = ", ".join(sorted(key for key in metrics if key.startswith(stages))) or "none"
    return (
        f"{', '.join(keys)} was never measured, and the search looks at it "
        f"(search.monitor); there were: {measured}"
    )


def explain_pruning(
    pruner: str, value: float, validation: int, trial: TrialSpec, trials: Sequence[TrialRecord]
) -> str:
    """Why a pruner gives a trial up: its value at a validation, and how it compares there.

    Args:
        pruner: name of the pruner.
        value: of the first monitored metric.
        trials: all of the sweep, this one too.
    """
    key, mode = trial.monitors[0], trial.modes[0]
    own = next((other for other in trials if other.number == trial.number), None)
    others = [
        other
        for other in trials
        if other.number != trial.number and validation in other.intermediate_values
    ]
    text = f"{key} {value:.4g}"
    if pruner == "median":
        reports = [] if own is None else own.intermediate_values.values()
        best = (min if mode == "min" else max)([value, *reports])
        if best != value:
            text += f" (its best so far: {best:.4g})"
        finished = [
            other.intermediate_values[validation] for other in others if other.state == "finished"
        ]
        if not finished:
            return text
        count = f"{len(finished)} trial{'s' if len(finished) > 1 else ''}"
        return f"{text}, the median of {count} there is {statistics.median(finished):.4g}"
    values = [other.intermediate_values[validation] for other in others]
    rank = 1 + sum(other < value if mode == "min" else other > value for other in values)
    suffix = "th" if rank % 100 in (11, 12, 13) else _ORDINALS.get(rank % 10, "th")
    return f"{text}, the {rank}{suffix} best of {len(values) + 1} trials there ({pruner})"
