"""The loop of a sweep, with trials whose ends are written down beforehand instead of processes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from src.core.processes import get_process_identity
from src.core.user_errors import UserError
from src.search.run.worker_pool import ProcessExit, TrialJob
from src.search.sweep_study import SweepStudy
from src.search.trials import TrialRecord


class Live:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update_trials(
        self, rows: list[TrialRecord], steps: Mapping[int, tuple[int, int]], limits: object = ()
    ) -> None:
        pass

    def print_line(self, text: str) -> None:
        self.lines.append(text)


class Signals:
    received_signal: int | None = None


class Store:
    """Of the store only what the loop asks it for."""

    closed, root, uri = 0, "/project", None

    def close_vanished_runs(self) -> None:
        self.closed += 1

    def mark_ended(self, run_id: str, status: str, reason: str) -> None:
        self.ended = (run_id, status, reason)

    def find_run(self, run_id: str) -> Any:
        return SimpleNamespace(id=run_id, status="RUNNING")

    def search_runs(self, where: str) -> list[Any]:
        return []


class Trials:
    launcher_target = None

    def base_config(self) -> dict[str, Any]:
        return {"trainer": {"threads": None}}

    def compose_trial(self, overrides: list[str]) -> dict[str, Any]:
        if overrides == ["seed=13"]:
            raise UserError("seed=13: unlucky")
        return {"seed": overrides[0], "trainer": {"threads": None}}

    def trial_arguments(self, overrides: list[str]) -> list[str]:
        return overrides

    def launch_batch(self, batch: Any, first: int, folder: Path) -> None:
        raise AssertionError


class Workers:
    """Ends each trial at the next wait, as `act` says; it goes on where `act` returns None."""

    def __init__(
        self, study: SweepStudy, act: Callable[[SweepStudy, int], int | ProcessExit | None]
    ) -> None:
        self.running: dict[int, int] = {}
        self.orders: list[tuple[int, TrialJob]] = []
        self.sent_count: list[int] = []
        self.most = 0
        self._study, self._act = study, act

    def start_trial(self, number: int, job: TrialJob) -> None:
        self.running[number] = 1
        self.orders.append((number, job))
        self.most = max(self.most, len(self.running))

    def wait_for_exits(self, seconds: float) -> list[ProcessExit]:
        ended = [
            code if isinstance(code, ProcessExit) else ProcessExit(number, code)
            for number in self.running
            if (code := self._act(self._study, number)) is not None
        ]
        for gone in ended:
            del self.running[gone.number]
        return ended

    def adjust_slots(self, free: list[Any], used: int) -> str | None:
        return None

    def send_signal(self, signum: int, number: int | None = None) -> None:
        self.sent_count.append(signum)

    def kill_all(self) -> None:
        self.running.clear()


def finished(study: SweepStudy, number: int) -> int:
    study.end_trial(number, "finished", [float(number)])
    return 0


def states(study: SweepStudy) -> str:
    return " ".join(row.state for row in study.load_trials())


def gone_here() -> str:
    """A process of this machine that has ended."""
    words = get_process_identity().split()
    return " ".join([*words[:3], "1", "0.00"])
