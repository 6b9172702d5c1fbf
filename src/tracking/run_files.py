"""Small files of many runs, read one by one: from the disk where they lie on this machine, else by
way of the store.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from src.tracking.mlflow_format import to_local_path

if TYPE_CHECKING:
    from src.tracking.run_table import RunHead
    from src.tracking.store import Store


def is_on_this_machine(run: "RunHead") -> bool:
    """Whether the files of a run are plain files here."""
    return to_local_path(run.artifact_uri) is not None


def read_artifact(store: "Store", run: "RunHead", artifact: str) -> bytes | None:
    """The content of a file of a run; None if the run has no such file, or it cannot be fetched."""
    folder = to_local_path(run.artifact_uri)
    if folder is not None:
        try:
            return (folder / artifact).read_bytes()
        except OSError:
            return None
    from mlflow.exceptions import MlflowException

    client = store.open().client
    with tempfile.TemporaryDirectory() as draft:
        try:
            return Path(client.download_artifacts(run.id, artifact, draft)).read_bytes()
        except (MlflowException, OSError):
            return None
