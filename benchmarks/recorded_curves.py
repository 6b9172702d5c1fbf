"""The validations of whole trainings at many learning rates, recorded once for `benchmarks.pruning`
to replay.

Each task is trained at every rate of `RATES` to its end, and at its best ones with several seeds:
what these differ by is the noise of the task. What is kept is small (docs/results/pruning.json).
"""

import json
import math
import sqlite3
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import sweeping
from benchmarks.material import PLACE, real
from benchmarks.setting import AT_START, RESULTS

RECORD = RESULTS / "pruning.json"
STORE = PLACE / "pruning"
# of `search=learning_rate`, where ratios count
LOWEST, HIGHEST, COUNT = 1e-6, 1e-3, 28
RATES = tuple(
    float(f"{LOWEST * (HIGHEST / LOWEST) ** (place / (COUNT - 1)):.3g}") for place in range(COUNT)
)
# of the best rates, besides the seed of all rates
REPEATED, SEEDS = 3, (101, 102, 103, 104)


class Task(NamedTuple):
    """What is trained: words of a command line, the metric and whether a lower or a higher value of
    it is better.
    """

    words: tuple[str, ...]
    monitor: str
    mode: str

    @property
    def test_metric(self) -> str:
        """The monitored metric, of the test split."""
        return self.monitor.replace("val/", "test/")


class Curve(NamedTuple):
    """One whole training: the monitored metric at each validation, the optimizer steps made before
    each, and the metric of the tested checkpoint on validation and test.
    """

    rate: float
    steps: list[int]
    values: list[float]
    best: float
    test: float


def list_tasks(pretrained: Path) -> dict[str, Task]:
    """Five tasks on generated text, and the sentences of SST-2 where they are on this machine.

    Args:
        pretrained: the encoder of `mlm_quickstart`.
    """
    pretrained_words = (
        "+experiment=quickstart",
        "init_from=null",
        f"model.encoder.name_or_path={pretrained}",
        f"data.tokenizer.name_or_path={pretrained}",
    )
    steady = sweeping.STEADY
    return {
        "pretrained, 500 rows": Task(
            (*pretrained_words, *steady, "trainer.max_epochs=12"), "val/accuracy", "max"
        ),
        "pretrained, 2,000 rows, cosine": Task(
            (
                *pretrained_words,
                *steady,
                "data.source.train=2000",
                "data.source.seed=2",
                "model.optim.schedule=cosine",
                "trainer.max_epochs=3",
                "trainer.val_check_steps=32",
            ),
            "val/accuracy",
            "max",
        ),
        "pretrained, 120 rows, 100 to validate": Task(
            (
                *pretrained_words,
                *steady,
                "data.source.train=120",
                "data.source.validation=100",
                "data.source.seed=3",
                "trainer.max_epochs=24",
                "trainer.val_check_steps=16",
            ),
            "val/accuracy",
            "max",
        ),
        "from scratch, 500 rows": Task(
            ("+experiment=quickstart_scratch", *steady, "trainer.max_epochs=12"),
            "val/accuracy",
            "max",
        ),
        "masked language modelling": Task(
            (
                "+experiment=mlm_quickstart",
                *steady,
                "trainer.max_steps=600",
                "trainer.val_check_steps=50",
            ),
            "val/loss",
            "min",
        ),
        "SST-2, from scratch": Task(
            (
                "+experiment=sst2",
                *steady,
                "data/source=files",
                f"data.source.path={real('sst2')}",
                "data.source.format=label_first",
                "data.source.train=stsa.binary.train",
                "data.source.validation=stsa.binary.dev",
                "data.source.test=stsa.binary.test",
                "data/tokenizer=wordpiece_8k",
                "model/encoder=modern_tiny",
                "trainer.precision=fp32",
                "trainer.max_epochs=3",
                "trainer.val_check_steps=40",
            ),
            "val/accuracy",
            "max",
        ),
    }


def pretrain() -> Path:
    """The encoder of `mlm_quickstart`, trained where it is not there yet."""
    root = STORE / "pretrained"
    models = root / "mlruns" / "artifacts"
    if not any(models.glob("*/*/artifacts/model/config.json")):
        sweeping.run(root, sweep=False, task=("+experiment=mlm_quickstart", *sweeping.STEADY))
    return next(models.glob("*/*/artifacts/model/config.json")).parent


def record(names: list[str] | None = None) -> None:
    """Train what is not recorded yet, task by task; what was interrupted goes on."""
    for name, task in list_tasks(pretrain()).items():
        if name in _read() or (names is not None and name not in names):
            continue
        print(f"recording: {name}", flush=True)
        folder = STORE / "".join(letter if letter.isalnum() else "-" for letter in name)
        rates = ",".join(f"{rate:g}" for rate in RATES)
        curves = _train(folder / "rates", task, f"model.optim.lr={rates}")
        ranked = sorted(curves, key=lambda curve: curve.best, reverse=task.mode == "max")
        best_rates = ",".join(f"{curve.rate:g}" for curve in ranked[:REPEATED])
        curves += _train(
            folder / "seeds",
            task,
            f"model.optim.lr={best_rates}",
            f"seed={','.join(map(str, SEEDS))}",
        )
        curves.sort(key=lambda curve: curve.rate)
        # another process may have recorded another task meanwhile
        known = _read()
        known[name] = {
            "setting": AT_START,
            "monitor": task.monitor,
            "mode": task.mode,
            "curves": [curve._asdict() for curve in curves],
        }
        RECORD.write_text(_format(known), encoding="utf-8")


def load() -> dict[str, list[Curve]]:
    """The curves of all tasks that are recorded, by rate."""
    return {name: [Curve(**curve) for curve in task["curves"]] for name, task in _read().items()}


def load_modes() -> dict[str, str]:
    """By recorded task, `min` or `max`: whether a lower or a higher value is better."""
    return {name: task["mode"] for name, task in _read().items()}


def measure_noise(curves: Sequence[Curve]) -> tuple[float, float]:
    """Standard deviations from seed to seed at one rate, of the best validation and of the test;
    pooled over the rates that were trained more than once.
    """
    rates = Counter(curve.rate for curve in curves)
    groups = [
        [curve for curve in curves if curve.rate == rate]
        for rate, count in rates.items()
        if count > 1
    ]
    return (
        math.sqrt(statistics.mean(statistics.variance(c.best for c in group) for group in groups)),
        math.sqrt(statistics.mean(statistics.variance(c.test for c in group) for group in groups)),
    )


def _train(root: Path, task: Task, *points: str) -> list[Curve]:
    """A sweep over listed values to its end, and the curves of its trials."""
    sweeping.run(
        root,
        *points,
        f"search.monitor={task.monitor}",
        f"search.mode={task.mode}",
        "search.retry_failed=true",
        task=task.words,
    )
    return [
        _read_curve(root, task, str(trial.attributes["run_id"]), trial.params)
        for trial in sweeping.trials(root)
        if trial.state == "finished"
    ]


def _read_curve(root: Path, task: Task, run_id: str, params: dict[str, Any]) -> Curve:
    """A training's curve out of its run."""
    with sqlite3.connect(root / "mlruns" / "mlflow.db") as base:

        def read(key: str) -> list[tuple[int, float]]:
            rows = base.execute(
                "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step",
                [run_id, key],
            )
            return [(int(step), float(value)) for step, value in rows]

        history, [(_, best)] = read(task.monitor), read(f"search/{task.monitor}")
        [(_, test)] = read(task.test_metric)
    return Curve(
        rate=float(params["model.optim.lr"]),
        steps=[step for step, _ in history],
        values=[float(f"{value:.5g}") for _, value in history],
        best=float(f"{best:.5g}"),
        test=float(f"{test:.5g}"),
    )


def _read() -> dict[str, Any]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def _format(known: dict[str, Any]) -> str:
    """JSON with a line for each curve."""
    tasks = []
    for name, task in known.items():
        curves = ",\n".join(json.dumps(curve) for curve in task["curves"])
        rest = {key: value for key, value in task.items() if key != "curves"}
        tasks.append(f'{json.dumps(name)}: {json.dumps(rest)[:-1]}, "curves": [\n{curves}\n]}}')
    return "{\n" + ",\n".join(tasks) + "\n}\n"
