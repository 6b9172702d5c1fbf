"""Metrics of a training under way: loss, learning rate, speed, use of the device, energy, memory.

Also how long a run took to start, up to its first optimizer step.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.training.energy import EnergyCounter, build_energy_counter
from src.training.flops import ForwardCost, count_forward_cost, measure_peak_flops

if TYPE_CHECKING:
    from src.model.module import EncoderModule


# By the beginning of Lightning's name for a precision.
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


@dataclass
class MetricsWindow:
    """Sums of this rank over the steps since the last logged one. `loss` is summed over targets."""

    loss: float = 0.0
    targets: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    joules: float = 0.0
    seconds: float = 0.0
    data_seconds: float = 0.0


class Meter(Callback):
    """Logs a window of steps every `trainer.log_every_n_steps` optimizer steps.

    `train/loss` is the mean over all targets of the window on all ranks, not the last batch's.
    Losses stay on their device until a window closes, so that no step waits for it. Validation and
    the writing of checkpoints do not count as training time. A window that was under way when a
    checkpoint was written goes on after it.

    Logged are train/loss, train/lr, train/gradient_norm, train/epoch, train/tokens (since the
    beginning, without padding), train/tokens_per_second, train/step_seconds and its parts
    train/data_seconds and train/compute_seconds, and system/peak_memory_gigabytes (of the GPU that
    trains, else of the process). Where tokens are masked, train/mask_fraction is the share of the
    window's tokens that was. For encoders also train/tflops_per_second, in model operations
    (src/training/flops.py), and train/mfu, their share of what the device did in one large matrix
    product when training began. Where energy can be read (src/training/energy.py) also
    train/joules_per_token, and system/energy_joules, which counts from the beginning and
    validations too.
    """

    # Each rank has counted for itself, so a checkpoint holds the state of each.
    has_rank_state = True
    # Checkpoints of all versions have it under this key.
    state_key = "Meter"

    def __init__(self) -> None:
        self._window = MetricsWindow()
        # (mean, number of targets) of each batch, still on the device.
        self._losses: list[tuple[Tensor, int | Tensor]] = []
        # The `cu_seqlens` of each batch.
        self._sequence_starts: list[Tensor] = []
        # None before training.
        self._logged_step: int | None = None
        # Of all ranks, in closed windows.
        self._total_tokens = 0.0
        # True if the last batch had masked tokens.
        self._has_masks = False
        # Of this rank, in earlier processes of the run.
        self._earlier_joules = 0.0
        self._clock_started_at = self._ready_at = 0.0
        self._is_clock_running = False
        self._energy_counter: EnergyCounter | None = None
        self._joules_at_start = self._joules_at_clock_start = 0.0
        self._forward_cost: ForwardCost | None = None
        self._peak_flops = 0.0

    # -- state in checkpoints

    def state_dict(self) -> dict[str, Any]:
        self._collect_losses()
        # Until the next batch; to write a checkpoint is no training.
        self._stop_clock()
        return {
            "window": asdict(self._window),
            "logged_step": self._logged_step,
            "total_tokens": self._total_tokens,
            "joules": self._total_joules(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._window = MetricsWindow(**state_dict["window"])
        self._logged_step = state_dict["logged_step"]
        self._total_tokens = state_dict["total_tokens"]
        self._earlier_joules = state_dict["joules"]

    # -- time and energy

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = pl_module.device
        encoder = getattr(pl_module, "encoder", None)
        if encoder is not None:
            kind = next(
                (kind for name, kind in _DTYPES.items() if str(trainer.precision).startswith(name)),
                None,
            )
            # of a decoder the tokens that are written are not counted
            has_decoder = getattr(encoder, "head", None) == "denoising"
            self._forward_cost = None if has_decoder else count_forward_cost(encoder)
            self._peak_flops = (
                measure_peak_flops(device, kind or torch.float32) * trainer.world_size
            )
        if device.type == "cuda":
            # The products just made are no part of training.
            torch.cuda.reset_peak_memory_stats(device)
        self._energy_counter = build_energy_counter(
            device, first_of_machine=trainer.local_rank == 0
        )
        self._joules_at_start = self._energy_counter() if self._energy_counter else 0.0
        if self._logged_step is None:
            self._logged_step = trainer.global_step
        self._start_clock()

    def _start_clock(self) -> None:
        self._clock_started_at = self._ready_at = time.perf_counter()
        self._joules_at_clock_start = self._energy_counter() if self._energy_counter else 0.0
        self._is_clock_running = True

    def _stop_clock(self) -> None:
        """Add the time and energy since `_start_clock` to the window."""
        if not self._is_clock_running:
            return
        self._window.seconds += time.perf_counter() - self._clock_started_at
        if self._energy_counter:
            self._window.joules += self._energy_counter() - self._joules_at_clock_start
        self._is_clock_running = False

    def _total_joules(self) -> float:
        return self._earlier_joules + (
            self._energy_counter() - self._joules_at_start if self._energy_counter else 0.0
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._start_clock()

    # -- steps

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._is_clock_running:
            self._start_clock()
        self._window.data_seconds += time.perf_counter() - self._ready_at

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Else the batch was left out, or this rank had no row of it.
        if outputs and outputs["count"]:
            mean = outputs.get("mean_loss")
            if mean is None:
                mean = outputs["loss"].detach() * trainer.accumulate_grad_batches
            self._losses.append((mean, outputs["count"]))
            self._window.tokens += len(batch.tokens.ids)
            self._has_masks = hasattr(batch, "masked_positions")
            if self._forward_cost is not None:
                self._sequence_starts.append(batch.tokens.cu_seqlens)
        step = trainer.global_step
        is_last = step == cast("EncoderModule", pl_module).total_steps
        is_due = is_last or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if is_due and step != self._logged_step:
            self._log_window(trainer, pl_module, step)
        self._ready_at = time.perf_counter()

    def _collect_losses(self) -> None:
        """Add up the losses that are still on the device; nothing else here waits for it."""
        if not self._losses:
            return
        losses, counts = zip(*self._losses, strict=True)
        means = torch.stack(losses).cpu().double()
        targets = torch.stack([torch.as_tensor(count) for count in counts]).cpu().double()
        # One after the other: the sum is then the same to the last bit, however often a checkpoint
        # has looked at it.
        for mean, count in zip(means.tolist(), targets.tolist(), strict=True):
            self._window.loss += mean * count
            self._window.targets += count
        if self._forward_cost is not None:
            lengths = torch.cat([starts.diff() for starts in self._sequence_starts]).cpu()
            self._window.flops += self._forward_cost.count_step_flops(lengths, int(targets.sum()))
        self._losses, self._sequence_starts = [], []

    def _log_window(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        self._collect_losses()
        self._stop_clock()
        steps, window = step - (self._logged_step or 0), self._window
        sums = torch.tensor(
            [
                window.loss,
                window.targets,
                window.tokens,
                window.flops,
                window.joules,
                self._total_joules(),
            ],
            dtype=torch.float64,
        )
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(module.device), reduce_op="sum").cpu()
        loss, targets, tokens, flops, joules, energy = sums.tolist()
        self._total_tokens += tokens
        values = {
            "train/lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train/epoch": trainer.current_epoch + self._epoch_fraction(trainer),
            "train/tokens": self._total_tokens,
            "train/tokens_per_second": tokens / window.seconds,
            "train/step_seconds": window.seconds / steps,
            "train/data_seconds": window.data_seconds / steps,
            "train/compute_seconds": (window.seconds - window.data_seconds) / steps,
            "system/peak_memory_gigabytes": peak_memory_gigabytes(module.device),
        }
        # Else all batches of these steps were left out.
        if targets:
            values["train/loss"] = loss / targets
            if self._has_masks:
                values["train/mask_fraction"] = targets / tokens
        if flops:
            values["train/tflops_per_second"] = flops / window.seconds / 1e12
            values["train/mfu"] = flops / window.seconds / self._peak_flops
        if energy:
            if tokens:
                values["train/joules_per_token"] = joules / tokens
            values["system/energy_joules"] = energy
        norm = getattr(module, "gradient_norm", None)
        if norm is not None:
            values["train/gradient_norm"] = float(norm)
        if trainer.logger is not None:
            trainer.logger.log_metrics(values, step=step)
        for name, key in (("train/loss", "train/loss"), ("tokens/s", "train/tokens_per_second")):
            # On the host: Lightning reads what the bar shows at every step, and would wait for it.
            if key in values:
                module.log(
                    name, torch.tensor(values[key]), prog_bar=True, logger=False, batch_size=1
                )
        self._window, self._logged_step = MetricsWindow(), step
        self._start_clock()

    @staticmethod
    def _epoch_fraction(trainer: Trainer) -> float:
        return (trainer.fit_loop.epoch_loop.batch_idx + 1) / max(1, trainer.num_training_batches)


def peak_memory_gigabytes(device: torch.device) -> float:
    """Return the highest memory use so far, in 10^9 bytes: of the GPU, or of a CPU's process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    # In bytes on macOS, in kilobytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# A process starts once; later runs of a multirun have no start to log.
_first_step_done = False


def log_startup_time(log: Callable[[Mapping[str, float]], None]) -> "list[Callback]":
    """Make a callback that logs what the first optimizer step of this process took to come.

    Logged are system/start_seconds, the wall time since the process began, and
    system/start_processor_seconds, the processor time of the process and of the children that it
    waited for. Returns no callback if the process has had a run before.
    """
    if _first_step_done:
        return []

    class StartupTimeCallback(Callback):
        def on_train_batch_end(
            self,
            trainer: Trainer,
            pl_module: LightningModule,
            outputs: Any,
            batch: Any,
            batch_idx: int,
        ) -> None:
            global _first_step_done
            if not _first_step_done and trainer.global_step > 0:
                _first_step_done = True
                log(process_cost())

    return [StartupTimeCallback()]


def process_cost() -> dict[str, float]:
    """Return the wall and processor seconds of this process until now."""
    import psutil

    times = os.times()
    return {
        "system/start_seconds": time.time() - psutil.Process().create_time(),
        "system/start_processor_seconds": times.user
        + times.system
        + times.children_user
        + times.children_system,
    }
