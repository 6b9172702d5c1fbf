"""Two models on the same test rows: the difference of a score with a paired bootstrap interval,
and McNemar's exact test.

Both models are scored on the same drawn rows (Efron and Tibshirani, 1993, chapter 8; Koehn, 2004),
so what is hard about a row counts for both and falls out of the difference. Such an interval
speaks of other test rows, and not of other seeds.

Shape legend: N rows, F sums that a score is made of, R resamples.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
# drawn at a time, so that memory does not grow with the rows
_MAX_DRAWS = 4_000_000
# rows that are alike are drawn together where there are few kinds of them
_MAX_KINDS = 256

Floats = NDArray[np.float64]


class Answers(NamedTuple):
    """What a model answered on the test rows, as its run keeps it.

    `labels` and `predicted` are names of classes (or of a row's labels, joined by commas), or
    values; `label_names` is empty for values.
    """

    rows: Sequence[int]
    labels: Sequence[str] | Sequence[float]
    predicted: Sequence[str] | Sequence[float]
    label_names: tuple[str, ...]
    task: str


class ScoreInterval(NamedTuple):
    """A score, or a difference of scores, with its 95 % bootstrap interval (percentiles).

    `p_value` is two-sided and of a difference alone: twice the smaller share of resamples on one
    side of 0, the data themselves counted as one resample so that it is never 0.
    """

    value: float
    low: float
    high: float
    rows: int
    p_value: float | None = None


class McNemar(NamedTuple):
    """The rows on which exactly one of two models is right, and the exact two-sided p value."""

    only_first: int
    only_second: int
    p_value: float


class _Score(NamedTuple):
    """A score as a function of sums over rows."""

    sums: Floats  # [N, F]
    compute: Callable[[Floats], Floats]  # [..., F] sums to [...]


def list_scores(answers: Answers) -> list[str]:
    """The scores that can be computed from answers, the first ones those of their task."""
    if answers.task == "regression":
        return ["mae", "pearson", "rmse"]
    if answers.task == "token_classification":
        return ["f1"] if _has_entities(answers) else ["accuracy"]
    if answers.task != "multi_label":
        return ["accuracy", "f1_macro"]
    is_ambiguous = any(", " in name for name in answers.label_names)
    return ["subset_accuracy"] if is_ambiguous else ["subset_accuracy", "f1_macro"]


def _has_entities(answers: Answers) -> bool:
    """Whether texts are answered with entities (`PER[0:2] LOC[5:6]`), and not with a tag for each
    word.
    """
    return any("[" in str(cell) for cell in (*answers.labels, *answers.predicted))


def mark_right(answers: Answers) -> NDArray[np.bool_]:
    """Which rows are right as a whole [N]."""
    return np.array(
        [label == guess for label, guess in zip(answers.labels, answers.predicted, strict=True)]
    )


def compute_score(answers: Answers, score: str) -> float:
    """A score of one model; see `list_scores`."""
    made = _build_score(answers, score)
    return float(made.compute(made.sums.sum(0)))


def bootstrap_score(answers: Answers, score: str, *, seed: int = 0) -> ScoreInterval:
    """A score of one model with its interval.

    Raises ValueError for a score that is not among `list_scores`.
    """
    made = _build_score(answers, score)
    drawn = made.compute(_resample_sums(made.sums, seed))
    value = float(made.compute(made.sums.sum(0)))
    low, high = _percentiles(drawn)
    return ScoreInterval(value, low, high, len(answers.rows))


def bootstrap_difference(
    first: Answers, second: Answers, score: str, *, seed: int = 0
) -> ScoreInterval:
    """The second model's score minus the first's, on the same rows in the same order.

    The p value is never below that of exchanging the answers of the two models row by row, which
    leaves as few ways as rows on which they differ: a single row shows nothing.
    """
    before, after = _build_score(first, score), _build_score(second, score)
    width = before.sums.shape[1]
    sums = _resample_sums(np.concatenate([before.sums, after.sums], axis=1), seed)
    drawn = after.compute(sums[:, width:]) - before.compute(sums[:, :width])
    value = float(after.compute(after.sums.sum(0)) - before.compute(before.sums.sum(0)))
    drawn = drawn[np.isfinite(drawn)]
    low, high = _percentiles(drawn)
    share = (min(np.sum(drawn <= 0), np.sum(drawn >= 0)) + 1) / (len(drawn) + 1)
    others = sum(a != b for a, b in zip(first.predicted, second.predicted, strict=True))
    p_value = min(1.0, max(2 * float(share), 2.0 ** (1 - others)))
    return ScoreInterval(value, low, high, len(first.rows), p_value)


def compute_mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test (1947) of whether two models are right equally often on some rows."""
    only_first = int((first_right & ~second_right).sum())
    only_second = int((~first_right & second_right).sum())
    different = only_first + only_second
    if different == 0:
        return McNemar(0, 0, 1.0)
    from scipy.stats import binomtest

    return McNemar(only_first, only_second, float(binomtest(only_first, different, 0.5).pvalue))


def _build_score(answers: Answers, score: str) -> _Score:
    if score not in list_scores(answers):
        raise ValueError(f"{score} cannot be computed from the answers of {answers.task}")
    if answers.task == "regression":
        return _build_value_score(answers, score)
    if answers.task == "token_classification":
        return _build_tag_score(answers, score)
    if score in ("accuracy", "subset_accuracy"):
        return _Score(_count_rows(mark_right(answers).astype(float)), _divide_by_rows)
    return _build_macro_f1(answers)


def _build_value_score(answers: Answers, score: str) -> _Score:
    truth = np.asarray(answers.labels, dtype=float)
    guess = np.asarray(answers.predicted, dtype=float)
    if score == "mae":
        return _Score(_count_rows(np.abs(guess - truth)), _divide_by_rows)
    if score == "rmse":
        squares = _count_rows(np.square(guess - truth))
        return _Score(squares, lambda sums: np.sqrt(_divide_by_rows(sums)))
    # around the means, so that nothing is lost where values are large
    truth, guess = truth - truth.mean(), guess - guess.mean()
    ones = np.ones_like(truth)
    columns = [ones, truth, guess, truth * truth, guess * guess, truth * guess]
    return _Score(np.stack(columns, axis=1), _compute_pearson)


def _compute_pearson(sums: Floats) -> Floats:
    rows, truth, guess, truth_squares, guess_squares, products = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (rows * truth_squares - truth**2) * (rows * guess_squares - guess**2)
        result: Floats = (rows * products - truth * guess) / np.sqrt(spread)
    return result


def _build_tag_score(answers: Answers, score: str) -> _Score:
    """F1 of entities over all texts, or the share of words with the right tag."""
    cells = zip(answers.labels, answers.predicted, strict=True)
    pairs = [(str(label).split(), str(guess).split()) for label, guess in cells]
    if score == "f1":
        counts = [(len(set(label) & set(guess)), len(label) + len(guess)) for label, guess in pairs]
        return _Score(np.array(counts, dtype=float), _compute_f1)
    words = [(len(label), sum(map(str.__eq__, label, guess))) for label, guess in pairs]
    return _Score(np.array(words, dtype=float), _divide_by_rows)


def _compute_f1(sums: Floats) -> Floats:
    right, both = sums[..., 0], sums[..., 1]
    result: Floats = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    return result


def _build_macro_f1(answers: Answers) -> _Score:
    """The mean over the classes that occur among the labels or the predictions."""
    places = {name: place for place, name in enumerate(answers.label_names)}
    truth = np.zeros((len(answers.rows), len(places)))
    guess = np.zeros_like(truth)
    for table, cells in ((truth, answers.labels), (guess, answers.predicted)):
        for row, cell in enumerate(cells):
            names = str(cell).split(", ") if answers.task == "multi_label" else [str(cell)]
            table[row, [places[name] for name in names if name]] = 1
    width = len(places)

    def compute(sums: Floats) -> Floats:
        right, halves = sums[..., :width], sums[..., width:] / 2
        scores = np.divide(right, halves, out=np.zeros_like(right), where=halves > 0)
        result: Floats = scores.sum(-1) / np.maximum((halves > 0).sum(-1), 1)
        return result

    return _Score(np.concatenate([truth * guess, truth + guess], axis=1), compute)


def _count_rows(values: Floats) -> Floats:
    return np.stack([np.ones_like(values), values], axis=1)


def _divide_by_rows(sums: Floats) -> Floats:
    result: Floats = sums[..., 1] / sums[..., 0]
    return result


def _resample_sums(sums: Floats, seed: int) -> Floats:
    """The sums [R, F] over rows that are drawn with replacement, as many as there are."""
    random = np.random.default_rng(seed)
    count = len(sums)
    kinds, sizes = np.unique(sums, axis=0, return_counts=True)
    if len(kinds) <= _MAX_KINDS:
        drawn: Floats = random.multinomial(count, sizes / count, size=RESAMPLES) @ kinds
        return drawn
    step = max(1, _MAX_DRAWS // count)
    parts = []
    for begin in range(0, RESAMPLES, step):
        some = min(step, RESAMPLES - begin)
        rows = random.integers(0, count, size=(some, count), dtype=np.int32)
        rows += np.arange(some, dtype=np.int32)[:, None] * count
        often = np.bincount(rows.ravel(), minlength=some * count).reshape(some, count)
        parts.append(often.astype(float) @ sums)
    return np.concatenate(parts)


def _percentiles(drawn: Floats) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def find_unpaired_rows(first: Sequence[int], second: Sequence[int]) -> str | None:
    """Why the rows of two models are not the same, in words; None where they are."""
    if list(first) == list(second):
        return None
    only_first, only_second = set(first) - set(second), set(second) - set(first)
    if not only_first and not only_second:
        return "the same rows are in another order"
    return (
        f"{len(only_first):,} of {len(first):,} rows of the first are not among the second's, "
        f"{len(only_second):,} of {len(second):,} the other way round"
    )
