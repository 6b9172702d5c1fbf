"""A stored run, run again: what is other than then, and whether the same came out.

On the CPU with the same code, data, versions and number of threads the same comes out to the last
bit. The processor's own model may change bits too, since kernels are chosen by it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.files import PROJECT_ROOT
from src.core.user_errors import UserError
from src.pipeline.hooks import NoHooks

if TYPE_CHECKING:
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.store import Store

RERUN_TAG = "rerun_of"
# Metrics that measure the machine and not what was learnt: times, speeds, memory, energy.
_MACHINE_METRICS = re.compile(r"^system/|seconds|per_second|/mfu$|gigabytes|joules|watt|energy")
# lines of environment.txt that may change the bits of a result; packages are `name==version`
_ENVIRONMENT_LINES = ("python", "platform", "processor", "torch threads", "gpus")
_THREADS_VARIABLE = "OMP_NUM_THREADS"
_MAX_NAMED = 8

MetricHistories = Mapping[str, Mapping[int, float]]


class Comparison(NamedTuple):
    """Whether two runs have the same results.

    Attributes:
        num_metrics, num_values: how many were compared.
        metrics: the metrics that differ, with the first step that does, then and now.
        weights: how the saved weights differ; "" if they do not; None if a run saved none.
        data: the splits whose rows differ.
    """

    num_metrics: int
    num_values: int
    metrics: dict[str, tuple[int, float | None, float | None]]
    weights: str | None
    data: list[str]

    @property
    def is_equal(self) -> bool:
        return not (self.metrics or self.weights or self.data or not self.num_values)

    def describe(self) -> Iterator[str]:
        """The verdict in words, a line for each thing that differs."""
        compared = f"{self.num_metrics} metrics with {self.num_values:,} values"
        if not self.num_values:
            yield "not equal: the two runs have no value of a metric in common"
        elif self.is_equal:
            weights = "; it saved no weights" if self.weights is None else " and the weights"
            yield f"equal to the last bit: {compared}{weights}"
        else:
            yield f"not equal: {len(self.metrics)} of {compared} differ"
        for name, (step, then, now) in list(self.metrics.items())[:_MAX_NAMED]:
            yield f"  {name} at step {step}: {_show(then)} then, {_show(now)} now"
        if len(self.metrics) > _MAX_NAMED:
            yield f"  and {len(self.metrics) - _MAX_NAMED} more"
        if self.weights:
            yield f"  weights: {self.weights}"
        for split in self.data:
            yield f"  data of {split}"


def check_can_rerun(run: "RunInfo") -> None:
    """Raise UserError for a run that cannot be run again from its config alone."""
    if run.status == "RUNNING":
        raise UserError(f"run {run} still goes on")
    if run.tags.get("kind") == "search":
        best = run.tags.get("search.best_run_id")
        hint = f"its best trial is run {best}" if best else "its trials can"
        raise UserError(f"run {run} is a sweep of several", hint=hint)
    if source := run.tags.get("forked_from"):
        raise UserError(
            f"run {run} is a fork and begins from a checkpoint of run {source[:8]}",
            hint=f"that one can: python -m src.rerun {source[:8]}",
        )


def list_differences(store: "Store", run: "RunInfo") -> list[str]:
    """What is other now than when a run began: commit, uncommitted changes, versions, machine."""
    from src.tracking.environment import describe_environment, read_code_state

    code = read_code_state(Path(store.root))
    then, now = run.tags.get("commit"), code.commit if code else None
    found = []
    if then is None or now is None:
        found.append("commit: not known of " + ("both" if then == now else "one of the two"))
    elif then != now:
        found.append(f"commit: {then[:8]} then, {now[:8]} now")
    elif code is not None:
        patch = store.load_artifact_text(run.id, "changes.patch") or ""
        if patch != code.patch:
            found.append(_describe_patches(patch, code.patch))
    environment = store.load_artifact_text(run.id, "environment.txt")
    if environment is None:
        found.append("environment: the run holds no environment.txt")
    else:
        found += _compare_environments(environment, describe_environment())
    return found


def load_config(store: "Store", run: "RunInfo") -> dict[str, Any]:
    """The config with which a run began, in the precision that it settled on.

    Raises:
        UserError: the run holds no config, or one that is not valid any more.
    """
    from src.config.resume import ResumeRequest
    from src.pipeline.run import read_task_schema

    node = {"_target_": "src.tracking.store.Store", **asdict(store)}
    request = ResumeRequest(run.id, fork=False, tracking=node, overrides=[])
    text = store.load_config_yaml(run.id, key="RUN_ID")
    config = request.merge_stored_config(text, read_task_schema())
    # what was registered is the model of that run
    for key in ("register", "register_alias"):
        config.pop(key, None)
    settled = run.tags.get("precision", "").partition(":")[0]
    if settled in ("fp32", "bf16"):
        # measured again, it might be the other
        config["trainer"]["precision"] = settled
    return config


def take_thread_count(environment: str) -> str | None:
    """Have torch use as many threads as then, since sums are made in another order by others.

    Has an effect before torch is imported. Returns what was done, in words; None if nothing was.
    """
    found = re.search(r"^torch threads: (\d+)$", environment, re.MULTILINE)
    if found is None or os.environ.get(_THREADS_VARIABLE) == found[1]:
        return None
    os.environ[_THREADS_VARIABLE] = found[1]
    return f"{_THREADS_VARIABLE}={found[1]}, as then"


def make_rerun_hooks(run_id: str) -> NoHooks:
    """The hooks of a plain run, which is tagged and named as the repetition of another."""
    hooks = NoHooks()
    hooks.tags = {RERUN_TAG: run_id}
    hooks.shown_overrides = [f"{RERUN_TAG}={run_id[:8]}"]
    return hooks


def compare_runs(store: "Store", before: "RunInfo", after: "RunInfo") -> Comparison:
    """Compare the values of all metrics of what was learnt, the weights and the data."""
    from src.pipeline.resume import find_changed_splits

    histories = [store.read_metric_histories(run.id) for run in (before, after)]
    then, now = (
        {name: values for name, values in history.items() if not _MACHINE_METRICS.search(name)}
        for history in histories
    )
    splits = after.tags.get("data.fingerprint", "").split()
    digests = {name: digest for name, _, digest in (text.partition("=") for text in splits)}
    return Comparison(
        num_metrics=len(then.keys() | now.keys()),
        num_values=sum(len(values.keys() & now.get(name, {})) for name, values in then.items()),
        metrics=find_first_differences(then, now),
        weights=_compare_weights(store, before, after),
        data=find_changed_splits(before, digests),
    )


def find_first_differences(
    then: MetricHistories, now: MetricHistories
) -> dict[str, tuple[int, float | None, float | None]]:
    """By metric that differs, the first step that does and both values; None where one has none."""
    found = {}
    for name in sorted(then.keys() | now.keys()):
        first, second = then.get(name, {}), now.get(name, {})
        for step in sorted(first.keys() | second.keys()):
            values = first.get(step), second.get(step)
            # equal bits: nan, which differs from itself, is nan again
            if repr(values[0]) != repr(values[1]):
                found[name] = (step, *values)
                break
    return found


def _show(value: float | None) -> str:
    return "nothing" if value is None else repr(value)


def _describe_patches(then: str, now: str) -> str:
    if not then or not now:
        return "uncommitted changes: " + ("none then, some now" if now else "some then, none now")
    return "uncommitted changes: others than then (changes.patch of the run has them)"


def _compare_environments(then: str, now: str) -> list[str]:
    """The lines of two descriptions of an environment that differ and may change results."""
    from src.tracking.environment import MACHINE_LINES, parse_environment

    before, after = parse_environment(then), parse_environment(now)
    found = [
        f"{name}: {before[name]} then, {after[name]} now"
        for name in _ENVIRONMENT_LINES
        if name in before and name in after and before[name] != after[name]
    ]
    packages = [
        f"{name} {before.get(name, 'absent')} then, {after.get(name, 'absent')} now"
        for name in sorted(before.keys() | after.keys())
        if name not in MACHINE_LINES and before.get(name) != after.get(name)
    ]
    found += packages[:_MAX_NAMED]
    if len(packages) > _MAX_NAMED:
        found.append(f"and {len(packages) - _MAX_NAMED} packages more")
    return found


def _compare_weights(store: "Store", before: "RunInfo", after: "RunInfo") -> str | None:
    folders = []
    for run in (before, after):
        try:
            folders.append(store.fetch_model_folder(run.id, key="RUN_ID"))
        except UserError:
            return None
    return describe_weight_differences(*folders)


def describe_weight_differences(before: Path, after: Path) -> str:
    """How the tensors of two model folders differ; "" where all bits are equal."""
    from safetensors.torch import load_file

    then, now = (_load_tensors(folder, load_file) for folder in (before, after))
    if then.keys() != now.keys():
        odd = sorted(then.keys() ^ now.keys())
        return f"{len(odd)} tensors are in one of the two alone, such as {odd[0]}"
    changed = [
        name
        for name, tensor in then.items()
        if tensor.shape != now[name].shape or not tensor.equal(now[name])
    ]
    if not changed:
        return ""
    largest = max(
        (
            (then[name].double() - now[name].double()).abs().max().item()
            for name in changed
            if then[name].shape == now[name].shape
        ),
        default=float("inf"),
    )
    return f"{len(changed)} of {len(then)} tensors differ, by {largest:.2g} at most"


def _load_tensors(folder: Path, load_file: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def describe_run_again(store: "Store", run: "RunInfo", differences: Sequence[str]) -> Iterator[str]:
    """What is said before a run is repeated."""
    yield f"run {run} of {store.describe_location()}"
    if not differences:
        yield "commit, changes, versions and machine are the same as then"
    for text in differences:
        yield f"other than then: {text}"
    if Path(store.root) != PROJECT_ROOT:
        yield f"the code is that of {PROJECT_ROOT}"
