"""Who owns a sweep's run, and what a process says last."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.search.run.find_sweep import SweepRequest
from src.search.run.sweep import Sweep
from src.search.run.sweep_context import SweepContext
from src.search.samplers import Random
from src.search.search_config import Search
from src.search.space import parse_space
from src.search.sweep_study import SweepStorage
from tests.search.loop import Signals, gone_here

SWEEP = "a" * 32


class Store:
    root, uri, asked = "/project", None, 0

    def close_vanished_runs(self) -> None:
        self.asked += 1
        raise UserError("the store does not answer: postgresql://me:abcdefgh@there/base")

    def open(self) -> Any:
        return SimpleNamespace(describe_ui_page=lambda run_id: f"#/{run_id}")


def made(**node: Any) -> tuple[Sweep, Store]:
    space, _ = parse_space(["seed=interval(0,1)"], {})
    search = Search(sampler=Random(), monitor="val/loss", mode="min", space={}, **node)
    asked = SweepRequest(
        [], space.to_plain_dict(), {"sampler": {}, "pruner": None}, "", lambda *_: {}
    )
    store = Store()
    trials: Any = SimpleNamespace(launcher_target=None)
    sweep = Sweep(
        asked,
        search=search,
        space=space,
        base_config={},
        composer=trials,
        store=store,
    )  # type: ignore[arg-type]
    sweep._signals = Signals()  # type: ignore[assignment]
    return sweep, store


def left_by(owner: str) -> Any:
    return SimpleNamespace(
        study=SimpleNamespace(attributes={"owner": owner}),
        storage=SimpleNamespace(acquire_lock=nullcontext),
    )


def test_a_run_that_cannot_be_taken_over_now_is_asked_for_again_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("src.search.run.sweep._OWNERSHIP_POLL_SECONDS", -1.0)
    sweep, store = made(max_trials=2)
    for _ in range(2):
        assert sweep._take_over_if_orphaned(left_by(gone_here()), None) is None  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert (
        store.asked == 2
        and said.count("cannot be taken over now (") == 1
        and "abcdefgh" not in said
    )


def test_a_process_that_is_told_to_end_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.search.run.sweep._OWNERSHIP_POLL_SECONDS", -1.0)
    sweep, store = made(max_trials=2)
    sweep._signals.received_signal = 15  # type: ignore[union-attr]
    assert sweep._take_over_if_orphaned(left_by(""), None) is None and store.asked == 0  # type: ignore[arg-type]


def test_a_storage_that_is_away_at_the_end_does_not_take_the_place_of_what_ended_the_sweep(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away() -> list[Any]:
        raise OSError("no disk")

    sweep, _ = made(max_trials=2)
    work: Any = SimpleNamespace(study=SimpleNamespace(load_trials=away))
    with pytest.raises(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            sweep._finish_sweep(work, None)
    assert capsys.readouterr().err == "search: the sweep's last words are lost (OSError: no disk)\n"


def test_at_the_end_of_a_good_sweep_its_storage_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("src.core.retry.RETRY_INTERVAL_SECONDS", 0.0)
    sweep, _ = made(max_trials=2)
    storage = SweepStorage(None, tmp_path)
    storage.create_study(SWEEP, ["min"], {})
    study = storage.open_study(SWEEP)
    whole, calls = study.load_trials, iter(range(9))

    def rows() -> list[Any]:
        if next(calls) < 2:
            raise OSError("no disk")
        return whole()

    monkeypatch.setattr(study, "load_trials", rows)
    fields: dict[str, Any] = dict.fromkeys(SweepContext._fields)
    sweep._finish_sweep(SweepContext(**fields | {"study": study}), None)
    said = capsys.readouterr()
    assert (
        said.out.startswith(f"sweep {SWEEP} RUNNING  no trial")
        and said.err.count("search: OSError: no disk") == 1
    )


@pytest.mark.parametrize(("hours", "over"), [(1.0, True), (2.0, False)])
def test_a_sweep_whose_hours_are_used_up_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: float, over: bool
) -> None:
    sweep, _ = made(max_hours=hours)
    storage = SweepStorage(None, tmp_path)
    storage.create_study(SWEEP, ["min"], {"seconds": 3600.0})
    assert sweep._exit_code_if_complete(storage, SWEEP) == (0 if over else None)
    assert (
        "a higher search.max_hours or search.max_tokens goes on" in capsys.readouterr().out
    ) is over
