"""Peak memory of an MLM step, how cost grows with length and size, and resident memory under
batches of varying shape.

What a step needs beyond what training must hold anyway: peak resident bytes of the process, less
what was resident before the weights were built, less 12 bytes a parameter (fp32 weights and AdamW's
two moments). Gradients, activations, temporary copies and what the allocator keeps all count.
"""

from typing import Any, NamedTuple

from benchmarks import material, races
from benchmarks.curves import Curve, Growth
from benchmarks.material import PLACE, Size
from benchmarks.race import Contestant, Turn
from benchmarks.setting import Row

# per parameter
STATE_BYTES = 12
MIB = 1 << 20
# most of resident memory in the second half of a training, of that in the first
BOUND = 1.1


def rows(*, quick: bool = False) -> list[Row]:
    """BERT-base at 32 x 128 (`quick`: BERT-mini), against P1."""
    size = Size(4, 256, 4) if quick else Size(12, 768, 12)
    task = races.mlm(size, 32, {"P1": 2}, steps=1)
    beyond = {
        name: _beyond(_measured(task.specs[name], [1, 1], threads=2, name=f"memory-{name}")[-1])
        for name in ("ours", "P1")
    }
    ratio = beyond["P1"] / beyond["ours"]
    return [
        Row(
            f"peak memory beyond weights and optimizer state, MLM step, BERT {size}, 32 x 128",
            beyond["ours"] / MIB,
            beyond["P1"] / MIB,
            "MiB",
            ratio,
            "half of P1's",
            "gradients count",
            ratio >= 2,
        )
    ]


def bounded(*, steps: int = 50) -> list[Row]:
    """Fine-tuning MiniLM on IMDb texts of all lengths up to 512: does memory stay where it was?"""
    task = races.TASKS["imdb"]()
    turns = _measured(task.specs["ours"], [steps // 10] * 10, threads=2, name="bounded")
    resident = [turn.resident_bytes for turn in turns]
    first, last = max(resident[:5]), max(resident[5:])
    course = ", ".join(f"{each / MIB:,.0f}" for each in resident)
    return [
        Row(
            f"resident memory, {steps} steps of varying shape (IMDb, at most 512 tokens, MiniLM)",
            last / MIB,
            first / MIB,
            "MiB",
            first / last,
            f"second half under {BOUND} x the first",
            f"ours: second half; theirs: first half; every {steps // 10} steps: {course}",
            last <= BOUND * first,
        )
    ]


class Point(NamedTuple):
    """Of ours and of P2: milliseconds of one thread per 1,000 tokens, and MiB beyond the state."""

    ours: tuple[float, float]
    theirs: tuple[float, float]


def growth(*, quick: bool = False) -> Growth:
    """Time and memory against sequence length at 2,048 tokens a step, and against model size."""
    lengths = (64, 256) if quick else (64, 128, 512)
    sizes = (Size(2, 128, 2),) if quick else (Size(2, 128, 2), Size(4, 256, 4), Size(6, 384, 12))
    mini = Size(4, 256, 4)
    wanted = [*((mini, length) for length in lengths), *((size, 128) for size in sizes)]
    points = {each: _point(*each) for each in dict.fromkeys(wanted)}
    by_length = {str(length): points[mini, length] for length in lengths}
    by_size = {str(size): points[size, 128] for size in sizes}
    text = [
        "Processor milliseconds of one thread per 1,000 tokens, and MiB beyond weights and "
        "optimizer state, of an MLM",
        "step of 2,048 tokens; BERT's form, vocabulary 30,522.",
        "",
        *_table("tokens of a row (4 x 256)", by_length),
        "",
        *_table("size (rows of 128 tokens)", by_size),
    ]
    # of the body's matrices
    weights = [float(12 * size.layers * size.width**2) for size in sizes]
    return Growth(
        text,
        [
            *_curves(
                "the length of a row, 4 x 256",
                "tokens of a row",
                list(map(float, lengths)),
                by_length,
            ),
            *_curves(
                "the model's size, rows of 128",
                "layers x width, by the body's weights",
                weights,
                by_size,
            ),
        ],
    )


def _curves(against: str, across: str, at: list[float], points: dict[str, Point]) -> list[Curve]:
    kinds = (("time", "ms for 1,000 tokens"), ("memory", "MiB beyond the state"))
    return [
        Curve(
            f"{kind} against {against}",
            across,
            unit,
            at,
            {
                "ours": [each.ours[which] for each in points.values()],
                "P2": [each.theirs[which] for each in points.values()],
            },
            list(points),
            log=kind == "time",
        )
        for which, (kind, unit) in enumerate(kinds)
    ]


def _point(size: Size, length: int) -> Point:
    rows_of_a_step = 2048 // length
    task = races.mlm(size, rows_of_a_step, {}, steps=1)
    found = []
    for name, steps in (("ours", [2, 4]), ("P2", [1, 2])):
        spec: dict[str, Any] = task.specs[name]
        folder = str(material.encoder(size, max(512, length)))
        changed = (f"model.encoder.name_or_path={folder}", f"data.batching.row_tokens={length}")
        spec = {**spec, "folder": folder, "overrides": [*spec["overrides"], *changed]}
        turn = _measured(spec, steps, threads=1, name=f"growth-{name}-{size.width}-{length}")[-1]
        found.append((1000 * turn.cpu_seconds / turn.steps / 2.048, _beyond(turn) / MIB))
    return Point(*found)


def _table(title: str, points: dict[str, Point]) -> list[str]:
    return [
        f"| {title} | ours, ms | P2, ms | ratio | ours, MiB | P2, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {each.ours[0]:.0f} | {each.theirs[0]:.0f} | "
            f"{each.theirs[0] / each.ours[0]:.1f} "
            f"| {each.ours[1]:,.0f} | {each.theirs[1]:,.0f} |"
            for name, each in points.items()
        ),
    ]


def _measured(spec: dict[str, Any], turns: list[int], *, threads: int, name: str) -> list[Turn]:
    """A contestant alone, in a fresh process."""
    contestant = Contestant(spec, threads=threads, log=PLACE / "logs" / f"{name}.log")
    try:
        return [contestant.turn(steps) for steps in turns]
    finally:
        contestant.close()


def _beyond(turn: Turn) -> float:
    return turn.peak_bytes - turn.noted["bytes_before"] - STATE_BYTES * turn.noted["parameters"]
