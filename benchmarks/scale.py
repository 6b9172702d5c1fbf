"""The tables of docs/scale.md, computed anew from the constants that stand in docs:
`python -m benchmarks.scale [measure=true]`.

`measure=true` first measures what no other benchmark does: the order of an epoch of ten million
rows, and a checkpoint of a gigabyte written to disk.
"""

import re
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale_model import (
    ASSUMED,
    GPU_COUNTS,
    GPUS_PER_NODE,
    HOUR,
    MEASURED,
    ROW_TOKENS,
    SHAPES,
    TOKENS,
    Constants,
    Shape,
)
from benchmarks.setting import ROOT, write
from src.config.command_line import parse_key_values
from src.core.formatting import format_duration

PAGE = ROOT / "docs" / "scale.md"
ORDER_ROWS = 10_000_000
CHECKPOINT_BYTES = 1_000_000_000
MICRO_BATCH_TOKENS = 8 * 1024
CORPORA = (1e9, 1e10, 1e11, TOKENS)


def main(arguments: Sequence[str]) -> int:
    if parse_key_values(arguments, {"measure": "false"})["measure"] == "true":
        measure()
    PAGE.write_text(fill_in(PAGE.read_text(encoding="utf-8"), Constants()), encoding="utf-8")
    print(f"tables of {PAGE.relative_to(ROOT)} written")
    return 0


def measure() -> None:
    import numpy as np
    import torch

    from src.data.splitmix import permute_rows
    from src.training.checkpoint_files import write_checkpoint

    permute_rows(1, 0, 1000)
    began = time.perf_counter()
    permute_rows(1, 0, ORDER_ROWS)
    seconds = time.perf_counter() - began
    tracemalloc.start()
    permute_rows(1, 1, ORDER_ROWS)
    order_bytes = tracemalloc.get_traced_memory()[1] / ORDER_ROWS
    tracemalloc.stop()
    generator = np.random.default_rng(1)
    weights = torch.from_numpy(generator.standard_normal(CHECKPOINT_BYTES // 4, dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        write_checkpoint({"weights": weights}, Path(folder) / "last.ckpt")
        written = time.perf_counter() - began
    write(
        "scale",
        "What only the model of scale needs",
        "python -m benchmarks.scale measure=true",
        [
            "| what | measured |",
            "| --- | ---: |",
            f"| order of an epoch, seconds | {seconds:.2f} |",
            f"| order of an epoch, bytes a row | {order_bytes:.1f} |",
            f"| checkpoint written, MB/s | {CHECKPOINT_BYTES / 1e6 / written:.0f} |",
            "",
            f"{ORDER_ROWS:,} rows; a checkpoint of {CHECKPOINT_BYTES / 1e9:g} GB, with its "
            "checksum and fsync.",
        ],
    )


def fill_in(page: str, constants: Constants) -> str:
    """The page with its tables as the constants make them."""
    tables = {
        "measured": list_measured(constants),
        "assumed": list_assumed(),
        "time": tabulate_time(constants),
        "memory": tabulate_memory(constants),
        "network": tabulate_network(constants),
        "text": tabulate_text(constants),
        "reading": tabulate_reading(constants),
        "tracking": tabulate_tracking(constants),
        "failures": tabulate_failures(constants),
        "breaks": tabulate_breaks(constants),
    }

    def replace(found: re.Match[str]) -> str:
        return "\n".join([f"<!-- {found[1]} -->", *tables.pop(found[1]), "<!-- end -->"])

    filled = re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", replace, page, flags=re.DOTALL)
    if tables:
        raise ValueError(f"docs/scale.md has no place for {', '.join(tables)}")
    return filled


def list_measured(constants: Constants) -> list[str]:
    rows = [
        [f"{constants[name]:,.10g}", unit, f"{what} ([{Path(file).name}]({file}))"]
        for name, ((file, _), unit, what) in MEASURED.items()
    ]
    return format_table(["measured", "", "what"], rows, left=True)


def list_assumed() -> list[str]:
    rows = [
        [format_scaled(value) if value >= 1e6 else f"{value:,.6g}", unit, what]
        for value, unit, what in ASSUMED.values()
    ]
    rows += [
        [f"{shape.utilisation:.2f}", "of the peak", f"{shape.name} ({shape.source})"]
        for shape in SHAPES
    ]
    return format_table(["assumed", "", "what, and who says so"], rows, left=True)


def tabulate_time(constants: Constants) -> list[str]:
    rows = [
        [
            shape.name,
            format_scaled(shape.parameters),
            format_scaled(shape.token_flops),
            f"{constants.gpu_rate(shape):,.0f}",
            *(format_duration(constants.train_seconds(shape, gpus)) for gpus in GPU_COUNTS),
            f"{constants.train_seconds(shape, 1) / HOUR:,.0f}",
            f"{constants.train_seconds(shape, 1) / HOUR * constants['price']:,.0f}",
            f"{constants.failures(shape):.2f}",
        ]
        for shape in SHAPES
    ]
    heads = ["encoder", "parameters", "operations a token", "tokens/s of a GPU"]
    heads += [*(format_gpus(gpus) for gpus in GPU_COUNTS), "GPU hours", "$", "failures"]
    return [
        *format_table(heads, rows),
        "",
        f"One core of this machine would take {constants.core_years():,.0f} years for the first "
        "(measured with dropout off, rows of 128 tokens and a vocabulary of 30,522).",
    ]


def tabulate_memory(constants: Constants) -> list[str]:
    most = constants["gpu_memory"]

    def show(shape: Shape, gpus: int, *, sharded: bool) -> str:
        held = constants.gpu_bytes(shape, gpus, MICRO_BATCH_TOKENS, sharded=sharded)
        return f"{held / 1e9:,.1f}" if held < most else f"**{held / 1e9:,.1f}**"

    rows = [
        [
            shape.name,
            show(shape, 1, sharded=False),
            *(show(shape, gpus, sharded=True) for gpus in GPU_COUNTS[1:]),
            f"{constants.checkpoint_bytes * shape.parameters / 1e9:,.1f}",
        ]
        for shape in SHAPES
    ]
    heads = ["encoder", "`ddp`, GB of a GPU"]
    heads += [f"`fsdp`, {format_gpus(gpus)}" for gpus in GPU_COUNTS[1:]]
    heads += ["a checkpoint, GB: on the first rank whole"]
    return [
        *format_table(heads, rows),
        "",
        f"{MICRO_BATCH_TOKENS:,} tokens at a time. An activation costs "
        f"{constants.activation_bytes:.0f} bytes for each token, layer and unit of width, as "
        "measured on a CPU (Korthikanti et al., 2022: 34 with bf16 and fused attention). Bold: "
        "more than the GPU has.",
    ]


def tabulate_network(constants: Constants) -> list[str]:
    rows = []
    for shape in SHAPES:
        for gpus in GPU_COUNTS[1:]:
            shown = [
                f"{constants.exchange_seconds(shape, gpus, fast=fast) * 1000:,.1f}, "
                f"{format_share(constants.efficiency(shape, gpus, fast=fast))}"
                for fast in (True, False)
            ]
            rows.append(
                [
                    shape.name,
                    f"{gpus:,}",
                    f"{constants['batch_tokens'] / gpus:,.0f}",
                    f"{constants.step_seconds(shape, gpus) * 1000:,.1f}",
                    *shown,
                ]
            )
    heads = ["encoder", "GPUs", "tokens of a GPU and step", "arithmetic, ms"]
    heads += ["all-reduce, ms; time computing: 400 Gb/s for each GPU", "100 Gb/s for each node"]
    return format_table(heads, rows)


def tabulate_text(constants: Constants) -> list[str]:
    rows = []
    for tokens in CORPORA:
        packed = tokens / ROW_TOKENS
        rows.append(
            [
                format_scaled(tokens),
                format_bytes(constants.text_bytes(tokens)),
                format_bytes(constants.store_bytes(tokens)),
                f"{constants.prepare_hours(tokens):,.1f}",
                format_bytes(constants.prepare_bytes(tokens, "survey")),
                format_bytes(constants.prepare_bytes(tokens, "tokenising")),
                format_bytes(packed * constants["order_bytes"]),
                format_duration(packed * constants["order_seconds"] / ORDER_ROWS),
            ]
        )
    heads = ["tokens", "text", "token store", "core hours to prepare", "memory: survey"]
    heads += ["tokenising", "order of an epoch, each rank", "and time at its start"]
    return format_table(heads, rows)


def tabulate_reading(constants: Constants) -> list[str]:
    shape = SHAPES[0]
    rate, loader = constants.gpu_rate(shape), constants["loader_rate"] * 1e6
    rows = [
        [
            f"{gpus:,}",
            f"{rate * gpus / 1e6:,.1f}",
            f"{2 * rate * gpus / 1e6:,.1f}",
            f"{rate * gpus / ROW_TOKENS:,.0f}",
            format_share(rate / loader),
        ]
        for gpus in GPU_COUNTS
    ]
    heads = ["GPUs", "million tokens/s", "MB/s", "rows of 1,024 tokens/s, in random places"]
    return format_table([*heads, "a core for each GPU"], rows)


def tabulate_tracking(constants: Constants) -> list[str]:
    rows = []
    for milliseconds in (15, 50, 250, 1000):
        points = constants.run_points_per_second(milliseconds / 1000)
        rows.append(
            [
                str(milliseconds),
                f"{points:,.1f}",
                f"{constants.server_rate / points:,.0f}",
                *(f"{points * runs / constants.server_rate:.2f}" for runs in GPU_COUNTS),
            ]
        )
    heads = ["ms of a step", "points/s of a run", "runs at once that fill the server"]
    heads += [f"share of it: {format_runs(count)}" for count in GPU_COUNTS]
    return [
        *format_table(heads, rows),
        "",
        f"The server took {constants.server_rate:,.0f} points a second on two cores, on which its "
        "database and the 100 runs stood too.",
    ]


def tabulate_failures(constants: Constants) -> list[str]:
    rows = []
    for shape in SHAPES:
        for gpus in GPU_COUNTS[1:]:
            row = [shape.name, f"{gpus:,}", format_duration(constants.write_seconds(shape))]
            for spot in (False, True):
                lost = constants.lost_share(shape, gpus, spot=spot)
                row += [
                    format_duration(constants.failure_seconds(gpus, spot=spot)),
                    format_duration(constants.checkpoint_interval(shape, gpus, spot=spot)),
                    format_share(lost) if lost < 0.5 else "**does not work**",
                ]
            rows.append(row)
    heads = ["encoder", "GPUs", "a checkpoint is written in", "between failures", "best every"]
    heads += ["time lost", "spot: between losses", "best every", "time lost"]
    restart = format_duration(constants.restart_seconds)
    return [
        *format_table(heads, rows),
        "",
        f"Starting again takes {restart}: the longer of the wait in the queue and the silence "
        "after which a lost run is known to be dead, and a start.",
    ]


def tabulate_breaks(constants: Constants) -> list[str]:
    """What breaks first, with the figures of the other tables."""
    base, largest = SHAPES[0], SHAPES[-1]
    survey = format_bytes(constants.prepare_bytes(TOKENS, "survey"))
    hours = f"{constants.prepare_hours(TOKENS):,.0f}"
    order = format_bytes(GPUS_PER_NODE * TOKENS / ROW_TOKENS * constants["order_bytes"])
    alone = format_duration(constants.train_seconds(base, 1))
    load = constants.run_points_per_second(0.05) / constants.server_rate
    slow = constants.efficiency(base, 1000, fast=False)
    whole = format_bytes(constants.checkpoint_bytes * largest.parameters)
    few = f"{constants['batch_tokens'] / 1000:,.0f}"
    reads = f"{constants.gpu_rate(base) * 1000 / ROW_TOKENS:,.0f}"
    failing = format_duration(constants.failure_seconds(1000, spot=False))
    return format_table(
        ["GPUs", "breaks first", "what there is for it", "what is not"],
        [
            [
                "1",
                f"patience: {alone} for the smallest; before that {hours} core hours for the text, "
                f"with a survey of {survey} in one process",
                "a resume that is exact to the bit, `src.plan` before anything begins; "
                "tokenising by several processes",
                "a survey for repeats that several machines share",
            ],
            [
                "8",
                f"memory of the machine: the order of an epoch, {order} in eight ranks; of the "
                f"GPU: {largest.name} under `ddp`",
                "`data/shards=stored`, whose order is made window by window; `trainer=fsdp`, "
                "gradient checkpointing",
                "an order of a local corpus that is held once for all ranks of a machine",
            ],
            [
                "64",
                f"the tracking server, with a trial on each: {64 * load:.2f} of what it takes at "
                f"50 ms a step; a checkpoint of {whole} through the first rank",
                "`trainer.log_every_n_steps`; runs that wait for a slow store without losing a "
                "point or a step",
                "checkpoints in shares, written by all ranks",
            ],
            [
                "1,000",
                f"the batch: {few} tokens for each GPU and step, {format_share(slow)} of the time "
                f"computing at 100 Gb/s a machine; {reads} reads a second in random places; a "
                f"failure every {failing}; {1000 * load:.0f} times what the server takes, with a "
                "trial on each",
                "larger batches (`data.batching.batch_size`); `data/shards=stored`, which fetches "
                "whole shards; torchrun with `resume=job`, where those who are left go on with the "
                "same rows in each step; jobs that go on by themselves (`deploy/`)",
                "gradients exchanged in bf16, tensor parallelism, spare machines that take over "
                "without a restart, several tracking servers",
            ],
        ],
        left=True,
    )


def format_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: bool = False
) -> list[str]:
    marks = ["---", *("---" if left else "---:" for _ in heads[1:])]
    lines = [heads, marks, *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def format_scaled(value: float) -> str:
    for scale, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= scale:
            return f"{value / scale:,.3g} {letter}"
    return f"{value:,.0f}"


def format_bytes(value: float) -> str:
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= scale:
            return f"{value / scale:,.3g} {unit}"
    return f"{value:,.0f} B"


def format_share(value: float) -> str:
    return f"{100 * value:.3g} %"


def format_gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count:,} GPUs"


def format_runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
