"""Optimizers that know what must not decay, which layers learn slower, and how long the run is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from src.model.schedule import rate
from src.terms.bounds import Bound, Fraction, NonNegative, Positive, checked
from src.terms.fault import Fault

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

Beta = Annotated[float, Bound(least=0, below=1)]
Depth = Callable[[str], int]

# Weights that hold several maps of the same input one above the other: ModernBERT's, by the end of their names.
_STACKED = {".Wqkv.weight": 3, ".mlp.Wi.weight": 2}


@checked
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), none of it on norms and biases.

    Args:
        lr: the highest learning rate, reached after the warm-up.
        warmup_fraction: of all optimizer steps, from 0 up to `lr` in a straight line.
        schedule: the way down to 0 after the warm-up; `constant` stays; `wsd` stays until its decay (Hu et al., 2024).
        decay_fraction: of all optimizer steps, for the decay that ends `wsd`.
        decay_shape: of that decay: `linear`, or `sqrt` for 1 - sqrt (Hägele et al., 2024).
        layer_decay: each layer learns by this factor slower than the one above it (Sun et al., 2019, section 5.3.2;
            1 leaves all alike); the head always learns at `lr`.
    """

    lr: Annotated[float, Bound(above=0, most=1)]
    weight_decay: NonNegative = 0.01
    warmup_fraction: Fraction = 0.06
    schedule: Literal["linear", "cosine", "constant", "wsd"] = "linear"
    decay_fraction: Fraction = 0.2
    decay_shape: Literal["linear", "sqrt"] = "sqrt"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: Positive = 1e-8

    def build(self, network: "nn.Module", *, depth: Depth, total_steps: int) -> tuple["Optimizer", "LRScheduler"]:
        """Optimizer and schedule (stepped once an optimizer step) over what is trained.

        Args:
            network: every parameter that requires a gradient is trained.
            depth: layers between a parameter, named as in `named_parameters`, and the head (0: the head itself).
            total_steps: optimizer steps of the whole run.
        """
        import torch
        from torch.optim.lr_scheduler import LambdaLR

        optimizer = torch.optim.AdamW(
            _groups(network, depth, {}, lr=self.lr, weight_decay=self.weight_decay, layer_decay=self.layer_decay),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=True,  # one kernel for all parameters: a third of the time of the plain loop
        )
        return optimizer, LambdaLR(optimizer, self.factor(total_steps))

    def factor(self, total_steps: int) -> Callable[[int], float]:
        """The share of the highest rate at each step, counted from 0."""
        return rate(
            self.schedule,
            total_steps,
            warmup_fraction=self.warmup_fraction,
            decay_fraction=self.decay_fraction,
            decay_shape=self.decay_shape,
        )


@checked
@dataclass(frozen=True, kw_only=True)
class Muon:
    """Momentum made orthogonal for the weight matrices of the body (Jordan et al., 2024), AdamW for the rest.

    Updates have the size of AdamW's (Liu et al., 2025, section 2.2), so a learning rate and a weight decay found for
    `adamw` are good here too. Embeddings, the head, norms and biases are AdamW's. A step costs as many products as five
    more tokens for each unit of width (3,840 tokens at a width of 768): little beside large batches, much beside small.

    Args:
        lr: the highest learning rate of everything, reached after the warm-up.
        momentum: share of the old average in the new one, for matrices.
        warmup_fraction: of all optimizer steps, from 0 up to `lr` in a straight line.
        schedule: the way down to 0 after the warm-up; `constant` stays; `wsd` stays until its decay (Hu et al., 2024).
        decay_fraction: of all optimizer steps, for the decay that ends `wsd`.
        decay_shape: of that decay: `linear`, or `sqrt` for 1 - sqrt (Hägele et al., 2024).
        layer_decay: each layer learns by this factor slower than the one above it.
        beta1, beta2, eps: AdamW's.
    """

    lr: Annotated[float, Bound(above=0, most=1)]
    weight_decay: NonNegative = 0.01
    momentum: Beta = 0.95
    warmup_fraction: Fraction = 0.06
    schedule: Literal["linear", "cosine", "constant", "wsd"] = "linear"
    decay_fraction: Fraction = 0.2
    decay_shape: Literal["linear", "sqrt"] = "sqrt"
    layer_decay: Annotated[float, Bound(above=0, most=1)] = 1.0
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: Positive = 1e-8

    def build(self, network: "nn.Module", *, depth: Depth, total_steps: int) -> tuple["Optimizer", "LRScheduler"]:
        """Optimizer and schedule, as `AdamW.build` gives them."""
        from torch.optim.lr_scheduler import LambdaLR

        from src.model.muon import MuonAdamW

        kinds = _matrices(network, depth)
        if not any(kind.get("muon") for kind in kinds.values()):
            raise Fault(
                "model.optim=muon finds no whole weight matrix to train in the body: it is frozen (model.freeze) or "
                "split among devices (trainer.strategy=fsdp); model/optim=adamw would train"
            )
        optimizer = MuonAdamW(
            _groups(network, depth, kinds, lr=self.lr, weight_decay=self.weight_decay, layer_decay=self.layer_decay),
            lr=self.lr,
            momentum=self.momentum,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
        )
        return optimizer, LambdaLR(optimizer, self.factor(total_steps))

    def factor(self, total_steps: int) -> Callable[[int], float]:
        """The share of the highest rate at each step, counted from 0."""
        return rate(
            self.schedule,
            total_steps,
            warmup_fraction=self.warmup_fraction,
            decay_fraction=self.decay_fraction,
            decay_shape=self.decay_shape,
        )


def _matrices(network: "nn.Module", depth: Depth) -> dict[str, dict[str, Any]]:
    """For each parameter by name, whether it is a matrix of the body, and how many maps it holds."""
    from torch import nn

    looked_up = {id(each.weight) for each in network.modules() if isinstance(each, nn.Embedding)}
    kinds: dict[str, dict[str, Any]] = {}
    for name, weight in network.named_parameters(remove_duplicate=False):
        whole = weight.ndim == 2 and not hasattr(weight, "placements")  # a shard has no singular vectors of the whole
        muon = whole and weight.requires_grad and depth(name) > 0 and id(weight) not in looked_up
        parts = next((count for end, count in _STACKED.items() if f".{name}".endswith(end)), 1)
        kinds[name] = {"muon": True, "parts": parts} if muon else {"muon": False}
    return kinds


def _groups(
    network: "nn.Module",
    depth: Depth,
    kinds: Mapping[str, dict[str, Any]],
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float,
) -> list[dict[str, Any]]:
    """Parameter groups of one rate, decay and kind each, over what requires a gradient."""
    depths: dict[nn.Parameter, int] = {}
    kind_of: dict[nn.Parameter, dict[str, Any]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:  # tied weights have two names, and stand as deep as the deeper
            depths[parameter] = max(depth(name), depths.get(parameter, 0))
            kind_of[parameter] = kinds.get(name, {})
    groups: dict[str, dict[str, Any]] = {}
    for parameter, below in depths.items():
        settings = {
            "lr": lr * layer_decay**below,
            "weight_decay": weight_decay if parameter.ndim > 1 else 0.0,
            **kind_of[parameter],
        }
        groups.setdefault(repr(settings), {"params": [], **settings})["params"].append(parameter)
    return list(groups.values())
