"""What the record of a run holds of its evaluation: which checkpoint was tested, the report of the
test predictions, and the model.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.printing import print_line
from src.pipeline.report.row_texts import shorten
from src.pipeline.run_parts import LeadingInterval, RunParts, format_results

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor

    from src.core.pictures import Picture
    from src.evaluation.report_page import Section
    from src.model.decision_rule import DecisionRule
    from src.model.module import EncoderModule


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


def log_model(parts: RunParts, folder: Path) -> None:
    """Keep the model in the run, and have it registered if the config says so."""
    record = parts.record
    record.log_folder(folder, "model")
    if (name := parts.config.get("register")) is not None:
        alias = parts.config.get("register_alias")
        record.register_model(name, [] if alias is None else [alias])


def log_report(
    parts: RunParts,
    module: "EncoderModule",
    predictions: "tuple[Tensor, Tensor, Tensor] | None",
    metrics: Mapping[str, float],
    rule: "DecisionRule | None",
    *,
    step: int,
    folder: Path | None = None,
) -> dict[str, float]:
    """Write tables, pictures and the page of the test predictions; returns the metrics that they
    add.

    Args:
        metrics: of the run so far.
        rule: what was fitted on validation.
        folder: the model, if its answers are to be explained.
    """
    from src.evaluation.report import build_report
    from src.pipeline.report.judge_answers import judge_answers
    from src.pipeline.report.row_texts import read_test_rows

    objective, names = module.objective, parts.datamodule.dataset_info.label_names
    report = build_report(objective.kind, predictions, names, head=objective.head)
    if report is None or predictions is None:
        return {}
    judged = None
    if parts.report.page:
        judged = judge_answers(parts, objective, predictions, report, rule, folder)
    added = {f"test/{name}": value for name, value in report.metrics.items()}
    tables, figures = dict(report.tables), dict(report.figures)
    texts = None
    if judged is not None:
        texts = judged.texts
        added |= judged.parts.metrics
        tables |= judged.parts.tables
        figures |= judged.parts.figures
    elif (found := read_test_rows(parts)) is not None:
        texts = found.texts
    if texts is not None:
        tables["predictions"] = _add_texts(tables["predictions"], texts)
    added = {name: value for name, value in added.items() if name not in metrics}
    parts.record.log_metrics(added, step=step)
    for title, table in tables.items():
        parts.record.log_table(table, f"report/{title}.json")
    if judged is None:
        for title, figure in figures.items():
            parts.record.log_figure(figure, f"report/{title}.png")
        return added
    parts.interval = _find_leading_interval(tables.get("intervals", {}))
    log_page(parts, {**metrics, **added}, judged.parts.sections, tables, figures)
    return added


def log_page(
    parts: RunParts,
    metrics: Mapping[str, float],
    sections: "Sequence[Section]",
    tables: Mapping[str, Mapping[str, Sequence[Any]]],
    figures: "Mapping[str, Picture]",
) -> None:
    """Write the pictures of a report, and its page with pictures and tables."""
    from src.evaluation.report_page import render_page
    from src.evaluation.report_plots import draw_picture

    pictures = {title: draw_picture(figure) for title, figure in figures.items()}
    for title, picture in pictures.items():
        parts.record.log_bytes(picture, f"report/{title}.png")
    result = format_results(metrics, parts.interval)
    page = render_page(parts.record.name, result, sections, tables, pictures)
    # what is escaped or drawn holds no secret, and texts of data stand in the tables as they are
    parts.record.log_text(page, "report/report.html", redact=str)


def _find_leading_interval(table: Mapping[str, list[Any]]) -> LeadingInterval | None:
    """The first row of a table of intervals, unless that has none."""
    first = [(table.get(name) or [None])[0] for name in ("metric", "low", "high")]
    return None if None in first else LeadingInterval(f"test/{first[0]}", first[1], first[2])


def _add_texts(
    table: dict[str, list[Any]], texts: "Mapping[int, tuple[str, str | None]]"
) -> dict[str, list[Any]]:
    """The table of predictions with the beginning of each row's text, for the first rows."""
    pairs = [texts.get(row, ("", None)) for row in table["row"]]
    columns = {"text": [shorten(text) for text, _ in pairs]}
    if any(pair is not None for _, pair in pairs):
        columns["pair"] = [shorten(pair or "") for _, pair in pairs]
    return {"row": table["row"], **columns, **table}
