"""What the program costs beside the model: `python -m benchmarks.overhead`.

Per step: our Trainer with meter, tracking, progress and checkpoints against a bare loop over the
same batches. Per
second: what the write buffer and the sampler take while a run is open. And how opening, logging and
closing a run grow with the number of runs in the store.
"""

import os
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.curves import Curve, Growth
from benchmarks.setting import Row, write

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

ROUNDS = 7
WARM_STEPS, STEPS = 50, 400
# 2 % of a step of 100 ms
GATE_MILLISECONDS = 2.0
BESIDE_SECONDS = 12.0
SIZES = (10, 100, 1_000, 10_000)
STAGES = (
    "runs",
    "open the store",
    "begin a run from another",
    "send 500 points",
    "end the run",
    "find by id",
    "newest 1,000 runs",
)
CONFIG = (
    "data=generated_text",
    "data.source.train=200",
    "data.source.validation=20",
    "data.source.test=20",
    "data.batching.row_tokens=16",
    "data.batching.batch_size=2",
    "model=masked_lm",
    "model/encoder=tiny",
    "trainer.threads=1",
    "trainer.precision=fp32",
    "trainer.max_epochs=1",
)


class Loader:
    """Batches that are made already: Lightning takes a list for several loaders."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class Program(NamedTuple):
    """The objects of a run, built from a config, and batches to train on."""

    module: Any
    training: Any
    watchers: list[Any]
    store: "Store"
    batches: list[Any]


def step_milliseconds() -> tuple[float, float, float]:
    """Processor milliseconds of a step in our program and in a bare loop (medians, interleaved),
    and what runs beside a run in milliseconds for each second.
    """
    with tempfile.TemporaryDirectory() as root:
        program = _program(root)
        ours, bare = [], []
        with _record(program.store) as record:
            for _ in range(ROUNDS):
                ours.append(_ours(program, record))
                bare.append(_bare(program))
            beside = _beside(record)
    return median(ours), median(bare), beside


def growth() -> Growth:
    """Milliseconds of processor time against the number of runs in the store."""
    spans: dict[str, list[float]] = {name: [] for name in STAGES[1:]}
    lines = [f"| {' | '.join(STAGES)} |", "|" + " --- |" * len(STAGES)]
    with tempfile.TemporaryDirectory() as root:
        # what is done once in a process: imports, mappings
        _grown(Path(root) / "warm", 1)
        for size in SIZES:
            spent = _grown(Path(root) / str(size), size)
            lines.append(
                "| " + " | ".join([f"{size:,}", *(f"{each:.0f}" for each in spent)]) + " |"
            )
            for name, each in zip(STAGES[1:], spent, strict=True):
                spans[name].append(each)
    at = list(map(float, SIZES))
    return Growth(
        lines, [Curve("a run against the runs in its store", "runs in the store", "ms", at, spans)]
    )


def rows() -> list[Row]:
    ours, bare, beside = step_milliseconds()
    extra = ours - bare + 0.1 * beside
    note = (
        f"steps of {ours:.2f} and {bare:.2f} ms on one thread; {beside:.1f} ms a second "
        "beside the steps"
    )
    gate = f"under {GATE_MILLISECONDS:g} ms, 2 % of a 100 ms step"
    name = "whole program against a bare loop, extra per step of 100 ms"
    return [Row(name, extra, None, "ms", 0.0, gate, note, extra < GATE_MILLISECONDS)]


def _program(root: str) -> Program:
    from hydra import compose, initialize_config_dir

    from src.core.startup import silence_libraries

    silence_libraries()
    from src.config.build_nodes import build_node
    from src.config.compose import register_resolvers, to_plain_config
    from src.core.files import CONF

    register_resolvers()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = to_plain_config(
            compose("config", [*CONFIG, f"trainer.max_steps={STEPS}", f"tracking.root={root}"])
        )
    data, module = build_node(config["data"]).build(), build_node(config["model"]).build()
    data.prepare_data()
    module.set_dataset_info(data.dataset_info, STEPS)
    module.configure_model()
    some = list(data.train_dataloader())[:32]
    watchers = [build_node(each) for each in config["callbacks"].values() if each is not None]
    batches = [some[place % len(some)] for place in range(STEPS)]
    return Program(
        module, build_node(config["trainer"]), watchers, build_node(config["tracking"]), batches
    )


@contextmanager
def _record(store: "Store") -> Iterator["RunRecord"]:
    from src.tracking.run_record import RunRecord

    with RunRecord(store=store, name="overhead", kind="benchmark", params={}) as record:
        yield record


def _ours(program: Program, record: "RunRecord") -> float:
    from src.training.training_metrics import log_startup_time

    with tempfile.TemporaryDirectory() as checkpoints:
        watching = [
            each for watcher in program.watchers for each in watcher.build(Path(checkpoints))
        ]
        clock = _clock()
        trainer = program.training.build(
            callbacks=[*watching, *log_startup_time(record.log_metrics), clock],
            logger=record.logger,
            lightning_precision="32-true",
            root=checkpoints,
            total_steps=STEPS,
        )
        trainer.fit(program.module, Loader(program.batches), Loader(program.batches[:1]))
    return clock.milliseconds  # type: ignore[attr-defined]


def _clock() -> "Callback":
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Clock(Callback):
        """Reads the processor time after the warm-up and after the last step, before validation."""

        def on_train_batch_end(
            self,
            trainer: Trainer,
            pl_module: LightningModule,
            outputs: Any,
            batch: Any,
            batch_idx: int,
        ) -> None:
            if batch_idx + 1 == WARM_STEPS:
                self.begun = time.process_time()
            elif batch_idx + 1 == STEPS:
                self.milliseconds = 1000 * (time.process_time() - self.begun) / (STEPS - WARM_STEPS)

    return Clock()


def _bare(program: Program) -> float:
    """The same step without a Trainer: loss, backward, clipping, optimizer, schedule."""
    import torch

    module = program.module.train()
    optimizer, schedule = module.config.optim.build(
        module.encoder, depth=module._depth_below_head, total_steps=STEPS
    )
    parameters = [each for each in module.encoder.parameters() if each.requires_grad]
    for step, batch in enumerate(program.batches):
        if step == WARM_STEPS:
            begun = time.process_time()
        loss = module.objective.forward(module.encoder, batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return 1000 * (time.process_time() - begun) / (STEPS - WARM_STEPS)


def _beside(record: "RunRecord") -> float:
    """Milliseconds of processor time for each second that a run is open and logs one window of
    steps.
    """
    begun, clock = time.process_time(), time.monotonic()
    window = {f"train/quantity_{number}": 1.0 for number in range(13)}
    step = 0
    while time.monotonic() - clock < BESIDE_SECONDS:
        record.log_metrics(window, step=(step := step + 1))
        time.sleep(1.0)
    return 1000 * (time.process_time() - begun) / (time.monotonic() - clock)


def _grown(root: Path, size: int) -> list[float]:
    """Processor milliseconds of each stage of a run's life, in a store that holds `size` runs."""
    from src.tracking import database
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

    store = Store(root=str(root), system_metrics=False, flush_seconds=0.0)
    assert store.sqlite_file is not None
    database.prepare_database(store.sqlite_file, store.artifacts_folder)
    known = _fill(store.sqlite_file, store.artifacts_folder, size)
    spent: list[float] = []

    def timed(work: Callable[[], object]) -> None:
        begun = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - begun))

    timed(store.open)
    params = {f"model.p{n}": n for n in range(60)}
    record = RunRecord(
        store=store, name="one more", kind="benchmark", params=params, init_from=known
    )
    timed(record.__enter__)
    begun = time.process_time()
    for step in range(50):
        record.log_metrics({f"train/quantity_{n}": 1.0 for n in range(10)}, step=step)
    # returns when the sampler has ended
    record._background_stack.close()
    spent.append(1000 * (time.process_time() - begun))
    timed(lambda: record.__exit__(None, None, None))
    timed(lambda: store.find_run(known[:12]))
    timed(lambda: store.search_runs(limit=1000))
    return spent


def _fill(file: Path, artifacts: Path, size: int) -> str:
    """Insert `size` finished runs, each with 30 params, 12 tags and 50 points of 10 metrics; the id
    of one of them.
    """
    ids = [uuid.uuid4().hex for _ in range(size)]
    now, place = int(time.time() * 1000), f"{artifacts}/palimpsest"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (1, 'palimpsest', ?, 'active')",
            (place,),
        )
        _insert(
            connection,
            "runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
            "start_time, end_time, "
            "lifecycle_stage, artifact_uri, experiment_id)",
            (
                (
                    each,
                    f"run {n}",
                    "LOCAL",
                    "",
                    "",
                    "me",
                    "FINISHED",
                    now - n,
                    now,
                    "active",
                    f"{place}/{each}/artifacts",
                    1,
                )
                for n, each in enumerate(ids)
            ),
        )
        texts = "(key, value, run_uuid)"
        _insert(
            connection,
            f"params {texts}",
            ((f"model.p{n}", "0.1", each) for each in ids for n in range(30)),
        )
        _insert(
            connection,
            f"tags {texts}",
            ((f"tag{n}", "some words", each) for each in ids for n in range(12)),
        )
        points = "(key, value, timestamp, step, is_nan, run_uuid)"
        keys = [(each, f"train/m{n}") for each in ids for n in range(10)]
        _insert(
            connection,
            f"metrics {points}",
            ((key, 1.0, now, step, 0, each) for each, key in keys for step in range(5)),
        )
        _insert(
            connection,
            f"latest_metrics {points}",
            ((key, 1.0, now, 4, 0, each) for each, key in keys),
        )
        connection.commit()
    return ids[size // 2]


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Rows into a table, given with its columns in brackets."""
    connection.executemany(
        f"INSERT INTO {table} VALUES ({', '.join('?' * (table.count(',') + 1))})", rows
    )


def main() -> int:
    [row] = rows()
    write(
        "overhead",
        "What the program costs beside the model",
        "python -m benchmarks.overhead",
        [
            f"{row.name}: **{row.ours:.2f} ms** of processor time ({row.gate}; reached: "
            f"{row.verdict}).",
            f"{row.note}; medians of {ROUNDS} interleaved rounds of {STEPS - WARM_STEPS} steps.",
            "",
            "Milliseconds of processor time against the number of runs in the SQLite store:",
            "",
            *growth().text,
        ],
    )
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
