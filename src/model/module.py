"""The LightningModule of all tasks: it trains an encoder with an optimizer on an objective, and the
objective decides which task that is.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from src.core.batch import Batch, LabelledBatch
from src.core.dataset_info import DatasetInfo, TokenVectors
from src.core.failures import NonFiniteLoss
from src.core.notices import Notices, join_notices
from src.core.printing import print_line
from src.model import adapters
from src.model.encoder import Encoder
from src.model.encoder_families import find_vocab_size
from src.model.fresh_embeddings import set_embeddings
from src.model.objectives import DatasetObjective, GeneratorObjective, ObjectiveOutput
from src.model.stage_metrics import SPLITS, Stage, StageMetrics
from src.model.trained_parts import build_optimizer, choose_trained_parts

if TYPE_CHECKING:
    from src.model.model_config import ModelConfig
    from src.model.regularization import Regularizer

NON_FINITE_REMEDIES = (
    "A lower model.optim.lr, a longer model.optim.warmup_fraction or "
    "trainer.gradient_clip_val=1.0 usually help"
)


class EncoderModule(LightningModule):
    """Trains an encoder on an objective, as a `ModelConfig` says."""

    def __init__(self, config: "ModelConfig") -> None:
        super().__init__()
        self.config = config
        self.objective = config.objective
        self.encoder: Encoder
        self.dataset_info: DatasetInfo
        self.total_steps = 0
        # The norm at the last optimizer step, before clipping.
        self.gradient_norm: Tensor | None = None
        # The action that the first rank, which writes checkpoints, asks of all ranks
        # (src/training/checkpoint_callback.py).
        self.requested_action = 0
        # The requested action of the last optimizer step, the same on all ranks.
        self.agreed_action: Tensor | None = None
        # The targets of the current optimizer step on this rank.
        self._num_targets = 0
        # On a GPU: true if an update was skipped since the start.
        self._has_skipped_update: Tensor | None = None
        # The batches that are left out, as (epoch, batch index): one list for each time that a
        # result was not finite.
        self.skipped_batches: list[list[tuple[int, int]]] = []
        # On a GPU: every step up to this one is checked, to find the one that is not finite.
        self.check_finite_until_step = -1
        # The indices of the batches of the current optimizer step.
        self._step_batches: list[int] = []
        self._frozen_modules: list[nn.Module] = []
        # Of what an adapter leaves as it was, which checkpoints then do not hold.
        self._frozen_digest = ""
        self._regularizer: Regularizer | None = None
        self._load_token_vectors: Callable[[int], TokenVectors] | None = None
        # How its embeddings begin, where neither random nor pretrained.
        self._embeddings_notice = Notices((), {})
        # Metrics that once had no value, and why.
        self.undefined_metrics: dict[str, str] = {}
        self._test_predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def set_dataset_info(self, facts: DatasetInfo, total_steps: int) -> None:
        """Take the facts that are known once the data have been read, and check them against what
        the config declares.
        """
        self.objective.check_dataset(facts)
        if isinstance(self.objective, DatasetObjective):
            self.objective = self.objective.with_dataset(facts)
        self.dataset_info = facts
        self.total_steps = total_steps

    def set_token_vectors(self, load: Callable[[int], TokenVectors]) -> None:
        """Say how what the training rows tell of each token is found, for embeddings that begin
        with it. Called before `configure_model`; without it, they begin random, as is enough where
        the weights of a checkpoint take their place.

        Args:
            load: called with the width of the embeddings.
        """
        self._load_token_vectors = load

    def configure_model(self) -> None:
        """Build or load the weights; Lightning calls this inside the run, before fit, validate or
        test.
        """
        if hasattr(self, "encoder"):
            return
        names = self.dataset_info.label_names
        self.encoder = self.config.encoder.build(
            self.objective.head, self.dataset_info, names, task=self.objective.kind
        )
        if self.config.begins_from_neighbours and self._load_token_vectors is not None:
            self._embeddings_notice = set_embeddings(self.encoder.network, self._load_token_vectors)
        self.encoder.uses_fast_path = self.encoder.uses_fast_path and self.config.lean
        self.encoder.check_direction()
        self._frozen_modules = choose_trained_parts(self.encoder, self.config)
        if self.config.adapter is not None:
            self._frozen_digest = adapters.compute_frozen_digest(self)
        if isinstance(self.objective, GeneratorObjective):
            self.encoder.generator = self.objective.build_generator(self.encoder)
        if self.config.regularization is not None:
            self._regularizer = self.config.regularization.build(self.encoder)
        width = len(names) or find_vocab_size(self.encoder.config)
        self._metrics = nn.ModuleDict(
            {
                stage: StageMetrics(stage, self.objective, self.config.metrics, width)
                for stage in SPLITS
            }
        )
        self.train(self.training)

    def describe_loading(self) -> Notices:
        """What should be known of how the weights were loaded, and of what the objective took from
        the data; after `configure_model`.
        """
        loading = join_notices(
            adapters.describe_adapter(self.encoder, self.config.adapter), self._embeddings_notice
        )
        if not isinstance(self.objective, DatasetObjective):
            return loading
        return join_notices(loading, self.objective.describe())

    def load_weights(self, checkpoint: str) -> None:
        """Load the weights of a checkpoint of this module; names must match exactly."""
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        self._restore_frozen(content)
        self.load_state_dict(content["state_dict"])

    def _restore_frozen(self, checkpoint: dict[str, Any]) -> None:
        """Add what an adapter leaves as it was to a checkpoint that does without it."""
        if self.config.adapter is not None:
            checkpoint["state_dict"] = adapters.restore_frozen(
                self, checkpoint, self._frozen_digest
            )

    def set_frozen_modules(self, modules: list[nn.Module]) -> None:
        """Keep these modules in eval mode, and no others; what is trained stays as it is."""
        self._frozen_modules = modules
        self.train(self.training)

    def train(self, mode: bool = True) -> "EncoderModule":
        super().train(mode)
        for module in self._frozen_modules:
            module.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skips"] = [
            [list(batch) for batch in batches] for batches in self.skipped_batches
        ]
        if self.config.adapter is not None:
            checkpoint["state_dict"] = adapters.drop_frozen(self, checkpoint["state_dict"])
            checkpoint[adapters.DIGEST_KEY] = self._frozen_digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restore_frozen(checkpoint)
        stored = [
            [(epoch, batch_index) for epoch, batch_index in batches]
            for batches in checkpoint.get("skips", [])
        ]
        # Batches that the checkpoint does not know are those because of which training has gone
        # back to it.
        self.skipped_batches = stored + [
            batches for batches in self.skipped_batches if batches not in stored
        ]

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Any] | None:
        """The loss of a batch, or None for a batch that is left out: it has no gradient, and an
        optimizer step of it alone changes nothing.
        """
        if any((self.current_epoch, batch_index) in batches for batches in self.skipped_batches):
            return None
        self._step_batches.append(batch_index)
        if self._regularizer is None:
            result: ObjectiveOutput = self.objective.forward(self.encoder, batch)
            trained_loss = result.loss
        else:
            result, trained_loss = self._regularizer.compute(self.objective, self.encoder, batch)
        mean = result.loss.detach()
        # Only on the CPU: on a GPU, this would make every step wait for the device.
        if mean.device.type == "cpu" and not torch.isfinite(mean):
            raise NonFiniteLoss(
                f"the loss is {float(mean)} {self._describe_position()}, batch {batch_index}: "
                f"nothing was updated. {NON_FINITE_REMEDIES}",
                self.global_step,
                [(self.current_epoch, batch_index)],
            )
        self._num_targets += result.num_targets
        loss = trained_loss * result.num_targets if self._is_multi_batch_step else trained_loss
        return {"loss": loss, "mean_loss": mean, "count": result.num_targets}

    def _describe_position(self) -> str:
        return f"at optimizer step {self.global_step}, epoch {self.current_epoch}"

    @property
    def _is_multi_batch_step(self) -> bool:
        """True if an optimizer step has several batches, on several ranks or accumulated."""
        return self.trainer.world_size * self.trainer.accumulate_grad_batches > 1

    def check_finite(self) -> None:
        """Raise NonFiniteLoss if an update was skipped on the device."""
        if self._has_skipped_update is not None and bool(self._has_skipped_update):
            raise NonFiniteLoss(
                "the gradient was not finite in one of the last optimizer steps before "
                f"{self.global_step}: that one "
                f"was skipped. {NON_FINITE_REMEDIES}",
                self.global_step,
            )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        if (
            self._has_skipped_update is not None
            and self.global_step % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        ):
            # This waits for the device, but so does TrainingMetrics at the same step.
            self.check_finite()

    def on_validation_start(self) -> None:
        # The weights must be known to be sound before a checkpoint may be kept.
        self.check_finite()

    def _evaluate_batch(self, stage: Stage, batch: Batch) -> ObjectiveOutput:
        result: ObjectiveOutput = self.objective.forward(self.encoder, batch)
        self._get_stage_metrics(stage).update(result)
        return result

    def _get_stage_metrics(self, stage: Stage) -> StageMetrics:
        return cast(StageMetrics, self._metrics[stage])

    def _log_epoch_metrics(self, stage: Stage) -> None:
        """Log the values of an epoch: sums over counts of all ranks, divided once.

        A metric that is not defined, or beyond the range of numbers, is left out of the record, and
        that is said once. Callbacks are given NaN or infinity for it.

        Raises:
            UserError: there was nothing to measure.
            NonFiniteLoss: the loss is not finite.
        """
        metrics = self._get_stage_metrics(stage)
        values = metrics.compute()
        if not math.isfinite(values["loss"]):
            raise NonFiniteLoss(
                f"the loss of the {SPLITS[stage]} split is {values['loss']} "
                f"{self._describe_position()}. {NON_FINITE_REMEDIES}",
                self.global_step,
            )
        values |= self.objective.derive_metrics(values, self.dataset_info)
        for name, value in values.items():
            key = f"{stage}/{name}"
            if not math.isfinite(value) and key not in self.undefined_metrics:
                reason = f"{metrics.explain_undefined(name, value)} (step {self.global_step})"
                self.undefined_metrics[key] = reason
                if self.trainer.is_global_zero:
                    print_line(f"{key} is left out: {reason}")
        metrics.reset()
        # Lightning gets the values for callbacks and the progress bar. The logger gets them
        # directly, because Lightning's own step is one too low at the end of an epoch.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        tensors = {
            f"{stage}/{name}": torch.tensor(value, dtype=dtype, device=self.device)
            for name, value in values.items()
        }
        self.log_dict(tensors, logger=False, prog_bar=stage == "val", sync_dist=False, batch_size=1)
        if self.logger is not None and not self.trainer.sanity_checking:
            defined = {
                f"{stage}/{name}": value for name, value in values.items() if math.isfinite(value)
            }
            self.logger.log_metrics(defined, step=self.global_step)

    def on_validation_epoch_start(self) -> None:
        self._get_stage_metrics("val").use_double_precision()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self._evaluate_batch("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch_metrics("val")

    def on_test_epoch_start(self) -> None:
        self._test_predictions.clear()
        self._get_stage_metrics("test").use_double_precision()

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        result = self._evaluate_batch("test", batch)
        rows = getattr(batch, "row_ids", None)
        if rows is not None:
            self._test_predictions.append(
                (
                    rows.cpu(),
                    result.targets.cpu(),
                    self.objective.to_predictions(result.outputs).cpu(),
                )
            )
        return {"token_scores": result.token_scores}

    def on_test_epoch_end(self) -> None:
        self._log_epoch_metrics("test")

    def predict_step(self, batch: LabelledBatch, batch_index: int) -> tuple[Tensor, ...]:
        """Row ids, targets and predictions, or the scores of masked tokens."""
        result: ObjectiveOutput = self.objective.forward(self.encoder, batch)
        if result.token_scores is not None:
            return result.token_scores
        predictions = self.objective.to_predictions(result.outputs)
        return batch.row_ids.cpu(), result.targets.cpu(), predictions.cpu()

    def collect_test_predictions(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """The row ids [N], targets [N] and predictions ([N, C] probabilities, [N] values, or [N]
        tags of words) of the last test, sorted by row id. None if its rows have no ids.
        """
        if not self._test_predictions:
            return None
        rows, targets, predictions = (
            torch.cat(batches) for batches in zip(*self._test_predictions, strict=True)
        )
        # words of one row stay in their order
        order = rows.argsort(stable=True)
        return rows[order], targets[order], predictions[order]

    def configure_optimizers(self) -> Any:
        optimizer, schedule = build_optimizer(
            self.encoder, self.config, total_steps=self.total_steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Scale the gradient to that of the mean loss over all targets of the step, and clip its
        norm. Lightning calls this before every optimizer step.

        The batches of a step, on several ranks or accumulated, may hold different numbers of
        targets. Each batch therefore has the sum of its losses. Lightning and DDP divide the
        gradient by the number of batches; this undoes that, and divides once by the number of all
        targets. The factor is handed to the optimizer if that can apply it while it reads the
        gradient.
        """
        factor = self._compute_gradient_scale()
        # Taken from the optimizer, which is faster than walking the module tree.
        parameters = (
            parameter for group in optimizer.param_groups for parameter in group["params"]
        )
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        # If the gradient is sharded, this is the norm over all ranks.
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.gradient_norm = whole * factor
        if gradient_clip_val is not None:
            factor = factor * (gradient_clip_val / (self.gradient_norm + 1e-6)).clamp(max=1.0)
        finite = torch.isfinite(self.gradient_norm)
        batches, self._step_batches = self._step_batches, []
        # True if the optimizer itself applies the factor, and itself skips an update.
        scales = hasattr(optimizer, "grad_scale") or getattr(
            optimizer, "_step_supports_amp_scaling", False
        )
        is_watched = whole.device.type == "cpu" or self.global_step <= self.check_finite_until_step
        if (is_watched or (whole is norm and not scales)) and not finite:
            position = (
                f"batch {batches[0]}"
                if len(batches) == 1
                else f"batches {batches[0]} to {batches[-1]}"
            )
            raise NonFiniteLoss(
                f"the gradient is not finite {self._describe_position()}, {position}: nothing was "
                f"updated. {NON_FINITE_REMEDIES}",
                self.global_step,
                [(self.current_epoch, batch_index) for batch_index in batches],
            )
        if whole is norm and scales:
            # The optimizer divides by `grad_scale`, and skips the update if `found_inf` is 1.
            optimizer.grad_scale, optimizer.found_inf = 1 / factor, (~finite).float()
        else:
            torch._foreach_mul_(gradients, factor.nan_to_num(0.0, 0.0, 0.0))
        if whole.is_cuda:
            self._has_skipped_update = (
                ~finite if self._has_skipped_update is None else self._has_skipped_update | ~finite
            )

    def _compute_gradient_scale(self) -> Tensor:
        """The factor that makes the gradient that of the mean over the step's targets."""
        device, targets = self.device, self._num_targets
        self._num_targets = 0
        if not self._is_multi_batch_step:
            return torch.ones((), device=device)
        if self.trainer.world_size > 1:
            sums = torch.stack(
                [
                    torch.full((), float(value), device=device)
                    for value in (targets, self.requested_action)
                ]
            )
            torch.distributed.all_reduce(sums)
            total, self.agreed_action = sums.unbind()
        else:
            # Filled on the device, since a copy to it would have to be waited for.
            total = torch.full((), float(targets), device=device)
        return self.trainer.world_size * self.trainer.accumulate_grad_batches / total.clamp_min(1)
