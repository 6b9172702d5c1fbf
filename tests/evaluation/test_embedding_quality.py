"""What vectors are worth, against truths worked out by hand."""

import math

import numpy as np
import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.evaluation.embedding_probe import EmbeddingProbe
from src.evaluation.embedding_quality import (
    compute_knn_accuracy,
    compute_linear_accuracy,
    compute_rankme,
)


def at_degrees(*degrees: float, length: float = 1.0) -> np.ndarray:
    """Vectors [N, 2] in these directions."""
    angles = np.radians(degrees)
    return (length * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


def test_nearest_neighbours_are_those_of_the_smallest_angle() -> None:
    """At 10 degrees the three nearest have labels 0, 0, 1, at 80 degrees 1, 1, 0."""
    known, labels = at_degrees(0, 20, 40, 70, 100), np.array([0, 0, 1, 1, 1])
    judged = at_degrees(10, 80, length=50.0)
    assert compute_knn_accuracy(known, labels, judged, np.array([0, 1]), neighbors=3) == 1.0
    assert compute_knn_accuracy(known, labels, judged, np.array([1, 1]), neighbors=3) == 0.5
    # a shorter vector in the right direction is nearer than a long one beside it
    lengths = np.array([[0.01], [1], [1], [1], [1]], np.float32)
    assert compute_knn_accuracy(known * lengths, labels, judged, np.array([0, 1]), neighbors=1)


def test_of_as_many_neighbours_the_more_similar_ones_decide() -> None:
    """Two of each label, as near as 1 and 4, or 2 and 3 degrees."""
    known, labels = at_degrees(5, 16, 13, 12), np.array([0, 0, 1, 1])
    # 10 degrees: 5 and 6 away are of label 0, 3 and 2 of label 1
    judged = at_degrees(10)
    assert compute_knn_accuracy(known, labels, judged, np.array([1]), neighbors=4) == 1.0
    assert compute_knn_accuracy(known, 1 - labels, judged, np.array([0]), neighbors=4) == 1.0
    # more neighbours are asked than there are
    assert compute_knn_accuracy(known, labels, judged, np.array([1]), neighbors=10) == 1.0


def test_a_linear_model_tells_what_a_line_parts() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(300, 4)).astype(np.float32)
    labels = (vectors[:, 0] * 100 + 5 > 0).astype(int)
    vectors[:, 0] *= 1e-3
    parts = vectors[:200], labels[:200], vectors[200:], labels[200:]
    assert compute_linear_accuracy(*parts) > 0.95
    turned = vectors[:200], labels[:200], vectors[200:], 1 - labels[200:]
    assert compute_linear_accuracy(*turned) == pytest.approx(1 - compute_linear_accuracy(*parts))


def test_rankme_is_the_exponential_of_the_entropy_of_singular_values() -> None:
    assert compute_rankme(np.eye(5, dtype=np.float32)) == pytest.approx(5, abs=1e-4)
    assert compute_rankme(np.ones((6, 3), np.float32)) == pytest.approx(1, abs=1e-4)
    # 3 and 1: shares of 0.75 and 0.25
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    vectors = np.array([[3.0, 0], [0, 1], [0, 0]], np.float32)
    assert compute_rankme(vectors) == pytest.approx(math.exp(entropy), abs=1e-4)
    # as the paper has it: epsilon is added to every share
    shares = np.array([0.75, 0.25]) + 1e-7
    exact = math.exp(-(shares * np.log(shares)).sum())
    assert compute_rankme(vectors) == pytest.approx(exact, rel=1e-12)


def test_a_probe_names_its_own_keys(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"^callbacks\.probe\.source\.label=null: the probe is"):
        EmbeddingProbe(source=Source(path=str(tmp_path))).check_source()
    with pytest.raises(UserError, match=r"^callbacks\.probe\.source\.path=") as found:
        EmbeddingProbe(source=Source(path=f"{tmp_path}/no", label="label")).check_source()
    assert "data.source" not in str(found.value)
