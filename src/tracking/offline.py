"""Runs that began where no store was: what becomes of their ids when a store is told of them.

MLflow chooses a run's id, so a run kept with `tracking=offline` has one of its own until it is synchronised. The new
run carries the old id as tag `local_id`; the outbox notes the new one. A synchronisation that was cut off between the
two finds its run by the tag, so no run is ever made twice.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import ViewType

from src.terms.fault import Fault
from src.tracking import outbox
from src.tracking.session import Session

_IDS = ("mlflow.parentRunId", "init_from", "forked_from")  # the tags that name other runs


def is_local(folder: Path) -> bool:
    """Whether the run in this outbox was begun with no store."""
    return "create" in outbox.about(folder)


def settle(session: Session, folder: Path) -> str:
    """The id under which the store knows the run of an outbox, which is created there if need be."""
    about = outbox.about(folder)
    if "create" not in about:
        return folder.name
    place = outbox.place_of(session.store.uri)
    noted = folder / "store.json"
    if noted.exists():
        known: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
        if known["uri"] != place:
            raise Fault(f"run {folder.name} is half delivered to {known['uri'] or 'mlruns/mlflow.db'}: go on with that")
        return str(known["run_id"])
    run_id = found(session, folder.name) or _created(session, folder.name, about["create"])
    draft = noted.with_suffix(".part")
    draft.write_text(json.dumps({"uri": place, "run_id": run_id}), encoding="utf-8")
    draft.replace(noted)
    return run_id


def found(session: Session, local_id: str) -> str | None:
    """The store's id of the run that was once known by `local_id`."""
    everywhere = [each.experiment_id for each in session.client.search_experiments(view_type=ViewType.ALL)]
    runs = session.client.search_runs(everywhere, f"tags.local_id = '{local_id}'", ViewType.ALL, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def mapped(session: Session, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with the store's ids of other runs in place of those they had before; an id that has none stays."""
    return {key: _id(session, value) if key in _IDS else value for key, value in tags.items()}


def _id(session: Session, run_id: str) -> str:
    return (found(session, run_id) or run_id) if re.fullmatch(r"[0-9a-f]{32}", run_id) else run_id


def _created(session: Session, local_id: str, create: Mapping[str, Any]) -> str:
    tags = mapped(session, create["tags"]) | {"local_id": local_id}
    run = session.client.create_run(session.experiment_id, create["started_at"], tags, create["name"])
    return str(run.info.run_id)
