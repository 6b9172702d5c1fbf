"""The model of a run that ended before it could leave one, made of a checkpoint."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.build_nodes import build_node
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.pipeline.resume import find_changed_splits, find_run_checkpoint
from src.training.checkpoint_files import find_checkpoint_damage, read_checkpoint_description

if TYPE_CHECKING:
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store


class ChosenCheckpoint(NamedTuple):
    """A whole checkpoint, and why it was chosen of several, in words."""

    path: Path
    reason: str


def choose_checkpoint(store: "Store", run: "RunInfo") -> ChosenCheckpoint | None:
    """The checkpoint that would have become the run's model: the best one that is kept, else the
    last; None if there is none.
    """
    last = find_run_checkpoint(store, run).path
    if last is None:
        return None
    try:
        best = read_checkpoint_description(last).get("best", {})
    except ValueError as error:
        raise UserError(f"run {run}: {error}") from error
    monitor = run.params.get("callbacks.checkpoint.monitor", "its score")
    for name, score in best.items():
        if find_checkpoint_damage(path := last.with_name(name)) is None:
            return ChosenCheckpoint(path, f"the best by {monitor} ({score:.4g})")
    return ChosenCheckpoint(last, "the last")


def build_checkpoint_model(
    store: "Store", run: "RunInfo", chosen: ChosenCheckpoint, config: Mapping[str, Any]
) -> Path:
    """The Hugging Face folder of a checkpoint, made once and kept beside what is fetched.

    The data are prepared as the run did it, since they hold tokenizer and labels.

    Args:
        config: of the run, as plain values.

    Raises:
        UserError: the data are not there, or are others now.
    """
    folder = store.runs_folder / "fetched" / run.id / f"model of {chosen.path.stem}"
    status = "still RUNNING" if run.status == "RUNNING" else run.status
    print_line(
        f"run {run.id} has left no model, it is {status}; taken is its checkpoint "
        f"{chosen.path.name}, {chosen.reason}",
        to_stderr=True,
    )
    if folder.exists():
        return folder
    from src.pipeline.export import save_model

    init_from = config.get("init_from")
    origin = store.fetch_model_folder(init_from) if init_from is not None else None
    datamodule = build_node(config["data"]).build(origin)
    datamodule.prepare_data()
    splits = datamodule.describe_splits()
    if changed := find_changed_splits(run, {name: splits[name]["digest"] for name in splits}):
        raise UserError(
            f"the data are not those with which run {run.id} began: {', '.join(changed)}",
            hint="put them back: they hold the tokenizer and the labels of its checkpoint",
        )
    module = build_node(config["model"]).build(origin)
    module.set_dataset_info(datamodule.dataset_info, total_steps=1)
    module.configure_model()
    module.load_weights(str(chosen.path))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        save_model(
            module.encoder, datamodule.tokenizer, datamodule.describe_preprocessing()
        ) as saved,
        tempfile.TemporaryDirectory(dir=folder.parent) as draft,
    ):
        copied = Path(shutil.copytree(saved, Path(draft) / "model"))
        if not folder.exists():
            copied.rename(folder)
    return folder
