"""What tracking costs the training: `python -m benchmarks.tracking_cost`.

Steps of 20 ms on one thread, in pairs of windows in one process: nothing is logged in the one,
metrics in the other, by the logger that Lightning calls. The order within a pair alternates. The
run is old enough to have its uploader; system metrics are sampled in both.
"""

import sys
import tempfile
import time
from typing import NamedTuple

from benchmarks.setting import write
from benchmarks.stepping import Pace, Training, cost, spread

PAIRS, WINDOW_STEPS, WARM_STEPS = 24, 100, 800


class Case(NamedTuple):
    """`metrics` numbers every `every` steps may cost `most` percent."""

    metrics: int
    every: int
    most: float


class Used(NamedTuple):
    """Processor seconds of this thread, and of all other threads of this process."""

    main: float
    others: float

    @staticmethod
    def now() -> "Used":
        main = time.thread_time()
        return Used(main, time.process_time() - main)

    def __sub__(self, other: "Used") -> "Used":
        return Used(self.main - other.main, self.others - other.others)


CASES = (Case(10, 10, 1.0), Case(50, 1, 5.0))


def main() -> int:
    from src.tracking.store import Store

    lines = [
        "| metrics | processor time | its quartiles | logging itself | wall, mean | wall, median "
        "| allowed | reached |",
        "| --- " * 8 + "|",
    ]
    notes = []
    reached = True
    training = Training()
    with tempfile.TemporaryDirectory() as root:
        store = Store(root=root)
        store.open()
        for case in CASES:
            row, note, good = _measured(store, training, case)
            lines.append(row)
            notes.append(note)
            reached &= good
    lines += ["", *notes, ""]
    lines.append(
        f"{PAIRS} pairs of windows of {WINDOW_STEPS} steps; how much longer a step took, median "
        "of the pairs. "
        "Processor time is that of all threads of the training's process; logging itself: that of "
        "the calls and of the "
        "run's other threads, measured by itself, so that other work on the machine does not blur "
        "it. The uploader is "
        "another process, on the other core; what it takes of a shared machine shows in the wall "
        "times."
    )
    write("tracking_cost", "The cost of tracking", "python -m benchmarks.tracking_cost", lines)
    return 0 if reached else 1


def _measured(store: object, training: Training, case: Case) -> tuple[str, str, bool]:
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

    assert isinstance(store, Store)
    step = points = 0
    logging_seconds = 0.0
    with_it: list[Pace] = []
    without: list[Pace] = []
    names = [f"train/metric_{each}" for each in range(case.metrics)]
    with RunRecord(store=store, name="cost", kind="benchmark", params={}) as run:
        logger = run.logger

        def log() -> None:
            nonlocal step, points, logging_seconds
            began = time.thread_time()
            step += 1
            if step % case.every == 0:
                logger.log_metrics(
                    {name: step * 0.37 + place for place, name in enumerate(names)}, step
                )
                logger.save()
                points += case.metrics
            logging_seconds += time.thread_time() - began

        # until the uploader runs in its own process
        training.window(WARM_STEPS, log)
        logging_seconds, began = 0.0, Used.now()
        for pair in range(PAIRS):
            for logging in (True, False) if pair % 2 else (False, True):
                pace = training.window(WINDOW_STEPS, log if logging else lambda: None)
                (with_it if logging else without).append(pace)
        used = Used.now() - began
        ended_at = time.monotonic()
    closing = time.monotonic() - ended_at
    found = sum(len(store.open().client.get_metric_history(run.run_id, name)) for name in names)
    costs = {
        part: cost(
            [getattr(each, part) for each in with_it], [getattr(each, part) for each in without]
        )
        for part in Pace._fields
    }
    quartiles = spread([each.processor for each in with_it], [each.processor for each in without])
    good = costs["processor"] < case.most and found == points
    # Half of the windows log; the other threads journal what they have logged, and sample the
    # system.
    training_seconds = (used.main - logging_seconds) / 2
    direct = 100 * (logging_seconds + used.others) / training_seconds
    often = "step" if case.every == 1 else f"{case.every} steps"
    shares = f"{costs['processor']:+.2f} % | {quartiles} | {direct:.2f} %"
    shares += f" | {costs['mean']:+.2f} % | {costs['median']:+.2f} %"
    row = (
        f"| {case.metrics} every {often} | {shares} | {case.most:g} % | "
        f"{'yes' if good else '**no**'} |"
    )
    note = (
        f"- {points:,} points logged, {found:,} in the store {closing:.1f} s after the last step."
    )
    return row, note, good


if __name__ == "__main__":
    sys.exit(main())
