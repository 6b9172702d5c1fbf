"""A sweep on the terminal: what each line says, and a table that fits and leaves nothing behind."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from src.search.trials import BudgetLimit, TrialRecord, estimate_remaining_seconds
from src.search.view import progress_table
from src.search.view.progress import ProgressDisplay
from src.search.view.progress_table import LiveTable, TrialTable, select_visible_trials
from src.tracking.console import ConsoleCapture

KEYS = ["model.optim.lr", "model.optim.weight_decay"]
NEW = TrialRecord(
    3, "running", {"model.optim.lr": 3.2e-05, "model.optim.weight_decay": "0.01"}, started_at=100.0
)
FIRST = TrialRecord(1, "finished", NEW.params, (0.498,), {1: 0.6, 2: 0.498}, {}, 0.0, 60.0)


def _live(*monitors: str) -> ProgressDisplay:
    return ProgressDisplay(monitors or ["val/loss"], ["min", "max"][: len(monitors) or 1], KEYS)


def _lines(
    capsys: pytest.CaptureFixture[str],
    *looks: list[TrialRecord],
    live: ProgressDisplay | None = None,
) -> list[str]:
    """What was printed at the last of several looks."""
    with live or _live() as shown:
        for rows in looks:
            capsys.readouterr()
            shown.update_trials(rows, {})
    return capsys.readouterr().out.splitlines()


def test_a_trial_from_beginning_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    second = replace(NEW, intermediate_values={1: 0.61, 2: 0.532})
    better = replace(NEW, intermediate_values={1: 0.61, 2: 0.4})
    assert _lines(capsys, [FIRST], [FIRST, NEW]) == ["trial 3 begins: lr=3.2e-05 weight_decay=0.01"]
    assert _lines(capsys, [FIRST, NEW], [FIRST, second]) == [
        "trial 3 validation 1: val/loss 0.61 (best so far: trial 1, 0.498)",
        "trial 3 validation 2: val/loss 0.532 (best so far: trial 1, 0.498)",
    ]
    assert _lines(capsys, [FIRST, NEW], [FIRST, better])[1] == (
        "trial 3 validation 2: val/loss 0.4 (better than the best so far: trial 1, 0.498)"
    )
    best = replace(better, state="finished", values=(0.4,), ended_at=112.0)
    assert _lines(capsys, [FIRST, better], [FIRST, best]) == [
        "trial 3 finished: val/loss 0.4, the best of 2 so far; 12 s"
    ]
    worse = replace(second, state="finished", values=(0.532,), ended_at=112.0)
    assert _lines(capsys, [FIRST, second], [FIRST, worse]) == [
        "trial 3 finished: val/loss 0.532; 12 s (best so far: trial 1, 0.498)"
    ]


def test_nothing_new_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _lines(capsys, [FIRST, NEW], [FIRST, NEW]) == []


def test_a_trial_that_begins_and_ends_between_two_looks(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _lines(capsys, [], [FIRST])
    assert [line.split(":")[0] for line in lines] == [
        "trial 1 begins",
        "trial 1 validation 1",
        "trial 1 validation 2",
        "trial 1 finished",
    ]


def test_pruned_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    going = replace(NEW, intermediate_values={1: 0.8, 2: 0.71})
    pruned = replace(going, state="pruned", values=(0.71,), ended_at=105.0)
    assert _lines(capsys, [going], [pruned]) == [
        "trial 3 pruned after 2 validations: val/loss 0.71"
    ]
    told = replace(
        pruned,
        attributes={"reason": "pruned after validation 2: val/loss 0.71, the median there is 0.6"},
    )
    assert _lines(capsys, [going], [told]) == [f"trial 3 {told.attributes['reason']}"]
    failed = replace(
        going, state="failed", attributes={"reason": "out of memory \x1b[31m(2 GiB)\n  and more"}
    )
    assert _lines(capsys, [going], [failed]) == [r"trial 3 FAILED: out of memory \x1b[31m(2 GiB)"]


def test_interrupted_and_taken_again(capsys: pytest.CaptureFixture[str]) -> None:
    going = replace(NEW, intermediate_values={1: 0.8})
    waiting = replace(going, state="waiting", started_at=None)
    assert _lines(capsys, [going], [waiting]) == [
        "trial 3 was interrupted after 1 validation: it waits to go on"
    ]
    assert _lines(capsys, [waiting], [going]) == [
        "trial 3 goes on after validation 1: lr=3.2e-05 weight_decay=0.01"
    ]
    smaller = replace(waiting, attributes={"out_of_memory": 1})
    assert "ran out of memory" in _lines(capsys, [going], [smaller])[0]
    exact = replace(waiting, attributes={"non_finite": 1})
    assert _lines(capsys, [going], [exact]) == [
        "trial 3 met a loss that is not finite in bf16: it is run again in fp32"
    ]
    again = replace(NEW, number=4, attributes={"retry_of": 3})
    assert _lines(capsys, [], [again]) == [
        "trial 4 begins (trial 3 once more): lr=3.2e-05 weight_decay=0.01"
    ]


def test_trials_of_an_earlier_call_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(FIRST, number=2, state="failed", values=None)
    assert _lines(capsys, [FIRST, failed]) == [
        "2 trials there already: 1 finished, 1 failed; best so far: trial 1, 0.498"
    ]


def test_the_best_of_each_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """Trials that end between the same two looks are compared in the order in which they ended."""
    late, early = (
        replace(FIRST, number=n, values=(v,), ended_at=t)
        for n, v, t in ((1, 0.3, 9.0), (2, 0.4, 8.0))
    )
    lines = [line for line in _lines(capsys, [], [late, early]) if "finished" in line]
    assert lines == [
        "trial 2 finished: val/loss 0.4, the best of 1 so far; 8 s",
        "trial 1 finished: val/loss 0.3, the best of 2 so far; 9 s",
    ]


def test_several_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        replace(FIRST, number=n, values=values, ended_at=n)
        for n, values in enumerate([(0.5, 0.9), (0.6, 0.8)])
    ]
    lines = [
        line
        for line in _lines(capsys, [], rows, live=_live("val/loss", "val/acc"))
        if "finished" in line
    ]
    assert (
        lines[0]
        == "trial 0 finished: val/loss 0.5, val/acc 0.9, on the Pareto front, of 1 so far; 0.0 s"
    )
    assert (
        lines[1] == "trial 1 finished: val/loss 0.6, val/acc 0.8; 1 s (1 trial on the Pareto front)"
    )


def test_a_value_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    odd = replace(FIRST, values=(float("nan"),), intermediate_values={1: float("nan")})
    assert _lines(capsys, [], [odd])[-1] == "trial 1 finished: val/loss nan; 60 s"


def test_a_closed_stdout_ends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "closed", "w") as stream:
        pass
    monkeypatch.setattr(sys, "stdout", stream)
    with ProgressDisplay(["val/loss"], ["min"], KEYS) as live:
        live.update_trials([], {})
        live.update_trials([FIRST], {})
        live.print_line("unheard")


def _many(count: int) -> list[TrialRecord]:
    states = ("finished", "pruned", "failed", "finished")
    rows = [
        replace(FIRST, number=n, state=states[n % 4], values=(n / 7,), ended_at=float(n))
        for n in range(1, count)
    ]
    return [*rows, replace(NEW, number=count), TrialRecord(count + 1, "waiting", {})]


def _table(rows: list[TrialRecord], width: int, height: int) -> list[str]:
    """The table in a terminal of this size, line by line."""
    table = TrialTable(
        trials=rows,
        monitors=["val/loss"],
        modes=["min"],
        keys=KEYS,
        name="sweep",
        steps={rows[-2].number: (5, 20)},
        seconds_left={rows[-2].number: 30.0},
        limits=[BudgetLimit("trials", 3, 20)],
        now=200.0,
    )
    # a column less than the terminal, and a row for the cursor
    console = Console(file=io.StringIO(), width=width - 1, height=height - 1, legacy_windows=False)
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [20, 40, 57, 80, 100, 200])
@pytest.mark.parametrize("count", [2, 12, 500])
def test_a_table_fits_its_terminal(width: int, count: int) -> None:
    lines = _table(_many(count), width, 24)
    assert len(lines) < 24
    assert all(cell_len(line) < width for line in lines)


def test_what_a_table_says() -> None:
    lines = _table(_many(3), 100, 24)
    assert lines[0].startswith("sweep | 3 of 20 trials | 1 pruned, 1 failed, 1 running, 1 waiting")
    assert lines[1].split() == ["trial", "lr", "weight_decay", "val/loss", "state", "step", "time"]
    assert lines[-1].split() == ["3", "3.2e-05", "0.01", "–", "running", "5/20", "30", "s", "left"]
    best = next(line for line in _table(_many(9), 100, 24) if "★" in line)
    assert best.split()[:6] == ["3", "3.2e-05", "0.01", "0.429", "best", "finished"]
    ascii_table = "\n".join(_table(_many(9), 70, 24)).encode("ascii", "ascii_table")
    assert b"finished *" in ascii_table and b"?" not in ascii_table


def test_a_row_says_which_validation_its_value_is_from() -> None:
    reports = {1: 0.7, 2: 0.6, 3: 0.65}
    going = replace(NEW, number=4, intermediate_values=reports)
    over = replace(FIRST, values=(0.6,), intermediate_values=reports)
    lines = _table([over, going, TrialRecord(5, "waiting", {})], 110, 24)
    rows = {line.split()[0]: line for line in lines}
    assert "0.6 best  finished" in rows["1"] and "0.65 last  running" in rows["4"]
    # what no validation measures has no best one
    assert FIRST.describe_choice("train/tokens_per_second") == ""
    assert NEW.describe_choice("val/loss") == ""


def test_what_finds_room() -> None:
    rows = _many(500)
    shown, hidden = select_visible_trials(rows, ["min"], 20)
    numbers = [row.number for row in shown]
    # the best five, the last three, the running one
    assert numbers == [3, 4, 7, 8, 11, 497, 498, 499, 500]
    assert hidden == 500 - len(numbers)
    assert [row.number for row in select_visible_trials(rows, ["min"], 3)[0]] == [3, 500]


class _Terminal:
    """A terminal whose other end is read here."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w")
        self.seen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                found = os.read(self.ours, 65536)
            except OSError:
                # nobody writes any more
                return
            if not found:
                return
            self.seen += found

    def __enter__(self) -> TextIO:
        """As stdout."""
        self._before, sys.stdout = sys.stdout, self.stream
        return self.stream

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._before
        self.stream.close()
        self._reader.join()
        os.close(self.ours)

    @property
    def text(self) -> str:
        return self.seen.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return _Terminal()


def test_a_table_on_a_terminal_leaves_its_copy_clean(terminal: _Terminal, tmp_path: Path) -> None:
    reason = {"reason": "out of memory"}
    failed = replace(NEW, number=4, state="failed", attributes=reason, ended_at=1.0)
    with terminal, ConsoleCapture(tmp_path / "console.log"):
        with ProgressDisplay(["val/loss"], ["min"], KEYS) as live:
            live.update_trials([FIRST, NEW], {3: (1, 10)})
            print("someone else")
            live.update_trials([FIRST, NEW, failed], {3: (2, 10)})
        print("afterwards")
    seen = terminal.text
    assert (tmp_path / "console.log").read_text().splitlines() == [
        "someone else",
        "trial 4 FAILED: out of memory",
        "afterwards",
    ]
    assert seen.count("\x1b[?25h") == seen.count("\x1b[?25l") > 0
    assert seen.rstrip().endswith("afterwards")
    # The screen at the end, from the movements: what was printed, then one table.
    shown = [line.split()[0] for line in _screen(seen)]
    assert shown == ["someone", "trial", "1", "trial", "1", "3", "4", "afterwards"]


def _screen(text: str) -> list[str]:
    """What a terminal would show that knows the few movements used here."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\??[\d;]*[A-Za-z]|\n)", text.replace("\r", "")):
        if part == "\n" or re.fullmatch(r"\x1b\[\d+B", part):
            row += 1 if part == "\n" else int(part[2:-1])
            lines += [""] * (row + 1 - len(lines))
        elif re.fullmatch(r"\x1b\[\d+A", part):
            row -= int(part[2:-1])
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[J":
            del lines[row + 1 :]
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] += part
    return [line for line in lines if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 110, 140])
def test_a_heading_breaks_between_facts_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, terminal: _Terminal, width: int
) -> None:
    monkeypatch.setattr(LiveTable, "measure_terminal", lambda _: (width - 1, 30))
    done = [replace(FIRST, number=number, ended_at=9.0) for number in range(3)]
    with terminal, ProgressDisplay(["val/loss"], ["min"], KEYS, name="imdb lr (tpe)") as live:
        limits = [BudgetLimit("trials", 3, 20), BudgetLimit("hours", 0.5, 2)]
        live.update_trials([NEW], {}, limits)
        live.update_trials([*done, replace(NEW, number=3)], {}, limits)
        live.update_trials([*done, replace(FIRST, number=3, ended_at=9.0)], {}, limits)
    lines = _screen(terminal.text)
    heads = lines[: next(n for n, line in enumerate(lines) if line.split()[0] == "trial")]
    facts = " | ".join(line.strip() for line in heads).split(" | ")
    assert facts == [
        "imdb lr (tpe)",
        "3 of 20 trials",
        "0.5 of 2 h",
        "4 finished",
        "best: trial 0, val/loss 0.498",
    ]
    assert all(cell_len(line) < width for line in lines)
    assert len(lines) == len(heads) + 1 + 4


def test_a_half_written_line_is_left_alone(terminal: _Terminal) -> None:
    with terminal, ProgressDisplay(["val/loss"], ["min"], KEYS) as live:
        sys.stdout.write("loading ...")
        live.update_trials([FIRST], {})
        sys.stdout.write(" done\n")
    assert "loading ... done" in terminal.text


def test_a_table_that_cannot_be_drawn_becomes_lines(
    terminal: _Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(progress_table, "TrialTable", broken)
    with terminal, ProgressDisplay(["val/loss"], ["min"], KEYS) as live:
        live.update_trials([], {})
        live.update_trials([NEW], {})
    seen = terminal.text
    assert "the table cannot be drawn (RuntimeError: no ink): plain lines from here on" in seen
    assert "trial 3 begins" in seen


def test_a_terminal_without_a_cursor_gets_lines(
    terminal: _Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal, ProgressDisplay(["val/loss"], ["min"], KEYS) as live:
        live.update_trials([NEW], {})
    assert terminal.text.strip() == "trial 3 begins: lr=3.2e-05 weight_decay=0.01"


def test_time_left_of_a_trial_comes_from_the_pace_seen_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    live = _live()
    # went on at step 100
    live.update_trials([], {3: (100, 200), 4: (5, 0)})
    assert live.estimate_seconds_left(now[0]) == {}
    now[0] += 10
    live.update_trials([], {3: (120, 200), 4: (9, 0)})
    assert live.estimate_seconds_left(now[0]) == {3: 40.0}
    # begun again
    live.update_trials([], {3: (1, 200)})
    assert live.estimate_seconds_left(now[0] + 1) == {}


def test_time_left_of_a_sweep() -> None:
    ended = [replace(FIRST, number=n, ended_at=10.0, attributes={"tokens": 100}) for n in range(4)]
    running = [replace(NEW, number=n, started_at=100.0) for n in (4, 5)]
    rows = [*ended, *running]
    # six trials of 10 s each, two at a time, of which 4 s each have gone by
    assert estimate_remaining_seconds(rows, [BudgetLimit("trials", 4, 10)], 104.0) == pytest.approx(
        (60 - 8) / 2
    )
    assert estimate_remaining_seconds(
        rows, [BudgetLimit("tokens", 400, 600)], 104.0
    ) == pytest.approx((20 - 8) / 2)
    assert estimate_remaining_seconds(
        rows, [BudgetLimit("trials", 4, 10), BudgetLimit("hours", 0.5, 0.501)], 104.0
    ) == pytest.approx(3.6)
    assert estimate_remaining_seconds(running, [BudgetLimit("trials", 0, 10)], 104.0) is None


def test_lines_cost_no_library() -> None:
    heavy = "rich", "matplotlib", "torch", "mlflow", "optuna"
    code = (
        "import sys, src.search.view.progress; sys.exit(any(name in sys.modules for name "
        f"in {heavy!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
