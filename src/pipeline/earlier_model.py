"""The model that an earlier run has left, with what is known of how it was trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.nested_config import get_by_path
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.pipeline.export import INFERENCE_CONFIG_NAME

if TYPE_CHECKING:
    from src.tracking.store import Store


class EarlierModel(NamedTuple):
    """A model folder and the config of its run.

    Args:
        folder: the Hugging Face folder of the model.
        inference_config: how texts are prepared for it.
        config: of the run, as plain values; empty if it is not known.
        run_id: of the run.
    """

    folder: Path
    inference_config: Mapping[str, Any]
    config: Mapping[str, Any]
    run_id: str

    @property
    def run_source(self) -> Mapping[str, Any]:
        """The node `data.source` of the run; empty if it is not known."""
        node = get_by_path(self.config, "data.source")
        return node if isinstance(node, Mapping) else {}

    @property
    def judges_pairs(self) -> bool | None:
        """Whether the model was trained on pairs of texts; None if that is not known."""
        if (pairs := self.inference_config.get("pairs")) is not None:
            return bool(pairs)
        # runs before version 2 of the artifact did not keep it
        target = str(self.run_source.get("_target_", ""))
        if not target.startswith("src."):
            return None
        return self.run_source.get("pair") is not None

    def check_pair(self, has_pair: bool, *, key: str, value: str) -> None:
        """Raise UserError if the model judges pairs and gets single texts, or the other way round.

        Args:
            key, value: the option that gives the second text.
        """
        if self.judges_pairs and not has_pair:
            raise UserError(
                "this model judges pairs of texts",
                expected=f"{key}={value} as well, the second text of each"
                if key == "pair_column"
                else f'{key}="..." as well, the second text',
            )
        if has_pair and self.judges_pairs is False:
            raise UserError(
                "this model judges single texts, it has never seen a second one",
                key=key,
                value=value,
            )


def find_earlier_model(store: "Store", typed: str) -> EarlierModel:
    """The model of a run, made of its best checkpoint if it ended before it left one.

    Raises UserError if there is neither; the message names `run`.

    Args:
        typed: the id of the run, or another name that `Store.find_run` takes.
    """
    run = store.find_run(typed, key="run")
    config = _load_config(store, run.id)
    try:
        folder = store.fetch_model_folder(run.id, key="run")
    except UserError:
        from src.pipeline.checkpoint_model import build_checkpoint_model, choose_checkpoint

        chosen = choose_checkpoint(store, run)
        if chosen is None or not config:
            raise
        folder = build_checkpoint_model(store, run, chosen, config)
    return read_earlier_model(folder, config, run.id)


def read_earlier_model(folder: Path, config: Mapping[str, Any], run_id: str = "") -> EarlierModel:
    """The model in a folder. Raises UserError if no run of this program has written it.

    Args:
        config: of the run, as plain values; empty if it is not known.
        run_id: empty if it is not known.
    """
    file = folder / INFERENCE_CONFIG_NAME
    if not file.is_file():
        raise UserError(
            f"{folder} holds no {INFERENCE_CONFIG_NAME}: it was not written by a run of this "
            "program"
        )
    return EarlierModel(folder, json.loads(file.read_text(encoding="utf-8")), config, run_id)


def _load_config(store: "Store", run_id: str) -> dict[str, Any]:
    from src.config.resume import load_stored_config

    try:
        return load_stored_config(store.load_config_yaml(run_id, key="run"))
    except UserError as error:
        print_line(f"note: how the run read its data is not known: {error}", to_stderr=True)
        return {}
