"""How the model of a run decides: temperature and thresholds are fitted on its validation rows,
said and recorded.
"""

from typing import TYPE_CHECKING

from src.pipeline.announcement import print_wrapped
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from src.evaluation.decision_fit import FittedDecision
    from src.model.module import EncoderModule

_JUDGING_KINDS = ("classification", "multi_label")


def fit_decision(
    parts: RunParts, module: "EncoderModule", trainer: "Trainer"
) -> "FittedDecision | None":
    """Fit what `report` asks for; None if that is nothing, and on all ranks but the first. To be
    called on every rank.

    The median of labels in an order is no threshold of a probability, so their models have no
    rule.
    """
    objective, config = module.objective, parts.report
    if objective.kind not in _JUDGING_KINDS or objective.head == "ordinal":
        return None
    if not (config.temperature or config.threshold_aim):
        return None
    from src.evaluation.decision_fit import fit_decision_rule
    from src.training.validation_answers import answer_validation

    answers = answer_validation(module, trainer, parts.datamodule)
    if answers is None or not parts.is_first_rank:
        return None
    _, targets, probabilities = answers
    if not probabilities.isfinite().all():
        print_wrapped("no temperature is fitted: some answers to validation rows are not finite")
        return None
    label_names = parts.datamodule.dataset_info.label_names
    decision = fit_decision_rule(probabilities, targets, label_names, config)
    lines = list(decision.describe(label_names))
    for line in lines:
        print_wrapped(line)
    parts.record.set_tag("decision", "\n".join(lines))
    parts.record.log_metrics(decision.metrics, step=trainer.global_step)
    return decision
