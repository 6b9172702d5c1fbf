"""A storage or a store that does not answer for a while: said once, waited for, and not for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

from src.search.words import duration
from src.tracking.redaction import spoken

MOST_SECONDS = 1800.0  # without an answer, before a sweep gives up: what lasts longer is no outage
PAUSE_SECONDS = 2.0
T = TypeVar("T")


class Outage:
    """What one process of a sweep knows of whether the others that it needs answer.

    Args:
        say: prints a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since: float | None = None

    def met(self, error: Exception) -> None:
        """Take notice of a failure; raises it where it is no outage but a mistake, or where it lasts too long."""
        now = time.monotonic()
        if not isinstance(error, _outages()) or (self._since is not None and now - self._since > MOST_SECONDS):
            raise error
        if self._since is None:
            self._since = now
            self._say(
                f"search: {in_words(error)}; what runs goes on, and it is tried again for {duration(MOST_SECONDS)}"
            )

    def over(self) -> None:
        """Everything answers."""
        if self._since is not None:
            self._say(f"search: it answers again, after {duration(time.monotonic() - self._since)}")
            self._since = None

    def insist(self, act: Callable[[], T]) -> T:
        """Do something as soon as it can be done."""
        while True:
            try:
                done = act()
            except Exception as error:
                self.met(error)
                time.sleep(PAUSE_SECONDS)
            else:
                self.over()
                return done


def in_words(error: BaseException) -> str:
    """An exception in one line, without secrets."""
    return spoken(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _outages() -> tuple[type[Exception], ...]:
    """How storages, stores and disks fail. A Fault is a lock that another process holds, or a store that refuses."""
    from src.search.database import FAILURES
    from src.tracking.delivery import TROUBLE

    return *TROUBLE, *FAILURES
