"""`python -m benchmarks.long_texts`: training steps on long texts, beside transformers with SDPA
and beside the build of commit d1ababe, which had no attention in blocks.

Masked language modelling with ModernBERT's form, 6 x 256, a window of 128, every third layer
global, bf16, no dropout; rows that one text fills. Then time and memory against length, 256 to
16,384.

only=1x8192,curves   these parts: {names}; others stay as they were measured last
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import material
from benchmarks.curves import Curve, draw
from benchmarks.material import PLACE, Size
from benchmarks.memory import MIB, STATE_BYTES
from benchmarks.race import Contestant, Turn, race
from benchmarks.races import OPTIM
from benchmarks.setting import AT_START, RESULTS, ROOT, write
from src.config.command_line import parse_key_values

SIZE = Size(6, 256, 4, "ModernBERT")
EARLIER = "d1ababe"
NAMES = ("ours", EARLIER, "transformers")
TURNS, MASKED_SHARE = 3, 0.15
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
# of a step's time or memory when the length doubles, beyond that of its products or twice
MOST_GROWTH = 1.15
FIRST_OF_GROWTH = 2048
# beside long_texts.md
PICTURE = "long_texts.png"


KINDS = ("all local", "every third global")
KEPT = RESULTS / "long_texts.json"


class Gate(NamedTuple):
    """What a step of `rows` texts of `length` tokens is to reach: times faster, and for memory the
    most of the others' share.
    """

    rows: int
    length: int
    time: dict[str, float]
    memory: dict[str, float]


GATES = {
    "1x8192": Gate(
        1, 8192, {EARLIER: 3.0, "transformers": 3.5}, {EARLIER: 0.2, "transformers": 1.0}
    ),
    "1x4096": Gate(1, 4096, {EARLIER: 2.2}, {}),
    "1x2048": Gate(1, 2048, {EARLIER: 1.5}, {}),
    "16x512": Gate(16, 512, {EARLIER: 1.0}, {}),
}
NOTE = (
    "Processor seconds of one thread for a whole step, the median of turns that all take one after "
    "the other. Memory is the peak of the process beyond weights and the state of the optimizer. "
    "transformers is its Trainer with SDPA in bf16, fused AdamW and `sparse_prediction`.",
    "",
)


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 where a gate is missed."""
    names = [*GATES, "curves"]
    asked = parse_key_values(arguments, {"only": ",".join(names)})["only"].split(",")
    parts: dict[str, Any] = {}
    for name in asked:
        found: dict[str, Any]
        if name == "curves":
            found = {"points": {kind: measure_curve(kind) for kind in KINDS}}
        else:
            found = {"steps": compare(GATES[name], name)}
        # parts may be measured by several commands
        parts = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
        parts[name] = {"setting": AT_START, **found}
        KEPT.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    missed, setting = False, ""
    lines = [*NOTE]
    for name in names:
        if name not in parts:
            continue
        if parts[name]["setting"] != setting:
            setting = parts[name]["setting"]
            lines += [f"Measured {setting}:", ""]
        table = describe_curves(parts[name]) if name == "curves" else describe(name, parts[name])
        lines += [*table, ""]
        missed |= any("**no**" in line for line in table)
    typed = " ".join(["python -m benchmarks.long_texts", *arguments])
    write("long_texts", "Long texts", typed, lines[:-1])
    return 1 if missed else 0


def compare(gate: Gate, name: str) -> dict[str, dict[str, float]]:
    """A step of all, in turns: by name, seconds and megabytes."""
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
    results = race(
        specs,
        steps=dict.fromkeys(specs, max(1, 4096 // gate.length)),
        warmup=dict.fromkeys(specs, 1),
        turns=TURNS,
        threads=1,
        logs=PLACE / "logs" / f"long-{name}",
        roots={EARLIER: check_out(EARLIER)},
    )
    return {
        name: {"seconds": result.cpu_seconds, "megabytes": measure_memory(result.turns[-1])}
        for name, result in results.items()
    }


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


def describe(name: str, part: Mapping[str, Any]) -> list[str]:
    """The table of one comparison."""
    gate, steps = GATES[name], part["steps"]
    lines = [
        f"| {gate.rows} x {gate.length:,} | s of a step | MB | times ours, s | to reach | of "
        "theirs, MB | at most | reached |",
        "| --- |" + " ---: |" * 6 + " --- |",
    ]
    for who, found in steps.items():
        if who == "ours":
            lines.append(
                f"| ours | {found['seconds']:.2f} | {found['megabytes']:,.0f} |" + " |" * 5
            )
            continue
        faster = found["seconds"] / steps["ours"]["seconds"]
        share = steps["ours"]["megabytes"] / found["megabytes"]
        least, most = gate.time.get(who), gate.memory.get(who)
        reached = (least is None or faster >= least) and (most is None or share <= most)
        verdict = "" if least is most is None else "yes" if reached else "**no**"
        lines.append(
            f"| {who} | {found['seconds']:.2f} | {found['megabytes']:,.0f} | {faster:.2f} | "
            f"{least or ''} | {share:.2f} | {most or ''} | {verdict} |"
        )
    return lines


class Point(NamedTuple):
    """Of a step of one text; operations are those of its products."""

    seconds: float
    megabytes: float
    operations: float


def measure_curve(kind: str) -> list[dict[str, float]]:
    return [measure_point(length, all_local=kind == "all local")._asdict() for length in LENGTHS]


def describe_curves(part: Mapping[str, Any]) -> list[str]:
    """Time and memory against length; draws the picture."""
    points = {kind: [Point(**point) for point in part["points"][kind]] for kind in KINDS}
    lines = [
        "| tokens | s, all local | s, every third global | MB, all local | every third global |",
        "| ---: |" + " ---: |" * 4,
    ]
    for length, local, third in zip(LENGTHS, *points.values(), strict=True):
        lines.append(
            f"| {length:,} | {local.seconds:.3f} | {third.seconds:.3f} | "
            f"{local.megabytes:,.0f} | {third.megabytes:,.0f} |"
        )
    lines += ["", f"![Time and memory against length]({PICTURE})", ""]
    for kind, of in points.items():
        # from where the fixed costs of a step have grown small
        first = of[LENGTHS.index(FIRST_OF_GROWTH)]
        doublings = len(LENGTHS) - 1 - LENGTHS.index(FIRST_OF_GROWTH)
        growth, memory, products = (
            (last / early) ** (1 / doublings) for last, early in zip(of[-1], first, strict=True)
        )
        reached = growth <= MOST_GROWTH * products and memory <= MOST_GROWTH * 2
        lines.append(
            f"- {kind}: from {FIRST_OF_GROWTH:,} tokens on, twice the length takes {growth:.2f} "
            f"times the time, where its products grow {products:.2f} times, and {memory:.2f} times "
            f"the memory; to reach: {MOST_GROWTH} times the products' growth, and {MOST_GROWTH} "
            f"times twice the memory, at most: {'yes' if reached else '**no**'}"
        )
    tokens = [float(length) for length in LENGTHS]
    curves = [
        Curve(
            f"{name} of a step of one text",
            "tokens of the text",
            unit,
            tokens,
            {kind: [getattr(point, name_of) for point in of] for kind, of in points.items()},
        )
        for name, unit, name_of in (("time", "s", "seconds"), ("memory", "MB", "megabytes"))
    ]
    draw(curves, RESULTS / PICTURE, "Long texts", part["setting"])
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


__doc__ = (__doc__ or "").format(names=", ".join([*GATES, "curves"]))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
