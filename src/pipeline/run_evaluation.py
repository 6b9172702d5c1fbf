"""The evaluation of a run: its best checkpoint is tested, and report and model are written into its
record.
"""

import math
import os
from typing import TYPE_CHECKING

from src.core.files import PROJECT_ROOT
from src.pipeline.report.run_report import (
    log_model,
    log_report,
    log_tested_checkpoint,
    log_time_limit,
)
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from src.model.module import EncoderModule


def evaluate_run(parts: RunParts, module: "EncoderModule", trainer: "Trainer") -> dict[str, float]:
    """Test the best checkpoint; the first rank writes the report and the model into the run.

    Returns:
        The latest value of every metric, those of the report included on the first rank.
    """
    from src.pipeline.export import save_model
    from src.pipeline.report.decision import fit_decision
    from src.pipeline.report.masked_token_report import log_token_report, tally_masked_tokens
    from src.training.distributed import (
        gather_predictions,
        load_checkpoint_weights,
        unshard_encoder,
    )

    record, datamodule = parts.record, parts.datamodule
    best_checkpoint = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
    if best_checkpoint is not None:
        record.set_tag("checkpoint", os.path.relpath(best_checkpoint, PROJECT_ROOT))
        load_checkpoint_weights(module, best_checkpoint)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if parts.is_first_rank:
        log_time_limit(parts, trainer, module.total_steps)
        log_tested_checkpoint(parts, trainer, best_checkpoint, metrics)
    with tally_masked_tokens(parts, module, trainer) as token_tally:
        if "test" in datamodule.token_stores:
            trainer.test(module, datamodule=datamodule, verbose=False)
            metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    predictions = gather_predictions(module.collect_test_predictions())
    decision = fit_decision(parts, module, trainer)
    unshard_encoder(module.encoder)
    if not parts.is_first_rank:
        return metrics
    if undefined := module.undefined_metrics:
        record.set_tag("undefined_metrics", "; ".join(map(": ".join, undefined.items())))
    rule = decision and decision.rule
    metrics |= decision.metrics if decision is not None else {}
    preprocessing = datamodule.describe_preprocessing()
    with save_model(module.encoder, datamodule.tokenizer, preprocessing, rule) as folder:
        step = trainer.global_step
        metrics |= log_report(parts, module, predictions, metrics, rule, step=step, folder=folder)
        if token_tally is not None:
            log_token_report(parts, token_tally, metrics)
        parts.hooks.on_run_evaluated(best_checkpoint, metrics)
        log_model(parts, folder)
    # what is not finite is no metric of the run
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
