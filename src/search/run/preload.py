"""Imported for its effects by the process that trials are copies of: all that a run needs sooner or
later, once instead of in every trial.

No thread may be running afterwards and CUDA may not be initialised: a copy has neither.
"""

import contextlib
import gc
import importlib
import threading
from functools import cache
from typing import Any

from src.config.compose import register_resolvers
from src.config.groups import load_all_options
from src.core.startup import silence_libraries
from src.tracking.schema_version import compare_schema
from src.training.cpu_allocators import limit_kernel_cache

gc.disable()
# before torch, which reads the environment when it is imported
limit_kernel_cache()
# before the libraries that are silenced
silence_libraries()

for _module in [
    "src.config.compose",
    "src.config.resume",
    "src.data.data_config",
    "src.data.datamodule",
    "src.data.preparation.first_targets",
    "src.data.split_rows",
    "src.data.synthetic.tasks",
    "src.evaluation.calibration",
    "src.evaluation.decision_fit",
    "src.evaluation.judgement",
    "src.evaluation.near_train",
    "src.evaluation.probability_judgement",
    "src.evaluation.reference_lines",
    "src.evaluation.report",
    "src.evaluation.report_page",
    "src.evaluation.report_plots",
    "src.evaluation.thresholds",
    "src.evaluation.token_heat_map",
    "src.evaluation.value_judgement",
    "src.model.attributions",
    "src.model.fresh_config",
    "src.model.model_config",
    "src.model.module",
    "src.model.objectives.classification",
    "src.model.objectives.masked_lm",
    "src.model.stored_encoder",
    "src.pipeline.build_parts",
    "src.pipeline.create_record",
    "src.pipeline.report.decision",
    "src.pipeline.explanation",
    "src.pipeline.export",
    "src.pipeline.report.fill_in_probes",
    "src.pipeline.init_from",
    "src.pipeline.report.judge_answers",
    "src.pipeline.report.leakage",
    "src.pipeline.report.masked_token_report",
    "src.pipeline.resume_hint",
    "src.pipeline.resume",
    "src.pipeline.run",
    "src.pipeline.teacher",
    "src.search.run.trial",
    "src.search.run.trial_hooks",
    "src.search.run.worker_pool",
    "src.search.storage",
    "src.search.sweep_study",
    "src.tracking.client",
    "src.tracking.logger",
    "src.tracking.mlflow_format",
    "src.tracking.earlier_runs",
    "src.tracking.run_record",
    "src.tracking.store",
    "src.tracking.system_metrics",
    "src.tracking.uploader",
    "src.training.callbacks",
    "src.training.checkpoint_callback",
    "src.training.distributed",
    "src.training.energy",
    "src.training.flops",
    "src.training.non_finite_recovery",
    "src.training.precision",
    "src.training.progress",
    "src.training.step_control",
    "src.training.torch_compile",
    "src.training.trainer",
    "src.training.training_metrics",
    "src.training.undisturbed",
    "src.training.validation_answers",
    "alembic.command",
    "lightning.pytorch",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tracing.processor.base_mlflow",
    "mlflow.tracing.processor.otel",
    "mlflow.utils.search_logged_model_utils",
    "mpl_toolkits.axes_grid1",
    "PIL.Image",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "torch.utils.serialization.config",
    "transformers",
    "transformers.models.bert.modeling_bert",
    "transformers.models.modernbert.modeling_modernbert",
]:
    importlib.import_module(_module)

# of the extra `explain`
with contextlib.suppress(ImportError):
    importlib.import_module("captum.attr")

register_resolvers()
# What is computed on first use, and every copy would compute again: the options of conf/, the
# versions of MLflow's tables, SQLAlchemy's mappers at the first query, the regular expressions of
# transformers at the first model that is saved, fonts at the first figure.
load_all_options()
compare_schema(None)
# a function of MLflow's own, which reads all of its migrations whenever a store is opened
with contextlib.suppress(ImportError, AttributeError):
    _database: Any = importlib.import_module("mlflow.store.db.utils")
    _database._get_latest_schema_revision = cache(_database._get_latest_schema_revision)
    _database._get_latest_schema_revision()
importlib.import_module("sqlalchemy.orm").configure_mappers()
# a function of transformers' own, which may be renamed
with contextlib.suppress(ImportError, AttributeError):
    _conversion = importlib.import_module("transformers.conversion_mapping")
    _conversion.get_checkpoint_conversion_mapping("bert")
_plots, _heat_map, _pictures = (
    importlib.import_module(f"src.evaluation.{name}")
    for name in ("plots", "token_heat_map", "report_plots")
)
_pictures.draw_picture(_plots.plot_confusion_matrix([[1, 0], [0, 1]], ["0", "1"]))
_pictures.draw_picture(_heat_map.plot_heat_map("0", ["0"], [1.0]))

# a copy whose collector looked through all of it would write to every page
gc.freeze()
if threading.active_count() != 1:
    raise RuntimeError(f"forking from {threading.active_count()} threads: {threading.enumerate()}")
