"""Options of Hugging Face's `TrainingArguments` and example scripts, of Lightning-Hydra templates
and of search libraries that a run has no key for, or has in another form: what is said about each.

The same holds as for `foreign_trainer_options`: what an answer names works when it is typed.
"""

_DEVICES = "several devices work together by trainer.strategy=ddp or trainer.strategy=fsdp"
_PRECISION = "the precision is trainer.precision=bf16 (or fp32, auto), of validation too"
_SCHEDULE = "the schedule is model.optim.schedule=linear (or cosine, constant, wsd)"
_OPTIMIZER = (
    "an optimizer is model/optim=adamw or model/optim=muon; model/optim=torch takes any of torch"
)
_MEMORY = "less memory is model.gradient_checkpointing=true"
_SMALLER_STEPS = "less memory is model.gradient_checkpointing=true or data.batching.batch_size=8"
_LOADING = "rows are loaded by data.num_workers=2 processes; the rest is set by itself"
_METRICS = "metrics are computed by themselves; docs/own-code.md says how others are added"
_TRACKED = "every run is tracked in MLflow, and no other tracker is here"
_UPLOAD = "the model folder of a run is an ordinary Hugging Face folder, for you to upload"
_QUIET = "less is printed with callbacks.progress=null; console.log keeps it all the same"
_TOKEN = "the hub's token is read from the environment variable HF_TOKEN"
_CACHE = "the hub's cache is the folder that the environment variable HF_HOME names"
_FRESH = (
    "a fresh encoder is model/encoder=base data/tokenizer=wordpiece (or small, mini, tiny); "
    "model.encoder.family=bert is its family"
)
_SPLITS = "shares of the rows are data.split.validation=0.1 data.split.test=0.1"
_COLUMNS = "only the columns that are named are read: data.source.text=text data.source.label=label"
_CACHED = "texts are tokenized once and kept in data.cache=FOLDER, which is never out of date"
_NEW_EPOCHS = "rows have another order in every epoch; the order comes of data.seed=1"
_RESUMED = "a run goes on by its id, where it stood: resume=ID"
_LORA = "adapters are model/adapter=lora model.adapter.rank=8"
_FOLDS = "folds are trained by -m search=k_fold"
_NOTES = "a word about a run is tags.note=TEXT"
_MONITOR = "it is search.monitor=val/loss search.mode=min"
_TRIALS = "trials run side by side by -m search.jobs=2"

SCRIPT_ANSWERS = {
    # TrainingArguments
    "lr_scheduler_kwargs": _SCHEDULE,
    "optim": _OPTIMIZER,
    "optim_args": _OPTIMIZER,
    "optim_target_modules": _LORA,
    "average_tokens_across_devices": _DEVICES,
    "bf16_full_eval": _PRECISION,
    "fp16_full_eval": _PRECISION,
    "mixed_precision": _PRECISION,
    "use_amp": _PRECISION,
    "amp": _PRECISION,
    "half": _PRECISION,
    "dtype": _PRECISION,
    "torch_dtype": _PRECISION,
    "activation_checkpointing_kwargs": _MEMORY,
    "gradient_checkpointing_kwargs": _MEMORY,
    "torch_compile_backend": "steps of masked_lm are compiled by trainer.compile (docs/speed.md)",
    "torch_compile_mode": "steps of masked_lm are compiled by trainer.compile (docs/speed.md)",
    "use_liger_kernel": "what is fast is on by itself (docs/speed.md)",
    "liger_kernel_config": "what is fast is on by itself (docs/speed.md)",
    "use_cache": "what is fast is on by itself (docs/speed.md)",
    "neftune_noise_alpha": "noise on the embeddings is model/regularization=adversarial",
    "torch_empty_cache_steps": _SMALLER_STEPS,
    "memory": _SMALLER_STEPS,
    "logging_nan_inf_filter": "a loss or a gradient that is not finite ends the run by itself; "
    "trainer.on_non_finite=skip goes on without the batch",
    "include_num_input_tokens_seen": "the tokens are recorded by themselves, as train/tokens",
    "log_level": _QUIET,
    "log_level_replica": _QUIET,
    "log_on_each_node": _DEVICES,
    "verbose": _QUIET,
    "quiet": _QUIET,
    "silent": _QUIET,
    "project": _TRACKED,
    "project_name": _TRACKED,
    "trackio_space_id": _TRACKED,
    "trackio_bucket_id": _TRACKED,
    "trackio_static_space_id": _TRACKED,
    "with_tracking": _TRACKED,
    "tensorboard": _TRACKED,
    "eval_delay": "a run validates after each epoch, or with trainer.val_check_steps=100 every 100 "
    "steps",
    "eval_on_start": "a check before the training is trainer.num_sanity_val_steps=2",
    "prediction_loss_only": _METRICS,
    "eval_do_concat_batches": _METRICS,
    "eval_use_gather_object": _METRICS,
    "eval_accumulation_steps": _METRICS,
    "include_for_metrics": _METRICS,
    "batch_eval_metrics": _METRICS,
    "return_entity_level_metrics": _METRICS,
    "metrics": _METRICS,
    "metric_name": "the best checkpoint is chosen by callbacks.checkpoint.monitor=val/accuracy "
    "callbacks.checkpoint.mode=max",
    "save_only_model": "the model's folder is written by itself at the end; checkpoints beside it "
    "are callbacks.checkpoint.keep=1",
    "enable_jit_checkpoint": "a run that is told to end writes a checkpoint by itself",
    "save_on_each_node": _DEVICES,
    "hub_token": _TOKEN,
    "token": _TOKEN,
    "use_auth_token": _TOKEN,
    "hub_private_repo": _UPLOAD,
    "hub_model_id": _UPLOAD,
    "hub_strategy": _UPLOAD,
    "hub_always_push": _UPLOAD,
    "hub_revision": _UPLOAD,
    "ignore_data_skip": _RESUMED,
    "restore_callback_states_from_checkpoint": _RESUMED,
    "resume_from": _RESUMED,
    "accelerator_config": _DEVICES,
    "parallelism_config": _DEVICES,
    "fsdp_config": _DEVICES,
    "ddp_bucket_cap_mb": _DEVICES,
    "ddp_broadcast_buffers": _DEVICES,
    "ddp_static_graph": _DEVICES,
    "ddp_backend": _DEVICES,
    "ddp": _DEVICES,
    "local_rank": _DEVICES,
    "low_cpu_mem_usage": _DEVICES,
    "dataloader_pin_memory": _LOADING,
    "dataloader_persistent_workers": _LOADING,
    "dataloader_prefetch_factor": _LOADING,
    "dataloader_multiprocessing_context": _LOADING,
    "dataloader_in_order": _LOADING,
    "pin_memory": _LOADING,
    "persistent_workers": _LOADING,
    "prefetch_factor": _LOADING,
    "train_sampling_strategy": "batches of texts are grouped by length by themselves",
    "skip_memory_metrics": "memory is recorded by itself",
    # run_glue, run_mlm, run_ner, run_clm
    "model_type": _FRESH,
    "config_overrides": _FRESH,
    "config_name": _FRESH,
    "cache_dir": _CACHE,
    "use_fast_tokenizer": "every tokenizer is a fast one",
    "use_slow_tokenizer": "every tokenizer is a fast one",
    "ignore_mismatched_sizes": "a head that does not fit begins afresh, which is said",
    "overwrite_cache": _CACHED,
    "preprocessing_num_workers": _CACHED,
    "streaming": "a corpus that no disk holds is read from shards (docs/data.md)",
    "keep_linebreaks": "line breaks are white space: data.cleaning.whitespace=true makes one space "
    "of it",
    "do_regression": "a number to predict is +experiment=stsb, or of your own data "
    "data.task=regression model=regression",
    "remove_splits": "a split is left out by data.source.test=null",
    "remove_columns": _COLUMNS,
    "text_column_delimiter": "several columns make a text by data.source.template (docs/data.md)",
    "shuffle_train_dataset": _NEW_EPOCHS,
    "shuffle": _NEW_EPOCHS,
    "add_special_tokens": "special tokens are added as the tokenizer says",
    "freeze_encoder": "the encoder is frozen by model.freeze=encoder",
    "freeze_base_model": "the encoder is frozen by model.freeze=encoder",
    "freeze_backbone": "the encoder is frozen by model.freeze=encoder",
    "frozen": "the encoder is frozen by model.freeze=encoder",
    "validation_split_percentage": _SPLITS,
    "train_val_test_split": _SPLITS,
    "val_split": _SPLITS,
    "val_size": _SPLITS,
    "test_size": _SPLITS,
    "lora": _LORA,
    "peft": _LORA,
    "use_lora": _LORA,
    "lora_r": _LORA,
    # the template's
    "enable_autolog_hparams": "every run records all its parameters by itself",
    "model_registry": "a model becomes a version of a registered one by register=NAME",
    "net": _FRESH,
    "tag": _NOTES,
    "notes": _NOTES,
    "description": _NOTES,
    "optimized_metric": _MONITOR,
    "paths": "data is data.source.path=FOLDER; every run keeps its files in mlruns/, and "
    "tracking.root=/ABSOLUTE/FOLDER puts it elsewhere",
    # of searches
    "timeout": "a search ends after search.max_hours=1, a run after trainer.max_minutes=60",
    "n_splits": _FOLDS,
    "k_folds": _FOLDS,
    "num_folds": _FOLDS,
    "seeds": "seeds are compared by -m search=seeds",
    "n_seeds": "seeds are compared by -m search=seeds",
    "search.parallel": _TRIALS,
}
