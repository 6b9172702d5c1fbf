"""Losses of training that look at a text twice, or at two texts at once.

Shape legend: B texts, O outputs of the head, C labels.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from src.core.user_errors import UserError
from src.model.head_outputs import compute_class_scores
from src.model.objectives.objective import ObjectiveOutput
from src.model.objectives.text_logits import compute_text_logits, empty_output

if TYPE_CHECKING:
    from torch import Tensor

    from src.core.batch import LabelledBatch
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType

# The loss of each text [B], from what the head gives [B, O] and the labels [B]; or of each decision
# [B, C], where texts have several labels.
ComputeLosses = Callable[["Tensor", "Tensor"], "Tensor"]
# How far two passes are from each other, shaped as the losses, from what the head gives in both.
ComputeDivergences = Callable[["Tensor", "Tensor"], "Tensor"]


def check_regularization(r_drop: float | None, mixup: float | None) -> None:
    """Raise UserError if both are asked for."""
    if r_drop and mixup:
        raise UserError(
            "does not go with model.objective.mixup",
            key="model.objective.r_drop",
            value=f"{r_drop:g}",
            hint="give one of the two",
            about=("model.objective.mixup",),
            colon=False,
        )


def compute_class_output(
    encoder: "Encoder",
    batch: "LabelledBatch",
    *,
    training_losses: ComputeLosses,
    evaluation_losses: ComputeLosses,
    head: "HeadType",
    r_drop: float | None,
    mixup: float | None,
) -> ObjectiveOutput:
    """The mean loss of a batch and the scores of its labels [B, C], for a training step or for an
    evaluation, whichever the encoder is in.

    Raises:
        UserError: there is no dropout, which R-Drop needs.
    """
    if encoder.training and len(batch.labels):
        logits, losses = compute_regularized_losses(
            encoder, batch, training_losses, head=head, r_drop=r_drop, mixup=mixup
        )
    else:
        logits = compute_text_logits(encoder, batch)
        if not len(batch.labels):
            return empty_output(compute_class_scores(head, logits), batch.labels)
        losses = evaluation_losses(logits, batch.labels)
    scores = compute_class_scores(head, logits)
    return ObjectiveOutput(losses.mean(), len(batch.labels), scores, batch.labels)


def compute_regularized_losses(
    encoder: "Encoder",
    batch: "LabelledBatch",
    compute_losses: ComputeLosses,
    *,
    head: "HeadType",
    r_drop: float | None,
    mixup: float | None,
) -> "tuple[Tensor, Tensor]":
    """What the head gives [B, O] in a training step, and the loss of each text [B].

    Raises:
        UserError: there is no dropout, which R-Drop needs.
    """
    if r_drop:

        def compute_divergences(one: "Tensor", other: "Tensor") -> "Tensor":
            return compute_class_divergences(
                compute_class_scores(head, one), compute_class_scores(head, other)
            )

        return compute_twofold_losses(
            encoder, batch, compute_losses, compute_divergences, strength=r_drop
        )
    if mixup:
        return compute_mixed_losses(encoder, batch, compute_losses, alpha=mixup)
    logits = compute_text_logits(encoder, batch)
    return logits, compute_losses(logits, batch.labels)


def compute_twofold_losses(
    encoder: "Encoder",
    batch: "LabelledBatch",
    compute_losses: ComputeLosses,
    compute_divergences: ComputeDivergences,
    *,
    strength: float,
) -> "tuple[Tensor, Tensor]":
    """What the head gives [B, O], and the losses of R-Drop (Liang et al., 2021, equation 3): the
    mean of two passes under other dropout, and `strength` times their divergence.

    Raises:
        UserError: there is no dropout, so that both passes are the same.
    """
    from src.model.encoder_families import check_dropout

    check_dropout(encoder.config, "model.objective.r_drop", strength)
    one, other = compute_text_logits(encoder, batch), compute_text_logits(encoder, batch)
    losses = (compute_losses(one, batch.labels) + compute_losses(other, batch.labels)) / 2
    return one, losses + strength * compute_divergences(one, other)


def compute_decision_divergences(logits: "Tensor", others: "Tensor") -> "Tensor":
    """The mean of both Kullback-Leibler divergences between yes and no by logits [B, C] and by
    others, for each decision [B, C].
    """
    # sum of p ln(p / q) and q ln(q / p) over yes and no, where ln(p / (1 - p)) is the logit
    return (logits.sigmoid() - others.sigmoid()) * (logits - others) / 2


def compute_class_divergences(scores: "Tensor", others: "Tensor") -> "Tensor":
    """The mean of both Kullback-Leibler divergences between the softmax of scores [B, C], for each
    text [B].
    """
    one, other = scores.log_softmax(-1), others.log_softmax(-1)
    # sum of p ln(p / q) and q ln(q / p)
    return ((one.exp() - other.exp()) * (one - other)).sum(-1) / 2


def compute_mixed_losses(
    encoder: "Encoder", batch: "LabelledBatch", compute_losses: ComputeLosses, *, alpha: float
) -> "tuple[Tensor, Tensor]":
    """What the head gives for mixtures of texts [B, O], and their losses [B] (mixup: Zhang et al.,
    2018; on sentence vectors: Guo et al., 2019).

    The vector of each text is mixed with that of another of its batch, by a share that is drawn
    from Beta(alpha, alpha); the loss is the mixture of the losses for both labels.
    """
    import torch
    from torch.distributions import Beta

    vectors = encoder.encode_sequences(batch.tokens)
    partners = torch.randperm(len(vectors), device=vectors.device)
    concentration = torch.full((len(vectors),), alpha, device=vectors.device)
    shares = Beta(concentration, concentration, validate_args=False).sample()
    weights = shares[:, None].to(vectors.dtype)
    mixed = weights * vectors + (1 - weights) * vectors[partners]
    logits = encoder.compute_sequence_logits(mixed).float()
    losses = shares * compute_losses(logits, batch.labels)
    return logits, losses + (1 - shares) * compute_losses(logits, batch.labels[partners])
