"""The way of a run through its phases: where it stands, and what happens at the border of two.

A phase is trained as a run of its own would be that begins with `init_from`: from the folder of the
model that the phase before has left, with a fresh optimizer, schedule and order of rows. Only the
record is one, and its optimizer steps are counted on.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.phases import PHASES_KEY, expand_phases
from src.core.dataset_info import TEXT_TASKS
from src.core.files import fsync_path
from src.core.formatting import format_quantity
from src.core.printing import print_wrapped
from src.core.user_errors import UserError
from src.pipeline.announcement import describe_data
from src.training.checkpoint_files import (
    find_newest_checkpoint,
    list_checkpoints,
    read_checkpoint_description,
)

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from src.model.module import EncoderModule
    from src.pipeline.resume import ResumePoint
    from src.pipeline.run_parts import BuiltParts, RunParts
    from src.tracking.store import Store
    from src.training.launcher import RankLauncher

# In the folder of a phase: the model that it has left. A phase without it has not ended.
_MODEL_NAME = "model"
# in the folder of the model
_STEPS_NAME = "steps.json"
_PRETRAINED_TARGETS = {
    "encoder": "src.model.encoder_config.Pretrained",
    "tokenizer": "src.data.tokenization.tokenizer.PretrainedTokenizer",
}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One of a run's phases.

    Args:
        number: from 1.
        configs: of all phases, by their names in their order.
        run_config: the config of the run, which these are made of.
        origin: the folder of the model that the phase before has left; None: it is the first.
        first_step: the optimizer steps of the phases before.
    """

    number: int
    configs: Mapping[str, Mapping[str, Any]]
    run_config: Mapping[str, Any]
    origin: Path | None = None
    first_step: int = 0

    def __str__(self) -> str:
        return f"phase {self.number} of {len(self.configs)} ({self.name})"

    @property
    def name(self) -> str:
        return list(self.configs)[self.number - 1]

    @property
    def is_last(self) -> bool:
        return self.number == len(self.configs)

    @property
    def folder_name(self) -> str:
        """The folder of its checkpoints in that of the run."""
        return f"{self.number}-{self.name}"


def list_phase_configs(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The config of each phase; of a run without phases its own."""
    return [*expand_phases(config).values()] if PHASES_KEY in config else [config]


def name_splits(splits: Mapping[str, Any], phase: Phase | None) -> dict[str, Any]:
    """What is known of each split of the data, under the names by which the run knows them: those
    of the last phase are the run's own.
    """
    prefix = "" if phase is None or phase.is_last else f"{phase.name}/"
    return {f"{prefix}{split}": known for split, known in splits.items()}


def enter_phases(
    built: "BuiltParts", store: "Store", resume_point: "ResumePoint", launcher: "RankLauncher"
) -> "tuple[BuiltParts, Phase, ResumePoint]":
    """Check all phases and go to the one in which the run stands.

    Args:
        built: of the whole config, which is that of the last phase.
        resume_point: of the run, in which phases are not looked for.

    Raises:
        UserError: something in a phase cannot be built, or a launcher has started the ranks.
    """
    from src.pipeline.build_parts import build_parts, check_world_size
    from src.training.rank_process import get_from_first_rank

    if launcher.rank_info.is_launched_externally and launcher.rank_info.world_size > 1:
        raise UserError(
            "a run with phases starts its ranks itself, and a launcher has started this one",
            key=PHASES_KEY,
            hint="it fits without torchrun or srun, on one machine; else a run for each phase, "
            "with init_from",
        )
    phase = Phase(number=1, configs=expand_phases(built.config), run_config=built.config)
    parts = {}
    for name, config in phase.configs.items():
        try:
            is_followed = name != list(phase.configs)[-1]
            parts[name] = build_parts(config, store, is_trial=False, is_followed=is_followed)
            check_world_size(parts[name], launcher.rank_info.world_size)
        except UserError as error:
            raise UserError(str(error), where=f"phase {name}", about=error.keys) from error
    if (sent := get_from_first_rank("phase")) is not None:
        origin = get_from_first_rank("phase_origin")
        phase = _place_phase(phase, int(sent), Path(origin) if origin else None)
    elif resume_point.resumed_run is not None:
        phase, resume_point = _find_place(store, resume_point, phase)
    if phase.origin is None:
        return parts[phase.name], phase, resume_point
    return _build_next(phase, store), phase, resume_point


def _place_phase(first: Phase, number: int, origin: Path | None) -> Phase:
    steps = 0 if origin is None else _read_steps(origin)
    return replace(first, number=number, origin=origin, first_step=steps)


def _find_place(
    store: "Store", resume_point: "ResumePoint", phase: Phase
) -> "tuple[Phase, ResumePoint]":
    """The phase in which a run stands, and the checkpoint there, by what lies in its folders.

    Args:
        phase: the first one.
    """
    run = resume_point.resumed_run
    assert run is not None
    root = store.runs_folder / "checkpoints" / run.id
    _bring_folders(store, root, run.tags.get("local_id", run.id), phase)
    while not phase.is_last and (root / phase.folder_name / _MODEL_NAME).is_dir():
        phase = _place_phase(phase, phase.number + 1, root / phase.folder_name / _MODEL_NAME)
    found = find_newest_checkpoint(root / phase.folder_name)
    step = 0 if found.path is None else read_checkpoint_description(found.path)["step"]
    tags = {"checkpoint_error": "; ".join(found.remarks)} if found.remarks else {}
    resume_point = replace(
        resume_point,
        checkpoint=found.path,
        step=step,
        phase=str(phase) if phase.number > 1 or found.path is not None else "",
        remarks=[*resume_point.remarks, *found.remarks],
        tags={**resume_point.tags, **tags},
    )
    return phase, resume_point


def _bring_folders(store: "Store", root: Path, local_id: str, phase: Phase) -> None:
    """Have the folders of the run's phases on this machine: those of a run that was offline are
    under another id, and those of another machine among the artifacts.
    """
    if any(path.is_dir() for path in root.glob("[0-9]*-*")):
        return
    offline = root.with_name(local_id)
    if offline != root and offline.is_dir():
        if root.is_dir():
            root.rmdir()
        offline.rename(root)
        return
    for number in range(1, len(phase.configs) + 1):
        name = replace(phase, number=number).folder_name
        folder, draft = root / name, root / f".{name}"
        if store.fetch_artifacts(root.name, f"checkpoints/{name}/{_MODEL_NAME}", draft):
            folder.mkdir(exist_ok=True)
            draft.rename(folder / _MODEL_NAME)
            continue
        shutil.rmtree(draft)
        store.fetch_artifacts(root.name, f"checkpoints/{name}", folder)
        return


def begin_phase(parts: "RunParts", precision: str, reason: str) -> None:
    """Have a phase hang on its beginning alone, whether this process has trained the one before or
    goes on with the run, and count its steps on.

    Args:
        precision, reason: with which the run began, and goes on in all phases.
    """
    from lightning import seed_everything

    phase, record = parts.phase, parts.record
    assert phase is not None
    parts.resume_point = replace(parts.resume_point, precision=(precision, reason))
    record.first_step = phase.first_step
    record.set_tag("phase", str(phase))
    record.log_metrics({"phase": phase.number})
    if parts.is_first_rank:
        print_wrapped(f"{phase}: {describe_data(parts.config['data'])}")
    seed_everything(parts.config["seed"], workers=True, verbose=False)


def enter_next_phase(parts: "RunParts", module: "EncoderModule", trainer: "Trainer") -> "RunParts":
    """End a phase whose training is over, and begin the next one with the model that it leaves:
    that of its best checkpoint, as a run's. All ranks call it, and the first one leaves the model.
    """
    from src.pipeline.report.run_report import log_time_limit
    from src.pipeline.resume_hint import note_resume_command
    from src.training.distributed import gather_from_ranks, unshard_encoder, wait_at_border

    phase, record, ranks = parts.phase, parts.record, parts.launcher.rank_info
    assert phase is not None
    log_time_limit(parts, trainer, module.total_steps)
    wait_at_border(parts.launcher, trainer.strategy)
    origin = _load_best(module, trainer)
    unshard_encoder(module.encoder)
    steps = phase.first_step + trainer.global_step
    folder = parts.checkpoint_folder / _MODEL_NAME
    coming = replace(phase, number=phase.number + 1, origin=folder, first_step=steps)

    def build() -> "BuiltParts":
        built = _build_next(coming, parts.store)
        built.datamodule.set_rank(ranks.rank, ranks.world_size, built.training.batch_ranks)
        return built

    built = None
    if parts.is_first_rank:
        _leave_model(parts, module, folder, steps)
        built = build()
        print_wrapped(
            f"{phase} ended at optimizer step {steps}: {coming} goes on from {origin}, with "
            f"{_describe_head(module, built.module)}; optimizer, schedule and order of rows begin "
            "anew, steps count on"
        )
        record.set_tag(f"phase.{phase.name}", f"ended at optimizer step {steps}")
        # the others find it in the cache
        built.datamodule.prepare_data()
    gather_from_ranks(None)
    built = built or build()
    next_parts = replace(
        parts,
        config=built.config,
        model_folder=built.model_folder,
        datamodule=built.datamodule,
        module=built.module,
        training=built.training,
        callbacks=built.callbacks,
        resume_point=replace(parts.resume_point, checkpoint=None, step=0),
        phase=coming,
    )
    note_resume_command(next_parts)
    return next_parts


def _build_next(phase: Phase, store: "Store") -> "BuiltParts":
    """The parts of a phase that goes on from the model of the one before."""
    from src.pipeline.build_parts import build_parts

    assert phase.origin is not None
    config = _continue_config(phase.configs[phase.name], phase.origin)
    return build_parts(config, store, is_trial=False, is_followed=not phase.is_last)


def _load_best(module: "EncoderModule", trainer: "Trainer") -> str:
    """Load the weights of the best checkpoint, if there is one; returns what they are, in words."""
    from src.training.checkpoint_callback import find_checkpoint_callback
    from src.training.distributed import current_rank, load_checkpoint_weights

    callback = find_checkpoint_callback(trainer)
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not best:
        return "its last weights"
    load_checkpoint_weights(module, best)
    if callback is None:
        return "its best checkpoint"
    if current_rank() > 0:
        return "its best checkpoint"
    description = read_checkpoint_description(Path(best))
    score = description["metrics"].get(callback.monitor)
    by = "" if score is None else f", {callback.monitor} {score:.4g}"
    return f"its best checkpoint ({format_quantity(description['step'], 'step')}{by})"


def _describe_head(before: "EncoderModule", after: "EncoderModule") -> str:
    """What becomes of the head at a border, in words; more is said once the data are known."""
    from src.model.objectives import GeneratorObjective

    heads = (before.objective.head, after.objective.head)
    if set(heads) == {"causal_lm", "masked_lm"}:
        # of a family that knows both directions, which has one head for both
        return "its head"
    if heads[0] != heads[1]:
        return "a fresh head"
    if isinstance(after.objective, GeneratorObjective):
        return "its head and a fresh generator"
    if after.objective.kind in TEXT_TASKS:
        return "its head"
    return "its head where the labels are the same"


def _leave_model(parts: "RunParts", module: "EncoderModule", model: Path, steps: int) -> None:
    """Write the model of a phase into its folder, after which the phase has ended; then its
    checkpoints are deleted. The folder is there whole or not at all.
    """
    from src.pipeline.export import save_model

    folder, datamodule = parts.checkpoint_folder, parts.datamodule
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / ".draft"
    # of a process that was killed
    shutil.rmtree(draft, ignore_errors=True)
    preprocessing = datamodule.describe_preprocessing()
    with save_model(module.encoder, datamodule.tokenizer, preprocessing) as saved:
        shutil.copytree(saved, draft)
    (draft / _STEPS_NAME).write_text(json.dumps({"steps": steps}), encoding="utf-8")
    for path in (*draft.iterdir(), draft):
        fsync_path(path)
    parts.record.flush_to_disk()
    draft.rename(model)
    fsync_path(folder)
    for path in list_checkpoints(folder):
        path.unlink()
    parts.mirror_checkpoints(folder, "checkpoints")
    artifact = f"checkpoints/{folder.name}/{_MODEL_NAME}"
    parts.record.mirror_folder(model, artifact)


def _read_steps(folder: Path) -> int:
    """The optimizer steps of the run up to the end of the phase that has left a model."""
    return int(json.loads((folder / _STEPS_NAME).read_text(encoding="utf-8"))["steps"])


def _continue_config(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The config of a phase with encoder and tokenizer of the model that the one before has left,
    whose config.json has their settings.
    """
    nodes = {
        name: {"_target_": target, "name_or_path": str(folder)}
        for name, target in _PRETRAINED_TARGETS.items()
    }
    return {
        **{key: value for key, value in config.items() if key != "init_from"},
        "model": {**config["model"], "encoder": nodes["encoder"]},
        "data": {**config["data"], "tokenizer": nodes["tokenizer"]},
    }
