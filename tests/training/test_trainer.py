"""How long a run is, in which arithmetic, and what its constructor refuses."""

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from src.core.user_errors import UserError
from src.training import precision
from src.training.precision import choose_precision
from src.training.trainer import Training


@pytest.mark.parametrize(
    ("options", "batches", "steps"),
    [
        ({"max_epochs": 3}, 10, 30),
        # 4 + 4 + 2: the last one of an epoch is stepped too
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 10, 9),
        ({"max_epochs": 3, "max_steps": 7}, 10, 7),
        ({"max_steps": 1000}, 10, 1000),
        ({"max_epochs": 2, "limit_batches": 5}, 10, 10),
        ({"max_epochs": 2, "limit_batches": 50}, 10, 20),
    ],
)
def test_steps_of_the_whole_run(options: dict[str, int], batches: int, steps: int) -> None:
    assert Training(**options).count_steps(batches).total_steps == steps


def test_no_limit_at_all_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"max_epochs and max_steps are both null: say how long to train"
    ):
        Training()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    training = Training(max_epochs=1, accelerator="gpu")
    with pytest.raises(UserError, match="torch sees no GPU here"):
        training.build(callbacks=[], logger=False, lightning_precision="32-true", root=".")


def test_arithmetic_is_chosen_by_trying_and_said_in_words() -> None:
    assert Training(max_epochs=1, precision="bf16").resolve_precision() == (
        "bf16-mixed",
        "bf16: as configured",
    )
    assert Training(max_epochs=1, precision="fp32").resolve_precision() == (
        "32-true",
        "fp32: as configured",
    )
    chosen, reason = choose_precision("cpu")
    assert chosen in ("fp32", "bf16")
    assert reason


@pytest.mark.parametrize("gpu", [True, False], ids=["with a GPU", "without one"])
@pytest.mark.parametrize(
    ("accelerator", "slower", "expected"),
    [
        ("cpu", 9.0, ("32-true", "fp32: a bf16 product takes 1/0.1 of an fp32 one here")),
        ("cpu", 0.5, ("bf16-mixed", "bf16: a bf16 product takes 1/2.0 of an fp32 one here")),
        ("mps", 0.5, ("32-true", "fp32: bf16 is not tried on mps")),
        ("auto", 9.0, ("32-true", "fp32: a bf16 product takes 1/0.1 of an fp32 one here")),
    ],
)
def test_arithmetic_is_that_of_the_device_which_trains(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    accelerator: Any,
    slower: float,
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: accelerator == "mps")
    monkeypatch.setattr(
        precision, "_time_matmul", lambda kind: slower if kind == torch.bfloat16 else 1.0
    )
    if gpu and accelerator == "auto":
        expected = ("bf16-mixed", "bf16: H200 has bf16 matrix units")
    assert Training(max_epochs=1, accelerator=accelerator).resolve_precision() == expected


def test_on_a_mac_auto_is_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert Training(max_epochs=1).resolve_precision() == (
        "32-true",
        "fp32: bf16 is not tried on mps",
    )


def test_a_run_without_a_progress_callback_shows_none() -> None:
    training = Training(max_epochs=1, accelerator="cpu")
    trainer = training.build(
        callbacks=[], logger=False, lightning_precision="32-true", root="nowhere"
    )
    assert trainer.progress_bar_callback is None
    bar = TQDMProgressBar()
    trainer = training.build(
        callbacks=[bar], logger=False, lightning_precision="32-true", root="nowhere"
    )
    assert trainer.progress_bar_callback is bar
