"""The best settings of an experiment, with their uncertainty and what they cost.

Numbers compare only where they were measured on the same rows, so there is a board for every data
set among the runs. A setting is a group of runs that are equal in all but their seeds.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from src.comparison.metric_values import (
    COSTS,
    MONITOR_PARAM,
    choose_metric,
    find_eval_digest,
    get_values,
)
from src.comparison.run_groups import (
    RunFacts,
    RunGroup,
    gather_facts,
    group_by_setting,
    list_varying_keys,
)
from src.comparison.run_selection import SelectedRuns
from src.comparison.stored_predictions import NoAnswersError, load_answers
from src.core.user_errors import UserError, format_suggestion
from src.evaluation.intervals import find_share_interval
from src.evaluation.paired_comparison import (
    bootstrap_score,
    list_scores,
)
from src.evaluation.seed_groups import compute_mean_interval
from src.search.replicates import REPLICATE_KEYS
from src.tracking.metric_names import TEST_METRICS, is_share, is_small_good
from src.tracking.run_table import RunTable
from src.tracking.store import Store

# of a share of rows that are right, of which the binomial distribution speaks
_RIGHT_ROWS = ("accuracy", "subset_accuracy")
# what a setting may be told apart by without saying anything of it
_UNTOLD = ("tracking.", "callbacks.progress", *REPLICATE_KEYS)


class Score(NamedTuple):
    """A metric of a setting: the mean over its seeds, with an interval of 95 %.

    `interval` says of what: other seeds (Student's t), other test rows (bootstrap of the stored
    predictions), or other rows as far as their number alone says (binomial); empty without one.
    """

    value: float
    low: float | None = None
    high: float | None = None
    interval: Literal["seeds", "rows", "binomial", ""] = ""


class Entry(NamedTuple):
    """A line of a board; `costs` by name, means over seeds."""

    run_ids: list[str]
    name: str
    score: Score
    test: Score | None
    costs: dict[str, float]
    params: dict[str, str | None]
    is_on_front: bool


class Board(NamedTuple):
    """The settings that were measured on the same rows, the best first.

    Attributes:
        names: what their configs are called.
        digest: of the rows that `metric` was measured on.
        metric: by which they are ranked.
        test_metric: what the test measured, beside it; None without one, or if it is `metric`.
        cost: what the score is held against in the Pareto front.
        keys: parameters that differ among `entries`.
        total: settings, of which `entries` are the best.
        has_one_test: whether all were tested on the same rows.
    """

    names: list[str]
    digest: str | None
    metric: str
    test_metric: str | None
    cost: str
    keys: list[str]
    entries: list[Entry]
    total: int
    has_one_test: bool


class Leaderboard(NamedTuple):
    """All boards, that with the most settings first."""

    told: list[str]
    boards: list[Board]
    remarks: list[str]


def build_leaderboard(
    store: Store, selected: SelectedRuns, *, metric: str | None, cost: str, top: int
) -> Leaderboard:
    """Rank the selected runs that have finished.

    Args:
        metric: None: what each run's checkpoints are chosen by (`callbacks.checkpoint.monitor`).

    Raises:
        UserError: none has finished, or none has the metric.
    """
    places = [place for place, run in enumerate(selected.table.runs) if run.status == "FINISHED"]
    left_out = len(selected.table.runs) - len(places)
    if not places:
        raise UserError(f"none of the {left_out:,} runs has finished")
    table = selected.table.select(places)
    if metric is not None:
        choose_metric(table, metric)
    facts = gather_facts(store, table)
    ranked: dict[tuple[str | None, str], list[RunGroup]] = {}
    unmeasured = 0
    for group in group_by_setting(table, facts):
        name = metric or _find_ranking_metric(table, group)
        if name is None or not get_values(table, group.places, name):
            unmeasured += len(group.places)
            continue
        ranked.setdefault((find_eval_digest(facts.data, group, name), name), []).append(group)
    if not ranked:
        raise UserError(
            "no finished run has the metric by which its checkpoints are chosen",
            hint=f"--metric NAME; {format_suggestion('best/val/loss', table.metrics)}",
        )
    unmeasured += sum(
        len(group.places) - len(get_values(table, group.places, name))
        for (_, name), groups in ranked.items()
        for group in groups
    )
    boards = [
        _build_board(store, table, facts, groups, name, digest, cost, top)
        for (digest, name), groups in sorted(ranked.items(), key=lambda item: -len(item[1]))
    ]
    return Leaderboard(selected.told, boards, _remark(boards, left_out, unmeasured, metric))


def _find_ranking_metric(table: RunTable, group: RunGroup) -> str | None:
    """The best value of the metric by which the checkpoints of a group are chosen, if there was a
    test to record it; else the last one.
    """
    place = group.places[0]
    monitor = table.params.get(MONITOR_PARAM, [None] * (place + 1))[place] or "val/loss"
    for name in (f"best/{monitor}", monitor):
        column = table.metrics.get(name)
        if column is not None and column[place] is not None:
            return name
    return None


def _build_board(
    store: Store,
    table: RunTable,
    facts: RunFacts,
    groups: Sequence[RunGroup],
    metric: str,
    digest: str | None,
    cost: str,
    top: int,
) -> Board:
    sign = 1 if is_small_good(metric) else -1
    points = {}
    for group in groups:
        price = _average(table, group, COSTS[cost])
        rank = sign * _average(table, group, metric)
        points[group.label] = (rank, price if math.isfinite(price) else math.inf)
    ordered = sorted(groups, key=lambda group: points[group.label])
    front = _find_front([points[group.label] for group in ordered])
    places = [place for group in ordered for place in group.places]
    best = [place for group in ordered[:top] for place in group.places]
    params = table.select(best).params
    keys = [key for key in list_varying_keys(params) if not key.startswith(_UNTOLD)]
    test_metric = _find_test_metric(table, ordered, metric)
    entries = [
        Entry(
            [table.runs[place].id for place in group.places],
            table.runs[group.places[0]].name,
            _score(store, table, group, metric) or Score(math.nan),
            _score(store, table, group, test_metric) if test_metric else None,
            {
                name: value
                for name, source in COSTS.items()
                if math.isfinite(value := _average(table, group, source))
            },
            {key: table.params[key][group.places[0]] for key in keys},
            is_on_front,
        )
        for group, is_on_front in zip(ordered[:top], front, strict=False)
    ]
    names = dict.fromkeys(
        table.params["name"][place] if "name" in table.params else None for place in places
    )
    return Board(
        [name for name in names if name is not None],
        digest,
        metric,
        test_metric,
        cost,
        keys,
        entries,
        len(groups),
        len({find_eval_digest(facts.data, group, "test/") for group in groups}) == 1,
    )


def _average(table: RunTable, group: RunGroup, metric: str) -> float:
    """The mean over seeds; nan where none has a value."""
    values = get_values(table, group.places, metric)
    return sum(values) / len(values) if values else math.nan


def _find_test_metric(table: RunTable, groups: Sequence[RunGroup], metric: str) -> str | None:
    """The test metric like the one that ranks, else the most telling that some group has."""
    name = metric.rpartition("/")[2]
    wanted = [f"test/{name}"] if name != "loss" else []
    wanted += [f"test/{one}" for one in TEST_METRICS]
    for one in dict.fromkeys(wanted):
        if any(get_values(table, group.places, one) for group in groups):
            return None if one == metric else one
    return None


def _find_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points are not beaten: no other is at least as good in both and better in one.

    Args:
        points: (score, cost) in ascending order, small is good; infinite is an unknown cost.
    """
    front: list[bool] = []
    best = (math.nan, math.inf)
    for point in points:
        front.append(point[1] < best[1] or (point == best and math.isfinite(point[1])))
        if front[-1]:
            best = point
    return front


def _score(store: Store, table: RunTable, group: RunGroup, metric: str) -> Score | None:
    values = get_values(table, group.places, metric)
    if not values:
        return None
    if len(values) > 1:
        found = compute_mean_interval(values)
        return Score(found.mean, found.low, found.high, "seeds")
    place, name = group.places[0], metric.rpartition("/")[2]
    if metric.startswith("test/"):
        try:
            answers = load_answers(store, table, place)
        except NoAnswersError:
            answers = None
        if answers is not None and name in list_scores(answers):
            drawn = bootstrap_score(answers, name)
            # the predictions may be of another checkpoint than the recorded number
            is_same = abs(drawn.value - values[0]) <= 1e-3 * max(1.0, abs(values[0]))
            # where all rows are alike, drawing them again tells nothing
            if is_same and drawn.low < drawn.high:
                return Score(values[0], drawn.low, drawn.high, "rows")
    rows = _count_rows(table, place, metric)
    # others may have recorded it in percent
    if rows and name in _RIGHT_ROWS and is_share(metric) and 0 <= values[0] <= 1:
        interval = find_share_interval(values[0] * rows, rows)
        assert interval is not None
        return Score(values[0], *interval, "binomial")
    return Score(values[0])


def _count_rows(table: RunTable, place: int, metric: str) -> int | None:
    """The rows that a metric was measured on, as the run has noted them."""
    try:
        rows = json.loads(table.get_tag("data/summary", place) or "{}")["rows"]
        count = rows["test" if metric.startswith("test/") else "validation"]
    except (ValueError, KeyError, TypeError):
        # a run of another program may have a tag of this name
        return None
    return count if isinstance(count, int) else None


def _remark(
    boards: Sequence[Board], left_out: int, unmeasured: int, metric: str | None
) -> list[str]:
    remarks = []
    kinds = {
        score.interval
        for board in boards
        for entry in board.entries
        for score in (entry.score, entry.test)
        if score is not None
    }
    meanings = {
        "seeds": "seeds: 95 % interval of the mean over seeds (Student's t)",
        "rows": "rows: of one seed over other test rows (bootstrap of its predictions)",
        "binomial": "binomial: of one seed over other rows, from their number (Wilson)",
    }
    remarks += [text for kind, text in meanings.items() if kind in kinds]
    if metric is not None and metric.startswith("test/"):
        remarks.append(
            "ranked by a test metric: the best of many is too good by chance; choose by validation"
        )
    if len(boards) > 1:
        remarks.append(f"{len(boards)} boards: numbers of different metrics or rows do not compare")
    remarks += [
        f"board {number}: not all settings were tested on the same rows, so {board.test_metric} "
        "does not compare"
        for number, board in enumerate(boards, 1)
        if board.test_metric is not None and not board.has_one_test
    ]
    if left_out:
        remarks.append(f"left out: {left_out:,} runs that have not finished")
    if unmeasured:
        remarks.append(
            f"left out: {unmeasured:,} runs without a number for the metric that ranks them"
        )
    return remarks


def to_plain(leaderboard: Leaderboard) -> dict[str, Any]:
    """The boards as plain values, for JSON."""
    return {
        "selected": leaderboard.told,
        "boards": [
            board._asdict()
            | {
                "entries": [
                    entry._asdict()
                    | {
                        "score": entry.score._asdict(),
                        "test": entry.test and entry.test._asdict(),
                    }
                    for entry in board.entries
                ]
            }
            for board in leaderboard.boards
        ],
        "remarks": leaderboard.remarks,
    }
