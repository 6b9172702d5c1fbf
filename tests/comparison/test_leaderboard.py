"""The best settings of an experiment: ranked, with intervals, costs and the Pareto front."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import leaderboard
from src.comparison.leaderboard import _find_front
from src.comparison.leaderboard_text import describe_params
from src.tracking.store import Store
from tests.comparison.conftest import AddRun

Say = Callable[..., tuple[str, str]]


@pytest.fixture
def say(store: Store, capsys: pytest.CaptureFixture[str]) -> Say:
    """Type the command; what it prints, and what it says on stderr."""

    def say(*words: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert leaderboard.main(["--root", store.root, *words]) == code
        return capsys.readouterr()

    return say


@pytest.fixture
def boards(say: Say) -> Callable[..., list[dict[str, Any]]]:
    return lambda *words: json.loads(say(*words, "--json")[0])["boards"]


def test_settings_are_ranked_by_the_monitor(add_run: AddRun, boards: Any, say: Say) -> None:
    ids = {
        lr: [add_run(lr=lr, seed=seed, val=val + seed / 100) for seed in (1, 2)]
        for lr, val in ((0.1, 0.6), (0.2, 0.8), (0.3, 0.7))
    }
    [board] = boards()
    assert (board["metric"], board["test_metric"]) == ("best/val/accuracy", "test/accuracy")
    assert [entry["run_ids"] for entry in board["entries"]] == [ids[0.2], ids[0.3], ids[0.1]]
    first = board["entries"][0]
    # 0.81 and 0.82: t(0.975; 1) = 12.7062, times 0.00707 / sqrt(2) = 0.005
    assert first["score"]["interval"] == "seeds"
    assert first["score"]["low"] == pytest.approx(0.815 - 12.7062 * 0.005, abs=1e-5)
    assert first["params"] == {"model.optim.lr": "0.2"}
    shown, _ = say("--top", "2")
    assert shown.startswith("small by best/val/accuracy: the best 2 of 3 settings (rows bbbb)\n")
    assert "lr=0.2" in shown and "lr=0.1" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_an_interval_is_that_of_the_predictions(add_run: AddRun, boards: Any) -> None:
    add_run(right=range(80), rows=100)
    add_run(lr=0.5, accuracy=0.7)
    [board] = boards("--metric", "test/accuracy")
    first, second = (entry["score"] for entry in board["entries"])
    assert (first["value"], first["interval"]) == (0.8, "rows")
    assert (first["low"], first["high"]) == pytest.approx((0.72, 0.88), abs=0.011)
    assert (second["value"], second["interval"], second["low"]) == (0.7, "", None)


def test_a_board_for_every_data_set(add_run: AddRun, boards: Any, say: Say) -> None:
    for lr in (0.1, 0.2):
        add_run(lr=lr, right=range(5))
        add_run("other", lr=lr, right=range(5), digest="dddd")
    found = boards("--metric", "test/accuracy")
    assert {board["digest"]: board["names"] for board in found} == {
        "cccc": ["small"],
        "dddd": ["other"],
    }
    shown, _ = say("--metric", "test/accuracy")
    assert "2 boards: numbers of different metrics or rows do not compare" in shown
    assert "ranked by a test metric: the best of many is too good by chance" in shown
    # by validation they are one board, and its test column is said not to compare
    assert "board 1: not all settings were tested on the same rows" in say()[0]


def test_the_pareto_front_is_marked(add_run: AddRun, boards: Any, say: Say) -> None:
    for lr, val, tokens in ((0.1, 0.9, 300), (0.2, 0.8, 100), (0.3, 0.7, 200), (0.4, 0.6, 50)):
        add_run(lr=lr, val=val, tokens=tokens)
    [board] = boards("--cost", "tokens")
    assert [entry["is_on_front"] for entry in board["entries"]] == [True, True, False, True]
    assert [entry["costs"]["tokens"] for entry in board["entries"]] == [300, 100, 200, 50]
    shown, _ = say("--cost", "tokens")
    assert "*: no other setting has both a better score and fewer tokens" in shown
    assert " 3   0.7" in shown and " 4*  0.6" in shown


def test_equal_points_are_on_the_front_together() -> None:
    inf = float("inf")
    assert _find_front([(1, 5), (1, 5), (1, 6), (2, 5), (3, 4)]) == [True, True, False, False, True]
    assert _find_front([(1, inf), (2, 3), (3, inf)]) == [False, True, False]


def test_files_are_written(add_run: AddRun, say: Say, tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        add_run("<b>", lr=lr, val=lr)
    page, plot = tmp_path / "page.html", tmp_path / "plot.png"
    _, said = say("--html", str(page), "--plot", str(plot))
    assert f"written to {page}\nwritten to {plot}\n" in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in page.read_text() and "<script" not in page.read_text()
    assert "&lt;b&gt;" in page.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cost", "token"), "--cost token: did you mean 'tokens'?"),
        (("--top", "0"), "--top 0: expected a whole number from 1 to 1000"),
        (("--metric", "val/f1"), "none of these runs has this metric"),
        (("--plot", "/nowhere/x.png"), "there is no folder /nowhere"),
    ],
)
def test_mistakes_are_one_message(
    words: tuple[str, ...], message: str, add_run: AddRun, say: Say
) -> None:
    add_run()
    printed, said = say(*words, code=2)
    assert printed == "" and message in said


def test_unfinished_runs_are_left_out_and_said(add_run: AddRun, store: Store, say: Say) -> None:
    good, bad = add_run(), add_run(lr=0.5)
    store.mark_ended(bad, "FAILED", "a test")
    shown, _ = say()
    assert good[:8] in shown and bad[:8] not in shown
    assert "left out: 1 runs that have not finished" in shown
    assert "none of the 1 runs has finished" in say(bad, code=2)[1]


def test_keys_that_a_setting_lacks_do_not_hide_those_that_it_has() -> None:
    keys = [*(f"phases.short.data.key{place}" for place in range(60)), "model.optim.lr"]
    board: Any = SimpleNamespace(keys=keys)
    entry: Any = SimpleNamespace(params=dict.fromkeys(keys) | {"model.optim.lr": "0.1"})
    assert describe_params(board, entry) == "lr=0.1"
    entry = SimpleNamespace(params=dict.fromkeys(keys))
    assert describe_params(board, entry).startswith("key0=\N{EN DASH} key1=\N{EN DASH}")


@pytest.mark.parametrize(
    "tag", [{"data/summary": "[]"}, {"data/summary": '{"rows": [1]}'}, {"data.fingerprint": "x"}]
)
def test_runs_of_other_programs_are_ranked(
    tag: dict[str, str], store: Store, boards: Any, say: Say
) -> None:
    session = store.open()
    for value in (87.3, 88.0, math.inf, math.nan):
        run = session.client.create_run(session.experiment_id, None, tag, f"other {value}")
        session.client.log_metric(run.info.run_id, "test/accuracy", value)
        session.client.log_param(run.info.run_id, "x", str(value))
        session.client.set_terminated(run.info.run_id)
    [board] = boards("--metric", "test/accuracy")
    scores = [entry["score"] for entry in board["entries"]]
    # in percent, of which no binomial distribution speaks
    assert [(score["value"], score["interval"]) for score in scores] == [(88.0, ""), (87.3, "")]
    assert "left out: 2 runs without a number" in say("--metric", "test/accuracy")[0]
