"""What happened to a sweep's trials between two looks at them: one plain line each, readable alone."""

from collections.abc import Sequence

from src.search.rows import Row
from src.search.standing import census, elapsed_seconds, leading, scored, values_of
from src.search.words import duration, number, setting, several


class Events:
    """Compares each look at the trials with the last one, so that trials of other processes are seen too.

    Trials that had ended at the first look are told in one line together.
    """

    def __init__(self, monitors: Sequence[str], modes: Sequence[str], keys: Sequence[str]) -> None:
        self._monitors = list(monitors)
        self._modes = list(modes)
        self._keys = list(keys)
        self._known: dict[int, Row] | None = None

    def since(self, rows: Sequence[Row]) -> list[str]:
        """What is new."""
        before, self._known = self._known, {row.number: row for row in rows}
        lines = []
        if before is None:
            ended = [row for row in rows if row.state in ("finished", "pruned", "failed") and not row.replaced]
            before = {row.number: row for row in rows if row.state != "running"}
            if ended:
                lines.append(f"{several(len(ended), 'trial')} there already: {census(ended)}{self._best(ended)}")
        # The best of each moment: those that had finished before, and one by one those that have since.
        finished = [row for row in before.values() if row.state == "finished"]
        for row in sorted(rows, key=lambda row: (row.ended_at is None, row.ended_at or 0.0, row.number)):
            old = before.get(row.number)
            if old is not None and old.state in ("finished", "pruned", "failed"):
                continue
            lines += self._of(row, old, finished)
            if row.state == "finished":
                finished.append(row)
        return lines

    def _of(self, row: Row, old: Row | None, finished: Sequence[Row]) -> list[str]:
        name, lines = f"trial {row.number}", []
        seen = max(old.reports, default=0) if old is not None else 0
        if row.state != "waiting" and (old is None or old.state == "waiting"):
            again = row.about.get("retry_of")
            what = "goes on" if seen else "begins"
            after = f" after validation {seen}" if seen else f" (trial {again} once more)" if again is not None else ""
            lines.append(f"{name} {what}{after}: {setting(row.params, self._keys)}".rstrip(": "))
        for validation in sorted(row.reports):
            if validation > seen:
                value = row.reports[validation]
                told = f"{self._monitors[0]} {number(value)}{self._against(value, finished)}"
                lines.append(f"{name} validation {validation}: {told}")
        if old is not None and old.state == row.state == "running" and _short_of_memory(row, old):
            lines.append(f"{name} {self._released(row, old)}")
        if row.state == "waiting" and old is not None and old.state == "running":
            lines.append(f"{name} {self._released(row, old)}")
        if row.state in ("finished", "pruned", "failed"):
            lines.append(f"{name} {self._end(row, finished)}")
        return lines

    def _end(self, row: Row, finished: Sequence[Row]) -> str:
        reason = str(row.about.get("reason") or "").strip()
        first = reason.splitlines()[0] if reason else ""
        if row.state == "failed":
            return f"FAILED: {first or 'no reason is known'}"
        if row.state == "pruned":
            told = f"pruned after {several(len(row.reports), 'validation')}: {values_of(row, self._monitors)}"
            return first if first.startswith("pruned") else told.rstrip(": ")
        took = elapsed_seconds(row)
        span = f"; {duration(took)}" if took is not None else ""
        told = f"finished: {values_of(row, self._monitors)}".rstrip(": ")
        if scored(row, self._modes) is None:
            return f"{told}{span}"
        among = [*finished, row]
        if row.number in {each.number for each in leading(among, self._modes)}:
            place = "the best" if len(self._modes) == 1 else "on the Pareto front,"
            return f"{told}, {place} of {len(among)} so far{span}"
        return f"{told}{span}{self._best(finished, brackets=True)}"

    def _released(self, row: Row, old: Row) -> str:
        """A running trial waits again."""
        if _short_of_memory(row, old):
            return "ran out of memory: it is run again in smaller micro-batches"
        after = f" after {several(len(row.reports), 'validation')}" if row.reports else ""
        return f"was interrupted{after}: it waits to go on"

    def _against(self, value: float, finished: Sequence[Row]) -> str:
        if len(self._modes) > 1 or not (best := leading(finished, self._modes)) or not best[0].values:
            return ""
        reached = best[0].values[0]
        better = value < reached if self._modes[0] == "min" else value > reached
        words = "better than the best so far" if better else "best so far"
        return f" ({words}: trial {best[0].number}, {number(reached)})"

    def _best(self, finished: Sequence[Row], *, brackets: bool = False) -> str:
        best = leading(finished, self._modes)
        if not best:
            return ""
        if len(self._modes) > 1:
            told = f"{several(len(best), 'trial')} on the Pareto front"
        else:
            told = f"best so far: trial {best[0].number}, {values_of(best[0], [''])[1:]}"
        return f" ({told})" if brackets else f"; {told}"


def _short_of_memory(row: Row, old: Row) -> bool:
    """Whether a trial has run out of memory since it was looked at last."""
    return int(row.about.get("out_of_memory") or 0) > int(old.about.get("out_of_memory") or 0)
