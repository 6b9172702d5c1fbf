"""Muon against the plain rule, one matrix at a time, and against torch's own."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.muon import (
    ADAM_RMS,
    NORM_SAFETY_FACTOR,
    POLAR_EXPRESS,
    MuonAdamW,
    orthogonalise_matrices,
)
from src.model.optim import AdamW, Muon

# Newton and Schulz's own: slow at first, and then without error
EXACT = ((1.5, -0.5, 0.0),) * 40
# Jordan et al. (2024): one quintic for all iterations
JORDAN = ((3.4445, -4.7750, 2.0315),) * 5


class Little(nn.Module):
    """Two shapes, a fused weight of three maps, a table, a norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.Wqkv = nn.Linear(6, 18, bias=False)
        self.up = nn.Linear(6, 10)
        self.down = nn.Linear(10, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids)
        query, key, value = self.Wqkv(hidden).chunk(3, -1)
        hidden = hidden + query * key.tanh() + value
        return self.head(self.norm(hidden + self.down(self.up(hidden).relu())))


def depth(name: str) -> int:
    return 0 if name.startswith("head") else 2 if name.startswith("embedding") else 1


def backward(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 11, (20,), generator=generator)
    labels = torch.randint(0, 3, (20,), generator=generator)
    network.zero_grad()
    nn.functional.cross_entropy(network(ids), labels).backward()


def built(network: nn.Module, **arguments: float) -> MuonAdamW:
    optimizer, _ = Muon(
        **({"lr": 0.02, "weight_decay": 0.1, "warmup_fraction": 0.0} | arguments)
    ).build(network, depth=depth, total_steps=100)
    assert isinstance(optimizer, MuonAdamW)
    optimizer._dtype = torch.float32
    return optimizer


def singular_values_after(
    values: Tensor, iterations: tuple[tuple[float, float, float], ...]
) -> Tensor:
    for a, b, c in iterations:
        values = a * values + b * values**3 + c * values**5
    return values


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 4, 9), (2, 9, 4)])
def test_singular_vectors_stay_and_values_become_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    scaled = values / (
        torch.linalg.vector_norm(matrices, dim=(1, 2))[:, None] * NORM_SAFETY_FACTOR + 1e-7
    )
    expected = left @ torch.diag_embed(singular_values_after(scaled, POLAR_EXPRESS)) @ right
    found = orthogonalise_matrices(matrices, dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    exact = orthogonalise_matrices(matrices, dtype=torch.float64, iterations=EXACT)
    torch.testing.assert_close(exact, left @ right)


def test_the_iterations_bring_small_and_large_singular_values_close_to_one() -> None:
    """From a thousandth of the norm to the whole of it: within 0.15; one quintic for all leaves
    0.47 to 1.2.
    """
    values = torch.linspace(0.001, 1 / NORM_SAFETY_FACTOR, 10_000, dtype=torch.float64)
    assert (singular_values_after(values, POLAR_EXPRESS) - 1).abs().max() < 0.15
    assert (singular_values_after(values, JORDAN) - 1).abs().max() > 0.5


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalise_matrices(torch.zeros(1, 3, 5), dtype=torch.float32).any()


def test_bf16_products_are_close_to_exact_ones() -> None:
    matrices = torch.randn(4, 32, 64, generator=torch.Generator().manual_seed(2))
    exact = orthogonalise_matrices(matrices, dtype=torch.float32)
    rounded = orthogonalise_matrices(matrices, dtype=torch.bfloat16).float()
    assert (exact - rounded).norm() / exact.norm() < 0.03


def polar(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


@pytest.mark.parametrize("cautious_decay", [False, True])
def test_the_whole_rule_against_one_matrix_at_a_time(cautious_decay: bool) -> None:
    """Three steps of the plain formulas: momentum, Nesterov, singular value decomposition in place
    of iterations; decay where update and weight have one sign, or everywhere.
    """
    torch.manual_seed(3)
    network = Little().double()
    plain = copy.deepcopy(network)
    optimizer = built(network, cautious_decay=cautious_decay)
    optimizer._iterations, optimizer._dtype = EXACT, torch.float64
    momenta = {name: torch.zeros_like(weight) for name, weight in plain.named_parameters()}
    matrices = ("Wqkv.weight", "up.weight", "down.weight")
    others = [weight for name, weight in plain.named_parameters() if name not in matrices]
    adamw = torch.optim.AdamW(
        [
            {"params": [weight for weight in others if weight.ndim > 1], "weight_decay": 0.1},
            {"params": [weight for weight in others if weight.ndim == 1], "weight_decay": 0.0},
        ],
        lr=0.02,
    )
    for seed in range(3):
        torch.manual_seed(seed)
        for weight, twin in zip(network.parameters(), plain.parameters(), strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        optimizer.step()
        adamw.step()
        for name, weight in plain.named_parameters():
            if name not in matrices:
                continue
            assert weight.grad is not None
            momenta[name] = 0.95 * momenta[name] + 0.05 * weight.grad
            update = 0.05 * weight.grad + 0.95 * momenta[name]
            blocks = update.chunk(3) if name.startswith("Wqkv") else [update]
            step = torch.cat(
                [polar(block) * ADAM_RMS * max(block.shape) ** 0.5 for block in blocks]
            )
            decays = (step * weight >= 0) if cautious_decay else 1.0
            weight.data -= 0.02 * (step + 0.1 * decays * weight.data)
    for (name, found), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_the_same_as_torchs_own_with_its_coefficients() -> None:
    """In bf16, as torch computes it; sizes are those that match AdamW's in both."""
    weights = [
        nn.Parameter(torch.randn(8, 12)),
        nn.Parameter(torch.randn(12, 8)),
        nn.Parameter(torch.randn(8, 12)),
    ]
    twins = [nn.Parameter(weight.detach().clone()) for weight in weights]
    ours = MuonAdamW(
        [{"params": weights, "muon": True}],
        lr=0.1,
        weight_decay=0.3,
        iterations=JORDAN,
        safety=1.0,
        dtype=torch.bfloat16,
    )
    theirs = torch.optim.Muon(twins, lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for weight, twin in zip(weights, twins, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        ours.step()
        theirs.step()
    for weight, twin in zip(weights, twins, strict=True):
        torch.testing.assert_close(weight, twin, rtol=0, atol=0.01)


def test_a_saved_state_goes_on_as_if_nothing_had_been() -> None:
    torch.manual_seed(4)
    network = Little()
    optimizer = built(network)
    for seed in range(2):
        backward(network, seed)
        optimizer.step()
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    kept = torch.load(file, weights_only=True)
    other = Little()
    other.load_state_dict(kept["network"])
    resumed = built(other)
    resumed.load_state_dict(kept["optimizer"])
    for seed in (5, 6):
        for network_, optimizer_ in ((network, optimizer), (other, resumed)):
            backward(network_, seed)
            optimizer_.step()
    for found, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_gradients_are_divided_by_their_scale() -> None:
    torch.manual_seed(5)
    network = Little()
    scaled = copy.deepcopy(network)
    plain_optimizer, scaled_optimizer = built(network), built(scaled)
    scaled_optimizer.grad_scale = torch.tensor(8.0)
    for seed in range(2):
        backward(network, seed)
        backward(scaled, seed)
        for weight in scaled.parameters():
            assert weight.grad is not None
            weight.grad *= 8
        plain_optimizer.step()
        scaled_optimizer.step()
    for found, expected in zip(scaled.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    torch.manual_seed(6)
    network = Little()
    optimizer = built(network)
    backward(network, 0)
    optimizer.step()
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    backward(network, 1)
    for weight in network.parameters():
        assert weight.grad is not None
        weight.grad[0] = float("inf")
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    torch.testing.assert_close(
        (network.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0
    )
    backward(network, 1)
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert all(not torch.equal(network.state_dict()[name], before[0][name]) for name in before[0])


def test_only_the_matrices_of_the_body_are_orthogonalised(family: str, tiny) -> None:
    encoder = Encoder(tiny(family), "masked_lm")
    names = {weight: name for name, weight in encoder.named_parameters()}
    body = {
        name
        for layer in encoder.get_layers()
        for name, weight in layer.named_parameters()
        if weight.ndim == 2
    }
    body -= {
        name
        for layer in encoder.get_layers()
        for name, _ in layer.named_parameters()
        if "embedding" in name
    }
    optimizer, _ = Muon(lr=1e-3).build(
        encoder,
        depth=lambda name: int(".layer" in name or "albert_layer_groups" in name),
        total_steps=10,
    )
    chosen = {
        names[weight]
        for group in optimizer.param_groups
        if group["muon"]
        for weight in group["params"]
    }
    assert {name.split(".layer")[-1] for name in chosen} and body
    assert all(any(name.endswith(end) for end in body) for name in chosen)
    assert not any(
        "embedding" in name or "norm" in name.lower() or "head" in name for name in chosen
    )
    everything = {weight for group in optimizer.param_groups for weight in group["params"]}
    assert everything == set(encoder.parameters())


def test_fused_maps_are_orthogonalised_each_by_itself(tiny) -> None:
    encoder = Encoder(tiny("modernbert"), "masked_lm")
    optimizer, _ = Muon(lr=1e-3).build(
        encoder, depth=lambda name: int(".layers." in name), total_steps=10
    )
    parts = {
        weight: group["parts"] for group in optimizer.param_groups for weight in group["params"]
    }
    by_name = {
        name.split(".", 4)[-1]: parts[weight]
        for name, weight in encoder.named_parameters()
        if ".layers.1." in name
    }
    matrices = {
        name: count
        for name, count in by_name.items()
        if name.endswith(("Wqkv.weight", "Wo.weight", "Wi.weight"))
    }
    assert matrices == {
        "attn.Wqkv.weight": 3,
        "attn.Wo.weight": 1,
        "mlp.Wi.weight": 2,
        "mlp.Wo.weight": 1,
    }


def test_updates_are_as_large_as_adamws() -> None:
    """Root mean square of one update at the same rate: within a factor of two after some steps."""
    sizes = []
    for choice in (
        Muon(lr=0.01, weight_decay=0, warmup_fraction=0),
        AdamW(lr=0.01, weight_decay=0, warmup_fraction=0),
    ):
        torch.manual_seed(7)
        network = Little()
        optimizer, _ = choice.build(network, depth=depth, total_steps=100)
        for seed in range(10):
            backward(network, seed)
            before = network.up.weight.detach().clone()
            optimizer.step()
        sizes.append((network.up.weight - before).square().mean().sqrt().item() / 0.01)
    assert 0.1 < sizes[0] < 0.3
    assert 0.5 < sizes[1] / sizes[0] < 5


def test_nothing_to_orthogonalise_is_said(tiny) -> None:
    encoder = Encoder(tiny("bert", "sequence"), "sequence")
    encoder.freeze_modules("encoder")
    with pytest.raises(
        UserError, match=r"model.optim=muon finds no whole weight matrix.*model.freeze"
    ):
        Muon(lr=1e-3).build(encoder, depth=lambda name: int(".layer." in name), total_steps=10)
