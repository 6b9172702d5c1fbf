"""Which trials the loop of a sweep begins, and what it makes of their ends."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.core.processes import get_process_identity
from src.search.run.scheduler import explain_exit
from src.search.run.sweep_context import has_remaining_trials, read_progress
from src.search.run.trial import EXIT_NOT_REPORTED, EXIT_RETRY_CHANGED
from src.search.run.trial_spec import TrialSpec
from src.search.run.worker_pool import ProcessExit
from src.search.samplers import Random
from src.search.search_config import Search
from src.search.space import parse_space
from src.search.sweep_study import SweepStudy
from src.search.trials import TrialRecord
from tests.search.loop import Signals, finished, gone_here, states


def test_every_trial_once_and_no_more_at_a_time_than_slots(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("1,2,3,4,5", finished, jobs=2)
    working.run()
    assert states(study) == "finished " * 4 + "finished"
    assert [number for number, _ in workers.orders] == [0, 1, 2, 3, 4] and workers.most == 2
    order = workers.orders[0][1]
    assert order.config["trainer"]["threads"] == 2 and order.environment == {"SLOT": "0"}
    trial = TrialSpec.from_base64(order.trial)
    assert (trial.number, trial.parent, trial.shown_overrides, trial.resume) == (
        0,
        "a" * 32,
        ["seed=1"],
        None,
    )


def test_too_many_failures_end_the_sweep_and_no_more_begin(
    made: Callable[..., Any],
) -> None:
    def fails(study: SweepStudy, number: int) -> int:
        study.end_trial(number, "failed", reason="no")
        return 1

    working, _, study, live = made("1,2,3,4,5", fails, max_failures=1)
    working.run()
    assert states(study) == "failed failed" and working.failures == 2
    assert working.stop_reason == "2 failed trials, more than search.max_failures=1"
    assert live.lines == [f"{working.stop_reason}: no new ones begin"]


def test_a_process_that_ends_without_a_word(made: Callable[..., Any]) -> None:
    def killed(study: SweepStudy, number: int) -> int:
        study.set_trial_attributes(0, run_id="c" * 32)
        return -9 if number == 0 else finished(study, number)

    working, _, study, _ = made("1,2", killed)
    working.run()
    reason = study.load_trial(0).attributes["reason"]
    assert working._context.store.ended == ("c" * 32, "FAILED", reason)
    assert states(study) == "failed finished"
    assert (
        study.load_trial(0)
        .attributes["reason"]
        .startswith("killed by SIGKILL (the system does so where memory has run out); what")
    )


def lost(number: int) -> ProcessExit:
    return ProcessExit(number, 1, "NodeDiedError", is_lost=True)


def test_a_trial_whose_node_is_lost_goes_on_in_its_run(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.search.run.sweep_context.GRACE_SECONDS", 0.0)

    def ends(study: SweepStudy, number: int) -> int | ProcessExit:
        # more often than anything else may end a trial
        if len(workers.orders) <= 5:
            study.set_trial_attributes(number, run_id="c" * 32)
            return lost(number)
        return finished(study, number)

    working, workers, study, live = made("choice(1)", ends)
    working.run()
    assert states(study) == "finished" and working.failures == 0
    assert study.load_trial(0).attributes["lost_nodes"] == 5
    specs = [TrialSpec.from_base64(order.trial) for _, order in workers.orders]
    assert [spec.resume for spec in specs] == [None, *["c" * 32] * 5]
    reason = "its node was lost (NodeDiedError)"
    assert working._context.store.ended == ("c" * 32, "KILLED", reason)
    assert live.lines == ["trial 0: its node was lost (NodeDiedError); it waits to go on"] * 5


def test_a_trial_that_all_nodes_die_of_fails(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.search.run.sweep_context.GRACE_SECONDS", 0.0)
    working, workers, study, _ = made("choice(1)", lambda _, number: lost(number))
    working.run()
    assert states(study) == "failed" and len(workers.orders) == 11
    reason = "the nodes of 11 attempts were lost, the last by NodeDiedError"
    assert study.load_trial(0).attributes["reason"] == reason


def test_what_a_lost_trial_says_itself_is_waited_for(made: Callable[..., Any]) -> None:
    looks = iter(range(4))

    def ends(study: SweepStudy, number: int) -> ProcessExit:
        study.register_worker(
            number, owner=get_process_identity(), worker="node boot namespace 1 1.00"
        )
        return lost(number)

    working, _, study, _ = made("choice(1)", ends)
    load = study.load_trials

    def trials() -> list[TrialRecord]:
        if next(looks, None) is None:
            finished(study, 0)
        return load()

    study.load_trials = trials
    working.run()
    assert states(study) == "finished" and "lost_nodes" not in study.load_trial(0).attributes


def test_a_trial_that_is_ended_from_outside_goes_on_but_not_for_ever(
    made: Callable[..., Any],
) -> None:
    def released(study: SweepStudy, number: int) -> int:
        study.release_trial(number)
        return 143

    working, workers, study, _ = made("choice(1)", released)
    working.run()
    assert states(study) == "failed" and len(workers.orders) == 3
    assert study.load_trial(0).attributes["reason"] == "interrupted from outside, 3 times"


def test_out_of_memory_is_tried_again_with_smaller_batches(made: Callable[..., Any]) -> None:
    def short(study: SweepStudy, number: int) -> int:
        if study.load_trial(number).attributes.get("out_of_memory", 0) == 2:
            return finished(study, number)
        study.set_trial_attributes(
            number, out_of_memory=study.load_trial(number).attributes.get("out_of_memory", 0) + 1
        )
        study.release_trial(number)
        return EXIT_RETRY_CHANGED

    working, workers, study, _ = made("choice(1)", short, on_out_of_memory="halve")
    working.run()
    trials = [TrialSpec.from_base64(order.trial) for _, order in workers.orders]
    assert [trial.halvings for trial in trials] == [0, 1, 2] and all(
        trial.may_halve for trial in trials
    )
    assert states(study) == "finished" and working.failures == 0


def test_a_trial_that_has_released_itself_is_not_begun_again_before_its_process_has_ended(
    made: Callable[..., Any],
) -> None:
    looks = iter(range(100))

    def short(study: SweepStudy, number: int) -> int | None:
        if study.load_trial(number).attributes.get("out_of_memory"):
            return (
                EXIT_RETRY_CHANGED
                if next(looks) == 2
                else None
                if len(workers.orders) == 1
                else finished(study, number)
            )
        study.set_trial_attributes(number, out_of_memory=1)
        study.release_trial(number)
        return None

    working, workers, study, _ = made("choice(1)", short, jobs=2, on_out_of_memory="halve")
    working.run()
    assert states(study) == "finished" and working.failures == 0 and len(workers.orders) == 2


@pytest.mark.parametrize("code", [EXIT_RETRY_CHANGED, 143])
def test_a_trial_that_another_process_has_taken_meanwhile_is_not_judged(
    made: Callable[..., Any], code: int
) -> None:
    looks: list[int] = []

    def taken(study: SweepStudy, number: int) -> int | None:
        if not looks:
            study.release_trial(number)
            study.claim_trial("elsewhere boot namespace 1 1.00", max_trials=None)
        looks.append(number)
        return code

    working, _, study, _ = made("choice(1)", taken)
    working._schedule_trials(True)
    working._pending_exits += working._workers.wait_for_exits(0)
    working._schedule_trials(True)
    assert (
        states(study) == "running"
        and study.load_trial(0).attributes["owner"].startswith("elsewhere")
        and working.failures == 0
    )


def test_an_end_that_the_study_was_not_told_of_is_told_by_the_next_process(
    made: Callable[..., Any],
) -> None:
    def untold(study: SweepStudy, number: int) -> int:
        return EXIT_NOT_REPORTED if len(workers.orders) == 1 else finished(study, number)

    working, workers, study, _ = made("choice(1)", untold)
    working.run()
    assert states(study) == "finished" and working.failures == 0


def test_trials_hear_of_a_signal_also_after_too_many_failures(made: Callable[..., Any]) -> None:
    signals = Signals()

    def act(study: SweepStudy, number: int) -> int | None:
        if number == 0:
            study.end_trial(0, "failed", reason="no")
            return 1
        if working.stop_reason is not None:
            signals.received_signal = signal.SIGINT
        return 130 if workers.sent_count else None

    working, workers, study, _ = made("1,2", act, jobs=2, signals=signals, max_failures=0)
    working.run()
    assert workers.sent_count == [signal.SIGINT] and states(study) == "failed waiting"


def test_a_budget_that_is_used_up_leaves_what_waits_to_be_begun_again(
    made: Callable[..., Any],
) -> None:
    rows = [
        TrialRecord(0, "failed", {}, attributes={"replaced_by": 3}),
        *(TrialRecord(number, "finished", {}) for number in (1, 2)),
    ]
    rows.append(TrialRecord(3, "waiting", {}))
    space, _ = parse_space(["seed=interval(0,1)"], {})
    search = Search(sampler=Random(), monitor="val/loss", mode="min", space={}, max_trials=2)
    assert not has_remaining_trials(search, space, rows)
    assert has_remaining_trials(
        search,
        space,
        [*rows[:3], TrialRecord(3, "waiting", {}, started_at=1.0)],
        # it was interrupted
    )
    assert has_remaining_trials(replace(search, max_trials=3), space, rows)


def test_a_config_that_is_refused_fails_its_trial_alone(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("13,14", finished)
    working.run()
    assert (
        states(study) == "failed finished"
        and study.load_trial(0).attributes["reason"] == "seed=13: unlucky"
    )
    assert [number for number, _ in workers.orders] == [1]


def test_a_signal_is_passed_on_once_and_no_trial_begins_any_more(made: Callable[..., Any]) -> None:
    signals = Signals()

    def interrupted(study: SweepStudy, number: int) -> int | None:
        if signals.received_signal is None:
            signals.received_signal = signal.SIGINT
            return None
        return 130

    working, workers, study, _ = made("1,2", interrupted, signals=signals)
    working.run()
    assert (
        workers.sent_count == [signal.SIGINT]
        and states(study) == "waiting"
        and working.failures == 0
    )


def test_a_second_signal_leaves_nothing_running(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.search.run.scheduler._KILL_GRACE_SECONDS", 0.01)

    def again(study: SweepStudy, number: int) -> int | None:
        if not workers.sent_count:
            raise KeyboardInterrupt
        return None

    working, workers, study, _ = made("1,2", again)
    with pytest.raises(KeyboardInterrupt):
        working.run()
    assert states(study) == "waiting" and not workers.running


def test_what_a_process_that_is_gone_had_is_taken_up(made: Callable[..., Any]) -> None:
    working, workers, study, _ = made("1,2", finished)
    study.claim_trial(gone_here(), max_trials=None)
    study.set_trial_attributes(0, run_id="b" * 32)
    working.run()
    assert states(study) == "finished finished"
    assert TrialSpec.from_base64(workers.orders[0][1].trial).resume == "b" * 32


def test_a_trial_is_gone_when_all_its_processes_are(made: Callable[..., Any]) -> None:
    from src.core.processes import get_process_identity

    working, _, study, _ = made("choice(1)", finished)
    study.claim_trial(gone_here(), max_trials=None)
    assert working._context.is_abandoned(study.load_trial(0))
    study.set_trial_attributes(0, worker=get_process_identity())
    assert not working._context.is_abandoned(study.load_trial(0))


def test_progress_is_read_where_it_is_written(tmp_path: Path) -> None:
    rows = [
        TrialRecord(0, "running", {}),
        TrialRecord(1, "running", {}),
        TrialRecord(2, "finished", {}),
    ]
    for number in (0, 2):
        (tmp_path / f"{number}.progress").write_text("12 60")
    assert read_progress(tmp_path, rows) == {0: (12, 60)}


def test_causes() -> None:
    assert explain_exit(-15, None) == "killed by SIGTERM"
    assert (
        explain_exit(3, Path("x.log")) == "its process ended with exit code 3; what it said: x.log"
    )
