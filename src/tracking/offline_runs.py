"""Runs that began with `tracking=offline`: their ids, before and after they are in a store.

MLflow chooses the id of a run, so such a run has an id of its own until it is created in a store.
The new run carries the old id as its tag `local_id`, and the outbox notes the new id. A delivery
that was interrupted between the two finds the run by its tag, so that no run is created twice.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import ViewType

from src.core.files import write_json
from src.core.user_errors import UserError
from src.tracking import outbox

if TYPE_CHECKING:
    from src.tracking.client import StoreSession

_RUN_ID_TAGS = ("mlflow.parentRunId", "init_from", "forked_from")


def create_offline_run(session: "StoreSession", folder: Path, create: Mapping[str, Any]) -> str:
    """Create the run of an offline outbox in the store, once; return its id there."""
    uri = outbox.redact_uri(session.store.uri)
    note = folder / "store.json"
    if note.exists():
        noted: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if noted["uri"] != uri:
            raise UserError(
                f"run {folder.name} is half delivered to {noted['uri'] or 'mlruns/mlflow.db'}: go "
                "on with that"
            )
        return str(noted["run_id"])
    run_id = find_by_local_id(session, folder.name)
    if run_id is None:
        tags = map_run_id_tags(session, create["tags"]) | {"local_id": folder.name}
        run = session.client.create_run(
            session.experiment_id, create["started_at"], tags, create["name"]
        )
        run_id = str(run.info.run_id)
    write_json(note, {"uri": uri, "run_id": run_id})
    return run_id


def find_by_local_id(session: "StoreSession", local_id: str) -> str | None:
    """Return the store's id of the run that had this id while it was offline."""
    experiments = session.client.search_experiments(view_type=ViewType.ALL)
    runs = session.client.search_runs(
        [experiment.experiment_id for experiment in experiments],
        f"tags.local_id = '{local_id}'",
        ViewType.ALL,
        max_results=1,
    )
    return str(runs[0].info.run_id) if runs else None


def map_run_id_tags(session: "StoreSession", tags: Mapping[str, str]) -> dict[str, str]:
    """Replace ids of offline runs in tags by the ids that the store has given them."""
    mapped = dict(tags)
    for key in _RUN_ID_TAGS:
        if re.fullmatch(r"[0-9a-f]{32}", tags.get(key, "")):
            mapped[key] = find_by_local_id(session, tags[key]) or tags[key]
    return mapped
