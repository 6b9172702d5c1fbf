"""Which runs are meant: ids, names, `latest`, sweeps and filters, each told as what it was found to
be.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.tracking.run_table import RunTable, list_trial_ids, load_run_table, search_run_ids
from src.tracking.store import Store

# as MLflow's filters begin: params.`model.optim.lr` = '0.001'
_FILTER = re.compile(
    r"(params?|parameters?|metrics?|tags?|attributes?|attr|run|datasets?)\."
    r"|(status|start_time|end_time|run_name|run_id|artifact_uri) *(!=|=|<|>|I?LIKE\b|IN\b)",
    re.IGNORECASE,
)
# that train nothing themselves
_OTHER_KINDS = ("search", "lr_range")


class SelectedRuns(NamedTuple):
    """Runs in the order in which they were named, and what sweeps and filters were found to be."""

    table: RunTable
    told: list[str]


def select_runs(store: Store, words: Sequence[str]) -> SelectedRuns:
    """The runs that were named; all of the experiment where none was.

    A sweep stands for all its trials. A run that is named twice counts once.

    Raises:
        UserError: there is no such run, or a filter finds none.
    """
    if not words:
        return _select_experiment(store)
    ids: dict[str, None] = {}
    told: list[str] = []
    for word in words:
        if _FILTER.match(word.strip()):
            found = search_run_ids(store, word)
            told.append(f"{word}: {format_quantity(len(found), 'run')}")
        else:
            found = _find_runs(store, word, told)
        if not found:
            raise UserError(
                f"{word!r} finds no run of experiment {store.experiment}",
                hint=f"{store.build_runs_command()} lists the runs",
            )
        ids |= dict.fromkeys(found)
    table = load_run_table(store, list(ids))
    kept = _drop_other_kinds(table)
    if not kept.runs:
        raise UserError("none of these runs has trained a model: they are sweeps and tries")
    if dropped := len(table.runs) - len(kept.runs):
        told.append(f"left out: {format_quantity(dropped, 'run')} without training, such as sweeps")
    return SelectedRuns(kept, told)


def _find_runs(store: Store, word: str, told: list[str]) -> list[str]:
    """A run, which `find_run` tells where it is no id, or the trials of a sweep."""
    word = word.removeprefix("run=")
    try:
        run = store.find_run(word, key="RUN")
    except UserError:
        if "," not in word:
            raise
        parts = [part.strip() for part in word.split(",")]
        raise UserError(
            f"RUN={word!r} is no run", hint=f"several are parted by blanks: {' '.join(parts)}"
        ) from None
    if run.tags.get("kind") != "search":
        return [run.id]
    trials = list_trial_ids(store, run.id)
    if not trials:
        raise UserError(f"{word!r} is sweep {run}, which has no trial yet")
    told.append(f"{word}: {format_quantity(len(trials), 'trial')} of sweep {run}")
    return trials


def _select_experiment(store: Store) -> SelectedRuns:
    table = _drop_other_kinds(load_run_table(store))
    if not table.runs:
        raise UserError(
            f"experiment {store.experiment} has no run in {store.sqlite_file or store.uri}",
            hint=f"{store.build_runs_command()} lists the runs",
        )
    count = format_quantity(len(table.runs), "run")
    # the first one, with which others are compared, is the oldest
    table = table.select(range(len(table.runs))[::-1])
    return SelectedRuns(table, [f"all of experiment {store.experiment}: {count}"])


def _drop_other_kinds(table: RunTable) -> RunTable:
    kinds = table.tags.get("kind")
    if kinds is None or not set(kinds) & set(_OTHER_KINDS):
        return table
    return table.select([place for place, kind in enumerate(kinds) if kind not in _OTHER_KINDS])
