"""Reference lines that a model of whole texts should beat: a constant answer, and a linear model on
TF-IDF features (scikit-learn) of the same tokens.

Shape legend: N rows, T tokens of all of them, F features, C classes.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier

from src.core.dataset_info import Task
from src.data.splitmix import GOLDEN_GAMMA, finalize_splitmix64, permute_rows
from src.data.tokenization.token_store import TokenStore

# Features are tokens and pairs of neighbouring tokens, by a hash: two of a million meet rarely.
_NUM_BUCKETS = 1 << 20
# a feature of a single training row tells nothing about others
_LEAST_ROWS = 2
# The inverse strength of the L2 penalty, as is usual for features of this kind.
_INVERSE_PENALTY = 10.0
# the same of ridge regression, where rows of features have length 1
_RIDGE_PENALTY = 1.0
# Feature values of the training rows, times classes, and weights: a fit within both takes at most
# about a minute and a gigabyte. Rows and rare features beyond them are left out.
_MOST_VALUES, _MOST_WEIGHTS = 200_000_000, 4_000_000


_CLASSES: Task = "classification"


class ReferenceLine(NamedTuple):
    """How well a simple model does.

    Attributes:
        metrics: `SPLIT/METRIC` of the held-out splits, `test` or `val`, as `_score` has them.
        rows: the number of training rows that it learnt from.
    """

    metrics: dict[str, float]
    rows: int


def score_constant(
    stores: Mapping[str, TokenStore], num_labels: int, task: Task = "classification"
) -> ReferenceLine:
    """One answer for every row: the class that is most frequent in training; the labels that at
    least half of the training rows have, or else the most frequent one; or the mean of the
    training rows.
    """
    targets = np.asarray(stores["train"].targets)
    answer: Any
    if task == "regression":
        answer = targets.mean(dtype=np.float64)
    elif task == "multi_label":
        shares = targets.mean(0)
        answer = ((shares >= min(0.5, shares.max())) & (shares > 0)).astype(int)
    else:
        answer = np.bincount(targets, minlength=num_labels).argmax()
    metrics: dict[str, float] = {}
    for name, store in _held_out(stores).items():
        predicted = np.broadcast_to(answer, np.asarray(store.targets).shape)
        metrics |= _score(task, name, store, predicted)
    return ReferenceLine(metrics, len(targets))


def score_linear_model(
    stores: Mapping[str, TokenStore],
    num_labels: int,
    special_ids: Sequence[int],
    task: Task = "classification",
) -> ReferenceLine | None:
    """A linear model on the TF-IDF of tokens and of pairs of neighbouring tokens, with logarithmic
    counts; it sees the rows as they are cut for the encoder. Classes are told by logistic
    regression, several labels by one for each of them, numbers by ridge regression.

    Args:
        num_labels: 0 where rows have numbers.
        special_ids: tokens that are no part of a text.

    Returns:
        None if all training rows have one target or no word, so that there is nothing to learn.
    """
    store = stores["train"]
    # two classes share one set of weights
    num_outputs = 1 if task == "regression" or (task, num_labels) == (_CLASSES, 2) else num_labels
    rows = _choose_rows(store, max(2, num_labels), num_outputs)
    targets = np.asarray(store.targets)[rows]
    counts = count_features(store, special_ids)[rows]
    columns = _choose_columns(counts, num_outputs)
    if len(np.unique(targets, axis=0)) < 2 or not len(columns):
        return None
    weighting = TfidfTransformer(sublinear_tf=True)
    model = _build_linear_model(task)
    with warnings.catch_warnings():
        # what has not quite converged is a line to beat all the same
        warnings.simplefilter("ignore", ConvergenceWarning)
        # as is the constant answer for a label that all rows have, or none
        warnings.filterwarnings("ignore", "Label .* is present in all training examples")
        model.fit(weighting.fit_transform(counts[:, columns]), targets)
    metrics: dict[str, float] = {}
    for name, held_out in _held_out(stores).items():
        features = weighting.transform(count_features(held_out, special_ids)[:, columns])
        metrics |= _score(task, name, held_out, model.predict(features))
    return ReferenceLine(metrics, len(rows))


def _build_linear_model(task: Task) -> Any:
    if task == "regression":
        return Ridge(alpha=_RIDGE_PENALTY)
    logistic = LogisticRegression(C=_INVERSE_PENALTY, max_iter=200)
    return OneVsRestClassifier(logistic) if task == "multi_label" else logistic


def count_features(store: TokenStore, special_ids: Sequence[int]) -> sparse.csr_matrix:
    """How often each feature occurs in each row, [N, F] float32.

    A token of a pair's second text is another feature than the same token of the first, and tokens
    are no neighbours across the border between the texts or between rows.
    """
    ids = np.asarray(store.ids).astype(np.uint64)
    lengths = np.diff(store.offsets)
    rows = np.repeat(np.arange(len(store)), lengths)  # [T]
    positions = np.arange(len(ids)) - store.offsets[:-1].repeat(lengths)
    begins = np.asarray(store.begins)
    segments = (positions >= np.where(begins > 0, begins, lengths).repeat(lengths)).astype(
        np.uint64
    )
    is_ordinary = ~np.isin(ids, np.asarray(special_ids, dtype=np.uint64))
    ids, rows, segments = ids[is_ordinary], rows[is_ordinary], segments[is_ordinary]
    words = finalize_splitmix64(ids * np.uint64(2) + segments + GOLDEN_GAMMA)
    are_neighbours = (rows[1:] == rows[:-1]) & (segments[1:] == segments[:-1])
    pairs = finalize_splitmix64(words[:-1] + words[1:] * np.uint64(3))[are_neighbours]
    columns = np.concatenate([words, pairs]) % np.uint64(_NUM_BUCKETS)
    all_rows = np.concatenate([rows, rows[1:][are_neighbours]])
    ones = np.ones(len(columns), np.float32)
    counts = sparse.csr_matrix(
        (ones, (all_rows, columns.astype(np.int64))), shape=(len(store), _NUM_BUCKETS)
    )
    counts.sum_duplicates()
    return counts


def _held_out(stores: Mapping[str, TokenStore]) -> dict[str, TokenStore]:
    """The splits that a model is judged on, by the names that metrics have."""
    names = {"validation": "val", "test": "test"}
    return {names[split]: store for split, store in stores.items() if split in names and len(store)}


def _choose_rows(store: TokenStore, least: int, num_outputs: int) -> np.ndarray:
    """All training rows in their order, or as many as the fit has time for, drawn by chance."""
    tokens_per_row = max(1.0, store.num_tokens / max(1, len(store)))
    # a row has a feature for each token and for each pair
    values_per_row = 2 * tokens_per_row * num_outputs
    most = max(least, int(_MOST_VALUES / values_per_row))
    return np.sort(permute_rows(0, 0, len(store))[:most])


def _choose_columns(counts: sparse.csr_matrix, num_outputs: int) -> np.ndarray:
    """The features of at least two training rows, the most frequent first where they are too
    many; all of them if none occurs twice.
    """
    occurrences = np.bincount(counts.indices, minlength=counts.shape[1])
    columns = np.flatnonzero(occurrences >= _LEAST_ROWS)
    if not len(columns):
        columns = np.flatnonzero(occurrences)
    most = _MOST_WEIGHTS // num_outputs
    if len(columns) > most:
        by_frequency = np.argsort(-occurrences[columns], kind="stable")
        columns = np.sort(columns[by_frequency[:most]])
    return columns


def _score(task: Task, name: str, store: TokenStore, predicted: np.ndarray) -> dict[str, float]:
    """The metrics of predictions, shaped as the targets [N] or [N, C].

    The mean of F1 runs over the classes that occur, as in the report of a run, but over all labels
    where a row may have several, as in the run's own metric. A correlation with a constant is left
    out.
    """
    targets = np.asarray(store.targets)
    if task == "regression":
        values = _score_numbers(targets.astype(np.float64), predicted)
    else:
        f1 = {
            average: float(f1_score(targets, predicted, average=average, zero_division=0.0))
            for average in (("micro", "macro") if task == "multi_label" else ("macro",))
        }
        exact = "subset_accuracy" if task == "multi_label" else "accuracy"
        values = {exact: float(accuracy_score(targets, predicted))}
        values |= {f"f1_{average}": value for average, value in f1.items()}
    return {f"{name}/{metric}": value for metric, value in values.items()}


def _score_numbers(targets: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    errors = predicted - targets
    values = {
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "mae": float(np.abs(errors).mean()),
    }
    if len(np.unique(targets)) > 1 and len(np.unique(predicted)) > 1:
        values["pearson"] = float(np.corrcoef(targets, predicted)[0, 1])
        values["spearman"] = float(spearmanr(targets, predicted).statistic)
    return values
