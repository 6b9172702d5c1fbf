"""The model of docs/scale.md: its tables are current, and its formulas say what they should at the
ends.
"""

import math

import pytest

from benchmarks.scale import PAGE, fill_in
from benchmarks.scale_model import GPU_COUNTS, HOUR, SHAPES, Constants

BASE, LARGEST = SHAPES[0], SHAPES[-1]


@pytest.fixture(scope="module")
def constants() -> Constants:
    return Constants()


def test_the_page_is_current(constants: Constants) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert fill_in(page, constants) == page, "type: python -m benchmarks.scale"


def test_a_page_without_a_table_is_refused(constants: Constants) -> None:
    with pytest.raises(ValueError, match="docs/scale.md has no place for assumed, time"):
        fill_in("<!-- measured -->\n<!-- end -->\n", constants)


def test_operations_of_a_token(constants: Constants) -> None:
    # 6 for each weight; the published hours give the share of the peak back
    assert BASE.token_flops == 6 * (
        12 * 12 * 768**2 + 2 * 12 * 768 * 1024 + 0.3 * (50_368 * 768 + 768**2)
    )
    hours = 1.719e12 / (constants["peak_flops"] * BASE.utilisation / (6 * 137.5e6)) / HOUR / 8
    assert hours == pytest.approx(194.2)


def test_one_gpu_exchanges_nothing_and_many_exchange_twice_the_gradients(
    constants: Constants,
) -> None:
    assert constants.exchange_seconds(BASE, 1, fast=True) == 0
    assert constants.efficiency(BASE, 1, fast=False) == 1
    inside = constants.exchange_seconds(BASE, 8, fast=False)
    assert inside == pytest.approx(2 * 7 / 8 * 4 * BASE.parameters / (450e9 * 0.8))
    assert constants.exchange_seconds(BASE, 8, fast=True) == inside
    shares = [constants.efficiency(LARGEST, gpus, fast=False) for gpus in GPU_COUNTS]
    assert shares == sorted(shares, reverse=True)


def test_memory_is_divided_but_for_activations(constants: Constants) -> None:
    whole = constants.gpu_bytes(LARGEST, 1, 0, sharded=False)
    assert whole == 16 * LARGEST.parameters
    assert constants.checkpoint_bytes == pytest.approx(12, rel=0.01)
    many = constants.gpu_bytes(LARGEST, 1000, 0, sharded=True)
    assert many == pytest.approx(
        16 * LARGEST.parameters / 1000 + 8 * (50_368 * 4096 + 12 * 4096**2)
    )


def test_no_other_interval_loses_less(constants: Constants) -> None:
    best = constants.checkpoint_interval(BASE, 64, spot=False)
    cost, between = constants.write_seconds(BASE), constants.failure_seconds(64, spot=False)

    def lost(interval: float) -> float:
        return cost / interval + (interval / 2 + constants.restart_seconds) / between

    assert constants.lost_share(BASE, 64, spot=False) == pytest.approx(lost(best))
    assert lost(best) < min(lost(0.9 * best), lost(1.1 * best))


def test_failures_of_a_run_do_not_depend_on_how_many_share_it(constants: Constants) -> None:
    for gpus in GPU_COUNTS:
        seconds = constants.train_seconds(BASE, gpus)
        assert math.isclose(
            seconds / constants.failure_seconds(gpus, spot=False), constants.failures(BASE)
        )
