"""Imported for what it imports: all that a tracked run needs from MLflow sooner or later.

For a process that is copied for each run (src/search/warm.py): late, in every copy, these imports take seconds.
"""

import mlflow.store.tracking.sqlalchemy_store
import mlflow.tracing.processor.base_mlflow
import sqlalchemy.dialects.sqlite
import sqlalchemy.orm

from src.tracking import again, logger, lookup, naming, passage, record, session, store, system

sqlalchemy.orm.configure_mappers()  # else the first query of every copy does it
__all__ = ["again", "logger", "lookup", "mlflow", "naming", "passage", "record", "session", "store", "system"]
