"""The record of a run: its name, parameters and tags, from its config and what it goes on with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.core.redaction import redact_arguments
from src.pipeline.hooks import RunHooks

if TYPE_CHECKING:
    from src.pipeline.resume import ResumePoint
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store
    from src.training.launcher import RankInfo


def create_record(
    config: Mapping[str, Any],
    hooks: RunHooks,
    resume_point: "ResumePoint",
    store: "Store",
    *,
    kind: str,
    rank_info: "RankInfo",
) -> "RunRecord":
    """The record of the run; it exists in the store once it is entered."""
    from src.config.idle_keys import find_idle_keys
    from src.config.resume import dump_config
    from src.core.formatting import flatten_config
    from src.tracking.liveness import RANKS_TAG
    from src.tracking.mlflow_format import build_run_name
    from src.tracking.run_record import RunRecord

    overrides = redact_arguments(_shown_overrides(hooks, resume_point))
    preset = {"preset": config["preset"]} if "preset" in config else {}
    idle = find_idle_keys(config)
    return RunRecord(
        store=store,
        name=build_run_name(config["name"], overrides),
        kind=kind,
        params=flatten_config(config),
        tags={
            **preset,
            **({"idle_keys": ", ".join(idle)} if idle else {}),
            **config.get("tags", {}),
            **hooks.tags,
            RANKS_TAG: str(rank_info.world_size),
        },
        config_yaml=dump_config(config),
        parent=hooks.parent_run_id,
        init_from=config.get("init_from"),
        forked_from=resume_point.forked_from,
        resume=resume_point.resumed_run,
    )


def _shown_overrides(hooks: RunHooks, resume_point: "ResumePoint") -> Sequence[str]:
    """The overrides that a run's name shows: the search's, those typed, or what a fork changed."""
    from src.config.compose import typed_overrides

    if overrides := hooks.shown_overrides or typed_overrides():
        return overrides
    changed = resume_point.changed_keys
    return [f"{key}={value}" for key, value in changed.items() if key != "name"]
