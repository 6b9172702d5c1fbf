"""What a run would need, measured by a few of its steps; nothing is recorded, and the store stays
as it is.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.build_nodes import build_node
from src.config.presets import describe_preset
from src.core import startup
from src.core.formatting import format_count, format_duration, format_quantity
from src.core.printing import print_wrapped
from src.pipeline.announcement import describe_config
from src.pipeline.early_checks import check_without_torch

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule
    from src.data.step_probe_data import StepProbeData
    from src.pipeline.run_parts import BuiltParts
    from src.training.callbacks import CallbackConfig
    from src.training.step_probe import StepProbeCallback

# Of the probe; the first step is not among them. Short steps are repeated until their time tells.
_MIN_STEPS, _MAX_STEPS, _MIN_SECONDS = 3, 40, 2.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run would need. Durations are in seconds, memory is in 10^9 bytes.

    Attributes:
        rows, tokens: of each split.
        steps: optimizer steps; a run that is stopped early or has `trainer.max_minutes` takes
            fewer.
        training_tokens: of all steps, without padding, on all devices.
        is_on_gpu: memory is that which is allocated on a GPU, else the resident memory of the
            process.
        training_gigabytes: the peak of training steps.
        peak_gigabytes: the peak with validation and the writing of a checkpoint.
        max_checkpoints: as many files are kept at most.
        start_seconds: until the first step, as the probe took.
        validation_seconds: of one validation.
    """

    parameters: int
    trained_parameters: int
    rows: Mapping[str, int]
    tokens: Mapping[str, int]
    steps: int
    validations: int
    training_tokens: int
    is_on_gpu: bool
    training_gigabytes: float
    peak_gigabytes: float
    checkpoint_bytes: int
    max_checkpoints: int
    model_bytes: int
    start_seconds: float
    step_seconds: float
    training_seconds: float
    validation_seconds: float
    test_seconds: float

    @property
    def disk_bytes(self) -> int:
        return self.max_checkpoints * self.checkpoint_bytes + self.model_bytes

    @property
    def total_seconds(self) -> float:
        """The time of the run but for its report and the writing of files."""
        validations = self.validations * self.validation_seconds
        return self.start_seconds + self.training_seconds + validations + self.test_seconds

    def describe(self) -> list[str]:
        """The plan as lines for people."""
        trained = ""
        if self.trained_parameters != self.parameters:
            trained = f", {format_count(self.trained_parameters)} of them trained"
        splits = ", ".join(
            f"{split} {rows:,} ({format_count(self.tokens[split])} tokens)"
            for split, rows in self.rows.items()
        )
        owner = "on the GPU" if self.is_on_gpu else "of the process"
        checkpoints = format_quantity(self.max_checkpoints, "checkpoint")
        test = f", test {format_duration(self.test_seconds)}" * ("test" in self.rows)
        return [
            f"parameters: {self.parameters:,}{trained}",
            f"rows: {splits}",
            f"training: {format_quantity(self.steps, 'step')}, "
            f"{format_count(self.training_tokens)} tokens, "
            f"{format_quantity(self.validations, 'validation')}",
            f"memory: {self.peak_gigabytes:.2f} GB {owner} at its peak, "
            f"{self.training_gigabytes:.2f} GB in training steps",
            f"disk: {_format_bytes(self.disk_bytes)}: up to {checkpoints} of "
            f"{_format_bytes(self.checkpoint_bytes)}, the model {_format_bytes(self.model_bytes)}",
            f"time: {format_duration(self.total_seconds)}: start "
            f"{format_duration(self.start_seconds)}, training "
            f"{format_duration(self.training_seconds)} ({1000 * self.step_seconds:.3g} ms a step), "
            f"a validation {format_duration(self.validation_seconds)}{test}",
        ]


def plan_run(config: Mapping[str, Any], *, is_followed: bool = False) -> RunPlan:
    """Take a few steps of a run, and tell from them what the whole run needs.

    Args:
        config: the arguments of `src.pipeline.run.run`, as composed and checked.
        is_followed: as of `build_parts`.

    Raises:
        UserError: something in the config or the data must be changed.
    """
    from src.training.cpu_allocators import limit_kernel_cache

    check_without_torch(build_node(config["data"]), build_node(config["trainer"]))
    limit_kernel_cache()
    store = build_node(config["tracking"])
    store.check()
    print_wrapped(describe_config(config))
    if "preset" in config:
        print_wrapped(describe_preset(config))
    startup.silence_libraries()
    from lightning import seed_everything

    from src.pipeline.build_parts import build_parts, check_validation_rows

    # for the memory that a run needs too
    store.import_libraries()
    startup.resume_gc()
    built = build_parts(config, store, is_trial=False, is_followed=is_followed)
    seed_everything(config["seed"], workers=True, verbose=False)
    launcher = built.training.build_launcher(on_rank_failure=_do_nothing)
    world_size = launcher.rank_info.world_size
    built.datamodule.set_rank(0, world_size, built.training.batch_ranks)
    built.datamodule.prepare_data()
    check_validation_rows(built.datamodule)
    precision, reason = built.training.resolve_precision(launcher.rank_info)
    print_wrapped(f"device {built.training.describe_device(launcher)}, precision {reason}")
    if world_size > 1:
        print_wrapped(
            f"{world_size} processes: the probe is one of them, alone; what they tell each other "
            "takes more time"
        )
    facts = built.datamodule.dataset_info
    length = built.training.count_steps(facts.batches_per_epoch)
    steps = length.total_steps
    built.datamodule.set_training_length(length)
    built.module.set_dataset_info(facts, steps)
    with tempfile.TemporaryDirectory() as folder:
        probe, data = _take_steps(built, precision, Path(folder))
    return _estimate(built, probe, data.count_training_tokens(steps), steps, world_size)


def _do_nothing(_: BaseException) -> None:
    """The probe has no other ranks that could fail."""


def _take_steps(
    built: "BuiltParts", precision: str, folder: Path
) -> "tuple[StepProbeCallback, StepProbeData]":
    """Fit a few batches on one device; returns what was measured, and the batches."""
    from src.data.step_probe_data import StepProbeData
    from src.training.callbacks import keep_freed_memory
    from src.training.step_probe import StepProbeCallback

    training = built.training
    data = StepProbeData(
        built.datamodule,
        steps=_MAX_STEPS,
        accumulate=training.accumulate_grad_batches,
        limit_batches=training.limit_batches,
    )
    probe = StepProbeCallback(min_steps=_MIN_STEPS, min_seconds=_MIN_SECONDS)
    trainer = replace(
        training,
        devices=1,
        num_nodes=1,
        batch_ranks=None,
        accumulate_grad_batches=data.batches_per_step,
        strategy="auto",
        max_epochs=1,
        max_steps=None,
        max_minutes=None,
        val_check_steps=None,
        num_sanity_val_steps=0,
        limit_batches=None,
    ).build(
        callbacks=[
            *(callback for node in built.callbacks for callback in _build_probed(node, folder)),
            probe,
            keep_freed_memory(),
        ],
        logger=False,
        lightning_precision=precision,
        root=str(folder),
        total_steps=_MAX_STEPS,
    )
    trainer.fit(built.module, datamodule=data)
    return probe, data


def _build_probed(node: "CallbackConfig", folder: Path) -> list[Any]:
    """The callbacks that take part in each step. Others write files, stop the training, or are the
    user's own.
    """
    from src.training.callbacks import TrainingMetrics, WeightAveraging

    return node.build(folder) if isinstance(node, TrainingMetrics | WeightAveraging) else []


def _estimate(
    built: "BuiltParts", probe: "StepProbeCallback", rank_tokens: int, steps: int, world_size: int
) -> RunPlan:
    """The plan of the whole run, from what the probe has measured.

    Args:
        rank_tokens: those of all steps in one process.
    """
    from src.training.step_probe import estimate_seconds_per_token

    module, data, training = built.module, built.datamodule, built.training
    stores = data.split_tokens
    training_seconds = rank_tokens * estimate_seconds_per_token(probe.steps)
    limit_seconds = math.inf if training.max_minutes is None else 60 * training.max_minutes
    evaluation_rate = estimate_seconds_per_token(probe.validation_batches) / world_size
    evaluation_seconds = {
        split: evaluation_rate * _count_evaluated_tokens(data, split, training.limit_batches)
        for split in ("validation", "test")
    }
    every = training.val_check_steps
    every = every or training.count_epoch_steps(data.dataset_info.batches_per_epoch)
    validations = math.ceil(steps / every)
    parameters = list(module.parameters())
    return RunPlan(
        parameters=sum(item.numel() for item in parameters),
        trained_parameters=sum(item.numel() for item in parameters if item.requires_grad),
        rows={split: len(store) for split, store in stores.items()},
        tokens={split: store.num_tokens for split, store in stores.items()},
        steps=steps,
        validations=validations,
        training_tokens=rank_tokens * world_size,
        is_on_gpu=module.device.type == "cuda",
        training_gigabytes=probe.training_gigabytes,
        peak_gigabytes=probe.peak_gigabytes,
        checkpoint_bytes=probe.checkpoint_bytes,
        max_checkpoints=_count_checkpoints(built, validations),
        model_bytes=_measure_model(built),
        start_seconds=probe.start_seconds,
        step_seconds=training_seconds / steps,
        training_seconds=min(training_seconds, limit_seconds),
        validation_seconds=evaluation_seconds["validation"],
        test_seconds=evaluation_seconds["test"],
    )


def _count_evaluated_tokens(data: "TextDataModule", split: str, limit_batches: int | None) -> float:
    """The tokens of a held-out split that are judged."""
    if split not in data.token_stores:
        return 0.0
    share = 1.0
    if limit_batches is not None:
        share = min(1.0, limit_batches / len(data.build_batch_sampler(split)))
    return share * data.token_stores[split].num_tokens


def _count_checkpoints(built: "BuiltParts", validations: int) -> int:
    """The most checkpoints that are kept. The last one is written where the last validation was,
    and is among the best if all are.
    """
    from src.training.callbacks import Checkpoint

    count = 0
    for node in built.callbacks:
        if isinstance(node, Checkpoint):
            best, last = min(node.keep or 0, validations), node.keep_last or 0
            count += best + last - (1 if best == validations and last else 0)
    return count


def _measure_model(built: "BuiltParts") -> int:
    """The bytes of the folder that a run exports. Adapters are merged into the weights for it."""
    from src.pipeline.export import save_model

    data = built.datamodule
    with save_model(built.module.encoder, data.tokenizer, data.describe_preprocessing()) as folder:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _format_bytes(count: int) -> str:
    """A number of bytes in units of ten: `480 kB`, `12.3 MB`."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
