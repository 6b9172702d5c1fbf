"""Trials as rows, read in six statements however many they are.

Optuna's own reading builds every object that it maps: for a thousand waiting trials a quarter of a second each time,
and a live table asks often. The tables are Optuna's schema, whose version is compared when the storage is opened.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy import Connection, delete, select

from src.search.rows import Row, State

_TRIALS = TrialModel.__table__.c
_PARAMS = TrialParamModel.__table__.c
_VALUES = TrialValueModel.__table__.c
_REPORTS = TrialIntermediateValueModel.__table__.c
_ABOUT = TrialUserAttributeModel.__table__.c
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_FEW = 500  # trials that a statement names one by one
_IN_UTC = hasattr(TrialModel, "_datetime_start_utc")  # since Optuna 5; before, instants were written in local time


class Census(NamedTuple):
    """What of a study decides which trial comes next."""

    points: int  # trials, without those that repeat a failed one
    begun: int  # trials that were ever taken; a failed one and its repetitions are one
    fresh: int | None  # the lowest number that waits to be begun
    left: int | None  # the lowest number that was begun, interrupted, and waits to go on


def rows_of(
    storage: RDBStorage, study: int, number: int | None = None, *, known: Mapping[int, Row] | None = None
) -> list[Row]:
    """All trials of a study by number, or the one of a number.

    Args:
        known: trials that had ended when they were read: they are taken as they are.
    """
    known = known or {}
    these = [_TRIALS.study_id == study, *([] if number is None else [_TRIALS.number == number])]

    def by_trial(columns: Sequence[Any], order: Any) -> dict[int, list[Any]]:
        found = defaultdict(list)
        owner = columns[0].table.c.trial_id
        question = select(owner, *columns).join(TrialModel, _TRIALS.trial_id == owner).where(*those).order_by(order)
        for trial, *rest in connection.execute(question):
            found[trial].append(rest)
        return found

    times = (_TRIALS.datetime_start, _TRIALS.datetime_complete)
    with storage.engine.connect() as connection:
        trials = connection.execute(
            select(_TRIALS.trial_id, _TRIALS.number, _TRIALS.state, *times).where(*these).order_by(_TRIALS.number)
        ).all()  # first: what stands with a trial that had ended by now is whole
        new = [trial for trial, each, *_ in trials if each not in known]
        those = [*these, *([_TRIALS.trial_id.in_(new)] if len(new) <= _FEW else [])]
        params = by_trial((_PARAMS.param_name, _PARAMS.param_value, _PARAMS.distribution_json), _PARAMS.param_id)
        values = by_trial((_VALUES.value,), _VALUES.objective)
        reports = by_trial((_REPORTS.step, *_REPORTED), _REPORTS.step)
        about = by_trial((_ABOUT.key, _ABOUT.value_json), _ABOUT.key)
        replaced = {failed: repetition for repetition, failed in _repetitions(connection, study)}
    return [
        _repeated(known[each], replaced.get(each))
        if each in known
        else Row(
            number=each,
            state=_STATES[state],
            params={key: _distribution(text).to_external_repr(value) for key, value, text in params[trial]},
            values=tuple(value for (value,) in values[trial]) or None,
            reports={step: _as_reported(value, kind) for step, value, kind in reports[trial]},
            about=dict(_attributes(about[trial])) | ({"replaced_by": replaced[each]} if each in replaced else {}),
            started_at=_seconds(started),
            ended_at=_seconds(ended),
        )
        for trial, each, state, started, ended in trials
    ]


def _repeated(row: Row, repetition: int | None) -> Row:
    """A trial that has ended; since then it may have been begun again under another number."""
    return row if repetition is None else replace(row, about=row.about | {"replaced_by": repetition})


def census(storage: RDBStorage, study: int) -> Census:
    with storage.engine.connect() as connection:
        trials = connection.execute(
            select(_TRIALS.number, _TRIALS.state, _TRIALS.datetime_start)
            .where(_TRIALS.study_id == study)
            .order_by(_TRIALS.number)
        ).all()
        repetitions = _repetitions(connection, study)
    replaced = {failed for _, failed in repetitions}
    waiting = [(number, started) for number, state, started in trials if state == TrialState.WAITING]
    return Census(
        points=len(trials) - len(repetitions),
        begun=sum(
            number not in replaced and (state != TrialState.WAITING or started is not None)
            for number, state, started in trials
        ),
        fresh=next((number for number, started in waiting if started is None), None),
        left=next((number for number, started in waiting if started is not None), None),
    )


def forget_reports_after(storage: RDBStorage, trial: int, validation: int) -> None:
    """Of a trial that goes on from before them, or from its beginning: to a pruner they would be the newest."""
    with storage.engine.begin() as connection:
        connection.execute(
            delete(TrialIntermediateValueModel.__table__).where(_REPORTS.trial_id == trial, _REPORTS.step > validation)
        )


_REPORTED = (_REPORTS.intermediate_value, _REPORTS.intermediate_value_type)
_as_reported = TrialIntermediateValueModel.stored_repr_to_intermediate_value
_distribution = functools.cache(json_to_distribution)


def _repetitions(connection: Connection, study: int) -> list[tuple[int, int]]:
    """Numbers of trials that repeat a failed one, each with the failed one's."""
    found = connection.execute(
        select(_TRIALS.number, _ABOUT.value_json)
        .join(TrialModel, _TRIALS.trial_id == _ABOUT.trial_id)
        .where(_TRIALS.study_id == study, _ABOUT.key == "retry_of")
    )
    return [(number, json.loads(text)) for number, text in found]


def _attributes(written: list[tuple[str, str]]) -> Iterator[tuple[str, Any]]:
    """What was written down; a storage cannot take an attribute back, so an emptied one is none."""
    for key, text in written:
        if (value := json.loads(text)) != "":
            yield key, value


def _seconds(instant: datetime | None) -> float | None:
    if instant is None:
        return None
    return (instant.replace(tzinfo=UTC) if _IN_UTC else instant).timestamp()
