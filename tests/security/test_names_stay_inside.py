"""Names from outside, of runs, artifacts and experiments, lead nowhere but into `mlruns/`."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

from src.core.user_errors import UserError
from src.tracking import client as session
from src.tracking import delivery, earlier_runs, outbox
from src.tracking.store import Store

ID = "0123456789abcdef" * 2
IDS = [
    "../../x",
    "..",
    "/etc/passwd",
    f"{ID[:-1]}/",
    f"../{ID}",
    "..\\..\\x",
    "abcdef\0",
    "%2e%2e%2f",
    "a' OR 'a'='a",
    "",
]
ARTIFACTS = ["../x", "a/../../x", "/x", "..", "", ".", "a\\..\\..\\x", "..\\x", "x\0.txt"]


@pytest.fixture
def store(tmp_path: Path, blank_database: Path) -> Store:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(blank_database, tmp_path / "mlruns" / "mlflow.db")
    return Store(root=str(tmp_path), system_metrics=False)


@pytest.mark.parametrize("run_id", IDS)
def test_a_run_id_is_hexadecimal_or_refused(store: Store, run_id: str) -> None:
    for ask in (store.find_run, store.fetch_model_folder):
        with pytest.raises(UserError, match="is not a run id: expected its 32 hexadecimal digits"):
            ask(run_id, key="resume")
    with pytest.raises(UserError, match="expected 32 hexadecimal digits"):
        outbox.resolve_outbox_folder(store.runs_folder, run_id)


@pytest.mark.parametrize("run_id", IDS)
def test_a_server_does_not_name_folders(run_id: str) -> None:
    info = SimpleNamespace(run_id=run_id)
    with pytest.raises(UserError, match="the store names a run .*: expected 32 hexadecimal digits"):
        earlier_runs._to_run_info(SimpleNamespace(info=info, data=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["..", ".", "...", "../../x", "/etc", "a/../../b", "..\\x", ".hidden", "a b"]
)
def test_an_experiment_is_a_folder_below_artifacts(tmp_path: Path, name: str) -> None:
    store = Store(root=str(tmp_path), experiment=name)
    place = Path(str(session._build_artifact_location(store)))
    assert place.resolve().parent == store.artifacts_folder.resolve()


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artifact_lies_inside_its_run(artifact: str) -> None:
    with pytest.raises(ValueError, match="an artifact lies inside its run"):
        outbox.validate_artifact_path(artifact)


@pytest.fixture
def copied(store: Store) -> Path:
    """An outbox that came from another machine, and a file that it must not reach."""
    folder = outbox.resolve_outbox_folder(store.runs_folder, ID)
    (folder / "files" / "1").mkdir(parents=True)
    (folder / "files" / "1" / "own.txt").write_text("own")
    (folder / "run.json").write_text(
        json.dumps({"process": "elsewhere", "uri": None, "started_at": 1})
    )
    (store.runs_folder.parent / "secret.txt").write_text("secret")
    return folder


@pytest.mark.parametrize(
    "place",
    [
        "../../../secret.txt",
        "files/../../../../secret.txt",
        "/etc/passwd",
        "run.json",
        "files/1/link/x",
        "",
    ],
)
def test_a_copied_outbox_reads_only_its_own_files(copied: Path, place: str) -> None:
    (copied / "files" / "1" / "link").symlink_to(copied.parents[2])
    assert outbox.resolve_staged_path(copied, "files/1/own.txt").read_text() == "own"
    with pytest.raises(UserError, match="not one of the folder's own files"):
        outbox.resolve_staged_path(copied, place.replace("link/x", "link/secret.txt"))


@pytest.mark.parametrize(
    "name", ["console.log", "refused.txt", "files/1/model", "store.json", "delivered.part"]
)
def test_a_copied_outbox_with_links_is_not_delivered(store: Store, copied: Path, name: str) -> None:
    secret = store.runs_folder.parent / "secret.txt"
    (copied / name).symlink_to(secret)
    [said] = delivery.deliver_pending_outboxes(store.open())
    assert "is a symbolic link, which an outbox never holds" in said
    assert secret.read_text() == "secret"


class _Hostile(BaseHTTPRequestHandler):
    """An artifact server that lists files outside of the folder that was asked for."""

    names: tuple[str, ...] = ()

    def do_GET(self) -> None:
        listing = {
            "files": [{"path": name, "is_dir": False, "file_size": 1} for name in self.names]
        }
        body = json.dumps(listing).encode() if "path=" in self.path else b"evil"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def hostile() -> Iterator[Callable[..., str]]:
    servers = []

    def start(*names: str) -> str:
        server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Hostile,), {"names": names}))
        servers.append(server)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return f"http://127.0.0.1:{server.server_port}/api/2.0/mlflow-artifacts/artifacts"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../../evil", "%2e%2e/evil"])
def test_a_server_that_lists_files_outside_is_refused(
    tmp_path: Path, hostile: Callable[..., str], name: str
) -> None:
    target = tmp_path / "a" / "b"
    target.mkdir(parents=True)
    with pytest.raises(MlflowException, match="Invalid path|Failed to download"):
        HttpArtifactRepository(hostile(name)).download_artifacts("model", str(target))  # type: ignore[no-untyped-call,unused-ignore]
    assert not [path for path in tmp_path.rglob("*evil*") if target not in path.parents]


@pytest.mark.parametrize("name", ["..", "a/..", "model/..\\x.ckpt"])
def test_checkpoints_are_fetched_under_plain_names_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    client = SimpleNamespace(list_artifacts=lambda *_: [SimpleNamespace(path=name, is_dir=False)])
    opened = SimpleNamespace(store=store, client=client)
    monkeypatch.setattr(
        earlier_runs,
        "find_run",
        lambda *_: SimpleNamespace(id=ID, artifact_uri="mlflow-artifacts:/x"),
    )
    with pytest.raises(
        (UserError, ValueError), match="a plain name was expected|an artifact lies inside its run"
    ):
        earlier_runs.fetch_artifacts(opened, ID, "checkpoints", tmp_path / "checkpoints")  # type: ignore[arg-type]
