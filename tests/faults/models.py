"""Model folders: a sound one, and the ways in which people's own are broken."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from src.core.dataset_info import DatasetInfo
from src.data.cache import ContentCache
from src.data.tokenization.tokenizer import WordPiece
from src.model.encoder_config import Scratch

TEXTS = ["a good film", "a bad film, a very bad and long film"]
Break = Callable[[Path], object]


def sound(root: Path) -> Path:
    """A tiny BERT with its tokenizer: 1 layer of 16, 32 positions."""
    torch.manual_seed(0)
    tokenizer = WordPiece(vocab_size=100, min_frequency=1).load_tokenizer(
        lambda: TEXTS, "tiny", ContentCache(root / "cache")
    )
    facts = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=16,
        label_names=("no", "yes"),
        batches_per_epoch=1,
        sample_tokens={},
    )
    encoder = Scratch(layers=1, width=16, heads=2, max_tokens=32).build(
        "sequence", facts, ("no", "yes")
    )
    encoder.save_pretrained(root / "model")
    tokenizer.save(root / "model", max_tokens=encoder.max_tokens, has_token_types=True)
    return root / "model"


def _without(*names: str) -> Break:
    return lambda folder: [(folder / name).unlink() for name in names]


def _file(name: str, content: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content)


def _config(**changes: Any) -> Break:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(
            json.dumps({key: each for key, each in config.items() if each is not None})
        )

    return change


def _safetensors(size: int, *, cut_to: int) -> bytes:
    header = json.dumps(
        {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    ).encode()
    return (struct.pack("<Q", len(header)) + header + bytes(size))[:cut_to]


def _sharded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))


def _pickled(content: bytes) -> Break:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)

    return change


def _vocabulary(content: bytes) -> Break:
    """A vocabulary of BERT's older form instead of tokenizer.json."""

    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_bytes(content)
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')

    return change


def _byte_pairs(content: bytes) -> Break:
    """RoBERTa's older form, without its second file."""

    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.json").write_bytes(content)
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')

    return change


def _shuffled(folder: Path) -> None:
    """The same tokens with other ids, in a second folder: HERE/t."""
    other = folder.with_name("t")
    other.mkdir()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    count = len(vocabulary) - 5
    tokenizer["model"]["vocab"] = {
        token: place if place < 5 else 5 + (place + 2) % count
        for token, place in vocabulary.items()
    }
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    (other / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())


BROKEN: dict[str, Break] = {
    "sound": lambda folder: None,
    "no config": _without("config.json"),
    "broken config": _file("config.json", b'{"model_type": "bert",'),
    "empty config": _file("config.json", b""),
    "a list for a config": _file("config.json", b"[]"),
    "unknown family": _config(model_type="berrt"),
    "no family": _config(model_type=None),
    "for images": _config(model_type="vit"),
    "reads another network": _config(is_decoder=True, add_cross_attention=True),
    "its own code": _config(model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
    "no weights": _without("model.safetensors"),
    "cut weights": _file("model.safetensors", _safetensors(1000, cut_to=500)),
    "cut header": _file("model.safetensors", _safetensors(1000, cut_to=20)),
    "empty weights": _file("model.safetensors", b""),
    "a page of HTML": _file("model.safetensors", b"<html>404 not found</html>"),
    "a pointer": _file(
        "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n"
    ),
    "a part is missing": _sharded,
    "another width": _config(hidden_size=32),
    "fewer layers than none": _config(num_hidden_layers=-1),
    "no positions": _config(max_position_embeddings=0),
    "more layers": _config(num_hidden_layers=3),
    "fewer tokens": _config(vocab_size=20),
    "a foreign pickle": _pickled(b"cos\nsystem\n(S'true'\ntR."),
    "a truncated pickle": _pickled(b"PK\x03\x04"),
    "no tokenizer": _without("tokenizer.json", "tokenizer_config.json"),
    "broken tokenizer": _file("tokenizer.json", b"{"),
    "no vocabulary": _file("tokenizer.json", b'{"model": {}}'),
    "other ids": _shuffled,
    "heads that do not divide": _config(num_attention_heads=3),
    "a width in words": _config(hidden_size="big"),
    "an unknown activation": _config(hidden_act="nope"),
    "broken tokenizer settings": _file("tokenizer_config.json", b"{"),
    "a vocabulary cut off": _vocabulary(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MA"),
    "a vocabulary in bytes": _vocabulary(b"[PAD]\n\xff\xfe"),
    "a pointer for a vocabulary": _vocabulary(b"version https://git-lfs.github.com/spec/v1\n"),
    "no merges": _byte_pairs(b'{"a": 0, "<unk>": 1}'),
}
