"""Held-out loss of bf16 against fp32 at equal tokens: `[REAL_DATA=FOLDER] python -m benchmarks.precision`.

The same rows, masks, order, weights and steps; weights and optimizer state are fp32 in both. Generated text with two
seeds, and WikiText-2 where FOLDER holds `wikitext2/`.
"""

import os
import sys
from pathlib import Path

from benchmarks.accuracy import run
from benchmarks.setting import write

MOST = 0.005  # of the loss in fp32


def main() -> int:
    short = ("trainer.max_steps=600", "trainer.threads=1")
    cases = {f"generated text, 2 x 64, seed {seed}": ("+experiment=mlm_quickstart", f"seed={seed}", *short)
             for seed in (1, 2)}  # fmt: skip
    if folder := os.environ.get("REAL_DATA"):
        text = (f"data.source.path={Path(folder).resolve() / 'wikitext2'}", "data.source.validation=valid")
        few = ("trainer.max_steps=200", "trainer.val_check_steps=200", "trainer.threads=1")
        cases["WikiText-2, 4 x 256"] = ("+experiment=mlm_wikitext", *text, *few)
    lines = ["| what | fp32 | bf16 | difference | at most 0.5 % |", "| --- | --- | --- | --- | --- |"]
    for title, overrides in cases.items():
        exact, rounded = (run(*overrides, f"trainer.precision={each}")[0]["test/loss"] for each in ("fp32", "bf16"))
        apart = rounded / exact - 1
        lines.append(
            f"| {title} | {exact:.4g} | {rounded:.4g} | {apart:+.2%} | {'yes' if apart <= MOST else '**no**'} |"
        )
    command = "REAL_DATA=FOLDER python -m benchmarks.precision"
    write("precision", "Held-out loss in bf16 and in fp32, at equal tokens", command, ["Nats a token.", "", *lines])
    return 0


if __name__ == "__main__":
    sys.exit(main())
