"""What a run would need, beside what it then takes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.config.build_nodes import build_node
from src.data.step_probe_data import StepProbeData
from src.pipeline.plan import RunPlan, plan_run
from src.pipeline.run import run
from src.plan import main
from src.tracking.store import Store
from src.training.step_probe import Timing, estimate_seconds_per_token
from tests.labelled import project_of
from tests.training.small_trainings import LABELLED, MASKED

QUIET = ("callbacks.progress.style=off", "tracking.system_metrics=false")
NOWHERE = ("data=files", "data/tokenizer=wordpiece")
Compose = Callable[..., dict[str, Any]]


def _list_files(folder: Path) -> dict[Path, int]:
    """Each file below `folder`, and when it was last changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "overrides",
    [
        (*LABELLED, "data.batching.warmup_batches=2"),
        (*LABELLED, "data.batching.length_warmup_tokens=8", "trainer.max_epochs=3"),
        (*MASKED, "trainer.max_steps=5", "trainer.val_check_steps=2", "model.freeze=1"),
        (*LABELLED, "trainer.accumulate_grad_batches=2", "callbacks.checkpoint.keep=null"),
    ],
)
def test_a_plan_is_what_the_run_then_takes(
    tmp_path: Path, blank_database: Path, composed: Compose, overrides: tuple[str, ...]
) -> None:
    root = project_of(tmp_path, blank_database)
    config = composed(*overrides, *QUIET, f"tracking.root={root}", f"data.cache={root}/.cache")
    before = _list_files(root / "mlruns")
    plan = plan_run(config)
    assert _list_files(root / "mlruns") == before

    outcome = run(**config)
    checkpoints = list((root / "mlruns" / "checkpoints" / outcome.run_id).glob("*.ckpt"))
    steps = [int(path.stem.partition("=")[2]) for path in checkpoints]
    assert max(steps) == plan.steps
    assert len(checkpoints) <= plan.max_checkpoints
    assert plan.checkpoint_bytes == pytest.approx(checkpoints[0].stat().st_size, rel=0.02)
    [model] = (root / "mlruns" / "artifacts").rglob("model")
    # besides, the temperature that the run has fitted
    size = sum(path.stat().st_size for path in model.iterdir())
    assert plan.model_bytes == pytest.approx(size, abs=500)
    metrics = Store(root=str(root)).open().client.get_run(outcome.run_id).data.metrics
    assert metrics["train/tokens"] == pytest.approx(plan.training_tokens, rel=0.05)
    assert plan.training_gigabytes <= plan.peak_gigabytes


def test_parameters_are_those_of_the_model(tmp_path: Path, composed: Compose) -> None:
    config = composed(
        *LABELLED,
        *QUIET,
        "model.freeze=embeddings",
        "trainer.max_minutes=0.001",
        f"tracking.root={tmp_path}",
        f"data.cache={tmp_path}/.cache",
    )
    plan = plan_run(config)
    module = build_node(config["model"]).build(None)
    data = build_node(config["data"]).build(None)
    data.prepare_data()
    module.set_dataset_info(data.dataset_info, 1)
    module.configure_model()
    sizes = [(item.numel(), item.requires_grad) for item in module.parameters()]
    assert plan.parameters == sum(size for size, _ in sizes)
    assert plan.trained_parameters == sum(size for size, trained in sizes if trained)
    assert plan.trained_parameters < plan.parameters
    assert plan.rows == {"train": 80, "validation": 12, "test": 4}
    assert plan.training_seconds <= 0.06
    # the store does not exist, and a plan does not make it
    assert not (tmp_path / "mlruns").exists()


def test_the_largest_batch_follows_the_first_step(tmp_path: Path, composed: Compose) -> None:
    config = composed(*LABELLED, f"data.cache={tmp_path}/.cache")
    data = build_node(config["data"]).build(None)
    data.prepare_data()
    probe = StepProbeData(data, steps=40, accumulate=2, limit_batches=None)
    lengths = np.diff(data.token_stores["train"].offsets)
    batches = probe.choose_training_batches()
    assert len(batches) == 80
    tokens = [lengths[key.rows].sum() for key in data.build_batch_sampler("train")]
    assert max(tokens) in [lengths[key.rows].sum() for key in batches[2:4]]
    assert probe.count_training_tokens(2) == sum(tokens[:4])
    assert probe.count_training_tokens(2 * math.ceil(len(tokens) / 2)) == 2 * lengths.sum()


def test_a_warm_up_and_a_compilation_do_not_count() -> None:
    timings = [Timing(9.0, 10), Timing(1.0, 10), Timing(2.4, 20), Timing(8.0, 10), Timing(1.1, 10)]
    assert estimate_seconds_per_token(timings) == pytest.approx(4.5 / 40)
    assert estimate_seconds_per_token(timings[:1]) == 0.9


def _plan() -> RunPlan:
    return RunPlan(
        parameters=1_234_567,
        trained_parameters=34_567,
        rows={"train": 1000, "validation": 100},
        tokens={"train": 20_000, "validation": 2_000},
        steps=100,
        validations=2,
        training_tokens=40_000,
        is_on_gpu=False,
        training_gigabytes=0.5,
        peak_gigabytes=0.61,
        checkpoint_bytes=14_800_000,
        max_checkpoints=2,
        model_bytes=4_940_000,
        start_seconds=9,
        step_seconds=0.2,
        training_seconds=20,
        validation_seconds=1,
        test_seconds=0,
    )


def test_a_plan_in_words() -> None:
    assert _plan().describe() == [
        "parameters: 1,234,567, 34,567 of them trained",
        "rows: train 1,000 (20,000 tokens), validation 100 (2,000 tokens)",
        "training: 100 steps, 40,000 tokens, 2 validations",
        "memory: 0.61 GB of the process at its peak, 0.50 GB in training steps",
        "disk: 34.5 MB: up to 2 checkpoints of 14.8 MB, the model 4.94 MB",
        "time: 31 s: start 9 s, training 20 s (200 ms a step), a validation 1 s",
    ]


def test_trials_of_a_sweep(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    configs = []

    def plan(config: dict[str, Any], **_: Any) -> RunPlan:
        configs.append(config)
        return _plan()

    monkeypatch.setattr("src.pipeline.plan.plan_run", plan)
    sweep = ("-m", "data=generated", "model.optim.lr=1e-4,1e-3", "seed=1,2,3", "search.jobs=2")
    assert main(sweep) == 0
    shown = capsys.readouterr().out
    assert [(config["model"]["optim"]["lr"], config["seed"]) for config in configs] == [
        (1e-4, 1),
        (1e-3, 3),
    ]
    assert "trial model.optim.lr=0.0001 seed=1\n" in shown
    assert "search: 6 trials at most, 2 at a time: 93 s if they take 31 s" in shown.replace(
        "\n  ", " "
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("+experiment=sst",), "did you mean 'sst2'?"),
        (("data=generated", "model.optim.rate=1"), "model.optim.rate"),
        (("-m", "data=generated"), "nothing varies"),
        (("resume=0123456789",), "a plan is of a run that begins"),
        ((*NOWHERE, "data.source.path=/nowhere/at/all.csv"), "/nowhere/at/all.csv"),
        (("--now",), "there is no option --now"),
    ],
)
def test_mistakes_are_told_as_by_a_run(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and message in shown.err
    assert "Traceback" not in shown.err
