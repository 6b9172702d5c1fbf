"""A study from its first trial to its best: what is made, who has it, how it ends, and what comes back after that."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.search.pruners import Halving, Hyperband, Median
from src.search.samplers import CMAES, TPE, Grid, QuasiRandom, Random
from src.search.space import Space, read
from src.search.study import Storage, Study
from src.terms.fault import Fault

ME = "host boot namespace 1 1.00"
RATES = "model.optim.lr=tag(log, interval(1e-6,1e-3))"
DECAYS = "model.optim.weight_decay=0,0.01,0.1"

Opened = Callable[..., Study]


def space_of(*typed: str) -> Space:
    return read(typed, {})[0]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty storage: a copy is there at once."""
    folder = tmp_path_factory.mktemp("blank")
    Storage(None, folder).close()
    return folder / "search.db"


@pytest.fixture
def storage(blank: Path, tmp_path: Path) -> Storage:
    shutil.copy(blank, tmp_path / "search.db")
    return Storage(None, tmp_path)


@pytest.fixture
def opened(storage: Storage) -> Opened:
    def make(*typed: str, sampler: Any = None, pruner: Any = None, modes: tuple[str, ...] = ("min",)) -> Study:
        storage.create("sweep", modes, {"command": "as typed"})
        space = space_of(*(typed or (DECAYS,)))
        return storage.open("sweep", space=space, sampler=sampler or Random(), pruner=pruner)

    return make


def end(study: Study, value: float) -> int:
    row = study.take(ME, max_trials=None)
    assert row is not None
    assert study.tell(row.number, "finished", [value])
    return row.number


def test_a_study_keeps_what_it_was_made_with_and_what_was_noted(storage: Storage) -> None:
    storage.create("first", ["min"], {"command": "a"})
    storage.create("second", ["max", "min"], {"command": "b"})
    storage.create("first", ["min"], {"command": "again"})
    storage.open("first").note("seconds", 3)
    assert storage.studies() == [("second", {"command": "b"}), ("first", {"command": "a", "seconds": 3})]
    assert storage.open("first").about == {"command": "a", "seconds": 3}
    assert storage.open("second").modes == ["max", "min"]


def test_a_study_whose_making_was_cut_short_is_not_listed_and_is_made_whole(storage: Storage) -> None:
    from optuna.study import StudyDirection

    storage.rdb.create_new_study([StudyDirection.MINIMIZE], "half")
    assert storage.studies() == []
    storage.create("half", ["min"], {"command": "a"})
    assert storage.studies() == [("half", {"command": "a"})]


def test_an_unknown_study_is_a_fault_with_the_nearest_name(storage: Storage) -> None:
    storage.create("1a2b3c4d", ["min"], {})
    with pytest.raises(Fault, match=r"no sweep 1a2b3c4e in sqlite:.*did you mean '1a2b3c4d'"):
        storage.open("1a2b3c4e")


def test_a_grid_is_made_once_and_taken_in_order(opened: Opened) -> None:
    space = space_of("model.optim.lr=0.1,0.2", DECAYS)
    study = opened("model.optim.lr=0.1,0.2", DECAYS, sampler=Grid())
    study.prepare(retry_failed=False)
    study.prepare(retry_failed=False)
    assert [row.state for row in study.rows()] == ["waiting"] * 6
    assert [row.about["point"] for row in study.rows()] == [0, 1, 2, 3, 4, 5]
    first = study.take(ME, max_trials=None)
    assert first is not None and first.about["owner"] == ME and first.started_at is not None
    assert (first.number, first.state) == (0, "running")
    taken = [row.params for _ in range(5) if (row := study.take(ME, max_trials=None))]
    assert [first.params, *taken] == [space.point(index) for index in range(6)]
    assert study.take(ME, max_trials=None) is None


def test_the_points_of_a_grid_may_be_numbers(opened: Opened) -> None:
    study = opened("data.batching.batch_size=range(8,25,8)", sampler=Grid())
    study.prepare(retry_failed=False)
    assert [row.params["data.batching.batch_size"] for row in study.rows()] == [8, 16, 24]


@pytest.mark.parametrize("sampler", [Random(seed=3), QuasiRandom(seed=3)])
def test_points_that_do_not_learn_are_functions_of_their_index(opened: Opened, sampler: Any) -> None:
    space = space_of(RATES, DECAYS)
    study = opened(RATES, DECAYS, sampler=sampler)
    taken = [study.take(ME, max_trials=4) for _ in range(5)]
    assert taken.pop() is None
    assert [row and row.params for row in taken] == [sampler.point(space, index) for index in range(4)]


@pytest.mark.parametrize("sampler", [TPE(startup_trials=2), CMAES()])
def test_samplers_that_learn_give_every_key_within_its_bounds(opened: Opened, sampler: Any) -> None:
    study = opened(RATES, "model.dropout=interval(0,0.5)", "model.layers=range(1,5)", sampler=sampler)
    for _ in range(8):
        row = study.take(ME, max_trials=None)
        assert row is not None and list(row.params) == ["model.optim.lr", "model.dropout", "model.layers"]
        lr, dropout, layers = row.params.values()
        assert isinstance(lr, float) and isinstance(dropout, float) and isinstance(layers, int)
        assert 1e-6 <= lr <= 1e-3 and 0 <= dropout <= 0.5 and 1 <= layers <= 4
        study.tell(row.number, "finished", [abs(math.log(lr / 1e-4))])


def test_an_ended_trial_stays_as_it_ended(opened: Opened) -> None:
    study = opened()
    number = end(study, 0.5)
    assert not study.tell(number, "failed", reason="too late")
    assert not study.put(number, steps=1)
    assert not study.report(number, 1, 0.1)
    assert not study.release(number)
    row = study.row(number)
    assert (row.state, row.values, row.reports) == ("finished", (0.5,), {}) and "reason" not in row.about
    assert row.started_at is not None and row.ended_at is not None and row.ended_at >= row.started_at


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_makes_a_failed_trial(opened: Opened, value: float) -> None:
    study = opened()
    row = study.take(ME, max_trials=None)
    assert row is not None
    assert study.tell(row.number, "finished", [value], run_id="abc")
    row = study.row(row.number)
    assert (row.state, row.values, row.about["run_id"]) == ("failed", None, "abc")
    assert row.about["reason"] == f"expected finite values at its end, found {value:g}"


def test_as_many_values_as_metrics_in_their_order(opened: Opened) -> None:
    study = opened(modes=("min", "max"))
    row = study.take(ME, max_trials=None)
    assert row is not None
    with pytest.raises(ValueError, match="cannot end with the values"):
        study.tell(row.number, "finished", [0.5])
    with pytest.raises(ValueError, match="cannot be pruned"):
        study.tell(row.number, "pruned")
    assert study.tell(row.number, "finished", [0.5, 0.9])
    assert study.row(row.number).values == (0.5, 0.9)


def test_a_pruned_trial_has_its_last_report_as_its_value(opened: Opened) -> None:
    study = opened()
    for reports, values in (((0.9, 0.7), (0.7,)), ((0.9, math.nan), None), ((), None)):
        row = study.take(ME, max_trials=None)
        assert row is not None
        for validation, value in enumerate(reports, 1):
            study.report(row.number, validation, value)
        assert study.tell(row.number, "pruned", reason="worse than the median")
        assert (study.row(row.number).state, study.row(row.number).values) == ("pruned", values)


def test_an_interrupted_trial_goes_on_under_its_number(opened: Opened) -> None:
    study = opened()
    first, second = study.take(ME, max_trials=None), study.take(ME, max_trials=None)
    assert first is not None and second is not None
    study.put(0, worker="w", run_id="abc", reason="interrupted")
    assert study.release(0)
    assert not study.release(0)
    waiting = study.row(0)
    assert (waiting.state, waiting.params) == ("waiting", first.params)
    assert "owner" not in waiting.about and "worker" not in waiting.about
    again = study.take("another", max_trials=2)
    assert again is not None
    assert (again.number, again.params, again.about["owner"]) == (0, first.params, "another")
    assert again.about["run_id"] == "abc" and "reason" not in again.about


def test_reports_that_a_trial_goes_back_behind_are_forgotten(opened: Opened, storage: Storage) -> None:
    study = opened()
    study.take(ME, max_trials=None)
    for validation, value in ((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.6)):
        study.report(0, validation, value)
    assert study.row(0).reports == {1: 0.9, 2: 0.6, 3: 0.7}  # within one process: a value replaced
    study.release(0)
    study.take(ME, max_trials=None)
    another = storage.open("sweep")
    another.report(0, 2, 0.5)
    assert study.row(0).reports == {1: 0.9, 2: 0.5}
    assert study.row(0).last == 0.5


def test_only_trials_whose_processes_are_gone_are_released(opened: Opened) -> None:
    study = opened()
    for owner in ("gone", ME, "gone"):
        study.take(owner, max_trials=None)
    study.tell(2, "finished", [1.0])
    assert study.release_gone(lambda row: row.about["owner"] == "gone") == [0]
    assert [row.state for row in study.rows()] == ["waiting", "running", "finished"]


def test_a_failed_trial_is_begun_again_on_request_and_counts_once(opened: Opened) -> None:
    study = opened()
    for _ in range(3):
        study.take(ME, max_trials=3)
    study.tell(0, "finished", [1.0])
    study.tell(1, "failed", reason="a disk was full")
    study.tell(2, "finished", [2.0])
    assert study.take(ME, max_trials=3) is None
    study.prepare(retry_failed=False)
    assert study.take(ME, max_trials=3) is None
    study.prepare(retry_failed=True)
    study.prepare(retry_failed=True)
    failed, again = study.row(1), study.take(ME, max_trials=3)
    assert again is not None
    assert (again.number, again.params, again.about["retry_of"]) == (3, failed.params, 1)
    assert failed.replaced and failed.about["replaced_by"] == 3 and failed.about["reason"] == "a disk was full"
    assert study.take(ME, max_trials=3) is None
    fourth = study.take(ME, max_trials=4)
    assert fourth is not None
    assert (fourth.number, fourth.about["point"]) == (4, 3)
    assert fourth.params == Random().point(space_of(DECAYS), 3)  # the one that came in between shifts nothing


def test_a_budget_ends_a_grid_that_waits_but_not_what_has_begun(opened: Opened) -> None:
    study = opened(sampler=Grid())
    study.prepare(retry_failed=False)
    study.take(ME, max_trials=1)
    assert study.take(ME, max_trials=1) is None
    study.release(0)
    again = study.take(ME, max_trials=1)
    assert again is not None and again.number == 0
    more = study.take(ME, max_trials=2)
    assert more is not None and more.number == 1


def test_the_best_of_one_metric_is_the_earliest_of_equals(opened: Opened) -> None:
    study = opened(modes=("max",))
    assert study.best() == []
    for value in (0.7, 0.9, 0.9, 0.8):
        end(study, value)
    study.take(ME, max_trials=None)
    study.report(4, 1, 0.99)
    study.tell(4, "pruned")
    assert [row.number for row in study.best()] == [1]


def test_the_best_of_several_metrics_are_those_that_none_surpasses(opened: Opened) -> None:
    study = opened(modes=("min", "max"))
    for values in ((0.5, 0.8), (0.4, 0.7), (0.6, 0.7), (0.5, 0.8), (0.3, 0.1)):
        row = study.take(ME, max_trials=None)
        assert row is not None
        study.tell(row.number, "finished", values)
    assert [row.number for row in study.best()] == [0, 1, 3, 4]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_importance_names_the_key_that_decides(opened: Opened, mode: str) -> None:
    study = opened("a.decides=interval(0,1)", "b.does_not=interval(0,1)", modes=(mode,))
    assert study.importance() == {}
    for _ in range(20):
        row = study.take(ME, max_trials=None)
        assert row is not None
        loss = (float(row.params["a.decides"]) - 0.3) ** 2
        study.tell(row.number, "finished", [loss if mode == "min" else -loss])
    found = study.importance()
    assert list(found) == ["a.decides", "b.does_not"]
    assert found["a.decides"] > 0.8 and sum(found.values()) == pytest.approx(1)
    assert study.importance() == found


def test_importance_of_equal_trials_or_of_one_key_cannot_be_told(opened: Opened) -> None:
    study = opened(RATES, DECAYS)
    for _ in range(5):
        end(study, 0.5)
    assert study.importance() == {}


@pytest.mark.parametrize("pruner", [Median(startup_trials=2), Halving(), Hyperband(validations=9)])
def test_a_hopeless_trial_is_pruned_and_the_best_is_not(opened: Opened, pruner: Any) -> None:
    study = opened(pruner=pruner)
    for number in range(5):
        study.take(ME, max_trials=None)
        for validation in range(1, 10):
            study.report(number, validation, 0.5)
        study.prunes(number)
        study.tell(number, "finished", [0.5])
    for value, expected in ((0.9, True), (0.1, False)):
        row = study.take(ME, max_trials=None)
        assert row is not None
        verdicts = []
        for validation in range(1, 10):
            study.report(row.number, validation, value)
            verdicts.append(study.prunes(row.number))
        assert any(verdicts) == expected
        study.tell(row.number, "pruned" if expected else "finished", None if expected else [value])
        assert not study.prunes(row.number)


def test_without_a_pruner_nothing_is_pruned(opened: Opened) -> None:
    study = opened()
    study.take(ME, max_trials=None)
    study.report(0, 1, math.nan)
    assert not study.prunes(0)


def test_a_pruner_refuses_several_metrics(opened: Opened) -> None:
    with pytest.raises(Fault, match=r"search\.pruner: median judges by one metric, and search\.monitor names 2"):
        opened(modes=("min", "max"), pruner=Median())


def test_many_trials_are_read_in_a_fixed_number_of_statements(opened: Opened, storage: Storage) -> None:
    from sqlalchemy import event

    study = opened(DECAYS, "model.layers=range(1,11)", sampler=Grid())
    statements: list[str] = []
    event.listen(storage.rdb.engine, "before_cursor_execute", lambda *event: statements.append(event[2]))

    def counted() -> int:
        statements.clear()
        study.rows()
        return len(statements)

    none = counted()
    study.prepare(retry_failed=False)
    assert len(study.rows()) == 30
    assert counted() == none <= 6


def test_what_making_trials_needs_is_said(storage: Storage) -> None:
    storage.create("sweep", ["min"], {})
    with pytest.raises(ValueError, match="opened with a space and a sampler"):
        storage.open("sweep").take(ME, max_trials=1)
