"""What `init_from=ID` means in a config: the encoder and the tokenizer of an earlier run."""

from collections.abc import Mapping
from typing import Any

from src.terms.fault import Fault


def started_from(
    run_id: str, model: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Model and data with the encoder and tokenizer of an earlier run, written `run:ID`."""
    if "name_or_path" not in model["encoder"] or "name_or_path" not in data["tokenizer"]:
        raise Fault(
            f"init_from={run_id} brings an encoder and its tokenizer, but the config makes fresh ones; "
            "add model/encoder=pretrained data/tokenizer=pretrained"
        )
    place = {"name_or_path": f"run:{run_id}"}
    return (
        {**model, "encoder": {**model["encoder"], **place}},
        {**data, "tokenizer": {**data["tokenizer"], **place}},
    )
