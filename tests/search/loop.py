"""The loop of a sweep, with trials whose ends are written down beforehand instead of processes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from src.search.rows import Row
from src.search.study import Study
from src.terms.fault import Fault
from src.tracking.vanished import this_process


class Ended(NamedTuple):
    number: int
    code: int


class Live:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, rows: list[Row], steps: Mapping[int, tuple[int, int]], limits: object = ()) -> None:
        pass

    def line(self, text: str) -> None:
        self.lines.append(text)


class Signals:
    received: int | None = None


class Store:
    """Of the store only what the loop asks it for."""

    closed, root, uri = 0, "/project", None

    def close_vanished(self) -> None:
        self.closed += 1

    def fail(self, run_id: str, reason: str) -> None:
        self.failed = (run_id, reason)

    def runs(self, where: str) -> list[Any]:
        return []


class Trials:
    launcher = None

    def base(self) -> dict[str, Any]:
        return {"trainer": {"threads": None}}

    def config(self, overrides: list[str]) -> dict[str, Any]:
        if overrides == ["seed=13"]:
            raise Fault("seed=13: unlucky")
        return {"seed": overrides[0], "trainer": {"threads": None}}

    def arguments(self, overrides: list[str]) -> list[str]:
        return overrides

    def launch(self, batch: Any, first: int, folder: Path) -> None:
        raise AssertionError


class Workers:
    """Ends each trial at the next `wait`, as `act` says; a trial for which it returns None goes on."""

    def __init__(self, study: Study, act: Callable[[Study, int], int | None]) -> None:
        self.running: dict[int, int] = {}
        self.orders: list[tuple[int, Mapping[str, Any]]] = []
        self.sent: list[int] = []
        self.most = 0
        self._study, self._act = study, act

    def start(self, number: int, order: Mapping[str, Any]) -> None:
        self.running[number] = 1
        self.orders.append((number, order))
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> list[Ended]:
        ended = [Ended(number, code) for number in self.running if (code := self._act(self._study, number)) is not None]
        for each in ended:
            del self.running[each.number]
        return ended

    def send(self, signum: int, number: int | None = None) -> None:
        self.sent.append(signum)

    def kill(self) -> None:
        self.running.clear()


def finished(study: Study, number: int) -> int:
    study.tell(number, "finished", [float(number)])
    return 0


def states(study: Study) -> str:
    return " ".join(row.state for row in study.rows())


def gone_here() -> str:
    """A process of this machine that has ended."""
    words = this_process().split()
    return " ".join([*words[:3], "1", "0.00"])
