"""What a training says of itself on the way: loss, rate, speed, how well the device is used, energy, memory."""

import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.terms.bounds import checked
from src.training.checkpoints import Ties
from src.training.energy import Counter, counter
from src.training.flops import Cost, cost, peak_flops

_TYPES = {"bf16": torch.bfloat16, "16": torch.float16}  # by the beginning of Lightning's name for a precision


@dataclass
class Window:
    """Sums over the steps since the last logged one, of this rank."""

    loss: float = 0.0  # over targets
    targets: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    joules: float = 0.0
    seconds: float = 0.0
    data_seconds: float = 0.0


@checked
class Meter(Callback):
    """Logs a window of steps every `trainer.log_every_n_steps` optimizer steps.

    `train/loss` is the mean over all targets of the window on all ranks, not the last batch's. Tokens are real ones;
    there is no padding to count. Losses stay on their device until a window closes, so that no step waits for it.
    Validation and the writing of checkpoints are no training time. A window that was under way when a checkpoint was
    written goes on after it.

    Written: train/loss, train/lr, train/gradient_norm, train/epoch, train/tokens (since the beginning),
    train/tokens_per_second, train/step_seconds and its parts data_seconds and compute_seconds, and
    system/peak_memory_gigabytes (of the GPU that trains, else of the process). For encoders also
    train/tflops_per_second, in model operations (`src/training/flops.py`), and train/mfu, their share of what the
    device did in one large matrix product when training began. Where energy can be read (`src/training/energy.py`),
    train/joules_per_token and system/energy_joules, which counts from the beginning and validations too.
    """

    of_rank = True  # what it has counted is this rank's, and goes into a checkpoint for each of them

    def __init__(self) -> None:
        self._window = Window()
        self._losses: list[tuple[Tensor, int | Tensor]] = []  # (mean, targets) of each batch, not looked at yet
        self._starts: list[Tensor] = []  # of each batch's sequences
        self._logged_step: int | None = None  # None: nothing has been trained yet
        self._total_tokens = 0.0  # of all ranks, in closed windows
        self._earlier_joules = 0.0  # of this rank, before this process
        self._since = self._ready_at = 0.0
        self._running = False
        self._joules: Counter | None = None
        self._joules_at_start = self._joules_since = 0.0
        self._cost: Cost | None = None
        self._peak_flops = 0.0

    def build(self, folder: Path, ties: Ties | None = None) -> list[Callback]:
        """Itself: like the other nodes of `callbacks`, it is asked when the run's folder is known."""
        return [self]

    # -- what goes into a checkpoint --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        self._look()
        self._stop()  # until the next batch: to write a checkpoint is no training
        return {
            "window": asdict(self._window),
            "logged_step": self._logged_step,
            "total_tokens": self._total_tokens,
            "joules": self._energy(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._window = Window(**state_dict["window"])
        self._logged_step = state_dict["logged_step"]
        self._total_tokens = state_dict["total_tokens"]
        self._earlier_joules = state_dict["joules"]

    # -- time and energy --------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = pl_module.device
        encoder = getattr(pl_module, "encoder", None)
        if encoder is not None:
            kind = next((kind for name, kind in _TYPES.items() if str(trainer.precision).startswith(name)), None)
            self._cost = cost(encoder)
            self._peak_flops = peak_flops(device, kind or torch.float32) * trainer.world_size
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # the products just made are no part of training
        self._joules = counter(device, first_of_machine=trainer.local_rank == 0)
        self._joules_at_start = self._joules() if self._joules else 0.0
        if self._logged_step is None:
            self._logged_step = trainer.global_step
        self._go()

    def _go(self) -> None:
        self._since = self._ready_at = time.perf_counter()
        self._joules_since = self._joules() if self._joules else 0.0
        self._running = True

    def _stop(self) -> None:
        """Put the time and energy since `_go` into the window; before training, there is none."""
        if not self._running:
            return
        self._window.seconds += time.perf_counter() - self._since
        if self._joules:
            self._window.joules += self._joules() - self._joules_since
        self._running = False

    def _energy(self) -> float:
        return self._earlier_joules + (self._joules() - self._joules_at_start if self._joules else 0.0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._go()

    # -- steps ------------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._running:
            self._go()
        self._window.data_seconds += time.perf_counter() - self._ready_at

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs and outputs["count"]:  # else the batch was left out, or this rank had no row of it
            mean = outputs.get("mean_loss")
            if mean is None:
                mean = outputs["loss"].detach() * trainer.accumulate_grad_batches
            self._losses.append((mean, outputs["count"]))
            self._window.tokens += len(batch.tokens.ids)
            if self._cost is not None:
                self._starts.append(batch.tokens.starts)
        step = trainer.global_step
        due = step % trainer.log_every_n_steps == 0 or step == getattr(pl_module, "total_steps", -1)  # type: ignore[attr-defined]
        if due and step != self._logged_step:
            self._close(trainer, pl_module, step)
        self._ready_at = time.perf_counter()

    def _look(self) -> None:
        """Add up what has stayed on the device; the one place that waits for it."""
        if not self._losses:
            return
        losses, counts = zip(*self._losses, strict=True)
        means = torch.stack(losses).cpu().double()
        targets = torch.stack([torch.as_tensor(each) for each in counts]).cpu().double()
        for mean, count in zip(
            means.tolist(), targets.tolist(), strict=True
        ):  # one after the other: the sum is then the
            self._window.loss += mean * count  # same to the last bit, however often a checkpoint has looked at it
            self._window.targets += count
        if self._cost is not None:
            lengths = torch.cat([starts.diff() for starts in self._starts]).cpu()
            self._window.flops += self._cost.step_flops(lengths, int(targets.sum()))
        self._losses, self._starts = [], []

    def _close(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        self._look()
        self._stop()
        steps, window = step - (self._logged_step or 0), self._window
        sums = torch.tensor(
            [window.loss, window.targets, window.tokens, window.flops, window.joules, self._energy()],
            dtype=torch.float64,
        )
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums.to(module.device), reduce_op="sum").cpu()
        loss, targets, tokens, flops, joules, energy = sums.tolist()
        self._total_tokens += tokens
        values = {
            "train/lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train/epoch": trainer.current_epoch + self._share_of_epoch(trainer),
            "train/tokens": self._total_tokens,
            "train/tokens_per_second": tokens / window.seconds,
            "train/step_seconds": window.seconds / steps,
            "train/data_seconds": window.data_seconds / steps,
            "train/compute_seconds": (window.seconds - window.data_seconds) / steps,
            "system/peak_memory_gigabytes": peak_memory_gigabytes(module.device),
        }
        if targets:  # else all batches of these steps were left out
            values["train/loss"] = loss / targets
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
            if key in values:  # on the host: Lightning reads what the bar shows at every step, and would wait for it
                module.log(name, torch.tensor(values[key]), prog_bar=True, logger=False, batch_size=1)
        self._window, self._logged_step = Window(), step
        self._go()

    @staticmethod
    def _share_of_epoch(trainer: Trainer) -> float:
        return (trainer.fit_loop.epoch_loop.batch_idx + 1) / max(1, trainer.num_training_batches)


def peak_memory_gigabytes(device: torch.device) -> float:
    """Highest so far, in 10^9 bytes: of a GPU, or of the process that trains on a CPU beside one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
