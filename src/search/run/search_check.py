"""What is wrong with a search, found before its first trial."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.config.build_nodes import Parameter, Schema, build_node
from src.config.compose import resolve_node
from src.config.overrides import flatten_search_space
from src.config.rules import infer_metric_mode, suggest_validation_metric, validation_metrics
from src.config.validate_config import validate_config
from src.core.nested_config import iter_leaves
from src.core.user_errors import UserError, UserErrors, format_suggestion
from src.search.search_config import Search
from src.search.space import SearchSpace, parse_space

NOTHING_VARIES_MESSAGE = (
    "-m makes several runs, and nothing varies: expected listed values, as "
    "model.optim.lr=1e-5,2e-5, or a search, as "
    "search=learning_rate"
)
# that every trial reports beside the metrics of its objective
COMMON_METRICS = (
    "train/loss",
    "train/tokens_per_second",
    "train/step_seconds",
    "system/peak_memory_gigabytes",
)


def build_search(config: DictConfig) -> Search:
    """Build the search of a composed config.

    Raises:
        UserErrors: values that cannot be resolved, and those that the constructors refuse.
    """
    node = resolve_node(config, "search")
    for key, example in (("monitor", "val/loss"), ("mode", "min")):
        if isinstance(node.get(key), UserError):
            origin = OmegaConf.to_container(config.search, resolve=False)[key]  # type: ignore[call-overload,index]
            node[key] = UserError(
                f"taken from {origin}, which is not there; give it, as search.{key}={example}"
            )
    if isinstance(space := node.get("space"), Mapping):
        # a file may write model: {optim: {lr: ...}}
        node["space"] = dict(iter_leaves(space))
    validate_config({"search": node}, Schema({"search": Parameter(Any, required=True)}, open=False))
    search: Search = build_node(node)
    return search


def find_search_errors(
    config: DictConfig,
    typed: Sequence[str],
    trials: Sequence[Mapping[str, Any]],
    *,
    may_be_empty: bool,
) -> list[UserError]:
    """All errors of a search.

    Args:
        config: composed, with the first value of every key that varies.
        typed: the overrides that can be read and have values.
        trials: the same config in plain values, and once more with every other value of a key that
            varies.
        may_be_empty: it is no mistake that nothing varies.
    """
    errors: list[UserError] = []
    space: SearchSpace | None = None
    search: Search | None = None
    try:
        space, _ = parse_space(typed, flatten_search_space(config))
    except UserErrors as refused:
        errors += refused.errors
    try:
        search = build_search(config)
    except UserErrors as refused:
        errors += refused.errors
    if space is not None and not space.dimensions:
        errors += [] if may_be_empty else [UserError(NOTHING_VARIES_MESSAGE, about=("search",))]
    elif space is not None and search is not None:
        incompatibilities = search.sampler.find_incompatibilities(space, len(search.monitors))
        errors += [
            UserError(message, about=("search",))
            for message in incompatibilities or _check_grid_budget(search, space)
        ]
    if search is not None:
        errors += _check_search_monitors(search, trials)
    if trials and isinstance(name := trials[0].get("register"), str):
        errors.append(
            UserError(
                "the model of every trial would become a version of it",
                key="register",
                value=name,
                hint=f"python -m src.export run=BEST format=mlflow register={name} takes one",
            )
        )
    return errors


def _check_grid_budget(search: Search, space: SearchSpace) -> list[str]:
    """Refuse a budget below the size of the grid: it would leave holes that nobody chose."""
    if (
        search.sampler.is_unbounded
        or search.max_trials is None
        or space.grid_size is None
        or search.max_trials >= space.grid_size
    ):
        return []
    return [
        f"search.max_trials={search.max_trials} is less than the {space.grid_size} trials of the "
        "grid; "
        "search/sampler=random takes some of them by chance"
    ]


def _check_search_monitors(search: Search, trials: Sequence[Mapping[str, Any]]) -> list[UserError]:
    """Refuse metrics that no trial or not every trial reports, and modes that make them worse."""
    errors: list[UserError] = []
    mode_key = "search.mode" if len(search.modes) == 1 else "mode"
    reported = [metrics for metrics in map(validation_metrics, trials) if metrics is not None]
    for monitor, mode in zip(search.monitors, search.modes, strict=True):
        is_reported = [_is_reported(monitor, metrics) for metrics in reported]
        if reported and not any(is_reported):
            errors.append(
                UserError(
                    "no trial reports it",
                    key="search.monitor",
                    value=monitor,
                    hint=_suggest_metric(monitor, reported[0]),
                    about=("model.objective",),
                )
            )
        elif not all(is_reported):
            common = [name for name in reported[0] if all(name in other for other in reported)]
            errors.append(
                UserError(
                    "not every trial reports it, since their objectives differ",
                    key="search.monitor",
                    value=monitor,
                    hint=f"all report {', '.join(f'val/{name}' for name in common)}",
                    about=("model.objective",),
                )
            )
        elif (better_mode := infer_metric_mode(monitor, trials[0])) not in (None, mode):
            amount = "less" if better_mode == "min" else "more"
            errors.append(
                UserError(
                    f"search.mode={mode}, but of search.monitor={monitor} {amount} is better; "
                    f"{mode_key}={better_mode} fits",
                    about=("search.mode", "search.monitor"),
                )
            )
    return errors


def _is_reported(monitor: str, measured: Sequence[str]) -> bool:
    stage, _, name = monitor.partition("/")
    return (
        monitor in COMMON_METRICS
        or (stage == "val" and name in measured)
        or (stage == "test" and bool(name))
    )


def _suggest_metric(monitor: str, measured: Sequence[str]) -> str:
    stage, slash, _ = monitor.partition("/")
    if slash and stage != "val":
        return format_suggestion(monitor, [*(f"val/{name}" for name in measured), *COMMON_METRICS])
    return suggest_validation_metric(monitor, measured)
