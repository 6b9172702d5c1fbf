"""Runs that go on, forks of runs, and stores in which no run can begin."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from src.core.redaction import redact_text
from src.core.user_errors import UserError
from src.tracking import outbox
from src.tracking.run_record import RunRecord
from src.tracking.store import Store


def record(store: Store, **options: object) -> RunRecord:
    return RunRecord(store=store, **({"name": "x", "kind": "k", "params": {}} | options))


def history(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    points = store.open().client.get_metric_history(run_id, key)
    return [(point.step, point.value) for point in points]


def test_a_run_goes_on_where_the_store_has_it(store: Store) -> None:
    with pytest.raises(ValueError), record(store, params={"lr": 1}, config_yaml="lr: 1\n") as first:
        print("the first time")
        for step in range(5):
            first.log_metrics({"train/loss": float(step)}, step=step)
        first.log_metrics({"val/loss": 1.0}, step=3)
        raise ValueError("broken")
    with record(
        store, params={"lr": 2}, config_yaml="lr: 2\n", resume=store.find_run(first.run_id)
    ) as again:
        assert store.find_run(first.run_id).status == "RUNNING"
        print("the second time")
        for step in range(2, 8):
            again.log_metrics({"train/loss": -float(step)}, step=step)
        again.log_metrics({"val/loss": 2.0}, step=6)
    assert (again.run_id, again.name) == (first.run_id, first.name)
    found = store.find_run(first.run_id)
    assert (found.status, found.params, found.tags["resumed"]) == ("FINISHED", {"lr": "1"}, "1")
    assert "failure.reason" not in found.tags and "FAILED: ValueError: broken; resumed" in str(
        found.tags
    )
    assert history(store, found.id, "train/loss") == [
        (0, 0.0),
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
        (4, 4.0),
    ] + [(step, -float(step)) for step in (5, 6, 7)]
    assert history(store, found.id, "val/loss") == [(3, 1.0), (6, 2.0)]
    assert store.load_config_yaml(found.id) == "lr: 1\n"
    console = Path(found.artifact_uri, "console.log").read_text()
    assert "the first time" in console and "the second time" in console
    assert Path(found.artifact_uri, "resumed", "1", "environment.txt").exists()


def test_a_run_that_is_being_written_does_not_go_on_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.tracking.run_start._DELIVERY_SECONDS", 0.1)
    with (
        record(store) as run,
        pytest.raises(UserError, match="another process still writes it"),
        record(store, resume=store.find_run(run.run_id)),
    ):
        pass
    assert store.find_run(run.run_id).status == "FINISHED"


def test_forks_are_linked_both_ways(store: Store) -> None:
    with record(store) as source:
        pass
    with record(store, forked_from=source.run_id[:8]) as fork:
        pass
    assert store.find_run(fork.run_id).tags["forked_from"] == source.run_id
    assert store.find_run(source.run_id).tags["forks"] == fork.run_id


def test_what_a_killed_resume_left_behind_does_not_stop_the_next(store: Store) -> None:
    with record(store) as run:
        pass
    (store.runs_folder / "outbox" / run.run_id / "files").mkdir(parents=True)
    with record(store, resume=store.find_run(run.run_id)):
        pass
    assert store.find_run(run.run_id).tags["resumed"] == "1"


def test_a_store_that_refuses_is_told_at_once_and_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UserError) as fault:
        Store(root=str(tmp_path), uri="postgresql+nodriver://me:word@127.0.0.1:9/runs").open()
    message = redact_text(str(fault.value))
    assert "word" not in message
    assert "tracking.uri=postgresql+nodriver://me:***@127.0.0.1:9/runs" in message


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_server_that_refuses_is_told_before_anything_begins(tmp_path: Path, code: int) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else code)
            self.end_headers()
            self.wfile.write(b"not for you")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://me:passwort@127.0.0.1:{server.server_port}"
        store = Store(root=str(tmp_path), uri=uri)
        with pytest.raises(UserError) as fault, record(store):
            pass
        server.shutdown()
    message = redact_text(str(fault.value))
    assert f"tracking.uri={uri.replace('me:passwort', '***')}" in message or "me:***@" in message
    assert str(code) in message and "passwort" not in message
    assert outbox.list_pending_outboxes(store.runs_folder) == []
