"""Which checkpoints of a run are kept: the best by a score, and the last. One that is both is one file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.training.checkpoints import check, listed, name


@dataclass(kw_only=True)
class Kept:
    """The names of a folder's checkpoints that are to stay.

    Args:
        folder: all other checkpoints in it are to go.
        sign: 1 where a small score is good, -1 where a large one is.
        most_best: how many of the best.
        most_last: how many of the last.
        best: score by name, best first.
        last: names, oldest first.
    """

    folder: Path
    sign: int
    most_best: int
    most_last: int
    best: dict[str, float] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)

    def ranked(self, file: str, score: float) -> dict[str, float]:
        """The best with one more: of equals the older is better, and NaN is worst."""
        scores = {**{each: value for each, value in self.best.items() if each != file}, file: score}
        rank = lambda item: math.inf if math.isnan(item[1]) else self.sign * item[1]
        return dict(sorted(scores.items(), key=rank)[: self.most_best])

    def add(self, file: str, score: float | None) -> None:
        """Keep one more as the last, and by its score, where it has one."""
        if score is not None:
            self.best = self.ranked(file, score)
        if self.most_last:
            self.last = [*(each for each in self.last if each != file), file][-self.most_last :]

    def take_over(self, written: Mapping[str, Any], *, forking: bool) -> list[str]:
        """Go on with what a checkpoint says was kept, and say what of the best is lost.

        Args:
            written: the checkpoint's description of itself.
            forking: it is another run's, whose scores are not this one's: what the folder holds is old.
        """
        if forking:
            self.last = [each.name for each in reversed(listed(self.folder))]
            return []
        self.last = [each for each in written["last"] if (self.folder / each).is_file()]
        lost = []
        for each, score in written["best"].items():
            fault = None if each == name(written["step"]) else check(self.folder / each)
            if fault is None:
                self.best[each] = score
            else:
                lost.append(f"{each}, which was among the best checkpoints ({score:g}), is lost: {fault}")
        return lost

    def tidy(self) -> None:
        """Delete what is no longer to be kept."""
        for each in listed(self.folder):
            if each.name not in self.best and each.name not in self.last:
                each.unlink(missing_ok=True)
