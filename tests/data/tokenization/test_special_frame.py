"""Special tokens and segments are the tokenizer's own, whatever it makes of any letter."""

import pickle
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from src.core.user_errors import UserError
from src.data.tokenization.special_frame import find_frame
from src.data.tokenization.text_encoder import TextEncoder, find_token_types

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DNA = ["ACGTACGT", "ACGT TTGA", "GATTACA", "", "a", "an a the", "CCCC"]
THAI = ["\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0e42\u0e25\u0e01", "a", ""]
BERT = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
ROBERTA = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))


def _join(rows: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(rows))


def _template(single: str, pair: str | None) -> Any:
    return processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )


PROCESSORS = {
    "bert": BERT,
    "roberta": ROBERTA,
    "template": _template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "separator_of_second": _template("$A [SEP]", "$A [SEP]:1 $B:1 [SEP]:1"),
    "doubled": _template("[CLS] [CLS] $A", "[CLS] [CLS] $A $B:1"),
    "bytes": processors.Sequence([processors.ByteLevel(), BERT]),
    "none": None,
}


def _bpe(texts: list[str], *, unknown: bool, on_bytes: bool = False) -> Tokenizer:
    backend = Tokenizer(models.BPE(unk_token="[UNK]") if unknown else models.BPE())
    backend.pre_tokenizer = (
        pre_tokenizers.ByteLevel(add_prefix_space=False)
        if on_bytes
        else pre_tokenizers.Whitespace()
    )
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False)
    backend.train_from_iterator([text for text in texts if "a" not in text], trainer)
    return backend


def _unigram() -> Tokenizer:
    pieces = [(token, 0.0) for token in SPECIAL] + [("A", -1.0), ("C", -2.0), ("GT", -1.5)]
    return Tokenizer(models.Unigram(pieces, unk_id=1))


def _without(pattern: str) -> Tokenizer:
    """A tokenizer whose normalizer deletes what matches."""
    backend = _bpe([*DNA, "acgnthe"], unknown=True)
    backend.normalizer = normalizers.Replace(Regex(pattern), "")
    return backend


TOKENIZERS = {
    "dna": lambda: (_bpe(DNA, unknown=False), DNA),
    "dna_unknown": lambda: (_bpe(DNA, unknown=True), DNA),
    "dna_bytes": lambda: (_bpe(DNA, unknown=False, on_bytes=True), DNA),
    "thai": lambda: (_bpe(THAI, unknown=False), THAI),
    "unigram": lambda: (_unigram(), DNA),
    "capitals": lambda: (_without("[^ACGT ]"), DNA),
    "articles": lambda: (_without(r"\\b(a|an|the)\\b"), DNA),
}


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_and_segments_are_those_of_whole_texts(name: str, processor: str) -> None:
    backend, texts = TOKENIZERS[name]()
    if PROCESSORS[processor] is not None:
        backend.post_processor = PROCESSORS[processor]
    encoder = TextEncoder(backend)
    encoded = encoder.encode(texts, None, None, "head")
    rows = [encoding.ids for encoding in backend.encode_batch(texts)]
    assert encoded.ids.tolist() == _join(rows)
    assert encoded.lengths.tolist() == list(map(len, rows))
    assert not encoded.begins.any()
    firsts, seconds = zip(*[(first, second) for first in texts for second in texts], strict=True)
    encoded = encoder.encode(firsts, seconds, None, "head")
    wholes = backend.encode_batch(list(zip(firsts, seconds, strict=True)))
    assert encoded.ids.tolist() == _join(whole.ids for whole in wholes)
    for whole, begin in zip(wholes, encoded.begins.tolist(), strict=True):
        types = find_token_types(np.array([begin]), np.array([len(whole.ids)]))
        assert ([0] * len(whole.ids) if types is None else types.tolist()) == whole.type_ids


def test_segments_beyond_two_are_given_up() -> None:
    """XLNet's way: the last token is of a type of its own, which no encoder here has."""
    backend = _bpe(DNA, unknown=True)
    backend.post_processor = _template("$A:0 [SEP]:0 [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2")
    encoder = TextEncoder(backend)
    assert not encoder.has_segments
    encoded = encoder.encode(DNA, DNA, None, "head")
    assert encoded.ids.tolist() == _join(
        whole.ids for whole in backend.encode_batch(list(zip(DNA, DNA, strict=True)))
    )
    assert not encoded.begins.any()


def test_special_tokens_take_all_the_room() -> None:
    backend = _bpe(DNA, unknown=True)
    backend.post_processor = _template("[CLS] [CLS] $A", "[CLS] $A [SEP] [SEP] $B [SEP] [SEP]")
    encoder = TextEncoder(backend)
    assert encoder.encode(["GT"], None, 2, "head").ids.tolist() == [2, 2]
    with pytest.raises(UserError, match="max_tokens=4: .* 5 special tokens around two texts"):
        encoder.encode(["GT"], ["CC"], 4, "head")


def test_a_row_without_any_token_is_refused() -> None:
    encoder = TextEncoder(_bpe(DNA, unknown=False))
    # documents that are laid end to end may be empty
    assert encoder.encode(["GT", "xyz"], None, None, "head").lengths.tolist()[1] == 0
    with pytest.raises(UserError, match="makes no token of the text 'xyz', and puts none around"):
        encoder.encode(["GT", "xyz"], None, 8, "head")


def test_in_another_process_special_tokens_are_split_as_before() -> None:
    backend = _bpe(DNA, unknown=True)
    backend.add_special_tokens(["[MASK]"])
    whole = TextEncoder(backend).encode(["GT[MASK]"], None, None, "head").ids.tolist()
    backend.encode_special_tokens = True
    encoder = TextEncoder(backend)
    split = encoder.encode(["GT[MASK]"], None, None, "head").ids.tolist()
    copied = pickle.loads(pickle.dumps(encoder))
    assert copied.encode(["GT[MASK]"], None, None, "head").ids.tolist() == split != whole


def test_texts_in_another_order_are_refused() -> None:
    backend = _bpe(DNA, unknown=True)
    backend.post_processor = _template("[CLS] $A", "[CLS] $B $A")
    assert find_frame(backend, 2) is None
    encoder = TextEncoder(backend)
    assert encoder.encode(["GT"], None, None, "head").ids.tolist() == backend.encode("GT").ids
    with pytest.raises(UserError, match="does not give two texts once each, in their order"):
        encoder.encode(["GT"], ["CC"], None, "head")
