"""Configs of encoders: a fresh one by its sizes, or a pretrained one by name, folder or run.

They hold plain values only; transformers is imported when the encoder is built, inside the tracked
run.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from src.core.dataset_info import TEXT_TASKS, DatasetInfo, Task
from src.core.hub_cache import check_cached_files
from src.core.pretrained_files import check_encoder_folder, resolve_local_folder
from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveInt, validate_init
from src.model.head_outputs import name_outputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from src.model.encoder import Encoder
    from src.model.model_classes import HeadType

NAME_OR_PATH_KEY = "model.encoder.name_or_path"
HEAD_KEY = "model.encoder.head"
_POSITIONS = f"positions of {NAME_OR_PATH_KEY}"
# heads that know no labels
_TEXT_HEADS = (*TEXT_TASKS, "replaced_tokens")
DropoutRate = Annotated[float, Bound(least=0, below=1)]
_ENCODER_FAMILIES = ("bert", "modernbert", "electra")
_FRESH_FAMILIES: dict[str, tuple[str, ...]] = {
    "causal_lm": ("gpt2", *_ENCODER_FAMILIES),
    "denoising": ("bart", "t5"),
    "masked_lm_with_next_sentence": ("bert",),
    "replaced_tokens": ("electra",),
}
# why a head is for other families than the one that is named, or a family for other heads
_UNFIT_HEADS = {
    "denoising": "this family has no decoder, which is to write what noise has hidden",
    "replaced_tokens": "of this family, transformers has no network that tells replaced tokens",
}
_UNFIT_FAMILIES = {
    "gpt2": "this family reads in one direction, which is for causal language modelling alone",
    **dict.fromkeys(("bart", "t5"), "this family has a decoder, which is for denoising alone"),
}


@validate_init
@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A fresh encoder with random weights.

    Args:
        family: `bert` (Devlin et al., 2019), `modernbert` (Warner et al., 2024: rotary positions,
            gated units, local attention in two of three layers), `electra` (Clark et al., 2020),
            which replaced-token detection needs, for causal language modelling alone `gpt2`
            (Radford et al., 2019), or for denoising `bart` (Lewis et al., 2020) or `t5` (Raffel et
            al., 2020).
        layers: number of transformer layers; a decoder has as many.
        width: of the hidden states.
        heads: of attention in each layer; `width` is divided among them.
        intermediate: width of the feed-forward layers; null: 4 times `width`.
        max_tokens: longest sequence that it will ever read; its learnt positions end there.
        dropout: share dropped everywhere inside; 0 is right for pretraining on more text than the
            model can memorise.
        pooling: what represents a whole text for its head: its `first` token, the `mean` of its
            tokens, or a mean with learnt weights (`attention`). Null: the first.
    """

    family: Literal["bert", "modernbert", "electra", "gpt2", "bart", "t5"] = "bert"
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    intermediate: PositiveInt | None = None
    max_tokens: PositiveInt = 512
    dropout: DropoutRate = 0.0
    pooling: Literal["first", "mean", "attention"] | None = None

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"width={self.width} is not divisible by heads={self.heads} (model.encoder.width, "
                "model.encoder.heads)"
            )

    def check(self, head: "HeadType", max_tokens: int | None = None) -> None:
        """Raise UserError if the family cannot do this: GPT-2 reads in one direction alone, ELECTRA
        alone has a discriminator, BART and T5 alone a decoder, and BERT alone a head for pairs of
        segments.
        """
        if head == "masked_lm_with_next_sentence":
            from src.model.encoder_families import check_family
            from src.model.model_classes import AUTO_MODEL_CLASSES

            check_family(
                self.family, AUTO_MODEL_CLASSES[head], "model.encoder: ", " (model.encoder.family)"
            )
        fitting = _FRESH_FAMILIES.get(head, _ENCODER_FAMILIES)
        if self.family not in fitting:
            raise UserError(
                _UNFIT_HEADS.get(head) or _UNFIT_FAMILIES[self.family],
                key="model.encoder.family",
                value=self.family,
                expected=" or ".join(
                    (*[", ".join(fitting[:-1])] * (len(fitting) > 1), fitting[-1])
                ),
            )

    def build(
        self,
        head: "HeadType",
        dataset_info: DatasetInfo,
        label_names: tuple[str, ...],
        *,
        task: Task = "classification",
    ) -> "Encoder":
        """Build the encoder with random weights from torch's global generator.

        Args:
            head: what it is for.
            dataset_info: vocabulary and length of the data.
            label_names: classes of a head that classifies; empty for other heads.
            task: what the head is for.

        Raises UserError if the data's sequences are too long for it.
        """
        from src.model.encoder import Encoder
        from src.model.fresh_config import build_fresh_config
        from src.model.model_classes import find_model_class
        from src.model.reading_direction import set_direction
        from src.model.text_pooling import write_pooling

        _check_max_tokens(
            dataset_info.max_tokens, self.max_tokens, "model.encoder.max_tokens", head
        )
        labels = _label_settings(label_names, task, head)
        config = build_fresh_config(self, dataset_info, labels)
        write_pooling(config, self.pooling)
        set_direction(config, head == "causal_lm")
        return Encoder(find_model_class(head, self.family).from_config(config), head)

    def read_family(self) -> str:
        """The family."""
        return self.family


@validate_init
@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """An encoder with its trained weights.

    Args:
        name_or_path: a hub name or a folder with config.json and weights. `init_from=<run id>`
            fills it in.
        revision: branch, tag or commit of a hub name.
        dropout: share dropped everywhere inside, in place of what the encoder was trained with;
            null keeps that.
        head: what is done with a stored head for labels or a number. `auto` goes by the names of
            its labels: the same names are put in the order of the data's, and for others the output
            layer is fresh; `keep` keeps each output in its place, whatever its name; `fresh` begins
            with a fresh output layer.
        pooling: as for a fresh encoder; null keeps what the encoder does, which is mostly the first
            token.
        reinit_layers: number of transformer layers, from the top, that begin random instead, since
            the last ones are those that pretraining has shaped for its own task (Zhang et al.,
            2021, section 5); null: none.
    """

    name_or_path: str
    revision: str | None = None
    dropout: DropoutRate | None = None
    head: Literal["auto", "keep", "fresh"] = "auto"
    pooling: Literal["first", "mean", "attention"] | None = None
    reinit_layers: PositiveInt | None = None

    def check(self, head: "HeadType", max_tokens: int | None = None) -> "PreTrainedModel | None":
        """The network that a folder's config.json makes, without values; None for a hub name.

        Args:
            head: what it is for.
            max_tokens: of the data's longest sequence.

        Raises UserError if `name_or_path` means a folder that is absent or holds no whole encoder
        of a family that has the head and the pooling, or one that cannot read such sequences.
        """
        if head in _TEXT_HEADS and self.head != "auto":
            raise UserError(
                "there is a head to keep or to renew for labels and numbers only",
                key=HEAD_KEY,
                value=self.head,
                expected="auto",
            )
        folder = resolve_local_folder(self.name_or_path, NAME_OR_PATH_KEY)
        if folder is None:
            check_cached_files(self.name_or_path, self.revision, NAME_OR_PATH_KEY)
            return None
        from transformers import CONFIG_MAPPING

        from src.model.bare_network import build_bare_network
        from src.model.encoder_families import (
            check_config_json,
            check_family,
            find_longest_sequence,
        )
        from src.model.model_classes import find_model_class
        from src.model.text_pooling import check_pooling

        settings = check_encoder_folder(folder, CONFIG_MAPPING, NAME_OR_PATH_KEY)
        end = (f"{folder / 'config.json'}: ", f" ({NAME_OR_PATH_KEY})")
        family = settings["model_type"]
        check_family(family, find_model_class(head, family), *end)
        check_config_json(settings, *end)
        check_pooling(family, self.pooling)
        change_config = partial(self._change_config, head=head)
        network = build_bare_network(folder, settings, head, NAME_OR_PATH_KEY, change_config)
        if max_tokens is not None:
            _check_max_tokens(max_tokens, find_longest_sequence(network), _POSITIONS, head)
        return network

    def read_family(self) -> str | None:
        """The family that a folder's config.json names; None for a hub name."""
        from transformers import CONFIG_MAPPING

        folder = resolve_local_folder(self.name_or_path, NAME_OR_PATH_KEY)
        if folder is None:
            return None
        return str(check_encoder_folder(folder, CONFIG_MAPPING, NAME_OR_PATH_KEY)["model_type"])

    def _change_config(self, config: Any, head: "HeadType") -> str:
        """Write into a stored config what is asked for in its place; returns what changes in the
        direction of reading, in a clause.
        """
        from src.model.fresh_config import set_dropout
        from src.model.reading_direction import set_direction
        from src.model.text_pooling import write_pooling

        if self.dropout is not None:
            set_dropout(config, self.dropout)
        write_pooling(config, self.pooling)
        return set_direction(config, head == "causal_lm")

    def build(
        self,
        head: "HeadType",
        dataset_info: DatasetInfo,
        label_names: tuple[str, ...],
        *,
        task: Task = "classification",
    ) -> "Encoder":
        """Load the encoder with its weights. Its head is fresh where the folder has none that fits,
        which for a classifier means the same label names.

        Arguments as for `Scratch.build`. Raises UserError if the encoder fits neither the tokenizer
        nor the length of the data, if its weights are incomplete, or if there is no head to keep.
        """
        from src.model.classification_head import StoredHead, align_head
        from src.model.encoder import Encoder
        from src.model.encoder_families import TOKEN_HEADS, find_longest_sequence, find_vocab_size
        from src.model.model_classes import find_model_class
        from src.model.pretrained_weights import (
            check_body_weights,
            grow_embeddings,
            load_pretrained_network,
        )
        from src.model.reinit_layers import REINIT_KEY, reinit_top_layers
        from src.model.stored_encoder import load_encoder_config
        from src.model.text_pooling import WEIGHT_NAME, load_pooling_weights

        config = load_encoder_config(self.name_or_path, head, NAME_OR_PATH_KEY, self.revision)
        vocab_size = find_vocab_size(config)
        self._check_tokenizer_matches(dataset_info, vocab_size)
        stored_head = StoredHead.read(config)
        for key, value in _label_settings(label_names, task, head).items():
            setattr(config, key, value)
        direction = self._change_config(config, head)
        network, loaded = load_pretrained_network(
            find_model_class(head, config.model_type),
            self.name_or_path,
            key=NAME_OR_PATH_KEY,
            revision=self.revision,
            config=config,
        )
        check_body_weights(network, loaded, NAME_OR_PATH_KEY)
        loaded = loaded._replace(direction=direction)
        network = network.float()
        longest = find_longest_sequence(network)
        _check_max_tokens(dataset_info.max_tokens, longest, _POSITIONS, head)
        if config.model_type not in TOKEN_HEADS:
            # many have none, or find the end of a text by it
            network.config.get_text_config().pad_token_id = dataset_info.pad_id
        if dataset_info.vocab_size > vocab_size:
            loaded = grow_embeddings(network, loaded, dataset_info.vocab_size)
        if head not in _TEXT_HEADS:
            names = () if task == "regression" else name_outputs(head, label_names)
            loaded = align_head(network, loaded, stored_head, names, self.head, HEAD_KEY)
        encoder = Encoder(network, head)
        if encoder.pooling == "attention":
            folder = Path(self.name_or_path).expanduser()
            loaded = loaded.with_own_weight(WEIGHT_NAME, load_pooling_weights(network, folder))
        encoder.loaded_weights = loaded
        if self.reinit_layers is not None:
            reinit_top_layers(encoder, self.reinit_layers, REINIT_KEY)
        return encoder

    def _check_tokenizer_matches(self, dataset_info: DatasetInfo, known_ids: int) -> None:
        """Raise UserError if a token has another id in the encoder's own tokenizer; a comparison of
        sizes alone would let a foreign tokenizer through. Tokens that were added to it may lie
        beyond the ids that the encoder knows.
        """
        own_size = dataset_info.own_vocab_size
        if (dataset_info.vocab_size if own_size is None else own_size) > known_ids:
            raise UserError(
                f"the tokenizer has {dataset_info.vocab_size} tokens but the encoder "
                f"{self.name_or_path} knows {known_ids}: they do not belong together "
                "(data.tokenizer.name_or_path, model.encoder.name_or_path)"
            )
        file = Path(self.name_or_path).expanduser() / "tokenizer.json"
        if not file.is_file():
            return
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            vocabulary = content["model"]["vocab"]
            added = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file} is broken: {error!r} ({NAME_OR_PATH_KEY})") from error
        if not isinstance(vocabulary, dict):
            vocabulary = {token: token_id for token_id, (token, *_) in enumerate(vocabulary)}
        vocabulary = vocabulary | added
        tokens = {
            token: token_id
            for token, token_id in dataset_info.sample_tokens.items()
            if token_id < known_ids
        }
        differing = [
            token
            for token, token_id in tokens.items()
            if vocabulary.get(token, token_id) != token_id
        ]
        missing = [token for token in tokens if token not in vocabulary]
        if differing or len(missing) > len(tokens) // 10:
            raise UserError(
                f"the tokenizer does not fit the encoder {self.name_or_path}: "
                f"{len(differing) + len(missing)} of {len(tokens)} tokens compared have another id "
                "there (data.tokenizer must be the encoder's own; leave it out with init_from)"
            )


def _label_settings(label_names: tuple[str, ...], task: Task, head: "HeadType") -> dict[str, Any]:
    """The entries of a Hugging Face config that describe a head for texts."""
    if task == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    if head == "masked_lm_with_next_sentence":
        # ALBERT's head for pairs has as many outputs as there are labels
        return {"num_labels": 2}
    if not label_names:
        return {}
    names = name_outputs(head, label_names)
    # where outputs are decisions of their own, transformers' pipeline takes a sigmoid of each
    are_decisions = task == "multi_label" or head in ("binary", "ordinal")
    problem_type = "multi_label_classification" if are_decisions else "single_label_classification"
    return {
        "num_labels": len(names),
        "problem_type": problem_type if task != "token_classification" else None,
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def _check_max_tokens(max_tokens: int, limit: int | None, key: str, head: "HeadType") -> None:
    if limit is not None and max_tokens > limit:
        rows = "row_tokens" if head in _TEXT_HEADS else "max_tokens"
        raise UserError(
            f"sequences of {max_tokens} tokens (data.batching) are longer than the encoder's "
            f"{limit} ({key})",
            hint=f"data.batching.{rows}={limit} fits",
        )
