"""From the outbox to the store: stores that are away, refuse, or die in the middle; runs that begin
with no store.
"""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from src import sync
from src.core.user_errors import UserError
from src.tracking import delivery, outbox
from src.tracking.delivery import deliver_outbox, deliver_pending_outboxes
from src.tracking.run_record import RunRecord
from src.tracking.store import Store, _open_once


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run does not wait long for a store that is away."""
    monkeypatch.setattr("src.tracking.run_record._PATIENCE_SECONDS", 0.6)


def record(store: Store, **options: object) -> RunRecord:
    return RunRecord(store=store, **({"name": "x", "kind": "k", "params": {}} | options))


def history(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    return [
        (point.step, point.value) for point in store.open().client.get_metric_history(run_id, key)
    ]


def folder(store: Store, run_id: str) -> Path:
    return outbox.resolve_outbox_folder(store.runs_folder, run_id)


class Away:
    """A store that answers nothing while `away`; what it took before it fell silent it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.after_commit = False
        for name in ("log_batch", "log_inputs", "set_terminated"):
            monkeypatch.setattr(MlflowClient, name, self._failing(getattr(MlflowClient, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.away and not self.after_commit:
                raise ConnectionError("connection refused")
            answer = real(*args, **options)
            if self.away:
                raise ConnectionError("the server died in the middle of its answer")
            return answer

        return call


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(monkeypatch)


def test_a_store_that_was_away_has_everything_at_the_end(store: Store, outage: Away) -> None:
    with record(store) as run:
        for step in range(30):
            outage.away = 10 <= step < 20
            run.log_metrics({"train/loss": float(step)}, step=step)
            if step % 10 == 5:
                run.flush_to_disk()
    assert history(store, run.run_id, "train/loss") == [(step, float(step)) for step in range(30)]
    assert (
        store.find_run(run.run_id).status == "FINISHED" and not folder(store, run.run_id).exists()
    )


def test_tags_between_files_are_one_request(
    store: Store, outage: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.away = True
    with record(store) as run:
        for number in range(5):
            run.log_table({"a": [number]}, f"report/{number}.json")
            run.set_tag("newest", str(number))
    outage.away = False
    sent: list[int] = []
    real = MlflowClient.log_batch

    def log_batch(client: MlflowClient, run_id: str, **content: Any) -> Any:
        sent.append(len(content.get("tags", ())))
        return real(client, run_id, **content)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    assert deliver_outbox(store.open(), folder(store, run.run_id)).is_complete
    assert sum(map(bool, sent)) == 1
    found = store.find_run(run.run_id)
    assert found.tags["newest"] == "4"
    assert found.tags["mlflow.loggedArtifacts"].count("report/") == 5
    assert len(store.open().client.list_artifacts(run.run_id, "report")) == 5


def test_what_still_waits_is_said_and_arrives_when_the_store_is_next_opened(
    store: Store, outage: Away, capsys: pytest.CaptureFixture[str]
) -> None:
    with record(store) as run:
        outage.away = True
        run.log_metrics({"test/accuracy": 0.9}, step=10)
        run.set_tag("later", "yes")
        run.log_text("hello", "report/note.md")
    printed = capsys.readouterr().err
    assert printed.count("the store does not answer now and is tried again") == 1
    assert f"or by: python -m src.sync {run.run_id} --root {store.root}" in printed
    assert store.find_run(run.run_id).status == "RUNNING"
    outage.away = False
    # as another process would
    _open_once.cache_clear()
    found = store.find_run(run.run_id)
    assert (
        found.metrics == {"test/accuracy": 0.9}
        and found.tags["later"] == "yes"
        and found.status == "FINISHED"
    )
    assert Path(found.artifact_uri, "report", "note.md").read_text() == "hello"
    assert f"writes of run {run.run_id} have reached the store" in capsys.readouterr().out
    assert not folder(store, run.run_id).exists()


def test_what_the_store_took_before_it_died_is_there_once(
    store: Store, outage: Away, tmp_path: Path
) -> None:
    """Commit without an answer, and commit without the mark that it was made: everything is sent
    twice.
    """
    schema = {"text": "string"}
    with record(store, params={"lr": 0.1}) as run:
        outage.away = outage.after_commit = True
        for step in range(2500):
            run.log_metrics(
                {"train/loss": step / 7, "bad": float("nan"), "high": float("inf")}, step=step
            )
        run.log_dataset(name="d", digest="1", split="train", rows=1, source="s", schema=schema)
        run.set_tag("t", "1")
        run.log_text("hello", "note.md")
    box = folder(store, run.run_id)
    outage.away = False
    shutil.copytree(box, tmp_path / "copy")
    assert deliver_outbox(store.open(), box).is_complete
    (tmp_path / "copy" / "delivered").unlink(missing_ok=True)
    shutil.copytree(tmp_path / "copy", box)
    assert deliver_outbox(store.open(), box).is_complete
    for key in ("train/loss", "bad", "high"):
        assert [step for step, _ in history(store, run.run_id, key)] == list(range(2500))
    assert [value for _, value in history(store, run.run_id, "train/loss")] == [
        step / 7 for step in range(2500)
    ]
    whole = store.open().client.get_run(run.run_id)
    assert len(whole.inputs.dataset_inputs) == 1 and whole.data.params == {"lr": "0.1"}
    assert whole.info.status == "FINISHED"


def test_a_write_that_the_store_refuses_does_not_hold_up_the_others(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with record(store) as run:
        for step in range(20):
            run.log_metrics(
                {"good": float(step), ("x" * 300 if step == 7 else "fine"): 1.0}, step=step
            )
        run.set_tag("after", "yes")
    assert (
        len(history(store, run.run_id, "good")) == 20
        and len(history(store, run.run_id, "fine")) == 19
    )
    found = store.find_run(run.run_id)
    assert found.tags["after"] == "yes" and found.status == "FINISHED"
    assert found.tags["tracking.refused"] == "1 (artifact tracking/refused.txt)"
    assert "at step 7" in Path(found.artifact_uri, "tracking", "refused.txt").read_text()
    assert "the store refuses" in capsys.readouterr().err


def test_a_parameter_that_the_store_refuses_takes_no_other_with_it(store: Store) -> None:
    params = {f"p{number}": str(number) for number in range(150)}
    tags = {"fine": "yes", "t" * 251: "no", "also": "yes"}
    with record(store) as run:
        run._add_entry("params", {"params": {**params, "k" * 252: "x", "last": "y"}})
        run._add_entry("tags", {"tags": tags})
    found = store.find_run(run.run_id)
    assert found.params == params | {"last": "y"}
    assert found.tags["fine"] == found.tags["also"] == "yes"
    assert found.tags["tracking.refused"] == "2 (artifact tracking/refused.txt)"
    refused = Path(found.artifact_uri, "tracking", "refused.txt").read_text()
    assert f"parameter {'k' * 252}=x" in refused and f"tag {'t' * 251}=no" in refused


def test_a_key_that_is_too_long_is_refused_before_there_is_a_run(store: Store) -> None:
    with pytest.raises(UserError, match="has 252 characters"):
        record(store, params={"tags": {"k" * 247: "x"}})
    assert store.search_runs() == []


def test_a_run_begins_with_a_name_that_is_not_utf8(store: Store) -> None:
    path = "\udce9t\udce9"
    params = {"data": {"source": {"path": path}}}
    with record(store, name=f"x path={path}", params=params, tags={"note": path}) as run:
        run.log_text(path, "note.txt")
        run.log_dataset(name=path, digest="1", split="train", rows=1, source=path)
    found = store.find_run(run.run_id)
    assert found.status == "FINISHED" and "tracking.refused" not in found.tags
    assert found.params["data.source.path"] == found.tags["note"] == r"\udce9t\udce9"
    assert Path(found.artifact_uri, "note.txt").read_text() == r"\udce9t\udce9"


def test_a_run_in_the_bin_waits_to_be_restored(store: Store) -> None:
    with record(store) as run:
        store.open().client.delete_run(run.run_id)
        run.log_metrics({"a": 1.0}, step=1)
    lines = deliver_pending_outboxes(store.open())
    assert len(lines) == 1 and "still waits" in lines[0] and folder(store, run.run_id).exists()
    store.open().client.restore_run(run.run_id)
    assert "have reached the store" in deliver_pending_outboxes(store.open())[0]
    assert history(store, run.run_id, "a") == [(1, 1.0)]


def test_a_delivery_that_is_cut_short_is_ended_by_the_next(store: Store, outage: Away) -> None:
    outage.away = True
    with record(store) as run:
        for step in range(2500):
            run.log_metrics({"a": float(step)}, step=step)
    outage.away = False
    box = folder(store, run.run_id)
    deliveries = 0
    while not deliver_outbox(store.open(), box, should_continue=lambda: False).is_complete:
        deliveries += 1
    assert deliveries > 2 and not box.exists()
    assert history(store, run.run_id, "a") == [(step, float(step)) for step in range(2500)]


def test_two_at_once_deliver_everything_once(store: Store, outage: Away) -> None:
    outage.away = True
    with record(store) as run:
        for step in range(3000):
            run.log_metrics({"a": float(step)}, step=step)
    outage.away = False
    results: list[delivery.DeliveryResult] = []
    at_once = [
        threading.Thread(target=lambda: results.append(deliver_outbox(store.open(), box)))
        for _ in range(2)
    ]
    box = folder(store, run.run_id)
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert sorted((result.is_complete, result.is_busy) for result in results) == [
        (False, True),
        (True, False),
    ]
    assert history(store, run.run_id, "a") == [(step, float(step)) for step in range(3000)]


def test_checkpoints_are_mirrored(store: Store, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoints"
    kept.mkdir()
    with record(store) as run:
        for step in range(4):
            (kept / f"step={step}.ckpt").write_bytes(bytes(step + 1))
            (kept / f"step={step - 2}.ckpt").unlink(missing_ok=True)
            run.mirror_folder(kept, "checkpoints")
    place = Path(store.find_run(run.run_id).artifact_uri, "checkpoints")
    assert {path.name: path.stat().st_size for path in place.iterdir()} == {
        "step=2.ckpt": 3,
        "step=3.ckpt": 4,
    }
    assert (place / "step=3.ckpt").stat().st_ino == (kept / "step=3.ckpt").stat().st_ino
    assert store.fetch_artifacts(run.run_id, "checkpoints", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "step=3.ckpt").stat().st_size == 4
    assert not store.fetch_artifacts(run.run_id, "nothing", tmp_path / "none")


@pytest.fixture
def offline(store: Store) -> Store:
    return Store(root=store.root, system_metrics=False, offline=True)


def test_runs_kept_offline_are_sent_with_their_files_and_relations_once(
    store: Store, offline: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with record(offline, name="search", kind="search") as parent:
        print("hello from afar")
        with (
            pytest.raises(ValueError),
            record(offline, parent=parent.run_id, config_yaml="a: 1\n") as child,
        ):
            child.log_metrics({"val/loss": 0.5}, step=3)
            child.log_dataset(name="d", digest="1", split="train", rows=1, source="s")
            child.log_text("# report", "report/summary.md")
            raise ValueError("broken")
    # opening a store sends nothing that was not begun for it
    assert store.search_runs() == []
    shutil.copytree(store.runs_folder / "outbox", tmp_path / "copy")
    assert sync.main(["--root", store.root]) == 0
    shutil.rmtree(store.runs_folder / "outbox")
    # as if it had been cut off before its end
    shutil.copytree(tmp_path / "copy", store.runs_folder / "outbox")
    assert sync.main(["--root", store.root]) == 0
    assert sync.main(["--root", store.root]) == 0
    told = capsys.readouterr().out
    assert "nothing waits in" in told
    runs = {run.name: run for run in store.search_runs()}
    assert set(runs) == {"search", "x"} and len(store.search_runs()) == 2
    assert runs["x"].tags["mlflow.parentRunId"] == runs["search"].id
    assert (runs["x"].tags["local_id"], runs["search"].tags["local_id"]) == (
        child.run_id,
        parent.run_id,
    )
    # the new id is told, and the old one finds the run still
    assert f"there it is run {runs['x'].id}" in told
    assert f"/runs/{runs['x'].id}?workflowType" in told
    for known in (child.run_id, child.run_id[:8]):
        assert store.find_run(known).id == runs["x"].id
    assert (runs["x"].status, runs["x"].tags["failure.reason"]) == ("FAILED", "ValueError: broken")
    assert runs["x"].started_at // 1000 <= runs["search"].started_at // 1000 + 60
    assert history(store, runs["x"].id, "val/loss") == [(3, 0.5)]
    assert store.load_config_yaml(runs["x"].id) == "a: 1\n"
    assert Path(runs["x"].artifact_uri, "report", "summary.md").read_text() == "# report"
    assert "hello from afar" in Path(runs["search"].artifact_uri, "console.log").read_text()
    assert len(store.open().client.get_run(runs["x"].id).inputs.dataset_inputs) == 1


def test_offline_asks_no_store(tmp_path: Path) -> None:
    offline = Store(root=str(tmp_path), offline=True, system_metrics=False)
    with record(offline) as run:
        pass
    assert not (tmp_path / "mlruns" / "mlflow.db").exists() and folder(offline, run.run_id).exists()
    with pytest.raises(UserError, match="tracking=offline asks no store"):
        offline.find_run("abcdef")
    with (
        pytest.raises(UserError, match="takes neither init_from nor resume"),
        record(offline, init_from="abcdef"),
    ):
        pass
    with pytest.raises(
        UserError, match=r"a run kept offline has no store \(tracking.offline=true\)"
    ):
        Store(root="/tmp", offline=True, uri="http://x").check()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--two", "x"], "there is no option --two; did you mean '--to'?"),
        (["--to"], "argument --to: expected one argument (python -m src.sync --help)"),
        (["--to", "htp://x"], "--to=htp://x begins with an unknown 'htp'"),
        (["abcdef"], "'abcdef' names no run that waits in"),
        (["abc"], "'abc' names no run that waits in"),
    ],
)
def test_mistakes_at_sync(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert sync.main([*arguments, "--root", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_sync_says_what_still_waits(
    store: Store, outage: Away, capsys: pytest.CaptureFixture[str]
) -> None:
    outage.away = True
    with record(store) as run:
        run.log_metrics({"a": 1.0}, step=1)
    assert sync.main(["--root", store.root, run.run_id[:8]]) == 1
    assert f"run {run.run_id} still waits: connection refused" in capsys.readouterr().err
    outage.away = False
    assert sync.main(["--root", store.root, run.run_id[:8]]) == 0
    assert history(store, run.run_id, "a") == [(1, 1.0)]


def _write_model(folder: Path) -> Path:
    (model := folder / "made").mkdir()
    (model / "MLmodel").write_text("{}")
    return model


def test_a_model_is_registered_once_it_is_in_the_store(
    store: Store, outage: Away, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is delivered twice makes one version."""
    outage.away = True
    with record(store) as run:
        run.log_folder(_write_model(tmp_path), "model")
        run.register_model("films", ["champion"])
    box = folder(store, run.run_id)
    outage.away = False
    shutil.copytree(box, tmp_path / "copy")
    for _ in range(2):
        assert deliver_outbox(store.open(), box).is_complete
        shutil.copytree(tmp_path / "copy", box)
    client = store.open().client
    [version] = client.search_model_versions("name = 'films'")
    assert version.run_id == run.run_id
    assert client.get_model_version_by_alias("films", "champion").version == version.version
    found = store.find_run(run.run_id)
    said = "films, version 1, alias champion"
    assert (found.status, found.tags["registered_model"]) == ("FINISHED", said)
    assert f"registered as {said}" in capsys.readouterr().err


def test_a_registry_that_fails_is_told_and_ends_no_run(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise MlflowException("no registry here")

    monkeypatch.setattr(MlflowClient, "create_registered_model", fail)
    with record(store) as run:
        run.log_folder(_write_model(tmp_path), "model")
        run.register_model("films", [])
        run.set_tag("later", "yes")
    found = store.find_run(run.run_id)
    assert (found.status, found.tags["later"]) == ("FINISHED", "yes")
    said = (
        "the model is not registered as films: MlflowException: no registry here; python -m "
        f"src.export run={run.run_id[:8]} format=mlflow register=films tries again"
    )
    assert found.tags["register/failure"] == said
    assert said in capsys.readouterr().err
    assert not folder(store, run.run_id).exists()
