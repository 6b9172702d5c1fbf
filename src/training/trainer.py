"""The Lightning Trainer, from plain values."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from src.terms.bounds import Count, NonNegative, Positive, Whole, checked
from src.terms.fault import Fault
from src.training.following import told
from src.training.ranks import Place, Ranks, find_place

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """Where and how long to train. Names are Lightning's own where it has one.

    Args:
        devices: of this machine (of each, where there are several); `auto` takes all GPUs, or the CPU as one. A number
            on a CPU means so many processes.
        num_nodes: machines; several need a launcher (torchrun, srun).
        strategy: how several devices work together: each with the whole model (`ddp`), or with a share of its weights,
            gradients and optimizer state (`fsdp`); `auto` means `ddp`. One device needs none.
        rank_timeout_seconds: how long, from the first step on, devices wait for one that does not answer before the
            run fails (until then ten minutes at least); one that dies is noticed within seconds.
        precision: `auto` tries bf16 on the device that trains and takes it where it is clearly faster, else fp32.
            Weights and optimizer state are fp32 either way (mixed precision).
        max_steps: optimizer steps; whichever of it and `max_epochs` comes first ends the run.
        max_minutes: wall time after which training stops with the validation it has.
        val_check_steps: optimizer steps between validations; null: at the end of each epoch.
        gradient_clip_val: largest norm of the gradient; null leaves it as it is.
        on_non_finite: what a loss or gradient that is not finite means: the run fails (`stop`), or it goes back to its
            last checkpoint and on without the batch (`skip`; on one device).
        max_skips: how often that is done in one run.
        threads: of torch on a CPU, in each process; null: the cores, divided among the devices.
        limit_batches: of each split, for a dry run.
        deterministic: refuse operations whose result is not repeatable.
        compile: steps by torch.compile, small encoders as CUDA graphs; null: masked language modelling on a GPU.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count | Literal["auto"] = 1
    num_nodes: Count = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    rank_timeout_seconds: Positive = 600
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    max_epochs: Count | None = None
    max_steps: Count | None = None
    max_minutes: Positive | None = None
    val_check_steps: Count | None = None
    gradient_clip_val: NonNegative | None = 1.0
    on_non_finite: Literal["stop", "skip"] = "stop"
    max_skips: Count = 3
    accumulate_grad_batches: Count = 1
    log_every_n_steps: Count = 10
    num_sanity_val_steps: Whole = 0
    limit_batches: Count | None = None
    threads: Count | None = None
    deterministic: bool = False
    compile: bool | None = None

    def __post_init__(self) -> None:
        if self.max_epochs is None and self.max_steps is None:
            raise Fault("max_epochs and max_steps are both null: say how long to train (trainer.max_epochs)")
        if self.accelerator == "gpu" and self.threads is not None:
            raise Fault("threads belong to trainer.accelerator=cpu (trainer.threads)")

    def total_steps(self, batches_per_epoch: int) -> int:
        """Optimizer steps of the whole run, from the batch plan.

        Never from `trainer.estimated_stepping_batches`: reading that makes a stateful loader resume with wrong data.
        """
        batches = min(batches_per_epoch, self.limit_batches or batches_per_epoch)
        steps = math.ceil(batches / self.accumulate_grad_batches)
        whole = steps * self.max_epochs if self.max_epochs is not None else math.inf
        return int(min(whole, self.max_steps if self.max_steps is not None else math.inf))

    def ranks(self, give_up: Callable[[BaseException], None], first_gone: Callable[[], object] = lambda: None) -> Ranks:
        """The processes of the run, not started yet; the functions are called where one cannot end in good order."""
        place = self._place()
        if place.size > 1 and self.on_non_finite == "skip":
            raise Fault(
                f"trainer.on_non_finite=skip goes with one device, found {place.size}: a batch is left out by all or "
                "by none; trainer.on_non_finite=stop"
            )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Ranks(
            place,
            threads=self.threads or max(1, cores // place.local_size),
            give_up=give_up,
            first_gone=first_gone,
            timeout_seconds=self.rank_timeout_seconds,
        )

    def _place(self) -> Place:
        import torch

        on_gpu = self._on_gpu()
        found = torch.cuda.device_count() if on_gpu else 1
        devices = found if self.devices == "auto" else self.devices
        if on_gpu and devices > found:
            raise Fault(f"trainer.devices={devices}, but torch sees {found} here")
        return find_place(devices, self.num_nodes)

    def _on_gpu(self) -> bool:
        """Whether the devices are CUDA's."""
        import torch

        available = torch.cuda.is_available()
        if self.accelerator == "gpu" and not available:
            raise Fault("trainer.accelerator=gpu, but torch sees no GPU here; trainer=cpu or trainer=auto would run")
        return available and self.accelerator in ("auto", "gpu")

    def _device(self) -> str:
        """Torch's name for the type of the devices; on a Mac Lightning's `auto` means mps."""
        import torch

        if self._on_gpu():
            return "cuda"
        on_mac = self.accelerator == "auto" and torch.backends.mps.is_available()
        return "mps" if on_mac or self.accelerator == "mps" else "cpu"

    def arithmetic(self, place: Place | None = None) -> tuple[str, str]:
        """Lightning's name for the precision, and the reason in words. The same on all ranks."""
        from src.training.precision import fastest

        decided = told("arithmetic")
        if decided is not None:
            return decided, "as the first rank found"
        chosen: str
        if self.precision != "auto":
            chosen, reason = self.precision, "as configured"
        elif place is not None and place.launched and not self._on_gpu():
            chosen, reason = "fp32", "each process would try for itself, and they might disagree"
        else:
            chosen, reason = fastest(self._device())
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[chosen], f"{chosen}: {reason}"

    def _compiling(self) -> "list[Callback]":
        from src.training.compiling import Compiling

        if self.compile is None and self.strategy == "fsdp":
            return []  # weights are gathered between layers, where a graph would break
        return [] if self.compile is False else [Compiling(self.compile)]

    def _validating(self) -> "list[Callback]":
        from src.training.callbacks import validating

        return [] if self.val_check_steps is None else [validating(self.val_check_steps)]

    def build(
        self,
        *,
        callbacks: "Sequence[Callback]",
        logger: "Logger | Literal[False]",
        arithmetic: str,
        root: str,
        ranks: Ranks | None = None,
    ) -> "Trainer":
        """A Trainer that owns no files: checkpoints and logs have their places elsewhere."""
        import torch
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import Checkpoint

        on_gpu = self._on_gpu()
        together: dict[str, Any] = {"devices": 1}
        if ranks is not None and ranks.place.size > 1:
            from src.training.distributed import Guard, strategy

            kind = "ddp" if self.strategy == "auto" else self.strategy
            callbacks = [Guard(ranks), *callbacks]
            together = {
                "strategy": strategy(kind, ranks),
                "devices": ranks.place.local_size,
                "num_nodes": self.num_nodes,
            }
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif together["devices"] > 1 and not on_gpu and ranks is not None:
            torch.set_num_threads(ranks.threads)
        every = self.val_check_steps * self.accumulate_grad_batches if self.val_check_steps else None  # in batches
        limits: dict[str, Any] = {}
        if self.limit_batches is not None:
            names = ("train", "val", "test")
            limits = {f"limit_{name}_batches": self.limit_batches for name in names}
        return Trainer(
            accelerator=self.accelerator,
            **together,
            precision=arithmetic,  # type: ignore[arg-type]
            max_epochs=self.max_epochs if self.max_epochs is not None else -1,
            max_steps=self.max_steps if self.max_steps is not None else -1,
            max_time={"seconds": round(self.max_minutes * 60)} if self.max_minutes is not None else None,
            val_check_interval=every,
            check_val_every_n_epoch=None if every else 1,
            gradient_clip_val=self.gradient_clip_val,
            accumulate_grad_batches=self.accumulate_grad_batches,
            log_every_n_steps=self.log_every_n_steps,
            num_sanity_val_steps=self.num_sanity_val_steps,
            deterministic=self.deterministic,
            callbacks=[*callbacks, *self._validating(), *self._compiling()],
            logger=logger,
            default_root_dir=root,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
            use_distributed_sampler=False,  # the batch plan divides rows among ranks itself
            **limits,
        )
