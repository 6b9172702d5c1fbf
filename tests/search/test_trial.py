"""A trial in its own process: what it runs, how each way to end is told to the study, and how it
goes on.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from src import run as program
from src.core.failures import NonFiniteLoss
from src.core.run_ending import TerminatedBySignal
from src.core.user_errors import UserError
from src.model.module import EncoderModule
from src.pipeline.run import RunOutcome, run
from src.search.pruners import Median
from src.search.run import trial as trials
from src.search.run.trial import EXIT_NOT_REPORTED, EXIT_RETRY_CHANGED, run_trial
from src.search.run.trial_spec import TRIAL_VARIABLE, TrialSpec, current_trial
from src.search.samplers import Grid
from src.search.space import parse_space
from src.search.sweep_study import SweepStorage, SweepStudy
from src.search.trials import TrialRecord
from src.tracking.store import Store
from tests.labelled import config_of, project_of

PARENT = "abcdef0123456789" * 2
MEDIAN = {"_target_": "src.search.pruners.Median", "startup_trials": 1}
_names = itertools.count()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    return project_of(tmp_path_factory.mktemp("project"), blank_database)


@pytest.fixture(scope="module")
def config(project: Path) -> dict[str, Any]:
    return config_of(project)


@pytest.fixture(scope="module")
def storage(project: Path) -> SweepStorage:
    return SweepStorage(None, project / "mlruns")


@pytest.fixture
def store(project: Path) -> Store:
    return Store(root=str(project))


@pytest.fixture
def study(storage: SweepStorage) -> SweepStudy:
    """A grid of two points, of which the first is there to be taken."""
    name = f"study{next(_names)}"
    storage.create_study(name, ["min"], {})
    space, _ = parse_space(["model.optim.lr=1e-3,1e-9"], {})
    return storage.open_study(name, space=space, sampler=Grid(), pruner=Median())


@pytest.fixture
def begin(
    study: SweepStudy, storage: SweepStorage, project: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TrialSpec]:
    """Take the study's next trial and be its process."""

    def take(**differs: Any) -> TrialSpec:
        row = study.claim_trial("nobody", max_trials=None)
        assert row is not None
        known = {
            "monitors": ["val/loss"],
            "modes": ["min"],
            "shown_overrides": [f"lr={row.params['model.optim.lr']}"],
        }
        made = TrialSpec(
            address=storage.address,
            folder=str(project),
            study=study.name,
            number=row.number,
            parent=PARENT,
            **(known | {"resume": row.attributes.get("run_id") or None} | differs),
        )
        monkeypatch.setenv(TRIAL_VARIABLE, made.to_base64())
        return made

    return take


def ended(study: SweepStudy, begun: TrialSpec) -> TrialRecord:
    return study.load_trial(begun.number)


def breaks(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Has the training end in the midst of an optimizer step, counted from 0."""
    whole = EncoderModule.training_step

    def breaking(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        if self.global_step == step:
            raise error
        return whole(self, batch, batch_index)

    monkeypatch.setattr(EncoderModule, "training_step", breaking)


def never(**_: Any) -> RunOutcome:
    raise AssertionError("this trial must not run")


def test_what_a_trial_is_passes_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # of different lengths
    for number in range(3):
        made = TrialSpec(
            "sqlite:////ä/b.db",
            "/f",
            "s" * number,
            number,
            PARENT,
            ["a", "b"],
            ["min", "max"],
            MEDIAN,
            ["x=1"],
        )
        assert re.fullmatch(r"[A-Za-z0-9_-]+", made.to_base64())
        monkeypatch.setenv(TRIAL_VARIABLE, made.to_base64())
        assert current_trial() == made
    monkeypatch.delenv(TRIAL_VARIABLE)
    assert current_trial() is None


def test_a_trial_that_finishes(
    begin: Callable[..., TrialSpec], study: SweepStudy, config: dict[str, Any], store: Store
) -> None:
    begun = begin(monitors=["val/loss"], pruner=MEDIAN)
    assert run_trial(run, config) == 0
    row = ended(study, begun)
    found = store.find_run(row.attributes["run_id"])
    history = store.open().client.get_metric_history(found.id, "val/loss")
    by_step = {point.step: point.value for point in history}
    # the store has the shortest decimals of numbers in single precision
    assert row.state == "finished" and row.intermediate_values == pytest.approx(
        {1: by_step[3], 2: by_step[6], 3: by_step[8]}
    )
    # of the checkpoint that was tested
    assert row.values == pytest.approx((min(by_step.values()),))
    assert (row.attributes["steps"], row.attributes["tokens"]) == (8, found.metrics["train/tokens"])
    assert (found.name, found.status) == ("run lr=0.001", "FINISHED")
    assert found.tags["mlflow.parentRunId"] == found.tags["search.sweep"] == PARENT
    assert (found.tags["search.trial"], found.tags["search.values"]) == (
        "0",
        json.dumps({"val/loss": row.values[0]}),
    )
    assert found.metrics["search/val/loss"] == pytest.approx(row.values[0])
    assert "test/loss" in found.metrics

    # worse than the median of one
    second = begin(pruner=MEDIAN)
    bad = {
        **config,
        "model": {**config["model"], "optim": {**config["model"]["optim"], "lr": 1e-9}},
    }
    code = run_trial(run, bad)
    row = ended(study, second)
    found = store.find_run(row.attributes["run_id"])
    assert (code, row.state, found.status) == (0, "pruned", "KILLED")
    assert found.tags["failure.reason"] == found.tags["search.pruned"] == row.attributes["reason"]
    assert row.attributes["reason"].startswith("pruned after validation ")
    assert found.metrics["search/val/loss"] == found.metrics["val/loss"]
    assert found.metrics["val/loss"] == pytest.approx(row.latest_value)
    assert "test/loss" not in found.metrics
    with pytest.raises(UserError, match="has no encoder"):
        store.fetch_model_folder(found.id)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TerminatedBySignal(15)])
def test_an_interrupted_trial_goes_on_in_its_run(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    store: Store,
    error: BaseException,
) -> None:
    begun = begin()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, error)
        code = run_trial(run, config)
    row = ended(study, begun)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 143)
    assert (row.state, row.attributes.get("worker", ""), list(row.intermediate_values)) == (
        "waiting",
        "",
        [1],
    )
    run_id = row.attributes["run_id"]
    assert store.find_run(run_id).status == "KILLED"
    again = begin()
    assert (again.number, again.resume) == (begun.number, run_id)
    assert run_trial(run, config) == 0
    row, found = ended(study, again), store.find_run(run_id)
    assert (row.state, row.attributes["run_id"]) == ("finished", run_id)
    assert (found.status, found.tags["resumed"]) == ("FINISHED", "1")
    assert list(row.intermediate_values) == [1, 2, 3]
    assert row.values == (min(row.intermediate_values.values()),)
    assert (row.attributes["steps"], row.attributes["tokens"]) == (8, found.metrics["train/tokens"])


def test_an_end_that_could_not_be_told_is_told_without_running_again(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = begin(monitors=["test/loss"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.search.run.trial_hooks.TrialHooks.report_end", lambda *_, **__: False)
        assert run_trial(run, config) == EXIT_NOT_REPORTED
    assert study.release_trial(begun.number)
    again = begin(monitors=["test/loss"])
    assert run_trial(never, config) == 0
    row = ended(study, again)
    assert (row.state, row.attributes["steps"]) == ("finished", 8) and row.attributes["tokens"] > 0
    assert row.values is not None and row.intermediate_values == {}


def test_a_trial_that_is_anothers_by_now_is_left_alone(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # who was taken for gone: the study says that nobody has it
    begun = begin(owner="somebody")
    assert run_trial(never, config) == 1
    assert ended(study, begun).state == "running" and "worker" not in ended(study, begun).attributes
    assert "trial 0 is another process's by now" in capsys.readouterr().err


def test_a_run_that_cannot_go_on_is_left_and_the_trial_begins_again(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = begin()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 1, KeyboardInterrupt())
        run_trial(run, config)
    old = ended(study, begun).attributes["run_id"]
    begin()
    assert run_trial(run, {**config, "seed": config["seed"] + 1}) == 0
    assert (
        f"trial 0 begins again, as its run {old} cannot go on: resume={old}"
        in capsys.readouterr().err
    )
    row = ended(study, begun)
    assert row.state == "finished" and row.attributes["run_id"] != old
    left = store.find_run(old)
    assert (left.status, left.tags["search.abandoned"], "search.trial" in left.tags) == (
        "KILLED",
        "0",
        False,
    )


def test_a_failure_is_told_with_its_reason(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = begin(monitors=["val/accuracy", "val/speed"], modes=["max", "max"])
    assert run_trial(run, config) == 1
    row = ended(study, begun)
    found = store.find_run(row.attributes["run_id"])
    assert (row.state, found.status) == ("failed", "FAILED")
    reason = (
        "val/speed was never measured, and the search looks at it (search.monitor); there were: "
    )
    assert (
        row.attributes["reason"].startswith(reason)
        and row.attributes["reason"] in found.tags["failure.reason"]
    )
    assert "memory" not in row.attributes and row.attributes["steps"] == 8
    assert "error: val/speed was never measured" in capsys.readouterr().err


def test_a_mistake_before_there_is_a_run(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(**_: Any) -> RunOutcome:
        raise UserError("data.source.path: there is no such folder")

    begun = begin()
    assert run_trial(refuse, config) == 2
    row = ended(study, begun)
    assert (row.state, row.attributes["reason"]) == (
        "failed",
        "data.source.path: there is no such folder",
    )
    assert "run_id" not in row.attributes
    assert capsys.readouterr().err == "error: data.source.path: there is no such folder\n"


def test_without_memory_it_waits_to_be_tried_with_half_the_batch(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = begin(may_halve=True)
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
        assert run_trial(run, config) == EXIT_RETRY_CHANGED
    [old] = store.search_runs(
        f"tags.`search.abandoned` = '0' AND tags.`search.sweep` = '{PARENT}'", limit=1
    )
    row = ended(study, begun)
    assert (row.state, row.attributes["out_of_memory"], row.attributes.get("run_id", "")) == (
        "waiting",
        1,
        "",
    )
    assert (old.status, "search.trial" in old.tags) == ("FAILED", False)
    begin(halvings=1)
    capsys.readouterr()
    assert run_trial(run, config) == 0
    row = ended(study, begun)
    found = store.find_run(row.attributes["run_id"])
    assert (row.state, row.attributes["halvings"], row.attributes["steps"]) == ("finished", 1, 8)
    assert (
        found.params["data.batching.batch_size"],
        found.params["trainer.accumulate_grad_batches"],
    ) == ("4", "2")
    assert found.tags["halved"].startswith("data.batching.batch_size 8 -> 4, ")
    assert f"trial 0 with less memory: {found.tags['halved']}\n" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_loss_that_is_not_finite_in_bf16_is_tried_once_in_fp32(
    precision: str,
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = {**config, "trainer": {**config["trainer"], "precision": precision}}
    begun = begin()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, NonFiniteLoss("the loss is nan", 4, [(0, 4)]))
        code = run_trial(run, config)
    row = ended(study, begun)
    if precision == "fp32":
        assert (code, row.state) == (1, "failed")
        return
    assert code == EXIT_RETRY_CHANGED
    assert "trial 0 will be tried once more, in fp32\n" in capsys.readouterr().err
    assert (row.state, row.attributes["non_finite"]) == ("waiting", 1)
    assert not row.attributes.get("run_id")
    again = begin(full_precision=True)
    assert run_trial(run, config) == 0
    row = ended(study, again)
    found = store.find_run(row.attributes["run_id"])
    assert row.state == "finished" and found.params["trainer.precision"] == "fp32"
    assert found.tags["retried_in_fp32"] == "a loss or gradient in bf16 was not finite"
    said = "trial 0 in fp32: in bf16 its loss or gradient was not finite\n"
    assert said in capsys.readouterr().out
    # and not a second time
    third = begin(full_precision=True)
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, NonFiniteLoss("the loss is nan", 4, [(0, 4)]))
        assert run_trial(run, config) == 1
    assert ended(study, third).state == "failed"


@pytest.mark.parametrize("differs", [{}, {"may_halve": True, "halvings": 3}])
def test_without_memory_it_fails_where_nothing_is_left_to_halve(
    begin: Callable[..., TrialSpec],
    study: SweepStudy,
    config: dict[str, Any],
    differs: dict[str, Any],
) -> None:
    def exhausted(**_: Any) -> RunOutcome:
        raise MemoryError

    begun = begin(**differs)
    assert run_trial(exhausted, config) == 1
    row = ended(study, begun)
    assert (row.state, row.attributes["memory"]) == ("failed", True)
    assert row.attributes["reason"].startswith("out of memory")


def test_a_job_of_hydras_launchers_is_conducted(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TrialSpec("", "", "s", 0, PARENT, ["val/loss"], ["min"])
    monkeypatch.setenv(TRIAL_VARIABLE, replace(made, number=7).to_base64())
    seen: list[Any] = []
    monkeypatch.setattr(trials, "run_trial", lambda *arguments: seen.extend(arguments) or 75)
    assert program.main(OmegaConf.create(config)) == 75
    assert seen == [run, config]
