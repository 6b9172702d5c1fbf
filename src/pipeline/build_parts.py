"""The parts of a run that its config describes, before it is opened: for the run itself and for its
plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.allowed_changes import BATCH_RANKS_KEY
from src.config.build_nodes import build_node
from src.core.user_errors import UserError
from src.pipeline.run_parts import BuiltParts

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule
    from src.tracking.store import Store


def build_parts(
    config: Mapping[str, Any], store: "Store", *, is_trial: bool, is_followed: bool = False
) -> BuiltParts:
    """Build what a config describes and check it, with what `init_from` brings. Nothing is read of
    the data, and no weights are made.

    Args:
        is_followed: by a phase that goes on with its model, so that the run does not leave it.
    """
    from src.pipeline.init_from import resolve_init_from
    from src.pipeline.teacher import build_model_config, resolve_teacher
    from src.training.rank_process import get_from_first_rank

    model_folder: Path | None = None
    if config.get("init_from") is not None:
        if (known_folder := get_from_first_rank("origin")) is not None:
            model_folder = Path(known_folder)
        else:
            config = resolve_init_from(config, store, is_trial=is_trial)
            model_folder = store.fetch_model_folder(config["init_from"])
    config = resolve_teacher(config, store, is_trial=is_trial)
    data_config = build_node(config["data"])
    model_config = build_model_config(config["model"], store)
    callbacks = [build_node(node) for node in config["callbacks"].values() if node is not None]
    for callback in callbacks:
        # which some have that read data of their own
        if (check := getattr(callback, "check_source", None)) is not None:
            check()
    if config.get("report") is not None:
        build_node(config["report"]).check()
    model_config.check(model_folder, max_tokens=data_config.batching.max_tokens)
    if not is_followed:
        model_config.check_kept(model_folder)
    data_config.check(model_folder)
    if slices := (config.get("report") or {}).get("slices"):
        _check_slices(data_config.source, slices)
    datamodule = data_config.build(model_folder)
    if data_config.augmentation is not None and data_config.augmentation.masked_lm is not None:
        from src.pipeline.word_guesser import MaskedWordGuesser, check_masked_lm

        check_masked_lm(data_config.augmentation.masked_lm)
        datamodule.set_word_guesser(MaskedWordGuesser)
    return BuiltParts(
        config=config,
        model_folder=model_folder,
        datamodule=datamodule,
        module=model_config.build(model_folder),
        training=build_node(config["trainer"]),
        callbacks=callbacks,
    )


def check_world_size(built: BuiltParts, world_size: int) -> None:
    """Raise UserError for a callback that does not go with so many devices."""
    for callback in built.callbacks:
        if (check := getattr(callback, "check_world_size", None)) is not None:
            check(world_size)


def settle_batch_ranks(
    built: BuiltParts, changed_keys: Mapping[str, str], world_size: int
) -> BuiltParts:
    """The parts with `trainer.batch_ranks` set where the number of devices does not say it: in a
    run that goes on with other devices, and where `auto` leaves their number open. Whatever goes on
    with the run can then keep its global batches.

    Args:
        changed_keys: as of a `ResumePoint`.
        world_size: the number of processes of this run.
    """
    trainer = built.config["trainer"]
    batch_ranks = built.training.batch_ranks
    if BATCH_RANKS_KEY in changed_keys:
        batch_ranks = int(changed_keys[BATCH_RANKS_KEY])
    elif batch_ranks is None and "auto" in (trainer.get("devices"), trainer.get("num_nodes")):
        batch_ranks = world_size
    if batch_ranks == built.training.batch_ranks:
        return built
    config = {**built.config, "trainer": {**trainer, "batch_ranks": batch_ranks}}
    training = replace(built.training, batch_ranks=batch_ranks)
    return built._replace(config=config, training=training)


def _check_slices(source: Any, slices: Sequence[str]) -> None:
    """Raise UserError for a column of the report that files lack, by their first row; other sources
    are asked once they have been read.
    """
    from src.data.reading.sources import Source
    from src.data.split_rows import check_columns

    if isinstance(source, Source) and source.path is not None:
        split = "test" if "test" in source.available_splits() else "train"
        check_columns(source, split, slices, key="report.slices")


def check_validation_rows(datamodule: "TextDataModule") -> None:
    """Raise UserError where there is nothing to judge a training by."""
    if "validation" not in datamodule.token_stores:
        raise UserError(
            "there are no rows to validate on; data.split.validation=0.1 takes a tenth of the "
            "training rows"
        )
