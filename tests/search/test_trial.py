"""A trial in its own process: what it runs, how each way to end is told to the study, and how it goes on."""

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
from src.model.module import EncoderModule
from src.run import Outcome, run
from src.search import trial as trials
from src.search.pruners import Median
from src.search.rows import Row
from src.search.samplers import Grid
from src.search.space import read
from src.search.study import Storage, Study
from src.search.trial import AGAIN, UNTOLD, VARIABLE, Trial, conduct, current
from src.terms.fault import Fault
from src.tracking.ending import Terminated
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
def storage(project: Path) -> Storage:
    return Storage(None, project / "mlruns")


@pytest.fixture
def store(project: Path) -> Store:
    return Store(root=str(project))


@pytest.fixture
def study(storage: Storage) -> Study:
    """A grid of two points, of which the first is there to be taken."""
    name = f"study{next(_names)}"
    storage.create(name, ["min"], {})
    space, _ = read(["model.optim.lr=1e-3,1e-9"], {})
    opened = storage.open(name, space=space, sampler=Grid(), pruner=Median())
    opened.prepare(retry_failed=False)
    return opened


@pytest.fixture
def begin(study: Study, storage: Storage, project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """Take the study's next trial and be its process."""

    def take(**differs: Any) -> Trial:
        row = study.take("nobody", max_trials=None)
        assert row is not None
        known = {"monitors": ["val/loss"], "modes": ["min"], "shown": [f"lr={row.params['model.optim.lr']}"]}
        made = Trial(
            address=storage.address,
            folder=str(project),
            study=study.name,
            number=row.number,
            parent=PARENT,
            **(known | {"resume": row.about.get("run_id") or None} | differs),
        )
        monkeypatch.setenv(VARIABLE, made.encode())
        return made

    return take


def ended(study: Study, begun: Trial) -> Row:
    return study.row(begun.number)


def breaks(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Has the training end in the midst of an optimizer step, counted from 0."""
    whole = EncoderModule.training_step

    def breaking(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        if self.global_step == step:
            raise error
        return whole(self, batch, batch_index)

    monkeypatch.setattr(EncoderModule, "training_step", breaking)


def never(**_: Any) -> Outcome:
    raise AssertionError("this trial must not run")


def test_what_a_trial_is_passes_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):  # of different lengths
        made = Trial(
            "sqlite:////ä/b.db", "/f", "s" * number, number, PARENT, ["a", "b"], ["min", "max"], MEDIAN, ["x=1"]
        )
        assert re.fullmatch(r"[A-Za-z0-9_-]+", made.encode())
        monkeypatch.setenv(VARIABLE, made.encode())
        assert current() == made
    monkeypatch.delenv(VARIABLE)
    assert current() is None


def test_a_trial_that_finishes(begin: Callable[..., Trial], study: Study, config: dict[str, Any], store: Store) -> None:
    begun = begin(monitors=["val/loss"], pruner=MEDIAN)
    assert conduct(run, config) == 0
    row = ended(study, begun)
    found = store.find(row.about["run_id"])
    history = store.client().get_metric_history(found.id, "val/loss")
    by_step = {each.step: each.value for each in history}
    assert row.state == "finished" and row.reports == {1: by_step[3], 2: by_step[6], 3: by_step[8]}
    assert row.values == (min(by_step.values()),)  # of the checkpoint that was tested
    assert (row.about["steps"], row.about["tokens"]) == (8, found.metrics["train/tokens"])
    assert (found.name, found.status) == ("run lr=0.001", "FINISHED")
    assert found.tags["mlflow.parentRunId"] == found.tags["search.sweep"] == PARENT
    assert (found.tags["search.trial"], found.tags["search.values"]) == ("0", json.dumps({"val/loss": row.values[0]}))
    assert found.metrics["search/val/loss"] == row.values[0]
    assert "test/loss" in found.metrics

    second = begin(pruner=MEDIAN)  # worse than the median of one
    bad = {**config, "model": {**config["model"], "optim": {**config["model"]["optim"], "lr": 1e-9}}}
    code = conduct(run, bad)
    row = ended(study, second)
    found = store.find(row.about["run_id"])
    assert (code, row.state, found.status) == (0, "pruned", "KILLED")
    assert found.tags["failure.reason"] == found.tags["search.pruned"] == row.about["reason"]
    assert row.about["reason"].startswith("pruned after validation ")
    assert found.metrics["search/val/loss"] == found.metrics["val/loss"] == row.last
    assert "test/loss" not in found.metrics
    with pytest.raises(Fault, match="has no encoder"):
        store.model_folder(found.id)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(15)])
def test_an_interrupted_trial_goes_on_in_its_run(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], store: Store, error: BaseException
) -> None:
    begun = begin()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, error)
        code = conduct(run, config)
    row = ended(study, begun)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 143)
    assert (row.state, row.about.get("worker", ""), list(row.reports)) == ("waiting", "", [1])
    run_id = row.about["run_id"]
    assert store.find(run_id).status == "KILLED"
    again = begin()
    assert (again.number, again.resume) == (begun.number, run_id)
    assert conduct(run, config) == 0
    row, found = ended(study, again), store.find(run_id)
    assert (row.state, row.about["run_id"]) == ("finished", run_id)
    assert (found.status, found.tags["resumed"]) == ("FINISHED", "1")
    assert list(row.reports) == [1, 2, 3]
    assert row.values == (min(row.reports.values()),)
    assert (row.about["steps"], row.about["tokens"]) == (8, found.metrics["train/tokens"])


def test_an_end_that_could_not_be_told_is_told_without_running_again(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(monitors=["test/loss"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.search.watching.Watch.tell", lambda *_, **__: False)
        assert conduct(run, config) == UNTOLD
    assert study.release(begun.number)
    again = begin(monitors=["test/loss"])
    assert conduct(never, config) == 0
    row = ended(study, again)
    assert (row.state, row.about["steps"]) == ("finished", 8) and row.about["tokens"] > 0
    assert row.values is not None and row.reports == {}


def test_a_trial_that_is_anothers_by_now_is_left_alone(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin(owner="somebody")  # who was taken for gone: the study says that nobody has it
    assert conduct(never, config) == 1
    assert ended(study, begun).state == "running" and "worker" not in ended(study, begun).about
    assert "trial 0 is another process's by now" in capsys.readouterr().err


def test_a_run_that_cannot_go_on_is_left_and_the_trial_begins_again(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin()
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 1, KeyboardInterrupt())
        conduct(run, config)
    old = ended(study, begun).about["run_id"]
    begin()
    assert conduct(run, {**config, "seed": config["seed"] + 1}) == 0
    assert f"trial 0 begins again, as its run {old} cannot go on: resume={old}" in capsys.readouterr().err
    row = ended(study, begun)
    assert row.state == "finished" and row.about["run_id"] != old
    left = store.find(old)
    assert (left.status, left.tags["search.abandoned"], "search.trial" in left.tags) == ("KILLED", "0", False)


def test_a_failure_is_told_with_its_reason(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin(monitors=["val/accuracy", "val/speed"], modes=["max", "max"])
    assert conduct(run, config) == 1
    row = ended(study, begun)
    found = store.find(row.about["run_id"])
    assert (row.state, found.status) == ("failed", "FAILED")
    reason = "val/speed was never measured, and the search looks at it (search.monitor); there were: "
    assert row.about["reason"].startswith(reason) and row.about["reason"] in found.tags["failure.reason"]
    assert "memory" not in row.about and row.about["steps"] == 8
    assert "error: val/speed was never measured" in capsys.readouterr().err


def test_a_mistake_before_there_is_a_run(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> Outcome:
        raise Fault("data.source.path: there is no such folder")

    begun = begin()
    assert conduct(refuse, config) == 2
    row = ended(study, begun)
    assert (row.state, row.about["reason"]) == ("failed", "data.source.path: there is no such folder")
    assert "run_id" not in row.about
    assert capsys.readouterr().err == "error: data.source.path: there is no such folder\n"


def test_without_memory_it_waits_to_be_tried_with_half_the_batch(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin(may_halve=True)
    with pytest.MonkeyPatch.context() as patch:
        breaks(patch, 4, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
        assert conduct(run, config) == AGAIN
    [old] = store.runs(f"tags.`search.abandoned` = '0' AND tags.`search.sweep` = '{PARENT}'", limit=1)
    row = ended(study, begun)
    assert (row.state, row.about["out_of_memory"], row.about.get("run_id", "")) == ("waiting", 1, "")
    assert (old.status, "search.trial" in old.tags) == ("FAILED", False)
    begin(halvings=1)
    capsys.readouterr()
    assert conduct(run, config) == 0
    row = ended(study, begun)
    found = store.find(row.about["run_id"])
    assert (row.state, row.about["halvings"], row.about["steps"]) == ("finished", 1, 8)
    assert (found.params["data.batching.batch_size"], found.params["trainer.accumulate_grad_batches"]) == ("4", "2")
    assert found.tags["halved"].startswith("data.batching.batch_size 8 -> 4, ")
    assert f"trial 0 with less memory: {found.tags['halved']}\n" in capsys.readouterr().out


@pytest.mark.parametrize("differs", [{}, {"may_halve": True, "halvings": 3}])
def test_without_memory_it_fails_where_nothing_is_left_to_halve(
    begin: Callable[..., Trial], study: Study, config: dict[str, Any], differs: dict[str, Any]
) -> None:
    def exhausted(**_: Any) -> Outcome:
        raise MemoryError

    begun = begin(**differs)
    assert conduct(exhausted, config) == 1
    row = ended(study, begun)
    assert (row.state, row.about["memory"]) == ("failed", True)
    assert row.about["reason"].startswith("out of memory")


def test_a_job_of_hydras_launchers_is_conducted(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = Trial("", "", "s", 0, PARENT, ["val/loss"], ["min"])
    monkeypatch.setenv(VARIABLE, replace(made, number=7).encode())
    seen: list[Any] = []
    monkeypatch.setattr(trials, "conduct", lambda *arguments: seen.extend(arguments) or 75)
    assert program.main(OmegaConf.create(config)) == 75
    assert seen == [run, config]
