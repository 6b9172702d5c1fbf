"""Muon: a matrix moves along the orthogonal matrix that is nearest to its momentum; all other
parameters move by AdamW.

Matrices of one shape are orthogonalised together, so that a network of any depth costs a handful of
kernels a step. One optimizer holds both rules: Lightning steps a single optimizer by itself, and a
checkpoint then has one state.

Shape legend: N matrices of one shape, R rows and C columns of each.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

QuinticCoefficients = tuple[float, float, float]

# Amsel et al. (2025), "The Polar Express", algorithm 1 with five iterations and a safety factor of
# 1.02: for each iteration the coefficients a, b, c of the odd quintic aX + bXX'X + c(XX')^2 X that
# brings the singular values of the worst matrix closest to 1.
POLAR_EXPRESS: tuple[QuinticCoefficients, ...] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
NORM_SAFETY_FACTOR = 1.02
# Liu et al. (2025), section 2.2: the entries of an orthogonal R x C matrix have a root mean square
# of 1 / sqrt(max(R, C)), those of an AdamW update 0.2 to 0.4. At the same size, AdamW's learning
# rate and weight decay carry over.
ADAM_RMS = 0.2


def orthogonalise_matrices(
    matrices: Tensor,
    *,
    dtype: torch.dtype,
    iterations: Sequence[QuinticCoefficients] = POLAR_EXPRESS,
    safety: float = NORM_SAFETY_FACTOR,
) -> Tensor:
    """Each of the matrices [N, R, C] with its singular vectors kept and its singular values brought
    close to 1.

    Args:
        dtype: of the products; the method tolerates bf16 (Jordan et al., 2024).
        iterations: coefficients of each step.
        safety: a matrix is first divided by its Frobenius norm, a bound of the largest singular
            value, times this factor, so that rounding lifts no singular value above 1.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    norms = torch.linalg.vector_norm(matrices, dim=(-2, -1), keepdim=True)
    x = (matrices / (norms * safety + 1e-7)).to(dtype)
    # the products below have the size of the first side squared
    x = x.mT.contiguous() if is_tall else x
    for a, b, c in iterations:
        gram = torch.bmm(x, x.mT)
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, step, x, beta=a)
    return x.mT if is_tall else x


def choose_matmul_dtype(device: torch.device) -> torch.dtype:
    """bf16 if the device has matrix units or vector instructions for it, else fp32."""
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        checks = (
            getattr(torch.cpu, f"_is_{name}_supported", None)
            for name in ("avx512_bf16", "amx_tile")
        )
        has_bf16 = device.type == "cpu" and any(check() for check in checks if check is not None)
    return torch.bfloat16 if has_bf16 else torch.float32


class _Matrix(NamedTuple):
    """A block of a parameter that is orthogonalised by itself. Its tensors [R, C] are views."""

    weight: Tensor
    gradient: Tensor
    momentum: Tensor
    lr: float
    weight_decay: float


class MuonAdamW(Optimizer):
    """Muon (Jordan et al., 2024), with AdamW for all parameters that are no matrix of the body.

    Each parameter group has `muon`: true for weights [parts * R, C] that hold `parts` matrices one
    above the other (ModernBERT's query, key and value are one weight, but three maps), false for
    AdamW. `lr` and `weight_decay` mean the same in both.

    Like torch's fused optimizers it reads two of its own attributes: gradients are divided by
    `grad_scale`, and nothing at all is updated if `found_inf` is not 0. Both are scalar tensors
    that the host never reads.

    Args:
        params: groups of parameters.
        momentum: share of the old average in the new one; the update looks one step ahead
            (Nesterov).
        betas, eps: of AdamW.
        iterations, safety: of `orthogonalise_matrices`.
        cautious_decay: let an entry of a matrix decay only where its update does not lead it away
            from 0 (Chen et al., 2025, algorithm 1).
        dtype: of its products; None takes that of `choose_matmul_dtype`.
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
        iterations: Sequence[QuinticCoefficients] = POLAR_EXPRESS,
        safety: float = NORM_SAFETY_FACTOR,
        cautious_decay: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        shared = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        super().__init__(params, {**shared, "muon": False, "parts": 1, "fused": True})
        self._momentum = momentum
        self._iterations = iterations
        self._safety = safety
        self._cautious_decay = cautious_decay
        self._dtype = dtype
        for group in self.param_groups:
            for weight in group["params"] if group["muon"] else ():
                if weight.ndim != 2 or weight.shape[0] % group["parts"]:
                    raise ValueError(
                        f"a weight of shape {tuple(weight.shape)} is not {group['parts']} matrices"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters; `closure` computes the loss and its gradients before that."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        matrices: dict[tuple[torch.Size, torch.device], list[_Matrix]] = {}
        for group in self.param_groups:
            if not group["muon"]:
                self._apply_adamw(group)
                continue
            for matrix in self._collect_matrices(group):
                matrices.setdefault((matrix.weight.shape, matrix.weight.device), []).append(matrix)
        for same_shape in matrices.values():
            self._apply_muon(same_shape)
        return loss

    def _collect_matrices(self, group: dict[str, Any]) -> Iterable[_Matrix]:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            tensors = (weight, weight.grad, state["momentum"])
            blocks = (tensor.chunk(group["parts"]) for tensor in tensors)
            for part, gradient, momentum in zip(*blocks, strict=True):
                yield _Matrix(part, gradient, momentum, group["lr"], group["weight_decay"])

    def _apply_muon(self, matrices: list[_Matrix]) -> None:
        weights, gradients, momenta, rates, decays = zip(*matrices, strict=True)
        gradient, old = torch.stack(gradients), torch.stack(momenta)  # [N, R, C]
        if self.grad_scale is not None:
            gradient /= self.grad_scale
        momentum = old.lerp(gradient, 1 - self._momentum)
        update = gradient.lerp(momentum, self._momentum)
        skip = None if self.found_inf is None else self.found_inf != 0
        # numbers that are not finite go no further
        if skip is not None:
            momentum = torch.where(skip, old, momentum)
            update = torch.where(skip, 0, update)
        torch._foreach_copy_(momenta, momentum.unbind())
        dtype = self._dtype or choose_matmul_dtype(update.device)
        update = orthogonalise_matrices(
            update, dtype=dtype, iterations=self._iterations, safety=self._safety
        )
        update = update.to(gradient.dtype, memory_format=torch.contiguous_format)
        scale = ADAM_RMS * max(update.shape[-2:]) ** 0.5
        steps = torch._foreach_mul(update.unbind(), [-rate * scale for rate in rates])
        decay_steps = torch._foreach_mul(
            weights, [-rate * decay for rate, decay in zip(rates, decays, strict=True)]
        )
        if self._cautious_decay:
            towards_zero = torch._foreach_mul(weights, update.unbind())
            torch._foreach_mul_(decay_steps, [product >= 0 for product in towards_zero])
        if skip is not None:
            torch._foreach_mul_(decay_steps, (~skip).to(update.dtype))
        torch._foreach_add_(weights, decay_steps)
        torch._foreach_add_(weights, steps)

    def _apply_adamw(self, group: dict[str, Any]) -> None:
        trained = [weight for weight in group["params"] if weight.grad is not None]
        for weight in trained:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
                state["exp_avg"] = torch.zeros_like(weight)
                state["exp_avg_sq"] = torch.zeros_like(weight)
        averages, square_averages, steps = (
            [self.state[weight][name] for weight in trained]
            for name in ("exp_avg", "exp_avg_sq", "step")
        )
        adamw(
            trained,
            [weight.grad for weight in trained],
            averages,
            square_averages,
            [],
            steps,
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
