"""`~` stands for the home folder wherever a folder or a store is named."""

from pathlib import Path

import pytest

from src.config.home_folder import expand_home_folders
from src.core.mlflow_environment import read_tracking_uri
from src.tracking.store import Store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tracking.root=~/x", 'tracking.root="HOME/x"'),
        ("tracking.root=~", 'tracking.root="HOME"'),
        ("data.source.path=~/my files/a=b.csv", 'data.source.path="HOME/my files/a=b.csv"'),
        ("++tracking.uri=sqlite:///~/x.db", '++tracking.uri="sqlite:///HOME/x.db"'),
        # left as they are typed
        ("name='~/x'", "name='~/x'"),
        ("data.source.path=~/a,~/b", "data.source.path=~/a,~/b"),
        ("tracking.root=~nobody-here/x", "tracking.root=~nobody-here/x"),
        ("~callbacks.progress", "~callbacks.progress"),
        ("data.source.path=a~b", "data.source.path=a~b"),
    ],
)
def test_an_override(typed: str, expected: str, home: Path) -> None:
    assert expand_home_folders([typed]) == [expected.replace("HOME", str(home))]


def test_a_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root="~/project", uri="sqlite:///~/runs.db")
    store.check()
    assert store.runs_folder == home / "project" / "mlruns"
    assert store.sqlite_file == home / "runs.db"
    assert store.tracking_uri == f"sqlite:///{home}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///~/runs.db")
    assert read_tracking_uri() == store.tracking_uri
    assert store.describe_location().endswith("runs.db (MLFLOW_TRACKING_URI)")
