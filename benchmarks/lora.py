"""LoRA against training all weights, on the sentences of SST-2: `REAL_DATA=FOLDER python -m
benchmarks.lora`.

MiniLM-L6, the first 100 optimizer steps of 32 sentences, whole validation and test set, three
seeds. Step times are those of both on the same batches, in turns.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.material import minilm, real
from benchmarks.setting import write
from palimpsest import compose, run

SEEDS = (1, 2, 3)
STEPS, TURNS = 100, 15
ADAPTED = ("model/adapter=lora",)


def main() -> int:
    import torch

    torch.set_num_threads(1)
    rows, accuracies, bytes_of = [], [], []
    for seed in SEEDS:
        pair = [_train(seed, *overrides) for overrides in ((), ADAPTED)]
        accuracies.append([accuracy for accuracy, _ in pair])
        bytes_of.append([size for _, size in pair])
        (full, full_bytes), (lora, lora_bytes) = pair
        rows.append(
            f"| {seed} | {full:.4f} | {lora:.4f} | {full_bytes / 1e6:.1f} | "
            f"{lora_bytes / 1e6:.1f} |"
        )
        print(rows[-1], flush=True)
    full, lora = (mean(column) for column in zip(*accuracies, strict=True))
    share = max(small / large for large, small in bytes_of)
    full_ms, lora_ms = _time_steps()
    write(
        "lora",
        "LoRA against training all weights: SST-2 sentences, MiniLM-L6",
        "REAL_DATA=FOLDER python -m benchmarks.lora",
        [
            f"{STEPS} optimizer steps of 32 sentences, 872 sentences to validate, 1,821 to test.",
            "",
            "| seed | test accuracy, all weights | LoRA | MB of a checkpoint, all weights | LoRA |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Mean test accuracy {full:.4f} and {lora:.4f}; a checkpoint of LoRA has "
            f"{100 * share:.1f} % of the size. A step takes {full_ms:.0f} ms of processor time, "
            f"with LoRA {lora_ms:.0f} ms (median of {TURNS}, on one core, in turns).",
        ],
    )
    return 0 if lora > full - 0.01 and share < 0.05 and lora_ms <= full_ms else 1


def _compose(seed: int, root: str, *overrides: str) -> dict[str, Any]:
    return compose(
        "+experiment=sst2",
        f"data.source.path={real('sst2')}",
        "data.source.format=label_first",
        "data.source.validation=dev",
        f"data.cache={Path(tempfile.gettempdir()) / 'lora-benchmark'}",
        "data.batching.batch_size=32",
        f"model.encoder.name_or_path={minilm()}",
        "trainer=cpu",
        "trainer.precision=fp32",
        "trainer.threads=1",
        "trainer.max_epochs=null",
        f"trainer.max_steps={STEPS}",
        f"trainer.val_check_steps={STEPS}",
        f"tracking.root={root}",
        f"seed={seed}",
        *overrides,
    )


def _train(seed: int, *overrides: str) -> tuple[float, int]:
    """The test accuracy of a run, and the bytes of its checkpoint."""
    with tempfile.TemporaryDirectory() as root:
        outcome = run(_compose(seed, root, *overrides))
        folder = Path(root) / "mlruns" / "checkpoints" / outcome.run_id
        [size] = [path.stat().st_size for path in folder.glob("*.ckpt")]
        return outcome.metrics["test/accuracy"], size


def _time_steps() -> tuple[float, float]:
    """Milliseconds of processor time of a step, of all weights and of adapters."""
    with tempfile.TemporaryDirectory() as root:
        steps = [_build_step(_compose(1, root, *overrides)) for overrides in ((), ADAPTED)]
        seconds: list[list[float]] = [[], []]
        for turn in range(TURNS):
            for step, times in zip(steps, seconds, strict=True):
                begin = time.process_time()
                step(turn)
                times.append(time.process_time() - begin)
    # the first turns warm up
    full, lora = (1000 * median(times[2:]) for times in seconds)
    return full, lora


def _build_step(config: dict[str, Any]) -> Callable[[int], None]:
    from src.config.build_nodes import build_node

    data, module = (build_node(config[name]).build() for name in ("data", "model"))
    data.prepare_data()
    module.set_dataset_info(data.dataset_info, STEPS)
    module.configure_model()
    optimizer = module.configure_optimizers()["optimizer"]
    batches = [batch for batch, _ in zip(data.train_dataloader(), range(TURNS), strict=False)]
    module.train()

    def step(turn: int) -> None:
        optimizer.zero_grad()
        module.objective.forward(module.encoder, batches[turn]).loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(main())
