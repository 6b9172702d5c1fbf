"""The Lightning Trainer, from plain values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from src.terms.bounds import Count, NonNegative, Positive, Whole, checked
from src.terms.fault import Fault

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """Where and how long to train. Names are Lightning's own where it has one.

    Args:
        precision: `auto` tries bf16 on this machine and takes it where it is clearly faster, else fp32. Weights and
            optimizer state are fp32 either way (mixed precision).
        max_steps: optimizer steps; whichever of it and `max_epochs` comes first ends the run.
        max_minutes: wall time after which training stops with the validation it has.
        val_check_steps: optimizer steps between validations; null: at the end of each epoch.
        gradient_clip_val: largest norm of the gradient; null leaves it as it is.
        threads: of torch on a CPU; null: one for each core.
        limit_batches: of each split, for a dry run.
        deterministic: refuse operations whose result is not repeatable.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count | Literal["auto"] = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    max_epochs: Count | None = None
    max_steps: Count | None = None
    max_minutes: Positive | None = None
    val_check_steps: Count | None = None
    gradient_clip_val: NonNegative | None = 1.0
    accumulate_grad_batches: Count = 1
    log_every_n_steps: Count = 10
    num_sanity_val_steps: Whole = 0
    limit_batches: Count | None = None
    threads: Count | None = None
    deterministic: bool = False

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

    def arithmetic(self) -> tuple[str, str]:
        """Lightning's name for the precision, and the reason in words."""
        from src.training.precision import fastest

        chosen, reason = (self.precision, "as configured") if self.precision != "auto" else fastest()
        return {"fp32": "32-true", "bf16": "bf16-mixed"}[chosen], f"{chosen}: {reason}"

    def build(
        self, *, callbacks: "Sequence[Callback]", logger: "Logger | Literal[False]", arithmetic: str, root: str
    ) -> "Trainer":
        """A Trainer that owns no files: checkpoints and logs have their places elsewhere."""
        import torch
        from lightning.pytorch import Trainer

        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise Fault("trainer.accelerator=gpu, but torch sees no GPU here; trainer=cpu or trainer=auto would run")
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        every = self.val_check_steps * self.accumulate_grad_batches if self.val_check_steps else None  # in batches
        limits: dict[str, Any] = {}
        if self.limit_batches is not None:
            names = ("train", "val", "test")
            limits = {f"limit_{name}_batches": self.limit_batches for name in names}
        return Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
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
            callbacks=list(callbacks),
            logger=logger,
            default_root_dir=root,
            enable_model_summary=False,
            enable_checkpointing=any("Checkpoint" in type(each).__name__ for each in callbacks),
            use_distributed_sampler=False,  # the batch plan divides rows among ranks itself
            **limits,
        )
