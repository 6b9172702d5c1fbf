"""Which tokens decided an answer of a model: integrated gradients, attention rollout, and how well
a ranking of tokens holds when they are taken away.

Texts go through the network's own padded forward in transformers, in fp32 and without dropout.

Shape legend: B copies of a text, L tokens of it, D width, H heads, O outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from src.core.batch import build_tokens
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.model import text_pooling
from src.model.encoder_families import SEQUENCE_HEADS, has_token_types
from src.model.head_outputs import compute_class_scores
from src.model.model_classes import AUTO_MODEL_CLASSES, HeadType
from src.model.stored_encoder import load_encoder_config

# Shares of the tokens that are taken away or kept alone (DeYoung et al. 2020, section 4).
FAITHFULNESS_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
# More copies of a text are run one part after another.
_TOKENS_PER_BATCH = 8192

Scores = Callable[[Tensor], Tensor]


class Gradients(NamedTuple):
    """Integrated gradients of one output with regard to the tokens.

    Attributes:
        scores: [L], the share of each token in `difference`; those of special tokens included.
        difference: the output for the text less the output for the baseline.
        steps: at how many places of the path the gradient was computed.
    """

    scores: Tensor
    difference: float
    steps: int

    @property
    def completeness_error(self) -> float:
        """How far the scores are from adding up to the difference, as a share of it."""
        return abs(self.scores.sum().item() - self.difference) / max(abs(self.difference), 1e-9)


class Faithfulness(NamedTuple):
    """What becomes of the answer without the tokens that count most, and with these alone.

    Attributes:
        comprehensiveness: mean loss of the answer's probability where the most important 1, 5, 10,
            20 and 50 % of the tokens are taken away: the higher, the better the ranking.
        sufficiency: the same where only these are left: the lower, the better.
    """

    comprehensiveness: float
    sufficiency: float


class ExplainedNetwork:
    """The stored network of a run, for texts one by one.

    Args:
        folder: the model artifact of the run.
        head: the kind of its head: for whole texts, or `masked_lm`.

    """

    def __init__(self, folder: Path, head: HeadType) -> None:
        config = load_encoder_config(str(folder), head, "run")
        # the weights of attention are given by no other implementation
        config._attn_implementation = "eager"
        self.head = head
        self.network: PreTrainedModel = load_from_hub_or_folder(
            AUTO_MODEL_CLASSES[head].from_pretrained, str(folder), key="run", config=config
        )
        text_pooling.add_pooling_weights(self.network)
        text_pooling.load_pooling_weights(self.network, folder)
        self.network.eval().requires_grad_(False)
        self.pooling = text_pooling.read_pooling(config) if head != "masked_lm" else "first"

    def compute_scores(
        self,
        ids: Tensor,
        types: Tensor | None,
        at: int | None = None,
        states: Tensor | None = None,
    ) -> Tensor:
        """What is explained, from ids [B, L], or from embeddings `states` [B, L, D] in their place:
        scores of the labels [B, C] whose softmax or sigmoid is their probabilities, values [B, 1],
        or scores of the vocabulary [B, V] at the place `at`.
        """
        if states is not None and self.network.config.is_encoder_decoder:
            with self._embed_twice_as(states):
                return self.compute_scores(ids, types, at)
        given = {"input_ids": ids} if states is None else {"inputs_embeds": states}
        arguments: dict[str, Tensor] = {**given, "attention_mask": torch.ones_like(ids)}
        if types is not None and has_token_types(self.network):
            arguments["token_type_ids"] = types.expand_as(ids)
        if at is not None:
            return self.network(**arguments).logits[:, at]
        if self.pooling == "first" or getattr(self.network.config, "sentence_pooling", 0) is None:
            return compute_class_scores(self.head, self.network(**arguments).logits)
        outputs = self.network.base_model(**arguments).last_hidden_state
        tokens = build_tokens(ids.flatten(), torch.full((len(ids),), ids.shape[1]), None)
        vectors = text_pooling.pool_tokens(self.network, outputs.flatten(0, 1), tokens)
        head = SEQUENCE_HEADS[self.network.config.model_type]
        return compute_class_scores(self.head, head(self.network, vectors[:, None]))

    def attribute(
        self,
        ids: Tensor,
        baseline: Tensor,
        types: Tensor | None,
        output: int,
        *,
        at: int | None = None,
        steps: int = 50,
    ) -> Gradients:
        """Integrated gradients (Sundararajan et al. 2017) along the straight path between the
        embeddings of a baseline and of a text.

        Args:
            ids, baseline: [L].
            types: [L], the segments of a pair.
            output: which of the scores.
            at: the place of a mask, for a masked LM.
            steps: of the path; more are more exact, but where the network has corners (ReLU).
        """
        from captum.attr import IntegratedGradients

        scored, own = self._compute_ends(torch.stack([ids, baseline]), types, at)
        ends = scored[:, output]
        # a path between the network's own embeddings, which need not be computed once more
        embed = self._embedding_layers[0]
        path = (embed(ids)[None], embed(baseline)[None]) if own is None else own.split(1)

        def score(states: Tensor) -> Tensor:
            rows = ids.expand(len(states), -1)
            if own is None:
                return self.compute_scores(rows, types, at, states)
            with embed.register_forward_hook(lambda *_: states):
                return self.compute_scores(rows, types, at)

        found = IntegratedGradients(score).attribute(
            path[0],
            baselines=path[1],
            target=output,
            n_steps=steps,
            internal_batch_size=max(_TOKENS_PER_BATCH // len(ids), 1),
        )
        scores = found.detach()[0, : len(ids)].double().sum(-1)
        return Gradients(scores, (ends[0] - ends[1]).item(), steps)

    @torch.inference_mode()
    def _compute_ends(
        self, pair: Tensor, types: Tensor | None, at: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """The scores [2, O] at both ends of the path, and the network's own embeddings [2, L, D] if
        they lie text by text, once. XLNet's do not, and those with a decoder embed a text twice:
        they are given from outside then; ids are better where a family makes more of them, such as
        places.

        Raises:
            UserError: the decoder does not read the text's own embeddings, one place later.
        """
        embedded: list[Tensor] = []
        with ExitStack() as hooks:
            for layer in self._embedding_layers:
                hooks.enter_context(
                    layer.register_forward_hook(lambda _, inputs, states: embedded.append(states))
                )
            scores = self.compute_scores(pair, types, at)
        if self.network.config.is_encoder_decoder:
            if len(embedded) != 2 or not torch.equal(embedded[0][:, :-1], embedded[1][:, 1:]):
                raise UserError(
                    f"the decoder of the family '{self.network.config.model_type}' does not read "
                    "the text as its encoder does, one token later, so this model is not explained",
                    key="run",
                )
            return scores, None
        shapes = [states.shape[:2] for states in embedded]
        # some families pad a text at its end by themselves
        lies_by_text = len(shapes) == 1 and shapes[0][0] == 2 and shapes[0][1] >= pair.shape[1]
        return scores, embedded[0] if lies_by_text else None

    @property
    def _embedding_layers(self) -> list[torch.nn.Module]:
        """Where ids become vectors, the text's own first; both may be one layer."""
        if not self.network.config.is_encoder_decoder:
            return [self.network.get_input_embeddings()]
        sides = (self.network.get_encoder(), self.network.get_decoder())
        return list(dict.fromkeys(side.get_input_embeddings() for side in sides))

    @contextmanager
    def _embed_twice_as(self, states: Tensor) -> Iterator[None]:
        """Let encoder and decoder read `states` [B, L, D] in place of their embeddings. The decoder
        reads them one place later, behind the token that it begins with.
        """
        is_read = False

        def replace(module: torch.nn.Module, inputs: object, found: Tensor) -> Tensor:
            nonlocal is_read
            if is_read:
                return torch.cat((found[:, :1], states[:, :-1]), 1)
            is_read = True
            return states

        with ExitStack() as hooks:
            for layer in self._embedding_layers:
                hooks.enter_context(layer.register_forward_hook(replace))
            yield

    def roll_out_attention(self, ids: Tensor, types: Tensor | None, at: int) -> Tensor | None:
        """How much of each token [L] could flow to the place `at` through the attention of all
        layers; None for a family that gives no attention weights of all tokens.
        """
        arguments: dict[str, Tensor] = {"attention_mask": torch.ones_like(ids[None])}
        if types is not None and has_token_types(self.network):
            arguments["token_type_ids"] = types[None]
        try:
            with torch.inference_mode():
                weights = self.network.base_model(
                    input_ids=ids[None], output_attentions=True, **arguments
                ).attentions
        except (TypeError, ValueError, AttributeError):
            return None
        size = len(ids)
        if not weights or any(layer.shape[-2:] != (size, size) for layer in weights):
            return None
        return roll_out([layer[0] for layer in weights])[at]


def roll_out(attentions: Sequence[Tensor]) -> Tensor:
    """Attention rollout (Abnar & Zuidema 2020, section 3): the product of all layers' mean
    attention, each with half of the identity for the residual connection; [H, L, L] of each layer
    to [L, L], whose rows sum to 1.
    """
    size = attentions[0].shape[-1]
    product = torch.eye(size, dtype=torch.float64)
    for weights in attentions:
        mean = weights.double().mean(0) + torch.eye(size, dtype=torch.float64)
        product = (mean / mean.sum(-1, keepdim=True)) @ product
    return product


def measure_faithfulness(
    probability: Scores, ids: Tensor, movable: Tensor, importance: Tensor
) -> Faithfulness:
    """Comprehensiveness and sufficiency of a ranking of tokens (DeYoung et al. 2020, section 4).

    Tokens are taken out of the text, not masked. Special tokens stay.

    Args:
        probability: of the answer, for a mask [L] of the tokens that stay.
        ids: [L].
        movable: [L], True for the tokens that may be taken away.
        importance: [L], the higher, the more a token speaks for the answer.
    """
    whole = probability(torch.ones(len(ids), dtype=torch.bool)).item()
    places = movable.nonzero().flatten()
    order = places[importance[places].argsort(descending=True, stable=True)]
    removed, kept = [], []
    for share in FAITHFULNESS_SHARES:
        count = max(int(np.ceil(share * len(order))), 1)
        without = torch.ones(len(ids), dtype=torch.bool)
        without[order[:count]] = False
        alone = ~movable
        alone[order[:count]] = True
        removed.append(whole - probability(without).item())
        kept.append(whole - probability(alone).item())
    return Faithfulness(float(np.mean(removed)), float(np.mean(kept)))


def choose_baseline_id(tokenizer: Any) -> int:
    """The token that stands for no word: the mask, else the unknown one, else padding.

    Padding comes last since some families number their positions by it.
    """
    ids = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    return next((known for known in ids if known is not None), 0)
