"""Storages and servers that do not answer for a while: reported once, and tried again for a limited
time.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from src.core.failures import describe_exception
from src.core.formatting import format_duration
from src.core.redaction import redact_for_terminal

# without an answer, after which a sweep gives up
MAX_OUTAGE_SECONDS = 1800.0
RETRY_INTERVAL_SECONDS = 2.0
T = TypeVar("T")
ErrorTypes = tuple[type[Exception], ...]


def retry(
    action: Callable[[], T],
    *,
    errors: ErrorTypes,
    timeout_seconds: float,
    interval_seconds: float,
    on_failure: Callable[[Exception], object] = lambda error: None,
) -> T:
    """Call `action` until it succeeds, and return its result.

    Args:
        errors: the exceptions that may pass; any other one is raised at once.
        timeout_seconds: after this time a failure is raised instead of tried again.
        interval_seconds: the pause between two attempts.
        on_failure: called with each exception after which `action` is tried again.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return action()
        except errors as error:
            if time.monotonic() >= deadline:
                raise
            on_failure(error)
        time.sleep(interval_seconds)


class OutageHandler:
    """Decides after each failure of a service whether it is an outage that is still waited for.

    Args:
        print_line: prints a line for the user.
        errors: the exceptions that mean an outage.
    """

    def __init__(self, print_line: Callable[[str], None], errors: ErrorTypes) -> None:
        self._print_line = print_line
        self._errors = errors
        self._failing_since: float | None = None

    def on_failure(self, error: Exception) -> None:
        """Note a failure. Raises `error` if it is no outage, or if the outage lasts too long."""
        now = time.monotonic()
        if not isinstance(error, self._errors) or (
            self._failing_since is not None and now - self._failing_since > MAX_OUTAGE_SECONDS
        ):
            raise error
        if self._failing_since is None:
            self._failing_since = now
            self._print_line(
                f"search: {describe_error(error)}; what runs goes on, and it is tried again for "
                f"{format_duration(MAX_OUTAGE_SECONDS)}"
            )

    def on_success(self) -> None:
        """Note that everything answers."""
        if self._failing_since is not None:
            self._print_line(
                "search: it answers again, after "
                f"{format_duration(time.monotonic() - self._failing_since)}"
            )
            self._failing_since = None

    def retry_until_ok(self, action: Callable[[], T]) -> T:
        """Call `action` until it succeeds, and return its result.

        Raises an exception that is no outage, and the last one of an outage that lasts too long.
        """
        while True:
            try:
                result = action()
            except Exception as error:
                self.on_failure(error)
            else:
                self.on_success()
                return result
            time.sleep(RETRY_INTERVAL_SECONDS)


def describe_error(error: BaseException) -> str:
    """An exception in one line of at most 300 characters, without secrets."""
    return redact_for_terminal(describe_exception(error)[:300])
