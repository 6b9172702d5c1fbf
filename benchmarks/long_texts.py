"""`python -m benchmarks.long_texts`: training steps on long texts, beside transformers with SDPA
and beside the build of commit d1ababe, which had no attention in blocks.

Masked language modelling with ModernBERT's form, 6 x 256, a window of 128, every third layer
global, bf16, no dropout; rows that one text fills. Then time and memory against length, 256 to
16,384.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import material
from benchmarks.curves import Curve, draw
from benchmarks.material import PLACE, Size
from benchmarks.memory import MIB, STATE_BYTES
from benchmarks.race import Contestant, Result, Turn, race
from benchmarks.races import OPTIM
from benchmarks.setting import AT_START, RESULTS, ROOT, write

SIZE = Size(6, 256, 4, "ModernBERT")
EARLIER = "d1ababe"
NAMES = ("ours", EARLIER, "transformers")
TURNS, MASKED_SHARE = 3, 0.15
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
# of a step's time or memory when the length doubles, beyond that of its products or twice
MOST_GROWTH = 1.15
# beside long_texts.md
PICTURE = "long_texts.png"


class Gate(NamedTuple):
    """What a step of `rows` texts of `length` tokens is to reach: times faster, and for memory the
    most of the others' share.
    """

    rows: int
    length: int
    time: dict[str, float]
    memory: dict[str, float]


GATES = (
    Gate(1, 8192, {EARLIER: 3.0, "transformers": 3.5}, {EARLIER: 0.2, "transformers": 1.0}),
    Gate(1, 4096, {EARLIER: 2.2}, {}),
    Gate(1, 2048, {EARLIER: 1.5}, {}),
    Gate(16, 512, {EARLIER: 1.0}, {}),
)


def main() -> int:
    lines = [
        "| tokens | s, ours | s, d1ababe | s, transformers | of d1ababe | of transformers | to "
        "reach | MB, ours | d1ababe | transformers | to reach | reached |",
        "| --- |" + " ---: |" * 10 + " --- |",
    ]
    missed = False
    for gate in GATES:
        results = compare(gate)
        reached = judge(gate, results)
        missed |= not reached
        lines.append(describe(gate, results, reached))
        print(lines[-1], flush=True)
    lines += [
        "",
        "Processor seconds of one thread for a whole step, the median of "
        f"{TURNS} turns taken one after the other. Memory is the peak beyond weights and the state "
        "of the optimizer. transformers: its Trainer with SDPA in bf16, fused AdamW and "
        "`sparse_prediction`.",
        "",
        *(curve_lines := measure_curves()),
    ]
    missed |= any("**no**" in line for line in curve_lines)
    write("long_texts", "Long texts", "python -m benchmarks.long_texts", lines)
    return 1 if missed else 0


def compare(gate: Gate) -> dict[str, Result]:
    """A step of all, in turns."""
    shared = build_spec(gate.rows, gate.length)
    specs = {
        "ours": {**shared, "who": "ours"},
        EARLIER: {**shared, "who": "ours", "place": str(PLACE / EARLIER)},
        "transformers": {
            **shared,
            "who": "P2",
            "dropout": 0.0,
            "attention": "sdpa",
            "bf16": True,
            "sparse": True,
        },
    }
    return race(
        specs,
        steps=dict.fromkeys(specs, max(1, 2048 // gate.length)),
        warmup=dict.fromkeys(specs, 1),
        turns=TURNS,
        threads=1,
        logs=PLACE / "logs" / f"long-{gate.rows}x{gate.length}",
        roots={EARLIER: check_out(EARLIER)},
    )


def build_spec(rows: int, length: int, *, all_local: bool = False) -> dict[str, Any]:
    """What a contestant trains: one text in each row."""
    folder = material.encoder(SIZE, length, all_local=all_local)
    overrides = [
        "+experiment=mlm_files",
        f"data.source.path={material.long_text()}",
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        f"model.encoder.name_or_path={folder}",
        "model.encoder.dropout=0.0",
        f"data.batching.row_tokens={length}",
        f"data.batching.batch_size={rows}",
        "trainer.precision=bf16",
        *(f"model.optim.{key}={value}" for key, value in OPTIM.items()),
        "model.optim.schedule=constant",
        "model.optim.warmup_fraction=0.0",
    ]
    return {
        "task": "masked_lm",
        "folder": str(folder),
        "batch_size": rows,
        "overrides": overrides,
        "place": str(PLACE),
        "optim": OPTIM,
    }


def check_out(commit: str) -> Path:
    """A worktree of a commit, made once and kept beside the other material."""
    folder = PLACE / f"build-{commit}"
    if not (folder / "benchmarks" / "contestant.py").is_file():
        command = ["git", "worktree", "add", "--force", "--detach", str(folder), commit]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def measure_memory(turn: Turn) -> float:
    """Megabytes at the peak, beyond what training must hold anyway."""
    state = turn.noted["bytes_before"] + STATE_BYTES * turn.noted["parameters"]
    return (turn.peak_bytes - state) / MIB


def compute_ratios(results: dict[str, Result]) -> tuple[dict[str, float], dict[str, float]]:
    """How many times faster ours is than others, and its memory's share of theirs."""
    memory = {name: measure_memory(result.turns[-1]) for name, result in results.items()}
    ours = results["ours"].cpu_seconds
    others = [name for name in results if name != "ours"]
    return (
        {name: results[name].cpu_seconds / ours for name in others},
        {name: memory["ours"] / memory[name] for name in others},
    )


def judge(gate: Gate, results: dict[str, Result]) -> bool:
    faster, shares = compute_ratios(results)
    return all(faster[name] >= least for name, least in gate.time.items()) and all(
        shares[name] <= most for name, most in gate.memory.items()
    )


def describe(gate: Gate, results: dict[str, Result], reached: bool) -> str:
    """A row of the table."""
    faster, _ = compute_ratios(results)
    seconds = (f"{results[name].cpu_seconds:.2f}" for name in NAMES)
    ratios = (f"{faster[name]:.2f}" for name in NAMES[1:])
    memory = (f"{measure_memory(results[name].turns[-1]):,.0f}" for name in NAMES)
    cells = (
        f"{gate.rows} x {gate.length:,}",
        *seconds,
        *ratios,
        ", ".join(f"{least:g} x {name}" for name, least in gate.time.items()),
        *memory,
        ", ".join(f"{most:g} of {name}" for name, most in gate.memory.items()),
        "yes" if reached else "**no**",
    )
    return f"| {' | '.join(cells)} |"


class Point(NamedTuple):
    """Of a step of one text: seconds, megabytes, and operations of its products."""

    seconds: float
    megabytes: float
    operations: float


def measure_curves() -> list[str]:
    """Time and memory against length; writes the picture."""
    points = {
        kind: [measure_point(length, all_local=kind == "all local") for length in LENGTHS]
        for kind in ("all local", "every third global")
    }
    lines = [
        "| tokens | s, all local | s, every third global | MB, all local | every third global |",
        "| ---: |" + " ---: |" * 4,
    ]
    for place, length in enumerate(LENGTHS):
        two = [of[place] for of in points.values()]
        lines.append(
            f"| {length:,} | {two[0].seconds:.3f} | {two[1].seconds:.3f} | "
            f"{two[0].megabytes:,.0f} | {two[1].megabytes:,.0f} |"
        )
    lines += ["", f"![Time and memory against length]({PICTURE})", ""]
    for kind, of in points.items():
        # the fixed costs of a step have grown small
        first, last = LENGTHS.index(2048), len(LENGTHS) - 1
        doublings = last - first
        growth, products, memory = (
            (getattr(of[last], name) / getattr(of[first], name)) ** (1 / doublings)
            for name in ("seconds", "operations", "megabytes")
        )
        reached = growth <= MOST_GROWTH * products and memory <= MOST_GROWTH * 2
        lines.append(
            f"- {kind}: from {LENGTHS[first]:,} tokens on, twice the length takes {growth:.2f} "
            f"times the time, where its products grow {products:.2f} times, and {memory:.2f} times "
            f"the memory; to reach: at most {MOST_GROWTH} times the products, and {MOST_GROWTH} "
            f"times twice: {'yes' if reached else '**no**'}"
        )
    tokens = [float(length) for length in LENGTHS]
    curves = [
        Curve(
            f"{name} of a step of one text",
            "tokens of the text",
            unit,
            tokens,
            {kind: [getattr(point, field) for point in of] for kind, of in points.items()},
        )
        for name, unit, field in (("time", "s", "seconds"), ("memory", "MB", "megabytes"))
    ]
    draw(curves, RESULTS / PICTURE, "Long texts", AT_START)
    return lines


def measure_point(length: int, *, all_local: bool) -> Point:
    """A contestant alone, in a fresh process."""
    spec = {**build_spec(1, length, all_local=all_local), "who": "ours"}
    log = PLACE / "logs" / f"long-{length}-{'local' if all_local else 'global'}.log"
    steps = max(1, 4096 // length)
    contestant = Contestant(spec, threads=1, log=log)
    try:
        contestant.turn(2)
        turns = [contestant.turn(steps) for _ in range(TURNS)]
    finally:
        contestant.close()
    point = Point(
        median(turn.cpu_seconds / steps for turn in turns),
        measure_memory(turns[-1]),
        count_operations(spec["folder"], length),
    )
    print(f"{length} {'local' if all_local else 'global'}: {point}", flush=True)
    return point


def count_operations(folder: str, length: int) -> float:
    import torch
    from transformers import AutoModelForMaskedLM

    from src.model.encoder import Encoder
    from src.training.flops import count_forward_cost

    network = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True)
    cost = count_forward_cost(Encoder(network, "masked_lm"))
    return cost.count_step_flops(torch.tensor([length]), round(MASKED_SHARE * length))


if __name__ == "__main__":
    sys.exit(main())
