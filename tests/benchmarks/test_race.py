"""The harness of the benchmarks: what a turn counts, and how rows are shown. No timing is
asserted.
"""

import io
import json
from pathlib import Path

import pytest

from benchmarks import races, speed
from benchmarks.agreement import Agreement
from benchmarks.race import Clock, Turn, summary
from benchmarks.setting import Row


def test_a_clock_reports_after_the_steps_that_it_was_told() -> None:
    results = io.StringIO()
    clock = Clock(io.StringIO("2\n1\n9\n"), results)
    clock.note(parameters=7)
    clock.begin()
    for _ in range(3):
        clock.step()
    turns = [Turn(**json.loads(line)) for line in results.getvalue().splitlines()]
    assert [turn.steps for turn in turns] == [2, 1]
    assert all(
        turn.cpu_seconds >= 0 and turn.peak_bytes >= turn.resident_bytes // 2 > 0 for turn in turns
    )
    assert all(turn.noted == {"parameters": 7} for turn in turns)


def test_what_is_paused_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(0.0, 0.0), (1.0, 2.0), (11.0, 22.0), (12.0, 24.0), (12.0, 24.0)])
    monkeypatch.setattr("benchmarks.race._now", lambda: next(moments))
    results = io.StringIO()
    clock = Clock(io.StringIO("1\n1\n"), results)
    clock.begin()
    clock.pause()
    clock.resume()
    clock.step()
    turn = Turn(**json.loads(results.getvalue()))
    assert (turn.cpu_seconds, turn.wall_seconds) == (2.0, 4.0)


def _turn(steps: int, seconds: float) -> Turn:
    return Turn(steps, seconds, 2 * seconds, 1, 1, {})


def test_steps_that_cost_alike_take_the_median_and_others_the_mean() -> None:
    turns = [_turn(2, 2.0), _turn(2, 4.0), _turn(2, 12.0)]
    assert summary(turns, mixed=False).cpu_seconds == 2.0
    assert summary(turns, mixed=True).cpu_seconds == 3.0


@pytest.mark.parametrize(("seconds", "reached"), [(6.0, "| yes |"), (5.9, "| **no** |")])
def test_a_race_says_whether_its_gate_was_reached(seconds: float, reached: str) -> None:
    task = races.Task("a step", "tokens/s", 2048, {}, {}, {}, {"P1": 6}, "a note", mixed=False)
    taken = {"ours": 1.0, "P1": seconds, "P2": 2.0, "P3": 1.0}
    one = {name: summary([_turn(1, each)], mixed=False) for name, each in taken.items()}
    outcome = races.Outcome(task, one, {}, Agreement(0.0, 0.0))
    assert reached in races.line(outcome)
    assert races.line(outcome).count("|") == races.HEADER[0].count("|")


def test_a_missed_gate_is_said_plainly() -> None:
    row = Row("a row", 2.0, 3.0, "s", 1.5, "2 x", "a note", reached=False)
    assert "| **no** |" in speed.line(row)
    assert speed.line(row).count("|") == speed.HEADER[0].count("|") == speed.HEADER[1].count("|")


def test_a_benchmark_that_is_not_there_is_reported_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Row("a row", 2.0, 3.0, "s", 1.5, "2 x", "a note", reached=True)
    monkeypatch.setattr(speed, "PLACE", tmp_path)
    monkeypatch.setitem(speed.SIMPLE, "data", ("no_such_module", "rows", False))
    monkeypatch.setattr("benchmarks.overhead.rows", lambda: [row])
    assert speed.main(["only=data,overhead", "quick=true"]) == 1
    text = (tmp_path / "speed.md").read_text()
    assert "- data: not run" in text and speed.line(row) in text


def test_what_was_measured_before_stays_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Row("old", 2.0, 3.0, "s", 1.5, "2 x", "a note", reached=True)
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.overhead.rows", lambda: [row])
    monkeypatch.setattr("benchmarks.startup.rows", lambda: [row._replace(name="new")])
    monkeypatch.setattr(speed, "AT_START", "yesterday, commit a")
    assert speed.main(["only=overhead", "keep=true"]) == 0
    monkeypatch.setattr(speed, "AT_START", "today, commit b")
    assert speed.main(["only=startup", "keep=true"]) == 0
    text = (tmp_path / "speed.md").read_text()
    assert (
        "- measured yesterday, commit a: overhead" in text
        and "- measured today, commit b: startup" in text
    )
    assert "| old |" in text and "| new |" in text


@pytest.mark.parametrize("typed", ["only=sst3", "quick=maybe", "keep=1", "fast=true"])
def test_a_mistyped_option_is_a_persons_mistake(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main([typed]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_losses_that_lie_apart_do_not_agree() -> None:
    assert Agreement(1e-4, 1e-2).holds
    assert not Agreement(1e-2, 1e-2).holds
    assert not Agreement(1e-4, 1e-1).holds
