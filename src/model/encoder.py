"""A Hugging Face encoder with its head, behind a small interface that knows no padding.

Shape legend: B sequences, T real tokens, K chosen tokens, D width, V vocabulary, C labels.

The whole `...ForMaskedLM` or `...ForSequenceClassification` model is held, so that what is saved is an ordinary
Hugging Face folder; but its body runs on flat tokens, and its head only where an answer is wanted.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from src.model import attention, lean
from src.model.layout import Layout, means
from src.model.vocabulary import vocabulary_answers, vocabulary_loss
from src.terms.batch import Tokens
from src.terms.fault import Fault, suggestion
from src.terms.loading import from_hub_or_folder

Head = Literal["masked_lm", "sequence"]
CLASSES: dict[Head, Any] = {"masked_lm": AutoModelForMaskedLM, "sequence": AutoModelForSequenceClassification}

# How each family's masked-LM head prepares hidden states [K, D] for the product with its vocabulary.
TOKEN_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "albert": lambda m, h: m.predictions.LayerNorm(m.predictions.activation(m.predictions.dense(h))),
    "bert": lambda m, h: m.cls.predictions.transform(h),
    "camembert": lambda m, h: _roberta_head(m.lm_head, h),
    "deberta-v2": lambda m, h: (
        m.cls.predictions.transform(h) if m.legacy else _deberta_head(m.lm_predictions.lm_head, h)
    ),
    "distilbert": lambda m, h: m.vocab_layer_norm(m.activation(m.vocab_transform(h))),
    "electra": lambda m, h: m.generator_predictions(h),
    "modernbert": lambda m, h: m.head(h),
    "mpnet": lambda m, h: _roberta_head(m.lm_head, h),
    "roberta": lambda m, h: _roberta_head(m.lm_head, h),
    "xlm-roberta": lambda m, h: _roberta_head(m.lm_head, h),
}


def _roberta_head(head: Any, hidden: Tensor) -> Tensor:
    return head.layer_norm(nn.functional.gelu(head.dense(hidden)))


def _deberta_head(head: Any, hidden: Tensor) -> Tensor:
    return head.LayerNorm(head.transform_act_fn(head.dense(hidden)))


# How each family's classification head turns what stands for a sequence, as [B, 1, D], into logits [B, C].
SEQUENCE_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "albert": lambda m, h: m.classifier(m.dropout(m.albert.pooler_activation(m.albert.pooler(h[:, 0])))),
    "bert": lambda m, h: m.classifier(m.dropout(m.bert.pooler(h))),
    "camembert": lambda m, h: m.classifier(h),
    "deberta-v2": lambda m, h: m.classifier(m.dropout(m.pooler(h))),
    "distilbert": lambda m, h: m.classifier(m.dropout(m.pre_classifier(h[:, 0]).relu())),
    "electra": lambda m, h: m.classifier(h),
    "modernbert": lambda m, h: m.classifier(m.drop(m.head(h[:, 0]))),
    "mpnet": lambda m, h: m.classifier(h),
    "roberta": lambda m, h: m.classifier(h),
    "xlm-roberta": lambda m, h: m.classifier(h),
}
_OFFSET_POSITIONS = {"camembert", "roberta", "xlm-roberta"}  # the first one is the padding's index plus one
_BELOW_LAYERS = ("embeddings", "embeddings_project", "encoder.embedding_hidden_mapping_in")  # ELECTRA's, ALBERT's own
_WITH_TYPES = {"albert", "bert", "electra", "deberta-v2"}


def check_config(config: PreTrainedConfig) -> None:
    """Raise Fault where an encoder of this kind is not known here."""
    family = config.model_type
    if family not in TOKEN_HEADS:
        raise Fault(
            f"model.encoder: encoders of the family '{family}' are not supported; {suggestion(family, TOKEN_HEADS)}"
        )
    check_settings(config.to_dict(), "model.encoder: ")


def check_settings(settings: Mapping[str, Any], where: str, key: str = "") -> None:
    """Raise Fault where a config.json, which leaves out what is as usual, asks for what is not done here.

    Args:
        where, key: what the message begins and ends with.
    """
    if settings.get("is_decoder"):
        raise Fault(
            f"{where}is_decoder=true, so its tokens see only those before them; expected an encoder, whose tokens see "
            f"all{key}"
        )
    family = settings["model_type"]
    if family in _OFFSET_POSITIONS and settings.get("pad_token_id", 0) is None:
        raise Fault(
            f"{where}pad_token_id is null, but the positions of the family '{family}' are counted from it; expected "
            f"the id of the tokenizer's padding{key}"
        )


def first_position(config: PreTrainedConfig) -> int:
    """The index of a sequence's first position."""
    if config.model_type == "mpnet":
        return 2  # whatever its padding is
    return config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0


def positions(tokens: Tokens, config: PreTrainedConfig) -> Tensor:
    """Index [T] of each token among the learnt positions.

    RoBERTa and those after it count tokens that are not padding. One that a text names itself stands at the padding's
    own position and is passed over: in [a <pad> b], with padding 1, they are [2 1 3].
    """
    plain = tokens.positions + first_position(config)
    if config.model_type not in _OFFSET_POSITIONS:
        return plain
    named = tokens.ids == config.pad_token_id
    if named.device.type == "cpu" and not named.any():  # elsewhere to ask would be to wait
        return plain
    count = named.cumsum(0)
    begin = torch.arange(len(named), device=named.device) - tokens.positions  # [T]: where its sequence begins
    passed = count - (count - named.long())[begin]  # of its own sequence, up to here
    return torch.where(named, config.pad_token_id, plain - passed)


class Encoder(nn.Module):
    """One pretrained or fresh network, with the head of one task."""

    def __init__(self, network: PreTrainedModel, head: Head) -> None:
        super().__init__()
        check_config(network.config)
        self.network = network
        self.head = head
        self.packs = attention.supports(network)
        self.lean = network.config.model_type in lean.FAMILIES  # else its own forward, through transformers
        self.checkpointing = False  # of gradients: keep only what stands between layers, compute the rest again
        if self.packs:
            network.config._attn_implementation = attention.NAME
        for module in network.modules():
            if hasattr(module, "chunk_size_feed_forward"):
                vars(module)["chunk_size_feed_forward"] = 0  # it only saves memory, and divides only padded rows

    @property
    def config(self) -> PreTrainedConfig:
        return self.network.config

    @property
    def takes_means(self) -> bool:
        """Whether a sequence is the mean of its tokens to the head, as some ModernBERTs have it, not the first one."""
        return self.head == "sequence" and getattr(self.config, "classifier_pooling", "cls") == "mean"

    def encode_sequences(self, tokens: Tokens) -> Tensor:
        """What stands for each sequence in `sequence_logits`: [B, D]."""
        return means(self.encode(tokens), tokens) if self.takes_means else self.encode(tokens, at="first")

    def encode(self, tokens: Tokens, at: lean.Wanted = None) -> Tensor:
        """Hidden states of the real tokens, [T, D], or of some alone.

        Args:
            at: places [K] in the flat batch, or "first" for the first token of each sequence: [K, D] or [B, D].
        """
        if self.lean:
            body, family, places = self.network.base_model, self.config.model_type, positions(tokens, self.config)
            return lean.hidden_states(body, family, tokens, places, at=at, checkpointing=self.checkpointing)
        layout = Layout(tokens)
        return layout.wanted(at, self._encode_whole(tokens, layout))[0]

    def _encode_whole(self, tokens: Tokens, layout: Layout) -> Tensor:
        """Through transformers' own forward: [T, D]."""
        arguments: dict[str, Any] = {}
        if self.config.model_type in _WITH_TYPES and self.config.type_vocab_size > 1:
            arguments["token_type_ids"] = tokens.types[None]
        if not self.packs:
            return self._encode_padded(tokens, arguments)
        arguments |= {"position_ids": positions(tokens, self.config)[None], "layout": layout}
        return self.network.base_model(input_ids=tokens.ids[None], **arguments).last_hidden_state[0]

    def _encode_padded(self, tokens: Tokens, arguments: dict[str, Any]) -> Tensor:
        """The plain way, for families whose attention cannot be told the borders."""
        lengths = tokens.starts.diff().long()
        filled = torch.arange(tokens.longest, device=lengths.device) < lengths[:, None]  # [B, L]

        def spread(flat: Tensor, fill: int) -> Tensor:
            return flat.new_full(filled.shape, fill).masked_scatter(filled, flat)

        wide = {name: spread(flat[0], 0) for name, flat in arguments.items()}
        ids = spread(tokens.ids, self.config.pad_token_id or 0)  # none: no token is looked at there, whatever it is
        return self.network.base_model(input_ids=ids, attention_mask=filled.long(), **wide).last_hidden_state[filled]

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for chosen tokens: [K, D] to [K, V]."""
        weight, bias = self._vocabulary()
        return nn.functional.linear(TOKEN_HEADS[self.config.model_type](self.network, hidden), weight, bias)

    def token_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum of the cross-entropies of chosen tokens [K, D] with their targets [K]; holds no logits in fp32."""
        weight, bias = self._vocabulary()
        return vocabulary_loss(TOKEN_HEADS[self.config.model_type](self.network, hidden), weight, bias, targets)

    def token_answers(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of `token_loss`, exact in fp32 but without a gradient, and the likeliest token of each [K]."""
        weight, bias = self._vocabulary()
        return vocabulary_answers(TOKEN_HEADS[self.config.model_type](self.network, hidden), weight, bias, targets)

    def _vocabulary(self) -> tuple[Tensor, Tensor | None]:
        """Weight [V, D] and bias [V] of the last product of a masked-LM head."""
        network: Any = self.network
        if self.config.model_type == "deberta-v2" and not network.legacy:  # its head names another module as its last
            return network.deberta.embeddings.word_embeddings.weight, network.lm_predictions.lm_head.bias
        last = network.get_output_embeddings()
        return last.weight, last.bias

    def sequence_logits(self, sequences: Tensor) -> Tensor:
        """Scores for each sequence, from what stands for it (`encode_sequences`): [B, D] to [B, C]."""
        return SEQUENCE_HEADS[self.config.model_type](self.network, sequences[:, None])

    def checkpoint_gradients(self, on: bool) -> None:
        """Keep only what stands between layers for the backward pass, and compute the rest again."""
        self.checkpointing = on
        if on and not self.lean:
            of = self.network  # named anew in transformers 5.20
            enable = getattr(of, "activation_checkpointing_enable", None) or of.gradient_checkpointing_enable
            enable({"use_reentrant": False})

    def embeddings(self) -> list[nn.Module]:
        """What lies below the first layer."""
        parts = dict(self.network.base_model.named_modules())
        return [parts[name] for name in _BELOW_LAYERS if name in parts]

    def layers(self) -> list[nn.Module]:
        """The transformer layers, lowest first. ALBERT's one shared layer stands once."""
        body: Any = self.network.base_model
        if self.config.model_type == "albert":
            return list(body.encoder.albert_layer_groups)
        for place in ("layers", "encoder.layer", "transformer.layer"):
            try:
                return list(body.get_submodule(place))
            except AttributeError:
                continue
        raise Fault(f"model.freeze: the layers of '{self.config.model_type}' are not known")

    def freeze(self, what: str | int) -> list[nn.Module]:
        """Take part of the body out of training; returns the frozen modules, which must stay in eval mode.

        Args:
            what: `embeddings`, `encoder` (everything but the head), or a number of layers counted from below, which
                includes the embeddings.
        """
        if what == "encoder":
            # BERT's and ALBERT's pooler stands in the body but is the head's first layer.
            parts = self.network.base_model.named_children()
            frozen = [part for name, part in parts if not name.startswith("pooler")]
        elif what == "embeddings":
            frozen = self.embeddings()
        else:
            layers = self.layers()
            if int(what) > len(layers):
                raise Fault(f"model.freeze: {what} layers are to be frozen, but the encoder has {len(layers)}")
            frozen = [*self.embeddings(), *layers[: int(what)]]
        for module in frozen:
            module.requires_grad_(False)
        return frozen

    def save(self, folder: Path) -> None:
        """An ordinary Hugging Face folder: config.json and model.safetensors."""
        implementation = self.config._attn_implementation
        self.config._attn_implementation = "sdpa" if self.packs else implementation
        try:
            self.network.save_pretrained(folder)
        finally:
            self.config._attn_implementation = implementation


def opened(folder: Path, head: Head) -> Encoder:
    """The encoder of a folder that a run has left, with its trained head."""
    config = from_hub_or_folder(AutoConfig.from_pretrained, str(folder), key="run")
    config._attn_implementation = None  # a folder may name one on the hub, whose code would be fetched and run
    return Encoder(from_hub_or_folder(CLASSES[head].from_pretrained, str(folder), key="run", config=config), head)
