"""What a trial's training tells its study, where it stops, and what a study that does not answer
costs.
"""

from pathlib import Path
from typing import Any

import pytest

from src import run as program
from src.core.user_errors import UserError
from src.search.run import trial_hooks
from src.search.run.trial_hooks import TrialHooks, explain_pruning
from src.search.run.trial_spec import TRIAL_VARIABLE, TrialSpec
from src.search.trials import TrialRecord
from tests.training.small_trainings import LABELLED, Compose, begun_at, train


class Study:
    """Takes down what it is told; prunes at one validation, and fails where it is told to."""

    def __init__(self, *, prunes_at: int | None = None, fails: bool = False) -> None:
        self.intermediate_values: list[tuple[int, float]] = []
        self.told: list[tuple[Any, ...]] = []
        self.attributes: list[dict[str, Any]] = []
        self.prunes_at, self.fails = prunes_at, fails

    def report_value(self, number: int, validation: int, value: float) -> None:
        if self.fails:
            raise OSError("the storage is\nlocked")
        self.intermediate_values.append((validation, value))

    def should_prune(self, number: int) -> bool:
        return self.intermediate_values[-1][0] == self.prunes_at

    def load_trials(self) -> list[TrialRecord]:
        own = TrialRecord(3, "running", {}, intermediate_values=dict(self.intermediate_values))
        return [
            own,
            *(
                TrialRecord(number, "finished", {}, intermediate_values={2: 0.1 * (1 + number)})
                for number in range(3)
            ),
        ]

    def set_trial_attributes(self, number: int, **about: Any) -> None:
        if self.fails:
            raise OSError("the storage is\nlocked")
        self.attributes.append(about)

    def end_trial(self, number: int, state: str, values: Any = None, **about: Any) -> None:
        self.told.append((number, state, values, about))


def trial(folder: Path, **differs: Any) -> TrialSpec:
    known = {
        "monitors": ["val/loss"],
        "modes": ["min"],
        "pruner": {"_target_": "of no matter here"},
    }
    return TrialSpec(
        **{
            "address": "",
            "folder": str(folder),
            "study": "s",
            "number": 3,
            "parent": "p",
            **known,
            **differs,
        }
    )


@pytest.fixture
def config(composed: Compose, tmp_path: Path) -> dict[str, Any]:
    """Labelled rows, 4 epochs, a validation at the end of each."""
    return composed(*LABELLED, "trainer.max_epochs=4", f"data.cache={tmp_path}/cache")


def test_validations_are_counted_and_counted_on(config: dict[str, Any], tmp_path: Path) -> None:
    first, later = (
        TrialHooks(trial(tmp_path), study, pruner="median") for study in (Study(), Study())
    )  # type: ignore[arg-type]
    whole = train(config, tmp_path / "whole", *first.build(tmp_path))
    points = [value for (key, _), value in sorted(whole.points.points.items()) if key == "val/loss"]
    assert first.study.intermediate_values == list(enumerate(points, start=1))  # type: ignore[union-attr]
    assert len(points) == 4 and first.pruned_reason is None
    # what the pruner knows the warm-up by: quarters of the training
    assert first.study.attributes == [  # type: ignore[union-attr]
        {"progress": quarter / 4} for quarter in (1, 2, 3, 4)
    ]
    per_epoch = whole.trainer.global_step // 4
    begin = begun_at(tmp_path / "whole", tmp_path / "rest", 2 * per_epoch)
    train(config, tmp_path / "rest", *later.build(tmp_path), begin=begin)
    assert later.study.intermediate_values == list(enumerate(points, start=1))[2:]  # type: ignore[union-attr]
    assert (tmp_path / "3.progress").read_text().split()[1] == str(4 * per_epoch)
    assert first.steps == 4 * per_epoch


def test_a_pruned_training_stops_with_the_reason_and_stays_pruned(
    config: dict[str, Any], tmp_path: Path
) -> None:
    watch = TrialHooks(trial(tmp_path), Study(prunes_at=2), pruner="median")  # type: ignore[arg-type]
    done = train(config, tmp_path / "run", *watch.build(tmp_path))
    step, reports = done.trainer.global_step, watch.study.intermediate_values  # type: ignore[union-attr]
    assert [validation for validation, _ in reports] == [1, 2]
    best = min(value for _, value in reports)
    so_far = f" (its best so far: {best:.4g})" if best != reports[1][1] else ""
    assert watch.pruned_reason == (
        f"pruned after validation 2 (optimizer step {step}): val/loss "
        f"{reports[1][1]:.4g}{so_far}, the median of 3 "
        "trials there is 0.2"
    )
    again = TrialHooks(trial(tmp_path), Study(), pruner="median")  # type: ignore[arg-type]
    rest = train(
        config, tmp_path / "run", *again.build(tmp_path), begin=Path(done.keeper.last_model_path)
    )
    assert (rest.seen.batches, again.pruned_reason, again.study.intermediate_values) == (
        [],
        watch.pruned_reason,
        [],
    )  # type: ignore[union-attr]


def test_a_training_that_is_over_is_not_pruned(config: dict[str, Any], tmp_path: Path) -> None:
    watch = TrialHooks(trial(tmp_path), Study(prunes_at=4), pruner="median")  # type: ignore[arg-type]
    train(config, tmp_path / "run", *watch.build(tmp_path))
    assert (len(watch.study.intermediate_values), watch.pruned_reason) == (4, None)  # type: ignore[union-attr]


def test_what_a_study_did_not_take_it_is_told_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(fails=True)
    watch = TrialHooks(trial(tmp_path), study, pruner="median")  # type: ignore[arg-type]
    for validation, value in ((1, 0.5), (2, 0.4)):
        assert (
            watch.report_validation(validation, 10 * validation, {"val/loss": value}, is_last=False)
            is None
        )
    watch._save_attributes(run_id="r")
    assert (
        capsys.readouterr().err
        == "search: the study does not answer now (OSError: the storage is locked)\n"
    )
    study.fails = False
    watch.report_validation(3, 30, {"val/loss": 0.3}, is_last=False)
    assert study.intermediate_values == [(1, 0.5), (2, 0.4), (3, 0.3)]


def test_the_end_is_told_again_until_patience_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(fails=True)
    watch = TrialHooks(trial(tmp_path), study, pruner="median")  # type: ignore[arg-type]
    watch.report_validation(1, 10, {"val/loss": 0.5}, is_last=True)
    monkeypatch.setattr(trial_hooks, "STUDY_RETRY_SECONDS", 0.0)
    assert not watch.report_end("finished", [0.5])
    assert study.told == []
    monkeypatch.setattr(trial_hooks, "STUDY_RETRY_SECONDS", 60.0)
    monkeypatch.setattr(trial_hooks.time, "sleep", lambda _: setattr(study, "fails", False))
    assert watch.report_end("finished", [0.5])
    assert study.intermediate_values == [(1, 0.5)]
    assert study.told == [(3, "finished", [0.5], {"steps": 0, "tokens": 0})]
    assert capsys.readouterr().err.splitlines()[1:] == [
        "search: the study could not be told of trial 3 that it was validated (OSError: the "
        "storage is locked); "
        "the sweep finds it out when it goes on"
    ]


def test_a_metric_that_validation_does_not_measure_ends_the_run(tmp_path: Path) -> None:
    watch = TrialHooks(trial(tmp_path, monitors=["val/acc"]), Study(), pruner="median")  # type: ignore[arg-type]
    with pytest.raises(
        UserError,
        match=r"val/acc was never measured.*\(search.monitor\); there were: val/accuracy, "
        r"val/loss$",
    ):
        watch.report_validation(
            1, 10, {"val/loss": 0.5, "val/accuracy": 0.5, "system/x": 1}, is_last=False
        )


def test_the_other_ranks_open_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr("src.pipeline.run.run", lambda *, seed, hooks: given.append((seed, hooks)))
    monkeypatch.delenv(TRIAL_VARIABLE, raising=False)
    program.run_rank(seed=1)
    monkeypatch.setenv(TRIAL_VARIABLE, trial(tmp_path).to_base64())
    program.run_rank(seed=2)
    assert given[0] == (1, None) and given[1][0] == 2
    other = given[1][1]
    assert isinstance(other, TrialHooks) and other.study is None
    assert other.report_validation(1, 10, {"val/loss": 0.5}, is_last=False) is None
    other.write_progress(1, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pruner", "mode", "words"),
    [
        ("median", "min", "val/x 0.7 (its best so far: 0.6), the median of 3 trials there is 0.5"),
        ("median", "max", "val/x 0.7, the median of 3 trials there is 0.5"),
        ("halving", "min", "val/x 0.7, the 4th best of 5 trials there (halving)"),
        ("hyperband", "max", "val/x 0.7, the 2nd best of 5 trials there (hyperband)"),
    ],
)
def test_the_reason_has_both_numbers(tmp_path: Path, pruner: str, mode: str, words: str) -> None:
    # Of the others at validation 2: 0.4, 0.5 and 0.6 have finished, 0.9 was pruned, and one has not
    # come so far.
    there = [("finished", 0.4), ("finished", 0.5), ("finished", 0.6), ("pruned", 0.9)]
    others = [
        TrialRecord(10 + place, state, {}, intermediate_values={2: value})
        for place, (state, value) in enumerate(there)
    ]  # type: ignore
    others.append(TrialRecord(20, "running", {}))
    own = TrialRecord(3, "running", {}, intermediate_values={1: 0.6, 2: 0.7})
    asked = trial(tmp_path, monitors=["val/x"], modes=[mode])
    assert explain_pruning(pruner, 0.7, 2, asked, [own, *others]) == words
