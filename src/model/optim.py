"""Configs of optimizers: which parameters decay, which layers learn more slowly, and how the
learning rate changes over a run.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from src.core.user_errors import UserError
from src.core.validation import Bound, Fraction, NonNegativeFloat, PositiveFloat, validate_init

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


ScheduleName = Literal["linear", "cosine", "constant", "wsd"]
DecayShape = Literal["linear", "sqrt"]
Beta = Annotated[float, Bound(least=0, below=1)]
# a parameter's name to the number of layers between the parameter and the head
DepthFunction = Callable[[str], int]

# Weights that hold several maps of the same input one above the other: ModernBERT's, by the end of
# their names.
_STACKED_WEIGHTS = {".Wqkv.weight": 3, ".mlp.Wi.weight": 2}


@validate_init
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), none of it on norms and
    biases.

    Args:
        lr: the highest learning rate, reached after the warm-up.
        weight_decay: share of a weight, times the learning rate, that it loses at each step.
        warmup_fraction: share of all optimizer steps in which the rate rises from 0 to `lr` in a
            straight line.
        schedule: after the warm-up, `linear` and `cosine` fall to 0 over the rest of the run,
            `constant` stays, and `wsd` (warm-up, stable, decay; Hu et al., 2024, section 4) stays
            until its decay begins.
        decay_fraction: share of all optimizer steps for the decay that ends `wsd`; shortened where
            the warm-up leaves less.
        decay_shape: of that decay: `linear`, or `sqrt`, which falls as 1 - sqrt(share of the decay
            that is over) (Hägele et al., 2024, section 3, who found it better than linear).
        layer_decay: each layer's rate is that of the layer above it times this (Sun et al., 2019,
            section 5.3.2); 1 leaves all alike. The head always learns at its own rate.
        head_lr: the highest rate of the head, pooler included; null: `lr`.
        beta1: share of the old average in the new one, of gradients.
        beta2: share of the old average in the new one, of squared gradients.
        eps: added to the divisor, so that it is never 0.
    """

    lr: Annotated[float, Bound(above=0, most=1)]
    weight_decay: NonNegativeFloat = 0.01
    warmup_fraction: Fraction = 0.06
    schedule: ScheduleName = "linear"
    decay_fraction: Fraction = 0.2
    decay_shape: DecayShape = "sqrt"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    head_lr: PositiveFloat | None = None
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: PositiveFloat = 1e-8

    def build(
        self, network: "nn.Module", *, depth: DepthFunction, total_steps: int
    ) -> tuple["Optimizer", "LRScheduler"]:
        """Build the optimizer, and its schedule, which is stepped once an optimizer step.

        Args:
            network: every parameter that requires a gradient is trained.
            depth: layers between a parameter, named as in `named_parameters`, and the head; 0 for
                the head itself.
            total_steps: optimizer steps of the whole run.
        """
        import torch
        from torch.optim.lr_scheduler import LambdaLR

        optimizer = torch.optim.AdamW(
            _build_param_groups(self, network, depth, {}),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            # one kernel for all parameters: a third of the time of the plain loop
            fused=True,
        )
        return optimizer, LambdaLR(optimizer, build_lr_lambda(self, total_steps))


@validate_init
@dataclass(frozen=True, kw_only=True)
class Muon:
    """Orthogonalised momentum for the weight matrices of the body (Jordan et al., 2024), AdamW for
    the rest: embeddings, the head, norms and biases.

    Updates have the size of AdamW's (Liu et al., 2025, section 2.2), so a learning rate and a
    weight decay that were found for `adamw` are good here too. A step costs as many products as
    five more tokens for each unit of width (3,840 tokens at a width of 768): little beside large
    batches, much beside small ones.

    Args:
        lr: the highest learning rate of all parameters, reached after the warm-up.
        momentum: share of the old average in the new one, for matrices.
        cautious_decay: let an entry of a matrix decay only where its update does not lead it away
            from 0 (Chen et al., 2025).
        beta1, beta2, eps: of AdamW, for all other parameters.
        weight_decay, warmup_fraction, schedule: as in `AdamW`.
        decay_fraction, decay_shape, layer_decay, head_lr: as in `AdamW`.
    """

    lr: Annotated[float, Bound(above=0, most=1)]
    weight_decay: NonNegativeFloat = 0.01
    cautious_decay: bool = False
    momentum: Beta = 0.95
    warmup_fraction: Fraction = 0.06
    schedule: ScheduleName = "linear"
    decay_fraction: Fraction = 0.2
    decay_shape: DecayShape = "sqrt"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    head_lr: PositiveFloat | None = None
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: PositiveFloat = 1e-8

    def build(
        self, network: "nn.Module", *, depth: DepthFunction, total_steps: int
    ) -> tuple["Optimizer", "LRScheduler"]:
        """Build optimizer and schedule, with the arguments of `AdamW.build`. Raises UserError if
        the body has no matrix to train.
        """
        from torch.optim.lr_scheduler import LambdaLR

        from src.model.muon import MuonAdamW

        rules = _choose_update_rules(network, depth)
        if not any(rule["muon"] for rule in rules.values()):
            raise UserError(
                "model/optim=muon finds no whole weight matrix to train in the body: it is frozen "
                "(model.freeze) or split among devices (trainer.strategy=fsdp); model/optim=adamw "
                "would train"
            )
        optimizer = MuonAdamW(
            _build_param_groups(self, network, depth, rules),
            lr=self.lr,
            momentum=self.momentum,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            cautious_decay=self.cautious_decay,
        )
        return optimizer, LambdaLR(optimizer, build_lr_lambda(self, total_steps))


@validate_init
@dataclass(frozen=True, kw_only=True)
class LibraryOptimizer:
    """An optimizer class of a library or of the user, named in a config, with the parameter groups
    and the schedule of ours.

    The class must take parameter groups. Keys of the config that are not among these are arguments
    of the class.

    Args:
        cls: a class of torch, or one that inherits from `torch.optim.Optimizer`.
        arguments: of its constructor, without those here.
        lr: the highest learning rate, reached after the warm-up.
        weight_decay: not applied to norms and biases; null: the class's default, applied to all
            parameters.
        warmup_fraction, schedule, decay_fraction, decay_shape, layer_decay, head_lr: as in `AdamW`.

    Raises UserError if the class has no weight decay but one is given, and whatever the class
    raises against its arguments.
    """

    # arguments of the class that a config does not give
    provides: ClassVar[tuple[str, ...]] = ("params",)

    cls: Callable[..., Any]
    arguments: Mapping[str, Any]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat | None = None
    warmup_fraction: Fraction = 0.06
    schedule: ScheduleName = "linear"
    decay_fraction: Fraction = 0.2
    decay_shape: DecayShape = "sqrt"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    head_lr: PositiveFloat | None = None

    def __post_init__(self) -> None:
        from torch import nn

        if self.weight_decay is not None and "weight_decay" not in signature(self.cls).parameters:
            raise UserError(f"weight_decay={self.weight_decay}, but {self.cls.__name__} has none")
        # the class checks its arguments
        self.build(nn.Linear(1, 1), depth=lambda name: 0, total_steps=1)

    def build(
        self, network: "nn.Module", *, depth: DepthFunction, total_steps: int
    ) -> tuple["Optimizer", "LRScheduler"]:
        """Build optimizer and schedule, with the arguments of `AdamW.build`."""
        from torch.optim.lr_scheduler import LambdaLR

        groups = _build_param_groups(self, network, depth, {})
        if self.weight_decay is None:
            for group in groups:
                del group["weight_decay"]
        optimizer = self.cls(groups, lr=self.lr, **self.arguments)
        return optimizer, LambdaLR(optimizer, build_lr_lambda(self, total_steps))


OptimizerConfig = AdamW | Muon | LibraryOptimizer


def build_lr_lambda(optim: OptimizerConfig, total_steps: int) -> Callable[[int], float]:
    """The share of the highest rate as a function of the optimizer step, counted from 0; a step
    after the last of `total_steps` has 0.
    """
    warmup_steps = round(optim.warmup_fraction * total_steps)
    decay_steps = max(1, total_steps - warmup_steps)
    if optim.schedule == "wsd":
        decay_steps = min(decay_steps, max(1, round(optim.decay_fraction * total_steps)))

    def share_at(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if optim.schedule == "constant":
            return 1.0
        remaining = min(1.0, max(0.0, (total_steps - step) / decay_steps))
        if optim.schedule == "cosine":
            return 0.5 * (1 - math.cos(math.pi * remaining))
        if optim.schedule == "wsd" and optim.decay_shape == "sqrt":
            return 1 - math.sqrt(1 - remaining)
        return remaining

    return share_at


def _choose_update_rules(network: "nn.Module", depth: DepthFunction) -> dict[str, dict[str, Any]]:
    """For each parameter by name: if Muon updates it, and as how many matrices."""
    from torch import nn

    embeddings = (module for module in network.modules() if isinstance(module, nn.Embedding))
    looked_up = {id(embedding.weight) for embedding in embeddings}
    rules: dict[str, dict[str, Any]] = {}
    for name, weight in network.named_parameters(remove_duplicate=False):
        # a shard does not have the singular vectors of the whole matrix
        is_whole_matrix = weight.ndim == 2 and not hasattr(weight, "placements")
        if (
            is_whole_matrix
            and weight.requires_grad
            and depth(name) > 0
            and id(weight) not in looked_up
        ):
            counts = (count for end, count in _STACKED_WEIGHTS.items() if f".{name}".endswith(end))
            rules[name] = {"muon": True, "parts": next(counts, 1)}
        else:
            rules[name] = {"muon": False}
    return rules


def _build_param_groups(
    optim: OptimizerConfig,
    network: "nn.Module",
    depth: DepthFunction,
    rules: Mapping[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    """Groups of the parameters that require a gradient, each with one rate, decay and rule."""
    head_lr = optim.lr if optim.head_lr is None else optim.head_lr
    depths: dict[nn.Parameter, int] = {}
    rule_of: dict[nn.Parameter, dict[str, Any]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        # tied weights have two names, and the depth of the deeper one
        if parameter.requires_grad:
            depths[parameter] = max(depth(name), depths.get(parameter, 0))
            rule_of[parameter] = rules.get(name, {})
    groups: dict[str, dict[str, Any]] = {}
    for parameter, layers_above in depths.items():
        settings = {
            "lr": head_lr if layers_above == 0 else optim.lr * optim.layer_decay**layers_above,
            "weight_decay": (optim.weight_decay or 0.0) if parameter.ndim > 1 else 0.0,
            **rule_of[parameter],
        }
        groups.setdefault(repr(settings), {"params": [], **settings})["params"].append(parameter)
    return list(groups.values())
