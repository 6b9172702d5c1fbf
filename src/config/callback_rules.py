"""Callbacks of a config that cannot work beside what a run does by itself.

Lightning would refuse some of them inside the run, and others it would let pass: they change the
number of steps, the schedule or the weights behind the back of a run that has counted on them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from src.config.allowed_targets import import_target
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError

PROGRESS_TARGET = "src.training.callbacks.Progress"
_PACKAGE = "lightning.pytorch.callbacks."
_PROGRESS_BAR = f"{_PACKAGE}progress.progress_bar.ProgressBar"
_TIMER = f"{_PACKAGE}timer.Timer"
# Each class with what it would do to a run, and what is typed instead.
_REFUSED = {
    f"{_PACKAGE}gradient_accumulation_scheduler.GradientAccumulationScheduler": (
        "changes the number of steps, which the schedule of the learning rate has counted before",
        "trainer.accumulate_grad_batches=4 is the same from the first step to the last",
    ),
    f"{_PACKAGE}stochastic_weight_avg.StochasticWeightAveraging": (
        "averages after the last validation, so that its weights are neither tested nor kept, and "
        "replaces the schedule of model.optim",
        f"an average that is validated, tested and kept is {_PACKAGE}EMAWeightAveraging",
    ),
    f"{_PACKAGE}batch_size_finder.BatchSizeFinder": (
        "finds no batch size to change: batches are planned from the config before training",
        "data.batching.batch_size=32 sets it",
    ),
    f"{_PACKAGE}lr_finder.LearningRateFinder": (
        "finds no rate to change: it is an argument of model.optim",
        "the best rate is found by -m search=learning_rate",
    ),
    f"{_PACKAGE}finetuning.BackboneFinetuning": (
        "thaws a part of the model, its backbone, that it does not find here",
        "model.freeze=encoder trains the head alone, and model.freeze=2 all but the embeddings "
        "and the first 2 layers",
    ),
    f"{_PACKAGE}pruning.ModelPruning": (
        "looks for weights before the encoder is built, and finds none",
        "prune the model folder of a finished run",
    ),
    f"{_PACKAGE}on_exception_checkpoint.OnExceptionCheckpoint": (
        "lets a later run begin, unasked, from the checkpoint that an earlier one has left there",
        "a run that fails keeps its last checkpoint by itself, and goes on by resume=ID",
    ),
}


def find_callback_errors(config: Mapping[str, Any]) -> Iterator[UserError]:
    """The errors of all callbacks of a composed config that do not go with a run, or not with one
    another.
    """
    nodes = get_by_path(config, "callbacks")
    kinds = {
        str(name): kinds
        for name, node in (nodes.items() if isinstance(nodes, Mapping) else ())
        if (kinds := _list_kinds(get_by_path(node, "_target_")))
    }
    for name, names in kinds.items():
        for refused in _REFUSED.keys() & names:
            problem, hint = _REFUSED[refused]
            subject = refused.rpartition(".")[2]
            yield UserError(f"{subject} {problem}", key=f"callbacks.{name}", hint=hint)
    yield from _check_progress_bars(kinds)
    yield from _check_timers(config, kinds)


def _check_progress_bars(kinds: Mapping[str, set[str]]) -> Iterator[UserError]:
    bars = [name for name, names in kinds.items() if {PROGRESS_TARGET, _PROGRESS_BAR} & names]
    if len(bars) < 2:
        return
    own = next((name for name in bars if PROGRESS_TARGET in kinds[name]), None)
    keys = [f"callbacks.{name}" for name in bars]
    yield UserError(
        f"{' and '.join(keys)} both show the progress, and a run has one such callback",
        hint="leave one out" if own is None else f"callbacks.{own}=null takes the program's out",
        about=keys,
    )


def _check_timers(config: Mapping[str, Any], kinds: Mapping[str, set[str]]) -> Iterator[UserError]:
    timers = [f"callbacks.{name}" for name, names in kinds.items() if _TIMER in names]
    if timers and get_by_path(config, "trainer.max_minutes") is not None:
        yield UserError(
            f"{timers[0]} and trainer.max_minutes both end the training after some time",
            hint="trainer.max_minutes=null takes the latter back",
            about=[timers[0], "trainer.max_minutes"],
        )
    elif len(timers) > 1:
        yield UserError(
            f"{' and '.join(timers)} both end the training after some time",
            hint="leave one out, or all: trainer.max_minutes=60 is enough",
            about=timers,
        )


def _list_kinds(target: Any) -> set[str]:
    """The names of all classes that an object of this target would be one of; none where there is
    no such class, which is told elsewhere.
    """
    if target == PROGRESS_TARGET:
        return {PROGRESS_TARGET}
    if not isinstance(target, str) or target.startswith("src."):
        return set()
    try:
        bases = getattr(import_target(target), "__mro__", ())
    except UserError:
        return set()
    return {f"{base.__module__}.{base.__name__}" for base in bases}
