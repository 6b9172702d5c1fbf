"""Text to token ids: a pretrained tokenizer, or a WordPiece vocabulary learnt from the corpus itself."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tqdm import tqdm

from src.data.cache import Cache
from src.data.encoding import TextEncoder, Truncation
from src.terms.bounds import Bound, Count, checked
from src.terms.fault import Fault
from src.terms.folder import check_name, check_tokenizer
from src.terms.loading import from_hub_or_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Texts = Callable[[], Iterable[str]]  # called anew for each pass over the corpus


class TextTokenizer:
    """A tokenizer in use: ids with special tokens around them, cut as asked, and what a model must know of them."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.huggingface = tokenizer
        self.backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self.backend is None:
            raise Fault(f"the tokenizer {tokenizer.name_or_path} has no fast form, no tokenizer.json (data.tokenizer)")
        self.backend.no_truncation()
        self.backend.no_padding()
        self.mask_id: int | None = tokenizer.mask_token_id
        self.special_ids: tuple[int, ...] = tuple(sorted(tokenizer.all_special_ids))
        if tokenizer.pad_token_id is None:
            raise Fault(f"the tokenizer {tokenizer.name_or_path} has no padding token (data.tokenizer)")
        self.pad_id: int = tokenizer.pad_token_id
        self.encoder = TextEncoder(self.backend)
        # Not the number of tokens: there may be ids that no token has, and an added token far beyond the others.
        self.vocab_size = 1 + max(*self.backend.get_vocab().values(), *self.special_ids, *self.encoder.frame_ids)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def some_tokens(self, count: int = 400) -> dict[str, int]:
        """Tokens spread evenly over the vocabulary, with their ids."""
        vocabulary = sorted(self.backend.get_vocab().items(), key=lambda pair: pair[1])
        return dict(vocabulary[:: max(1, len(vocabulary) // count)])

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None, max_tokens: int | None, truncation: Truncation
    ) -> tuple[list[np.ndarray], list[int], int]:
        """Ids of each text or pair, special tokens included.

        Returns:
            The ids of each row; the tokens up to where the second text begins (0 without pairs); how many were cut.
        """
        ids, lengths, begins, cut = self.encoder.encode(texts, pairs, max_tokens, truncation)
        rows = np.split(ids.astype(np.int64), np.cumsum(lengths)[:-1]) if len(lengths) else []
        return rows, begins.tolist(), cut

    def save(self, folder: Path) -> None:
        """The tokenizer as the files that `AutoTokenizer.from_pretrained` opens."""
        self.huggingface.save_pretrained(folder)


@checked
@dataclass(frozen=True, kw_only=True)
class PretrainedTokenizer:
    """The tokenizer of a pretrained encoder, from the hub or a folder."""

    name_or_path: str
    revision: str | None = None

    def check(self) -> None:
        """Raise Fault where a folder is meant and it is not there, or holds no tokenizer."""
        folder = check_name(self.name_or_path, "data.tokenizer.name_or_path")
        if folder is not None:
            check_tokenizer(folder, "data.tokenizer.name_or_path")

    def load(self, texts: Texts, corpus: str, cache: Cache) -> TextTokenizer:
        from transformers import AutoTokenizer

        tokenizer = from_hub_or_folder(
            AutoTokenizer.from_pretrained, self.name_or_path, key="data.tokenizer.name_or_path", revision=self.revision
        )
        return TextTokenizer(tokenizer)


@checked
@dataclass(frozen=True, kw_only=True)
class WordPiece:
    """A WordPiece vocabulary (Schuster and Nakajima, 2012; as in BERT) learnt from the training texts.

    Learnt once for each content: the same texts and settings give the same file, from the cache or anew anywhere.
    """

    vocab_size: Annotated[int, Bound(least=100)] = 30_522
    lowercase: bool = True
    min_frequency: Count = 2

    def check(self) -> None:
        """Nothing outside the config is needed."""

    def load(self, texts: Texts, corpus: str, cache: Cache) -> TextTokenizer:
        """Learn the vocabulary, or take it from the cache.

        Args:
            corpus: fingerprint of the texts.
        """
        key = hashlib.sha256(json.dumps([corpus, repr(self), "wordpiece-2"]).encode()).hexdigest()
        folder = cache.folder("tokenizer", key, lambda place: self._learn(texts, place))
        from transformers import AutoTokenizer

        return TextTokenizer(from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="data.cache"))

    def _learn(self, texts: Texts, folder: Path) -> None:
        from tokenizers import Tokenizer, decoders, models, processors
        from transformers import PreTrainedTokenizerFast

        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        # The library numbers single letters in the order of a hash table, which differs from process to process, and
        # breaks ties between pieces by number. So the letters are found first, and given in order the second time.
        letters = sorted(set(self._trained(texts, special, len(special))) - set(special))
        vocabulary = self._trained(texts, special + letters, self.vocab_size)
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = self._steps()
        tokenizer.decoder = decoders.WordPiece()
        ids = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
        )
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=512,
        ).save_pretrained(folder)

    def _steps(self) -> tuple[Any, Any]:
        """How BERT tidies a text and cuts it into words."""
        from tokenizers import normalizers, pre_tokenizers

        return normalizers.BertNormalizer(lowercase=self.lowercase), pre_tokenizers.BertPreTokenizer()

    def _trained(self, texts: Texts, first: list[str], vocab_size: int) -> dict[str, int]:
        """A vocabulary of at most that size (or of all letters, where these are more) that begins with `first`."""
        from tokenizers import Tokenizer, models, trainers

        learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        learner.normalizer, learner.pre_tokenizer = self._steps()
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=self.min_frequency, special_tokens=first, show_progress=False
        )
        learner.train_from_iterator(
            tqdm(texts(), desc="learn vocabulary", unit=" texts", delay=1, disable=None), trainer
        )
        return learner.get_vocab(with_added_tokens=True)


Tokenizer = PretrainedTokenizer | WordPiece
