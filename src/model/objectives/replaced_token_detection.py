"""Replaced-token detection.

Shape legend: B sequences, T real tokens, K masked positions, V vocabulary.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from src.core.dataset_info import DatasetInfo, Task
from src.core.validation import Bound, PositiveFloat, validate_init
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.objective import ObjectiveOutput

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric

    from src.core.batch import MaskedBatch, Tokens
    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType

# finer than fp32 knows a probability that matters; the sum of all stays far below 2**63
_PARTS_OF_ONE = 2**30
# odd, from the finalizer of SplitMix64 (Steele et al., 2014), as signed numbers
_FACTORS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)


@validate_init
@dataclass(frozen=True, kw_only=True)
class ReplacedTokenDetection:
    """Tell which tokens of a text were replaced (Clark et al., 2020: ELECTRA). A small generator
    guesses masked tokens, what it guesses takes their place, and the encoder judges all tokens.

    The loss is the generator's mean cross-entropy at the masked positions, plus
    `discriminator_weight` times the mean binary cross-entropy of all tokens. A guess that is right
    by chance counts as original. The generator has the encoder's embeddings; no gradient flows
    through its guesses. Its layers learn at the rate of a head. Only the encoder is saved.

    Args:
        generator_share: width of the generator's layers, as a share of the encoder's.
        discriminator_weight: of the encoder's loss beside the generator's; large, because telling
            two cases apart has a far smaller loss than choosing from a vocabulary.
    """

    kind: ClassVar[Task] = "masked_lm"
    run_kind: ClassVar[str] = "pretrain"
    metric_names: ClassVar[tuple[str, ...]] = (
        "loss",
        "replaced_accuracy",
        "replaced_f1",
        "replaced_fraction",
    )
    head: ClassVar["HeadType"] = "replaced_tokens"

    generator_share: Annotated[float, Bound(above=0, most=1)] = 0.25
    discriminator_weight: PositiveFloat = 50.0

    def check_dataset(self, facts: DatasetInfo) -> None:
        """Raise UserError if the objective cannot be learnt from these data."""
        MaskedLM().check_dataset(facts)

    def build_generator(self, encoder: "Encoder") -> "Encoder":
        """A fresh masked-LM network of the encoder's family with narrower layers, whose embeddings
        are those of the encoder.
        """
        from copy import deepcopy

        from src.model.encoder import Encoder
        from src.model.model_classes import AUTO_MODEL_CLASSES

        config = deepcopy(encoder.config)
        config.num_attention_heads = scale(config.num_attention_heads, self.generator_share)
        config.hidden_size = scale(
            config.hidden_size, self.generator_share, multiple_of=config.num_attention_heads
        )
        config.intermediate_size = scale(config.intermediate_size, self.generator_share)
        network = AUTO_MODEL_CLASSES["masked_lm"].from_config(config)
        network.base_model.embeddings = encoder.network.base_model.embeddings
        network.get_output_embeddings().weight = network.get_input_embeddings().weight
        generator = Encoder(network, "masked_lm")
        generator.uses_fast_path = encoder.uses_fast_path
        generator.set_gradient_checkpointing(encoder.gradient_checkpointing)
        return generator

    def forward(self, encoder: "Encoder", batch: "MaskedBatch") -> ObjectiveOutput:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

        assert encoder.generator is not None
        tokens, at, targets = batch
        if not encoder.training:
            draws = draw_by_place(tokens, at, targets)
        else:
            draws = torch.randint(2**62, targets.shape, device=targets.device)
        scores = encoder.generator.compute_logits(tokens, at).float()
        guesses = choose_tokens(scores.detach().softmax(-1), draws)
        judged = tokens._replace(ids=tokens.ids.index_copy(0, at, guesses))
        is_replaced = torch.zeros_like(tokens.ids).index_copy(0, at, (guesses != targets).long())
        logits = encoder.compute_logits(judged).float()
        if not len(targets):
            # no row of this rank's, or only special tokens
            nothing = 0.0 * (scores.sum() + logits.sum())
            return ObjectiveOutput(nothing, 0, scores.new_empty(0), targets)
        loss = cross_entropy(scores, targets)
        loss = loss + self.discriminator_weight * binary_cross_entropy_with_logits(
            logits, is_replaced.float()
        )
        # probabilities: metrics of torchmetrics take scores for these where all lie in [0, 1]
        return ObjectiveOutput(loss, len(targets), logits.detach().sigmoid(), is_replaced)

    def build_metrics(self, num_labels: int) -> "dict[str, Metric]":
        from torchmetrics.classification import BinaryAccuracy, BinaryF1Score

        from src.model.metrics.binary_metrics import PositiveFraction

        return {
            "replaced_accuracy": BinaryAccuracy(validate_args=False),
            "replaced_f1": BinaryF1Score(validate_args=False),
            "replaced_fraction": PositiveFraction(),
        }

    def derive_metrics(self, values: dict[str, float], facts: DatasetInfo) -> dict[str, float]:
        return {}

    def to_predictions(self, outputs: "Tensor") -> "Tensor":
        """The probability [T] that a token was replaced. They are not stored."""
        return outputs


def scale(size: int, share: float, *, multiple_of: int = 1) -> int:
    """A share of a size, rounded to a multiple, which is the least that it can be."""
    return max(1, round(size * share / multiple_of)) * multiple_of


def choose_tokens(probabilities: "Tensor", draws: "Tensor") -> "Tensor":
    """A token [K] for each row of probabilities [K, V], as evenly spread numbers [K] decide.

    Tokens have pieces of a line as long as their probabilities, and a number is a place on it:
    with 1/2, 1/4 and 1/4 of a line of 8, the places 0 to 3 are the first, 4 and 5 the second. In
    whole numbers, since sums of floats are not repeatable on a GPU.
    """
    import torch

    ends = (probabilities * _PARTS_OF_ONE).long().cumsum(-1)
    # of no length where scores are not finite, whose loss is not either
    places = draws[:, None] % ends[:, -1:].clamp_min(1)
    chosen = torch.searchsorted(ends, places, right=True)[:, 0]
    return chosen.clamp_max(probabilities.shape[1] - 1)


def draw_by_place(tokens: "Tokens", at: "Tensor", targets: "Tensor") -> "Tensor":
    """Evenly spread numbers [K] below 2**62 that depend on the sequence, the position in it and the
    right token alone: a held-out text has the same ones at every validation, whoever is beside it.
    """
    import torch
    from torch.nn.functional import pad

    begins = tokens.cu_seqlens.long()
    passed = pad(mix_bits(tokens.ids + (tokens.positions << 32)).cumsum(0), (1, 0))
    sums = passed[begins].diff()  # [B]
    rows = torch.searchsorted(begins, at, right=True) - 1
    return mix_bits(sums[rows] + mix_bits(targets + (tokens.positions[at] << 32))) & (2**62 - 1)


def mix_bits(numbers: "Tensor") -> "Tensor":
    """Other integers of 64 bits, in which a change of any bit changes about half of all."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        numbers = (numbers ^ (numbers >> shift)) * factor
    return numbers ^ (numbers >> 31)
