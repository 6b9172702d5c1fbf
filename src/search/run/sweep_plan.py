"""What a sweep would need: its number of trials, and runs that stand for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from src.config.build_nodes import Schema
from src.config.compose import prefix_optional_inputs
from src.config.compose_run import compose_run
from src.config.hydra_compose import compose_with_search
from src.config.override_errors import find_override_errors
from src.config.overrides import drop_sweep_id
from src.core.formatting import ParamValue
from src.core.user_errors import UserErrors
from src.search.budget import resolve_max_trials
from src.search.run.search_check import build_search, find_search_errors
from src.search.space import Dimension, SearchSpace, parse_space


class SweepPlan(NamedTuple):
    """The size of a sweep.

    Attributes:
        trials: at most; None where only hours or tokens end the sweep.
        max_hours: after which no trial begins; None: no such limit.
        jobs: trials at a time.
        examples: by the overrides of a trial, its config: of the first point of the space and of
            the last, whose costs may differ.
    """

    trials: int | None
    max_hours: float | None
    jobs: int
    examples: dict[str, dict[str, Any]]


def plan_sweep(typed: Sequence[str], task: Schema) -> SweepPlan:
    """Compose a sweep without beginning it.

    Args:
        typed: the command line without its flags.
        task: the schema of a run's config.

    Raises:
        UserErrors: everything that is wrong with it.
    """
    if errors := find_override_errors(["-m", *typed], task, find_search_errors=find_search_errors):
        raise UserErrors(errors)
    typed = prefix_optional_inputs(drop_sweep_id(typed), task)
    _, common = parse_space(typed, {})
    config = compose_with_search(common)
    search = build_search(config)
    space, common = parse_space(typed, search.space)
    fixed = [text for text in common if not text.lstrip("+~").startswith(("search", "hydra"))]
    ends = [[*space.format_overrides(_find_end(space, last=last))] for last in (False, True)]
    return SweepPlan(
        trials=resolve_max_trials(search, space),
        max_hours=search.max_hours,
        jobs=search.jobs or 1,
        examples={
            " ".join(overrides): compose_run([*fixed, *overrides], task) for overrides in ends
        },
    )


def _find_end(space: SearchSpace, *, last: bool) -> Mapping[str, ParamValue]:
    """The point with the first value of every key, or with the last one."""
    return {dimension.key: _find_edge(dimension, last=last) for dimension in space.dimensions}


def _find_edge(dimension: Dimension, *, last: bool) -> ParamValue:
    if dimension.values:
        return dimension.values[-1 if last else 0]
    edge = dimension.high if last else dimension.low
    assert edge is not None
    return edge
