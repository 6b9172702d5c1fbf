"""A sweep while its storage, or the store of its runs, does not answer."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from src.search.sweep_study import SweepStudy
from tests.search.loop import Signals, finished, gone_here, states


@pytest.mark.parametrize(
    "broken",
    [
        "claim_trial",
        "load_trials",
        "load_trial",
        "end_trial",
        "set_trial_attributes",
        "release_running_trials",
    ],
)
def test_a_storage_that_does_not_answer_for_a_while_costs_no_trial(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr("src.search.run.scheduler._POLL_SECONDS", -1.0)

    def ends(study: SweepStudy, number: int) -> int:
        return (
            -9 if number == 1 else finished(working._context.storage.open_study(study.name), number)
        )

    working, _, study, live = made("1,2,3", ends)
    # for release_running_trials
    study.claim_trial(gone_here(), max_trials=None)
    whole, calls = getattr(study, broken), iter(range(1000))

    def away(*given: Any, **named: Any) -> Any:
        if next(calls) in (0, 1, 4, 5):
            raise OperationalError("SELECT 1", {}, Exception("locked; password=abcdefgh"))
        return whole(*given, **named)

    monkeypatch.setattr(study, broken, away)
    working.run()
    assert states(study) == "finished failed finished" and working.failures == 1
    assert study.load_trial(1).attributes["reason"].startswith("killed by SIGKILL")
    assert (
        live.lines[0].startswith("search: OperationalError: ") and "abcdefgh" not in live.lines[0]
    )
    assert (
        live.lines[1].startswith("search: it answers again, after ")
        and working._context.store.closed == 1
    )


def test_a_storage_that_answers_no_more_and_a_mistake_end_the_sweep(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.core.retry.MAX_OUTAGE_SECONDS", 0.0)
    working, _, study, live = made("1,2", finished)
    monkeypatch.setattr(
        study, "claim_trial", lambda *_, **__: (_ for _ in ()).throw(OSError("no disk"))
    )
    with pytest.raises(OSError, match="no disk"):
        working.run()
    assert len(live.lines) == 1
    monkeypatch.setattr(
        study, "claim_trial", lambda *_, **__: (_ for _ in ()).throw(KeyError("a mistake"))
    )
    with pytest.raises(KeyError):
        working.run()


def test_a_signal_while_the_storage_is_away(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = Signals()

    def interrupted(study: SweepStudy, number: int) -> int | None:
        monkeypatch.setattr(study, "load_trials", lambda: (_ for _ in ()).throw(OSError("no disk")))
        signals.received_signal = signal.SIGTERM
        return 143 if workers.sent_count else None

    working, workers, _, _ = made("1,2", interrupted, signals=signals)
    working.run()
    assert workers.sent_count == [signal.SIGTERM] and working.stop_reason == "stopped by SIGTERM"
