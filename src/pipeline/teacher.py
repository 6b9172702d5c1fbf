"""The run whose model teaches a new one."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.build_nodes import build_node
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.model.model_config import ModelConfig
    from src.tracking.store import Store

_KEY = "model.objective.teacher"


def resolve_teacher(
    config: Mapping[str, Any], store: "Store", *, is_trial: bool
) -> Mapping[str, Any]:
    """The config with the whole id of the run that `model.objective.teacher` names, for the reason
    that `resolve_init_from` gives. A folder stays as it was typed.
    """
    typed = get_by_path(config, _KEY)
    if not isinstance(typed, str) or Path(typed).expanduser().is_dir():
        return config
    if os.sep in typed:
        raise UserError(
            "there is no such folder",
            key=_KEY,
            value=typed,
            expected="the id of a run with a classifier, or the folder of its model",
        )
    run_id = store.find_run(typed, key=_KEY).id
    if is_trial and not run_id.startswith(typed.lower()):
        raise UserError(
            "a sweep wants the id of a run, since a name may mean another one at a later trial",
            key=_KEY,
            value=typed,
            hint=f"{_KEY}={run_id} is that run now",
        )
    model = config["model"]
    return {
        **config,
        "model": {**model, "objective": {**model["objective"], "teacher": run_id}},
    }


def build_model_config(node: Mapping[str, Any], store: "Store") -> "ModelConfig":
    """The config of a model, whose teacher, if it has one, is the folder with its weights."""
    model_config: ModelConfig = build_node(node)
    objective: Any = model_config.objective
    typed = getattr(objective, "teacher", None)
    if typed is None:
        return model_config
    folder = Path(typed).expanduser()
    if not folder.is_dir():
        folder = store.fetch_model_folder(typed, key=_KEY)
    return replace(model_config, objective=replace(objective, teacher=str(folder)))
