"""The run whose encoder and tokenizer a new run begins with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.config.compose import apply_init_from
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.tracking.store import Store


def resolve_init_from(
    config: Mapping[str, Any], store: "Store", *, is_trial: bool
) -> Mapping[str, Any]:
    """The config with the id of the run that `init_from` names: a name may mean another run later,
    and what is recorded must not.
    """
    typed = config["init_from"]
    run_id = store.find_run(typed, key="init_from").id
    if is_trial and not run_id.startswith(typed.lower()):
        raise UserError(
            "a sweep wants the id of a run, since a name may mean another one at a later trial",
            key="init_from",
            value=typed,
            hint=f"init_from={run_id} is that run now",
        )
    model, data = apply_init_from(run_id, config["model"], config["data"])
    return {**config, "init_from": run_id, "model": model, "data": data}
