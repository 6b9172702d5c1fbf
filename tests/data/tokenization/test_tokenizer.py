"""Text to ids: framing, cutting, learning a vocabulary, and equality with Hugging Face."""

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import transformers
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from src.core.user_errors import UserError
from src.data.batches.batching import Masked
from src.data.cache import ContentCache
from src.data.tokenization.text_encoder import _truncate_ids
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore, TokenStoreWriter
from src.data.tokenization.tokenizer import PretrainedTokenizer, TextTokenizer, WordPiece
from src.data.tokenization.word_cache import WordCache

TEXTS = [
    "The cat sat on the mat.",
    "A DOG sat on the log!",
    "the naïve café",
    "cats and dogs and logs",
] * 5
PIECES = WordPiece(vocab_size=120, min_frequency=1)


def test_ids_with_gaps_between_them(tmp_path: Path) -> None:
    """Seven tokens, and an id beyond sixteen bits: nothing is cut off on the way to the disk and
    back.
    """
    vocabulary = {
        "[PAD]": 0,
        "[UNK]": 1,
        "[CLS]": 2,
        "[SEP]": 3,
        "[MASK]": 70_000,
        "a": 65_999,
        "b": 5,
    }
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = TextTokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, **names))
    assert (tokenizer.vocab_size, tokenizer.mask_id) == (70_001, 70_000)
    row = TextRow("a b", None, 0, 0)
    with TokenStoreWriter(tmp_path, tokenizer.vocab_size, targets=TargetLayout()) as writer:
        writer.append_rows([row], tokenizer.encoder.encode([row.text], None, None, "head"))
        writer.finish_store()
    store = TokenStore.open(tmp_path)
    assert store.ids.tolist() == [2, 65_999, 5, 3]
    batch = Masked(row_tokens=8).build_batch(
        store, np.arange(1), epoch=0, seed=0, tokenizer=tokenizer, training=True
    )
    assert batch.targets.tolist() in ([65_999], [5])


@pytest.fixture
def words() -> TextTokenizer:
    """A tokenizer whose ids are the numbers written in the text, so that results can be written by
    hand.
    """
    special = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3}
    vocabulary = special | {str(number): number for number in range(4, 100)}
    backend = Tokenizer(models.WordLevel(vocabulary, "[PAD]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "mask")}
    return TextTokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, **names))


def _text(begin: int, count: int) -> str:
    return " ".join(map(str, range(begin, begin + count)))


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", [10, 11, 12, 13, 14, 15, 16, 17]),
        ("tail", [12, 13, 14, 15, 16, 17, 18, 19]),
        ("head_tail", [10, 11, 14, 15, 16, 17, 18, 19]),
    ],
)
def test_cutting_one_text(truncation: Any, kept: list[int], words: TextTokenizer) -> None:
    rows, begins, cut = words.encode([_text(10, 10), _text(20, 8), ""], None, 10, truncation)
    assert [row.tolist() for row in rows] == [[1, *kept, 2], [1, *range(20, 28), 2], [1, 2]]
    assert (begins, cut) == ([0, 0, 0], 1)


def test_nothing_is_cut_without_a_limit(words: TextTokenizer) -> None:
    rows, _, cut = words.encode([_text(0, 100)], None, None, "head")
    assert (len(rows[0]), cut) == (102, 0)


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        ((2, 3), (2, 3)),
        ((1, 9), (1, 6)),
        ((9, 1), (6, 1)),
        ((9, 9), (3, 4)),
        ((9, 8), (4, 3)),
        ((4, 4), (3, 4)),
    ],
)
def test_cutting_pairs_the_longer_one_first(
    lengths: tuple[int, int], kept: tuple[int, int], words: TextTokenizer
) -> None:
    """Ten tokens, three of them special, leave seven."""
    rows, begins, cut = words.encode([_text(10, lengths[0])], [_text(50, lengths[1])], 10, "head")
    assert rows[0].tolist() == [1, *range(10, 10 + kept[0]), 2, *range(50, 50 + kept[1]), 2]
    assert begins == [kept[0] + 2]
    assert cut == (sum(lengths) > 7)


def test_shortening() -> None:
    def shortened(kept: list[int], truncation: Any) -> list[int]:
        return _truncate_ids(np.arange(13), np.array([10, 3]), np.array(kept), truncation)[
            0
        ].tolist()

    assert shortened([10, 3], "head_tail") == list(range(13))
    assert shortened([4, 3], "head_tail") == [0, 7, 8, 9, 10, 11, 12]
    assert shortened([1, 3], "head_tail") == [9, 10, 11, 12]
    assert shortened([3, 2], "tail") == [7, 8, 9, 11, 12]
    assert shortened([0, 3], "tail") == [10, 11, 12]
    assert shortened([2, 1], "head") == [0, 1, 10]


def test_what_a_model_must_know(words: TextTokenizer) -> None:
    assert (words.vocab_size, words.mask_id, words.pad_id, words.special_ids) == (
        100,
        3,
        0,
        (0, 1, 2, 3),
    )


def test_a_tokenizer_without_padding_is_refused() -> None:
    padless = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
    padless.name_or_path = "words"
    with pytest.raises(
        UserError, match=r"the tokenizer words has no padding token \(data\.tokenizer\)"
    ):
        TextTokenizer(padless)


def test_a_tokenizer_without_a_fast_form_is_refused() -> None:
    slow: Any = SimpleNamespace(name_or_path="old")
    with pytest.raises(
        UserError,
        match=r"the tokenizer old has no fast form, no tokenizer\.json \(data\.tokenizer\)",
    ):
        TextTokenizer(slow)


# -- learning a vocabulary


def test_learnt_once_for_each_content(tmp_path: Path) -> None:
    passes: list[int] = []

    def texts() -> Iterator[str]:
        passes.append(1)
        yield from TEXTS

    cache = ContentCache(tmp_path)
    first = PIECES.load_tokenizer(texts, "corpus", cache)
    learnt = len(passes)
    assert learnt > 0
    second = PIECES.load_tokenizer(texts, "corpus", cache)
    assert len(passes) == learnt
    assert second.fingerprint == first.fingerprint
    PIECES.load_tokenizer(texts, "other", cache)
    assert len(passes) == 2 * learnt
    assert len([path for path in (tmp_path / "tokenizer").iterdir() if path.is_dir()]) == 2
    cased = WordPiece(vocab_size=120, min_frequency=1, lowercase=False).load_tokenizer(
        texts, "corpus", cache
    )
    assert cased.fingerprint != first.fingerprint


def test_the_vocabulary_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Hash tables of the library below differ from process to process; what is learnt must not."""
    script = (
        "import sys; from pathlib import Path; "
        "from tests.data.tokenization.test_tokenizer import PIECES, TEXTS; "
        "PIECES._train_and_save(lambda: TEXTS, Path(sys.argv[1]))"
    )
    PIECES._train_and_save(lambda: TEXTS, tmp_path / "here")
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")], check=True, capture_output=True
    )
    here, there = (
        (tmp_path / folder / "tokenizer.json").read_text() for folder in ("here", "there")
    )
    assert here == there
    vocabulary = json.loads(here)["model"]["vocab"]
    assert list(vocabulary)[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert list(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(vocabulary) <= 120


def test_learnt_tokenizer_in_use(tmp_path: Path) -> None:
    tokenizer = PIECES.load_tokenizer(lambda: TEXTS, "corpus", ContentCache(tmp_path / "cache"))
    rows, _, _ = tokenizer.encode(
        ["The CAT sat", "the cat sat", "café", "cafe", "☃"], None, None, "head"
    )
    assert rows[0].tolist() == rows[1].tolist()
    # as BERT's uncased vocabulary: accents go with the case
    assert rows[2].tolist() == rows[3].tolist()
    assert rows[4].tolist() == [2, 1, 3]  # [CLS] [UNK] [SEP]
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert (tokenizer.pad_id, tokenizer.mask_id) == (0, 4)
    tokenizer.save(tmp_path / "saved", max_tokens=64, has_token_types=True)
    opened = AutoTokenizer.from_pretrained(tmp_path / "saved", local_files_only=True)
    for text in TEXTS[:4]:
        assert (
            opened(text)["input_ids"] == tokenizer.encode([text], None, None, "head")[0][0].tolist()
        )
    pair = opened("the cat", "sat on")
    rows, begins, _ = tokenizer.encode(["the cat"], ["sat on"], None, "head")
    assert pair["input_ids"] == rows[0].tolist()
    assert len(opened("the cat " * 100, truncation=True)["input_ids"]) == 64
    assert pair["token_type_ids"] == [int(place >= begins[0]) for place in range(len(rows[0]))]
    assert (
        opened.decode(opened("the cat sat")["input_ids"], skip_special_tokens=True) == "the cat sat"
    )
    assert tokenizer.sample_tokens(10)["[PAD]"] == 0


@pytest.mark.parametrize("class_name", ["PreTrainedTokenizerFast", "BertTokenizerFast"])
def test_a_saved_tokenizer_gives_what_the_encoder_read(class_name: str, tmp_path: Path) -> None:
    """Segments where the encoder has them, whatever class the tokenizer is of; padding behind, and
    the end of a text that was cut so in training.
    """
    learnt = PIECES.load_tokenizer(lambda: TEXTS, "corpus", ContentCache(tmp_path / "cache"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = TextTokenizer(
        getattr(transformers, class_name)(
            tokenizer_object=learnt.backend, padding_side="left", **names
        )
    )
    folder = tmp_path / "with"
    tokenizer.save(folder, max_tokens=8, has_token_types=True, truncation="tail")
    opened = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows, begins, _ = tokenizer.encode(TEXTS[:3], TEXTS[1:4], 8, "tail")
    given = opened(TEXTS[:3], TEXTS[1:4], truncation=True)
    assert given["input_ids"] == [row.tolist() for row in rows]
    assert given["token_type_ids"] == [
        [int(place >= begin) for place in range(len(row))]
        for row, begin in zip(rows, begins, strict=True)
    ]
    assert opened(["the cat", "cat"], padding=True)["attention_mask"][1][-1] == 0
    tokenizer.save(tmp_path / "without", max_tokens=8, has_token_types=False)
    opened = AutoTokenizer.from_pretrained(tmp_path / "without", local_files_only=True)
    assert set(opened("the cat", "sat")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("longest_word", [7, 100, 150])
def test_stretches_without_a_space(longest_word: int, tmp_path: Path) -> None:
    """What a vocabulary was learnt from it also encodes: no text becomes one unknown token."""
    letters = random.Random(5)
    stretches = [
        "".join(letters.choices("ACGT", k=length)) for length in (99, 100, 101, 400, 20_000)
    ]
    kana = ["\u304b\u306a\u3042\u3044" * 60, "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35" * 40]
    texts = [*stretches, *kana, "words [MASK] and " + stretches[3] + "."]
    cache = ContentCache(tmp_path / "cache")
    cutting = WordPiece(vocab_size=120, min_frequency=1, longest_word=longest_word)
    tokenizer = cutting.load_tokenizer(lambda: texts, "stretches", cache)
    assert WordCache.is_bert_style(tokenizer.backend)
    rows, _, _ = tokenizer.encode(texts, None, None, "head")
    assert [row.tolist() for row in rows] == [
        encoding.ids for encoding in tokenizer.backend.encode_batch(texts)
    ]
    assert not any((row == tokenizer.unknown_id).any() for row in rows)
    tokenizer.save(tmp_path / "saved", max_tokens=64, has_token_types=True)
    opened = AutoTokenizer.from_pretrained(tmp_path / "saved", local_files_only=True)
    assert opened(texts)["input_ids"] == [row.tolist() for row in rows]
    # as BERT's, and as runs were that did not have the key
    plain = PIECES.load_tokenizer(lambda: texts, "stretches", cache)
    assert plain.encode([stretches[3]], None, None, "head")[0][0].tolist() == [2, 1, 3]


def test_case_can_be_kept(tmp_path: Path) -> None:
    cased = WordPiece(vocab_size=120, min_frequency=1, lowercase=False)
    tokenizer = cased.load_tokenizer(lambda: TEXTS, "corpus", ContentCache(tmp_path))
    rows, _, _ = tokenizer.encode(["The", "the"], None, None, "head")
    assert rows[0].tolist() != rows[1].tolist()


# -- folders of which AutoTokenizer makes a fast tokenizer

# the name of the file, and the pieces that stand for special tokens in it
SENTENCEPIECE = {
    "albert": ("spiece.model", {"bos_id": -1, "control_symbols": "[CLS],[SEP],[MASK]"}),
    "camembert": ("sentencepiece.bpe.model", {}),
    "deberta-v2": ("spm.model", {"unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}),
    "xlm-roberta": ("sentencepiece.bpe.model", {}),
}


@pytest.mark.parametrize("family", SENTENCEPIECE)
def test_a_sentencepiece_model_alone(family: str, tmp_path: Path) -> None:
    """As the hub has DeBERTa-v3: no tokenizer.json, which a run then writes."""
    name, pieces = SENTENCEPIECE[family]
    given = tmp_path / "given"
    AutoConfig.for_model(family).save_pretrained(given)
    with (given / name).open("wb") as stream:
        SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=stream,
            vocab_size=33,
            minloglevel=9,
            **pieces,
        )
    config = PretrainedTokenizer(name_or_path=str(given))
    config.check()
    tokenizer = config.load_tokenizer(list, "", ContentCache(tmp_path))
    rows, _, _ = tokenizer.encode([*TEXTS[:4], ""], None, None, "head")
    assert all((row != tokenizer.unknown_id).all() for row in rows)
    AutoConfig.for_model(family).save_pretrained(tmp_path / "saved")
    tokenizer.save(tmp_path / "saved", max_tokens=64, has_token_types=family == "albert")
    opened = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert opened([*TEXTS[:4], ""])["input_ids"] == [row.tolist() for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("spm.model", b"\x0e\x08 cut off", "spm.model: no SentencePiece model, or a broken one"),
        ("tokenizer.model", b"YQ== 0\nYg== 1\n", "must be saved as tokenizer.json"),
        ("spm.model", b"version https://git-lfs", "a pointer of Git LFS and not the file itself"),
        ("tokenizer.json", b"version https://git-lfs", "a pointer of Git LFS"),
        ("tokenizer.json", b'{"model": {"vocab"', "no tokenizer can be read from it: EOF"),
    ],
)
def test_broken_tokenizers_are_refused_before_a_run(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        PretrainedTokenizer(name_or_path=str(tmp_path)).check()


# -- a real one

LONG = "It was, in every way that I could name, a most unconvincing and rather overlong film. " * 6
SINGLES = ["", "a", "Hello, wörld! 東京 🙂", LONG, "x" * 150]


def test_equal_to_hugging_face(minilm: str, tmp_path: Path) -> None:
    """Single texts, and pairs cut as `longest_first` does it."""
    ours = PretrainedTokenizer(name_or_path=minilm).load_tokenizer(list, "", ContentCache(tmp_path))
    theirs = AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    for limit in (8, 17, 64, 512):
        rows, _, _ = ours.encode(SINGLES, None, limit, "head")
        assert [row.tolist() for row in rows] == theirs(SINGLES, truncation=True, max_length=limit)[
            "input_ids"
        ]
        for first in SINGLES:
            rows, begins, _ = ours.encode([first] * len(SINGLES), SINGLES, limit, "head")
            expected = theirs(
                [first] * len(SINGLES), SINGLES, truncation="longest_first", max_length=limit
            )
            assert [row.tolist() for row in rows] == expected["input_ids"]
            types = [
                [int(place >= begin) for place in range(len(row))]
                for row, begin in zip(rows, begins, strict=True)
            ]
            assert types == expected["token_type_ids"]
    # nothing to cache
    assert list((tmp_path).iterdir()) == []


def test_a_text_has_the_same_ids_each_time(tmp_path: Path) -> None:
    """Some BPE tokenizers are stored as they were for training, with random merges left out."""
    backend = Tokenizer(models.BPE(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.train_from_iterator(
        ["catalogue catalogues"] * 9, BpeTrainer(special_tokens=["[PAD]", "[UNK]"])
    )
    (usual,) = backend.encode("catalogue", add_special_tokens=False).ids
    backend.model.dropout = 0.9
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(tmp_path))
    rows, _, _ = tokenizer.encode(["catalogue"] * 5, None, 64, "head")
    assert [row.tolist() for row in rows] == [[usual]] * 5
    tokenizer.save(tmp_path / "saved", max_tokens=64, has_token_types=False)
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved(["catalogue"] * 5)["input_ids"] == [[usual]] * 5


def test_a_name_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"could not be opened as a Hugging Face folder: .*name_or_path"
    ):
        PretrainedTokenizer(name_or_path=str(tmp_path)).load_tokenizer(
            list, "", ContentCache(tmp_path)
        )


def test_what_the_backend_does_not_write_is_in_the_fingerprint(words: TextTokenizer) -> None:
    tokenizer = words.huggingface
    split = TextTokenizer(copy.deepcopy(tokenizer))
    split.backend.encode_special_tokens = True
    assert split.fingerprint != words.fingerprint == TextTokenizer(tokenizer).fingerprint
