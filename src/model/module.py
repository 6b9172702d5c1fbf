"""The one LightningModule: an encoder, an objective and an optimizer. Which task runs is the objective's business."""

import math
import re
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from src.model.architecture import Pretrained, Scratch
from src.model.encoder import Encoder
from src.model.objectives import Classification, MaskedLM, Regression, Result
from src.model.optim import AdamW, Muon
from src.terms.batch import Batch, LabelledBatch
from src.terms.bounds import Whole, checked
from src.terms.facts import Facts
from src.terms.world import NonFiniteLoss

REMEDIES = "A lower model.optim.lr, a longer model.optim.warmup_fraction or trainer.gradient_clip_val=1.0 usually help"


def mean_loss() -> MeanMetric:
    """Sum over count. NaN stays NaN: the default drops it, and "disable" forgets the weights (torchmetrics 1.9)."""
    return MeanMetric(nan_strategy=math.nan)


@checked
class EncoderModule(LightningModule):
    """Trains an encoder on an objective.

    Args:
        freeze: what stays as it is: `nothing`, the `embeddings`, the whole `encoder` (the head learns alone), or a
            number of layers from below, embeddings included. Frozen parts stay in eval mode and out of the optimizer.
        lean: run the body by the arithmetic of src/model/lean.py where it knows the family: the same logits, faster;
            false goes through transformers, as other families do.
        gradient_checkpointing: keep only what stands between layers for the backward pass and compute the rest again:
            much less memory for a third more time.
    """

    def __init__(
        self,
        *,
        encoder: Scratch | Pretrained,
        objective: MaskedLM | Classification | Regression,
        optim: AdamW | Muon,
        freeze: Literal["nothing", "embeddings", "encoder"] | Whole = "nothing",
        lean: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.architecture = encoder
        self.objective = objective
        self.optim = optim
        self.freeze_what = freeze
        self.lean = lean
        self.gradient_checkpointing = gradient_checkpointing
        self.encoder: Encoder
        self.facts: Facts
        self.total_steps = 0
        self.gradient_norm: Tensor | None = None  # of the last optimizer step, before clipping
        self.wish = 0  # of the first rank, which checkpoints are written by (src/training/keeper.py)
        self.agreed: Tensor | None = None  # that wish at the last optimizer step, on all ranks
        self._targets = 0  # of the optimizer step under way, on this rank
        self._not_finite: Tensor | None = None  # on a GPU: whether an update was skipped since that was last asked
        self.skips: list[list[tuple[int, int]]] = []  # batches that are left out, as (epoch, place), by occasion
        self.watched_until = -1  # on a GPU: the step up to which each is looked at, for the one that is not finite
        self._batches: list[int] = []  # of the optimizer step under way
        self._frozen: list[nn.Module] = []
        self._answers: list[tuple[Tensor, Tensor, Tensor]] = []

    def adapt(self, facts: Facts, total_steps: int) -> None:
        """Take what is known now that the data have been read; checks it against what the config declared."""
        self.objective.check(facts)
        self.facts = facts
        self.total_steps = total_steps

    def configure_model(self) -> None:
        """Build or load the weights; Lightning calls this inside the run, before fit, validate or test."""
        if hasattr(self, "encoder"):
            return
        names = self.facts.label_names
        valued = self.objective.kind == "regression"
        self.encoder = self.architecture.build(self.objective.head, self.facts, names, regression=valued)
        self.encoder.lean = self.encoder.lean and self.lean
        self.encoder.checkpoint_gradients(self.gradient_checkpointing)
        if self.freeze_what not in ("nothing", 0):
            self._frozen = self.encoder.freeze(self.freeze_what)
        width = len(names) or self.encoder.config.vocab_size
        self._metrics = nn.ModuleDict(
            {stage: nn.ModuleDict({"loss": mean_loss(), **self.objective.metrics(width)}) for stage in ("val", "test")}
        )
        self.train(self.training)

    def load_weights(self, checkpoint: str) -> None:
        """Take the weights of a checkpoint of this module: tensors alone, every name accounted for."""
        self.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])

    def train(self, mode: bool = True) -> "EncoderModule":
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skips"] = [[list(place) for place in places] for places in self.skips]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        known = [[(epoch, place) for epoch, place in places] for places in checkpoint.get("skips", [])]
        self.skips = known + [each for each in self.skips if each not in known]  # the newer ones brought us back here

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Any] | None:
        """None leaves a batch out: it has no gradient, and an optimizer step of it alone changes nothing."""
        if any((self.current_epoch, batch_index) in places for places in self.skips):
            return None
        self._batches.append(batch_index)
        result: Result = self.objective(self.encoder, batch)
        mean = result.loss.detach()
        if mean.device.type == "cpu" and not torch.isfinite(mean):  # elsewhere no step waits for the device
            raise NonFiniteLoss(
                f"the loss is {float(mean)} {self._where()}, batch {batch_index}: nothing was updated. {REMEDIES}",
                self.global_step,
                [(self.current_epoch, batch_index)],
            )
        self._targets += result.count
        loss = result.loss * result.count if self._is_divided else result.loss
        return {"loss": loss, "mean_loss": mean, "count": result.count}

    def _where(self) -> str:
        return f"at optimizer step {self.global_step}, epoch {self.current_epoch}"

    @property
    def _is_divided(self) -> bool:
        """Whether an optimizer step is made of several batches: of ranks, or one after the other."""
        return self.trainer.world_size * self.trainer.accumulate_grad_batches > 1

    def check_finite(self) -> None:
        """Raise NonFiniteLoss where an update had to be skipped on the device since this was last asked."""
        if self._not_finite is not None and bool(self._not_finite):
            raise NonFiniteLoss(
                f"the gradient was not finite in one of the last optimizer steps before {self.global_step}: that one "
                f"was skipped. {REMEDIES}",
                self.global_step,
            )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        if self._not_finite is not None and self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.check_finite()  # waits for the device, as the meter does at the same step

    def on_validation_start(self) -> None:
        self.check_finite()  # before a checkpoint may be kept

    def _evaluate(self, stage: str, batch: Batch) -> Result:
        result: Result = self.objective(self.encoder, batch)
        if result.count == 0:  # nothing to judge, and torchmetrics cannot take it
            return result
        for name, metric in self._stage_metrics(stage).items():
            if name == "loss":
                metric.update(result.loss, weight=result.count)
            else:
                metric.update(result.outputs, result.targets)
        return result

    def _stage_metrics(self, stage: str) -> dict[str, Metric]:
        return dict(self._metrics[stage].items())  # type: ignore[operator]

    def _close(self, stage: str) -> None:
        """Epoch values: sums over counts, divided once, over all ranks. Steps are optimizer steps."""
        metrics = self._stage_metrics(stage)
        values = {name: float(metric.compute()) for name, metric in metrics.items()}
        values |= self.objective.derived(values, self.facts)
        for metric in metrics.values():
            metric.reset()
        named = {f"{stage}/{name}": value for name, value in values.items()}
        # Lightning gets them for callbacks and the bar; the tracker gets them with the step spelled out, which
        # Lightning would count one too low at the end of an epoch.
        self.log_dict(named, logger=False, prog_bar=stage == "val", sync_dist=False, batch_size=1)
        if self.logger is not None and not self.trainer.sanity_checking:
            self.logger.log_metrics(named, step=self.global_step)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._close("val")

    def on_test_epoch_start(self) -> None:
        self._answers.clear()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        result = self._evaluate("test", batch)
        rows = getattr(batch, "rows", None)
        if rows is not None:
            self._answers.append((rows.cpu(), result.targets.cpu(), self.objective.answer(result.outputs).cpu()))

    def on_test_epoch_end(self) -> None:
        self._close("test")

    def predict_step(self, batch: LabelledBatch, batch_index: int) -> tuple[Tensor, Tensor]:
        result: Result = self.objective(self.encoder, batch)
        return batch.rows.cpu(), self.objective.answer(result.outputs).cpu()

    def test_answers(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Row ids [N], targets [N] and answers ([N, C] probabilities or [N] values) of the last test, by row id."""
        if not self._answers:
            return None
        rows, targets, answers = (torch.cat(each) for each in zip(*self._answers, strict=True))
        order = rows.argsort()
        return rows[order], targets[order], answers[order]

    def configure_optimizers(self) -> Any:
        optimizer, schedule = self.optim.build(self.encoder, depth=self._depth, total_steps=self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Make the gradient that of the mean over all targets of the step, and clip its norm; Lightning calls this
        before every optimizer step.

        Batches of a step may hold different numbers of targets, on several ranks and one after the other. Their losses
        are summed, so that what Lightning and DDP divide by is known, and divided once here by the count of all. The
        factor travels to the optimizer, which multiplies where it reads the gradient anyway.
        """
        factor = self._gradient_factor()
        trained = (each for group in optimizer.param_groups for each in group["params"])  # walks no module tree
        gradients = [each.grad for each in trained if each.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of shards: over all ranks
        self.gradient_norm = whole * factor
        if gradient_clip_val is not None:
            factor = factor * (gradient_clip_val / (self.gradient_norm + 1e-6)).clamp(max=1.0)
        finite = torch.isfinite(self.gradient_norm)
        batches, self._batches = self._batches, []
        if (whole.device.type == "cpu" or self.global_step <= self.watched_until) and not finite:
            place = f"batch {batches[0]}" if len(batches) == 1 else f"batches {batches[0]} to {batches[-1]}"
            raise NonFiniteLoss(
                f"the gradient is not finite {self._where()}, {place}: nothing was updated. {REMEDIES}",
                self.global_step,
                [(self.current_epoch, each) for each in batches],
            )
        if whole is norm:
            optimizer.grad_scale, optimizer.found_inf = 1 / factor, (~finite).float()  # it divides by the one
        else:
            torch._foreach_mul_(gradients, factor.nan_to_num(0.0, 0.0, 0.0))
        if whole.is_cuda:
            self._not_finite = ~finite if self._not_finite is None else self._not_finite | ~finite

    def _gradient_factor(self) -> Tensor:
        """What the gradient must be multiplied by to be that of the mean over the step's targets."""
        device, targets = self.device, self._targets
        self._targets = 0
        if not self._is_divided:
            return torch.ones((), device=device)
        if self.trainer.world_size > 1:
            sums = torch.stack([torch.full((), float(each), device=device) for each in (targets, self.wish)])
            torch.distributed.all_reduce(sums)
            total, self.agreed = sums.unbind()
        else:
            total = torch.full((), float(targets), device=device)  # filled there; a copy would be waited for
        return self.trainer.world_size * self.trainer.accumulate_grad_batches / total.clamp_min(1)

    def _depth(self, name: str) -> int:
        """Layers between a parameter of the encoder and the head."""
        count = len(self.encoder.layers())
        body = f"network.{self.encoder.network.base_model_prefix}."
        if not name.startswith(body) or ".pooler" in name:
            return 0
        layer = re.search(r"\.(?:layers?|albert_layer_groups)\.(\d+)\.", name)
        if layer:
            return count - int(layer.group(1))
        return count + 1 if "embedding" in name else 1
