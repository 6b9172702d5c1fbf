"""The folder that a run leaves answers in transformers as `src.predict` answers: the same ids,
token types and positions, for every family with a tokenizer of its own class.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast, pipeline
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from src.core.dataset_info import DatasetInfo
from src.data.cache import ContentCache
from src.data.preparation.cleaning import Cleaning
from src.data.tokenization.tokenizer import TextTokenizer, WordPiece
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.pipeline.export import save_model
from src.pipeline.prediction.predictor import Predictor
from tests.data.test_ids_equal_transformers import (
    LEARNT,
    OWN_CLASSES,
    TEXTS,
    TOKENIZERS,
    write_tokenizer,
)
from tests.model.conftest import OWN, POSITIONS, TINY

NAMES = ["no", "yes", "perhaps"]
ASKED = [text for text in TEXTS if text.strip()][:60]
SECONDS = ASKED[7:] + ASKED[:7]


def _compare(encoder: Encoder, tokenizer: TextTokenizer, truncation: str) -> None:
    inference_config = {
        "task": "classification",
        "label_names": NAMES,
        "cleaning": asdict(Cleaning()),
        "max_tokens": encoder.max_tokens or 40,
        "truncation": truncation,
    }
    with save_model(encoder.eval(), tokenizer, inference_config) as folder:
        predictor = Predictor(folder, precision="fp32")
        theirs: Any = pipeline(
            "text-classification", model=str(folder), device="cpu", dtype=torch.float32
        )
        for seconds in (None, SECONDS):
            ours = predictor.predict_texts(ASKED, seconds)
            rows: list[Any] = list(ASKED)
            if seconds is not None:
                pairs = zip(ASKED, seconds, strict=True)
                rows = [{"text": text, "text_pair": second} for text, second in pairs]
            answers = theirs(rows, top_k=None, truncation=True, batch_size=1)
            for text, prediction, answer in zip(ASKED, ours, answers, strict=True):
                assert prediction is not None
                scores = {entry["label"]: entry["score"] for entry in answer}
                assert prediction.probabilities == pytest.approx(scores, abs=2e-5), text


def _make_config(family: str, tokenizer: TextTokenizer, **changes: Any) -> Any:
    """Of a tiny encoder, whose weights will be drawn wide."""
    torch.manual_seed(4)
    measures = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
        "id2label": dict(enumerate(NAMES)),
        "label2id": {name: index for index, name in enumerate(NAMES)},
    }
    # number 1 is padding in these tokenizers
    measures |= OWN.get(family, {}) | {"pad_token_id": 1}
    return AutoConfig.for_model(family, **(measures | changes))


@pytest.mark.parametrize("truncation", ["head", "tail"])
@pytest.mark.parametrize("family", OWN_CLASSES)
def test_a_pretrained_family(family: str, truncation: str, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, family, *OWN_CLASSES[family])
    tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(tmp_path))
    config = _make_config(family, tokenizer)
    _compare(
        Encoder(AUTO_MODEL_CLASSES["sequence"].from_config(config), "sequence"),
        tokenizer,
        truncation,
    )


@pytest.mark.parametrize("family", ["camembert", "deberta-v2", "roberta", "xlm-roberta"])
def test_a_family_that_usually_has_one_token_type_may_have_two(family: str, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, family, None, "wordpiece")
    tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(tmp_path))
    config = _make_config(family, tokenizer, type_vocab_size=2)
    encoder = Encoder(AUTO_MODEL_CLASSES["sequence"].from_config(config), "sequence")
    assert encoder.has_token_types
    _compare(encoder, tokenizer, "head")


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_fresh_encoder_with_a_vocabulary_learnt_here(family: Any, tmp_path: Path) -> None:
    learning = WordPiece(vocab_size=200, min_frequency=1, longest_word=100)
    tokenizer = learning.load_tokenizer(lambda: LEARNT, "texts", ContentCache(tmp_path))
    info = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=32,
        label_names=tuple(NAMES),
        batches_per_epoch=1,
        sample_tokens={},
    )
    torch.manual_seed(4)
    scratch = Scratch(family=family, layers=2, width=16, heads=2, max_tokens=32)
    encoder = scratch.build("sequence", info, tuple(NAMES))
    with torch.no_grad():
        for parameter in encoder.parameters():
            # drawn wide, so that what differs in the input shows
            parameter.add_(0.3 * torch.randn_like(parameter))
    _compare(encoder, tokenizer, "head")


# families without heads of ours: their tokenizers' frames, and tokens that have a name
WHOLE: dict[str, tuple[str, str, dict[str, str]]] = {
    "bart": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]", {"pad_token": "[PAD]"}),
    "funnel": ("[CLS]:2 $A [SEP]", "[CLS]:2 $A [SEP] $B:1 [SEP]:1", {"pad_token": "[PAD]"}),
    # texts end in no token, and none is for padding
    "gpt2": ("$A", "$A $B", {}),
    "longformer": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]", {"pad_token": "[PAD]"}),
    "t5": ("$A [SEP]", "$A [SEP] $B [SEP]", {"pad_token": "[PAD]"}),
    "xlnet": (
        "$A [SEP] [CLS]:2",
        "$A [SEP] $B:1 [SEP]:1 [CLS]:2",
        {"pad_token": "[PAD]", "padding_side": "left"},
    ),
}


@pytest.mark.parametrize("family", WHOLE)
def test_a_family_that_runs_as_transformers_has_it(family: str, tmp_path: Path) -> None:
    single, pair, special = WHOLE[family]
    backend = TOKENIZERS["bytes"]()
    ids = [(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="[SEP]", cls_token="[CLS]", **special
    ).save_pretrained(tmp_path / "tokenizer")
    tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(tmp_path / "tokenizer"))
    torch.manual_seed(4)
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {}}
    end = backend.token_to_id("[SEP]")
    config = AutoConfig.for_model(
        family, **(TINY[family][0] | names), vocab_size=tokenizer.vocab_size, eos_token_id=end
    )
    network = AUTO_MODEL_CLASSES["sequence"].from_config(config)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    network.save_pretrained(tmp_path / "network")
    info = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=None,
        special_ids=tokenizer.special_ids,
        max_tokens=40,
        label_names=tuple(NAMES),
        batches_per_epoch=1,
        sample_tokens={},
    )
    pretrained = Pretrained(name_or_path=str(tmp_path / "network"), head="keep")
    encoder = pretrained.build("sequence", info, tuple(NAMES))
    _compare(encoder, tokenizer, "head")
    with save_model(encoder, tokenizer, {"task": "masked_lm", "truncation": "head"}) as folder:
        opened = AutoTokenizer.from_pretrained(folder)
    assert opened.padding_side == ("left" if family == "xlnet" else "right")
    assert opened.pad_token_id == encoder.config.pad_token_id is not None
    has_positions = family not in ("funnel", "t5", "xlnet")
    assert opened.model_max_length == (40 if has_positions else VERY_LARGE_INTEGER)
