"""Pages of MLflow's UI: their addresses, and the view with which the table of runs opens.

Without the workflow type the UI opens in its mode for language-model applications, where the table
has no metrics. The columns of the table belong to the browser, unless the address names a shared
view: that is a tag of the experiment, JSON of the state that the UI would keep itself.
"""

import json
import shlex

from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import read_tracking_uri
from src.core.redaction import redact_text

UI_PORT = 5000
_SHARE_KEY = "palimpsest"
VIEW_TAG = f"mlflow.sharedViewState.{_SHARE_KEY}"
# those that a run lacks have no column
_TABLE_METRICS = (
    "test/accuracy",
    "test/f1_macro",
    "test/pearson",
    "test/spearman",
    "test/masked_accuracy",
    "test/perplexity",
    "test/loss",
    "best/val/accuracy",
    "best/val/f1_macro",
    "best/val/pearson",
    "best/val/spearman",
    "best/val/masked_accuracy",
    "best/val/loss",
    "val/loss",
)


def format_ui_link(experiment_id: str, run_id: str | None = None) -> str:
    """The path of a run's page, or that of an experiment's runs, below the address of the UI."""
    mode = "workflowType=machine_learning"
    if run_id is not None:
        return f"#/experiments/{experiment_id}/runs/{run_id}?{mode}"
    return f"#/experiments/{experiment_id}/runs?{mode}&viewStateShareKey={_SHARE_KEY}"


def describe_ui_page(tracking_uri: str, page: str) -> str:
    """Where to see a page: an address if a server answers there, else how to have one answer."""
    if tracking_uri.startswith("http"):
        return f"{tracking_uri.rstrip('/')}/{page}"
    if tracking_uri.startswith("sqlite"):
        return f"{_build_ui_command(tracking_uri)}, then http://127.0.0.1:{UI_PORT}/{page}"
    return f"MLflow's UI, {page}"


def _build_ui_command(tracking_uri: str) -> str:
    """What serves the UI of a SQLite file; `make ui` is for the file of this project alone."""
    default = f"sqlite:///{PROJECT_ROOT / 'mlruns' / 'mlflow.db'}"
    if tracking_uri == (read_tracking_uri() or default):
        return "make ui"
    return shlex.join(["python", "-m", "src.ui", f"uri={redact_text(tracking_uri)}"])


def build_table_view() -> str:
    """The value of the tag `VIEW_TAG`: the newest runs first, with their results in columns."""
    metrics = [f"metrics.`{key}`" for key in _TABLE_METRICS]
    name, data = "attributes.`Run Name`", "attributes.`Dataset`"
    view = {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": [*metrics, data],
        "columnOrder": [name, "runDateAndNestInfo", *metrics, "duration", data],
        "columnWidths": {name: 280, data: 220},
    }
    return json.dumps(view)
