"""The `model` node: an encoder, its objective and its optimizer, as plain values that are checked.
Nothing heavy is imported before `build`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from src.core.user_errors import UserError, UserErrors
from src.core.validation import NonNegativeInt, validate_init
from src.model.adapter_config import ADAPTER_KEY, Lora
from src.model.encoder_config import Pretrained, Scratch
from src.model.objectives import GeneratorObjective, Objective
from src.model.regularization import Regularization

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
    from torchmetrics import Metric

    from src.model.module import EncoderModule


@runtime_checkable
class OptimizerConfig(Protocol):
    """An optimizer of torch, or a class that builds one and its schedule: as AdamW does."""

    def build(
        self, network: "nn.Module", *, depth: Callable[[str], int], total_steps: int
    ) -> "tuple[Optimizer, LRScheduler]": ...


@runtime_checkable
class MetricConfig(Protocol):
    """A metric of torchmetrics, or a class that builds one: each stage has its own."""

    def build(self) -> "Metric": ...


@validate_init
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """An encoder that is trained on an objective.

    Args:
        encoder: the network, fresh or pretrained.
        objective: what the encoder learns.
        optim: the optimizer and its schedule.
        metrics: metrics in addition to those of the objective, by name. They are logged as
            `val/NAME` and `test/NAME`, and are updated with the outputs and targets of the
            objective.
        fresh_embeddings: how the embeddings of a fresh encoder begin: `random`, or with what stands
            beside each token in the training rows (`cooccurrence`: counts of neighbours,
            factorised, and how often each token occurs as the bias of the output layer). Those of
            a pretrained encoder are never touched.
        freeze: what is not trained: `nothing`, the `embeddings`, the whole `encoder` (only the head
            learns), or a number of layers from below, embeddings included. Frozen parts stay in
            eval mode and out of the optimizer.
        adapter: a few weights to be trained beside a pretrained body that stays as it is
            (`model/adapter=lora`); null: the body is trained.
        regularization: what keeps the training from straying (`model/regularization=mixout`);
            null: nothing but what the optimizer and the objective do.
        lean: compute the encoder with src/model/fast_encoder.py if that knows its family, which is
            faster and gives the same logits. Otherwise transformers computes it, as it does for
            all other families.
        gradient_checkpointing: keep only the values between layers for the backward pass, and
            compute the others again. This takes much less memory and a third more time.
    """

    encoder: Scratch | Pretrained
    objective: Objective
    optim: OptimizerConfig
    metrics: Mapping[str, MetricConfig] = field(default_factory=dict)
    fresh_embeddings: Literal["random", "cooccurrence"] = "random"
    freeze: Literal["nothing", "embeddings", "encoder"] | NonNegativeInt = "nothing"
    adapter: Lora | None = None
    regularization: Regularization | None = None
    lean: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        objective_metrics = self.objective.metric_names
        errors = [
            UserError(
                f"the objective measures {name} itself",
                key=f"model.metrics.{name}",
                expected="another name",
            )
            for name in self.metrics
            if name in objective_metrics
        ]
        errors += [
            UserError(
                key=f"model.metrics.{name}",
                expected="the node of a metric",
                found=type(metric).__name__,
            )
            for name, metric in self.metrics.items()
            if not isinstance(metric, MetricConfig)
        ]
        errors += self._find_adapter_errors()
        if self.freeze == "encoder" and self.objective.head == "denoising":
            errors.append(
                UserError(
                    "the output layer is the embeddings, so nothing would be left to train",
                    key="model.freeze",
                    value=self.freeze,
                    expected="nothing, embeddings or a number of layers",
                    about=("model.objective",),
                )
            )
        if self.freeze == "encoder" and getattr(self.encoder, "reinit_layers", None):
            errors.append(
                UserError(
                    "layers that begin random would stay random, since the body is frozen",
                    key="model.encoder.reinit_layers",
                    value=getattr(self.encoder, "reinit_layers", None),
                    hint="{key}=null or model.freeze=nothing fits",
                    about=("model.freeze",),
                )
            )
        if self.regularization is not None:
            errors += self.regularization.find_errors(
                is_pretrained=isinstance(self.encoder, Pretrained),
                has_adapter=self.adapter is not None,
                is_frozen=self.freeze == "encoder",
                is_checkpointing=self.gradient_checkpointing,
                kind=self.objective.kind,
            )
        if errors:
            raise UserErrors(errors)

    def _find_adapter_errors(self) -> list[UserError]:
        errors = []
        if self.adapter is not None and isinstance(self.encoder, Scratch):
            errors.append(
                UserError(
                    "adapters are trained beside a pretrained body, and this one begins random",
                    key=ADAPTER_KEY,
                    hint="model/encoder=pretrained gives one, {key}=null trains the body itself",
                    about=("model.encoder",),
                )
            )
        if self.adapter is not None and isinstance(self.objective, GeneratorObjective):
            errors.append(
                UserError(
                    "an adapter leaves the embeddings frozen, which a generator is to train",
                    key=ADAPTER_KEY,
                    hint="{key}=null or model=masked_lm fits",
                    about=("model.objective",),
                )
            )
        if self.adapter is not None and self.freeze not in ("nothing", 0):
            errors.append(
                UserError(
                    "an adapter leaves the whole body frozen already",
                    key="model.freeze",
                    value=self.freeze,
                    hint="{key}=nothing or model.adapter=null fits",
                    about=(ADAPTER_KEY,),
                )
            )
        return errors

    @property
    def begins_from_neighbours(self) -> bool:
        """True if embeddings are to begin with what stands beside each token."""
        return self.fresh_embeddings == "cooccurrence" and isinstance(self.encoder, Scratch)

    def with_origin(self, origin: Path | None) -> "ModelConfig":
        """This config with the encoder of the run that `init_from` names.

        Args:
            origin: the model folder of that run; None leaves the config as it is.
        """
        if origin is None:
            return self
        assert isinstance(self.encoder, Pretrained)
        return replace(self, encoder=replace(self.encoder, name_or_path=str(origin)))

    def check(self, origin: Path | None = None, *, max_tokens: int | None = None) -> None:
        """Raise UserError if the encoder is not where the config says, has no head for the
        objective or cannot do what else is asked of it, or if the package that makes adapters is
        not installed.

        Args:
            origin: the model folder of the run that `init_from` names.
            max_tokens: of the data's longest sequence.
        """
        network = self.with_origin(origin).encoder.check(self.objective.head, max_tokens)
        if self.adapter is not None:
            self.adapter.check()
        if network is not None:
            from src.model.trained_parts import check_network

            check_network(network, self)

    def check_kept(self, origin: Path | None = None) -> None:
        """Raise UserError if a run that ends with this objective would leave a model that nothing
        opens as what it is. A hub name is asked once it has been fetched.
        """
        family = self.with_origin(origin).encoder.read_family()
        if family is not None and self.objective.head == "causal_lm":
            from src.model.reading_direction import check_kept_direction

            check_kept_direction(family)

    def build(self, origin: Path | None = None) -> "EncoderModule":
        """The LightningModule, whose weights are built or loaded in `configure_model`."""
        from src.model.module import EncoderModule

        return EncoderModule(self.with_origin(origin))
