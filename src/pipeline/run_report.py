"""The report of a run's test predictions, as it lies in the record of the run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from torch import Tensor

    from src.model.module import EncoderModule


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
    report = build_report(module.objective.kind, predictions, label_names)
    if report is None:
        return {}
    added = {
        f"test/{name}": value
        for name, value in report.metrics.items()
        if f"test/{name}" not in metrics
    }
    parts.record.log_metrics(added, step=step)
    for title, table in report.tables.items():
        parts.record.log_table(table, f"report/{title}.json")
    for title, figure in report.figures.items():
        parts.record.log_figure(figure, f"report/{title}.png")
    return added
