"""Trials by a launcher of Hydra's, with one that does nothing in the place of Hydra's."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.config.multirun import stopping
from src.search.identity import Asked
from src.search.launching import launched
from src.search.plan import Search
from src.search.rows import Row
from src.search.samplers import Grid
from src.search.space import read
from src.search.study import Storage, Study
from src.search.trial import VARIABLE, Trial
from src.search.working import Work
from src.tracking.ending import Terminated
from tests.search.loop import Live, Store, gone_here

SWEEP = "a" * 32


class Trials:
    """Each job is `act` with the trial that it is."""

    def __init__(self, act: Callable[[Trial], None], launcher: str | None) -> None:
        self._act, self.launcher = act, launcher
        self.batches: list[list[int]] = []

    def launch(self, batch: Sequence[tuple[Sequence[str], Mapping[str, str]]], first: int, folder: Path) -> None:
        trials = [Trial.decode(environment[VARIABLE]) for _, environment in batch]
        self.batches.append([each.number for each in trials])
        for each in trials:
            self._act(each)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Work]:
    def make(act: Callable[[Study, Trial], None], launcher: str | None = "submitit", **node: Any) -> Work:
        monkeypatch.setattr("src.search.launching._LOOK_SECONDS", 0.01)
        space, _ = read(["seed=1,2,3"], {})
        search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, **node)
        asked = Asked([], space.plain(), {"sampler": {}, "pruner": None}, "", lambda *_: {})
        storage = Storage(None, tmp_path)
        storage.create(SWEEP, ["min"], asked.about)
        study = storage.open(SWEEP, space=space, sampler=search.sampler)
        study.prepare(retry_failed=False)
        trials = Trials(lambda trial: act(study, trial), launcher)
        return Work(asked, search, space, trials, Store(), storage, study, tmp_path)  # type: ignore[arg-type]

    return make


def finish(study: Study, trial: Trial) -> None:
    assert study.enter(trial.number, owner=trial.owner, worker="job boot namespace 1 1.00")
    study.tell(trial.number, "finished", [1.0])


def states(work: Work) -> list[str]:
    return [row.state for row in work.study.rows()]


def test_a_batch_is_all_that_there_is(work: Callable[..., Work]) -> None:
    made = work(finish)
    assert launched(made, Live(), lambda: None) == (0, None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.trials.batches == [[0, 1, 2]]  # type: ignore[attr-defined]


def test_what_an_earlier_process_has_left_is_begun_again(work: Callable[..., Work]) -> None:
    made = work(finish, jobs=2)
    assert made.study.take(gone_here(), max_trials=None)
    launched(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.trials.batches == [[0, 1], [2]]  # type: ignore[attr-defined]


def test_trials_of_another_process_are_waited_for(work: Callable[..., Work]) -> None:
    made = work(finish)
    other = made.study.take("elsewhere boot namespace 1 1.00", max_trials=None)
    assert other is not None
    shown = iter(range(5))
    whole = made.study.rows

    def rows() -> list[Row]:
        if next(shown, None) is None:
            made.study.tell(other.number, "finished", [0.5])
        return whole()

    made.study.rows = rows  # type: ignore[method-assign]
    launched(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.trials.batches == [[1, 2]]  # type: ignore[attr-defined]


def test_a_job_that_says_nothing_fails_and_one_that_is_anothers_by_now_is_left_alone(work: Callable[..., Work]) -> None:
    def act(study: Study, trial: Trial) -> None:
        if trial.number == 1:
            study.release(1)
            study.take("elsewhere boot namespace 1 1.00", max_trials=None)
            assert not study.enter(1, owner=trial.owner, worker="job boot namespace 1 1.00")
            study.tell(1, "finished", [2.0])
        if trial.number == 2:
            finish(study, trial)

    made = work(act)
    assert launched(made, Live(), lambda: None) == (1, None)  # type: ignore[arg-type]
    assert states(made) == ["failed", "finished", "finished"]
    assert made.study.row(0).about["reason"].startswith("its job has ended without a word")


@pytest.mark.parametrize(("launcher", "left"), [(None, "waiting"), ("submitit", "running")])
def test_ctrl_c_releases_trials_of_this_process_and_leaves_those_of_a_scheduler(
    work: Callable[..., Work], launcher: str | None, left: str
) -> None:
    def act(study: Study, trial: Trial) -> None:
        raise KeyboardInterrupt

    made = work(act, launcher)
    with pytest.raises(KeyboardInterrupt):
        launched(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == [left] * 3


def test_a_trial_that_was_interrupted_in_this_process_ends_the_sweep() -> None:
    assert stopping(lambda _: 75)(None) == 75  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        stopping(lambda _: 130)(None)  # type: ignore[arg-type]
    with pytest.raises(Terminated, match="143"):
        stopping(lambda _: 143)(None)  # type: ignore[arg-type]
