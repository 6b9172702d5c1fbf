"""What the nodes of `callbacks` become."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import callbacks as theirs
from tqdm import tqdm

from src.training.callbacks import Checkpoint, EarlyStopping, Milestone, Progress
from src.training.checkpoint_callback import CheckpointCallback
from src.training.progress import Bar, Lines
from src.training.torch_compile import CompileCallback
from src.training.training_metrics import Meter


def test_a_checkpoint_is_kept_by_its_metric(tmp_path: Path) -> None:
    [made] = Checkpoint(monitor="val/accuracy", mode="max", keep=2).build(tmp_path)
    assert isinstance(made, CheckpointCallback) and isinstance(made, theirs.Checkpoint)
    assert made._retention.rank_with_candidate("a", 0.5) == {"a": 0.5}
    assert made.best_model_path == made.last_model_path == ""


def test_early_stopping(tmp_path: Path) -> None:
    [made] = EarlyStopping(monitor="val/loss", patience=2, min_delta=0.1).build(tmp_path)
    assert isinstance(made, theirs.EarlyStopping)
    assert (made.monitor, made.mode, made.patience) == ("val/loss", "min", 2)
    made.load_state_dict({**made.state_dict(), "patience": 9, "wait_count": 1})
    # patience is the config's, also in a fork
    assert (made.patience, made.wait_count) == (2, 1)


@pytest.mark.parametrize(
    ("mode", "values", "said"),
    [
        ("max", [0.6, 0.82, 0.7], None),
        ("max", [0.6, 0.8, 0.8], None),
        ("max", [0.6, 0.79, 0.7], "val/f1 has been 0.79 at best and not 0.8 by step 20"),
        ("min", [0.9, 0.79, 0.85], None),
        ("min", [0.9, float("nan"), 0.81], "0.81 at best"),
        ("max", [float("nan")] * 3, "nan at best"),
    ],
)
def test_a_milestone(tmp_path: Path, mode: Any, values: list[float], said: str | None) -> None:
    """Validated after 9, 18 and 27 steps; the third decides."""
    tags: dict[str, object] = {}
    hooks: Any = SimpleNamespace(tag=tags.__setitem__)
    config = Milestone(monitor="val/f1", mode=mode, step=20, mark=0.8)
    [made] = config.build(tmp_path, hooks)
    module: Any = SimpleNamespace(total_steps=90)
    for number, value in enumerate(values, start=1):
        trainer: Any = SimpleNamespace(
            callback_metrics={"val/f1": torch.tensor(value, dtype=torch.float64)},
            sanity_checking=False,
            global_step=9 * number,
            should_stop=False,
            is_global_zero=True,
            strategy=SimpleNamespace(reduce_boolean_decision=lambda missed, **_: missed),
        )
        # as if it went on from a checkpoint
        [again] = config.build(tmp_path, hooks)
        again.load_state_dict(made.state_dict())
        made = again
        made.on_validation_end(trainer, module)
        assert trainer.should_stop == (number == 3 and said is not None)
    if said is None:
        assert tags == {}
    else:
        assert said in str(tags["stopped_early"])
        assert "stopped at step 27 of 90" in str(tags["stopped_early"])
    made.on_validation_end(trainer, module)
    assert len(tags) == (said is not None)


def test_progress_is_a_bar_or_lines_or_nothing(tmp_path: Path) -> None:
    # tests run without a terminal, so auto means lines
    for style, kind in (("bar", Bar), ("auto", Lines), ("lines", Lines), ("off", Lines)):
        [made] = Progress(style=style).build(tmp_path)
        assert isinstance(made, kind) and isinstance(made, theirs.ProgressBar)


def test_checkpoints_of_all_versions_have_the_same_keys(tmp_path: Path) -> None:
    [stopping] = EarlyStopping(monitor="val/f1", mode="max").build(tmp_path)
    assert stopping.state_key == (
        "EarlyStopping.build.<locals>.Stopping{'monitor': 'val/f1', 'mode': 'max'}"
    )
    assert (Meter().state_key, CompileCallback().state_key) == ("Meter", "Compiling")


def test_what_is_said_after_ctrl_c_begins_on_a_line_of_its_own() -> None:
    bar, written = Bar(), io.StringIO()
    bar._line = tqdm(bar_format="{desc}", file=written, leave=True)
    bar._line.set_description_str("step 3/9")
    unused: Any = None
    bar.on_exception(unused, unused, KeyboardInterrupt())
    assert written.getvalue().endswith("\n")
    bar.on_exception(unused, unused, KeyboardInterrupt())
    Bar().on_exception(unused, unused, KeyboardInterrupt())
