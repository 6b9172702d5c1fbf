"""The places where a run calls whoever started it: a search listens there, a plain run does not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.tracking.run_record import RunRecord
    from src.training.checkpoint_files import CheckpointHooks


class RunHooks(Protocol):
    """What a run asks and tells; `src/search/run/trial_hooks.py` implements it for trials."""

    @property
    def shown_overrides(self) -> Sequence[str] | None:
        """Overrides to show in the run's name instead of those of the command line."""

    @property
    def parent_run_id(self) -> str | None:
        """Id of the MLflow run under which this one is nested."""

    @property
    def resume_command(self) -> str | None:
        """The command to print if the run ends early; None for the run's own."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Further tags of the run."""

    @property
    def pruned_reason(self) -> str | None:
        """Why the training was stopped early for good, in words; None if it was not."""

    def on_run_opened(self, record: "RunRecord") -> None:
        """Called once the run exists in the store and has its id."""

    def build(self, folder: Path, hooks: "CheckpointHooks | None" = None) -> "list[Callback]":
        """Lightning callbacks for one Trainer; called again for each Trainer of the run.

        Args:
            folder: where the run's checkpoints are kept.
            hooks: what a checkpoint has to do with the run's record.
        """

    def on_run_evaluated(self, best_checkpoint: str | None, metrics: Mapping[str, float]) -> None:
        """Called after the last evaluation.

        Args:
            best_checkpoint: path of the checkpoint that was evaluated; None for the last weights.
            metrics: latest value of every metric of the run.
        """

    def on_run_pruned(self) -> None:
        """Called instead of `on_run_evaluated` if `pruned_reason` is set after training."""


class NoHooks:
    """The hooks of a run that is no trial of a search."""

    shown_overrides: Sequence[str] | None = None
    parent_run_id: str | None = None
    resume_command: str | None = None
    tags: Mapping[str, str] = {}
    pruned_reason: str | None = None

    def on_run_opened(self, record: "RunRecord") -> None:
        """Do nothing."""

    def build(self, folder: Path, hooks: "CheckpointHooks | None" = None) -> "list[Callback]":
        """Add no callback."""
        return []

    def on_run_evaluated(self, best_checkpoint: str | None, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def on_run_pruned(self) -> None:
        """Do nothing; a plain run is never pruned."""
