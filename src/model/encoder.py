"""A Hugging Face encoder with its head, behind a small interface without padding.

It holds the whole `...ForMaskedLM` or `...ForSequenceClassification` model, so that an ordinary
Hugging Face folder is saved; but the body runs on flat tokens, and the head only on the tokens
whose answer is wanted.

Shape legend: B sequences, T real tokens, K chosen tokens, U tokens that are written, D width,
V vocabulary, C labels.
"""

from inspect import signature
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.logging import set_tqdm_hook

from src.core.batch import Tokens
from src.core.notices import Notices, join_notices
from src.core.user_errors import UserError
from src.model import fast_encoder, text_pooling
from src.model.attention import ragged_attention
from src.model.attention.ragged_layout import RaggedLayout
from src.model.decoder_rows import check_decoder, compute_decoder_logits
from src.model.encoder_families import (
    HEADS,
    PAIR_HEADS,
    SEQUENCE_HEADS,
    TOKEN_HEADS,
    check_encoder_config,
    compute_position_ids,
    find_longest_sequence,
    has_token_types,
)
from src.model.layer_stack import find_body_prefix, find_embeddings, find_layers
from src.model.model_classes import TEXT_HEADS, HeadType, find_model_class
from src.model.padded_rows import PaddedRows
from src.model.pretrained_weights import LoadedWeights
from src.model.reading_direction import (
    check_direction,
    check_kept_direction,
    knows_both_directions,
)
from src.model.vocab_loss import vocabulary_loss, vocabulary_losses_and_predictions

# reading and writing files of weights takes a moment; the hub's bars of downloads stay
set_tqdm_hook(lambda factory, args, kwargs: factory(*args, **{**kwargs, "disable": True}))


class Encoder(nn.Module):
    """A pretrained or fresh network with the head of one task."""

    def __init__(self, network: PreTrainedModel, head: HeadType) -> None:
        super().__init__()
        family = network.config.model_type
        check_encoder_config(network.config, find_model_class(head, family))
        self.network, self.head = network, head
        # the head is run by itself, on chosen tokens; else the whole network on padded rows
        own_heads = HEADS.get("sequence" if head in TEXT_HEADS else head, {})
        self.has_own_head = family in own_heads
        if head in TEXT_HEADS:
            text_pooling.add_pooling_weights(network)
        self.supports_packing = self.has_own_head and ragged_attention.supports_packing(network)
        # run the body by src/model/fast_encoder.py; else by its own forward in transformers
        self.uses_fast_path = fast_encoder.supports_network(network)
        # its tokens are kept from seeing those after them, though its family knows both directions
        self.is_causal = head == "causal_lm" and knows_both_directions(family)
        self.check_direction()
        self.rows = PaddedRows(network, judges_texts=head in TEXT_HEADS)
        if head == "denoising":
            check_decoder(network)
        # one without values (src/model/bare_network.py) cannot be tried
        elif not any(weight.is_meta for weight in network.parameters()):
            is_asked = head == "causal_lm" and not self.is_causal
            self.rows.try_network(finds_side=not self.has_own_head, is_causal=is_asked)
        self.gradient_checkpointing = False
        # None: all began random
        self.loaded_weights: LoadedWeights | None = None
        # trained beside it, in checkpoints, but not saved with it (`GeneratorObjective`)
        self.generator: Encoder | None = None
        if self.supports_packing:
            network.config._attn_implementation = ragged_attention.ATTENTION_NAME
        for module in network.modules():
            if hasattr(module, "chunk_size_feed_forward"):
                # chunks only save memory, and they divide only padded rows
                vars(module)["chunk_size_feed_forward"] = 0

    @property
    def config(self) -> PreTrainedConfig:
        return self.network.config

    def check_direction(self) -> None:
        """Raise UserError if the network's tokens would see others than its head is for."""
        can_be_told = self.uses_fast_path or self.supports_packing
        check_direction(self.config, self.is_causal, can_be_told=can_be_told)

    def check_kept(self) -> None:
        """Raise UserError if it must not be what a run leaves, as nothing opens it as what it
        is.
        """
        if self.is_causal:
            check_kept_direction(self.config.model_type)

    @property
    def pooling(self) -> text_pooling.Pooling:
        """What represents a sequence for its head."""
        return text_pooling.read_pooling(self.config) if self.head in TEXT_HEADS else "first"

    def describe_loading(self) -> Notices:
        """What should be known of how the weights were loaded, and how many are trained."""
        # of what is saved
        parameters = list(self.network.parameters())
        sizes = {
            "model/parameters": str(sum(item.numel() for item in parameters)),
            "model/trained": str(sum(item.numel() for item in parameters if item.requires_grad)),
        }
        if self.generator is not None:
            own = set(self.parameters()) - set(parameters)
            sizes["model/generator_parameters"] = str(sum(item.numel() for item in own))
        notices = [text_pooling.describe_pooling(self.network), Notices((), sizes)]
        if self.loaded_weights is not None:
            notices.insert(0, self.loaded_weights.describe(self.network.base_model_prefix))
        return join_notices(*notices)

    def check_text_vectors(self) -> None:
        """Raise UserError if the network runs as a whole, so that there are none."""
        if not self.has_own_head:
            raise UserError(
                f"the family '{self.config.model_type}' runs as a whole, so that its texts have no "
                "vectors to mix",
                key="model.objective.mixup",
                expected="null",
            )

    def encode_sequences(self, tokens: Tokens) -> Tensor:
        """The vector that represents each sequence [B, D], for `compute_sequence_logits`. Raises
        UserError if the network runs as a whole.
        """
        self.check_text_vectors()
        if self.pooling == "first":
            return self.encode(tokens, at="first")
        return text_pooling.pool_tokens(self.network, self.encode(tokens), tokens)

    @property
    def has_token_types(self) -> bool:
        """True if it tells the tokens of a pair's second text from those of the first."""
        return has_token_types(self.network)

    @property
    def max_tokens(self) -> int | None:
        """Of the longest sequence that it has positions for; None: of any length."""
        return find_longest_sequence(self.network)

    @property
    def padding_side(self) -> Literal["right", "left"]:
        """Where transformers must pad texts for it."""
        return self.rows.side or "right"

    def encode(self, tokens: Tokens, at: fast_encoder.TokenSelection = None) -> Tensor:
        """Hidden states of the real tokens [T, D], or of some of them.

        Args:
            at: positions [K] in the flat batch, which give [K, D], or "first" for the first token
                of each sequence, which gives [B, D].
        """
        if self.uses_fast_path:
            return fast_encoder.compute_hidden_states(
                self.network.base_model,
                self.config.model_type,
                tokens,
                compute_position_ids(tokens, self.config),
                at=at,
                is_causal=self.is_causal,
                checkpointing=self.gradient_checkpointing,
            )
        layout = RaggedLayout(tokens, is_causal=self.is_causal)
        return layout.select_tokens(at, self._encode_with_transformers(tokens, layout))[0]

    def _encode_with_transformers(self, tokens: Tokens, layout: RaggedLayout) -> Tensor:
        """Hidden states [T, D] by transformers' own forward."""
        types = tokens.type_ids if self.has_token_types else None
        body: Any = self.network.base_model
        if not self.supports_packing:
            if self.config.is_encoder_decoder:
                body = body.get_encoder()
            return self.rows.compute_states(body, tokens, types)
        arguments: dict[str, Any] = {} if types is None else {"token_type_ids": types[None]}
        if "use_cache" in signature(body.forward).parameters:
            arguments["use_cache"] = False
        position_ids = compute_position_ids(tokens, self.config)[None]
        return body(
            input_ids=tokens.ids[None], position_ids=position_ids, layout=layout, **arguments
        ).last_hidden_state[0]

    def compute_logits(self, tokens: Tokens, at: Tensor | None = None) -> Tensor:
        """What the head gives, for every family: scores of the labels for each sequence [B, C], or
        of a head for tokens the scores for each token.

        Args:
            at: for a head for tokens, the positions [K] of those that are wanted; None: all [T].
        """
        if not self.has_own_head:
            return self.run_network(tokens, at)
        if self.head in TEXT_HEADS:
            return self.compute_sequence_logits(self.encode_sequences(tokens))
        hidden = self.encode(tokens, at=at)
        if self.head in ("token_classification", "replaced_tokens"):
            return HEADS[self.head][self.config.model_type](self.network, hidden)
        return self.compute_token_logits(hidden)

    def run_network(self, tokens: Tokens, at: Tensor | None = None) -> Tensor:
        """What `compute_logits` gives, by the network's own forward on padded rows."""
        types = tokens.type_ids if self.has_token_types else None
        return self.rows.compute_logits(tokens, at, types)

    def compute_target_logits(self, tokens: Tokens, targets: Tokens) -> Tensor:
        """Scores [U, V] of tokens that a decoder is to write, from the text and those before."""
        return compute_decoder_logits(self.network, tokens, targets)

    def compute_loss_at(self, tokens: Tokens, at: Tensor, targets: Tensor) -> Tensor:
        """Sum of the cross-entropies of chosen tokens with their targets over the vocabulary.

        Args:
            at: positions [K] in the flat batch.
            targets: [K], the right tokens.
        """
        if not self.has_own_head:
            logits = self.run_network(tokens, at).float()
            return nn.functional.cross_entropy(logits, targets, reduction="sum")
        return self.compute_token_loss(self.encode(tokens, at=at), targets)

    def compute_losses_and_predictions_at(
        self, tokens: Tokens, at: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses [K] whose sum `compute_loss_at` gives, exact in fp32 but without a gradient,
        and the likeliest token of each [K].
        """
        if not self.has_own_head:
            logits = self.run_network(tokens, at).float().detach()
            losses = nn.functional.cross_entropy(logits, targets, reduction="none")
            return losses, logits.argmax(-1)
        return self.compute_losses_and_predictions(self.encode(tokens, at=at), targets)

    def compute_token_logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for chosen tokens: [K, D] to [K, V]."""
        return nn.functional.linear(*self._prepare_projection(hidden))

    def compute_token_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum of the cross-entropies of chosen tokens [K, D] with their targets [K]; holds no
        logits in fp32.
        """
        return vocabulary_loss(*self._prepare_projection(hidden), targets)

    def compute_losses_and_predictions(
        self, hidden: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses [K] whose sum `compute_token_loss` gives, exact in fp32 but without a
        gradient, and the likeliest token of each [K].
        """
        return vocabulary_losses_and_predictions(*self._prepare_projection(hidden), targets)

    def _prepare_projection(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The factors of a masked-LM head's last product: states [K, D], and weight and bias."""
        states = TOKEN_HEADS[self.config.model_type](self.network, hidden)
        return states, *self._get_output_projection()

    def _get_output_projection(self) -> tuple[Tensor, Tensor | None]:
        """Weight [V, D] and bias [V] of the last product of a masked-LM head."""
        network: Any = self.network
        # its head names another module as its output
        if self.config.model_type == "deberta-v2" and not network.legacy:
            return (
                network.deberta.embeddings.word_embeddings.weight,
                network.lm_predictions.lm_head.bias,
            )
        last = network.get_output_embeddings()
        return last.weight, last.bias

    def compute_sequence_logits(self, sequences: Tensor) -> Tensor:
        """Scores of the labels for each sequence, as `encode_sequences` gives it: [B, D] to
        [B, C].
        """
        return SEQUENCE_HEADS[self.config.model_type](self.network, sequences[:, None])

    def compute_pair_logits(self, firsts: Tensor) -> Tensor:
        """Scores [B, 2] of two segments going on from each other (0) or not (1), from the states of
        their first tokens [B, D].
        """
        return PAIR_HEADS[self.config.model_type](self.network, firsts[:, None])

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Keep only the states between layers for the backward pass, and compute the rest again."""
        self.gradient_checkpointing = on
        network = self.network
        if on and not network.supports_gradient_checkpointing and not self.uses_fast_path:
            raise UserError(
                f"transformers cannot do this for the family '{self.config.model_type}'",
                key="model.gradient_checkpointing",
                value="true",
                expected="false",
            )
        if on and not (self.uses_fast_path and self.has_own_head):
            # its name since transformers 5.20
            new_method = getattr(network, "activation_checkpointing_enable", None)
            enable = new_method or network.gradient_checkpointing_enable
            enable({"use_reentrant": False})

    def get_embedding_modules(self) -> list[nn.Module]:
        """The modules below the first layer."""
        body = self.network.base_model
        return list(find_embeddings(body, find_layers(body, self.config.model_type)).values())

    def get_layers(self) -> list[nn.Module]:
        """The transformer layers, lowest first. ALBERT's one shared layer is listed once. Raises
        UserError if they are not known.
        """
        return list(find_layers(self.network.base_model, self.config.model_type).values())

    @property
    def knows_layers(self) -> bool:
        """False for a few families of transformers, whose layers are not listed one by one."""
        try:
            return bool(self.get_layers())
        except UserError:
            return False

    def count_layers_above(self, name: str) -> int:
        """The number of layers that a parameter lies below the head, by its name in this module; 0
        in the head itself. Raises UserError if the layers are not known.
        """
        prefix = f"network.{find_body_prefix(self.network)}"
        # a pooler stands in the body but belongs to the head, and so may the output layer
        if not name.startswith(prefix) or ".pooler" in name or name.endswith("lm_head.weight"):
            return 0
        body, own_name = self.network.base_model, name.removeprefix(prefix)
        layers = find_layers(body, self.config.model_type)
        for number, layer in enumerate(layers):
            if own_name.startswith(f"{layer}."):
                return len(layers) - number
        embeddings = tuple(f"{module}." for module in find_embeddings(body, layers))
        is_below = "embedding" in name or own_name.startswith(embeddings)
        return len(layers) + 1 if is_below else 1

    def freeze_modules(self, what: str | int) -> list[nn.Module]:
        """Take a part of the body out of training.

        Args:
            what: `embeddings`, `encoder` (everything but the head), or a number of layers counted
                from below, which includes the embeddings.

        Returns the frozen modules, which must stay in eval mode. Raises UserError if there are
        fewer layers, or some of these begin random beside pretrained ones.
        """
        if what == "encoder":
            # BERT's and ALBERT's pooler stands in the body but is the head's first layer.
            children = self.network.base_model.named_children()
            frozen = [child for name, child in children if not name.startswith("pooler")]
            for parameter in self.network.base_model.parameters(recurse=False):
                # XLNet has one outside of its modules
                parameter.requires_grad_(False)
        elif what == "embeddings":
            frozen = self.get_embedding_modules()
        else:
            layers = self.get_layers()
            if int(what) > len(layers):
                raise UserError(
                    f"model.freeze: {what} layers are to be frozen, but the encoder has "
                    f"{len(layers)}"
                )
            frozen = [*self.get_embedding_modules(), *layers[: int(what)]]
            fresh = set(self.loaded_weights.fresh) if self.loaded_weights is not None else set()
            parts = {weight for layer in layers[: int(what)] for weight in layer.parameters()}
            named = self.network.named_parameters()
            if any(name in fresh for name, weight in named if weight in parts):
                raise UserError(
                    f"model.freeze: {what} layers are to be frozen, but some of them begin random "
                    "(model.encoder.reinit_layers)"
                )
        for module in frozen:
            module.requires_grad_(False)
        return frozen

    def save_pretrained(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder: config.json and model.safetensors."""
        implementation = self.config._attn_implementation
        self.config._attn_implementation = "sdpa" if self.supports_packing else implementation
        try:
            self.network.save_pretrained(folder)
        finally:
            self.config._attn_implementation = implementation
