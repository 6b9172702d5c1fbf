"""Many runs at once, column by column: what `compare` and `leaderboard` read.

MLflow builds an object for every parameter of every run, which takes a minute for ten thousand
runs. A database is asked directly here, with one query for each kind of value and without importing
MLflow; a server is asked through its client, page by page.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy
from sqlalchemy import column, table

from src.core.user_errors import UserError
from src.tracking import outbox
from src.tracking.database import prepare_database
from src.tracking.mlflow_format import measure_seconds, restore_infinity

if TYPE_CHECKING:
    from mlflow.entities import Run

    from src.tracking.store import Store

PARENT_TAG = "mlflow.parentRunId"
# those that say what a run is, and of which code and data
_TAG_KEYS = (
    PARENT_TAG,
    "kind",
    "commit",
    "dirty",
    "data.fingerprint",
    "data/summary",
    "precision",
)
# ids in one query
_MAX_IDS = 500
# runs on a page of a server
_PAGE = 1000
# characters of MLflow's answer to a filter
_MAX_REASON = 300

# MLflow's tables, as far as they are read
_RUN_COLUMNS = (
    "run_uuid",
    "name",
    "status",
    "experiment_id",
    "artifact_uri",
    "start_time",
    "end_time",
)
_RUNS = table("runs", *map(column, (*_RUN_COLUMNS, "lifecycle_stage")))
_PARAMS = table("params", *map(column, ("run_uuid", "key", "value")))
_TAGS = table("tags", *map(column, ("run_uuid", "key", "value")))
_METRICS = table("latest_metrics", *map(column, ("run_uuid", "key", "value", "is_nan")))
_EXPERIMENTS = table("experiments", *map(column, ("experiment_id", "name")))


class RunHead(NamedTuple):
    """A run without its values; `started_at` in seconds since 1970, `seconds` that it took, None
    while it runs.
    """

    id: str
    name: str
    status: str
    experiment_id: str
    artifact_uri: str
    started_at: float
    seconds: float | None


class RunTable(NamedTuple):
    """Runs and, by key, a column with a value for each run; None where a run has none.

    `metrics` holds last values; of the tags there are those about kind, code and data.
    """

    runs: list[RunHead]
    params: dict[str, list[str | None]]
    metrics: dict[str, list[float | None]]
    tags: dict[str, list[str | None]]

    def get_tag(self, key: str, place: int) -> str | None:
        return self.tags[key][place] if key in self.tags else None

    def select(self, places: Sequence[int]) -> "RunTable":
        """The runs at these places, in this order; keys that none of them has are left out."""
        return RunTable(
            [self.runs[place] for place in places],
            _select_places(self.params, places),
            _select_places(self.metrics, places),
            _select_places(self.tags, places),
        )


def load_run_table(store: "Store", run_ids: Sequence[str] | None = None) -> RunTable:
    """Read these runs, or all of the experiment that are not in the UI's bin, the newest first.

    What waits in an outbox is delivered first, and runs whose process is gone are closed.

    Raises:
        UserError: no run has been kept yet, or the store cannot be read.
    """
    if _is_server(store):
        return _load_from_server(store, run_ids)
    with _connect(store) as connection:
        if run_ids is None:
            wanted = (
                sqlalchemy.select(_RUNS.c.run_uuid)
                .join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == _RUNS.c.experiment_id)
                .where(_EXPERIMENTS.c.name == store.experiment)
                .where(_RUNS.c.lifecycle_stage == "active")
            )
            chunks: list[Any] = [wanted]
        else:
            chunks = _split(list(run_ids), _MAX_IDS)
        return _read_columns(connection, chunks, run_ids)


def list_trial_ids(store: "Store", sweep_id: str) -> list[str]:
    """The ids of a sweep's trials, the first one first."""
    if _is_server(store):
        where = f"tags.`{PARENT_TAG}` = '{sweep_id}'"
        return [run.info.run_id for run in _search_pages(store, where)][::-1]
    query = (
        sqlalchemy.select(_TAGS.c.run_uuid)
        .join(_RUNS, _RUNS.c.run_uuid == _TAGS.c.run_uuid)
        .where(_TAGS.c.key == PARENT_TAG, _TAGS.c.value == sweep_id)
        .where(_RUNS.c.lifecycle_stage == "active")
        .order_by(_RUNS.c.start_time)
    )
    with _connect(store) as connection:
        return [str(run_id) for (run_id,) in connection.execute(query)]


def search_run_ids(store: "Store", where: str) -> list[str]:
    """The ids of the experiment's runs that a filter in MLflow's syntax finds, the newest first.

    Raises:
        UserError: MLflow does not understand it.
    """
    from mlflow.exceptions import MlflowException

    try:
        if _is_server(store) or (found := _search_database(store, where)) is None:
            return [run.info.run_id for run in _search_pages(store, where)]
        return found
    except MlflowException as error:
        raise UserError(
            f"{where!r} is no filter for MLflow: {' '.join(error.message.split())[:_MAX_REASON]}",
            hint="as in \"params.`model.optim.lr` = '0.001' AND metrics.`test/accuracy` > 0.8\"",
        ) from error


def _search_database(store: "Store", where: str) -> list[str] | None:
    """The same in the database itself, by MLflow's own translation into SQL: MLflow's search would
    also read every parameter, metric and tag of what it finds. None if the installed MLflow
    translates in another way.
    """
    from mlflow.utils.search_utils import SearchUtils
    from sqlalchemy.orm import Session

    conditions = SearchUtils.parse_search_filter(where)
    try:
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from mlflow.store.tracking.sqlalchemy_store import _get_sqlalchemy_filter_clauses
    except ImportError:
        return None
    with _connect(store) as connection, Session(connection) as session:
        try:
            attributes, others, datasets = _get_sqlalchemy_filter_clauses(
                conditions, session, connection.dialect.name
            )
        except (TypeError, ValueError):
            return None
        query: sqlalchemy.Select[Any] = sqlalchemy.select(SqlRun.run_uuid).distinct()
        for other in others:
            query = query.join(other)
        for dataset in datasets:
            query = query.join(dataset, SqlRun.run_uuid == dataset.c.destination_id)
        query = (
            query.join(_EXPERIMENTS, _EXPERIMENTS.c.experiment_id == SqlRun.experiment_id)
            .where(_EXPERIMENTS.c.name == store.experiment)
            .where(SqlRun.lifecycle_stage == "active", *attributes)
            .order_by(SqlRun.start_time.desc(), SqlRun.run_uuid)
            .add_columns(SqlRun.start_time)
        )
        return [str(run_id) for run_id, _ in session.execute(query)]


def _is_server(store: "Store") -> bool:
    return store.tracking_uri.startswith("http")


@contextmanager
def _connect(store: "Store") -> Iterator["sqlalchemy.Connection"]:
    """A connection to the database of a store that has been brought up to date."""
    if store.sqlite_file is None:
        store.open()
    elif not store.sqlite_file.exists():
        raise UserError(f"no run has been kept yet in {store.sqlite_file}")
    else:
        prepare_database(store.sqlite_file, store.artifacts_folder)
        _bring_up_to_date(store)
    engine = sqlalchemy.create_engine(store.tracking_uri)
    try:
        with engine.connect() as connection:
            yield connection.execution_options(stream_results=True, yield_per=10_000)
    finally:
        engine.dispose()


def _bring_up_to_date(store: "Store") -> None:
    """Open the store as a run does where that would change anything; it takes two seconds."""
    engine = sqlalchemy.create_engine(store.tracking_uri)
    with engine.connect() as connection:
        running = sqlalchemy.select(_RUNS.c.run_uuid).where(_RUNS.c.status == "RUNNING")
        some_run = connection.execute(running.limit(1)).first() is not None
    engine.dispose()
    if some_run or outbox.list_pending_outboxes(store.runs_folder):
        store.open()


def _read_columns(
    connection: "sqlalchemy.Connection", chunks: Sequence[Any], run_ids: Sequence[str] | None
) -> RunTable:
    """Read runs and their values.

    Args:
        chunks: lists of ids, or queries for ids.
        run_ids: the order of the runs; None: by time.
    """

    def read(source: Any, *names: str, keys: Sequence[str] = ()) -> Iterator[Any]:
        query = sqlalchemy.select(*(source.c[name] for name in names))
        if keys:
            query = query.where(source.c.key.in_(keys))
        for chunk in chunks:
            yield from connection.execute(query.where(source.c.run_uuid.in_(chunk)))

    heads = [_to_head(*row) for row in read(_RUNS, *_RUN_COLUMNS)]
    if run_ids is None:
        heads.sort(key=lambda head: head.started_at, reverse=True)
    else:
        by_id = {head.id: head for head in heads}
        heads = [by_id[run_id] for run_id in run_ids if run_id in by_id]
    places = {head.id: place for place, head in enumerate(heads)}
    tags = read(_TAGS, "run_uuid", "key", "value", keys=_TAG_KEYS)
    numbers = (
        (run_id, key, float("nan") if is_nan else restore_infinity(value))
        for run_id, key, value, is_nan in read(_METRICS, "run_uuid", "key", "value", "is_nan")
    )
    return RunTable(
        heads,
        _fill_columns(read(_PARAMS, "run_uuid", "key", "value"), places),
        _fill_columns(numbers, places),
        _fill_columns(tags, places),
    )


def _fill_columns(rows: Iterable[Any], places: dict[str, int]) -> dict[str, list[Any]]:
    """Columns of (id, key, value); equal values are kept once."""
    columns: dict[str, list[Any]] = {}
    shared: dict[Any, Any] = {}
    for run_id, key, value in rows:
        values = columns.get(key)
        if values is None:
            values = columns[key] = [None] * len(places)
        values[places[run_id]] = shared.setdefault(value, value)
    return columns


def _to_head(
    run_id: str,
    name: str | None,
    status: str,
    experiment_id: int | str,
    artifact_uri: str,
    started: int,
    ended: int | None,
) -> RunHead:
    seconds = measure_seconds(status, started, ended)
    return RunHead(
        run_id, name or "", status, str(experiment_id), artifact_uri, started / 1000, seconds
    )


def _load_from_server(store: "Store", run_ids: Sequence[str] | None) -> RunTable:
    if run_ids is None:
        runs = list(_search_pages(store, ""))
    else:
        client = store.open().client
        runs = [client.get_run(run_id) for run_id in run_ids]
    heads = [
        _to_head(
            run.info.run_id,
            run.info.run_name,
            run.info.status,
            run.info.experiment_id,
            run.info.artifact_uri,
            run.info.start_time,
            run.info.end_time,
        )
        for run in runs
    ]
    places = {head.id: place for place, head in enumerate(heads)}

    def read(values_of: Callable[["Run"], dict[str, Any]]) -> Iterator[tuple[str, str, Any]]:
        for run in runs:
            yield from ((run.info.run_id, key, value) for key, value in values_of(run).items())

    tags = (row for row in read(lambda run: run.data.tags) if row[1] in _TAG_KEYS)
    metrics = read(lambda run: run.data.metrics)
    return RunTable(
        heads,
        _fill_columns(read(lambda run: run.data.params), places),
        _fill_columns(
            ((run_id, key, restore_infinity(value)) for run_id, key, value in metrics), places
        ),
        _fill_columns(tags, places),
    )


def _search_pages(store: "Store", where: str) -> Iterator["Run"]:
    session = store.open()
    token = None
    while True:
        page = session.client.search_runs(
            [session.experiment_id], where, max_results=_PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _select_places(columns: dict[str, list[Any]], places: Sequence[int]) -> dict[str, list[Any]]:
    chosen = {key: [values[place] for place in places] for key, values in columns.items()}
    return {key: values for key, values in chosen.items() if any(x is not None for x in values)}


def _split(items: list[str], size: int) -> list[list[str]]:
    return [items[begin : begin + size] for begin in range(0, len(items), size)]
