"""Penalties and noise that keep a fine-tuning from straying: applied while training, never in
evaluation.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveFloat, validate_init

if TYPE_CHECKING:
    from torch import Tensor, nn

    from src.model.encoder import Encoder
    from src.model.objectives import Objective, ObjectiveOutput

REGULARIZATION_KEY = "model.regularization"
_GUESSING_TASKS = ("masked_lm", "masked_lm_with_next_sentence", "denoising")


@validate_init
@dataclass(frozen=True, kw_only=True)
class Regularization:
    """What is added to the objective in training. `train/loss` stays that of the objective alone.

    AdamW's `weight_decay` pulls towards 0, against `l2_sp` and `mixout`, so it should be 0 beside
    them.

    Args:
        l1: times the sum of the absolute values of all trained matrices, added to the loss.
        l2: times half the sum of their squares, added to the loss; it goes through AdamW's moments,
            which `model.optim.weight_decay` does not.
        l2_sp: times half the sum of the squared distances of trained weights from their pretrained
            values, added to the loss (Li et al., 2018: L2-SP). Weights that begin random have none.
        mixout: probability with which an entry of a weight matrix in a layer of the body is put
            back to its pretrained value for one batch (Lee et al., 2020).
        adversarial: norm of the change of the word embeddings, in the direction in which the loss
            grows fastest, under which a batch is learnt a second time (Miyato et al., 2017, on the
            table of embeddings instead of each text's; known as FGM). About twice the time.
    """

    l1: PositiveFloat | None = None
    l2: PositiveFloat | None = None
    l2_sp: PositiveFloat | None = None
    mixout: Annotated[float, Bound(above=0, below=1)] | None = None
    adversarial: PositiveFloat | None = None

    def find_errors(
        self,
        *,
        is_pretrained: bool,
        has_adapter: bool,
        is_frozen: bool,
        is_checkpointing: bool,
        kind: str,
    ) -> list[UserError]:
        """The errors of what does not go with the rest of a model's config."""
        errors = []
        for name in ("l2_sp", "mixout"):
            reason, about = "", "model.encoder"
            if has_adapter:
                reason, about = "beside an adapter the body stays as it is", "model.adapter"
            elif not is_pretrained:
                reason = "there are no pretrained weights to keep near to"
            elif is_frozen:
                reason, about = "a frozen body stays as it is", "model.freeze"
            if getattr(self, name) is not None and reason:
                errors.append(
                    UserError(
                        reason,
                        key=f"{REGULARIZATION_KEY}.{name}",
                        hint="{key}=null fits",
                        about=(about,),
                    )
                )
        if self.mixout is not None and is_checkpointing:
            errors.append(
                UserError(
                    "with model.gradient_checkpointing=true layers are computed twice, and other "
                    "entries would be put back the second time",
                    key=f"{REGULARIZATION_KEY}.mixout",
                    hint="model.gradient_checkpointing=false fits",
                    about=("model.gradient_checkpointing",),
                )
            )
        if self.adversarial is not None and kind in _GUESSING_TASKS:
            errors.append(
                UserError(
                    "words that are to be guessed are not changed adversarially",
                    key=f"{REGULARIZATION_KEY}.adversarial",
                    hint="{key}=null fits",
                    about=("model.objective",),
                )
            )
        return errors

    def build(self, encoder: "Encoder") -> "Regularizer":
        """Take the weights of an encoder as they are now for its pretrained ones."""
        return Regularizer(self, encoder)


class Regularizer:
    """The regularization of one encoder, with its pretrained weights where they are needed."""

    def __init__(self, config: Regularization, encoder: "Encoder") -> None:
        from torch import nn

        from src.model.layer_stack import find_body_prefix

        self._config = config
        # by the parameter; detached copies
        self._origins: dict[nn.Parameter, Tensor] = {}
        loaded = encoder.loaded_weights
        fresh = set(loaded.fresh) if loaded is not None else set()
        body = find_body_prefix(encoder.network)
        named = encoder.network.named_parameters()
        stored = {weight for name, weight in named if name.startswith(body) and name not in fresh}
        self._mixed_layers: list[Any] = [
            module
            for layer in (encoder.get_layers() if config.mixout is not None else ())
            for module in layer.modules()
            if isinstance(module, nn.Linear) and module.weight.requires_grad
        ]
        if config.l2_sp is not None:
            self._keep_origins(weight for weight in stored if weight.requires_grad)
        if config.mixout is not None:
            self._keep_origins(module.weight for module in self._mixed_layers)

    def _keep_origins(self, weights: "Iterable[nn.Parameter]") -> None:
        for weight in weights:
            self._origins.setdefault(weight, weight.detach().clone())

    def _get_origin(self, weight: "nn.Parameter") -> "Tensor":
        # it was taken before the module went to its device
        if self._origins[weight].device != weight.device:
            self._origins[weight] = self._origins[weight].to(weight.device)
        return self._origins[weight]

    def compute(
        self, objective: "Objective", encoder: "Encoder", batch: Any
    ) -> "tuple[ObjectiveOutput, Tensor]":
        """What the objective gives for a batch, and the loss that is to be trained on."""
        import torch

        words: Any = encoder.network.get_input_embeddings()
        with _replaced_weights(self._mix_weights()):
            if self._config.adversarial is None:
                result: ObjectiveOutput = objective.forward(encoder, batch)
                return result, result.loss + self._penalty(encoder)
            change = torch.zeros_like(words.weight, requires_grad=True)
            with _replaced_weights({words: words.weight + change}):
                result = objective.forward(encoder, batch)
            (gradient,) = torch.autograd.grad(result.loss, change, retain_graph=True)
            step = self._config.adversarial * gradient / gradient.norm().clamp_min(1e-12)
            with _replaced_weights({words: words.weight + step}):
                attacked: ObjectiveOutput = objective.forward(encoder, batch)
        return result, result.loss + attacked.loss + self._penalty(encoder)

    def _mix_weights(self) -> "dict[nn.Module, Tensor]":
        """Weights [R, C] with some entries as pretrained, scaled so that the mean is unchanged (Lee
        et al., 2020, equation 4).
        """
        import torch

        p = self._config.mixout
        if p is None:
            return {}
        mixed: dict[nn.Module, Tensor] = {}
        for module in self._mixed_layers:
            weight, origin = module.weight, self._get_origin(module.weight)
            is_kept = torch.empty_like(weight).bernoulli_(1 - p)
            mixed[module] = origin + is_kept * (weight - origin) / (1 - p)
        return mixed

    def _penalty(self, encoder: "Encoder") -> "Tensor | float":
        penalty: Tensor | float = 0.0
        config = self._config
        matrices = [
            weight for weight in encoder.parameters() if weight.requires_grad and weight.ndim > 1
        ]
        if config.l1 is not None:
            penalty = penalty + config.l1 * sum(weight.abs().sum() for weight in matrices)
        if config.l2 is not None:
            penalty = penalty + config.l2 / 2 * sum(weight.square().sum() for weight in matrices)
        if config.l2_sp is not None:
            trained = [weight for weight in self._origins if weight.requires_grad]
            distances = (weight - self._get_origin(weight) for weight in trained)
            penalty = penalty + config.l2_sp / 2 * sum(part.square().sum() for part in distances)
        return penalty


@contextmanager
def _replaced_weights(weights: "Mapping[nn.Module, Tensor]") -> Iterator[None]:
    """Let modules compute with other weights, through which gradients reach their own."""
    own = {module: module._parameters["weight"] for module in weights}
    try:
        for module, weight in weights.items():
            module._parameters["weight"] = weight  # type: ignore[assignment]
        yield
    finally:
        for module, parameter in own.items():
            module._parameters["weight"] = parameter
