"""The weights of a folder or hub name under the head of a task: which were loaded, which begin
random, and which are left over.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from src.core.formatting import format_quantity
from src.core.notices import Notices
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.model.layer_stack import find_body_prefix


class LoadedWeights(NamedTuple):
    """What became of the stored weights of an encoder.

    Attributes:
        source: the folder or hub name.
        missing: parameters of the network that are not stored, so that they begin random.
        mismatched: parameters that are stored in another shape; they begin random too.
        unused: stored tensors that the network has no place for.
        head: what became of the stored head, in a clause; empty where there is nothing to say.
        added_tokens: rows that the embeddings were grown by.
        direction: which tokens are seen from now on, and were before, in a clause; empty where
            that has not changed.
        way_out: what to type where something else should become of the head, likewise.
    """

    source: str
    missing: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    head: str = ""
    added_tokens: int = 0
    direction: str = ""
    way_out: str = ""

    @property
    def fresh(self) -> tuple[str, ...]:
        """The parameters that begin random."""
        return (*self.missing, *self.mismatched)

    def with_own_weight(self, name: str, is_stored: bool) -> "LoadedWeights":
        """This with a tensor that transformers does not know, which was stored or begins fresh."""
        if is_stored:
            return self._replace(unused=tuple(one for one in self.unused if one != name))
        return self._replace(missing=tuple(sorted((*self.missing, name))))

    def describe(self, body: str) -> Notices:
        """What should be known of it: one line, if anything, and tags.

        Args:
            body: the name of the network's body, such as `bert`.
        """
        fresh, unused = (summarize_names(names, body) for names in (self.fresh, self.unused))
        head = f"{self.head} ({self.way_out})" if self.way_out else self.head
        clauses = [head, self.direction]
        if self.added_tokens:
            clauses.append(
                f"embeddings grown by {format_quantity(self.added_tokens, 'row')} for tokens added "
                "to the tokenizer, drawn around the mean of the others"
            )
        clauses += [f"random to begin with: {fresh}"] if fresh else []
        clauses += [f"stored but not used: {unused}"] if unused else []
        said = "; ".join(filter(None, clauses))
        return Notices(
            (f"weights of {self.source}: {said}",) if said else (),
            {
                **({"model/head": head} if head else {}),
                **({"model/direction": self.direction} if self.direction else {}),
                **({"model/added_tokens": str(self.added_tokens)} if self.added_tokens else {}),
                "model/fresh": fresh or "none",
                "model/unused": unused or "none",
            },
        )


def load_pretrained_network(
    model_class: Any, name_or_path: str, *, key: str, revision: str | None, config: PreTrainedConfig
) -> tuple[PreTrainedModel, LoadedWeights]:
    """A network with the weights of a folder or hub name; what is not stored there begins random.

    DeBERTa's masked-LM head has two layouts under different names, and config.json often does not
    say which: the one that is stored decides.

    Args:
        model_class: the auto class of transformers for the task.
        key: the config key that names the folder, for messages.
        config: of the network.
    """

    def load() -> tuple[PreTrainedModel, dict[str, Any]]:
        return load_from_hub_or_folder(
            model_class.from_pretrained,
            name_or_path,
            key=key,
            revision=revision,
            config=config,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )

    network, loading = load()
    if (is_legacy := _find_deberta_layout(config, network, loading)) is not None:
        config.legacy = is_legacy
        network, loading = load()
    # tied parameters have several names, of which this is one
    names = {name for name, _ in network.named_parameters()}
    loaded = LoadedWeights(
        source=name_or_path,
        missing=tuple(sorted(names & set(loading["missing_keys"]))),
        mismatched=tuple(sorted(name for name, *_ in loading["mismatched_keys"])),
        unused=tuple(sorted(loading["unexpected_keys"])),
    )
    return network, loaded


def check_body_weights(network: PreTrainedModel, loaded: LoadedWeights, key: str) -> None:
    """Raise UserError if weights of the body were not loaded: a head may be fresh, but an encoder
    with random parts is not pretrained.
    """
    prefix = find_body_prefix(network)
    random_parts = {
        name
        for name in loaded.fresh
        if name.startswith(prefix) and not name.startswith((f"{prefix}pooler", "lm_head"))
    }
    if random_parts:
        raise UserError(
            f"the weights of {loaded.source} do not fill its own config.json: "
            f"{len(random_parts)} are missing or of another shape, the first is "
            f"{min(random_parts)} ({key})"
        )


def grow_embeddings(
    network: PreTrainedModel, loaded: LoadedWeights, vocab_size: int
) -> LoadedWeights:
    """Give a network rows for the ids up to `vocab_size`, as Hugging Face's run_mlm does, and say
    so. Both ends of a masked-LM head grow.
    """
    added = vocab_size - network.config.vocab_size
    # DeBERTa names the first layer of its newer head as the output layer, which is the embeddings
    newer_deberta_head: Any = getattr(network, "lm_predictions", None)
    body: Any = network.base_model
    if newer_deberta_head is None:
        network.resize_token_embeddings(vocab_size)
    else:
        body.resize_token_embeddings(vocab_size)
        head = newer_deberta_head.lm_head
        head.bias = nn.Parameter(nn.functional.pad(head.bias.data, (0, added)))
    network.config.vocab_size = vocab_size
    return loaded._replace(added_tokens=added)


def summarize_names(names: Iterable[str], body: str) -> str:
    """Names of tensors by the module that they are in: `classifier.* (2 tensors)`.

    Args:
        body: whose modules are told apart.
    """

    def find_module(name: str) -> str:
        parts = name.split(".")
        depth = 2 if parts[0] == body else 1
        return ".".join(parts[:depth]) + (".*" if len(parts) > depth else "")

    counts = Counter(map(find_module, names))
    return ", ".join(
        f"{module} ({format_quantity(count, 'tensor')})" for module, count in sorted(counts.items())
    )


def _find_deberta_layout(
    config: PreTrainedConfig, network: PreTrainedModel, loading: dict[str, Any]
) -> bool | None:
    """The value of `legacy` under which the stored masked-LM head would be used; None where it is
    used already, or where there is none.
    """
    if config.model_type != "deberta-v2" or not hasattr(network, "legacy"):
        return None
    stored = {name.partition(".")[0] for name in loading["unexpected_keys"]}
    if network.legacy and "lm_predictions" in stored:
        return False
    return True if not network.legacy and "cls" in stored else None
