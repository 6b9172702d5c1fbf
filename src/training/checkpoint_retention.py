"""Which checkpoints of a run are kept: the best by a score, and the last."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.training.checkpoint_files import checkpoint_name, find_checkpoint_damage, list_checkpoints


@dataclass(kw_only=True)
class CheckpointRetention:
    """The file names of the checkpoints to keep in a folder; one may be best and last.

    Args:
        folder: all other checkpoints in it are to be deleted.
        sign: 1 if a small score is good, -1 if a large one is.
        max_best: how many of the best.
        max_last: how many of the last.
        best: score by name, best first.
        last: names, oldest first.
    """

    folder: Path
    sign: int
    max_best: int
    max_last: int
    best: dict[str, float] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)

    def rank_with_candidate(self, file: str, score: float) -> dict[str, float]:
        """Return the best with one more.

        Of two equals the older is better. A score that is NaN says nothing: it is worst, and of
        several the newest stays, since training longer is the better guess.
        """
        scores = {name: value for name, value in self.best.items() if name != file}
        scores[file] = score
        numbers = [item for item in scores.items() if not math.isnan(item[1])]
        unknown = [item for item in scores.items() if math.isnan(item[1])]
        numbers.sort(key=lambda item: self.sign * item[1])
        # the newest stands last in the dictionary, whatever was kept before it
        newest_first = sorted(unknown, key=lambda item: item[0] != file)
        return dict([*numbers, *newest_first][: self.max_best])

    def add_checkpoint(self, file: str, score: float | None) -> None:
        """Keep one more as the last, and by its score if it has one."""
        if score is not None:
            self.best = self.rank_with_candidate(file, score)
        if self.max_last:
            self.last = [*(name for name in self.last if name != file), file][-self.max_last :]

    def restore_kept(self, description: Mapping[str, Any], *, is_fork: bool) -> list[str]:
        """Go on with the checkpoints that were kept when one was written.

        Args:
            description: that checkpoint's description of itself.
            is_fork: it is another run's, whose scores do not count here.

        Returns:
            A remark about each of the best that is lost.
        """
        if is_fork:
            self.last = [path.name for path in reversed(list_checkpoints(self.folder))]
            return []
        self.last = [name for name in description["last"] if (self.folder / name).is_file()]
        remarks = []
        for name, score in description["best"].items():
            # The one that is being loaded has been verified already.
            is_loaded = name == checkpoint_name(description["step"])
            damage = None if is_loaded else find_checkpoint_damage(self.folder / name)
            if damage is None:
                self.best[name] = score
            else:
                remarks.append(
                    f"{name}, which was among the best checkpoints ({score:g}), is lost: {damage}"
                )
        return remarks

    def delete_unkept(self) -> None:
        """Delete the checkpoints that are not to be kept."""
        for path in list_checkpoints(self.folder):
            if path.name not in self.best and path.name not in self.last:
                path.unlink(missing_ok=True)
