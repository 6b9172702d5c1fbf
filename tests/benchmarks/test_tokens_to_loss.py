"""The rule of evidence of the benchmark of losses in less time. Nothing is trained."""

import json
from typing import Any

import pytest

from benchmarks import tokens_to_loss
from benchmarks.tokens_to_loss import Line, summarise


def rows(name: str, losses: list[float], seconds: float, first: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "task": "novels",
            "contestant": name,
            "seed": seed,
            "test_loss": loss,
            "train_seconds": seconds,
        }
        for seed, loss in enumerate(losses, start=first)
    ]


def spread(center: float, count: int = 8) -> list[float]:
    return [center + 0.01 * (place % 2) for place in range(count)]


def judge(losses: list[float], seconds: float, first: int = 1) -> Line:
    base, line = summarise(
        rows("default", spread(3.5), 1200) + rows("muon", losses, seconds, first), "novels"
    )
    assert base.name == "default" and base.reached is None
    return line


@pytest.mark.parametrize(
    ("losses", "seconds", "reached"),
    [
        (spread(3.4), 719, True),
        (spread(3.4), 721, False),  # too long
        (spread(3.499), 700, False),  # lower by less than seeds differ
        (spread(3.6), 100, False),
        (spread(3.4, 7), 700, None),  # a seed is missing
    ],
)
def test_a_lower_loss_counts_by_eight_seeds_and_in_time(
    losses: list[float], seconds: float, reached: bool | None
) -> None:
    assert judge(losses, seconds).reached is reached


def test_seeds_that_chose_a_contestant_do_not_count() -> None:
    line = judge(spread(3.4), 700, tokens_to_loss.FIRST_CHOOSING_SEED)
    assert (line.p, line.reached) == (None, None)


@pytest.mark.parametrize(
    "arguments", [[], ["imdb"], ["novels", "only=adam"], ["novels", "seeds=x"]], ids=str
)
def test_a_mistake_is_told_before_anything_is_trained(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REAL_DATA", raising=False)
    assert tokens_to_loss.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_process_of_its_own_makes_one_training(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_to_loss, "train", lambda *asked: {"asked": asked})
    assert tokens_to_loss.main(["train", "novels", "muon", "3", "folder"]) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": ["novels", "muon", 3, "folder"]}
