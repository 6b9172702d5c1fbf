"""What the nodes of `callbacks` become."""

from pathlib import Path

from lightning.pytorch import callbacks as theirs

from src.training.callbacks import Checkpoint, EarlyStopping, Progress


def test_a_checkpoint_is_kept_by_its_metric(tmp_path: Path) -> None:
    [made] = Checkpoint(monitor="val/accuracy", mode="max", keep=2).build(tmp_path)
    assert isinstance(made, theirs.ModelCheckpoint)
    assert (made.monitor, made.mode, made.save_top_k) == ("val/accuracy", "max", 2)
    assert made.dirpath == str(tmp_path)
    assert made.format_checkpoint_name({"step": 7}).endswith("step=7.ckpt")  # no metric: it may not be there yet


def test_early_stopping(tmp_path: Path) -> None:
    [made] = EarlyStopping(monitor="val/loss", patience=2, min_delta=0.1).build(tmp_path)
    assert isinstance(made, theirs.EarlyStopping)
    assert (made.monitor, made.mode, made.patience) == ("val/loss", "min", 2)


def test_progress_is_a_bar_or_lines_or_nothing(tmp_path: Path) -> None:
    assert isinstance(Progress(style="bar").build(tmp_path)[0], theirs.TQDMProgressBar)
    for style in ("auto", "lines", "off"):  # tests run without a terminal, so auto means lines
        [made] = Progress(style=style).build(tmp_path)
        assert isinstance(made, theirs.ProgressBar)
        assert not isinstance(made, theirs.TQDMProgressBar)
