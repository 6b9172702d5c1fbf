"""A trial of a sweep in a process of its own: run it, and tell the study how it ended.

Where memory runs out and the search allows it, the trial is tried again with half the micro-batch
and twice the accumulation, so that each optimizer step stays what it was. Where a loss or gradient
in bf16 is not finite, it is tried once in fp32.
"""

import copy
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.config.phases import PHASES_KEY
from src.core.failures import NonFiniteLoss, diagnose_failure
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.search.run.trial_spec import TRIAL_VARIABLE, TrialSpec, current_trial

if TYPE_CHECKING:
    from src.pipeline.run_parts import RunOutcome
    from src.search.run.trial_hooks import TrialHooks
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store


# exit code (EX_TEMPFAIL): the trial waits to be tried with smaller batches, or in fp32
EXIT_RETRY_CHANGED = 75
# exit code (EX_IOERR): the trial has come to its end, which its run knows and the study does not
EXIT_NOT_REPORTED = 74


def run_trial(run: "Callable[..., RunOutcome]", config: Mapping[str, Any]) -> int:
    """Run the trial that the environment names, and tell the study how it ended.

    An interrupted trial waits in the study to go on.

    Args:
        run: trains and evaluates a config; called with its keys, `resume` and `hooks`.
        config: of the trial, before any halving.

    Returns:
        The exit code: 0 finished or pruned, 1 failed, 2 a mistake of the user before there was a
        run, 75 to be tried again with smaller batches or in fp32, 74 a good end that the
        study could not be told of, 128 plus the signal's number if it was interrupted.
    """
    from src.config.build_nodes import build_node
    from src.pipeline.resume_hint import report_error
    from src.search.run.trial_hooks import TrialHooks
    from src.search.sweep_study import SweepStorage
    from src.tracking.environment import read_global_rank

    trial = current_trial()
    if trial is None:
        raise RuntimeError(f"{TRIAL_VARIABLE} is not set, so this process is no trial")
    # started by srun or torchrun: the first of them tells
    if read_global_rank() > 0:
        config, _ = _apply_halvings(_apply_precision(config, trial), trial)
        run(**config, resume=trial.resume, hooks=TrialHooks(trial, study=None))
        return 0
    try:
        pruner = build_node(trial.pruner) if trial.pruner is not None else None
        study = SweepStorage(trial.address, Path(trial.folder), must_exist=True).open_study(
            trial.study, pruner=pruner
        )
    except Exception as error:
        # the coordinator sees that this process ended without reporting
        return report_error(error)
    hooks = TrialHooks(trial, study, pruner=pruner.name if pruner is not None else None)
    if not hooks.register_worker():
        print_line(
            f"trial {trial.number} is another process's by now: nothing is done here",
            to_stderr=True,
        )
        return 1
    try:
        config = _apply_precision(config, trial)
        config, hooks.halving_note = _apply_halvings(config, trial)
        _run_or_resume(run, config, trial, hooks)
    except BaseException as error:
        return _handle_failure(error, config, trial, hooks)
    if hooks.pruned_reason is not None:
        print_line(f"trial {trial.number} {hooks.pruned_reason}")
        is_told = hooks.report_end("pruned", reason=hooks.pruned_reason)
    else:
        is_told = hooks.report_end("finished", hooks.values)
    return 0 if is_told else EXIT_NOT_REPORTED


def _run_or_resume(
    run: "Callable[..., RunOutcome]",
    config: Mapping[str, Any],
    trial: TrialSpec,
    hooks: "TrialHooks",
) -> None:
    """Run the trial to its end: from where its earlier run stopped, else from the beginning."""
    from src.config.allowed_changes import without_newer_keys
    from src.config.build_nodes import build_node
    from src.config.resume import load_stored_config
    from src.core.run_ending import run_id_of_error

    store = build_node(config["tracking"])
    earlier_run = _find_earlier_run(store, trial)
    if earlier_run is None:
        run(**config, hooks=hooks)
        return
    # it had ended, but its process was gone before it could tell
    if hooks.adopt_run_result(earlier_run):
        return
    try:
        known = load_stored_config(store.load_config_yaml(earlier_run.id))
        run(**without_newer_keys(config, known), resume=earlier_run.id, hooks=hooks)
    except UserError as error:
        # the run had gone on already
        if run_id_of_error(error) is not None:
            raise
        print_line(
            f"trial {trial.number} begins again, as its run {earlier_run.id} cannot go on: {error}",
            to_stderr=True,
        )
        _detach_run(store, earlier_run.id)
        run(**config, hooks=hooks)


def _find_earlier_run(store: "Store", trial: TrialSpec) -> "RunInfo | None":
    """The run with which the trial goes on; None if it begins."""
    if trial.resume is None:
        return None
    try:
        return store.find_run(trial.resume, key="resume")
    except UserError as error:
        print_line(f"trial {trial.number} begins again: {error}", to_stderr=True)
        return None


def _detach_run(store: "Store", run_id: str) -> None:
    """Leave a run as it ended, and let it no longer be the run of its trial."""
    tags = store.find_run(run_id).tags
    if "search.trial" in tags:
        client = store.open().client
        client.set_tag(run_id, "search.abandoned", tags["search.trial"])
        client.delete_tag(run_id, "search.trial")


def _apply_precision(config: Mapping[str, Any], trial: TrialSpec) -> Mapping[str, Any]:
    """The config in fp32, if a loss of the trial was not finite in bf16."""
    if not trial.full_precision:
        return config
    print_line(f"trial {trial.number} in fp32: in bf16 its loss or gradient was not finite")
    return {**config, "trainer": {**config["trainer"], "precision": "fp32"}}


def _apply_halvings(
    config: Mapping[str, Any], trial: TrialSpec
) -> tuple[Mapping[str, Any], str | None]:
    """Halve the batch as often as the trial asks for, and print what was halved.

    Returns:
        The config, and the note that its run keeps; None if nothing was halved.
    """
    notes: list[str] = []
    for number in range(trial.halvings):
        halved = halve_batch(config)
        if halved is None:
            raise UserError(
                f"after {number} of {trial.halvings} halvings data.batching cannot be halved once "
                "more"
            )
        config, note = halved
        print_line(f"trial {trial.number} with less memory: {note}")
        notes.append(note)
    return config, "; then ".join(notes) or None


def _handle_failure(
    error: BaseException, config: Mapping[str, Any], trial: TrialSpec, hooks: "TrialHooks"
) -> int:
    """Print how an exception has ended the trial and tell the study; returns the exit code."""
    from src.core.run_ending import TerminatedBySignal, classify_ending
    from src.pipeline.resume_hint import print_resume_hint, report_error

    ending = classify_ending(error)
    if ending.status == "KILLED":
        print_resume_hint(error, "KILLED")
        hooks.release_trial()
        return 128 + (error.signum if isinstance(error, TerminatedBySignal) else signal.SIGINT)
    if isinstance(error, Exception):
        code = report_error(error)
    else:
        print_resume_hint(error, "FAILED")
        code = 1
    no_memory = is_out_of_memory(error)
    if _may_try_in_fp32(error, config, trial, hooks):
        print_line(f"trial {trial.number} will be tried once more, in fp32", to_stderr=True)
        return _try_again(config, hooks, non_finite=1)
    if no_memory and trial.may_halve and halve_batch(config) is not None:
        print_line(
            f"trial {trial.number} will be tried again with half of that at a time", to_stderr=True
        )
        return _try_again(config, hooks, out_of_memory=trial.halvings + 1)
    reason = str(error) if isinstance(error, UserError) else ending.reason or ""
    hooks.report_end("failed", reason=reason, out_of_memory=no_memory)
    return code


def _may_try_in_fp32(
    error: BaseException, config: Mapping[str, Any], trial: TrialSpec, hooks: "TrialHooks"
) -> bool:
    """True if a loss or gradient was not finite in bf16, for the first time in this trial."""
    from src.config.build_nodes import build_node

    if trial.full_precision or not isinstance(error, NonFiniteLoss) or not hooks.run_id:
        return False
    try:
        tags = build_node(config["tracking"]).find_run(hooks.run_id).tags
    except UserError:
        # its store does not know of it yet
        return bool(config["trainer"].get("precision") == "bf16")
    return str(tags.get("precision", "")).startswith("bf16")


def _try_again(config: Mapping[str, Any], hooks: "TrialHooks", **attributes: int) -> int:
    """Let the trial wait for another attempt, with a run of its own; returns the exit code."""
    from src.config.build_nodes import build_node

    if hooks.run_id:
        hooks.retry_until_told(
            lambda: _detach_run(build_node(config["tracking"]), hooks.run_id),
            "its run is its own no longer",
        )
    hooks.release_trial(**attributes, run_id="")
    return EXIT_RETRY_CHANGED


def halve_batch(config: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Halve the micro-batch of a run's config and double its accumulation.

    Each optimizer step sees the same rows, one half after the other; where batches are made by
    length (`batch_tokens`, `group_by_length`) it sees as many rows, some of them others. Held-out
    batches are halved too, which changes no metric.

    Returns:
        The config, and in words what was halved. None if it cannot be halved evenly, if a number of
        batches means something else (`warmup_batches`, `trainer.limit_batches`) and would change
        its meaning, or if the run has phases with batches of their own.
    """
    if config.get(PHASES_KEY):
        return None
    batching, trainer = config["data"]["batching"], config["trainer"]
    batch_tokens = batching.get("batch_tokens")
    if batching.get("warmup_batches") or trainer.get("limit_batches") is not None:
        return None
    if batching["batch_size"] % 2 or (
        batch_tokens is not None
        and (batch_tokens % 2 or batch_tokens // 2 < batching["max_tokens"])
    ):
        return None
    halved: dict[str, Any] = copy.deepcopy(dict(config))
    changes = []
    for key in ("batch_size", "batch_tokens", "eval_batch_size", "eval_batch_tokens"):
        if (size := batching.get(key)) is not None:
            halved["data"]["batching"][key] = max(1, size // 2)
            changes.append(f"data.batching.{key} {size} -> {max(1, size // 2)}")
    steps = trainer["accumulate_grad_batches"]
    halved["trainer"]["accumulate_grad_batches"] = 2 * steps
    changes.append(f"trainer.accumulate_grad_batches {steps} -> {2 * steps}")
    is_by_length = batch_tokens is not None or bool(batching.get("group_by_length"))
    rows = "as many rows as before" if is_by_length else "the same rows as before"
    return halved, f"{', '.join(changes)}; each optimizer step sees {rows}"


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory has run out in this process or, as far as its last output tells, in
    another rank of the run.
    """
    if isinstance(error, ChildProcessError):
        pattern = "OutOfMemoryError|MemoryError|out of memory|allocate memory"
        return re.search(pattern, str(error)) is not None
    failure = diagnose_failure(error)
    return failure is not None and failure.kind == "memory"
