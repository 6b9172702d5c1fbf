"""Tokenizers: a pretrained one, or a WordPiece vocabulary that is learnt from the corpus itself."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from src.core.hub_cache import check_cached_files
from src.core.pretrained_files import (
    check_tokenizer_files,
    load_from_hub_or_folder,
    resolve_local_folder,
)
from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveInt, validate_init

# NumPy and the encoder are imported where texts are encoded: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

    from src.data.cache import ContentCache
    from src.data.tokenization.text_encoder import Truncation

# gives the training texts anew for each pass over the corpus
TextsFactory = Callable[[], Iterable[str]]
# characters; BERT's WordPiece makes one unknown token of a longer word
_BERT_LONGEST_WORD = 100


class TextTokenizer:
    """A Hugging Face tokenizer that encodes texts, and what a model must know about it.

    Raises UserError if it has no fast form, or neither a padding token nor an end token to pad
    with.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.huggingface = tokenizer
        self.backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self.backend is None:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path} has no fast form, no tokenizer.json "
                "(data.tokenizer)"
            )
        self._check_unknown_words(tokenizer.name_or_path)
        self.backend.no_truncation()
        self.backend.no_padding()
        if getattr(self.backend.model, "dropout", None):
            # BPE-dropout gives a text other ids each time (Provilkov et al., 2020)
            self.backend.model.dropout = None
        self.mask_id: int | None = tokenizer.mask_token_id
        self.unknown_id: int | None = tokenizer.unk_token_id
        self.special_ids: tuple[int, ...] = tuple(sorted(tokenizer.all_special_ids))
        if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
            # as with GPT-2, which never saw padding: what stands there is read by nobody
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token_id is None:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path} has no padding token (data.tokenizer)"
            )
        self.pad_id: int = tokenizer.pad_token_id
        from src.data.tokenization.text_encoder import TextEncoder

        self.encoder = TextEncoder(self.backend)
        # Not the number of tokens: some ids may have no token, and an added token may lie far
        # beyond the others.
        self.vocab_size = 1 + max(
            *self.backend.get_vocab().values(), *self.special_ids, *self.encoder.frame_ids
        )

    def _check_unknown_words(self, name: str) -> None:
        """Raise UserError for a vocabulary of words that would end at the first one it lacks."""
        from tokenizers.models import WordLevel, WordPiece

        model = self.backend.model
        if isinstance(model, WordLevel | WordPiece) and model.token_to_id(model.unk_token) is None:
            raise UserError(
                f"the tokenizer {name} has no token for words that it does not know: "
                f"{model.unk_token!r}, which it names for them, is not in its vocabulary "
                "(data.tokenizer)"
            )

    @cached_property
    def own_vocab_size(self) -> int:
        """Ids of its model's vocabulary run from 0 to this, exclusive; others were added to it."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=False).values(), default=-1)

    @cached_property
    def word_joints(self) -> "np.ndarray":
        """Which tokens are of one word, as of `find_word_joints`, which may raise UserError."""
        from src.data.tokenization.word_joints import find_word_joints

        return find_word_joints(self.backend, self.vocab_size, self.special_ids)

    @cached_property
    def end_id(self) -> int | None:
        """The special token that it puts behind a text; None if it does not put one."""
        from src.data.tokenization.special_frame import find_frame

        frame = find_frame(self.backend, 1)
        return None if frame is None or len(frame.ids[1]) != 1 else frame.ids[1][0]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything in the tokenizer, in hexadecimal digits."""
        # the last three are not part of the backend's own text
        facts = [
            self.backend.to_str(),
            self.backend.encode_special_tokens,
            self.special_ids,
            self.unknown_id,
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def sample_tokens(self, count: int = 400) -> dict[str, int]:
        """About `count` tokens spread evenly over the vocabulary, with their ids."""
        vocabulary = sorted(self.backend.get_vocab().items(), key=lambda pair: pair[1])
        return dict(vocabulary[:: max(1, len(vocabulary) // count)])

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        max_tokens: int | None,
        truncation: "Truncation",
    ) -> "tuple[list[np.ndarray], list[int], int]":
        """Ids of each text or pair, special tokens included.

        Returns:
            The ids of each row (int64); where its second segment begins, as in `EncodedTexts`; how
            many rows were cut.
        """
        if not texts:
            return [], [], 0
        encoded = self.encoder.encode(texts, pairs, max_tokens, truncation)
        import numpy as np

        rows = np.split(encoded.ids.astype(np.int64), np.cumsum(encoded.lengths)[:-1])
        return rows, encoded.begins.tolist(), encoded.num_truncated

    def save(
        self,
        folder: Path,
        *,
        max_tokens: int | None,
        has_token_types: bool,
        padding_side: Literal["right", "left"] = "right",
        truncation: "Truncation" = "head",
    ) -> None:
        """Write the files that `AutoTokenizer.from_pretrained` opens, so that it gives an encoder
        what that was trained with.

        Args:
            max_tokens: of the longest sequence that the encoder reads; None: of any length.
            has_token_types: the encoder is given the segment of each token (`token_type_ids`).
            padding_side: where the encoder wants padding.
            truncation: "head_tail" is unknown to transformers, which then cuts as "head" does.
        """
        from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

        names = [name for name in self.huggingface.model_input_names if name != "token_type_ids"]
        if has_token_types and self.encoder.has_segments:
            names.insert(1, "token_type_ids")
        settings = {
            "model_max_length": VERY_LARGE_INTEGER if max_tokens is None else max_tokens,
            "model_input_names": names,
            "padding_side": padding_side,
            "truncation_side": "left" if truncation == "tail" else "right",
        }
        tokenizer = copy.copy(self.huggingface)
        # what is written are the attributes that this names
        tokenizer.init_kwargs = {**tokenizer.init_kwargs, **settings}
        for name, value in settings.items():
            setattr(tokenizer, name, value)
        tokenizer.save_pretrained(folder)


@validate_init
@dataclass(frozen=True, kw_only=True)
class PretrainedTokenizer:
    """The tokenizer of a pretrained encoder, from the hub or a folder.

    Args:
        name_or_path: a name on the hub, or a folder.
        revision: branch, tag or commit on the hub; null: the newest.
    """

    name_or_path: str
    revision: str | None = None

    def check(self) -> None:
        """Raise UserError if `name_or_path` means a folder that is absent, or whose tokenizer
        cannot be loaded.
        """
        folder = resolve_local_folder(self.name_or_path, "data.tokenizer.name_or_path")
        if folder is None:
            check_cached_files(self.name_or_path, self.revision, "data.tokenizer.name_or_path")
        else:
            check_tokenizer_files(folder, "data.tokenizer.name_or_path")
            # kept for the run that comes next, since some take seconds to load
            object.__setattr__(self, "_checked", self._load())

    def load_tokenizer(
        self, texts: TextsFactory, corpus_fingerprint: str, cache: "ContentCache"
    ) -> TextTokenizer:
        return self.__dict__.pop("_checked", None) or self._load()

    def _load(self) -> TextTokenizer:
        from transformers import AutoTokenizer

        tokenizer = load_from_hub_or_folder(
            AutoTokenizer.from_pretrained,
            self.name_or_path,
            key="data.tokenizer.name_or_path",
            revision=self.revision,
        )
        return TextTokenizer(tokenizer)


@validate_init
@dataclass(frozen=True, kw_only=True)
class WordPiece:
    """A WordPiece vocabulary (Schuster and Nakajima, 2012; as in BERT) learnt from the training
    texts, once for each content: the same texts and settings give the same file on any machine.

    Args:
        vocab_size: tokens at most, special tokens included.
        lowercase: turn capitals into small letters, and leave out accents.
        min_frequency: how often a pair of pieces must occur before it becomes a token.
        longest_word: words of more characters, such as sequences and texts without spaces, are cut
            into lengths of so many; null: a word of more than 100 is one unknown token, as BERT has
            it. Time grows with the cube of it.
    """

    vocab_size: Annotated[int, Bound(least=100)] = 30_522
    lowercase: bool = True
    min_frequency: PositiveInt = 2
    longest_word: PositiveInt | None = None

    def check(self) -> None:
        """Nothing outside the config can be wrong."""

    def load_tokenizer(
        self, texts: TextsFactory, corpus_fingerprint: str, cache: "ContentCache"
    ) -> TextTokenizer:
        """Learn the vocabulary, or take it from the cache.

        Args:
            texts: gives the training texts anew for each pass.
            corpus_fingerprint: hash of everything that shapes these texts.
        """
        key = hashlib.sha256(
            json.dumps([corpus_fingerprint, repr(self), "wordpiece-2"]).encode()
        ).hexdigest()
        folder = cache.get_or_build(
            "tokenizer", key, lambda folder: self._train_and_save(texts, folder)
        )
        from transformers import AutoTokenizer

        return TextTokenizer(
            load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="data.cache")
        )

    def _train_and_save(self, texts: TextsFactory, folder: Path) -> None:
        from tokenizers import Tokenizer, decoders, models, processors
        from transformers import PreTrainedTokenizerFast

        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        # The library numbers single letters in the order of a hash table, which differs from
        # process to process, and it breaks ties between pieces by number. So a first pass finds the
        # letters, and the second is given them in order.
        letters = sorted(set(self._train_vocabulary(texts, special, len(special))) - set(special))
        vocabulary = self._train_vocabulary(texts, special + letters, self.vocab_size)
        tokenizer = Tokenizer(
            models.WordPiece(
                vocabulary,
                unk_token="[UNK]",
                max_input_chars_per_word=max(_BERT_LONGEST_WORD, self.longest_word or 0),
            )
        )
        tokenizer.normalizer, tokenizer.pre_tokenizer = self._build_bert_steps()
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

    def _build_bert_steps(self) -> tuple[Any, Any]:
        """BERT's normalizer, and its pre-tokenizer, which cuts a text into words; for learning as
        for encoding.
        """
        from tokenizers import normalizers, pre_tokenizers

        normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        words = pre_tokenizers.BertPreTokenizer()
        if self.longest_word is None:
            return normalizer, words
        lengths = pre_tokenizers.FixedLength(self.longest_word)
        return normalizer, pre_tokenizers.Sequence([words, lengths])

    def _train_vocabulary(
        self, texts: TextsFactory, first_tokens: list[str], vocab_size: int
    ) -> dict[str, int]:
        """Learn a vocabulary that begins with `first_tokens`, of `vocab_size` tokens at most, or of
        all letters where these are more.
        """
        from tokenizers import Tokenizer, models, trainers
        from tqdm import tqdm

        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = self._build_bert_steps()
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=first_tokens,
            show_progress=False,
        )
        tokenizer.train_from_iterator(
            tqdm(texts(), desc="learn vocabulary", unit=" texts", delay=1, disable=None), trainer
        )
        return tokenizer.get_vocab(with_added_tokens=True)


Tokenizer = PretrainedTokenizer | WordPiece
