"""What a run is made of while it lasts, and what is said of it when it has finished."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.build_nodes import build_node
from src.pipeline.hooks import RunHooks

if TYPE_CHECKING:
    from src.core.failures import ErrorContext
    from src.data.datamodule import TextDataModule
    from src.evaluation.report_config import ReportConfig
    from src.model.module import EncoderModule
    from src.pipeline.phases import Phase
    from src.pipeline.resume import ResumePoint
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store
    from src.training.callbacks import CallbackConfig
    from src.training.checkpoint_files import CheckpointHooks
    from src.training.launcher import RankLauncher
    from src.training.trainer import Training


class RunOutcome(NamedTuple):
    """A finished run.

    `ui_link` says where its page in the MLflow UI is, empty while no store has the run. `metrics`
    holds the latest value of every metric. `sync_command` sends a run that no store has.
    """

    run_id: str
    ui_link: str
    metrics: dict[str, float]
    elapsed_seconds: float
    sync_command: str

    def __str__(self) -> str:
        where = f"see: {self.ui_link}" if self.ui_link else f"to the store: {self.sync_command}"
        results = format_results(self.metrics)
        return f"run {self.run_id} FINISHED  {results}  {self.elapsed_seconds:.0f} s  {where}"


class LeadingInterval(NamedTuple):
    """The 95 % interval of the test metric that leads the report, such as `test/accuracy`."""

    metric: str
    low: float
    high: float


def format_results(metrics: Mapping[str, float], interval: LeadingInterval | None = None) -> str:
    """What the test of a run measured, or its last validation if there was no test."""
    stage = "test/" if any(key.startswith("test/") for key in metrics) else "val/"
    ends = (
        {interval.metric: f" (95 %: {interval.low:.4g} to {interval.high:.4g})"} if interval else {}
    )
    return "  ".join(
        f"{key} {value:.4g}{ends.get(key, '')}"
        for key, value in sorted(metrics.items())
        if key.startswith(stage) and key != "test/support"
    )


class BuiltParts(NamedTuple):
    """What the nodes of a config have become; `config` has the id of the run that `init_from`
    names.
    """

    config: Mapping[str, Any]
    model_folder: Path | None
    datamodule: "TextDataModule"
    module: "EncoderModule"
    training: "Training"
    callbacks: "list[CallbackConfig]"


@dataclass
class RunParts:
    """What a run consists of, from its opening to its end.

    Attributes:
        config: the arguments of `run` as composed, without `resume` and `fork`.
        model_folder: model artifact of the earlier run that `init_from` names.
        callbacks: the config nodes under `callbacks`, built; each makes Lightning callbacks.
        launcher: the processes of the run; its `rank_info` says which of them this one is.
        phase: which of the run's phases the other attributes belong to; None: it has none.
        interval: of the test metric that leads the report, once that is made.
    """

    config: Mapping[str, Any]
    hooks: RunHooks
    store: "Store"
    model_folder: Path | None
    datamodule: "TextDataModule"
    module: "EncoderModule"
    training: "Training"
    callbacks: "list[CallbackConfig]"
    launcher: "RankLauncher"
    resume_point: "ResumePoint"
    record: "RunRecord"
    phase: "Phase | None" = None
    interval: LeadingInterval | None = None

    @cached_property
    def report(self) -> "ReportConfig":
        """The node `report`; runs of earlier versions have none."""
        from src.evaluation.report_config import ReportConfig

        node = self.config.get("report")
        return ReportConfig() if node is None else build_node(node)

    @property
    def is_first_rank(self) -> bool:
        return self.launcher.rank_info.rank == 0

    @property
    def checkpoint_folder(self) -> Path:
        folder = self.store.runs_folder / "checkpoints" / self.record.run_id
        return folder if self.phase is None else folder / self.phase.folder_name

    @property
    def callback_builders(self) -> "list[CallbackConfig | RunHooks]":
        """What makes Lightning's callbacks; whoever started the run listens to its last phase."""
        is_heard = self.phase is None or self.phase.is_last
        return [*self.callbacks, *([self.hooks] if is_heard else [])]

    @property
    def has_next_phase(self) -> bool:
        return self.phase is not None and not self.phase.is_last

    @property
    def is_untrained(self) -> bool:
        """True if nothing has been trained that the run could go on with."""
        is_first = self.phase is None or self.phase.number == 1
        return is_first and self.resume_point.is_untrained

    def send_to_ranks(self, precision: str, checkpoint: Path | None) -> None:
        """Tell the other ranks what the first one has found out, before its first training."""
        phase = self.phase
        self.launcher.send_config(
            self.config if phase is None else phase.run_config,
            origin=str(self.model_folder) if self.model_folder else None,
            arithmetic=precision,
            checkpoint=str(checkpoint) if checkpoint else None,
            foreign="yes" if self.resume_point.is_foreign_checkpoint else None,
            phase=str(phase.number) if phase is not None else None,
            phase_origin=str(phase.origin) if phase is not None and phase.origin else None,
        )

    def make_checkpoint_hooks(self) -> "CheckpointHooks":
        """How checkpoints are tied to the record of the run."""
        from src.training.checkpoint_files import CheckpointHooks

        return CheckpointHooks(
            description={"run_id": self.record.run_id},
            persist=self.record.flush_to_disk,
            mirror=self.mirror_checkpoints,
            tag=self.record.set_tag,
        )

    def mirror_checkpoints(self, folder: Path, artifact: str) -> None:
        """Keep the files of the checkpoint folder in the record, those of a phase apart."""
        within = "" if self.phase is None else f"/{self.phase.folder_name}"
        self.record.mirror_folder(folder, f"{artifact}{within}")

    @contextmanager
    def opened(self) -> "Iterator[ErrorContext]":
        """The run exists in the store inside of this; an error in it ends it as FAILED."""
        from src.core.failures import ErrorContext

        error_context = ErrorContext(self.config)
        with self.resume_point, self.record, self.launcher, error_context:
            yield error_context
