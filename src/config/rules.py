"""Checks the rules between nodes of a config: data and model, model and callbacks.

The rules read plain values, and attributes of the classes that nodes name. A rule reports nothing
if a value that it compares is absent or of another type, since that is reported elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.config.callback_rules import find_callback_errors
from src.config.class_attributes import read_class_attribute
from src.config.groups import format_group_override, list_options, load_option
from src.config.label_rules import find_label_rule_errors
from src.config.origin_rules import find_origin_errors
from src.config.registration_rules import find_registration_errors
from src.core.dataset_info import TEXT_BATCHINGS, TEXT_TASKS
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError, did_you_mean, suggest

LOWER_IS_BETTER = ("loss", "masked_loss", "next_sentence_loss", "perplexity", "mae")
HIGHER_IS_BETTER = (
    "accuracy",
    "f1_macro",
    "f1_micro",
    "f1",
    "auroc",
    "quadratic_kappa",
    "subset_accuracy",
    "masked_accuracy",
    "next_sentence_accuracy",
    "pearson",
    "spearman",
)
SCRATCH_TARGET = "src.model.encoder_config.Scratch"
MUON_TARGET = "src.model.optim.Muon"


def find_rule_errors(config: Mapping[str, Any]) -> list[UserError]:
    """The errors of all values in a composed config that do not fit each other."""
    task_errors = list(_check_task(config))
    return [
        *_check_run_name(config),
        *task_errors,
        *_check_batching(config),
        *find_label_rule_errors(config),
        *_check_lengths(config),
        *_check_pooling(config),
        *_check_dropout(config),
        *_check_freeze(config),
        # another task is measured by other metrics, which its error names
        *(() if task_errors else _check_monitors(config)),
        *find_callback_errors(config),
        *_check_sharding(config),
        *_check_whole_weights(config),
        *_check_generator(config),
        *_check_compile(config),
        *find_registration_errors(config),
        *find_origin_errors(config),
    ]


def validation_metrics(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The metrics that the model of a config measures in validation; None if they are not known."""
    names = read_class_attribute(config, "model.objective", "metric_names")
    added = get_by_path(config, "model.metrics")
    return None if names is None else (*names, *(added if isinstance(added, Mapping) else ()))


def infer_metric_mode(metric: str, config: Mapping[str, Any] | None = None) -> str | None:
    """`min` or `max`, the direction in which a metric becomes better; None if it is not known.

    Args:
        metric: the name under which it is logged, such as `val/loss`.
        config: the config of the run that logs it, since its model may add metrics.
    """
    stage, _, name = metric.partition("/")
    if isinstance(get_by_path(config, f"model.metrics.{name}"), Mapping):
        higher = read_class_attribute(config, f"model.metrics.{name}", "higher_is_better")
        return {True: "max", False: "min"}.get(higher)
    if name in LOWER_IS_BETTER or metric in ("train/step_seconds", "system/peak_memory_gigabytes"):
        return "min"
    return (
        "max"
        if stage == "val" or metric == "train/tokens_per_second" or name in HIGHER_IS_BETTER
        else None
    )


def suggest_validation_metric(metric: str, measured: Sequence[str]) -> str:
    """The end of a message about an unknown metric: the measured one that is most like it, or all
    that validation measures.
    """
    near = suggest(metric.rpartition("/")[2], measured)
    if near is not None:
        return did_you_mean(f"val/{near}")
    return f"valid: {', '.join(f'val/{name}' for name in sorted(measured))}"


def _check_run_name(config: Mapping[str, Any]) -> Iterator[UserError]:
    name = get_by_path(config, "name")
    if isinstance(name, str) and not name.strip():
        yield UserError(
            "is empty", key="name", expected="the beginning of the run's name", colon=False
        )


def _check_task(config: Mapping[str, Any]) -> Iterator[UserError]:
    task, kind = (
        get_by_path(config, "data.task"),
        read_class_attribute(config, "model.objective", "kind"),
    )
    kinds = {
        choice: read_class_attribute(load_option("model", choice), "objective", "kind")
        for choice in list_options("model")
        # an objective that needs more than the data is not proposed
        if "???" not in (load_option("model", choice).get("objective") or {}).values()
    }
    if kind is None or task == kind or task not in kinds.values():
        return
    models = [option for option in kinds if kinds[option] == task]
    # others of that kind are variants, such as `binary`
    models = [task] if task in models else models
    data = [
        option for option in list_options("data") if load_option("data", option).get("task") == kind
    ]
    if task in TEXT_TASKS and kind in TEXT_TASKS:
        # the same texts in other batches
        other_task = f"data.task={kind} data/batching={TEXT_BATCHINGS[kind]}"
    elif task in TEXT_TASKS or kind in TEXT_TASKS:
        other_task = format_group_override("data", data)
    else:
        other_task = f"data.task={kind}{_suggest_monitor(config, validation_metrics(config))}"
    other_model = format_group_override("model", models)
    if len(models) == 1:
        option = load_option("model", models[0])
        other_model += _suggest_monitor(config, validation_metrics({"model": option}))
    fitting = filter(None, (other_model, other_task))
    yield UserError(
        f"data.task={task}, but model.objective is for {kind} "
        f"({get_by_path(config, 'model.objective._target_')}); "
        f"{' or '.join(fitting)} fits",
        about=("data.task", "model.objective"),
    )


def _suggest_monitor(config: Mapping[str, Any], measured: Sequence[str] | None) -> str:
    """The overrides, with a space before, that watch one of the metrics that a model measures;
    nothing if the checkpoint's monitor is one.
    """
    monitor = get_by_path(config, "callbacks.checkpoint.monitor")
    if not isinstance(monitor, str) or measured is None or monitor.removeprefix("val/") in measured:
        return ""
    better = next((name for name in HIGHER_IS_BETTER if name in measured), None)
    if better is None:
        return ""
    return f" callbacks.checkpoint.monitor=val/{better} callbacks.checkpoint.mode=max"


def _check_batching(config: Mapping[str, Any]) -> Iterator[UserError]:
    task = get_by_path(config, "data.task")
    kind = read_class_attribute(config, "data.batching", "kind")
    find_errors = read_class_attribute(config, "data", "find_batching_errors")
    if isinstance(task, str) and kind is not None and find_errors is not None:
        name = get_by_path(config, "data.batching._target_").rpartition(".")[2]
        yield from find_errors(task, kind, name)


def _check_lengths(config: Mapping[str, Any]) -> Iterator[UserError]:
    limit = get_by_path(config, "model.encoder.max_tokens") if _is_scratch(config) else None
    for name in ("max_tokens", "row_tokens"):
        length = get_by_path(config, f"data.batching.{name}")
        if isinstance(limit, int) and isinstance(length, int) and length > limit:
            yield UserError(
                f"data.batching.{name}={length} is more than the encoder can read, "
                f"model.encoder.max_tokens={limit}; change either",
                about=(f"data.batching.{name}", "model.encoder.max_tokens"),
            )


def _check_pooling(config: Mapping[str, Any]) -> Iterator[UserError]:
    pooling = get_by_path(config, "model.encoder.pooling")
    head = read_class_attribute(config, "model.objective", "head")
    if pooling is not None and head not in (None, "sequence", "binary", "ordinal"):
        yield UserError(
            "represents whole texts, and this model judges tokens",
            key="model.encoder.pooling",
            value=pooling,
            hint="leave {key} at null",
            about=("model.objective",),
            colon=False,
        )


def _check_dropout(config: Mapping[str, Any]) -> Iterator[UserError]:
    r_drop = get_by_path(config, "model.objective.r_drop")
    if r_drop and get_by_path(config, "model.encoder.dropout") == 0:
        yield UserError(
            "two passes are the same where nothing is dropped",
            key="model.objective.r_drop",
            value=r_drop,
            hint="model.encoder.dropout=0.1 drops a tenth",
            about=("model.encoder.dropout",),
        )


def _check_freeze(config: Mapping[str, Any]) -> Iterator[UserError]:
    freeze, layers = (
        get_by_path(config, "model.freeze"),
        get_by_path(config, "model.encoder.layers"),
    )
    if (
        _is_scratch(config)
        and isinstance(freeze, int)
        and isinstance(layers, int)
        and freeze > layers
    ):
        yield UserError(
            f"model.freeze={freeze} is more layers than the encoder has, "
            f"model.encoder.layers={layers}",
            about=("model.freeze", "model.encoder.layers"),
        )


def _is_scratch(config: Mapping[str, Any]) -> bool:
    return bool(get_by_path(config, "model.encoder._target_") == SCRATCH_TARGET)


def _check_monitors(config: Mapping[str, Any]) -> Iterator[UserError]:
    """Callbacks must watch a metric that validation measures, in the direction in which it becomes
    better.
    """
    measured = validation_metrics(config)
    callbacks = get_by_path(config, "callbacks")
    for name, node in callbacks.items() if isinstance(callbacks, Mapping) else ():
        key = f"callbacks.{name}"
        if (
            node is not None
            and not isinstance(node, UserError)
            and get_by_path(node, "_target_") is None
        ):
            yield UserError(key=key, expected="a node with a _target_, or null", found=repr(node))
        monitor, mode = get_by_path(node, "monitor"), get_by_path(node, "mode")
        if measured is None or not isinstance(monitor, str):
            continue
        known = [f"val/{name}" for name in measured]
        if monitor not in known:
            yield UserError(
                "this model does not measure it in validation",
                key=f"{key}.monitor",
                value=monitor,
                hint=suggest_validation_metric(monitor, measured),
                about=("model.objective",),
            )
            continue
        right = infer_metric_mode(monitor, config)
        if mode in ("min", "max") and right not in (None, mode):
            better = "less" if right == "min" else "more"
            yield UserError(
                f"{key}.mode={mode}, but of {key}.monitor={monitor} {better} is better; "
                f"mode={right} fits",
                about=(f"{key}.mode", f"{key}.monitor"),
            )


def _check_sharding(config: Mapping[str, Any]) -> Iterator[UserError]:
    if (
        get_by_path(config, "trainer.strategy") == "fsdp"
        and get_by_path(config, "model.optim._target_") == MUON_TARGET
    ):
        yield UserError(
            "model.optim is Muon, which needs whole matrices, but trainer.strategy=fsdp divides "
            "them; trainer=ddp or model/optim=adamw fits",
            about=("model.optim", "trainer.strategy"),
        )


def _check_whole_weights(config: Mapping[str, Any]) -> Iterator[UserError]:
    if get_by_path(config, "trainer.strategy") != "fsdp":
        return
    if isinstance(get_by_path(config, "model.regularization"), Mapping):
        yield UserError(
            "model.regularization changes whole weights, but trainer.strategy=fsdp divides them "
            "among devices; trainer=ddp or model.regularization=null fits",
            about=("model.regularization", "trainer.strategy"),
        )
    if isinstance(get_by_path(config, "model.adapter"), Mapping):
        yield UserError(
            "model.adapter leaves the body as it is, but trainer.strategy=fsdp divides it among "
            "devices and writes all of it; trainer=ddp or model.adapter=null fits",
            about=("model.adapter", "trainer.strategy"),
        )


def _check_generator(config: Mapping[str, Any]) -> Iterator[UserError]:
    head = read_class_attribute(config, "model.objective", "head")
    if head == "replaced_tokens" and get_by_path(config, "trainer.strategy") == "fsdp":
        yield UserError(
            "model.objective has a generator that shares its embeddings with the encoder, which "
            "trainer.strategy=fsdp divides among devices; trainer=ddp or model=masked_lm fits",
            about=("model.objective", "trainer.strategy"),
        )


def _check_compile(config: Mapping[str, Any]) -> Iterator[UserError]:
    if get_by_path(config, "trainer.compile") is not True:
        return
    task, head = (
        get_by_path(config, "data.task"),
        read_class_attribute(config, "model.objective", "head"),
    )
    if task not in (None, "masked_lm"):
        yield UserError(
            f"trainer.compile=true, but data.task={task}: only batches of masked_lm keep their "
            "shape; leave trainer.compile at null",
            about=("trainer.compile", "data.task"),
        )
    elif head not in (None, "masked_lm"):
        yield UserError(
            f"trainer.compile=true, but model={head} has steps of two networks, which are not "
            "compiled; leave trainer.compile at null",
            about=("trainer.compile", "model.objective"),
        )
    if get_by_path(config, "trainer.strategy") == "fsdp":
        yield UserError(
            "trainer.compile=true, but trainer.strategy=fsdp divides weights among devices; "
            "trainer=ddp fits, or leave trainer.compile at null",
            about=("trainer.compile", "trainer.strategy"),
        )
    if get_by_path(config, "trainer.accelerator") == "cpu":
        yield UserError(
            "trainer.compile=true, but trainer.accelerator=cpu: steps are compiled on a GPU alone",
            about=("trainer.compile", "trainer.accelerator"),
        )
