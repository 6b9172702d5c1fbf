"""What must fit between nodes: data and model, model and callbacks. Read from plain values; nothing is imported for it.

Each rule is silent where a value that it compares is absent or of another type: that is reported elsewhere.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from src.config.choices import at, choices, content, typed
from src.config.signature import constant
from src.data.labels import LabelSpace
from src.terms.fault import Fault, suggestion

LOWER_IS_BETTER = ("loss", "perplexity", "mae")
HIGHER_IS_BETTER = ("accuracy", "f1_macro", "masked_accuracy", "pearson", "spearman")
SCRATCH = "src.model.architecture.Scratch"
MUON = "src.model.optim.Muon"


def rules(config: Mapping[str, Any]) -> list[Fault]:
    """Everything in a composed config that does not go together."""
    return [
        *_name(config),
        *_task(config),
        *_batching(config),
        *_labels(config),
        *_lengths(config),
        *_freeze(config),
        *_monitors(config),
        *_sharding(config),
        *_compiling(config),
    ]


def quantities(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What validation measures, by the objective of a config; None where that is not known."""
    found: tuple[str, ...] | None = _constant(config, "model.objective", "quantities")
    return found


def better(metric: str) -> str | None:
    """`min` or `max`: the direction in which a metric, as it is logged, becomes better; None where nobody can tell."""
    stage, _, name = metric.partition("/")
    if name in LOWER_IS_BETTER or metric in ("train/step_seconds", "system/peak_memory_gigabytes"):
        return "min"
    return "max" if stage == "val" or metric == "train/tokens_per_second" or name in HIGHER_IS_BETTER else None


def _constant(config: Mapping[str, Any], node: str, name: str) -> Any:
    target = at(config, f"{node}._target_")
    return constant(target, name) if isinstance(target, str) else None


def _name(config: Mapping[str, Any]) -> Iterator[Fault]:
    name = at(config, "name")
    if isinstance(name, str) and not name.strip():
        yield Fault("name is empty: expected the beginning of the run's name")


def _task(config: Mapping[str, Any]) -> Iterator[Fault]:
    task, kind = at(config, "data.task"), _constant(config, "model.objective", "kind")
    kinds = {each: constant(at(content("model", each), "objective._target_"), "kind") for each in choices("model")}
    if kind is None or task == kind or task not in kinds.values():
        return
    models = [each for each in kinds if kinds[each] == task]
    data = [each for each in choices("data") if content("data", each).get("task") == kind]
    fitting = filter(None, (typed("model", models), typed("data", data)))
    yield Fault(
        f"data.task={task}, but model.objective is for {kind} ({at(config, 'model.objective._target_')}); "
        f"{' or '.join(fitting)} fits"
    )


def _batching(config: Mapping[str, Any]) -> Iterator[Fault]:
    task, kind = at(config, "data.task"), _constant(config, "data.batching", "kind")
    if not isinstance(task, str) or kind is None or (task == "masked_lm") == (kind == "masked_lm"):
        return
    name = at(config, "data.batching._target_").rpartition(".")[2]
    fitting = "masked" if task == "masked_lm" else "labelled"
    yield Fault(f"data.task={task} does not go with data.batching={name}; data/batching={fitting} fits")


def _labels(config: Mapping[str, Any]) -> Iterator[Fault]:
    names, count = at(config, "data.label_names"), at(config, "data.num_labels")
    expected = at(config, "model.objective.num_labels")
    if isinstance(names, list) and all(isinstance(each, str) for each in names):
        values = at(config, "data.label_values")
        try:
            LabelSpace.declared(names, values if isinstance(values, list) else None)
        except Fault as fault:
            yield fault
            return
    if isinstance(names, list) and isinstance(count, int) and len(names) != count:
        yield Fault(
            f"data.num_labels={count}, but data.label_names has {len(names)}: {', '.join(map(str, names))} "
            f"(data.num_labels={len(names)}, or other names)"
        )
    if isinstance(expected, int) and isinstance(count, int) and expected != count:
        yield Fault(
            f"model.objective.num_labels={expected}, but data.num_labels={count}; "
            "leave model.objective.num_labels out: it is read from the data"
        )


def _lengths(config: Mapping[str, Any]) -> Iterator[Fault]:
    limit = at(config, "model.encoder.max_tokens") if _is_scratch(config) else None
    for name in ("max_tokens", "row_tokens"):
        length = at(config, f"data.batching.{name}")
        if isinstance(limit, int) and isinstance(length, int) and length > limit:
            yield Fault(
                f"data.batching.{name}={length} is more than the encoder can read, model.encoder.max_tokens={limit}; "
                "change either"
            )


def _freeze(config: Mapping[str, Any]) -> Iterator[Fault]:
    freeze, layers = at(config, "model.freeze"), at(config, "model.encoder.layers")
    if _is_scratch(config) and isinstance(freeze, int) and isinstance(layers, int) and freeze > layers:
        yield Fault(f"model.freeze={freeze} is more layers than the encoder has, model.encoder.layers={layers}")


def _is_scratch(config: Mapping[str, Any]) -> bool:
    return bool(at(config, "model.encoder._target_") == SCRATCH)


def _monitors(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Callbacks watch what validation measures, in the direction in which it becomes better."""
    measured = quantities(config)
    callbacks = at(config, "callbacks")
    for name, node in callbacks.items() if isinstance(callbacks, Mapping) else ():
        key = f"callbacks.{name}"
        if node is not None and not isinstance(node, Fault) and at(node, "_target_") is None:
            yield Fault(f"{key}: expected a node with a _target_, or null, found {node!r}")
        monitor, mode = at(node, "monitor"), at(node, "mode")
        if measured is None or not isinstance(monitor, str):
            continue
        known = [f"val/{each}" for each in measured]
        if monitor not in known:
            hint = re.sub(rf"\b({'|'.join(measured)})\b", r"val/\1", suggestion(monitor.rpartition("/")[2], measured))
            yield Fault(f"{key}.monitor={monitor}: this model does not measure it in validation; {hint}")
            continue
        right = better(monitor)
        if mode in ("min", "max") and mode != right:
            what = "less" if right == "min" else "more"
            yield Fault(f"{key}.mode={mode}, but of {key}.monitor={monitor} {what} is better; mode={right} fits")


def _sharding(config: Mapping[str, Any]) -> Iterator[Fault]:
    if at(config, "trainer.strategy") == "fsdp" and at(config, "model.optim._target_") == MUON:
        yield Fault(
            "model.optim is Muon, which needs whole matrices, but trainer.strategy=fsdp divides them; "
            "trainer=ddp or model/optim=adamw fits"
        )


def _compiling(config: Mapping[str, Any]) -> Iterator[Fault]:
    if at(config, "trainer.compile") is not True:
        return
    if (task := at(config, "data.task")) not in (None, "masked_lm"):
        yield Fault(
            f"trainer.compile=true, but data.task={task}: only batches of masked_lm keep their shape; "
            "leave trainer.compile at null"
        )
    if at(config, "trainer.accelerator") == "cpu":
        yield Fault("trainer.compile=true, but trainer.accelerator=cpu: steps are compiled on a GPU alone")
