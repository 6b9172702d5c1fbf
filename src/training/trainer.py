"""The Lightning Trainer, from plain values."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.processes import count_usable_cores
from src.core.training_length import TrainingLength, count_parts
from src.core.user_errors import UserError
from src.core.validation import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    validate_init,
)
from src.training.launcher import RankInfo, RankLauncher, find_rank_info
from src.training.rank_process import get_from_first_rank

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger

    from src.training.step_control import SignalState


@validate_init
@dataclass(frozen=True, kw_only=True)
class Training:
    """Where and how long to train. Names are Lightning's own where it has one.

    Args:
        accelerator: kind of device; `auto`: a GPU where there is one, else the CPU.
        devices: number of devices of each machine; `auto`: all GPUs, or the CPU as one. A number
            on a CPU means so many processes.
        num_nodes: number of machines; several need a launcher (torchrun, srun). `auto`: as many as
            that has begun on.
        batch_ranks: number of devices, on all machines, that `data.batching.batch_size` is for: a
            step has the rows of so many batches, whatever number of devices trains, and fewer of
            them take several batches each. null: as many as train. A resumed run keeps its own.
        strategy: how several devices work together. `ddp`: each has the whole model; `fsdp`: each
            has a share of its weights, gradients and optimizer state; `auto` means `ddp`.
        rank_timeout_seconds: how long, from the first step on, devices wait for one that does not
            answer before the run fails. Until then they wait ten minutes at least. A process that
            dies is noticed within seconds.
        precision: `auto` tries bf16 on the device that trains and takes it where it is clearly
            faster, else fp32. Weights and optimizer state are fp32 either way (mixed precision).
        max_epochs, max_steps: epochs and optimizer steps; whichever comes first ends the run.
        max_minutes: wall time after which training stops.
        val_check_steps: optimizer steps between validations; null: at the end of each epoch.
        gradient_clip_val: largest norm of the gradient; null: no limit.
        on_non_finite: what is done about a loss or gradient that is not finite. `stop`: the run
            fails; `skip`: it goes back to its last checkpoint and on without the batch (on one
            device only).
        max_skips: how often a batch may be left out in one run.
        accumulate_grad_batches: batches of each optimizer step, on each device.
        log_every_n_steps: optimizer steps between logged metrics of training.
        num_sanity_val_steps: validation batches to try before training.
        limit_batches: batches of each split that are used, for a dry run; null: all.
        threads: of torch on a CPU, in each process; null: the cores, divided among the devices.
        deterministic: refuse operations whose result is not repeatable.
        compile: run steps by torch.compile, small encoders as CUDA graphs; null: only masked
            language modelling on a GPU.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: PositiveInt | Literal["auto"] = 1
    num_nodes: PositiveInt | Literal["auto"] = 1
    batch_ranks: PositiveInt | None = None
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    rank_timeout_seconds: PositiveFloat = 600
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    max_epochs: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    max_minutes: PositiveFloat | None = None
    val_check_steps: PositiveInt | None = None
    gradient_clip_val: NonNegativeFloat | None = 1.0
    on_non_finite: Literal["stop", "skip"] = "stop"
    max_skips: PositiveInt = 3
    accumulate_grad_batches: PositiveInt = 1
    log_every_n_steps: PositiveInt = 10
    num_sanity_val_steps: NonNegativeInt = 0
    limit_batches: PositiveInt | None = None
    threads: PositiveInt | None = None
    deterministic: bool = False
    compile: bool | None = None

    def __post_init__(self) -> None:
        if self.max_epochs is None and self.max_steps is None:
            raise UserError(
                "max_epochs and max_steps are both null: say how long to train (trainer.max_epochs)"
            )
        if self.accelerator == "gpu" and self.threads is not None:
            raise UserError(
                "threads belong to trainer.accelerator=cpu; trainer.threads=null takes them back"
            )
        if self.on_non_finite == "skip" and (self.batch_ranks or 1) > 1:
            raise UserError(
                "trainer.on_non_finite=skip leaves out whole batches, and "
                f"trainer.batch_ranks={self.batch_ranks} makes parts of them; "
                "trainer.on_non_finite=stop"
            )

    def check_device_files(self) -> None:
        """Raise UserError for `accelerator: gpu` on a Linux machine whose system knows no GPU, and
        for `mps` where there is no Mac.

        This is known without torch, whose import takes seconds. Whether torch can use a GPU that
        is there, `build_launcher` finds out.
        """
        if self.accelerator == "mps" and sys.platform != "darwin":
            raise _no_mps_error()
        if self.accelerator != "gpu" or sys.platform != "linux":
            return
        # of NVIDIA's driver, of AMD's, and of Windows' subsystem for Linux
        device_files = ("nvidiactl", "nvidia[0-9]*", "nvhost*", "kfd", "dxg")
        if not any(any(Path("/dev").glob(name)) for name in device_files):
            raise _no_gpu_error()

    def count_steps(self, batches_per_epoch: int) -> TrainingLength:
        """Return the optimizer steps of the whole run and of an epoch, from the batch plan.

        Reading `trainer.estimated_stepping_batches` instead would make a stateful loader resume
        with wrong data.
        """
        steps_per_epoch = self.count_epoch_steps(batches_per_epoch)
        limits = []
        if self.max_epochs is not None:
            limits.append(steps_per_epoch * self.max_epochs)
        if self.max_steps is not None:
            limits.append(self.max_steps)
        return TrainingLength(min(limits), steps_per_epoch, self.accumulate_grad_batches)

    def count_epoch_steps(self, batches_per_epoch: int) -> int:
        """Return the optimizer steps of an epoch, of which the last may have fewer batches."""
        batches = min(batches_per_epoch, self.limit_batches or batches_per_epoch)
        return math.ceil(batches / self.accumulate_grad_batches)

    def build_launcher(
        self,
        on_rank_failure: Callable[[BaseException], None],
        on_first_rank_lost: Callable[[], object] = lambda: None,
    ) -> RankLauncher:
        """Return the processes of the run, not started yet.

        Args:
            on_rank_failure, on_first_rank_lost: as of `RankLauncher`.

        Raises:
            UserError: the devices that are asked for are not there, cannot work together, or
                cannot run what is compiled.
        """
        rank_info = self._find_rank_info()
        if rank_info.world_size > 1 and self.on_non_finite == "skip":
            raise UserError(
                f"trainer.on_non_finite=skip goes with one device, found {rank_info.world_size}: a "
                "batch is left out by all or by none; trainer.on_non_finite=stop"
            )
        if self.compile is True:
            from src.training.torch_compile import build_compile_error, find_compile_obstacle

            obstacle = find_compile_obstacle(self._device_type(), "masked_lm", sharded=False)
            if obstacle is not None:
                raise build_compile_error(obstacle)
        cores = count_usable_cores()
        return RankLauncher(
            rank_info,
            threads_per_rank=self.threads or max(1, cores // rank_info.local_world_size),
            on_rank_failure=on_rank_failure,
            on_first_rank_lost=on_first_rank_lost,
            timeout_seconds=self.rank_timeout_seconds,
        )

    def _find_rank_info(self) -> RankInfo:
        import torch

        on_gpu = self._uses_cuda()
        available = torch.cuda.device_count() if on_gpu else 1
        devices = available if self.devices == "auto" else self.devices
        if on_gpu and devices > available:
            raise UserError(f"trainer.devices={devices}, but torch sees {available} here")
        return find_rank_info(devices, self.num_nodes)

    def _uses_cuda(self) -> bool:
        """True where training runs on CUDA devices."""
        import torch

        available = torch.cuda.is_available()
        if self.accelerator == "gpu" and not available:
            raise _no_gpu_error()
        return available and self.accelerator in ("auto", "gpu")

    def _device_type(self) -> str:
        """Return torch's name for the type of the devices; on a Mac `auto` means mps."""
        import torch

        if self._uses_cuda():
            return "cuda"
        has_mps = torch.backends.mps.is_available()
        if self.accelerator == "mps" and not has_mps:
            raise _no_mps_error()
        return "mps" if has_mps and self.accelerator in ("auto", "mps") else "cpu"

    def resolve_precision(self, rank_info: RankInfo | None = None) -> tuple[str, str]:
        """Return Lightning's name for the precision, the same on all ranks, and the reason."""
        from src.training.precision import choose_precision

        decided = get_from_first_rank("arithmetic")
        if decided is not None:
            return decided, "as the first rank found"
        chosen: str
        if self.precision != "auto":
            chosen, reason = self.precision, "as configured"
        elif rank_info is not None and rank_info.is_launched_externally and not self._uses_cuda():
            chosen, reason = "fp32", "each process would try for itself, and they might disagree"
        else:
            chosen, reason = choose_precision(self._device_type())
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[chosen], f"{chosen}: {reason}"

    def describe_device(self, launcher: RankLauncher) -> str:
        """The device's name, on a CPU with the threads of each process."""
        import torch

        kind = self._device_type()
        if kind == "cuda":
            return torch.cuda.get_device_name()
        if kind != "cpu":
            return kind
        threads = self.threads or torch.get_num_threads()
        if self.threads is None and launcher.rank_info.local_world_size > 1:
            threads = launcher.threads_per_rank
        return f"cpu ({threads} thread{'' if threads == 1 else 's'})"

    def _compile_callbacks(self) -> "list[Callback]":
        from src.training.torch_compile import CompileCallback

        if self.compile is None and self.strategy == "fsdp":
            # Weights are gathered between layers, where a graph would break.
            return []
        return [] if self.compile is False else [CompileCallback(self.compile)]

    def build(
        self,
        *,
        callbacks: "Sequence[Callback]",
        logger: "Logger | Literal[False]",
        lightning_precision: str,
        root: str,
        total_steps: int | None = None,
        signals: "SignalState | None" = None,
        launcher: RankLauncher | None = None,
    ) -> "Trainer":
        """Build a Trainer, which writes no files of its own.

        Args:
            callbacks: beside those that this adds.
            lightning_precision: as `resolve_precision` returns it.
            root: Lightning's `default_root_dir`.
            total_steps, signals: as of `StepControl`.
            launcher: the processes of the run; None: this one alone.
        """
        import torch
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import Checkpoint, ProgressBar, Timer

        from src.training.step_control import StepControl

        on_gpu = self._uses_cuda()
        all_callbacks = [*callbacks, *self._compile_callbacks()]
        distribution: dict[str, Any] = {"devices": 1}
        parts = count_parts(self.batch_ranks, launcher.rank_info.world_size if launcher else 1)
        accumulated = self.accumulate_grad_batches * parts
        if launcher is not None and launcher.rank_info.world_size > 1:
            from src.training.distributed import RankFailureCallback, build_strategy

            kind = "ddp" if self.strategy == "auto" else self.strategy
            all_callbacks.insert(0, RankFailureCallback(launcher))
            distribution = {
                "strategy": build_strategy(kind, launcher),
                "devices": launcher.rank_info.local_world_size,
                "num_nodes": launcher.rank_info.world_size // launcher.rank_info.local_world_size,
            }
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif distribution["devices"] > 1 and not on_gpu and launcher is not None:
            torch.set_num_threads(launcher.threads_per_rank)
        if self.max_minutes is not None:
            all_callbacks.append(Timer(duration={"seconds": round(self.max_minutes * 60)}))
        # The last one: it decides when the others have.
        step_control = StepControl(
            total_steps=total_steps, val_check_steps=self.val_check_steps, signals=signals
        )
        all_callbacks.append(step_control)
        # Lightning counts batches. StepControl corrects this after each step.
        val_check_batches = self.val_check_steps * accumulated if self.val_check_steps else None
        return Trainer(
            accelerator=self.accelerator,
            **distribution,
            precision=lightning_precision,  # type: ignore[arg-type]
            max_epochs=self.max_epochs if self.max_epochs is not None else -1,
            max_steps=self.max_steps if self.max_steps is not None else -1,
            val_check_interval=val_check_batches,
            check_val_every_n_epoch=None if val_check_batches else 1,
            gradient_clip_val=self.gradient_clip_val,
            accumulate_grad_batches=accumulated,
            log_every_n_steps=self.log_every_n_steps,
            num_sanity_val_steps=self.num_sanity_val_steps,
            deterministic=self.deterministic,
            callbacks=all_callbacks,
            logger=logger,
            default_root_dir=root,
            enable_model_summary=False,
            # without one of the config's, Lightning would show its own
            enable_progress_bar=any(isinstance(item, ProgressBar) for item in callbacks),
            enable_checkpointing=any(isinstance(item, Checkpoint) for item in callbacks),
            # The batch plan divides the rows among ranks.
            use_distributed_sampler=False,
            **self._limit_batches(parts),
        )

    def _limit_batches(self, parts: int) -> dict[str, Any]:
        """Lightning's limits, where a training batch comes in so many parts."""
        if self.limit_batches is None:
            return {}
        limits = {f"limit_{stage}_batches": self.limit_batches for stage in ("val", "test")}
        return limits | {"limit_train_batches": self.limit_batches * parts}


def _no_gpu_error() -> UserError:
    return UserError(
        "trainer.accelerator=gpu, but torch sees no GPU here; trainer=cpu or trainer=auto would run"
    )


def _no_mps_error() -> UserError:
    return UserError(
        "trainer.accelerator=mps, but torch sees no Apple GPU here; trainer=cpu or trainer=auto "
        "would run"
    )
