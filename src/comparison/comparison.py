"""Runs side by side: what differs, what they measured, which is better."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from src.comparison.differences import Differences, find_differences
from src.comparison.metric_values import (
    choose_metric,
    get_values,
    list_cost_metrics,
    list_result_metrics,
)
from src.comparison.run_groups import RunGroup, gather_facts, group_by_setting
from src.comparison.run_selection import SelectedRuns
from src.comparison.verdicts import MAX_COMPARED, Verdict, judge_groups
from src.evaluation.seed_groups import MeanInterval, compute_mean_interval
from src.search.replicates import REPLICATE_KEYS
from src.tracking.metric_names import is_small_good
from src.tracking.run_table import RunTable
from src.tracking.store import Store

# groups whose metrics are laid out; of more, the best
MAX_SHOWN = 20


class Comparison(NamedTuple):
    """All that is shown of a comparison.

    Attributes:
        metric: the one that decides.
        groups: of many, the best ones by `metric` come first.
        metrics: by name, of the first `MAX_SHOWN` groups, None where a group has no value.
        scores: of all groups, the mean of `metric`.
        remarks: sentences about what limits the comparison.
    """

    told: list[str]
    table: RunTable
    groups: list[RunGroup]
    metric: str
    differences: Differences
    metrics: dict[str, list[MeanInterval | None]]
    scores: list[float | None]
    verdicts: list[Verdict]
    remarks: list[str]

    @property
    def has_seeds(self) -> bool:
        return any(len(group.places) > 1 for group in self.groups)


def compare_runs(store: Store, selected: SelectedRuns, metric: str | None) -> Comparison:
    """Compare the selected runs.

    Raises:
        UserError: there is nothing to compare them by.
    """
    table = selected.table
    facts = gather_facts(store, table)
    groups = group_by_setting(table, facts)
    metric = choose_metric(table, metric)
    if len(groups) > MAX_COMPARED:
        groups = _sort_groups(table, groups, metric)
    verdicts = judge_groups(store, table, facts, groups, metric)
    shown = groups[:MAX_SHOWN]
    names = dict.fromkeys([metric, *list_result_metrics(table), *list_cost_metrics(table)])
    metrics = {name: [_measure(table, group, name) for group in shown] for name in names}
    scores = [_average(table, group, metric) for group in groups]
    return Comparison(
        selected.told,
        table,
        groups,
        metric,
        find_differences(groups, facts),
        {name: values for name, values in metrics.items() if any(values) or name == metric},
        scores,
        verdicts,
        [*facts.remarks, *_remark(table, groups, verdicts, metric)],
    )


def _sort_groups(table: RunTable, groups: Sequence[RunGroup], metric: str) -> list[RunGroup]:
    sign = 1 if is_small_good(metric) else -1

    def rank(group: RunGroup) -> float:
        mean = _average(table, group, metric)
        return math.inf if mean is None else sign * mean

    from src.comparison.run_groups import label_group

    ordered = sorted(groups, key=rank)
    return [group._replace(label=label_group(place)) for place, group in enumerate(ordered)]


def _average(table: RunTable, group: RunGroup, metric: str) -> float | None:
    values = get_values(table, group.places, metric)
    return sum(values) / len(values) if values else None


def _measure(table: RunTable, group: RunGroup, metric: str) -> MeanInterval | None:
    values = get_values(table, group.places, metric)
    return compute_mean_interval(values) if values else None


def _remark(
    table: RunTable, groups: Sequence[RunGroup], verdicts: Sequence[Verdict], metric: str
) -> list[str]:
    """What a reader must know to read the numbers."""
    remarks = []
    unfinished = [run for run in table.runs if run.status != "FINISHED"]
    if unfinished:
        count = len(unfinished)
        names = ", ".join(f"{run.id[:8]} {run.status}" for run in unfinished[:5])
        more = "" if count <= 5 else f", and {count - 5:,} more"
        remarks.append(f"not finished: {names}{more}")
    repeats = [place for group in groups for place in group.repeats]
    if repeats:
        ids = ", ".join(table.runs[place].id[:8] for place in repeats[:5])
        more = "" if len(repeats) <= 5 else f", and {len(repeats) - 5:,} more"
        remarks.append(
            f"left out of the means: {ids}{more}, each with the config and seed of another run"
        )
    evidence = [verdict.evidence for verdict in verdicts if verdict.evidence is not None]
    if len(evidence) > 1:
        remarks.append(
            f"{len(evidence)} groups are compared with {groups[0].label}: the p values of the "
            "verdicts are corrected (Holm), the intervals are not"
        )
    if any(one.method == "Welch" and one.more_seeds for one in evidence):
        remarks.append(
            "the number of seeds is for 80 % power, if the difference and the scatter over seeds "
            "are really as seen here"
        )
    by_rows = [one.metric for one in evidence if one.method == "paired bootstrap"]
    if by_rows and metric not in by_rows:
        remarks.append(
            f"{metric} is not computed from the predictions that runs keep, so {by_rows[0]} "
            f"decides; a difference of {metric} between one seed and another is no verdict"
        )
    if by_rows:
        remarks.append(
            "test rows speak of other rows like these, and not of other seeds: for that, repeat "
            "each setting (search=seeds)"
        )
    if len(groups) > MAX_COMPARED:
        remarks.append(
            f"{len(groups):,} settings are too many to be tested against one another (at most "
            f"{MAX_COMPARED}); name two of them, or see python -m src.leaderboard"
        )
    return remarks


def describe_seeds(comparison: Comparison, group: RunGroup) -> str:
    """`seed 1, 2, 3`: by what the runs of a group differ."""
    for key in REPLICATE_KEYS:
        column = comparison.table.params.get(key, [])
        values = [column[place] for place in group.places] if column else []
        if len(set(values)) == len(values) > 1:
            return f"{key} {', '.join(str(value) for value in values)}"
    return ""


def to_plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values, for JSON."""
    runs, groups = comparison.table.runs, comparison.groups
    labels = [group.label for group in groups]

    def to_columns(differences: Sequence[Any]) -> dict[str, dict[str, list[str | None]]]:
        return {
            one.key: dict(zip(labels, map(list, one.values), strict=True)) for one in differences
        }

    differences = comparison.differences
    return {
        "selected": comparison.told,
        "metric": comparison.metric,
        "groups": {
            group.label: {
                "runs": [runs[place].id for place in group.places],
                "repeats": [runs[place].id for place in group.repeats],
                "name": runs[group.places[0]].name,
                "statuses": [runs[place].status for place in group.places],
                comparison.metric: score,
            }
            for group, score in zip(groups, comparison.scores, strict=True)
        },
        "differences": {
            section: to_columns(getattr(differences, section))
            for section in ("configuration", "code", "environment", "data")
        },
        "within_groups": differences.within,
        "metrics": {
            name: {
                label: None if value is None else value._asdict()
                for label, value in zip(labels, values, strict=False)
            }
            for name, values in comparison.metrics.items()
        },
        "verdicts": [_verdict_to_plain(verdict) for verdict in comparison.verdicts],
        "remarks": comparison.remarks,
    }


def _verdict_to_plain(verdict: Verdict) -> dict[str, Any]:
    plain = verdict._asdict()
    evidence = verdict.evidence
    if evidence is not None:
        plain["evidence"] = evidence._asdict() | {
            "mcnemar": evidence.mcnemar and evidence.mcnemar._asdict(),
            "others": {name: value._asdict() for name, value in evidence.others},
        }
    return plain
