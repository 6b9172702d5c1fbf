"""Configs of encoders: a fresh one by its sizes, or a pretrained one by name, folder or run.

They hold plain values only; transformers is imported when the encoder is built, inside the tracked
run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from src.core.dataset_info import DatasetInfo, Task
from src.core.pretrained_files import check_encoder_folder, resolve_local_folder
from src.core.user_errors import UserError, UserErrors
from src.core.validation import Bound, PositiveInt, validate_init

if TYPE_CHECKING:
    from src.model.encoder import Encoder, HeadType

NAME_OR_PATH_KEY = "model.encoder.name_or_path"
DropoutRate = Annotated[float, Bound(least=0, below=1)]
_DROPOUT_KEYS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
)


@validate_init
@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A fresh encoder with random weights.

    Args:
        family: `bert` (Devlin et al., 2019) or `modernbert` (Warner et al., 2024: rotary positions,
            gated units, local attention in two of three layers).
        layers: number of transformer layers.
        width: of the hidden states.
        heads: of attention in each layer; `width` is divided among them.
        intermediate: width of the feed-forward layers; null: 4 times `width`.
        max_tokens: longest sequence that it will ever read; its learnt positions end there.
        dropout: share dropped everywhere inside; 0 is right for pretraining on more text than the
            model can memorise.
    """

    family: Literal["bert", "modernbert"] = "bert"
    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    intermediate: PositiveInt | None = None
    max_tokens: PositiveInt = 512
    dropout: DropoutRate = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"width={self.width} is not divisible by heads={self.heads} (model.encoder.width, "
                "model.encoder.heads)"
            )

    def check(self) -> None:
        """Nothing outside the config can be wrong."""

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
            label_names: classes of a classification head; empty for other heads.
            task: what a sequence head is for.

        Raises UserError if the data's sequences are too long for it.
        """
        from transformers import AutoConfig

        from src.model.encoder import AUTO_MODEL_CLASSES, Encoder

        _check_max_tokens(dataset_info, self.max_tokens, "model.encoder.max_tokens")
        config = AutoConfig.for_model(
            self.family,
            vocab_size=dataset_info.vocab_size,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate or 4 * self.width,
            max_position_embeddings=self.max_tokens,
            pad_token_id=dataset_info.pad_id,
            **_special_token_ids(self.family, dataset_info),
            **_label_settings(label_names, task),
        )
        _set_dropout(config, self.dropout)
        return Encoder(AUTO_MODEL_CLASSES[head].from_config(config), head)


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
    """

    name_or_path: str
    revision: str | None = None
    dropout: DropoutRate | None = None

    def check(self) -> None:
        """Raise UserError if `name_or_path` means a folder that is absent or holds no whole encoder
        of a known family.
        """
        folder = resolve_local_folder(self.name_or_path, NAME_OR_PATH_KEY)
        if folder is not None:
            from src.model.encoder import TOKEN_HEADS, check_config_json

            check_config_json(
                check_encoder_folder(folder, TOKEN_HEADS, NAME_OR_PATH_KEY),
                f"{folder / 'config.json'}: ",
                f" ({NAME_OR_PATH_KEY})",
            )

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
        nor the length of the data, or if its weights are incomplete.
        """
        from src.core.pretrained_files import load_from_hub_or_folder
        from src.model.encoder import (
            AUTO_MODEL_CLASSES,
            Encoder,
            first_position_id,
            load_encoder_config,
        )

        self._check_tokenizer_matches(dataset_info)
        config = load_encoder_config(self.name_or_path, NAME_OR_PATH_KEY, self.revision)
        if dataset_info.vocab_size > config.vocab_size:
            raise UserError(
                f"the tokenizer has {dataset_info.vocab_size} tokens but the encoder "
                f"{self.name_or_path} knows {config.vocab_size}: they do not belong together "
                "(data.tokenizer.name_or_path, model.encoder.name_or_path)"
            )
        longest = config.max_position_embeddings - first_position_id(config)
        _check_max_tokens(dataset_info, longest, "positions of model.encoder.name_or_path")
        stored_labels = {int(place): str(name) for place, name in (config.id2label or {}).items()}
        for key, value in _label_settings(label_names, task).items():
            setattr(config, key, value)
        if self.dropout is not None:
            _set_dropout(config, self.dropout)
        network, loading = load_from_hub_or_folder(
            AUTO_MODEL_CLASSES[head].from_pretrained,
            self.name_or_path,
            key=NAME_OR_PATH_KEY,
            revision=self.revision,
            config=config,
            # a head for another number of labels is replaced by a fresh one
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        self._check_body_weights(network.base_model_prefix, loading)
        encoder = Encoder(network.float(), head)
        if label_names and task != "regression":
            encoder.loading_lines = self._align_head(network, loading, stored_labels, label_names)
        return encoder

    def _align_head(
        self,
        network: Any,
        loading: dict[str, Any],
        stored: dict[int, str],
        wanted: tuple[str, ...],
    ) -> tuple[str, ...]:
        """Bring a loaded head in line with the labels' names, and say what became of it.

        The same names in another order are put in the new order; a head for other names is
        replaced by a fresh one, also where their number happens to be the same.
        """
        from src.model.classification_head import (
            describe_labels,
            match_label_names,
            permute_labels,
            reset_output_layer,
        )

        not_loaded = [*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])]
        if any(key.startswith("classifier.") for key in not_loaded):
            return ()
        order = match_label_names(stored, wanted)
        if order is None:
            reset_output_layer(network)
            return (
                f"the classification head of {self.name_or_path} is for other labels "
                f"({describe_labels(stored)}): its output layer is fresh",
            )
        if order == list(range(len(order))):
            return ()
        permute_labels(network, order)
        return (
            f"the classification head of {self.name_or_path} is put in the order of the data's "
            f"labels ({describe_labels(dict(enumerate(wanted)))})",
        )

    def _check_body_weights(self, prefix: str, loading: dict[str, Any]) -> None:
        """Raise UserError if weights of the body were not loaded: a head may be fresh, but an
        encoder with random parts is not pretrained.
        """
        not_loaded = [*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])]
        random_parts = {
            key
            for key in not_loaded
            if key.startswith(f"{prefix}.") and not key.startswith(f"{prefix}.pooler")
        }
        if random_parts:
            raise UserError(
                f"the weights of {self.name_or_path} do not fill its own config.json: "
                f"{len(random_parts)} are missing or of another shape, the first is "
                f"{min(random_parts)} ({NAME_OR_PATH_KEY})"
            )

    def _check_tokenizer_matches(self, dataset_info: DatasetInfo) -> None:
        """Raise UserError if a token has another id in the encoder's own tokenizer; a comparison of
        sizes alone would let a foreign tokenizer through.
        """
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
        tokens = dataset_info.sample_tokens
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


def _label_settings(label_names: tuple[str, ...], task: Task) -> dict[str, Any]:
    """The entries of a Hugging Face config that describe a sequence head."""
    if task == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    if not label_names:
        return {}
    return {
        "num_labels": len(label_names),
        "problem_type": (
            "multi_label_classification" if task == "multi_label" else "single_label_classification"
        ),
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: index for index, name in enumerate(label_names)},
    }


def _special_token_ids(family: str, dataset_info: DatasetInfo) -> dict[str, Any]:
    if family != "modernbert":
        return {}
    # its defaults lie beyond small vocabularies
    names = ("bos", "eos", "cls", "sep")
    return {f"{name}_token_id": dataset_info.pad_id for name in names}


def _set_dropout(config: Any, dropout: float) -> None:
    for name in _DROPOUT_KEYS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def _check_max_tokens(dataset_info: DatasetInfo, limit: int, key: str) -> None:
    if dataset_info.max_tokens > limit:
        raise UserErrors(
            [
                f"sequences of {dataset_info.max_tokens} tokens (data.batching) are longer than "
                f"the encoder's {limit} ({key})"
            ]
        )
