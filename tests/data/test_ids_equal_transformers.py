"""What an encoder is fed is what `AutoTokenizer` gives from the folder that a run leaves: ids,
token types, and where texts are cut; for every family, and for tokenizers of every kind.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from src.data.tokenization.text_encoder import find_token_types
from src.data.tokenization.tokenizer import TextTokenizer

# number 1 is padding, as RoBERTa's positions want it
SPECIAL = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
NAMES = {name: f"[{name[:3].upper()}]" for name in ("cls_token", "pad_token", "sep_token")}
NAMES |= {"unk_token": "[UNK]", "mask_token": "[MASK]"}
CUT = 14
POSITIONS = 64

FAMILIES = {
    "albert": True,
    "bert": True,
    "camembert": False,
    "deberta-v2": False,
    "distilbert": False,
    "electra": True,
    "modernbert": False,
    "mpnet": False,
    "roberta": False,
    "xlm-roberta": False,
}
OWN_CLASSES = {
    "albert": ("AlbertTokenizer", "unigram"),
    "bert": ("BertTokenizer", "wordpiece"),
    "camembert": ("CamembertTokenizer", "unigram"),
    "deberta-v2": ("DebertaV2Tokenizer", "unigram"),
    "distilbert": ("BertTokenizer", "wordpiece"),
    "electra": ("BertTokenizer", "wordpiece_cased"),
    "modernbert": ("PreTrainedTokenizerFast", "bytes"),
    "mpnet": ("MPNetTokenizer", "wordpiece"),
    "roberta": ("RobertaTokenizer", "bytes"),
    "xlm-roberta": ("XLMRobertaTokenizer", "unigram"),
}


# -- texts

LEARNT = [
    "The cat sat on the mat, and the dog sat on the log.",
    "A naïve café; 12 cats & 34 dogs! don't_stop <here>",
    "ACGTACGTTGCA GATTACA",
    "漢字かな混じり文 สวัสดีชาวโลก",
    "İstanbul Straße ΣΑΣ ς",
]
_ODD = [
    *" \t\n\r\x00\x1c\x85\xa0\u200b\u200d\ufeff\ufffd\u2028\u3000\u00ad\u0301\u0338",
    *"aAbz09.,'-_#@<[]>▁ĠéÉßİſÅ≠\u2014漢字ก็あｱ한ः😀\U0001f1e9\U0001f468\ue000\U000e0001",
    *(f" {token}" for token in SPECIAL),
    *SPECIAL,
    *(
        "[",
        "MASK",
        "[MASK",
        "##a",
        "cat",
        " dog",
        "the ",
        "don't",
        "newword",
        " newword ",
        "two words",
    ),
    *("bigger", "Bigger", "ACGT", "สวัส", "\r\n", "  ", "</s>", "<s>", "<pad>", "e\u0301", "…"),
]
_FIXED = [
    "",
    " ",
    "\n\t \r\n",
    "\xa0\u3000",
    "\u200b",
    "☃",
    "☃ ☃☃",
    "\U0001f984" * 40,
    "a" * 101,
    "a" * 100,
    "ACGT" * 90,
    "cat " * 300,
    "the cat sat. " * 40,
    "漢字" * 80,
    "สวัสดี" * 40,
    "[MASK]",
    "[MASK][MASK] [PAD] [SEP]a[CLS]",
    "[PAD]",
    "a [PAD] b",
    "[ MASK ]",
    "newword",
    "xnewwordx newword  newword",
    "two words two  words",
    "Bigger bigger xbigger bigger.",
]


def _draw_texts(count: int) -> list[str]:
    drawing = random.Random(13)
    texts = [
        "".join(drawing.choices(_ODD, k=drawing.randint(1, 30))) for _ in range(count - len(_FIXED))
    ]
    return [*_FIXED, *texts]


TEXTS = _draw_texts(500)
# each with another; empty first ones, empty second ones, and both
SECONDS = [*TEXTS[len(_FIXED) - 3 :], *TEXTS[: len(_FIXED) - 3]]
SECONDS[0:2] = ["", "cat"]


# -- tokenizers


def _template(single: str, pair: str) -> Any:
    names = [("[CLS]", 0), ("[SEP]", 2)]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=names)


BERT = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
ROBERTA = processors.RobertaProcessing(("[SEP]", 2), ("[CLS]", 0))
TEMPLATE = _template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


def _wordpiece(**options: Any) -> Tokenizer:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(**options)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return _train(backend, trainers.WordPieceTrainer, TEMPLATE)


def _bpe(unknown: str | None) -> Tokenizer:
    backend = Tokenizer(models.BPE(unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return _train(backend, trainers.BpeTrainer, BERT)


def _bytes(*, prefix_space: bool, normalizer: Any = None) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _train(backend, trainers.BpeTrainer, ROBERTA, initial_alphabet=alphabet, vocab_size=400)


def _unigram() -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return _train(backend, trainers.UnigramTrainer, TEMPLATE, unk_token="[UNK]", vocab_size=120)


def _words() -> Tokenizer:
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _train(backend, trainers.WordLevelTrainer, BERT)


def _letters() -> Tokenizer:
    backend = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return _train(
        backend, trainers.WordLevelTrainer, _template("$A [SEP]", "$A [SEP] $B:1 [SEP]:1")
    )


def _train(backend: Tokenizer, trainer: Any, processor: Any, **options: Any) -> Tokenizer:
    settings = {"vocab_size": 250, "special_tokens": SPECIAL, "show_progress": False} | options
    backend.train_from_iterator(LEARNT, trainer(**settings))
    if processor is not None:
        backend.post_processor = processor
    return backend


def _with(backend: Tokenizer, processor: Any = None, *added: AddedToken) -> Tokenizer:
    if processor is not None:
        backend.post_processor = processor
    backend.add_tokens(list(added))
    return backend


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece": _wordpiece,
    "wordpiece_cased": lambda: _wordpiece(lowercase=False, handle_chinese_chars=False),
    "wordpiece_roberta": lambda: _with(_wordpiece(), ROBERTA),
    "wordpiece_added": lambda: _with(
        _wordpiece(), None, AddedToken("newword"), AddedToken("Bigger", single_word=True)
    ),
    "wordpiece_spaced": lambda: _with(
        _wordpiece(), None, AddedToken("two words", normalized=False)
    ),
    "wordpiece_stripping": lambda: _with(
        _wordpiece(), None, AddedToken("newword", lstrip=True, rstrip=True, normalized=False)
    ),
    "bpe": lambda: _bpe("[UNK]"),
    "bpe_without_unknown": lambda: _bpe(None),
    "bpe_segment_of_separator": lambda: _with(
        _bpe("[UNK]"), _template("[CLS] $A", "[CLS] $A [SEP]:1 $B:1")
    ),
    "bpe_third_segment": lambda: _with(
        _bpe("[UNK]"), _template("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2")
    ),
    "bpe_without_processor": lambda: _train(
        Tokenizer(models.BPE(unk_token="[UNK]")), trainers.BpeTrainer, None
    ),
    "bpe_without_unknown_and_processor": lambda: _with(_bpe(None), _template("$A", "$A $B:1")),
    "bytes": lambda: _bytes(prefix_space=False),
    "bytes_spaced": lambda: _bytes(prefix_space=True),
    "bytes_nfc_bert": lambda: _with(
        _bytes(prefix_space=False, normalizer=normalizers.NFC()),
        processors.Sequence([processors.ByteLevel(), BERT]),
    ),
    "bytes_added": lambda: _with(
        _bytes(prefix_space=True),
        None,
        AddedToken("newword", lstrip=True, normalized=True),
        AddedToken("two words"),
    ),
    "unigram": _unigram,
    "words": _words,
    "letters": _letters,
}


class Rows(NamedTuple):
    ids: list[list[int]]
    types: list[list[int]] | None


def _feed(
    tokenizer: TextTokenizer, texts: list[str], pairs: list[str] | None, cut: int | None, side: Any
) -> Rows:
    """What this program feeds."""
    ids, begins, _ = tokenizer.encode(texts, pairs, cut, side)
    lengths = np.array([len(row) for row in ids])
    flat = find_token_types(np.array(begins), lengths)
    if flat is None:
        flat = np.zeros(lengths.sum(), dtype=np.int64)
    types = np.split(flat, np.cumsum(lengths)[:-1])
    return Rows([row.tolist() for row in ids], [row.tolist() for row in types])


def _expect(exported: Any, texts: list[str], pairs: list[str] | None, cut: int | None) -> Rows:
    """What transformers feeds."""
    rows = exported(texts, pairs, truncation=cut is not None, max_length=cut)
    return Rows(rows["input_ids"], rows.get("token_type_ids"))


def write_tokenizer(folder: Path, family: str, name_of_class: str | None, kind: str) -> None:
    """Write a folder with config.json of the family and a tokenizer; None: of no special class."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=TOKENIZERS[kind](), **NAMES)
    tokenizer.save_pretrained(folder)
    AutoConfig.for_model(family, pad_token_id=1).save_pretrained(folder)
    if name_of_class is not None:
        file = folder / "tokenizer_config.json"
        settings = json.loads(file.read_text()) | {"tokenizer_class": name_of_class}
        file.write_text(json.dumps(settings))


def _check_equality(folder: Path, family: str, side: str) -> None:
    given = TextTokenizer(AutoTokenizer.from_pretrained(folder))
    target = folder.parent / "exported"
    AutoConfig.from_pretrained(folder).save_pretrained(target)
    given.save(target, max_tokens=POSITIONS, has_token_types=FAMILIES[family], truncation=side)
    exported = AutoTokenizer.from_pretrained(target)
    for pairs in (None, SECONDS[:250]):
        texts = TEXTS if pairs is None else TEXTS[: len(pairs)]
        for cut in (None, CUT):
            fed = _feed(given, texts, pairs, cut, side)
            expected = _expect(exported, texts, pairs, cut)
            for number, (ours, theirs) in enumerate(zip(fed.ids, expected.ids, strict=True)):
                shown = (texts[number], pairs and pairs[number], cut)
                assert ours == theirs, shown
                if FAMILIES[family]:
                    # a model of two segments that is given no types takes all for the first
                    wanted = expected.types[number] if expected.types else [0] * len(theirs)
                    assert fed.types[number] == wanted, shown
            # texts without any token are refused where they are cut
            kept = [number for number, row in enumerate(fed.ids) if row]
            texts = [texts[number] for number in kept]
            pairs = pairs and [pairs[number] for number in kept]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizers_of_no_class(family: str, kind: str, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "given", family, None, kind)
    _check_equality(tmp_path / "given", family, "head")


@pytest.mark.parametrize("side", ["head", "tail"])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizers_of_the_family(family: str, side: str, tmp_path: Path) -> None:
    name_of_class, kind = OWN_CLASSES[family]
    write_tokenizer(tmp_path / "given", family, name_of_class, kind)
    _check_equality(tmp_path / "given", family, side)
