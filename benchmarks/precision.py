"""Held-out loss of bf16 against fp32 at equal tokens: `REAL_DATA=FOLDER python -m
benchmarks.precision`; 10 minutes.

WikiText-2 (FOLDER holds `wikitext2/`), 4 x 256; weights and optimizer state are fp32 in both. The
gate compares two trainings that go on from the same weights, trained in fp32 until the loss falls
steadily, with the same rows, masks, order and schedule. From scratch both first sit on a plateau,
and when a model leaves it hangs on its seed and on the last bits of its sums: that spread, over
several seeds, is shown beside and judged by nobody.
"""

import os
import sys
from pathlib import Path
from statistics import mean

from benchmarks.accuracy import run
from benchmarks.setting import ROOT, write

# of the loss in fp32
MOST = 0.005
# optimizer steps of 16 x 128 tokens, to the common start and from there
BEFORE, AFTER = 400, 200
SEEDS = (1, 2, 3)


def main() -> int:
    if "REAL_DATA" not in os.environ:
        print(__doc__)
        return 2
    start = _start()
    onward = {seed: _pair(seed, *_from(start)) for seed in SEEDS[:2]}
    scratch = {seed: _pair(seed) for seed in SEEDS}
    apart = _apart(onward)
    lines = [
        f"WikiText-2, 4 x 256, steps of 16 x 128 tokens. Test loss in nats a token after {AFTER} "
        "steps.",
        "",
        f"| | seed | fp32 | bf16 | difference | at most {MOST:.1%} |",
        "| --- | --- | --- | --- | --- | --- |",
        *_rows(f"going on from weights trained for {BEFORE} steps in fp32", onward),
        f"| mean | | | | {apart:+.2%} | {'yes' if abs(apart) <= MOST else '**no**'} |",
        *_rows("from scratch", scratch),
        f"| mean | | | | {_apart(scratch):+.2%} | |",
    ]
    command = "REAL_DATA=FOLDER python -m benchmarks.precision"
    write("precision", "Held-out loss in bf16 and in fp32, at equal tokens", command, lines)
    return 0


def _training(seed: int, steps: int, precision: str, *more: str) -> list[str]:
    text = Path(os.environ["REAL_DATA"]).resolve() / "wikitext2"
    return [
        "+experiment=mlm_wikitext",
        f"data.source.path={text}",
        "data.source.validation=valid",
        f"seed={seed}",
        f"trainer.max_steps={steps}",
        f"trainer.val_check_steps={steps}",
        "trainer.threads=1",
        f"trainer.precision={precision}",
        *more,
    ]


def _start() -> str:
    """The id of the run that both go on from."""
    run(*_training(SEEDS[0], BEFORE, "fp32", "tags.benchmark=precision"))
    from src.tracking.store import Store

    return Store(root=str(ROOT)).search_runs("tags.benchmark = 'precision'", limit=1)[0].id


def _from(run_id: str) -> tuple[str, ...]:
    return f"init_from={run_id}", "model/encoder=pretrained", "data/tokenizer=pretrained"


def _pair(seed: int, *more: str) -> tuple[float, float]:
    """Test loss in fp32 and in bf16."""
    fp32, bf16 = (
        run(*_training(seed, AFTER, each, *more))[0]["test/loss"] for each in ("fp32", "bf16")
    )
    return fp32, bf16


def _apart(pairs: dict[int, tuple[float, float]]) -> float:
    return mean(bf16 / fp32 - 1 for fp32, bf16 in pairs.values())


def _rows(title: str, pairs: dict[int, tuple[float, float]]) -> list[str]:
    return [
        f"| {title} | {seed} | {fp32:.4g} | {bf16:.4g} | {bf16 / fp32 - 1:+.2%} | |"
        for seed, (fp32, bf16) in pairs.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
