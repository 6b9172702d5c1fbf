"""Trials by a launcher of Hydra's, with one that does nothing in the place of Hydra's."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from src.core.run_ending import TerminatedBySignal
from src.search.run.find_sweep import SweepRequest
from src.search.run.launcher_trials import run_with_launcher
from src.search.run.multirun import raise_on_signal_exit
from src.search.run.sweep_context import SweepContext
from src.search.run.trial_spec import TRIAL_VARIABLE, TrialSpec
from src.search.samplers import Grid
from src.search.search_config import Search
from src.search.space import parse_space
from src.search.sweep_study import SweepStorage, SweepStudy
from src.search.trials import TrialRecord
from tests.search.loop import Live, Store, gone_here

SWEEP = "a" * 32


class Trials:
    """Each job is `act` with the trial that it is."""

    def __init__(self, act: Callable[[TrialSpec], None], launcher: str | None) -> None:
        self._act, self.launcher_target, self.uses_slurm = act, launcher, launcher == "slurm"
        self.batches: list[list[int]] = []

    def launch_batch(
        self, batch: Sequence[tuple[Sequence[str], Mapping[str, str]]], first: int, folder: Path
    ) -> None:
        trials = [TrialSpec.from_base64(environment[TRIAL_VARIABLE]) for _, environment in batch]
        self.batches.append([trial.number for trial in trials])
        for trial in trials:
            self._act(trial)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SweepContext]:
    def make(
        act: Callable[[SweepStudy, TrialSpec], None], launcher: str | None = "submitit", **node: Any
    ) -> SweepContext:
        monkeypatch.setattr("src.search.run.launcher_trials._POLL_SECONDS", 0.01)
        space, _ = parse_space(["seed=1,2,3"], {})
        search = Search(sampler=Grid(), monitor="val/loss", mode="min", space={}, **node)
        asked = SweepRequest(
            [], space.to_plain_dict(), {"sampler": {}, "pruner": None}, "", lambda *_: {}
        )
        storage = SweepStorage(None, tmp_path)
        storage.create_study(SWEEP, ["min"], asked.stored_attributes)
        study = storage.open_study(SWEEP, space=space, sampler=search.sampler)
        trials = Trials(lambda trial: act(study, trial), launcher)
        return SweepContext(asked, search, space, trials, Store(), storage, study, tmp_path)  # type: ignore[arg-type]

    return make


def finish(study: SweepStudy, trial: TrialSpec) -> None:
    assert study.register_worker(
        trial.number, owner=trial.owner, worker="job boot namespace 1 1.00"
    )
    study.end_trial(trial.number, "finished", [1.0])


def states(work: SweepContext) -> list[str]:
    return [row.state for row in work.study.load_trials()]


def test_a_batch_is_all_that_there_is(work: Callable[..., SweepContext]) -> None:
    made = work(finish)
    assert run_with_launcher(made, Live(), lambda: None) == (0, None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.composer.batches == [[0, 1, 2]]  # type: ignore[attr-defined]


def test_what_an_earlier_process_has_left_is_begun_again(work: Callable[..., SweepContext]) -> None:
    made = work(finish, jobs=2)
    assert made.study.claim_trial(gone_here(), max_trials=None)
    run_with_launcher(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.composer.batches == [[0, 1], [2]]  # type: ignore[attr-defined]


def test_trials_of_another_process_are_waited_for(work: Callable[..., SweepContext]) -> None:
    made = work(finish)
    other = made.study.claim_trial("elsewhere boot namespace 1 1.00", max_trials=None)
    assert other is not None
    shown = iter(range(5))
    whole = made.study.load_trials

    def rows() -> list[TrialRecord]:
        if next(shown, None) is None:
            made.study.end_trial(other.number, "finished", [0.5])
        return whole()

    made.study.load_trials = rows  # type: ignore[method-assign]
    run_with_launcher(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == ["finished"] * 3 and made.composer.batches == [[1, 2]]  # type: ignore[attr-defined]


def test_a_job_that_says_nothing_fails_and_one_that_is_anothers_by_now_is_left_alone(
    work: Callable[..., SweepContext],
) -> None:
    def act(study: SweepStudy, trial: TrialSpec) -> None:
        if trial.number == 1:
            study.release_trial(1)
            study.claim_trial("elsewhere boot namespace 1 1.00", max_trials=None)
            assert not study.register_worker(
                1, owner=trial.owner, worker="job boot namespace 1 1.00"
            )
            study.end_trial(1, "finished", [2.0])
        if trial.number == 2:
            finish(study, trial)

    made = work(act)
    assert run_with_launcher(made, Live(), lambda: None) == (1, None)  # type: ignore[arg-type]
    assert states(made) == ["failed", "finished", "finished"]
    assert (
        made.study.load_trial(0).attributes["reason"].startswith("its job has ended without a word")
    )


def test_a_job_that_began_and_vanished_fails(work: Callable[..., SweepContext]) -> None:
    def act(study: SweepStudy, trial: TrialSpec) -> None:
        assert study.register_worker(trial.number, owner=trial.owner, worker=gone_here())
        if trial.number:
            study.end_trial(trial.number, "finished", [1.0])

    made = work(act)
    assert run_with_launcher(made, Live(), lambda: None) == (1, None)  # type: ignore[arg-type]
    assert states(made) == ["failed", "finished", "finished"]


@pytest.mark.parametrize(
    ("state", "states_then"),
    [
        ("CANCELLED", ["failed", "finished", "finished"]),
        ("NODE_FAIL", ["finished", "finished", "finished"]),
        ("OUT_OF_MEMORY", ["failed", "finished", "finished"]),
    ],
)
def test_a_trial_whose_job_the_scheduler_ended(
    work: Callable[..., SweepContext],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    states_then: list[str],
) -> None:
    pytest.importorskip("submitit")
    from src.search.run import slurm_queue

    def act(study: SweepStudy, trial: TrialSpec) -> None:
        if trial.number or study.load_trial(0).attributes["takes"] > 1:
            finish(study, trial)
        else:
            study.register_worker(0, owner=trial.owner, worker=gone_here())

    def wait_for_end(queue: slurm_queue.JobQueue) -> list[slurm_queue.JobEnd]:
        first, *others = made.composer.batches[-1]  # type: ignore[attr-defined]
        ends = [slurm_queue.JobEnd(f"7_{number}", "COMPLETED") for number in others]
        return [slurm_queue.JobEnd(f"7_{first}", state), *ends]

    monkeypatch.setattr(slurm_queue.JobQueue, "wait_for_end", wait_for_end)
    made = work(act, "slurm")
    run_with_launcher(made, Live(), lambda: None)  # type: ignore[arg-type]
    assert states(made) == states_then
    if states_then[0] == "failed":
        reason = made.study.load_trial(0).attributes["reason"]
        assert reason == f"its job has ended without a word; SLURM says of job 7_0: {state}"


def test_a_trial_that_a_person_cancelled_does_not_come_back(
    work: Callable[..., SweepContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    from src.search.run import slurm_queue

    def act(study: SweepStudy, trial: TrialSpec) -> None:
        if trial.number:
            finish(study, trial)
        else:
            # as on SIGTERM
            study.release_trial(0)

    monkeypatch.setattr(
        slurm_queue.JobQueue,
        "wait_for_end",
        lambda queue: [slurm_queue.JobEnd(f"7_{place}", "CANCELLED") for place in range(3)],
    )
    made = work(act, "slurm")
    assert run_with_launcher(made, Live(), lambda: None) == (1, None)  # type: ignore[arg-type]
    assert states(made) == ["failed", "finished", "finished"]
    assert made.study.load_trial(0).attributes["reason"] == "its job 7_0 was cancelled"


def test_what_the_queue_lists_and_what_it_has_forgotten() -> None:
    pytest.importorskip("submitit")
    from src.search.run.slurm_queue import JobQueue

    queue = JobQueue()
    queue._registered = {"7_0", "7_1", "7_10", "7_2"}
    listed = b"7_0|COMPLETED\n7_1|CANCELLED\n7_2|CONFIGURING\n8|RUNNING\n"
    queue._info_dict = queue.read_info(listed)
    queue.update_if_long_enough = lambda mode: None  # type: ignore[method-assign]
    assert [queue.is_done(job) for job in ("7_0", "7_1", "7_2", "7_10")] == [
        True,
        True,
        False,
        True,
    ]
    queue._registered = {"7", "7_0", "7_1", "7_10"}
    assert [end.job for end in queue.wait_for_end()] == ["7_0", "7_1", "7_10"]


@pytest.mark.parametrize(("launcher", "left"), [(None, "waiting"), ("submitit", "running")])
def test_ctrl_c_releases_trials_of_this_process_and_leaves_those_of_a_scheduler(
    work: Callable[..., SweepContext], launcher: str | None, left: str
) -> None:
    def act(study: SweepStudy, trial: TrialSpec) -> None:
        raise KeyboardInterrupt

    made = work(act, launcher)
    with pytest.raises(KeyboardInterrupt):
        run_with_launcher(made, Live(), lambda: None)  # type: ignore[arg-type]
    # in this process one trial at a time is taken
    assert states(made) == [left] * (1 if launcher is None else 3)


def test_a_trial_that_was_interrupted_in_this_process_ends_the_sweep() -> None:
    assert raise_on_signal_exit(lambda _: 75)(None) == 75  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        raise_on_signal_exit(lambda _: 130)(None)  # type: ignore[arg-type]
    with pytest.raises(TerminatedBySignal, match="143"):
        raise_on_signal_exit(lambda _: 143)(None)  # type: ignore[arg-type]
