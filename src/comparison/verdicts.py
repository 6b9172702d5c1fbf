"""Whether one group of runs is better than another, in words and numbers.

Two groups of seeds are compared by Welch's t test on the metric. Two single runs are compared on
their test rows, by a paired bootstrap interval and McNemar's exact test: that speaks of other rows,
and not of other seeds. Where more than two groups are compared, each stands against the first one,
and the p values are Holm's.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from src.comparison.metric_values import find_eval_digest, get_values
from src.comparison.run_groups import RunFacts, RunGroup
from src.comparison.stored_predictions import NoAnswersError, load_answers
from src.core.formatting import format_quantity
from src.evaluation.paired_comparison import (
    Answers,
    McNemar,
    ScoreInterval,
    bootstrap_difference,
    compute_mcnemar,
    compute_score,
    find_unpaired_rows,
    list_scores,
    mark_right,
)
from src.evaluation.seed_groups import NoSpreadError, compare_groups, correct_holm
from src.tracking.metric_names import format_change, is_share, is_small_good
from src.tracking.run_table import RunTable
from src.tracking.store import Store

# more settings than these are too many to be tested one by one: that is what a leaderboard is for
MAX_COMPARED = 12
LEVEL = 0.05
# scores of which McNemar's test speaks: the share of rows that are right
_SHARES_OF_ROWS = ("test/accuracy", "test/subset_accuracy")


class Evidence(NamedTuple):
    """What was found between two groups: second minus first.

    Attributes:
        sample: what it is over, in words: seeds, or test rows.
        more_seeds: see `GroupDifference`; None for more than 1,000 and for single runs.
        others: further metrics of the task, with their differences.
    """

    method: Literal["Welch", "paired bootstrap"]
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    sample: str
    more_seeds: int | None = None
    mcnemar: McNemar | None = None
    others: tuple[tuple[str, ScoreInterval], ...] = ()


class Verdict(NamedTuple):
    """What can be said of two groups; `evidence` is None where nothing can, and `words` say why."""

    first: str
    second: str
    outcome: Literal["better", "worse", "equal", "not settled", "not compared"]
    words: str
    evidence: Evidence | None = None
    corrected_p: float | None = None


class _NotComparableError(Exception):
    """Why a group cannot be compared with the first, as the end of a sentence about it."""


def judge_groups(
    store: Store, table: RunTable, facts: RunFacts, groups: Sequence[RunGroup], metric: str
) -> list[Verdict]:
    """A verdict for each group but the first, which they are compared with."""
    if not 2 <= len(groups) <= MAX_COMPARED:
        return []
    count = len(groups) - 1
    found: list[Evidence | str] = []
    for group in groups[1:]:
        try:
            found.append(_compare(store, table, facts, groups[0], group, metric, count))
        except _NotComparableError as error:
            found.append(str(error))
    corrected = iter(correct_holm([one.p_value for one in found if isinstance(one, Evidence)]))
    verdicts = []
    for group, evidence in zip(groups[1:], found, strict=True):
        labels = groups[0].label, group.label
        if isinstance(evidence, str):
            words = f"{group.label}: {evidence}"
            verdicts.append(Verdict(*labels, "not compared", words))
        else:
            places = (*groups[0].places, *group.places)
            values = get_values(table, places, evidence.metric)
            verdicts.append(_judge(*labels, evidence, next(corrected), count, values))
    return verdicts


def _compare(
    store: Store,
    table: RunTable,
    facts: RunFacts,
    first: RunGroup,
    second: RunGroup,
    metric: str,
    count: int,
) -> Evidence:
    sizes = [len(group.places) for group in (first, second)]
    if max(sizes) == 1 and not metric.startswith("test/"):
        # their test rows are what they are compared on
        metric = "test/"
    digests = [find_eval_digest(facts.data, group, metric) for group in (first, second)]
    if None not in digests and digests[0] != digests[1] and not _has_other_splits(facts, metric):
        what = "test" if metric.startswith("test/") else "validation"
        raise _NotComparableError(
            f"not measured on the same {what} rows as {first.label} (their digests differ), so the "
            "numbers do not compare"
        )
    if max(sizes) == 1:
        if None in digests:
            raise _NotComparableError(
                f"it is not known by a digest whether the test rows are those of {first.label}"
            )
        return _compare_runs(store, table, first, second, metric)
    values = [get_values(table, group.places, metric) for group in (first, second)]
    for subject, some in zip((first.label, "it"), values, strict=True):
        if len(some) < 2:
            raise _NotComparableError(
                f"{subject} has {format_quantity(len(some), 'seed')} with {metric}: a group of "
                "seeds compares with another of at least two (seed=1,2,3 behind src.run -m)"
            )
    try:
        found = compare_groups(*values, level=LEVEL / count)
    except NoSpreadError as error:
        raise _NotComparableError(
            f"every seed has the same {metric}, {values[1][0]:.4g}, and all of {first.label} have "
            f"{values[0][0]:.4g}, so there is no spread to judge the difference by; one run of "
            "each side, typed alone, is compared on its test rows"
        ) from error
    return Evidence(
        "Welch",
        metric,
        *found[:4],
        f"{len(values[0])} and {len(values[1])} seeds",
        found.more_seeds,
    )


def _has_other_splits(facts: RunFacts, metric: str) -> bool:
    """Whether validation rows are drawn anew by a seed, so that they differ inside a group too."""
    keys = ("data.split.seed", "data.split.fold")
    return not metric.startswith("test/") and any(
        len(set(facts.params.get(key, ()))) > 1 for key in keys
    )


def _compare_runs(
    store: Store, table: RunTable, first: RunGroup, second: RunGroup, metric: str
) -> Evidence:
    before = _load(store, table, first, first.label)
    after = _load(store, table, second, "it")
    _check_pair(first.label, before, after)
    scores = [f"test/{score}" for score in list_scores(before)]
    if metric not in scores:
        metric = scores[0]
    found = {
        name: bootstrap_difference(before, after, name.removeprefix("test/"))
        for name in dict.fromkeys([metric, *scores])
    }
    for group, some in ((first, before), (second, after)):
        _check_recorded(table, group, some, metric)
    mcnemar = None
    if before.task != "regression":
        mcnemar = compute_mcnemar(mark_right(before), mark_right(after))
    decisive = found.pop(metric)
    p_value = decisive.p_value
    if mcnemar is not None and metric in _SHARES_OF_ROWS:
        p_value = mcnemar.p_value
    assert p_value is not None
    return Evidence(
        "paired bootstrap",
        metric,
        *decisive[:3],
        p_value,
        f"{decisive.rows:,} test rows",
        mcnemar=mcnemar,
        others=tuple(found.items()),
    )


def _load(store: Store, table: RunTable, group: RunGroup, subject: str) -> Answers:
    try:
        return load_answers(store, table, group.places[0])
    except NoAnswersError as error:
        raise _NotComparableError(
            f"{subject} {error}, so there are no test rows to compare on"
        ) from error


def _check_pair(label: str, first: Answers, second: Answers) -> None:
    if first.task != second.task:
        raise _NotComparableError(f"the task is {second.task}, that of {label} is {first.task}")
    if reason := find_unpaired_rows(first.rows, second.rows):
        raise _NotComparableError(f"not tested on the same rows as {label}: {reason}")
    if list(first.labels) != list(second.labels):
        raise _NotComparableError(f"the same test rows have other labels than in {label}")


def _check_recorded(table: RunTable, group: RunGroup, answers: Answers, metric: str) -> None:
    """Raise where the stored answers are not those of the recorded metric."""
    recorded = get_values(table, group.places, metric)
    computed = compute_score(answers, metric.removeprefix("test/"))
    if recorded and abs(recorded[0] - computed) > 1e-3 * max(1.0, abs(computed)):
        raise _NotComparableError(
            f"the predictions that {group.label} keeps are not those of its {metric}: they give "
            f"{computed:.4g}, recorded is {recorded[0]:.4g}"
        )


def _judge(
    first: str,
    second: str,
    evidence: Evidence,
    corrected_p: float,
    count: int,
    values: Sequence[float],
) -> Verdict:
    metric, difference = evidence.metric, evidence.difference
    unit = " points" if is_share(metric, *values) else ""
    low, high = (format_change(value, metric, sign=False, among=values) for value in evidence[3:5])
    test = "McNemar" if evidence.mcnemar and metric in _SHARES_OF_ROWS else evidence.method
    corrected = "" if count == 1 else f", {_format_p(corrected_p)} by Holm"
    change = format_change(difference, metric, among=values)
    numbers = (
        f"{metric} {change}{unit}, 95 % interval {low} to {high} "
        f"({test}, {_format_p(evidence.p_value)}{corrected}; {evidence.sample})"
    )
    if corrected_p < LEVEL:
        is_better = (difference < 0) == is_small_good(metric)
        word: Literal["better", "worse"] = "better" if is_better else "worse"
        words = f"{second} is {word} than {first}: {numbers}"
        return Verdict(first, second, word, words, evidence, corrected_p)
    if difference == evidence.low == evidence.high == 0:
        words = f"{first} and {second} do not differ in {metric} ({evidence.sample})"
        return Verdict(first, second, "equal", words, evidence, corrected_p)
    words = f"not settled between {first} and {second}: {numbers}"
    if evidence.method == "Welch":
        words += f"; {_describe_more_seeds(evidence.more_seeds)}"
    return Verdict(first, second, "not settled", words, evidence, corrected_p)


def _describe_more_seeds(more: int | None) -> str:
    if more is None:
        return "more than 1,000 more seeds a side would be needed to tell them apart"
    if more == 0:
        return "one more seed a side may settle it"
    return f"about {format_quantity(more, 'more seed')} a side would settle it"


def _format_p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
