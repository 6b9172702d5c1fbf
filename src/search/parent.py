"""The sweep's own run in the store: what was asked, how each trial stands, and what has come of them so far."""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from src.search.outage import in_words
from src.search.rows import Row
from src.search.words import short
from src.tracking.naming import run_name

if TYPE_CHECKING:
    from src.search.identity import Asked
    from src.search.plan import Search
    from src.search.space import Space
    from src.search.standing import Limit, Standing
    from src.search.study import Study
    from src.tracking.lookup import RunInfo
    from src.tracking.record import RunRecord
    from src.tracking.store import Store

_MOST_SHARE = 0.05  # of the time, that drawing may take
BEST = "search.best"  # the tag of a sweep's best trial


def record_of(
    store: "Store",
    asked: "Asked",
    *,
    name: str,
    search: Mapping[str, object],
    tags: Mapping[str, str] | None,
    resume: "RunInfo | None",
) -> "RunRecord":
    """The record of a sweep's run. Its parameters are the space and the search, not those of any trial."""
    space = {f"space.{key.lstrip('+')}": text for key, text in asked.space.items()}
    sampler = search["sampler"]
    assert isinstance(sampler, Mapping)
    kind = str(sampler["_target_"]).rpartition(".")[2].lower()
    fixed = [each for each in asked.typed if each.lstrip("+").partition("=")[0] not in asked.space]
    shown = [each for each in fixed if not each.startswith(("search", "+experiment"))]
    return store.record(
        name=run_name(f"{name} {' '.join(short(list(asked.space)).values())} ({kind})", shown),
        kind="search",
        params={**space, "search": {key: value for key, value in search.items() if key != "space"}},
        tags=tags,
        config_yaml=asked.config,
        resume=resume,
    )


def limits(search: "Search", space: "Space", rows: Sequence[Row], seconds: float) -> "tuple[Limit, ...]":
    """How much of the budget is used."""
    from src.search.standing import Limit

    counting = [row for row in rows if not row.replaced]
    ended = sum(row.state in ("finished", "pruned", "failed") for row in counting)
    trials = most_trials(search, space)
    found = []
    if trials is not None:
        found.append(Limit("trials", ended, trials))
    if search.max_hours is not None:
        found.append(Limit("hours", seconds / 3600, search.max_hours))
    if search.max_tokens is not None:
        found.append(Limit("tokens", tokens(rows), search.max_tokens))
    return tuple(found)


def most_trials(search: "Search", space: "Space") -> int | None:
    """How many trials there will be at most; None where only time or tokens end the sweep."""
    listed = None if search.sampler.draws else space.size
    return min((each for each in (search.max_trials, listed) if each is not None), default=None)


def tokens(rows: Sequence[Row]) -> int:
    """What all trials together have trained on."""
    return sum(int(row.about.get("tokens", 0)) for row in rows)


class Parent:
    """What the run of a sweep says, kept up to date while trials come and go.

    Args:
        record: entered.
        way_on: the command that goes on with the sweep.
    """

    def __init__(
        self,
        record: "RunRecord",
        *,
        store: "Store",
        study: "Study",
        search: "Search",
        space: "Space",
        way_on: str,
    ) -> None:
        self.record = record
        self._store = store
        self._study = study
        self._search = search
        self._space = space
        self._way_on = way_on
        self._began_at = self._noted_at = time.monotonic()
        self._seconds_before = float(study.about.get("seconds", 0.0))
        self._due = 0.0
        self._shown: object = None
        self._logged: set[int] = set()
        self._best: set[str] | None = None
        self._complained = False
        self._drawing: threading.Thread | None = None

    @property
    def seconds(self) -> float:
        """Wall time in which this sweep was worked at, in all."""
        return self._seconds_before + time.monotonic() - self._began_at

    def refresh(self, rows: Sequence[Row], *, state: str, reason: str | None = None, last: bool = False) -> None:
        """Write down how the sweep stands: metrics of trials that have ended at once, pictures now and then."""
        now = time.monotonic()
        if now - self._noted_at > 10 or last:
            self._study.note("seconds", self.seconds)
            self._noted_at = now
        self._log(rows)
        shown = (state, [(row.number, row.state, len(row.reports)) for row in rows])
        if last and self._drawing is not None:
            self._drawing.join()
        told = any(row.reports or row.ended_at for row in rows)
        if shown == self._shown or not (last or (told and now >= self._due and not self._is_drawing())):
            return
        self._shown = shown
        if last:
            self._drawn(rows, state, reason)
        else:  # beside the loop, in which the next trial must not wait for a picture
            self._drawing = threading.Thread(target=self._drawn, args=(rows, state, reason), name="report", daemon=True)
            self._drawing.start()

    def _is_drawing(self) -> bool:
        return self._drawing is not None and self._drawing.is_alive()

    def _drawn(self, rows: Sequence[Row], state: str, reason: str | None) -> None:
        began = time.monotonic()
        try:
            self._draw(rows, state, reason)
        except Exception as error:  # whatever drawing stumbles over, or a store that does not answer: trials go on
            if not self._complained:
                print(f"search: the report cannot be written now ({in_words(error)})", file=sys.stderr)
            self._complained = True
        ended = time.monotonic()
        self._due = ended + max(self._search.report_seconds, (ended - began) / _MOST_SHARE)

    def _log(self, rows: Sequence[Row]) -> None:
        """Each finished trial's value and the best so far, in the order in which they ended: the UI draws them."""
        ended = sorted(
            (row for row in rows if row.state == "finished" and row.values), key=lambda row: row.ended_at or 0
        )
        for place, row in enumerate(ended, start=1):
            if row.number in self._logged:
                continue
            self._logged.add(row.number)
            values: dict[str, float] = {"search/trial": row.number}
            for index, (monitor, mode) in enumerate(zip(self._search.monitors, self._search.modes, strict=True)):
                known = [each.values[index] for each in ended[:place] if each.values]
                values[f"trial/{monitor}"] = row.values[index] if row.values else float("nan")
                values[f"best/{monitor}"] = min(known) if mode == "min" else max(known)
            self.record.metrics(values, step=place)

    def _draw(self, rows: Sequence[Row], state: str, reason: str | None) -> None:
        from src.search import figures, page

        standing = self.standing(rows, state, reason)
        drawn = figures.figures(
            rows,
            keys=self._space.keys,
            logs={each.key for each in self._space.dimensions if each.log},
            monitors=self._search.monitors,
            modes=self._search.modes,
            importance=self._study.importance(),
        )
        for title, figure in drawn.items():
            self.record.figure(figure, f"report/{title}.png")
        self.record.text(page.page(standing, drawn), "report/sweep.html")
        columns = page.columns(rows, keys=self._space.keys, monitors=self._search.monitors)
        self.record.table(columns, "report/trials.json")
        self.record.tag("mlflow.note.content", page.note(standing))
        self._mark(self._study.best())

    def standing(self, rows: Sequence[Row], state: str, reason: str | None) -> "Standing":
        """The sweep at this moment, all that its report tells."""
        from src.search.standing import Standing

        runs = {row.number: str(row.about["run_id"]) for row in rows if row.about.get("run_id")}
        return Standing(
            sweep=self._study.name,
            name=self.record.name,
            state=state,  # type: ignore[arg-type]
            rows=list(rows),
            keys=self._space.keys,
            monitors=self._search.monitors,
            modes=self._search.modes,
            command=str(self._study.about.get("command", "")),
            go_on=None if state == "FINISHED" else self._way_on,
            reason=reason,
            limits=limits(self._search, self._space, rows, self.seconds),
            link=self._address(self._study.name),
            links={number: self._address(run_id) for number, run_id in runs.items()},
            at=time.time(),
        )

    def _address(self, run_id: str) -> str:
        """The page of a run; without a server below the UI's address, wherever that will be."""
        below = self._store.session().link(run_id)
        return f"{self._store.address.rstrip('/')}/{below}" if self._store.address.startswith("http") else below

    def _mark(self, best: Sequence[Row]) -> None:
        """The best trial, as tags of the parent and of the trial itself."""
        ids = {str(row.about["run_id"]) for row in best if row.about.get("run_id")}
        if self._best is None:  # of an earlier process
            where = f"tags.`{BEST}` = 'true' AND tags.`mlflow.parentRunId` = '{self._study.name}'"
            self._best = {run.id for run in self._store.runs(where)}
        for run_id in self._best - ids:
            self._store.tag(run_id, BEST, "false")
        for run_id in ids - self._best:
            self._store.tag(run_id, BEST, "true")
        self._best = ids
        if best:
            self.record.tag("search.best_trial", " ".join(str(row.number) for row in best))
            self.record.tag("search.best_run_id", " ".join(sorted(ids)))
