"""Options of groups (`trainer=mps`) that other programs call otherwise or have besides, and what is
typed for them here.
"""

_FAMILIES = (
    *("bert", "roberta", "distilbert", "deberta", "debertav2", "debertav3", "electra", "albert"),
    *("mpnet", "modernbert", "xlmroberta", "xlmr", "camembert", "minilm", "gpt2", "gpt", "t5"),
    *("bart", "xlnet", "longformer", "transformer", "huggingface", "hf"),
)
_ENCODER = (
    "the encoder is chosen by model/encoder=base, or as a pretrained one by "
    "model/encoder=pretrained data/tokenizer=pretrained model.encoder.name_or_path=NAME"
)
_NO_OTHER_TRACKER = (
    "runs are tracked in MLflow alone: tracking=local, or a server by tracking.uri=ADDRESS"
)
_NO_CALLBACKS = (
    "one callback is left out by callbacks.progress=null, callbacks.checkpoint=null or "
    "callbacks.reference=null"
)
_ADDED_CALLBACK = (
    "another callback is a node below callbacks: "
    "+callbacks.NAME._target_=lightning.pytorch.callbacks.DeviceStatsMonitor (docs/own-code.md)"
)
_SHORT_TRY = "for a short try: trainer.max_epochs=null trainer.max_steps=5 data.train_rows=64"
_TO_THE_END = "where no search/pruner is chosen, every trial goes to its end"

# Options that are the same.
_SAME_OPTION = {
    "trainer": {"default": "auto", "cuda": "gpu", "multi_gpu": "ddp"},
    "tracking": {"mlflow": "local", "default": "local", "remote": "server"},
    "search": {"lr": "learning_rate", "seed": "seeds", "kfold": "k_fold", "cv": "k_fold"},
    "search/sampler": {
        "bayes": "tpe",
        "bayesian": "tpe",
        "optuna": "tpe",
        "sobol": "quasi_random",
        "cma": "cmaes",
    },
    "search/pruner": {"asha": "halving", "successive_halving": "halving"},
    # torch.optim.SGD is its default
    "model/optim": {"sgd": "torch"},
}
# Options of which there is none, with a whole answer.
_OPTION_ANSWERS = {
    "trainer": {
        "mps": "the device is trainer.accelerator=mps",
        "ddp_sim": "two processes on a CPU are trainer=ddp trainer.accelerator=cpu "
        "trainer.devices=2",
        "tpu": "TPUs are not supported: trainer=gpu or trainer=cpu",
        "deepspeed": "several devices share one model by trainer.strategy=fsdp",
    },
    "tracking": dict.fromkeys(
        ("wandb", "tensorboard", "csv", "comet", "neptune", "aim", "many_loggers"),
        _NO_OTHER_TRACKER,
    ),
    "callbacks": {
        **dict.fromkeys(("none", "null", "false", "no", "off"), _NO_CALLBACKS),
        **dict.fromkeys(
            ("rich_progress_bar", "model_summary", "lr_monitor", "learning_rate_monitor", "swa"),
            _ADDED_CALLBACK,
        ),
        **dict.fromkeys(
            ("model_checkpoint", "checkpoint"),
            "checkpoints are kept by every run: callbacks.checkpoint.keep=3",
        ),
    },
    "preset": dict.fromkeys(("debug", "test", "fdr", "quick", "small", "dev"), _SHORT_TRY),
    "search/pruner": dict.fromkeys(("none", "null", "nop", "no", "off"), _TO_THE_END),
    "model": dict.fromkeys(_FAMILIES, _ENCODER),
}


def find_same_option(group: str, option: str) -> str | None:
    """The option here of what another program calls `option`; None if none is known."""
    return _SAME_OPTION.get(group, {}).get(option.lower())


def explain_foreign_option(group: str, option: str) -> str | None:
    """The end of the message about an option that another program has; None if none has it."""
    answers = _OPTION_ANSWERS.get(group, {})
    return answers.get(option.lower()) or answers.get(
        option.lower().replace("-", "").replace("_", "")
    )
