"""Muon: matrices move along the nearest orthogonal matrix to their momentum; everything else moves by AdamW.

Shape legend: N matrices of one shape, R rows and C columns of each.

Matrices of one shape are orthogonalised together, so that a network of any depth costs a handful of kernels a step.
One object holds both rules, because Lightning steps one optimizer by itself and a checkpoint then has one state.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

Quintic = tuple[float, float, float]

# Amsel et al. (2025), "The Polar Express", algorithm 1 with five iterations and a safety factor of 1.02: for each
# iteration the odd quintic aX + bXX'X + c(XX')^2 X that brings the singular values of the worst matrix closest to 1.
POLAR_EXPRESS: tuple[Quintic, ...] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
SAFETY = 1.02
# Liu et al. (2025), section 2.2: an orthogonal R x C matrix has entries of root mean square 1 / sqrt(max(R, C)), an
# AdamW update 0.2 to 0.4. At the same size, AdamW's learning rate and weight decay carry over.
ADAM_RMS = 0.2


def orthogonalised(
    matrices: Tensor, *, dtype: torch.dtype, iterations: Sequence[Quintic] = POLAR_EXPRESS, safety: float = SAFETY
) -> Tensor:
    """Each of [N, R, C] with its singular vectors kept and its singular values brought close to 1.

    Args:
        dtype: of the products; the method bears bf16 (Jordan et al., 2024).
        iterations: coefficients of each step.
        safety: how far the Frobenius norm, a bound of the largest singular value, is divided below 1 against rounding.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    norms = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    x = (matrices / (norms * safety + 1e-7)).to(dtype)
    x = x.mT.contiguous() if tall else x  # the products below are as large as the shorter side squared
    for a, b, c in iterations:
        gram = torch.bmm(x, x.mT)
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, step, x, beta=a)
    return x.mT if tall else x


def product_dtype(device: torch.device) -> torch.dtype:
    """bf16 where matrix units or vector instructions for it exist, else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    units = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    fast = device.type == "cpu" and any(known() for known in units if known is not None)
    return torch.bfloat16 if fast else torch.float32


class _Matrix(NamedTuple):
    """A block of a parameter that is orthogonalised by itself, with what belongs to it."""

    weight: Tensor  # [R, C], like the next two a view
    gradient: Tensor
    momentum: Tensor
    rate: float
    decay: float


class MuonAdamW(Optimizer):
    """Muon (Jordan et al., 2024) with AdamW for what is no matrix of the body.

    Each parameter group has `muon`: true for weights [parts * R, C] that hold `parts` matrices one above the other
    (ModernBERT's query, key and value are one weight, but three maps), false for AdamW. `lr` and `weight_decay` mean
    the same in both.

    Like torch's fused optimizers it looks at two attributes of its own: gradients are divided by `grad_scale`, and
    nothing at all is updated where `found_inf` is not 0; both are
    scalar tensors, and neither is read by the host.

    Args:
        momentum: share of the old average in the new one; the update looks one step ahead (Nesterov).
        iterations: coefficients of the orthogonalisation, and `safety` its distance from 1.
        dtype: of its products; null takes `product_dtype`.
    """

    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        iterations: Sequence[Quintic] = POLAR_EXPRESS,
        safety: float = SAFETY,
        dtype: torch.dtype | None = None,
    ) -> None:
        shared = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(params, {**shared, "muon": False, "parts": 1, "fused": True})
        self._momentum, self._iterations, self._safety, self._dtype = momentum, iterations, safety, dtype
        for group in self.param_groups:
            for weight in group["params"] if group["muon"] else ():
                if weight.ndim != 2 or weight.shape[0] % group["parts"]:
                    raise ValueError(f"a weight of shape {tuple(weight.shape)} is not {group['parts']} matrices")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure` computes the loss and its gradients before it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        matrices: dict[tuple[torch.Size, torch.device], list[_Matrix]] = {}
        for group in self.param_groups:
            if not group["muon"]:
                self._adamw(group)
                continue
            for matrix in self._matrices(group):
                matrices.setdefault((matrix.weight.shape, matrix.weight.device), []).append(matrix)
        for alike in matrices.values():
            self._muon(alike)
        return loss

    def _matrices(self, group: dict[str, Any]) -> Iterable[_Matrix]:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            blocks = (each.chunk(group["parts"]) for each in (weight, weight.grad, state["momentum"]))
            for part, gradient, momentum in zip(*blocks, strict=True):
                yield _Matrix(part, gradient, momentum, group["lr"], group["weight_decay"])

    def _muon(self, matrices: list[_Matrix]) -> None:
        weights, gradients, momenta, rates, decays = zip(*matrices, strict=True)
        gradient, old = torch.stack(gradients), torch.stack(momenta)  # [N, R, C]
        if self.grad_scale is not None:
            gradient /= self.grad_scale
        momentum = old.lerp(gradient, 1 - self._momentum)
        update = gradient.lerp(momentum, self._momentum)
        skip = None if self.found_inf is None else self.found_inf != 0
        if skip is not None:  # what is not finite passes no further than here
            momentum = torch.where(skip, old, momentum)
            update = torch.where(skip, 0, update)
        torch._foreach_copy_(momenta, momentum.unbind())
        dtype = self._dtype or product_dtype(update.device)
        update = orthogonalised(update, dtype=dtype, iterations=self._iterations, safety=self._safety)
        update = update.to(gradient.dtype, memory_format=torch.contiguous_format)
        scale = ADAM_RMS * max(update.shape[-2:]) ** 0.5
        steps = torch._foreach_mul(update.unbind(), [-rate * scale for rate in rates])
        shrinking = torch._foreach_mul(weights, [-rate * decay for rate, decay in zip(rates, decays, strict=True)])
        if skip is not None:
            torch._foreach_mul_(shrinking, (~skip).to(update.dtype))
        torch._foreach_add_(weights, shrinking)
        torch._foreach_add_(weights, steps)

    def _adamw(self, group: dict[str, Any]) -> None:
        trained = [weight for weight in group["params"] if weight.grad is not None]
        for weight in trained:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        columns = [[self.state[weight][name] for weight in trained] for name in ("exp_avg", "exp_avg_sq", "step")]
        adamw(
            trained,
            [weight.grad for weight in trained],
            columns[0],
            columns[1],
            [],
            columns[2],
            fused=group["fused"],
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
