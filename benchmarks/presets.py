"""What presets cost and bring: `REAL_DATA=FOLDER python -m benchmarks.presets`.

MiniLM-L6 on 480 sentences of SST-2, validated on 872 and tested on 1,821, by each preset.
"""

import sys
import tempfile
from statistics import mean
from typing import Any

from benchmarks.material import minilm, real
from benchmarks.setting import write
from palimpsest import compose, run

PRESETS = ("fast", "balanced", "best")
SEEDS = (1, 2)


def main() -> int:
    with tempfile.TemporaryDirectory() as root:
        results = {preset: [_train(preset, seed, root) for seed in SEEDS] for preset in PRESETS}
    accuracies = {preset: mean(row[0] for row in rows) for preset, rows in results.items()}
    seconds = {preset: mean(row[1] for row in rows) for preset, rows in results.items()}
    write(
        "presets",
        "What presets cost and bring: 480 sentences of SST-2, MiniLM-L6",
        "REAL_DATA=FOLDER python -m benchmarks.presets",
        [
            "| preset | test accuracy, seeds " + ", ".join(map(str, SEEDS)) + " | mean | s |",
            "| --- | --- | ---: | ---: |",
            *(
                f"| {preset} | {', '.join(f'{row[0]:.4f}' for row in rows)} | "
                f"{accuracies[preset]:.4f} | {seconds[preset]:.0f} |"
                for preset, rows in results.items()
            ),
            "",
            "Seconds are those of training, validation and test, on one core of a busy machine. "
            "With all 6,920 sentences an epoch is fourteen times as long.",
        ],
    )
    reached = accuracies["best"] >= accuracies["balanced"] and seconds["fast"] < seconds["balanced"]
    return 0 if reached else 1


def _train(preset: str, seed: int, root: str) -> tuple[float, float]:
    """The test accuracy of a run, and its seconds."""
    config: dict[str, Any] = compose(
        "+experiment=sst2",
        f"preset={preset}",
        f"data.source.path={real('sst2')}",
        "data.source.format=label_first",
        "data.source.validation=dev",
        "data.train_rows=480",
        f"data.cache={root}/cache",
        f"model.encoder.name_or_path={minilm()}",
        "trainer=cpu",
        "trainer.precision=fp32",
        "trainer.threads=1",
        "callbacks.reference=null",
        f"tracking.root={root}",
        f"seed={seed}",
    )
    outcome = run(config)
    print(f"{preset} {seed}: {outcome.metrics['test/accuracy']:.4f}", flush=True)
    return outcome.metrics["test/accuracy"], outcome.elapsed_seconds


if __name__ == "__main__":
    sys.exit(main())
