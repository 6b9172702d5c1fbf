"""What rows that stand in train do to the score, on scores computed by hand."""

import numpy as np

from src.evaluation.near_train import RowScores, describe_near_train, order_by_flattery

RIGHT = np.array([True, False, True, True, False, False])


def test_rows_that_flatter_the_accuracy_most_come_first():
    places, similarity = np.array([1, 2, 3]), np.array([1.0, 0.8, 0.9])
    order, without = order_by_flattery(RowScores("accuracy", RIGHT), places, similarity)
    # right ones first, of these the more similar one; one of the other three is right
    assert places[order].tolist() == [3, 2, 1]
    assert without == 1 / 3
    said = describe_near_train(
        RowScores("accuracy", RIGHT), 3, without, threshold=0.8, same_words=False
    )
    assert said == (
        "3 of 6 rows of the test are similar (at least 0.8) to a row of train: accuracy 0.5 with "
        "them, 0.3333 without them"
    )


def test_of_errors_the_smallest_come_first():
    errors = RowScores("mae", np.array([0.5, 2.0, 0.1]), is_error=True)
    order, without = order_by_flattery(errors, np.array([0, 1, 2]), np.ones(3))
    assert order.tolist() == [2, 0, 1]
    assert without is None
    said = describe_near_train(errors, 3, None, threshold=0.8, same_words=True)
    assert said == (
        "3 of 3 rows of the test have the words of a row of train: mae 0.8667 with them, there are "
        "no others"
    )


def test_no_row():
    scores = RowScores("accuracy", RIGHT)
    order, without = order_by_flattery(scores, np.zeros(0, int), np.zeros(0))
    assert order.tolist() == [] and without == 0.5
    said = describe_near_train(scores, 0, without, threshold=0.8, same_words=False)
    assert said == "0 of 6 rows of the test are similar (at least 0.8) to a row of train"
