"""Options of Lightning's Trainer, and of the Hugging Face one, that a run has no key for, or has in
another form: what is said about each.

An override in an answer works when it is typed. Where there is nothing to type, the answer says so
and what happens instead.
"""

_NO_CHECKPOINTS = "a run without checkpoints is callbacks.checkpoint=null"
_DEVICE = "the device is trainer=cpu or trainer=gpu"
_ADDED_CALLBACK = (
    "a callback is a node below callbacks: "
    "+callbacks.NAME._target_=lightning.pytorch.callbacks.DeviceStatsMonitor (docs/own-code.md)"
)
_SUMMARY = (
    "the number of parameters is printed at the start; a table is "
    "+callbacks.NAME._target_=lightning.pytorch.callbacks.ModelSummary"
)
_NO_PROFILER = (
    "a run records train/tokens_per_second and train/step_seconds, and "
    "python -m cProfile -o FILE -m src.run ... profiles its Python code"
)
_NON_FINITE = (
    "a loss or a gradient that is not finite ends the run by itself; "
    "trainer.on_non_finite=skip goes on without the batch"
)
_MIN_LENGTH = (
    "a run goes to the end of trainer.max_epochs=3 unless callbacks=early_stopping ends it"
)
_PRECISION = "the precision is trainer.precision=bf16 (or fp32, auto); weights are fp32 either way"
_MATMUL = "products are exact with trainer.precision=fp32, and fast with trainer.precision=bf16"
_STRATEGY = "several devices work together by trainer.strategy=ddp or trainer.strategy=fsdp"
_NEW_EPOCHS = "rows have another order and other masks in every epoch"
_RECORDED = "metrics are recorded every trainer.log_every_n_steps=10 steps"
_REPRODUCIBLE = "repeatable operations alone are trainer.deterministic=true"
_GROUPED = "batches of texts are grouped by length by themselves"
_PADDED = "a batch is as long as its longest text"

TRAINER_ANSWERS = {
    "matmul_precision": _MATMUL,
    "float32_matmul_precision": _MATMUL,
    "tf32": _MATMUL,
    "amp_backend": _PRECISION,
    "amp_level": _PRECISION,
    "half_precision_backend": _PRECISION,
    "fp16_opt_level": _PRECISION,
    "benchmark": "encoders have no convolutions for cuDNN to choose for",
    "cudnn_benchmark": "encoders have no convolutions for cuDNN to choose for",
    "profiler": _NO_PROFILER,
    "detect_anomaly": _NON_FINITE,
    "terminate_on_nan": _NON_FINITE,
    "track_grad_norm": "the norm of the gradient is recorded by itself, as train/gradient_norm",
    "enable_checkpointing": _NO_CHECKPOINTS,
    "checkpoint_callback": _NO_CHECKPOINTS,
    "sync_batchnorm": "encoders have no batch normalisation",
    "inference_mode": "gradients are recorded in training alone",
    "min_epochs": _MIN_LENGTH,
    "min_steps": _MIN_LENGTH,
    "limit_test_batches": "batches of each split for a dry run are trainer.limit_batches=10",
    "limit_predict_batches": "batches of each split for a dry run are trainer.limit_batches=10",
    "gradient_clip_algorithm": "the norm of the whole gradient is limited, by "
    "trainer.gradient_clip_val=1.0",
    "enable_model_summary": _SUMMARY,
    "weights_summary": _SUMMARY,
    "reload_dataloaders_every_n_epochs": _NEW_EPOCHS,
    "trainer.callbacks": _ADDED_CALLBACK,
    "plugins": "what a Trainer is made of is fixed but for the other keys of trainer",
    "barebones": "nothing is shown with callbacks.progress=null, and nothing kept with "
    "callbacks.checkpoint=null",
    "use_distributed_sampler": "the program divides the rows among the devices",
    "replace_sampler_ddp": "the program divides the rows among the devices",
    "sharded_ddp": _STRATEGY,
    "deepspeed": _STRATEGY,
    "fsdp": _STRATEGY,
    "auto_lr_find": "the best learning rate is found by -m search=learning_rate",
    "auto_scale_batch_size": "the batch is data.batching.batch_size=32",
    "auto_find_batch_size": "the batch is data.batching.batch_size=32",
    "auto_select_gpus": _DEVICE,
    "tpu_cores": _DEVICE,
    "use_mps_device": "the device is trainer.accelerator=mps",
    "progress_bar_refresh_rate": "no progress bar is callbacks.progress=null",
    "disable_tqdm": "no progress bar is callbacks.progress=null",
    "flush_logs_every_n_steps": _RECORDED,
    "logging_strategy": _RECORDED,
    "logging_first_step": _RECORDED,
    "full_determinism": _REPRODUCIBLE,
    "group_by_length": _GROUPED,
    "length_column_name": _GROUPED,
    "pad_to_max_length": _PADDED,
    "dataloader_drop_last": "no row is dropped, and the last batch of an epoch may be smaller",
    "remove_unused_columns": "only the columns that are named are read: data.source.text=text "
    "data.source.label=label",
    "ddp_find_unused_parameters": "every parameter that is trained has a gradient in each step",
    "trust_remote_code": "code that lies beside a model or a data set is never run",
    "line_by_line": "a line of a text file is one text, and texts are packed into rows",
    "max_eval_samples": "the share of rows that validate is data.split.validation=0.1",
    "max_predict_samples": "fewer rows are a smaller file",
    "greater_is_better": "it is callbacks.checkpoint.monitor=val/accuracy "
    "callbacks.checkpoint.mode=max",
}
