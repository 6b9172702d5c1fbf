"""What users of other trainers type out of habit, and what is typed for it here.

The names are those of the Hugging Face example scripts (`TrainingArguments`, `run_mlm`,
`run_classification`), of Lightning's Trainer and of the templates around it.
"""

from collections.abc import Collection

from src.config.foreign_script_options import SCRIPT_ANSWERS
from src.config.foreign_trainer_options import TRAINER_ANSWERS
from src.core.user_errors import did_you_mean

# The key depends on the kind of batches: texts by themselves, or rows packed with text.
_LENGTH = ("data.batching.max_tokens", "data.batching.row_tokens")
# The key that takes the same value, or several of which a config has one.
_SAME_VALUE: dict[str, str | tuple[str, ...]] = {
    "learning_rate": "model.optim.lr",
    "adam_beta1": "model.optim.beta1",
    "adam_beta2": "model.optim.beta2",
    "adam_epsilon": "model.optim.eps",
    "lr_scheduler_type": "model.optim.schedule",
    "lr_scheduler": "model.optim.schedule",
    "scheduler": "model.optim.schedule",
    "warmup_ratio": "model.optim.warmup_fraction",
    "label_smoothing_factor": "model.objective.label_smoothing",
    "per_device_train_batch_size": "data.batching.batch_size",
    "per_gpu_train_batch_size": "data.batching.batch_size",
    "train_batch_size": "data.batching.batch_size",
    "per_device_eval_batch_size": "data.batching.eval_batch_size",
    "per_gpu_eval_batch_size": "data.batching.eval_batch_size",
    "gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "grad_accumulation": "trainer.accumulate_grad_batches",
    "num_train_epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "n_epochs": "trainer.max_epochs",
    "max_train_steps": "trainer.max_steps",
    "num_training_steps": "trainer.max_steps",
    "max_grad_norm": "trainer.gradient_clip_val",
    "clip_grad_norm": "trainer.gradient_clip_val",
    "eval_steps": "trainer.val_check_steps",
    "logging_steps": "trainer.log_every_n_steps",
    "save_steps": "callbacks.checkpoint.every_steps",
    "save_total_limit": "callbacks.checkpoint.keep",
    "torch_compile": "trainer.compile",
    "max_seq_length": _LENGTH,
    "max_seq_len": _LENGTH,
    "max_length": _LENGTH,
    "max_len": _LENGTH,
    "block_size": _LENGTH,
    "mlm_probability": "data.batching.mask_fraction",
    "max_train_samples": "data.train_rows",
    "max_samples": "data.train_rows",
    "limit": "data.train_rows",
    "group_column": "data.split.group",
    "time_column": "data.split.time",
    "date_column": "data.split.time",
    "dataloader_num_workers": "data.num_workers",
    "train_file": "data.source.path",
    "data_dir": "data.source.path",
    "data_path": "data.source.path",
    "dataset_path": "data.source.path",
    "dataset_name": "data.source.hub",
    "dataset": "data.source.hub",
    "dataset_config_name": "data.source.config",
    "text_column": "data.source.text",
    "text_column_name": "data.source.text",
    "text_column_names": "data.source.text",
    "label_column": "data.source.label",
    "label_column_name": "data.source.label",
    "gpus": "trainer.devices",
    "num_gpus": "trainer.devices",
    "num_processes": "trainer.devices",
    "n_gpu": "trainer.devices",
    "tracking_uri": "tracking.uri",
    "mlflow_tracking_uri": "tracking.uri",
    "run_name": "name",
    "experiment_name": "tracking.experiment",
    "random_seed": "seed",
    "data_seed": "data.seed",
    "shuffle_seed": "data.seed",
    "ddp_timeout": "trainer.rank_timeout_seconds",
    "activation_checkpointing": "model.gradient_checkpointing",
    "model_revision": "model.encoder.revision",
    "do_lower_case": "data.tokenizer.lowercase",
    "train_split_name": "data.source.train",
    "validation_split_name": "data.source.validation",
    "test_split_name": "data.source.test",
    "sentence1_key": "data.source.text",
    "sentence2_key": "data.source.pair",
    "save_top_k": "callbacks.checkpoint.keep",
    "every_n_train_steps": "callbacks.checkpoint.every_steps",
    "checkpointing_steps": "callbacks.checkpoint.every_steps",
    "patience": "callbacks.early_stopping.patience",
    "lora_alpha": "model.adapter.alpha",
    "lora_dropout": "model.adapter.dropout",
    "n_trials": "search.max_trials",
    "n_jobs": "search.jobs",
    "seed_everything": "seed",
}
_PRETRAINED = (
    "a pretrained encoder with its tokenizer is model/encoder=pretrained data/tokenizer=pretrained "
    "model.encoder.name_or_path={value}"
)
_TRACKED = (
    "every run is tracked in MLflow: tracking.uri=ADDRESS names a server, and "
    "tracking.experiment=NAME the experiment; tracking=offline asks no store"
)
_ELSEWHERE = (
    "every run keeps its files in mlruns/; tracking.root=/ABSOLUTE/FOLDER puts it elsewhere"
)
_SHORT_TRY = "for a short try: trainer.max_epochs=null trainer.max_steps=5 data.train_rows=64"
_REPEATS = (
    "rows that were there before are left out by data.cleaning.duplicates=drop, and nearly equal "
    "ones by data.cleaning.near_duplicates=0.8"
)
_ALL_STAGES = "a run trains, validates and tests by itself"
# What has its own way of saying it: a whole answer, which works when it is typed.
_ANSWERS = {
    **TRAINER_ANSWERS,
    **SCRIPT_ANSWERS,
    "model_name_or_path": _PRETRAINED,
    "model_name": _PRETRAINED,
    "pretrained_model_name_or_path": _PRETRAINED,
    "pretrained": _PRETRAINED,
    "backbone": _PRETRAINED,
    "base_model": _PRETRAINED,
    "model.name": _PRETRAINED,
    "model.name_or_path": _PRETRAINED,
    "tokenizer_name": "the tokenizer is data/tokenizer=pretrained "
    "data.tokenizer.name_or_path={value}",
    "debug": _SHORT_TRY,
    "fast_dev_run": _SHORT_TRY,
    "limit_train_batches": "fewer rows are data.train_rows=1000, fewer steps trainer.max_steps=100",
    "limit_val_batches": "fewer rows are data.train_rows=1000, fewer steps trainer.max_steps=100",
    "dedup": _REPEATS,
    "deduplicate": _REPEATS,
    "deduplication": _REPEATS,
    "leakage": "training rows that also stand in validation or test are left out by "
    "data.cleaning.overlap=drop, and kept and counted by data.cleaning.overlap=keep",
    "overfit_batches": "data.train_rows=32 trains on these rows alone, again and again",
    "val_check_interval": "validation after every 100 steps is trainer.val_check_steps=100",
    "metric_for_best_model": "the best checkpoint is chosen by callbacks.checkpoint.monitor="
    "val/accuracy callbacks.checkpoint.mode=max",
    "resume_from_checkpoint": "a run goes on by its id: resume=ID",
    "ckpt_path": "a run goes on by its id: resume=ID",
    "fp16": "the precision is trainer.precision=auto (or fp32, bf16)",
    "bf16": "the precision is trainer.precision=bf16",
    "use_cpu": "the device is trainer=cpu",
    "no_cuda": "the device is trainer=cpu",
    "device": "the device is trainer=cpu or trainer=gpu",
    "logger": _TRACKED,
    "report_to": _TRACKED,
    "wandb": _TRACKED,
    "output_dir": _ELSEWHERE,
    "default_root_dir": _ELSEWHERE,
    "root_dir": _ELSEWHERE,
    "logging_dir": _ELSEWHERE,
    "weights_save_path": _ELSEWHERE,
    "log_dir": _ELSEWHERE,
    "do_train": _ALL_STAGES,
    "do_eval": _ALL_STAGES,
    "do_predict": "answers for a file: python -m src.predict run=ID file=FILE",
    "max_time": "the time is trainer.max_minutes=60",
    "check_val_every_n_epoch": "a run validates after each epoch, or with "
    "trainer.val_check_steps=100 every 100 steps",
    "enable_progress_bar": "no progress bar is callbacks.progress=null",
    "print_config": "the composed config without a run is --cfg job",
    "extras": "the composed config without a run is --cfg job",
    "hparams_search": "the best learning rate is found by -m search=learning_rate",
    "search.metric": "it is search.monitor=val/loss search.mode=min",
    "search.direction": "it is search.monitor=val/loss search.mode=min",
    "train": _ALL_STAGES,
    "test": _ALL_STAGES,
    "validation_file": "a folder with train.csv and validation.csv is read by "
    "data.source.path=FOLDER",
    "test_file": "a folder with train.csv and test.csv is read by data.source.path=FOLDER",
    "dry_run": "the composed config without a run is --cfg job",
    "warmup_steps": "the warm-up is a share of the steps: model.optim.warmup_fraction=0.1",
    "num_warmup_steps": "the warm-up is a share of the steps: model.optim.warmup_fraction=0.1",
    "early_stopping_patience": "it is callbacks=early_stopping "
    "callbacks.early_stopping.patience={value}",
    "evaluation_strategy": "a run validates after each epoch, or with trainer.val_check_steps=100 "
    "every 100 steps",
    "eval_strategy": "a run validates after each epoch, or with trainer.val_check_steps=100 "
    "every 100 steps",
    "save_strategy": "checkpoints are kept at each validation, and with "
    "callbacks.checkpoint.every_steps=100 every 100 steps",
    "load_best_model_at_end": "the best checkpoint is always the one that is tested",
    "overwrite_output_dir": "every run is a new one; nothing is overwritten",
    "push_to_hub": "the model folder of a run is an ordinary Hugging Face folder, for you to "
    "upload",
    "task_name": "a run is called so by name={value}; the tasks of GLUE that are here: "
    "+experiment=sst2, +experiment=stsb",
}

# keys below a node that another trainer has there, with an answer of their own
ANSWERED_KEYS = frozenset(key for key in _ANSWERS if "." in key)

# Nodes in which other programs keep arguments of every kind.
_ARGUMENT_NODES = frozenset(
    [
        *("args", "arguments", "training_args", "training_arguments", "model_args", "data_args"),
        *("hparams", "hyperparameters", "params", "config", "cfg", "train", "training", "general"),
    ]
)


def leave_argument_node_out(key: str) -> str | None:
    """A dotted key without the part that only says that arguments follow
    (`training_args.fp16` is `fp16`); None if it has none.
    """
    parts = key.split(".")
    rest = [
        part
        for place, part in enumerate(parts)
        if part not in _ARGUMENT_NODES or place + 1 == len(parts)
    ]
    return ".".join(rest) if rest != parts else None


def find_same_key(key: str, present: Collection[str] = ()) -> str | None:
    """The key here that takes the value of a key that another trainer has; None if none does.

    Args:
        key: as typed; its last part counts.
        present: the dotted keys of the config, among which it is chosen if there are several.
    """
    same = _SAME_VALUE.get(_last_name(key))
    if same is None or isinstance(same, str):
        return same
    return next((candidate for candidate in same if candidate in present), same[0])


def explain_foreign_key(key: str, value: str = "", present: Collection[str] = ()) -> str | None:
    """The end of the message about a key that another trainer has; None if none has it.

    Args:
        key, present: as of `find_same_key`.
        value: what was typed behind the key.
    """
    if meant := find_same_key(key, present):
        return did_you_mean(f"{meant}={value}" if value else meant)
    answer = _ANSWERS.get(key) or _ANSWERS.get(_last_name(key))
    return None if answer is None else answer.format(value=value or "VALUE")


def explain_pretrained(name: str) -> str:
    """How a pretrained encoder is asked for, by its name on the hub or its folder."""
    return _PRETRAINED.format(value=name)


def _last_name(key: str) -> str:
    return key.rpartition(".")[2].replace("-", "_").lower()
