"""Which encoder: a fresh one by its measures, or a pretrained one by name, folder or run.

Plain values only; transformers is imported when the encoder is built, inside the tracked run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from src.terms.bounds import Bound, Count, checked
from src.terms.facts import Facts
from src.terms.fault import Fault, Faults
from src.terms.folder import check_folder, check_name

if TYPE_CHECKING:
    from src.model.encoder import Encoder, Head

KEY = "model.encoder.name_or_path"
Dropout = Annotated[float, Bound(least=0, below=1)]
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "embedding_dropout",
             "mlp_dropout", "classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout")  # fmt: skip


@checked
@dataclass(frozen=True, kw_only=True)
class Scratch:
    """A fresh encoder.

    Args:
        family: `bert` (Devlin et al., 2019) or `modernbert` (Warner et al., 2024: rotary positions, gated units, local
            attention in two of three layers).
        width: of the hidden states; `intermediate` of the feed-forward layers (null: 4 times the width).
        max_tokens: longest sequence it will ever read (learnt positions).
        dropout: everywhere inside; 0 is right for pretraining on more text than the model can memorise.
    """

    family: Literal["bert", "modernbert"] = "bert"
    layers: Count
    width: Count
    heads: Count
    intermediate: Count | None = None
    max_tokens: Count = 512
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise Fault(
                f"width={self.width} is not divisible by heads={self.heads} (model.encoder.width, model.encoder.heads)"
            )

    def check(self) -> None:
        """Nothing outside the config is needed."""

    def build(self, head: "Head", facts: Facts, label_names: tuple[str, ...], *, regression: bool = False) -> "Encoder":
        """The encoder with random weights (torch's global generator) and a head for `facts`."""
        from transformers import AutoConfig

        from src.model.encoder import CLASSES, Encoder

        _check_length(facts, self.max_tokens, "model.encoder.max_tokens")
        config = AutoConfig.for_model(
            self.family,
            vocab_size=facts.vocab_size,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate or 4 * self.width,
            max_position_embeddings=self.max_tokens,
            pad_token_id=facts.pad_id,
            **_special(self.family, facts),
            **_labels(label_names, regression),
        )
        _set_dropout(config, self.dropout)
        return Encoder(CLASSES[head].from_config(config), head)


@checked
@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """An encoder with its trained weights.

    Args:
        name_or_path: a hub name or a folder with config.json and weights. `init_from=<run id>` fills it in.
        revision: of a hub name: a branch, tag or commit.
        dropout: everywhere inside, in place of what the encoder was trained with; null keeps that.
    """

    name_or_path: str
    revision: str | None = None
    dropout: Dropout | None = None

    def check(self) -> None:
        """Raise Fault where a folder is meant and there is none, or it holds no whole encoder."""
        folder = check_name(self.name_or_path, KEY)
        if folder is not None:
            from src.model.encoder import TOKEN_HEADS, check_settings

            check_settings(check_folder(folder, TOKEN_HEADS, KEY), f"{folder / 'config.json'}: ", f" ({KEY})")

    def build(self, head: "Head", facts: Facts, label_names: tuple[str, ...], *, regression: bool = False) -> "Encoder":
        """The encoder with its weights, and a head that is fresh where the folder has none that fits."""
        from transformers import AutoConfig

        from src.model.encoder import CLASSES, Encoder, check_config, first_position
        from src.terms.loading import from_hub_or_folder

        self._check_tokenizer(facts)
        config = from_hub_or_folder(AutoConfig.from_pretrained, self.name_or_path, key=KEY, revision=self.revision)
        check_config(config)
        config._attn_implementation = None  # a folder may name one on the hub, whose code would be fetched and run
        if facts.vocab_size > config.vocab_size:
            raise Fault(
                f"the tokenizer has {facts.vocab_size} tokens but the encoder {self.name_or_path} knows "
                f"{config.vocab_size}: they do not belong together (data.tokenizer.name_or_path, "
                "model.encoder.name_or_path)"
            )
        longest = config.max_position_embeddings - first_position(config)
        _check_length(facts, longest, "positions of model.encoder.name_or_path")
        for key, value in _labels(label_names, regression).items():
            setattr(config, key, value)
        if self.dropout is not None:
            _set_dropout(config, self.dropout)
        network, loading = from_hub_or_folder(
            CLASSES[head].from_pretrained,
            self.name_or_path,
            key=KEY,
            revision=self.revision,
            config=config,
            ignore_mismatched_sizes=True,  # a head for another number of labels is replaced by a fresh one
            output_loading_info=True,
        )
        self._check_body(network.base_model_prefix, loading)
        return Encoder(network.float(), head)

    def _check_body(self, prefix: str, loading: dict[str, Any]) -> None:
        """A head may be fresh, but an encoder with random parts is not pretrained."""
        lacking = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
        lacking = {key for key in lacking if key.startswith(f"{prefix}.") and not key.startswith(f"{prefix}.pooler")}
        if lacking:
            raise Fault(
                f"the weights of {self.name_or_path} do not fill its own config.json: {len(lacking)} are missing or of "
                f"another shape, the first is {min(lacking)} ({KEY})"
            )

    def _check_tokenizer(self, facts: Facts) -> None:
        """The same token must have the same id for both; sizes alone would let a foreign tokenizer through."""
        file = Path(self.name_or_path).expanduser() / "tokenizer.json"
        if not file.is_file():
            return
        try:
            own = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        except (ValueError, KeyError) as error:
            raise Fault(f"{file} is broken: {error!r} ({KEY})") from error
        own = own if isinstance(own, dict) else {pair[0]: place for place, pair in enumerate(own)}
        differing = [token for token, place in facts.some_tokens.items() if own.get(token, place) != place]
        missing = [token for token in facts.some_tokens if token not in own]
        if differing or len(missing) > len(facts.some_tokens) // 10:
            raise Fault(
                f"the tokenizer does not fit the encoder {self.name_or_path}: {len(differing) + len(missing)} of "
                f"{len(facts.some_tokens)} tokens compared have another id there "
                "(data.tokenizer must be the encoder's own; leave it out with init_from)"
            )


def _labels(label_names: tuple[str, ...], regression: bool) -> dict[str, Any]:
    if regression:
        return {"num_labels": 1, "problem_type": "regression"}
    if not label_names:
        return {}
    return {
        "num_labels": len(label_names),
        "problem_type": "single_label_classification",
        "id2label": dict(enumerate(label_names)),
        "label2id": {name: place for place, name in enumerate(label_names)},
    }


def _special(family: str, facts: Facts) -> dict[str, Any]:
    if family != "modernbert":
        return {}
    names = ("bos", "eos", "cls", "sep")  # its defaults lie beyond small vocabularies
    return {f"{name}_token_id": facts.pad_id for name in names}


def _set_dropout(config: Any, dropout: float) -> None:
    for name in _DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def _check_length(facts: Facts, limit: int, key: str) -> None:
    if facts.max_tokens > limit:
        raise Faults(
            [f"sequences of {facts.max_tokens} tokens (data.batching) are longer than the encoder's {limit} ({key})"]
        )
