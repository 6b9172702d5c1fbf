"""Pretraining on a GPU: ours, the tuned Trainer of Hugging Face (P2), and a bare loop around our own model (P3).

`make bench-gpu` writes docs/results/gpu.md; without a GPU it says so and exits with 2. It needs torch, lightning and
transformers (with accelerate for P2), and nothing else of this project's packages. All three train a BERT of the same
measures with fused AdamW in bf16, without dropout, on the same generated documents; P2 computes all logits, as its
model does. Only real tokens count. Times are between CUDA events; the share of the peak is in model operations
(`src/training/flops.py`).
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from benchmarks.gpu_peer import tuned_trainer
from benchmarks.gpu_race import LR, RACES, Race, Stopwatch, Timed, Words
from src.data.batching import Masked
from src.data.feeding import BatchSource
from src.data.on_device import DeviceSource
from src.training.callbacks import Progress
from src.training.compiling import Compiled
from src.training.flops import cost, peak_flops
from src.training.meter import Meter
from src.training.trainer import Training

WARM_UP, STEPS, ROUNDS = 20, 60, 2
COMMAND = "make bench-gpu"


def batches(race: Race, device: torch.device) -> DataLoader[Any]:
    """Packed rows, made on the device where it is a GPU."""
    store, words = race.store(), Words(race.vocabulary)
    batching = Masked(row_tokens=race.row_tokens, batch_size=race.batch_size)
    source: Any
    if device.type == "cuda":
        source = DeviceSource(store, batching, words, seed=1, training=True, device=device)  # type: ignore[arg-type]
    else:
        source = BatchSource(store, batching, words, seed=1, training=True)  # type: ignore[arg-type]
    return DataLoader(source, sampler=batching.plan(store, seed=1, training=True), batch_size=None)


def ours(race: Race, device: torch.device, warm_up: int, steps: int) -> Timed:
    """Lightning with the meter, as a run has it."""
    watch = Stopwatch(device, warm_up, steps)

    class Watching(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            watch.step(len(batch.tokens.ids))

    accelerator: Any = "gpu" if device.type == "cuda" else "cpu"
    training = Training(accelerator=accelerator, precision="bf16", max_steps=warm_up + steps)
    with tempfile.TemporaryDirectory() as root:
        watching = [Meter(), Watching(), *Progress(style="off").build(Path(root))]
        trainer = training.build(callbacks=watching, logger=False, arithmetic="bf16-mixed", root=root)
        trainer.fit(race.module(warm_up + steps), batches(race, device))
    return watch.read()


def bare(race: Race, device: torch.device, warm_up: int, steps: int) -> Timed:
    """P3: our model, batches, compilation and clipping in a plain loop."""
    watch = Stopwatch(device, warm_up, steps)
    module = race.module(warm_up + steps).to(device).train()
    small = race.width <= 384
    step = Compiled(module.objective.forward, graphs=small) if device.type == "cuda" else module.objective
    optimizer = torch.optim.AdamW(module.encoder.parameters(), lr=LR, fused=True)
    for batch in _endless(batches(race, device), warm_up + steps):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            loss = step(module.encoder, batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.encoder.parameters(), 1.0)
        optimizer.step()
        watch.step(len(batch.tokens.ids))
    return watch.read()


def _endless(loader: DataLoader[Any], count: int) -> Iterator[Any]:
    done = 0
    while True:
        for batch in loader:
            if done == count:
                return
            yield batch
            done += 1


CONTESTANTS: dict[str, Callable[[Race, torch.device, int, int], Timed]] = {
    "ours": ours,
    "P2": tuned_trainer,
    "P3": bare,
}

# -- what is said ---------------------------------------------------------------------------------------------------


def losses(race: Race, device: torch.device) -> tuple[float, float]:
    """Of one batch and the same weights: ours, and Hugging Face's own over all logits; both in bf16."""
    module = race.module(1).to(device).train()
    batch = next(iter(batches(race, device)))
    network = module.encoder.network
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        mine = float(module.objective(module.encoder, batch).loss)
        network.config._attn_implementation = "sdpa"
        labels = torch.full_like(batch.tokens.ids, -100).index_copy(0, batch.masked, batch.targets)
        rows = (each.view(-1, race.row_tokens) for each in (batch.tokens.ids, labels))
        theirs = float(network(**dict(zip(("input_ids", "labels"), rows, strict=True))).loss)
    return mine, theirs


def flops_per_token(race: Race) -> float:
    """Model operations of training, for each real token of a batch."""
    encoder = race.module(1).encoder
    batch = next(iter(batches(race, torch.device("cpu"))))
    operations = cost(encoder).step_flops(batch.tokens.starts.diff(), len(batch.targets))
    return operations / len(batch.tokens.ids)


def raced(race: Race, device: torch.device, *, warm_up: int, steps: int, rounds: int) -> dict[str, list[Timed]]:
    """Each contestant in turn, several times."""
    found: dict[str, list[Timed]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, train in CONTESTANTS.items():
            found[name].append(train(race, device, warm_up, steps))
            torch._dynamo.reset()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return found


def line(race: Race, found: dict[str, list[Timed]], peak: float, agreement: tuple[float, float] | None) -> str:
    rate = {name: statistics.median(each.tokens / each.seconds for each in timed) for name, timed in found.items()}
    memory = {name: max(each.bytes for each in timed) / 2**30 for name, timed in found.items()}
    share = rate["ours"] * flops_per_token(race) / peak
    agree = "" if agreement is None else f"{agreement[0]:.4f} and {agreement[1]:.4f}"
    return (
        f"| {race.name} | {rate['ours']:,.0f} | {share:.0%} | {rate['P2']:,.0f} | {rate['P3']:,.0f} "
        f"| {rate['ours'] / rate['P2']:.2f} | {rate['ours'] / rate['P3']:.2f} "
        f"| {memory['ours']:.1f} / {memory['P2']:.1f} / {memory['P3']:.1f} | {agree} |"
    )


HEADER = [
    "| race | ours, tokens/s | of the peak | P2 | P3 | ours / P2 | ours / P3 | GiB (ours / P2 / P3) | losses agree |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
]


def main(arguments: Sequence[str]) -> int:
    """`only=base128,small128` runs some of the races."""
    if not torch.cuda.is_available():
        print("no GPU: torch sees none here, so nothing was measured and docs/results/gpu.md was not touched")
        return 2
    only = [each.removeprefix("only=").split(",") for each in arguments if each.startswith("only=")]
    chosen = only[0] if only else list(RACES)
    device = torch.device("cuda", 0)
    peak = peak_flops(device, torch.bfloat16)
    lines = [
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}. Peak: {peak / 1e12:.0f} TFLOP/s, a bf16 "
        f"product of two 8192 x 8192 matrices. Medians of {ROUNDS} rounds of {STEPS} steps after {WARM_UP}.",
        "",
        *HEADER,
    ]
    for name in chosen:
        race = RACES[name]
        agreement = None if race.real_lengths else losses(race, device)
        found = raced(race, device, warm_up=WARM_UP, steps=STEPS, rounds=ROUNDS)
        lines.append(line(race, found, peak, agreement))
        print(lines[-1], flush=True)
    from benchmarks.setting import write

    write("gpu", "Pretraining on a GPU", COMMAND, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
