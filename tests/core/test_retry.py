"""What fails for a while is tried again for a limited time."""

from collections.abc import Callable

import pytest

from src.core.retry import retry


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter(range(times))

    def action() -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return action


def test_it_is_tried_again_until_it_works() -> None:
    seen: list[Exception] = []
    error = OSError("away")
    result = retry(
        failing(2, error),
        errors=(OSError,),
        timeout_seconds=60,
        interval_seconds=0,
        on_failure=seen.append,
    )
    assert result == "done" and seen == [error, error]


def test_other_errors_and_long_outages_are_raised() -> None:
    for error, timeout_seconds in ((ValueError("mistake"), 60), (OSError("away"), 0)):
        with pytest.raises(type(error)):
            retry(
                failing(1, error),
                errors=(OSError,),
                timeout_seconds=timeout_seconds,
                interval_seconds=0,
            )
