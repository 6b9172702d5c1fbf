"""Averages of the weights over training steps, which are evaluated and exported in their place."""

from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from src.core.printing import print_line
from src.core.user_errors import UserError
from src.training.checkpoint_files import CheckpointHooks
from src.training.lightning_internals import is_fitting, is_step_complete

# of a checkpoint: what the optimizer goes on with
_TRAINED_KEY = "trained_weights"


class WeightAverageCallback(Callback):
    """Averages weights as `src.training.callbacks.WeightAveraging` describes.

    Validations within training see the averages. In a checkpoint the averages stand where a test
    or an export looks for weights, and the weights of the optimizer beside them.
    """

    def __init__(
        self,
        *,
        method: Literal["ema", "swa"],
        decay: float,
        start_fraction: float,
        hooks: CheckpointHooks,
    ) -> None:
        self._method = method
        self._decay = decay
        self._update = get_ema_multi_avg_fn(decay) if method == "ema" else get_swa_multi_avg_fn()
        self._start_fraction = start_fraction
        self._hooks = hooks
        # by the first name of each trained parameter
        self._averages: dict[str, Tensor] = {}
        # how many states were averaged, and the optimizer step of the last one
        self._count = 0
        self._last_step = 0
        # while the averages stand in the module
        self._trained: dict[str, Tensor] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer.strategy, ModelParallelStrategy):
            raise UserError(
                "weights are not averaged where they are divided among devices "
                "(trainer.strategy=fsdp)",
                key="callbacks.weight_averaging",
                hint="{key}=null or trainer=ddp fits",
            )
        if trainer.is_global_zero:
            how = f"ema, decay {self._decay:g}" if self._method == "ema" else "swa, all alike"
            first = self._first_step(pl_module)
            said = f"{how}, from step {first}"
            print_line(
                f"weights are averaged ({said}): validation, test and model have the averages"
            )
            self._hooks.tag("weight_averaging", said)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if (
            is_step_complete(trainer)
            and step > self._last_step
            and step >= self._first_step(pl_module)
        ):
            self._add(_trained_parameters(pl_module))
            self._last_step = step

    def _first_step(self, module: Any) -> int:
        return max(1, round(self._start_fraction * module.total_steps))

    @torch.no_grad()
    def _add(self, weights: dict[str, Tensor]) -> None:
        if not self._averages:
            self._averages = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            # a thawed layer has no average yet
            for name in weights.keys() - self._averages.keys():
                self._averages[name] = weights[name].detach().clone()
            averages = [self._averages[name] for name in weights]
            self._update(averages, [weight.detach() for weight in weights.values()], self._count)
        self._count += 1

    # -- the averages in the place of the weights

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer):
            self._put_averages(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._trained is not None:
            _copy_into(pl_module, self._trained)
            self._trained = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Where no checkpoint is kept, this is what is tested.
        self._put_averages(pl_module)

    def _put_averages(self, module: LightningModule) -> None:
        if self._averages and self._trained is None:
            parameters = dict(module.named_parameters())
            self._trained = {name: parameters[name].detach().clone() for name in self._averages}
            _copy_into(module, self._averages)

    # -- checkpoints

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "last_step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._count, self._last_step = state_dict["count"], state_dict["last_step"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self._averages:
            return
        parameters = dict(pl_module.named_parameters())
        trained = self._trained or {name: parameters[name].detach() for name in self._averages}
        checkpoint[_TRAINED_KEY] = trained
        state = checkpoint["state_dict"]
        for name, tied in _tied_names(pl_module).items():
            if tied in self._averages and name in state:
                state[name] = self._averages[tied]

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        trained = checkpoint.get(_TRAINED_KEY)
        if trained is None:
            return
        self._averages = {
            name: checkpoint["state_dict"][name].to(pl_module.device, copy=True) for name in trained
        }
        _copy_into(pl_module, trained)


def _trained_parameters(module: LightningModule) -> dict[str, Tensor]:
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def _tied_names(module: LightningModule) -> dict[str, str]:
    """Every name of every parameter, and the first name of the same one."""
    first: dict[Tensor, str] = {}
    return {
        name: first.setdefault(weight, name)
        for name, weight in module.named_parameters(remove_duplicate=False)
    }


@torch.no_grad()
def _copy_into(module: LightningModule, weights: dict[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    for name, weight in weights.items():
        parameters[name].copy_(weight)
