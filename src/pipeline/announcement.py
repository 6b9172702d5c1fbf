"""What a run says of itself: before anything heavy is imported, before the first step, at the end.

Nothing heavy is imported here.
"""

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.idle_keys import find_idle_keys
from src.config.presets import describe_preset
from src.core.files import PROJECT_ROOT
from src.core.formatting import format_count, format_quantity
from src.core.mlflow_environment import list_unused_variables, read_tracking_uri
from src.core.printing import print_line, print_wrapped
from src.core.processes import count_usable_cores
from src.core.redaction import redact_text
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule

    from src.pipeline.run_parts import RunOutcome, RunParts
    from src.tracking.store import Store

DEMO_TEXT = """\
nothing was asked for, so this is a demo: a small encoder, generated reviews
  your own data:  python -m src.run data=files data.source.path=FOLDER
  experiments:    python -m src.run --help"""


def announce_start(config: Mapping[str, Any], store: "Store") -> None:
    """Print what the run is and where it will be kept, on the first rank only."""
    from src.training.rank_process import is_started_by_first_rank

    # launchers of several processes set one of them
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    if is_started_by_first_rank() or rank != "0":
        return
    print_wrapped(describe_config(config))
    if "preset" in config:
        print_wrapped(describe_preset(config))
    print_wrapped(f"store: {store.describe_location()}")
    for line in find_idle_keys(config).values():
        print_wrapped(line)
    for name in list_unused_variables():
        print_line(f"{name} has no effect here")


def describe_config(config: Mapping[str, Any]) -> str:
    """The name of a run, its task, data, encoder and device as its config has them."""
    encoder = config["model"]["encoder"]
    architecture = encoder.get("name_or_path") or (
        f"fresh {encoder['family']} of {format_quantity(encoder['layers'], 'layer')}"
        if {"family", "layers"} <= set(encoder)
        else _name_class(encoder)
    )
    device = config["trainer"].get("accelerator", "auto")
    data = describe_data(config["data"])
    return f"{config['name']}: {data}, encoder {architecture}, device {device}"


def describe_data(data: Mapping[str, Any]) -> str:
    """The task of data and where they are from, as their config has them."""
    source = data["source"]
    generated = f"generated {source['kind']}" if "kind" in source else _name_class(source)
    address = source.get("path") or source.get("hub") or generated
    return f"{data.get('task', 'training')}, data {address}"


def _name_class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2].lower()


def announce_training(
    parts: "RunParts", *, precision_reason: str, total_steps: int
) -> "list[Callback]":
    """Print the device and the precision, on the first rank.

    Returns:
        A callback that prints the size of the model and the steps to come, once the model is made;
        none for other ranks.
    """
    from lightning.pytorch.callbacks import LambdaCallback

    if not parts.is_first_rank:
        return []
    training, world_size = parts.training, parts.launcher.rank_info.world_size
    device = training.describe_device(parts.launcher)
    print_wrapped(f"device {device}, precision {precision_reason}")
    if (batch_ranks := training.batch_ranks) not in (None, world_size):
        num_parts = parts.datamodule.num_parts
        print_wrapped(
            f"a step has the rows of {format_quantity(batch_ranks, 'device')} "
            f"(trainer.batch_ranks), shared by {world_size} now"
            + (f", each of which takes {num_parts} batches" if num_parts > 1 else "")
        )
    elif world_size > 1:
        print_wrapped(
            f"{world_size} processes: a step takes {world_size} times the rows of one, and an "
            "epoch as many times fewer steps; the learning rate is as configured"
        )
    workers, cores = parts.datamodule.config.num_workers, count_usable_cores()
    if workers > cores:
        print_wrapped(
            f"data.num_workers={workers} is more than the {format_quantity(cores, 'core')} that "
            "this process may use: batches may come later, not sooner"
        )
    every = training.val_check_steps
    schedule = (
        f"{format_quantity(total_steps, 'step')}, batches of an epoch: "
        f"{parts.datamodule.dataset_info.batches_per_epoch:,}, validation "
        + (f"every {format_quantity(every, 'step')}" if every else "after each epoch")
    )
    if (warmup := parts.datamodule.build_length_warmup()) is not None:
        steps = format_quantity(warmup.num_steps, "step")
        schedule += f", texts of at most {warmup.tokens} tokens in the first {steps}"
    # a run that goes back to a checkpoint makes a second Trainer
    said: list[str] = []

    def announce_size(_: object, module: "LightningModule") -> None:
        if not said:
            said.append(describe_size(module))
            print_wrapped(f"{said[0]}; {schedule}")

    return [LambdaCallback(on_fit_start=announce_size)]


def describe_size(module: "LightningModule") -> str:
    """How many parameters a model has, and how many of them are trained where not all are."""
    parameters = list(module.parameters())
    total = sum(item.numel() for item in parameters)
    trained = sum(item.numel() for item in parameters if item.requires_grad)
    size = f"{format_count(total)} parameters"
    return size if trained == total else f"{size}, {format_count(trained)} of them trained"


def conclude_run(
    parts: "RunParts", metrics: Mapping[str, float], elapsed_seconds: float
) -> "RunOutcome":
    """Say what came out of a run that has ended, and return it."""
    from src.pipeline.run_parts import RunOutcome

    outcome = RunOutcome(
        run_id=parts.record.run_id,
        ui_link=parts.record.ui_link,
        metrics=dict(metrics),
        elapsed_seconds=elapsed_seconds,
        sync_command=parts.store.build_sync_command(parts.record.run_id),
    )
    if parts.is_first_rank and parts.hooks.pruned_reason is None:
        announce_end(parts, outcome)
    return outcome


def announce_end(parts: "RunParts", outcome: "RunOutcome") -> None:
    """Print the metrics of a finished run, the folder of its model and the command that asks it."""
    print_line(outcome)
    store, run_id = parts.store, outcome.run_id
    # not while the run is in no store
    if not outcome.ui_link:
        return
    if store.sqlite_file is not None:
        # what is still on its way is named by `python -m src.runs`
        with contextlib.suppress(UserError):
            print_line(f"model: {store.fetch_model_folder(run_id)}")
    if parts.module.objective.head in ("causal_lm", "replaced_tokens", "denoising"):
        # a text that goes on, what was replaced or is missing: src.predict gives none of these
        return
    is_default = store.uri == read_tracking_uri()
    place = "" if is_default else f" uri={redact_text(store.uri or 'null')}"
    if Path(store.root) != PROJECT_ROOT:
        place += f" root={shlex.quote(str(store.root))}"
    question = 'text="..."'
    if parts.module.objective.run_kind == "pretrain":
        question = f'text="The film was {parts.datamodule.tokenizer.huggingface.mask_token}."'
    elif parts.datamodule.describe_preprocessing()["pairs"]:
        question += ' pair="..."'
    print_line(f"predict: python -m src.predict run={run_id[:8]} {question}{place}")
