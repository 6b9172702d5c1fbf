"""What the record of a run holds of its evaluation: which checkpoint was tested, and the report of
the test predictions.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.printing import print_line
from src.core.retry import describe_error
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor

    from src.model.module import EncoderModule


# of the rows of a table of predictions
_MAX_TEXT_ROWS, _MAX_TEXT_CHARACTERS = 10_000, 500


def log_time_limit(parts: RunParts, trainer: "Trainer", total_steps: int) -> None:
    """Say and tag that the training was ended by its time, if it was."""
    from src.training.training_state import is_time_over

    if trainer.global_step >= total_steps or not is_time_over(trainer):
        return
    reason = (
        f"trainer.max_minutes={parts.training.max_minutes:g} were over at step "
        f"{trainer.global_step} of {total_steps}"
    )
    print_line(reason)
    parts.record.set_tag("stopped_early", reason)


def log_tested_checkpoint(
    parts: RunParts, trainer: "Trainer", checkpoint: str | None, latest: Mapping[str, float]
) -> None:
    """Record the validation metrics of what is tested as `best/val/NAME`, and say so if it was not
    chosen by its score.

    Args:
        checkpoint: what is tested; None for the weights at the end of training.
        latest: the metrics of the last validation.
    """
    from src.training.checkpoint_callback import find_checkpoint_callback
    from src.training.checkpoint_files import read_checkpoint_description

    metrics, step = dict(latest), trainer.global_step
    if checkpoint is not None:
        description = read_checkpoint_description(Path(checkpoint))
        metrics, step = description["metrics"], description["step"]
    measured = {
        f"best/{name}": value
        for name, value in metrics.items()
        if name.startswith("val/") and math.isfinite(value)
    }
    parts.record.log_metrics(measured, step=step)
    checkpoints = find_checkpoint_callback(trainer)
    if checkpoint is None or checkpoints is None or checkpoints.is_best_by_score:
        return
    choice = (
        f"{checkpoints.monitor} was no number in any validation, so the last checkpoint is the one "
        f"that is tested: {Path(checkpoint).name}"
    )
    print_line(choice)
    parts.record.set_tag("checkpoint_choice", choice)


def log_report(
    parts: RunParts,
    module: "EncoderModule",
    predictions: "tuple[Tensor, Tensor, Tensor] | None",
    metrics: Mapping[str, float],
    *,
    step: int,
) -> dict[str, float]:
    """Write tables and figures of the test predictions; returns the metrics that they add."""
    from src.evaluation.report import build_report

    label_names = parts.datamodule.dataset_info.label_names
    report = build_report(
        module.objective.kind, predictions, label_names, head=module.objective.head
    )
    if report is None:
        return {}
    added = {
        f"test/{name}": value
        for name, value in report.metrics.items()
        if f"test/{name}" not in metrics
    }
    parts.record.log_metrics(added, step=step)
    tables = dict(report.tables)
    tables["predictions"] = _add_texts(parts, tables["predictions"])
    for title, table in tables.items():
        parts.record.log_table(table, f"report/{title}.json")
    for title, figure in report.figures.items():
        parts.record.log_figure(figure, f"report/{title}.png")
    return added


def _add_texts(parts: RunParts, table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The table of predictions with the beginning of each row's text, for the first rows."""
    try:
        texts = parts.datamodule.read_texts("test", _MAX_TEXT_ROWS)
    except Exception as error:
        # the source may be gone by now, and the run is worth more than this column
        print_line(f"the table of predictions has no texts: {describe_error(error)}")
        return table
    pairs = [texts.get(row, ("", None)) for row in table["row"]]
    columns = {"text": [_shorten(text) for text, _ in pairs]}
    if any(pair is not None for _, pair in pairs):
        columns["pair"] = [_shorten(pair or "") for _, pair in pairs]
    return {"row": table["row"], **columns, **table}


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARACTERS else f"{text[: _MAX_TEXT_CHARACTERS - 1]}…"
