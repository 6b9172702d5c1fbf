"""A study from its first trial to its best: what is made, who has it, how it ends, and what comes
back after that.
"""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError
from src.search.pruners import Halving, Hyperband, Median
from src.search.samplers import CMAES, TPE, Grid, QuasiRandom, Random
from src.search.space import SearchSpace, parse_space
from src.search.sweep_study import SweepStorage, SweepStudy

ME = "host boot namespace 1 1.00"
RATES = "model.optim.lr=tag(log, interval(1e-6,1e-3))"
DECAYS = "model.optim.weight_decay=0,0.01,0.1"

Opened = Callable[..., SweepStudy]


def space_of(*typed: str) -> SearchSpace:
    return parse_space(typed, {})[0]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty storage: a copy is there at once."""
    folder = tmp_path_factory.mktemp("blank")
    SweepStorage(None, folder).close()
    return folder / "search.db"


@pytest.fixture
def storage(blank: Path, tmp_path: Path) -> SweepStorage:
    shutil.copy(blank, tmp_path / "search.db")
    return SweepStorage(None, tmp_path)


@pytest.fixture
def opened(storage: SweepStorage) -> Opened:
    def make(
        *typed: str, sampler: Any = None, pruner: Any = None, modes: tuple[str, ...] = ("min",)
    ) -> SweepStudy:
        storage.create_study("sweep", modes, {"command": "as typed"})
        space = space_of(*(typed or (DECAYS,)))
        return storage.open_study("sweep", space=space, sampler=sampler or Random(), pruner=pruner)

    return make


def end(study: SweepStudy, value: float) -> int:
    row = study.claim_trial(ME, max_trials=None)
    assert row is not None
    assert study.end_trial(row.number, "finished", [value])
    return row.number


def test_a_study_keeps_what_it_was_made_with_and_what_was_noted(storage: SweepStorage) -> None:
    storage.create_study("first", ["min"], {"command": "a"})
    storage.create_study("second", ["max", "min"], {"command": "b"})
    storage.create_study("first", ["min"], {"command": "again"})
    storage.open_study("first").set_attribute("seconds", 3)
    assert storage.list_studies() == [
        ("second", {"command": "b"}),
        ("first", {"command": "a", "seconds": 3}),
    ]
    assert storage.open_study("first").attributes == {"command": "a", "seconds": 3}
    assert storage.open_study("second").modes == ["max", "min"]


def test_a_study_whose_making_was_cut_short_is_not_listed_and_is_made_whole(
    storage: SweepStorage,
) -> None:
    from optuna.study import StudyDirection

    storage.optuna_storage.create_new_study([StudyDirection.MINIMIZE], "half")
    assert storage.list_studies() == []
    storage.create_study("half", ["min"], {"command": "a"})
    assert storage.list_studies() == [("half", {"command": "a"})]


def test_an_unknown_study_is_a_fault_with_the_nearest_name(storage: SweepStorage) -> None:
    storage.create_study("1a2b3c4d", ["min"], {})
    with pytest.raises(UserError, match=r"no sweep 1a2b3c4e in sqlite:.*did you mean '1a2b3c4d'"):
        storage.open_study("1a2b3c4e")


def test_a_grid_is_taken_in_order_and_ends(opened: Opened) -> None:
    space = space_of("model.optim.lr=0.1,0.2", DECAYS)
    study = opened("model.optim.lr=0.1,0.2", DECAYS, sampler=Grid())
    assert study.load_trials() == []
    first = study.claim_trial(ME, max_trials=None)
    assert first is not None and first.attributes["owner"] == ME and first.started_at is not None
    assert (first.number, first.state) == (0, "running")
    taken = [row.params for _ in range(5) if (row := study.claim_trial(ME, max_trials=None))]
    assert [first.params, *taken] == [space.grid_point(index) for index in range(6)]
    assert [row.attributes["point"] for row in study.load_trials()] == [0, 1, 2, 3, 4, 5]
    assert study.claim_trial(ME, max_trials=None) is None


@pytest.mark.parametrize("written", [4, 6])
def test_points_of_a_grid_that_were_written_ahead_are_taken_first(
    opened: Opened, written: int
) -> None:
    """As earlier versions did, with all points or, where they were interrupted, with some."""
    space = space_of("model.optim.lr=0.1,0.2", DECAYS)
    study = opened("model.optim.lr=0.1,0.2", DECAYS, sampler=Grid())
    for index in range(written):
        study._create_trial(space.grid_point(index), "WAITING", point=index, complete=True)
    study.claim_trial(ME, max_trials=1)
    assert study.claim_trial(ME, max_trials=1) is None
    study.end_trial(0, "failed", reason="a disk was full")
    study.requeue_failed_trials()
    while study.claim_trial(ME, max_trials=None) is not None:
        pass
    rows = study.load_trials()
    assert [row.state for row in rows] == ["failed"] + ["running"] * 6
    assert [row.attributes["point"] for row in rows if not row.is_replaced] == (
        [1, 2, 3, 0, 4, 5] if written == 4 else [1, 2, 3, 4, 5, 0]
    )
    assert all(row.params == space.grid_point(row.attributes["point"]) for row in rows)


def test_the_points_of_a_grid_may_be_numbers(opened: Opened) -> None:
    study = opened("data.batching.batch_size=range(8,25,8)", sampler=Grid())
    while study.claim_trial(ME, max_trials=None) is not None:
        pass
    assert [row.params["data.batching.batch_size"] for row in study.load_trials()] == [8, 16, 24]


@pytest.mark.parametrize("sampler", [Random(seed=3), QuasiRandom(seed=3)])
def test_points_that_do_not_learn_are_functions_of_their_index(
    opened: Opened, sampler: Any
) -> None:
    space = space_of(RATES, DECAYS)
    study = opened(RATES, DECAYS, sampler=sampler)
    taken = [study.claim_trial(ME, max_trials=4) for _ in range(5)]
    assert taken.pop() is None
    assert [row and row.params for row in taken] == [
        sampler.sample_point(space, index) for index in range(4)
    ]


@pytest.mark.parametrize("sampler", [TPE(startup_trials=2), CMAES()])
def test_samplers_that_learn_give_every_key_within_its_bounds(opened: Opened, sampler: Any) -> None:
    study = opened(
        RATES, "model.dropout=interval(0,0.5)", "model.layers=range(1,5)", sampler=sampler
    )
    for _ in range(8):
        row = study.claim_trial(ME, max_trials=None)
        assert row is not None and list(row.params) == [
            "model.optim.lr",
            "model.dropout",
            "model.layers",
        ]
        lr, dropout, layers = row.params.values()
        assert isinstance(lr, float) and isinstance(dropout, float) and isinstance(layers, int)
        assert 1e-6 <= lr <= 1e-3 and 0 <= dropout <= 0.5 and 1 <= layers <= 4
        study.end_trial(row.number, "finished", [abs(math.log(lr / 1e-4))])


def test_an_ended_trial_stays_as_it_ended(opened: Opened) -> None:
    study = opened()
    number = end(study, 0.5)
    assert not study.end_trial(number, "failed", reason="too late")
    assert not study.set_trial_attributes(number, steps=1)
    assert not study.report_value(number, 1, 0.1)
    assert not study.release_trial(number)
    row = study.load_trial(number)
    assert (row.state, row.values, row.intermediate_values) == (
        "finished",
        (0.5,),
        {},
    ) and "reason" not in row.attributes
    assert (
        row.started_at is not None and row.ended_at is not None and row.ended_at >= row.started_at
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_makes_a_failed_trial(opened: Opened, value: float) -> None:
    study = opened()
    row = study.claim_trial(ME, max_trials=None)
    assert row is not None
    assert study.end_trial(row.number, "finished", [value], run_id="abc")
    row = study.load_trial(row.number)
    assert (row.state, row.values, row.attributes["run_id"]) == ("failed", None, "abc")
    assert row.attributes["reason"] == f"expected finite values at its end, found {value:g}"


def test_as_many_values_as_metrics_in_their_order(opened: Opened) -> None:
    study = opened(modes=("min", "max"))
    row = study.claim_trial(ME, max_trials=None)
    assert row is not None
    with pytest.raises(ValueError, match="cannot end with the values"):
        study.end_trial(row.number, "finished", [0.5])
    with pytest.raises(ValueError, match="cannot be pruned"):
        study.end_trial(row.number, "pruned")
    assert study.end_trial(row.number, "finished", [0.5, 0.9])
    assert study.load_trial(row.number).values == (0.5, 0.9)


def test_a_pruned_trial_has_its_last_report_as_its_value(opened: Opened) -> None:
    study = opened()
    for reports, values in (((0.9, 0.7), (0.7,)), ((0.9, math.nan), None), ((), None)):
        row = study.claim_trial(ME, max_trials=None)
        assert row is not None
        for validation, value in enumerate(reports, 1):
            study.report_value(row.number, validation, value)
        assert study.end_trial(row.number, "pruned", reason="worse than the median")
        assert (study.load_trial(row.number).state, study.load_trial(row.number).values) == (
            "pruned",
            values,
        )


def test_an_interrupted_trial_goes_on_under_its_number(opened: Opened) -> None:
    study = opened()
    first, second = study.claim_trial(ME, max_trials=None), study.claim_trial(ME, max_trials=None)
    assert first is not None and second is not None
    study.set_trial_attributes(0, worker="w", run_id="abc", reason="interrupted")
    assert study.release_trial(0)
    assert not study.release_trial(0)
    waiting = study.load_trial(0)
    assert (waiting.state, waiting.params) == ("waiting", first.params)
    assert "owner" not in waiting.attributes and "worker" not in waiting.attributes
    again = study.claim_trial("another", max_trials=2)
    assert again is not None
    assert (again.number, again.params, again.attributes["owner"]) == (0, first.params, "another")
    assert again.attributes["run_id"] == "abc" and "reason" not in again.attributes


def test_reports_that_a_trial_goes_back_behind_are_forgotten(
    opened: Opened, tmp_path: Path
) -> None:
    study = opened()
    study.claim_trial(ME, max_trials=None)
    for validation, value in ((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.6)):
        study.report_value(0, validation, value)
    # within one process: a value replaced
    assert study.load_trial(0).intermediate_values == {1: 0.9, 2: 0.6, 3: 0.7}
    study.release_trial(0)
    study.claim_trial(ME, max_trials=None)
    another = SweepStorage(None, tmp_path).open_study("sweep")
    another.report_value(0, 2, 0.5)
    assert study.load_trial(0).intermediate_values == {1: 0.9, 2: 0.5}
    assert study.load_trial(0).latest_value == 0.5
    third = SweepStorage(None, tmp_path).open_study("sweep")
    third.report_value(0, 1, 0.8)
    assert study.load_trial(0).intermediate_values == {1: 0.8}
    for validation, value in ((2, 0.4), (3, 0.3), (4, 0.2)):
        third.report_value(0, validation, value)
    assert study.load_trials()[0].intermediate_values == {1: 0.8, 2: 0.4, 3: 0.3, 4: 0.2}


def test_a_pruner_does_not_see_forgotten_reports(opened: Opened, tmp_path: Path) -> None:
    study = opened(pruner=Median(startup_trials=0))
    for _ in range(2):
        number = study.claim_trial(ME, max_trials=None).number  # type: ignore[union-attr]
        for validation in range(1, 5):
            study.report_value(number, validation, 1 / validation)
        study.end_trial(number, "finished", [0.25])
    study.claim_trial(ME, max_trials=None)
    for validation in (1, 2, 3):
        study.report_value(2, validation, 0.1)
    study.release_trial(2)
    study.claim_trial(ME, max_trials=None)
    resumed = SweepStorage(None, tmp_path).open_study("sweep", pruner=Median(startup_trials=0))
    resumed.report_value(2, 1, 2.0)
    assert resumed.should_prune(2)
    assert resumed.end_trial(2, "pruned")
    assert study.load_trial(2).values == (2.0,)


def test_only_trials_whose_processes_are_gone_are_released(opened: Opened) -> None:
    study = opened()
    for owner in ("gone", ME, "gone"):
        study.claim_trial(owner, max_trials=None)
    study.end_trial(2, "finished", [1.0])
    assert study.release_running_trials(lambda row: row.attributes["owner"] == "gone") == [0]
    assert [row.state for row in study.load_trials()] == ["waiting", "running", "finished"]


def test_a_failed_trial_is_begun_again_on_request_and_counts_once(opened: Opened) -> None:
    study = opened()
    for _ in range(3):
        study.claim_trial(ME, max_trials=3)
    study.end_trial(0, "finished", [1.0])
    study.end_trial(1, "failed", reason="a disk was full")
    study.end_trial(2, "finished", [2.0])
    assert study.claim_trial(ME, max_trials=3) is None
    study.requeue_failed_trials()
    study.requeue_failed_trials()
    failed, again = study.load_trial(1), study.claim_trial(ME, max_trials=3)
    assert again is not None
    assert (again.number, again.params, again.attributes["retry_of"]) == (3, failed.params, 1)
    assert (
        failed.is_replaced
        and failed.attributes["replaced_by"] == 3
        and failed.attributes["reason"] == "a disk was full"
    )
    assert study.claim_trial(ME, max_trials=3) is None
    fourth = study.claim_trial(ME, max_trials=4)
    assert fourth is not None
    assert (fourth.number, fourth.attributes["point"]) == (4, 3)
    # the one that came in between shifts nothing
    assert fourth.params == Random().sample_point(space_of(DECAYS), 3)


def test_a_budget_ends_a_grid_but_not_what_has_begun(opened: Opened) -> None:
    study = opened(sampler=Grid())
    study.claim_trial(ME, max_trials=1)
    assert study.claim_trial(ME, max_trials=1) is None
    study.release_trial(0)
    again = study.claim_trial(ME, max_trials=1)
    assert again is not None and again.number == 0
    more = study.claim_trial(ME, max_trials=2)
    assert more is not None and more.number == 1


def test_the_best_of_one_metric_is_the_earliest_of_equals(opened: Opened) -> None:
    study = opened(modes=("max",))
    assert study.load_best_trials() == []
    for value in (0.7, 0.9, 0.9, 0.8):
        end(study, value)
    study.claim_trial(ME, max_trials=None)
    study.report_value(4, 1, 0.99)
    study.end_trial(4, "pruned")
    assert [row.number for row in study.load_best_trials()] == [1]


def test_the_best_of_several_metrics_are_those_that_none_surpasses(opened: Opened) -> None:
    study = opened(modes=("min", "max"))
    for values in ((0.5, 0.8), (0.4, 0.7), (0.6, 0.7), (0.5, 0.8), (0.3, 0.1)):
        row = study.claim_trial(ME, max_trials=None)
        assert row is not None
        study.end_trial(row.number, "finished", values)
    assert [row.number for row in study.load_best_trials()] == [0, 1, 3, 4]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_importance_names_the_key_that_decides(opened: Opened, mode: str) -> None:
    study = opened("a.decides=interval(0,1)", "b.does_not=interval(0,1)", modes=(mode,))
    assert study.compute_importance() == {}
    for _ in range(20):
        row = study.claim_trial(ME, max_trials=None)
        assert row is not None
        loss = (float(row.params["a.decides"]) - 0.3) ** 2
        study.end_trial(row.number, "finished", [loss if mode == "min" else -loss])
    found = study.compute_importance()
    assert list(found) == ["a.decides", "b.does_not"]
    assert found["a.decides"] > 0.8 and sum(found.values()) == pytest.approx(1)
    assert study.compute_importance() == found


def test_importance_of_equal_trials_or_of_one_key_cannot_be_told(opened: Opened) -> None:
    study = opened(RATES, DECAYS)
    for _ in range(5):
        end(study, 0.5)
    assert study.compute_importance() == {}


@pytest.mark.parametrize("pruner", [Median(startup_trials=2), Halving(), Hyperband(validations=9)])
def test_a_hopeless_trial_is_pruned_and_the_best_is_not(opened: Opened, pruner: Any) -> None:
    study = opened(pruner=pruner)
    for number in range(5):
        study.claim_trial(ME, max_trials=None)
        for validation in range(1, 10):
            study.report_value(number, validation, 0.5)
        study.should_prune(number)
        study.end_trial(number, "finished", [0.5])
    for value, expected in ((0.9, True), (0.1, False)):
        row = study.claim_trial(ME, max_trials=None)
        assert row is not None
        verdicts = []
        for validation in range(1, 10):
            study.report_value(row.number, validation, value)
            verdicts.append(study.should_prune(row.number))
        assert any(verdicts) == expected
        study.end_trial(
            row.number, "pruned" if expected else "finished", None if expected else [value]
        )
        assert not study.should_prune(row.number)


def test_without_a_pruner_nothing_is_pruned(opened: Opened) -> None:
    study = opened()
    study.claim_trial(ME, max_trials=None)
    study.report_value(0, 1, math.nan)
    assert not study.should_prune(0)


def test_a_pruner_refuses_several_metrics(opened: Opened) -> None:
    with pytest.raises(
        UserError, match=r"search\.pruner: median judges by one metric, and search\.monitor names 2"
    ):
        opened(modes=("min", "max"), pruner=Median())


def test_trials_that_have_ended_are_not_read_again(opened: Opened, storage: SweepStorage) -> None:
    from sqlalchemy import event

    study = opened(DECAYS, "model.layers=range(1,11)", sampler=Grid())
    statements: list[str] = []
    event.listen(
        storage.rdb.engine, "before_cursor_execute", lambda *event: statements.append(event[2])
    )

    def count_statements() -> int:
        statements.clear()
        study.load_trials()
        return len(statements)

    none = count_statements()
    for number in range(30):
        end(study, number)
    assert len(study.load_trials()) == 30
    assert count_statements() == none <= 3
    study.claim_trial(ME, max_trials=None)
    assert count_statements() <= 8


def test_what_making_trials_needs_is_said(storage: SweepStorage) -> None:
    storage.create_study("sweep", ["min"], {})
    with pytest.raises(ValueError, match="opened with a space and a sampler"):
        storage.open_study("sweep").claim_trial(ME, max_trials=1)
