"""What vectors of texts are worth: how well their neighbours and a linear model tell labels, and
how many dimensions they fill.

Shape legend: N texts, D width.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Garrido et al. (2023), equation 1, for vectors in fp32
_RANKME_EPSILON = 1e-7
# that a vote has besides, times its similarity: it decides between equal numbers of votes alone
_TIE_SHARE = 1e-3


def compute_knn_accuracy(
    known: np.ndarray,
    known_labels: np.ndarray,
    judged: np.ndarray,
    judged_labels: np.ndarray,
    *,
    neighbors: int,
) -> float:
    """The share of judged vectors [N, D] whose label most of their nearest known ones have, by the
    cosine. Between labels of as many neighbours the more similar ones decide.
    """
    model = KNeighborsClassifier(
        min(neighbors, len(known)),
        metric="cosine",
        weights=lambda distances: 1 + _TIE_SHARE * (1 - distances),
    )
    return float(model.fit(known, known_labels).score(judged, judged_labels))


def compute_linear_accuracy(
    known: np.ndarray, known_labels: np.ndarray, judged: np.ndarray, judged_labels: np.ndarray
) -> float:
    """The share of judged vectors [N, D] whose label a logistic regression on the known ones tells,
    after every dimension was brought to mean 0 and variance 1.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        # what has not quite converged is a probe all the same
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(known, known_labels)
    return float(model.score(judged, judged_labels))


def compute_rankme(vectors: np.ndarray) -> float:
    """How many dimensions vectors [N, D] fill, from 1 to the lesser of N and D: the exponential of
    the entropy of their normalised singular values (Garrido et al., 2023).
    """
    values = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
    shares = values / values.sum() + _RANKME_EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))
