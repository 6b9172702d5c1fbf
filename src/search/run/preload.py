"""Imported for its effects by the process that trials are copies of: all that a run needs sooner or
later, once instead of in every trial.

No thread may be running afterwards and CUDA may not be initialised: a copy has neither.
"""

import contextlib
import gc
import importlib
import io
import threading

from src.config.compose import register_resolvers
from src.core.startup import silence_libraries
from src.training.cpu_allocators import limit_kernel_cache

gc.disable()
# before torch, which reads the environment when it is imported
limit_kernel_cache()
# before the libraries that are silenced
silence_libraries()

for _module in [
    "src.config.compose",
    "src.config.resume",
    "src.data.datamodule",
    "src.evaluation.report",
    "src.model.module",
    "src.pipeline.export",
    "src.pipeline.resume_hint",
    "src.pipeline.resume",
    "src.pipeline.run",
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
    "src.training.step_control",
    "src.training.torch_compile",
    "src.training.trainer",
    "src.training.training_metrics",
    "lightning.pytorch",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracing.processor.base_mlflow",
    "PIL.Image",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "transformers",
    "transformers.models.bert.modeling_bert",
    "transformers.models.modernbert.modeling_modernbert",
]:
    importlib.import_module(_module)

register_resolvers()
# What libraries compute on first use, and every copy would compute again: SQLAlchemy's mappers at
# the first query, the regular expressions of transformers at the first model that is saved, fonts
# at the first figure.
importlib.import_module("sqlalchemy.orm").configure_mappers()
# a function of transformers' own, which may be renamed
with contextlib.suppress(ImportError, AttributeError):
    _conversion = importlib.import_module("transformers.conversion_mapping")
    _conversion.get_checkpoint_conversion_mapping("bert")
_figure = importlib.import_module("matplotlib.figure").Figure(figsize=(1, 1))
_figure.subplots().set_title("0")
_figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")

# a copy whose collector looked through all of it would write to every page
gc.freeze()
if threading.active_count() != 1:
    raise RuntimeError(f"forking from {threading.active_count()} threads: {threading.enumerate()}")
