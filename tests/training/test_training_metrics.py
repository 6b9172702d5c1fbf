"""What is logged on the way, held against hand-counted truths, by a Trainer on a tiny module."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from src.training import training_metrics
from src.training.flops import ForwardCost
from src.training.step_control import StepControl
from src.training.training_metrics import Meter, peak_memory_gigabytes


class Ids(NamedTuple):
    ids: torch.Tensor
    cu_seqlens: torch.Tensor = torch.tensor([0])


class Batch(NamedTuple):
    tokens: Ids
    loss: float
    count: int


class Fixed(LightningModule):
    """Reports losses that the batches bring along."""

    # whether steps report the mean loss apart from the one that is minimised
    says_mean = False

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.total_steps = total_steps
        self.validated_at: list[int] = []

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        loss = self.weight.sum() * 0 + batch.loss
        return {
            "loss": loss,
            "count": batch.count,
            **({"mean_loss": loss.detach() / 2} if self.says_mean else {}),
        }

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        if not self.validated_at or self.validated_at[-1] != self.global_step:
            self.validated_at.append(self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Kept(Logger):
    name = version = "kept"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "train/loss" in metrics:
            self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


def fit(
    batches: Sequence[Any], *, every: int, accumulate: int = 1, max_steps: int = -1, sanity: int = 0
) -> tuple[Kept, Fixed]:
    logger = Kept()
    steps = max_steps if max_steps > 0 else -(-len(batches) // accumulate)
    module = Fixed(steps)
    trainer = Trainer(
        max_epochs=1 if max_steps < 0 else -1,
        max_steps=max_steps,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=every,
        accumulate_grad_batches=accumulate,
        callbacks=[Meter(), StepControl(total_steps=steps)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=sanity,
    )
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return logger, module


def test_what_the_bar_shows_lies_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning turns it into numbers after every step; a plain number would be put on the module's
    device first.
    """
    shown: list[tuple[str, Any]] = []
    monkeypatch.setattr(Fixed, "log", lambda module, name, value, **_: shown.append((name, value)))
    fit([Batch(Ids(torch.zeros(4)), 2.0, 1)] * 2, every=1)
    assert [name for name, _ in shown] == ["train/loss", "tokens/s"] * 2
    assert all(isinstance(value, torch.Tensor) and value.device.type == "cpu" for _, value in shown)


def batch(loss: float, count: int, tokens: int) -> Batch:
    return Batch(Ids(torch.zeros(tokens)), loss, count)


pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")


def test_a_window_is_the_mean_over_its_targets_not_over_its_batches() -> None:
    logger, _ = fit(
        [batch(1.0, 10, 5), batch(4.0, 30, 5), batch(2.0, 1, 5), batch(6.0, 3, 5)], every=2
    )
    assert [step for step, _ in logger.rows] == [2, 4]
    assert [row["train/loss"] for _, row in logger.rows] == [(10 + 120) / 40, (2 + 18) / 4]


class Masked(NamedTuple):
    tokens: Ids
    masked_positions: torch.Tensor
    loss: float
    count: int


def test_the_share_of_masked_tokens_is_that_of_the_window() -> None:
    """3 and 1 of 10 tokens, then 2 of 4; a batch without targets counts for nothing."""
    masked = [
        Masked(Ids(torch.zeros(tokens)), torch.arange(count), 1.0, count)
        for tokens, count in ((10, 3), (10, 1), (4, 2), (4, 0))
    ]
    logger, _ = fit(masked, every=2)
    assert [row["train/mask_fraction"] for _, row in logger.rows] == [0.2, 0.5]
    logger, _ = fit([batch(1.0, 10, 5), batch(4.0, 30, 5)], every=2)
    assert "train/mask_fraction" not in logger.rows[0][1]


def test_accumulated_batches_weigh_the_same() -> None:
    logger, _ = fit(
        [batch(1.0, 10, 5), batch(4.0, 30, 5), batch(2.0, 1, 5), batch(6.0, 3, 5)],
        every=1,
        accumulate=2,
    )
    assert [(step, row["train/loss"]) for step, row in logger.rows] == [(1, 3.25), (2, 5.0)]


def test_the_last_window_is_logged_however_short() -> None:
    logger, _ = fit([batch(float(place), 1, 5) for place in range(5)], every=3)
    assert [(step, row["train/loss"]) for step, row in logger.rows] == [(3, 1.0), (5, 3.5)]


def test_times_and_rates_belong_together() -> None:
    logger, _ = fit([batch(1.0, 1, 7), batch(1.0, 1, 9)], every=2)
    [(_, row)] = logger.rows
    assert row["train/data_seconds"] + row["train/compute_seconds"] == pytest.approx(
        row["train/step_seconds"]
    )
    assert row["train/tokens_per_second"] * row["train/step_seconds"] * 2 == pytest.approx(16)
    assert row["train/lr"] == 0.5
    assert row["train/epoch"] == 1.0
    assert peak_memory_gigabytes(torch.device("cpu")) > 0.05


def test_validation_before_training_is_no_training_time() -> None:
    begin = time.perf_counter()
    logger, _ = fit([batch(1.0, 1, 5)] * 2, every=2, sanity=1)
    assert 0 < logger.rows[0][1]["train/step_seconds"] * 2 < time.perf_counter() - begin


def test_a_run_that_ends_within_an_epoch_is_validated_at_its_last_step() -> None:
    _, module = fit([batch(1.0, 1, 5)] * 10, every=100, max_steps=13)
    assert module.validated_at == [10, 13]


def test_the_mean_loss_is_logged_where_the_minimised_one_is_scaled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Fixed, "says_mean", True)
    logger, _ = fit([batch(1.0, 10, 5), batch(4.0, 30, 5)], every=2)
    assert [row["train/loss"] for _, row in logger.rows] == [(10 + 120) / 40 / 2]


def test_a_window_goes_on_after_a_checkpoint(tmp_path: Path) -> None:
    """Epochs of three steps, windows of two: the second window is cut by the end of the first
    process.
    """
    batches = [batch(1.0, 10, 5), batch(4.0, 30, 6), batch(2.0, 1, 7)]
    rows, state = [], tmp_path / "last.ckpt"
    for epochs in (1, 2):
        logger = Kept()
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=logger,
            log_every_n_steps=2,
            callbacks=[Meter()],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
        loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(
            Fixed(6),
            loader,
            loader,
            ckpt_path=str(state) if state.exists() else None,
            weights_only=True,
        )
        trainer.save_checkpoint(state)
        rows += logger.rows
    assert [step for step, _ in rows] == [2, 4, 6]
    assert [row["train/loss"] for _, row in rows] == [
        (10 + 120) / 40,
        (2 + 10) / 11,
        (120 + 2) / 31,
    ]
    assert [row["train/tokens"] for _, row in rows] == [11, 11 + 7 + 5, 36]
    assert all(row["train/step_seconds"] > 0 for _, row in rows)


def test_energy_is_logged_where_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that says one joule more each time that it is asked."""
    readings = iter(range(1000))
    monkeypatch.setattr(
        training_metrics,
        "build_energy_counter",
        lambda device, first_of_machine: lambda: float(next(readings)),
    )
    logger, _ = fit([batch(1.0, 1, 4)] * 4, every=2)
    assert all(row["train/joules_per_token"] == 1 / 8 for _, row in logger.rows)
    assert 0 < logger.rows[0][1]["system/energy_joules"] < logger.rows[1][1]["system/energy_joules"]


def test_nothing_is_invented_where_energy_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        training_metrics, "build_energy_counter", lambda device, first_of_machine: None
    )
    logger, _ = fit([batch(1.0, 1, 4)] * 2, every=2)
    assert (
        not {"train/joules_per_token", "system/energy_joules", "train/mfu"}
        & logger.rows[0][1].keys()
    )


def test_operations_are_those_of_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 multiplications a token, 2 a pair, 8 a target; texts of 3 and 2 tokens, one target, twice
    in a window.
    """
    monkeypatch.setattr(
        training_metrics, "count_forward_cost", lambda encoder: ForwardCost(4, 8, 2, (None,))
    )
    monkeypatch.setattr(training_metrics, "measure_peak_flops", lambda device, dtype: 1e6)
    monkeypatch.setattr(Fixed, "encoder", torch.nn.Identity(), raising=False)
    logger, _ = fit([Batch(Ids(torch.zeros(5), torch.tensor([0, 3, 5])), 1.0, 1)] * 2, every=2)
    [(_, row)] = logger.rows
    flops = 2 * 6 * (5 * 4 + 2 * (9 + 4) + 8)
    assert row["train/tflops_per_second"] * 1e12 * row["train/step_seconds"] * 2 == pytest.approx(
        flops
    )
    assert row["train/mfu"] == pytest.approx(row["train/tflops_per_second"] * 1e12 / 1e6)
