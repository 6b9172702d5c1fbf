"""One run: open it in the store, prepare the data, train, evaluate.

`run` reads like that sentence. Nothing heavy is imported before it is called, because the command
line reads its signature as the schema of a config's top level.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.build_nodes import Schema, build_node, read_schema
from src.config.phases import PHASES_KEY, put_last_phase_on_top
from src.core import startup
from src.core.formatting import to_override_text
from src.core.printing import print_line
from src.core.validation import Seed
from src.pipeline.announcement import announce_start, announce_training, conclude_run
from src.pipeline.early_checks import check_without_torch
from src.pipeline.hooks import NoHooks, RunHooks
from src.pipeline.phases import (
    begin_phase,
    enter_next_phase,
    enter_phases,
    list_phase_configs,
    name_splits,
)
from src.pipeline.run_evaluation import evaluate_run
from src.pipeline.run_parts import RunOutcome, RunParts, format_results
from src.training.callbacks import CallbackConfig

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from src.model.module import EncoderModule
    from src.tracking.run_record import RunRecord


def run(
    *,
    name: str,
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    trainer: Mapping[str, Any],
    callbacks: Mapping[str, CallbackConfig | None],
    tracking: Mapping[str, Any],
    seed: Seed,
    report: Mapping[str, Any] | None = None,
    init_from: str | None = None,
    preset: str | None = None,
    tags: Mapping[str, str | float | bool] | None = None,
    phases: Mapping[str, Mapping[str, Any]] | None = None,
    register: str | None = None,
    register_alias: str | None = None,
    resume: str | None = None,
    fork: bool = False,
    hooks: RunHooks | None = None,
) -> RunOutcome:
    """Train, evaluate and record.

    Args:
        name: beginning of the run's name.
        data, model, trainer, callbacks, tracking: composed config nodes with a `_target_`.
        seed: of weights, dropout, order of rows and masks.
        report: composed config node: what is told of the answers; null: the default.
        init_from: id of an earlier run whose encoder and tokenizer are taken.
        preset: name of a few values that were set together; the other arguments have them.
        tags: tags of the run, besides the program's own; names and values become text.
        phases: changes of the config for trainings one after another, by their names.
        register: name of a registered model of MLflow, of which the model of this run becomes a new
            version once the run is kept (docs/export.md).
        register_alias: name, such as champion, that moves to that version.
        resume: id of an earlier run with the same config, which goes on where it stopped.
        fork: begin a new run from that run's last checkpoint instead; the config may differ.
        hooks: called at the stages of the run; a search passes those of its trial.

    Raises:
        UserError: something in the config or the data must be changed by the user.
    """
    from src.config.compose import apply_init_from

    started_at = time.monotonic()
    if init_from is not None:
        model, data = apply_init_from(init_from, model, data)
    arguments = {
        "name": name,
        "data": data,
        "model": model,
        "trainer": trainer,
        "callbacks": callbacks,
        "tracking": tracking,
        "seed": seed,
        "report": report,
        "init_from": init_from,
        "preset": preset,
        "tags": tags and {str(name): to_override_text(value) for name, value in tags.items()},
        "phases": phases,
        "register": register,
        "register_alias": register_alias,
    }
    config = put_last_phase_on_top(
        {key: value for key, value in arguments.items() if value is not None}
    )
    parts = open_run(config, resume=resume, fork=fork, hooks=hooks or NoHooks())
    with parts.opened() as error_context:
        announce_run(parts)
        while parts.has_next_phase:
            parts = enter_next_phase(parts, *train_run(parts, prepare_run(parts)))
        module, fitted = train_run(parts, prepare_run(parts))
        if parts.hooks.pruned_reason is not None:
            parts.hooks.on_run_pruned()
            metrics = parts.record.latest_metrics
        else:
            reached = f"optimizer step {fitted.global_step}"
            error_context.progress_note = f"training itself was complete ({reached})"
            metrics = evaluate_run(parts, module, fitted)
            parts.record.describe_result(format_results(metrics, parts.interval))
    return conclude_run(parts, metrics, time.monotonic() - started_at)


def read_task_schema() -> Schema:
    """The schema of a config's top level: the arguments of `run` without `hooks`, and the classes
    that its nodes are.
    """
    from src.data.data_config import DataConfig
    from src.evaluation.report_config import ReportConfig
    from src.model.model_config import ModelConfig
    from src.tracking.store import Store
    from src.training.trainer import Training

    parameters = dict(read_schema(run).parameters)
    del parameters["hooks"]
    classes = {"data": DataConfig, "model": ModelConfig, "trainer": Training, "tracking": Store}
    classes["report"] = ReportConfig
    for name, cls in classes.items():
        parameters[name] = parameters[name]._replace(annotation=cls)
    return Schema(parameters)


def open_run(
    config: Mapping[str, Any], *, resume: str | None, fork: bool, hooks: RunHooks
) -> RunParts:
    """Build the parts of a run and check all that can be checked before it exists: a `UserError`
    here leaves nothing behind.
    """
    from src.core.startup import silence_libraries
    from src.training.cpu_allocators import limit_kernel_cache

    for phase_config in list_phase_configs(config):
        check_without_torch(build_node(phase_config["data"]), build_node(phase_config["trainer"]))
    limit_kernel_cache()
    # before the imports that take seconds
    store = build_node(config["tracking"])
    store.check()
    announce_start(config, store)
    # before the libraries that it speaks to are imported
    silence_libraries()
    from lightning import seed_everything

    from src.config.resume import make_change_checker
    from src.pipeline.build_parts import build_parts, check_world_size, settle_batch_ranks
    from src.pipeline.create_record import create_record
    from src.pipeline.resume import resolve_resume_point

    startup.resume_gc()
    built = build_parts(config, store, is_trial=hooks.parent_run_id is not None)

    seed_everything(config["seed"], workers=True, verbose=False)
    record: RunRecord
    launcher = built.training.build_launcher(
        on_rank_failure=lambda error: record.__exit__(type(error), error, error.__traceback__),
        on_first_rank_lost=store.close_vanished_runs,
    )
    rank_info = launcher.rank_info
    check_world_size(built, rank_info.world_size)
    resume_point = resolve_resume_point(
        store,
        resume=resume,
        fork=fork,
        is_first_rank=rank_info.rank == 0,
        compare_config=make_change_checker(built.config, fork=fork),
    )
    built = settle_batch_ranks(built, resume_point.changed_keys, rank_info.world_size)
    config = built.config
    kind, phase = built.module.objective.run_kind, None
    record = create_record(config, hooks, resume_point, store, kind=kind, rank_info=rank_info)
    if PHASES_KEY in config:
        built, phase, resume_point = enter_phases(built, store, resume_point, launcher)
    datamodule = built.datamodule
    datamodule.set_rank(rank_info.rank, rank_info.world_size, built.training.batch_ranks)
    if resume_point.source_run is not None:
        # data that have changed are refused before the earlier run is touched
        datamodule.prepare_data()
        splits = name_splits(datamodule.describe_splits(), phase)
        resume_point.check_data_digests({split: splits[split]["digest"] for split in splits})
    return RunParts(
        config=built.config,
        hooks=hooks,
        store=store,
        model_folder=built.model_folder,
        datamodule=datamodule,
        module=built.module,
        training=built.training,
        callbacks=built.callbacks,
        launcher=launcher,
        resume_point=resume_point,
        record=record,
        phase=phase,
    )


def announce_run(parts: RunParts) -> None:
    """Say which run it is and where it begins, to people and to whoever started it."""
    from src.pipeline.resume_hint import note_resume_command

    record = parts.record
    note_resume_command(parts)
    parts.hooks.on_run_opened(record)
    if parts.is_first_rank:
        print_line(f"run {record.run_id}: {record.name}")
        parts.resume_point.announce_and_tag(record.set_tag)


def prepare_run(parts: RunParts) -> Path | None:
    """Read and tokenise the data, and record what they are.

    Returns:
        The checkpoint that training starts from; None for a fresh start.
    """
    from src.pipeline.build_parts import check_validation_rows
    from src.pipeline.report.judge_answers import check_report
    from src.pipeline.report.leakage import record_leakage
    from src.training.rank_process import take_from_first_rank

    record, datamodule = parts.record, parts.datamodule
    datamodule.prepare_data()
    check_validation_rows(datamodule)
    check_report(parts)
    for split, description in name_splits(datamodule.describe_splits(), parts.phase).items():
        record.log_dataset(split=split, source=datamodule.config.source.name, **description)
    reading = datamodule.describe_reading()
    for tag, text in reading.tags.items():
        record.set_tag(tag, text)
    for line in reading.lines if parts.is_first_rank else ():
        print_line(line)
    if parts.is_first_rank:
        record_leakage(parts)
    checkpoint = take_from_first_rank("checkpoint")
    return (
        Path(checkpoint)
        if checkpoint
        else parts.resume_point.stage_checkpoint(parts.checkpoint_folder)
    )


def _note_begin(parts: RunParts, precision_reason: str) -> None:
    """The network stands: from here on the run goes on as it is or not at all."""
    from src.pipeline.resume_hint import note_training

    if not parts.has_next_phase:
        parts.module.encoder.check_kept()
    parts.record.set_tag("precision", precision_reason)
    note_training(parts.record.run_id)


def train_run(parts: RunParts, checkpoint: Path | None) -> "tuple[EncoderModule, Trainer]":
    """Fit the module on all ranks; returns the module that was trained, and its Trainer."""
    from lightning import seed_everything
    from lightning.pytorch.callbacks import LambdaCallback

    from src.pipeline.report.fill_in_probes import watch_fill_ins
    from src.pipeline.teacher import build_model_config
    from src.training.callbacks import announce_loading, keep_freed_memory
    from src.training.non_finite_recovery import fit_with_recovery
    from src.training.rank_process import take_from_first_rank
    from src.training.training_metrics import log_startup_time

    record, datamodule, training = parts.record, parts.datamodule, parts.training
    dataset_info = datamodule.dataset_info
    length = training.count_steps(dataset_info.batches_per_epoch)
    total_steps = length.total_steps
    datamodule.set_training_length(length)
    parts.module.set_dataset_info(dataset_info, total_steps)
    if checkpoint is None:
        parts.module.set_token_vectors(datamodule.load_token_vectors)
    precision, precision_reason = parts.resume_point.precision or training.resolve_precision(
        parts.launcher.rank_info
    )
    if parts.phase is not None:
        begin_phase(parts, precision, precision_reason)

    announcers = [
        *announce_training(parts, precision_reason=precision_reason, total_steps=total_steps),
        LambdaCallback(on_fit_start=lambda *_: _note_begin(parts, precision_reason)),
        # with a checkpoint the weights are that one's
        *([announce_loading(record.set_tag)] if checkpoint is None else []),
    ]
    parts.send_to_ranks(precision, checkpoint)
    checkpoint_hooks = parts.make_checkpoint_hooks()

    def build_trainer() -> "Trainer":
        return training.build(
            callbacks=[
                *(
                    callback
                    for builder in parts.callback_builders
                    for callback in builder.build(parts.checkpoint_folder, checkpoint_hooks)
                ),
                *watch_fill_ins(parts),
                *announcers,
                *log_startup_time(record.log_metrics),
                keep_freed_memory(),
            ],
            logger=record.logger,
            lightning_precision=precision,
            # what callbacks of libraries write, in folders of their own for each run
            root=str(parts.store.runs_folder / "callbacks"),
            total_steps=total_steps,
            signals=record.signals,
            launcher=parts.launcher,
        )

    def build_module() -> "EncoderModule":
        seed_everything(parts.config["seed"], workers=True, verbose=False)
        config = build_model_config(parts.config["model"], parts.store)
        module: EncoderModule = config.build(parts.model_folder)
        module.set_dataset_info(dataset_info, total_steps)
        module.set_token_vectors(datamodule.load_token_vectors)
        return module

    return fit_with_recovery(
        parts.module,
        datamodule,
        build_trainer=build_trainer,
        build_module=build_module,
        checkpoint=checkpoint,
        is_foreign_checkpoint=parts.resume_point.is_foreign_checkpoint
        or bool(take_from_first_rank("foreign")),
        checkpoint_folder=parts.checkpoint_folder,
        max_skips=training.max_skips if training.on_non_finite == "skip" else None,
        record=record,
    )
