"""The hot path on a GPU, held against the same on the CPU or against its plain form. What compiles
comes last.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from benchmarks.gpu_race import Race, Words
from src.core.batch import build_tokens
from src.data.batches.batch_sampler import BatchKey
from src.data.batches.batching import Masked
from src.data.batches.device_dataset import DeviceBatchDataset, should_keep_on_device
from src.data.batches.loader import BatchDataset
from src.model.attention.ragged_attention import ragged_attention, varlen_attn
from src.model.attention.ragged_layout import RaggedLayout
from src.model.muon import MuonAdamW
from src.training.callbacks import Progress
from src.training.energy import build_energy_counter
from src.training.flops import measure_peak_flops
from src.training.torch_compile import CompiledForward
from src.training.trainer import Training
from src.training.training_metrics import Meter

RACE = Race(
    "tests",
    layers=2,
    width=64,
    heads=2,
    row_tokens=64,
    batch_size=8,
    real_lengths=True,
    vocabulary=1000,
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step` but have no `val_dataloader`"
)
BATCHING = Masked(row_tokens=RACE.row_tokens, batch_size=RACE.batch_size)


def sources(device: torch.device) -> tuple[BatchDataset, DeviceBatchDataset]:
    store, words = RACE.store(), Words(RACE.vocabulary)
    return (
        BatchDataset(store, BATCHING, words, seed=1, training=True),  # type: ignore[arg-type]
        DeviceBatchDataset(store, BATCHING, words, seed=1, training=True, device=device),  # type: ignore[arg-type]
    )


def batches(device: torch.device, count: int) -> list[Any]:
    _, source = sources(device)
    return [source[BatchKey(0, each, np.arange(each * 8, each * 8 + 8))] for each in range(count)]


def test_a_corpus_on_the_gpu_is_masked_as_on_the_host(gpu: torch.device) -> None:
    host, device = sources(gpu)
    assert should_keep_on_device(BATCHING, None, RACE.store(), gpu)
    rows = np.arange(BATCHING.count_rows(RACE.store()))
    for part in (rows[:8], rows[-3:], rows[::-7].copy()):
        expected, found = host[3, part], device[3, part]
        for ours, theirs in zip(
            (*found.tokens, *found[1:]), (*expected.tokens, *expected[1:]), strict=True
        ):
            assert torch.equal(ours.cpu(), theirs) if isinstance(theirs, Tensor) else ours == theirs


def test_no_step_waits_for_the_device(gpu: torch.device) -> None:
    """Batches, loss, gradients, clipping and both optimizers, with torch told to raise where the
    host would wait.
    """
    _, source = sources(gpu)
    module = RACE.module(10).to(gpu).train()
    matrices = [each for each in module.encoder.get_layers()[0].parameters() if each.ndim == 2]
    known = set(matrices)
    rest = [each for each in module.encoder.parameters() if each not in known]
    optimizer = MuonAdamW([{"params": matrices, "muon": True}, {"params": rest}], lr=1e-3)
    for place in range(3):
        # the first step may set things up
        torch.cuda.set_sync_debug_mode("error" if place else "default")
        try:
            batch = source[BatchKey(0, place, np.arange(place * 8, place * 8 + 8))]
            with torch.autocast("cuda", torch.bfloat16):
                loss = module.objective.forward(module.encoder, batch).loss
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.get_total_norm(
                [each.grad for each in optimizer_weights(optimizer)]
            )
            optimizer.grad_scale, optimizer.found_inf = (
                norm.clamp(min=1.0),
                (~torch.isfinite(norm)).float(),
            )
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(loss)


def optimizer_weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [
        each
        for group in optimizer.param_groups
        for each in group["params"]
        if each.grad is not None
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_is_the_cpus(gpu: torch.device, dtype: torch.dtype) -> None:
    module = RACE.module(1).train()
    host, device = sources(gpu)
    rows = np.arange(8)
    expected = module.objective.forward(module.encoder, host[BatchKey(0, 0, rows)]).loss
    module.to(gpu)
    with torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
        found = module.objective.forward(module.encoder, device[BatchKey(0, 0, rows)]).loss
    torch.testing.assert_close(
        found.cpu(), expected, rtol=0, atol=1e-3 if dtype is torch.float32 else 2e-2
    )


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("lengths", [[40, 24, 64], [30, 1, 17]], ids=["packed", "ragged"])
def test_attention_of_variable_length_is_the_cpus(
    gpu: torch.device, lengths: list[int], window: int | None, is_causal: bool
) -> None:
    """Values and gradients in bf16, with and without a window, behind them sequences that are
    empty.
    """
    assert varlen_attn is not None, "torch 2.11 or later has attention of variable length"
    torch.manual_seed(1)
    ids = torch.zeros(sum(lengths), dtype=torch.int64)
    tokens = build_tokens(ids, torch.tensor(lengths), row_tokens=64 if 64 in lengths else 0)
    ends = nn.functional.pad(tokens.cu_seqlens, (0, 3), value=sum(lengths))
    there = tokens._replace(
        ids=tokens.ids.to(gpu), positions=tokens.positions.to(gpu), cu_seqlens=ends.to(gpu)
    )
    qkv, above = torch.randn(sum(lengths), 3, 2, 32), torch.randn(sum(lengths), 2, 32)
    found = []
    for device, kind, each in (("cpu", torch.float32, tokens), (gpu, torch.bfloat16, there)):
        own = qkv.to(device, kind).requires_grad_()
        layout = RaggedLayout(each, is_causal=is_causal)
        answer = ragged_attention(own, layout, scale=32**-0.5, window=window)
        answer.backward(above.to(device, kind))
        assert own.grad is not None
        found.append((answer.detach().cpu().float(), own.grad.cpu().float()))
    torch.testing.assert_close(found[1], found[0], rtol=0.02, atol=0.05)


def test_muon_on_the_gpu_is_muon_on_the_cpu(gpu: torch.device) -> None:
    torch.manual_seed(1)
    here = [nn.Parameter(torch.randn(shape)) for shape in ((16, 24), (24, 16), (16, 24))]
    there = [nn.Parameter(each.detach().to(gpu)) for each in here]
    optimizers = [
        MuonAdamW([{"params": each, "muon": True}], lr=0.1, dtype=torch.float32)
        for each in (here, there)
    ]
    for _ in range(3):
        for weight, twin in zip(here, there, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.to(gpu)
        for optimizer in optimizers:
            optimizer.step()
    for weight, twin in zip(here, there, strict=True):
        torch.testing.assert_close(twin.cpu(), weight, rtol=0, atol=5e-3)


def test_peak_and_energy_are_read(gpu: torch.device) -> None:
    assert 1e12 < measure_peak_flops(gpu, torch.bfloat16) < 1e16
    count = build_energy_counter(gpu)
    if count is None:
        pytest.skip("this GPU or its library counts no energy")
    before = count()
    measure_peak_flops(gpu, torch.bfloat16)
    assert count() >= before > 0


@pytest.mark.parametrize("graphs", [False, True])
def test_compiled_steps_are_the_plain_ones(gpu: torch.device, graphs: bool) -> None:
    """Six steps in bf16: other sequences in each, and what a graph gives out must survive its next
    run.
    """
    plain = RACE.module(10).to(gpu).train()
    faster = copy.deepcopy(plain)
    call = CompiledForward(faster.objective.forward, cuda_graphs=graphs, strict=True)
    kept = []
    for batch in batches(gpu, 6):
        found = []
        for step, module in ((plain.objective, plain), (call, faster)):
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                loss = step(module.encoder, batch).loss
            module.zero_grad()
            loss.backward()
            with torch.no_grad():
                for weight in module.parameters():
                    weight -= 0.05 * weight.grad if weight.grad is not None else 0.0
            found.append(loss.detach())
        kept.append(found)
    assert call._compiled_shapes
    assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0
    for expected, found_ in kept:
        torch.testing.assert_close(found_, expected, rtol=0, atol=2e-2)


@pytest.mark.parametrize("batches_a_step", [1, 2])
def test_a_training_with_everything(gpu: torch.device, tmp_path: Path, batches_a_step: int) -> None:
    """Lightning, the meter, the compiler and a corpus on the device; the loss falls below that of
    the first steps.

    Between two logged steps torch is told to raise where the host would wait: Lightning's own part
    is in that.
    """
    losses: list[Tensor] = []

    class Watching(Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            losses.append(outputs["mean_loss"])
            torch.cuda.set_sync_debug_mode("error" if 12 <= trainer.global_step < 18 else "default")

    training = Training(
        accelerator="gpu",
        precision="bf16",
        max_steps=40,
        accumulate_grad_batches=batches_a_step,
        compile=batches_a_step == 1,
    )
    watching = [Meter(), Watching(), *Progress(style="off").build(tmp_path)]
    trainer = training.build(
        callbacks=watching, logger=False, lightning_precision="bf16-mixed", root=str(tmp_path)
    )
    try:
        trainer.fit(
            RACE.module(40), torch.utils.data.DataLoader(batches(gpu, 5) * 20, batch_size=None)
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(losses) == 40 * batches_a_step
    assert float(sum(losses[-5:])) < float(sum(losses[:5]))
