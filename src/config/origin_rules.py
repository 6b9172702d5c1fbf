"""The rule of `init_from`: it takes a run, and neither a model of the hub nor a folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from src.config.foreign_keys import explain_pretrained
from src.core.nested_config import get_by_path
from src.core.registered_names import RUN_ADDRESS
from src.core.user_errors import UserError, did_you_mean

# Models of the hub without an owner, which a run might be named like.
_HUB_NAMES = frozenset(
    [
        *(f"bert-{size}-{case}" for size in ("base", "large") for case in ("uncased", "cased")),
        *(f"bert-base-{language}" for language in ("multilingual-cased", "chinese")),
        *(f"distilbert-base-{case}" for case in ("uncased", "cased", "multilingual-cased")),
        *(
            f"{family}-{size}"
            for family in ("roberta", "xlm-roberta")
            for size in ("base", "large")
        ),
        *("distilroberta-base", "albert-base-v2", "camembert-base", "distilgpt2", "gpt2"),
        *(f"t5-{size}" for size in ("small", "base", "large")),
    ]
)


def find_origin_errors(config: Mapping[str, Any]) -> Iterator[UserError]:
    """The error of an origin that is no run."""
    typed = get_by_path(config, "init_from")
    if isinstance(typed, str) and (address := RUN_ADDRESS.match(typed.strip())):
        yield UserError(
            "is not a run id",
            key="init_from",
            value=typed,
            hint=did_you_mean(f"init_from={address[1]}"),
            colon=False,
        )
    elif isinstance(typed, str) and _names_model(typed.strip()):
        yield UserError(
            "names a model, and no run",
            key="init_from",
            value=typed,
            hint=f"without it, {explain_pretrained(typed)}",
            colon=False,
        )


def _names_model(typed: str) -> bool:
    is_folder = (Path(typed).expanduser() / "config.json").is_file()
    return is_folder or "/" in typed or typed.casefold() in _HUB_NAMES
